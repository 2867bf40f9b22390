"""What a network takes: data are checked against it, arrays before any work begins, mini-batches as they come."""

import numbers
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, NamedTuple

from gedanken.by_name import ByName
from gedanken.checks import require, whole
from gedanken.data.batches import ArraySource, GeneratorSource, Source
from gedanken.data.generator import Generator
from gedanken.data.inputs import (
    check_finite,
    check_lengths,
    checked_array,
    checked_inputs,
    checked_names,
    checked_rows,
    checked_weights,
)
from gedanken.data.order import hold_out
from gedanken.data.ragged import aligned_labels, as_sequences, labels_of_places
from gedanken.data.sources import ArrayGenerator, whole_entry
from gedanken.errors import DataError
from gedanken.sequences import Sequences, lengths_of
from gedanken.types import AnyShape, Array, Shape

MINI_BATCH_SIZE = 128
AT_ONCE = 256  # samples that are evaluated at once, at least: few at a time take far longer
Checked = tuple[Array, Array, Array | None]


class InputSpec(NamedTuple):
    """What a network takes, from when it is compiled on.

    Args:
        input_shape, output_shape: of one sample, channels first; of several a mapping of names to shapes.
        dtype: number type that it computes in.
        tokens: for a network that takes whole numbers: how many different ones.
        checked_target: `Cost.checked_target` of its cost, or None where nothing says what targets are.
        sparse: whether it takes sparse rows.
        unweighted: why samples can have no weights; "" where they can.
        mask: the whole number that pads sequences on the right, or None.
        lengths_behind: `Plan.lengths_behind`; None: nothing is to be said here.
        places: of an output, which may have a weight each, see `checked_weights`.
        ignored_alone: `ignored_alone` of its cost, or None where there is no label to ignore.
        aligned: `Cost.aligned` of its cost.
        named: of several inputs what each is, by name; each has only what concerns inputs.
    """

    input_shape: AnyShape
    output_shape: AnyShape
    dtype: Any
    tokens: int | tuple[int, ...] | None
    checked_target: Callable[[str, Any, AnyShape], Any] | None
    sparse: bool = False
    unweighted: str = ""
    mask: Any = None
    lengths_behind: Callable[[Any], Any] | None = None
    places: Shape | None = ()
    ignored_alone: Callable[..., str] | None = None
    aligned: Collection[str] = ()
    named: "Mapping[str, InputSpec] | None" = None

    def inputs(self, argument: str, data: Any) -> Any:
        """Return samples as an array, Sequences, sparse rows or several such by name, or raise DataError."""
        if self.named:
            return self._by_name(argument, data, self.named)
        if self.sparse:
            return checked_rows(argument, data, self.input_shape, self.dtype)
        if self._takes_sequences:
            data = as_sequences(argument, data, self.input_shape[0], self.mask)
        if isinstance(data, Sequences):
            return self._sequences(argument, data)
        return checked_inputs(argument, data, self.input_shape, self.dtype, self.tokens)

    def _by_name(self, argument: str, data: Any, named: "Mapping[str, InputSpec]") -> ByName:
        given, parts = checked_names(argument, data, named), dict[str, Any]()
        for name, spec in named.items():
            parts[name] = spec.inputs(f'{argument}["{name}"]', given[name])
            first = next(iter(parts))
            check_lengths((f'{argument}["{first}"]', f'{argument}["{name}"]'), parts[first], parts[name])
        samples = ByName(parts)
        if lengths := lengths_of(samples):
            self._lengths_behind(argument, lengths)
        return samples

    @property
    def _takes_sequences(self) -> bool:
        return len(self.input_shape) == (2 if self.tokens is None else 1)

    def _sequences(self, argument: str, data: Sequences) -> Sequences:
        if not self._takes_sequences:
            raise DataError(f"{argument} must be an array, since the network takes no sequences but {self.input_shape}")
        values = checked_inputs(argument, data.padded(), self.input_shape, self.dtype, self.tokens)
        self._lengths_behind(argument, data.lengths)
        return Sequences(values, data.lengths)

    def _lengths_behind(self, argument: str, lengths: Any) -> Any:
        """Return the lengths of outputs, or raise unless the network honours lengths of sequences.

        Those of an input by name are looked at together.
        """
        if lengths is None or not self.lengths_behind:
            return None
        try:
            return self.lengths_behind(lengths)
        except DataError as error:
            raise DataError(f"{argument}: {error}") from None

    def checked(self, whose: str, data: Any, labels: Any, weights: Any = None, some: bool = True) -> Checked:
        """Return inputs, targets and weights, or None for no weights; or raise DataError.

        Args:
            whose: the arguments' names in errors, with {} for what they are: "{} of the Generator".
            data, labels, weights: what was given.
            some: whether something has to count, a label that is not to be ignored of a sample with a weight above 0.
        """
        names = whose.format("data"), whose.format("labels")
        x = self.inputs(names[0], data)
        lengths = self._lengths_behind(names[0], lengths_of(x))
        target = self._targets(names, x, labels, lengths)
        weight = self._weights(whose.format("weights"), weights, len(x), some, lengths)
        if some:
            self._require_something(whose, lengths_of(x), target, weight)
        return x, target, weight

    def _require_something(self, whose: str, lengths: Any, target: Any, weight: Array | None) -> None:
        """Raise DataError where nothing of the data counts."""
        if why := self._nothing(whose, lengths, target, weight):
            raise DataError(f"{why}: nothing would be learnt or measured")

    def _nothing(self, whose: str, lengths: Any, target: Any, weight: Array | None, rows: Array | None = None) -> str:
        """Return which rule data break of which nothing counts, "" where something does.

        Args:
            whose: as of `checked`.
            lengths: of the sequences that go in, see `lengths_of`.
            target, weight: as `checked` returns them.
            rows: places of the samples that are meant; None is all.
        """
        if weight is not None and not weight[slice(None) if rows is None else rows].any():
            return f"{whose.format('weights')} must not all be 0"
        if not self.ignored_alone:
            return ""
        behind = self._lengths_behind(whose.format("data"), lengths)
        if not (label := self.ignored_alone(target, weight, behind, rows)):
            return ""
        where = " at real places" * (behind is not None) + " of samples with a weight above 0" * (weight is not None)
        return f"{whose.format('labels')} must not all be {label}, which the cost ignores{where and ','}{where}"

    def _targets(self, names: tuple[str, str], x: Any, labels: Any, lengths: Any) -> Any:
        """Return targets for samples `x`, or raise DataError; the lengths are those of what comes out."""
        shapes = self.output_shape
        if isinstance(shapes, Mapping):
            found, given = dict[str, Any](), checked_names(names[1], labels, shapes)
            for name, part in given.items():
                own = names[0], f'{names[1]}["{name}"]'
                found[name] = self._labels(own, x, part, shapes[name], (lengths or {}).get(name), name)
            target: Any = ByName(found)
        else:
            target = self._labels(names, x, labels, shapes, lengths)
        assert self.checked_target
        return self.checked_target(names[1], target, shapes)

    def _labels(
        self, names: tuple[str, str], x: Any, labels: Any, shape: Shape, lengths: Array | None, head: str = ""
    ) -> Array:
        argument = names[1]
        if head in self.aligned:
            target = aligned_labels(argument, labels, shape, lengths)
        else:
            target = checked_array(argument, labels_of_places(argument, labels, shape, lengths))
        check_lengths(names, x, target)
        check_finite(argument, target, self.dtype)
        return target

    def _weights(self, argument: str, given: Any, samples: int, some: bool, lengths: Any = None) -> Array | None:
        if given is None:
            return None
        require(not self.unweighted, argument, f"be None: {self.unweighted}", given)
        if self.places and len(self.places) == 1:
            given = labels_of_places(argument, given, (*self.places, 1), lengths)
        return checked_weights(argument, given, samples, self.dtype, some, self.places)

    def training(
        self,
        data: Any,
        labels: Any,
        validation_set: Any,
        mini_batch_size: int | None,
        shuffle: bool | None,
        seed: int,
        weights: Any = None,
    ) -> tuple[Source, Source | None]:
        """Return what to train on and what to validate on, or None; the arguments are those of `fit`."""
        if isinstance(data, Generator):
            _check_own("mini_batch_size", mini_batch_size)
            _check_own("shuffle", shuffle)
            source, wanted = (
                self._generator_source(data, labels, weights),
                "(data, labels), (data, labels, weights) or a Generator",
            )
            return source, self._validation(validation_set, max(data.mini_batch_size, AT_ONCE), wanted)
        size = whole("mini_batch_size", MINI_BATCH_SIZE if mini_batch_size is None else mini_batch_size)
        x, target, weight = self.checked("{}", data, labels, weights)
        shuffled, at_once = shuffle is not False, max(size, AT_ONCE)
        if _is_fraction(validation_set):
            require(len(x) > 1, "validation_set", "be None for a single sample", validation_set)
            kept, held = hold_out(len(x), float(validation_set), seed)
            self._check_parts((x, target, weight), validation_set, kept, held)
            train = ArraySource(x, target, size, shuffled, seed, kept, weight)
            return train, ArraySource(x, target, at_once, rows=held, weight=weight)
        wanted = "(data, labels), (data, labels, weights), a Generator, or a fraction in (0, 1)"
        train = ArraySource(x, target, size, shuffled, seed, weight=weight)
        return train, self._validation(validation_set, at_once, wanted)

    def _check_parts(self, checked: Checked, fraction: Any, *parts: Array) -> None:
        """Raise DataError where nothing counts of the samples to train on, or of those that are held out."""
        for rows, what in zip(parts, ("to train on", "held out"), strict=True):
            if why := self._nothing("{}", lengths_of(checked[0]), *checked[1:], rows):
                rule = f"{why} among the {len(rows)} samples {what} by validation_set={fraction}"
                raise DataError(f"{rule}; give validation_set=(data, labels, weights) instead")

    def evaluation(self, data: Any, labels: Any, weights: Any, size: int) -> Source:
        """Return what to evaluate on."""
        if isinstance(data, Generator):
            return self._generator_source(data, labels, weights, fixed=True)
        x, target, weight = self.checked("{}", data, labels, weights)
        return ArraySource(x, target, size, weight=weight)

    def _validation(self, given: Any, size: int, wanted: str) -> Source | None:
        if given is None:
            return None
        if isinstance(given, Generator):
            return self._generator_source(given, None, None, fixed=True)
        several = isinstance(given, (tuple, list)) and len(given) in (2, 3)
        require(several, "validation_set", f"be {wanted}", given)
        x, target, weight = self.checked("validation_set {}", *given)
        return ArraySource(x, target, size, weight=weight)

    def _generator_source(
        self, generator: Generator, labels: Any, weights: Any, fixed: bool = False
    ) -> GeneratorSource:
        name = type(generator).__name__
        for argument, given in (("labels", labels), ("weights", weights)):
            require(given is None, argument, f"be left out, because {name} gives them with the data", given)
        whose = "{} of " + name
        if isinstance(generator, ArrayGenerator):
            given = None if generator.transforms else whole_entry(generator, 2)
            weight = self._weights(whose.format("weights"), given, len(generator), True, lengths_of(given))
            known = self._known(whose, generator) if self.ignored_alone and not generator.transforms else None
            if known:
                self._require_something(whose, known[1], known[0], weight)
        nothing, checked = partial(self._nothing, whose), partial(self.checked, whose, some=False)
        return GeneratorSource(generator, checked, fixed, partial(self._known, whose, generator), nothing)

    def _known(self, whose: str, generator: Generator) -> tuple[Any, Any] | None:
        """Return the targets of all samples of an ArrayGenerator, before transforms, and the lengths of sequences."""
        names = whose.format("data"), whose.format("labels")
        if not isinstance(generator, ArrayGenerator) or (labels := whole_entry(generator, 1)) is None:
            return None
        lengths = self._lengths_of(names[0], whole_entry(generator, 0))
        return self._targets(names, generator, labels, self._lengths_behind(names[0], lengths)), lengths

    def _lengths_of(self, argument: str, data: Any) -> Any:
        """Return the lengths of given sequences; other data are not looked at, since transforms may change them."""
        if self.named:
            given = checked_names(argument, data, self.named)
            found = {name: spec._lengths_of(f'{argument}["{name}"]', given[name]) for name, spec in self.named.items()}
            return {name: lengths for name, lengths in found.items() if lengths is not None} or None
        return lengths_of(data if self.mask is None else self.inputs(argument, data))


def _is_fraction(given: Any) -> bool:
    return isinstance(given, numbers.Real) and not isinstance(given, bool) and bool(0 < given < 1)  # type: ignore[operator]


def _check_own(argument: str, value: Any) -> None:
    require(value is None, argument, "be given to the Generator itself", value)
