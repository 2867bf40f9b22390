"""What a network takes: data are checked against it, arrays before any work begins, mini-batches as they come."""

import numbers
from collections.abc import Callable
from typing import Any, NamedTuple

from gedanken.checks import require, whole
from gedanken.data.batches import ArraySource, GeneratorSource, Source, hold_out
from gedanken.data.generator import Generator
from gedanken.data.inputs import (
    are_shorter,
    check_finite,
    check_lengths,
    checked_array,
    checked_inputs,
    checked_rows,
    told_by_mask,
)
from gedanken.errors import DataError
from gedanken.sequences import Sequences
from gedanken.types import Array, Shape

MINI_BATCH_SIZE = 128
AT_ONCE = 256  # samples that are evaluated at once, at least: few at a time take far longer
Pair = tuple[Array, Array]


class InputSpec(NamedTuple):
    """What a network takes, from when it is compiled on.

    Args:
        input_shape, output_shape: of one sample, channels first.
        dtype: number type that it computes in.
        tokens: for a network that takes whole numbers: how many different ones.
        checked_target: `Cost.checked_target` of its cost, or None where nothing says what targets are.
        sparse: whether it takes sparse rows.
        mask: the whole number that pads sequences on the right, or None.
        check_lengths: raises unless the network honours these lengths of sequences; None: it takes none.
    """

    input_shape: Shape
    output_shape: Shape
    dtype: Any
    tokens: int | tuple[int, ...] | None
    checked_target: Callable[[str, Array, Shape], Array] | None
    sparse: bool = False
    mask: int | None = None
    check_lengths: Callable[[Array], None] | None = None

    def inputs(self, argument: str, data: Any) -> Any:
        """Return samples as an array, Sequences or sparse rows, or raise DataError."""
        if self.sparse:
            return checked_rows(argument, data, self.input_shape, self.dtype)
        if self.mask is not None:
            data = told_by_mask(argument, checked_array(argument, data), self.mask)
        elif self._takes_sequences and are_shorter(data, self.input_shape[0]):
            data = Sequences.of(data, self.input_shape[0])
        if isinstance(data, Sequences):
            return self._sequences(argument, data)
        return checked_inputs(argument, data, self.input_shape, self.dtype, self.tokens)

    @property
    def _takes_sequences(self) -> bool:
        return len(self.input_shape) == (2 if self.tokens is None else 1)

    def _sequences(self, argument: str, data: Sequences) -> Sequences:
        if not self._takes_sequences:
            raise DataError(f"{argument} must be an array, since the network takes no sequences but {self.input_shape}")
        values = checked_inputs(argument, data.padded(), self.input_shape, self.dtype, self.tokens)
        assert self.check_lengths
        try:
            self.check_lengths(data.lengths)
        except DataError as error:
            raise DataError(f"{argument}: {error}") from None
        return Sequences(values, data.lengths)

    def pair(self, names: tuple[str, str], data: Any, labels: Any) -> Pair:
        """Return inputs and targets, or raise DataError."""
        x, target = self.inputs(names[0], data), checked_array(names[1], labels)
        check_lengths(names, x, target)
        check_finite(names[1], target, self.dtype)
        assert self.checked_target
        return x, self.checked_target(names[1], target, self.output_shape)

    def training(
        self,
        data: Any,
        labels: Any,
        validation_set: Any,
        mini_batch_size: int | None,
        shuffle: bool | None,
        seed: int,
    ) -> tuple[Source, Source | None]:
        """Return what to train on and what to validate on, or None; the arguments are those of `fit`."""
        if isinstance(data, Generator):
            _check_own("mini_batch_size", mini_batch_size)
            _check_own("shuffle", shuffle)
            source = self._generator_source(data, labels)
            at_once = max(data.mini_batch_size, AT_ONCE)
            return source, self._validation(validation_set, at_once, "a pair (data, labels) or a Generator")
        size = whole("mini_batch_size", MINI_BATCH_SIZE if mini_batch_size is None else mini_batch_size)
        samples = self.pair(("data", "labels"), data, labels)
        shuffled, at_once = shuffle is not False, max(size, AT_ONCE)
        if _is_fraction(validation_set):
            require(len(samples[0]) > 1, "validation_set", "be None for a single sample", validation_set)
            kept, held = hold_out(len(samples[0]), float(validation_set), seed)
            train = ArraySource(*samples, size, shuffled, seed, kept)
            return train, ArraySource(*samples, at_once, rows=held)
        wanted = "a pair (data, labels), a Generator, or a fraction in (0, 1)"
        return ArraySource(*samples, size, shuffled, seed), self._validation(validation_set, at_once, wanted)

    def evaluation(self, data: Any, labels: Any, size: int) -> Source:
        """Return what to evaluate on."""
        if isinstance(data, Generator):
            return self._generator_source(data, labels, fixed=True)
        return ArraySource(*self.pair(("data", "labels"), data, labels), size)

    def _validation(self, given: Any, size: int, wanted: str) -> Source | None:
        if given is None:
            return None
        if isinstance(given, Generator):
            return self._generator_source(given, None, fixed=True)
        pair = isinstance(given, (tuple, list)) and len(given) == 2
        require(pair, "validation_set", f"be {wanted}", given)
        names = ("validation_set data", "validation_set labels")
        return ArraySource(*self.pair(names, *given), size)

    def _generator_source(self, generator: Generator, labels: Any, fixed: bool = False) -> GeneratorSource:
        name = type(generator).__name__
        require(labels is None, "labels", f"be left out, because {name} gives them with the data", labels)

        def checked(data: Any, target: Any) -> Pair:
            return self.pair((f"data of {name}", f"labels of {name}"), data, target)

        return GeneratorSource(generator, checked, fixed)


def _is_fraction(given: Any) -> bool:
    return isinstance(given, numbers.Real) and not isinstance(given, bool) and bool(0 < given < 1)  # type: ignore[operator]


def _check_own(argument: str, value: Any) -> None:
    require(value is None, argument, "be given to the Generator itself", value)
