"""Where a training's mini-batches come from: arrays, in an order that depends on seed and epoch, or a Generator."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from collections.abc import Generator as Yields
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gedanken.by_name import ByName, each
from gedanken.checks import require
from gedanken.data.generator import Generator, check_same, runner_of
from gedanken.data.order import Order, shared_out
from gedanken.errors import DataError
from gedanken.sequences import Sequences, lengths_of
from gedanken.sparse import SparseRows
from gedanken.types import Array


class Batch(NamedTuple):
    """One mini-batch.

    Args:
        x: (N, ...), inputs, images channels-first; of several inputs ByName.
        target: (N, ...), as the cost takes it; of several outputs ByName.
        position: place of the first sample in the epoch's order.
        share: of the epoch that is done with it, in (0, 1].
        rows: which samples of the data they are; None: those from `position` on, of arrays or of an epoch's stream.
        weight: (N,) or (N, places...), how much each sample or place counts; None: all alike.
    """

    x: Any
    target: Any
    position: int
    share: float
    rows: Array | None = None
    weight: Array | None = None

    @property
    def samples(self) -> tuple[int, ...]:
        """The numbers of its samples in the data or, of a Generator, their places in the epoch."""
        first = self.position
        return tuple(range(first, first + len(self.x))) if self.rows is None else tuple(self.rows.tolist())

    def without(self, sample: int | None) -> "Batch | None":
        """Return the mini-batch without one of its samples, by its number; None where that is not known or all."""
        if sample is None or len(self.x) == 1:
            return None
        kept = [place for place, one in enumerate(self.samples) if one != sample]
        weight = None if self.weight is None else self.weight[kept]
        return self._replace(x=self.x[kept], target=self.target[kept], rows=None, weight=weight)

    def part(self, first: int, last: int) -> "Batch":
        """Return its samples from number `first` to `last` - 1 as a mini-batch."""
        own, position = slice(first, last), self.position + first
        rows, weight = (None if one is None else one[own] for one in (self.rows, self.weight))
        return Batch(self.x[own], self.target[own], position, self.share, rows, weight)

    def copy(self) -> "Batch":
        """Return it in memory of its own."""
        weight = None if self.weight is None else self.weight.copy()
        return self._replace(x=self.x.copy(), target=self.target.copy(), weight=weight)


Batches: TypeAlias = Yields[Batch, None, None]


class Source(ABC):
    """Anything that gives the mini-batches of an epoch; what `fit` reads.

    A training that goes on where another one ended gives `restore` what `state` gave there, and begins its first epoch
    at the mini-batch that comes next.
    """

    samples: int | None = None  # of an epoch; None: not known before
    steps: int | None = None  # mini-batches of an epoch
    mini_batch_size: int  # samples of a mini-batch; the last one may have fewer
    broken_off: Callable[[], bool] = staticmethod(lambda: False)  # whether nobody waits for mini-batches any more

    @property
    def waited(self) -> float:
        """Seconds for which mini-batches were waited for, over all epochs."""
        return 0.0

    @abstractmethod
    def batches(self, epoch: int, start: int = 0) -> Batches:
        """Yield the mini-batches of epoch number `epoch` from number `start` on, both counted from 0."""

    @abstractmethod
    def look_first(self, look: Callable[[Array, Array], None]) -> None:
        """Let somebody see inputs and targets of some samples, now or before the first mini-batch is used."""

    def start(self, epoch: int) -> bool:
        """Begin with what can be done before epoch number `epoch` is asked for; return whether others work on it."""
        return False

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return what `restore` needs beside epoch and mini-batch: whole numbers and lists of them, as for JSON."""

    @abstractmethod
    def restore(self, state: Mapping[str, Any]) -> None:
        """Let the next epoch go on with the mini-batch that was next when `state` was returned.

        Raises:
            ArgumentError: it is of another source, or none.
        """

    def stats(self) -> Mapping[str, Any] | None:
        """Return what is known of those who make the mini-batches, or None where nobody does."""
        return None

    def trained_on(self) -> tuple[Any, Any] | None:
        """Return the targets of all samples, and the lengths of their sequences as `lengths_of` gives them.

        None where they are not known before they come.
        """
        return None


class ArraySource(Source):
    """Mini-batches of two arrays; the last one is smaller where they do not come out even.

    Args:
        x: (N, ...), inputs.
        target: (N, ...), targets.
        mini_batch_size: samples in a mini-batch, at least 1.
        shuffle: whether each epoch has an order of its own.
        seed: seed of these orders.
        rows: (samples,), places of the samples to use, in order; None is all.
        weight: as of Batch, of all samples.
    """

    def __init__(
        self,
        x: Array,
        target: Array,
        mini_batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        rows: Array | None = None,
        weight: Array | None = None,
    ) -> None:
        self.x, self.target, self.rows, self.weight = x, target, rows, weight
        samples = len(x) if rows is None else len(rows)
        self.samples: int = samples
        self.steps: int = math.ceil(samples / mini_batch_size)
        self.mini_batch_size, self.shuffle, self.seed = mini_batch_size, shuffle, seed
        self._order: Order | None = None  # of the last epoch that was asked for

    def __getstate__(self) -> dict[str, Any]:
        """Return what a worker process is sent: whom it works for is no matter of its own."""
        return {**{k: v for k, v in vars(self).items() if k != "broken_off"}, "_order": None}

    def look_first(self, look: Callable[[Array, Array], None]) -> None:
        look(self.x, self.target)

    def batches(self, epoch: int, start: int = 0, stop: int | None = None) -> Batches:
        """Yield the mini-batches from number `start` on, up to `stop` - 1 or the last one."""
        stop = self.steps if stop is None else stop
        for number in range(start, stop):
            yield self._run(epoch, number, number + 1, stop)

    def run(self, epoch: int, number: int, count: int) -> Batch:
        """Return some mini-batches of an epoch, from number `number` on, as one."""
        return self._run(epoch, number, number + count, number + count)

    def share(self, epoch: int, number: int, place: int, count: int) -> Batch | None:
        """Return share number `place` of `count` of a mini-batch, see `shared_out`; None: it is empty."""
        size = self.mini_batch_size
        first, last, wanted = (min(one * size, self.samples) for one in (number, number + 1, self.steps))
        begin, end = shared_out(last - first, place, count)
        return self._between(epoch, first + begin, first + end, wanted, last) if end > begin else None

    def _run(self, epoch: int, number: int, end: int, stop: int) -> Batch:
        """Return mini-batches `number` to `end` - 1 as one; those up to `stop` - 1 will be asked for next."""
        first, last, wanted = (min(place * self.mini_batch_size, self.samples) for place in (number, end, stop))
        return self._between(epoch, first, last, wanted, last)

    def _between(self, epoch: int, first: int, last: int, wanted: int, seen: int) -> Batch:
        """Return places `first` to `last` - 1 of an epoch's order; with them `seen` samples of it are done."""
        share = seen / self.samples
        if self.shuffle:
            rows = self._order_of(epoch).part(first, last, wanted)
            rows = rows if self.rows is None else self.rows[rows]
        elif self.rows is not None:
            rows = self.rows[first:last]
        else:
            weight = None if self.weight is None else self.weight[first:last]
            return Batch(self.x[first:last], self.target[first:last], first, share, None, weight)
        return self._of(rows, first, share)

    def _of(self, rows: Array, position: int, share: float) -> Batch:
        """Return these samples as a mini-batch."""
        weight = None if self.weight is None else self.weight[rows]
        return Batch(taken(self.x, rows), taken(self.target, rows), position, share, rows, weight)

    def trained_on(self) -> tuple[Any, Any]:
        lengths, rows = lengths_of(self.x), self.rows
        if rows is None:
            return self.target, lengths
        if isinstance(lengths, dict):
            return taken(self.target, rows), {name: own[rows] for name, own in lengths.items()}
        return taken(self.target, rows), None if lengths is None else lengths[rows]

    def some(self, count: int) -> Any:
        """Return at most so many samples' inputs, from all over the arrays."""
        places = np.linspace(0, self.samples - 1, min(count, self.samples)).astype(np.int64)
        return taken(self.x, places if self.rows is None else self.rows[places])

    def first(self) -> Batch:
        """Return the first sample, in the order of the arrays."""
        rows = np.zeros(1, int) if self.rows is None else self.rows[:1]
        return self._of(rows, 0, 1.0)

    def _order_of(self, epoch: int) -> Order:
        order = self._order  # threads may share the source
        if order is None or order.epoch != epoch:
            order = self._order = Order(self.seed, self.samples, epoch)
        return order

    def state(self) -> dict[str, Any]:
        """Return what the order of the mini-batches depends on: they have no other state."""
        return {
            "samples": self.samples,
            "mini_batch_size": self.mini_batch_size,
            "shuffle": self.shuffle,
            "seed": self.seed,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        own = self.state()
        require(isinstance(state, Mapping) and set(state) == set(own), "state", f"have the keys {sorted(own)}", state)
        check_same(own, state, "that of these arrays")


def taken(array: Any, rows: Array) -> Any:
    """Return some rows of arrays by name, or of an array of any layout, without a copy of all of it.

    `take` is faster than an index, but first makes a whole copy that is C-contiguous where the array is not; most
    arrays are so with their axes in another order.
    """
    if isinstance(array, ByName):
        return each(lambda part: taken(part, rows), array)
    if isinstance(array, (Sequences, SparseRows)):
        return array[rows]
    if array.flags.c_contiguous and array.flags.aligned:
        return array.take(rows, axis=0)
    axes = sorted(range(array.ndim), key=lambda axis: -array.strides[axis])
    turned = array.transpose(axes)
    if not (turned.flags.c_contiguous and turned.flags.aligned):
        return array[rows]
    return turned.take(rows, axis=axes.index(0)).transpose(np.argsort(axes))


class GeneratorSource(Source):
    """Mini-batches of a Generator.

    Args:
        generator: gives pairs (data, labels), or (data, labels, weights).
        checked: returns these as (inputs, targets, weights or None), or raises why they are none.
        fixed: whether every epoch is the first one, as for a validation set.
        known: returns what `trained_on` does, or None.
        nothing: returns which rule mini-batches break of which nothing counts, of the lengths of their sequences, see
            `lengths_of`, targets and weights; "" where something does.
    """

    def __init__(
        self,
        generator: Generator,
        checked: Callable[..., tuple[Array, Array, Array | None]],
        fixed: bool = False,
        known: Callable[[], tuple[Any, Any] | None] = lambda: None,
        nothing: Callable[[Any, Any, Array | None], str] = lambda *_: "",
    ) -> None:
        self.generator, self.fixed, self._runner = generator, fixed, runner_of(generator)
        self.mini_batch_size = generator.mini_batch_size
        self._checked, self._at_begin = checked, False  # whether a begin of an epoch was restored
        self._known, self._nothing = known, nothing
        self._look: Callable[[Array, Array], None] | None = None  # sees the first mini-batch before it is used

    @property
    def waited(self) -> float:
        return self._runner.waited

    def stats(self) -> Mapping[str, Any] | None:
        return self.generator.stats()

    def look_first(self, look: Callable[[Array, Array], None]) -> None:
        self._look = look

    def trained_on(self) -> tuple[Any, Any] | None:
        return self._known()

    def start(self, epoch: int) -> bool:
        """Begin making mini-batches; a Generator that was not iterated before begins with this epoch."""
        self._runner.start(self.generator, epoch)
        return True

    def batches(self, epoch: int, start: int = 0) -> Batches:
        """Yield the mini-batches of the Generator's next epoch, which has number `epoch` where it is the first.

        A position that was restored is where it goes on. What lies between that and `start` is made and left out.
        """
        over, self._at_begin = self._at_begin and start > 0, False
        if over:  # the position is the begin of the next epoch: nothing of this one is left
            return
        resumes = self._runner.resumes and not self.fixed
        given = yield from self._epoch(epoch, start)
        if not given and resumes:  # what was left of the epoch had no samples
            if start:
                return
            given = yield from self._epoch(epoch, 0)  # whoever does not say where it should begin wants mini-batches
        if not given and not self.broken_off():
            name = type(self.generator).__name__
            raise DataError(
                f"{name} must give at least one mini-batch in an epoch, got none from {len(self.generator)} calls"
            )

    def _epoch(self, epoch: int, start: int) -> Yields[Batch, None, bool]:
        """Yield the mini-batches of one epoch, and return whether there was any, also before `start`."""
        given, fixed = False, 0 if self.fixed else None
        counts, why = start > 0 or self._runner.resumes, ""
        for delivery in self._runner.run(self.generator, fixed, self.broken_off, epoch):
            given = True
            if delivery.position < start * self.mini_batch_size:
                continue
            x, target, weight = self._parts(delivery.value, delivery.position)
            counts = counts or not (why := self._nothing(lengths_of(x), target, weight))
            batch = Batch(x, target, delivery.position, delivery.share, weight=weight)
            del x, target, weight
            if self._look:
                self._look(batch.x, batch.target)
                self._look = None
            del delivery  # its slot is free as soon as the training has let go of the mini-batch
            yield batch
            del batch
        if given and not counts and not self.broken_off():
            raise DataError(f"{why} in an epoch: nothing was learnt or measured")
        return given

    def state(self) -> dict[str, Any]:
        """Return the Generator's position, or nothing where every epoch is the first one."""
        return {} if self.fixed else self.generator.state_dict()

    def identity(self) -> dict[str, Any]:
        """Return who gives the mini-batches, and what their order depends on."""
        own, calls = self.generator, len(self.generator)
        told = {"class": type(own).__qualname__, "calls": calls, "seed": own.seed, "shuffle": own.shuffle}
        return {**told, "drop_last": own.drop_last, "transforms": list(own.transforms)}

    def restore(self, state: Mapping[str, Any]) -> None:
        if self.fixed:
            require(isinstance(state, Mapping) and not state, "state", "be empty for a validation set", state)
        else:
            self.generator.load_state_dict(state)
            self._at_begin = not state["mini_batches"]

    def _parts(self, value: Any, position: int) -> tuple[Array, Array, Array | None]:
        if isinstance(value, tuple) and len(value) in (2, 3):
            try:
                return self._checked(*value)
            except DataError as error:
                raise DataError(f"{error}; row 0 of that mini-batch is sample {position} of the epoch") from error
        name = type(self.generator).__name__
        got = f"a tuple of {len(value)}" if isinstance(value, tuple) else f"a {type(value).__name__}"
        raise DataError(
            f"{name} must give items (input, label) or (input, label, weight) to train or evaluate with, got {got}"
        )
