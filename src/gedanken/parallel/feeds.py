"""How mini-batches come to workers: of arrays each worker gathers its own; those of a Generator lie in shared slots.

Each way has two sides: the owner's gives out numbers of mini-batches, and a worker's turns numbers into mini-batches.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np

from gedanken.by_name import ByName
from gedanken.data.batches import ArraySource, Batch, Batches, Source
from gedanken.errors import DataError
from gedanken.processes.memory import CACHE_LINE, Descriptor, mapped, reserved_memory, rounded_up
from gedanken.sequences import Sequences
from gedanken.types import Array

SHORTEST = 32  # the part of a long order that is still worth being one
HEAD = 3  # numbers beside a slot's arrays: samples, position, share


class Feed(ABC):
    """A worker's side. It is sent to processes, all but its memory, which they are handed when they start.

    Attributes:
        memory: what it shares, or None.
    """

    memory: Descriptor | None = None
    obstacle = ""  # why no other process can have it
    weighted = False  # whether samples have weights; known of a feed that gives runs
    mini_batch_size = 0  # of a feed that gives runs: several mini-batches as one
    most = 0  # samples of a mini-batch, at most

    def attach(self, memory: Descriptor) -> None:
        """Take the memory into use."""
        self.memory = memory

    @abstractmethod
    def batches(self, epoch: int, first: int, count: int) -> Iterator[Batch]:
        """Yield these mini-batches of an epoch."""

    def run(self, epoch: int, first: int, count: int) -> Batch:
        """Return these mini-batches as one."""
        raise NotImplementedError

    def some(self, count: int) -> Any:
        """Return at most so many samples from all over the data; of a feed that gives runs."""
        raise NotImplementedError


class Orders(ABC):
    """The owner's side.

    Attributes:
        feed: the worker's side; known once an epoch has begun.
        over: whether all mini-batches of the epoch are given out.
    """

    feed: Feed
    over: bool

    @property
    def memory(self) -> Descriptor | None:
        """What its feed shares, if it has begun."""
        return self.feed.memory if hasattr(self, "feed") else None

    @abstractmethod
    def begin(self, epoch: int, start: int, stop: int | None = None) -> None:
        """Let `next` begin with mini-batch number `start` of an epoch, and end before `stop`; None: with the epoch."""

    @abstractmethod
    def next(self, longest: int) -> tuple[int, int] | None:
        """Return first and count of the next mini-batches, about `longest` at most; None where there are none now."""

    @abstractmethod
    def give_back(self, first: int, count: int) -> None:
        """Take note that these were learnt from."""

    @abstractmethod
    def sample(self) -> Batch:
        """Return a sample or more, to try the network on."""

    @abstractmethod
    def end(self) -> None:
        """Leave the epoch."""


class ArrayFeed(Feed):
    """Gathers mini-batches of arrays."""

    def __init__(self, source: ArraySource) -> None:
        self._source, self.mini_batch_size = source, source.mini_batch_size
        self.most = min(source.mini_batch_size, source.samples)
        self.weighted = source.weight is not None

    def run(self, epoch: int, first: int, count: int) -> Batch:
        return self._source.run(epoch, first, count)

    def some(self, count: int) -> Any:
        return self._source.some(count)

    def batches(self, epoch: int, first: int, count: int) -> Iterator[Batch]:
        yield from self._source.batches(epoch, first, first + count)


class ArrayOrders(Orders):
    """Mini-batches of arrays.

    Args:
        source: the arrays.
        workers: how many there are.
        unit: an order has a multiple of so many mini-batches, but for the last.
    """

    def __init__(self, source: ArraySource, workers: int, unit: int) -> None:
        self._source, self._workers, self._unit = source, workers, unit
        self._given = self._stop = source.steps
        self.feed = ArrayFeed(source)

    @property
    def over(self) -> bool:  # type: ignore[override]
        return self._given == self._stop

    def begin(self, epoch: int, start: int, stop: int | None = None) -> None:
        self._given, self._stop = start, self._source.steps if stop is None else stop

    def next(self, longest: int) -> tuple[int, int] | None:
        """Orders become shorter towards the end of the epoch, so that workers end together whatever their speed."""
        first, left = self._given, self._stop - self._given
        fair = left // (2 * self._workers)
        wanted = max(min(longest, fair), longest // SHORTEST)
        count = min(left, max(1, wanted // self._unit) * self._unit)
        self._given += count
        return (first, count) if count else None

    def give_back(self, first: int, count: int) -> None:
        pass

    def sample(self) -> Batch:
        return self._source.first()

    def end(self) -> None:
        self._given = self._stop


class SlotFeed(Feed):
    """Mini-batches in shared memory.

    Args:
        batch: one of them; the others have its types and shapes, and at most `most` samples.
        slots: how many there is room for.

    Raises:
        MemoryError: there is not enough memory.
    """

    def __init__(self, batch: Batch, most: int, slots: int) -> None:
        self.most = max(most, len(batch.x))
        self._made = _form(batch.x), _form(batch.target)
        self._forms = [(part.shape[1:], part.dtype) for part in _arrays_of(batch)]
        sizes = [int(np.prod(shape, dtype=int)) * dtype.itemsize * self.most for shape, dtype in self._forms]
        self._ends = np.cumsum([CACHE_LINE, *(rounded_up(size, CACHE_LINE) for size in sizes)]).tolist()
        self.attach(reserved_memory(slots * self._ends[-1], f"{slots} mini-batches"))

    def attach(self, memory: Descriptor) -> None:
        super().attach(memory)
        self._buffer = mapped(memory)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_buffer", "memory")}

    def _arrays(self, slot: int) -> tuple[Array, list[Array]]:
        """Return the numbers and the arrays of a slot."""
        at = slot * self._ends[-1]
        head: Array = np.ndarray((HEAD,), np.float64, self._buffer, at)
        places = zip(self._forms, self._ends, strict=False)
        return head, [np.ndarray((self.most, *shape), dtype, self._buffer, at + end) for (shape, dtype), end in places]

    def put(self, slot: int, batch: Batch) -> None:
        """Copy a mini-batch into a slot.

        Raises:
            DataError: it is of other types or shapes than the first one.
        """
        head, arrays = self._arrays(slot)
        parts = _arrays_of(batch)
        if (_form(batch.x), _form(batch.target)) != self._made:
            raise DataError("mini-batches must all be arrays, or all sequences with lengths, as the first one")
        if len(parts) != len(arrays):
            raise DataError("mini-batches must all have weights or none, as the first one")
        for array, part, (shape, dtype) in zip(arrays, parts, self._forms, strict=True):
            if part.shape[1:] != shape or part.dtype != dtype or len(part) > self.most:
                wanted = f"at most {self.most} samples of shape {shape} and type {dtype}, as the first one"
                raise DataError(f"mini-batches must have {wanted}, got {part.shape} of type {part.dtype}")
            array[: len(part)] = part
        head[:] = len(batch.x), batch.position, batch.share

    def batches(self, epoch: int, first: int, count: int) -> Iterator[Batch]:
        for slot in range(first, first + count):
            head, arrays = self._arrays(slot)
            samples, position = int(head[0]), int(head[1])
            rest = [array[:samples] for array in arrays]
            x, target = (_put_together(form, rest) for form in self._made)
            yield Batch(x, target, position, float(head[2]), weight=rest[0] if rest else None)


def _arrays_of(batch: Batch) -> list[Array]:
    return [*_arrays_in(batch.x), *_arrays_in(batch.target), *([] if batch.weight is None else [batch.weight])]


def _arrays_in(samples: Any) -> list[Array]:
    if isinstance(samples, ByName):
        return [array for part in samples.parts.values() for array in _arrays_in(part)]
    return [samples.values, samples.lengths] if isinstance(samples, Sequences) else [samples]


def _form(samples: Any) -> Any:
    """Return what samples are made of: "array", "sequences", or a dict of names to such."""
    if isinstance(samples, ByName):
        return {name: _form(part) for name, part in samples.parts.items()}
    return "sequences" if isinstance(samples, Sequences) else "array"


def _put_together(form: Any, arrays: list[Array]) -> Any:
    """Return samples of a form, made of the first arrays, which are taken out of the list."""
    if isinstance(form, dict):
        return ByName({name: _put_together(one, arrays) for name, one in form.items()})
    return Sequences(arrays.pop(0), arrays.pop(0)) if form == "sequences" else arrays.pop(0)


class HeldFeed(Feed):
    """Mini-batches of sparse rows, of which no two take the same memory: threads get them as they are."""

    obstacle = "sparse rows of a Generator stay in this process"

    def __init__(self, most: int) -> None:
        self.most = most
        self._held: dict[int, Batch] = {}

    def put(self, slot: int, batch: Batch) -> None:
        """Keep a mini-batch until it is asked for."""
        self._held[slot] = batch

    def batches(self, epoch: int, first: int, count: int) -> Iterator[Batch]:
        for slot in range(first, first + count):
            yield self._held[slot]


class SlotOrders(Orders):
    """Mini-batches of a Generator, which the owner puts into slots.

    Args:
        source: the Generator as a source.
        workers: how many there are.
        unit: an order has so many mini-batches, but for the last.
        sparse: whether they are sparse rows.
    """

    feed: SlotFeed | HeldFeed

    def __init__(self, source: Source, workers: int, unit: int, sparse: bool) -> None:
        self._source, self._unit, self._groups, self._sparse = source, unit, 2 * workers + 1, sparse
        self._free = list(range(self._groups))
        self._batches: Batches | None = None
        self._coming: Batch | None = None
        self._sample: Batch | None = None

    @property
    def over(self) -> bool:  # type: ignore[override]
        return self._coming is None

    def begin(self, epoch: int, start: int, stop: int | None = None) -> None:
        assert stop is None, "of a Generator it is known when it ends"
        self._batches = self._source.batches(epoch, start)
        self._coming = next(self._batches, None)
        if self._coming and not hasattr(self, "feed"):
            most = self._source.mini_batch_size
            slots = self._groups * self._unit
            self.feed = HeldFeed(most) if self._sparse else SlotFeed(self._coming, most, slots)
        if self._coming:
            self._sample = self._coming.part(0, 1).copy()

    def next(self, longest: int) -> tuple[int, int] | None:
        if not self._free or not self._coming:
            return None
        first, count = self._free.pop() * self._unit, 0
        assert self._batches
        while self._coming and count < self._unit:
            self.feed.put(first + count, self._coming)
            count += 1
            self._coming = None  # its slot of the Generator is free before the next one is asked for
            self._coming = next(self._batches, None)
        return first, count

    def give_back(self, first: int, count: int) -> None:
        self._free.append(first // self._unit)

    def sample(self) -> Batch:
        assert self._sample
        return self._sample

    def end(self) -> None:
        self._coming = None
        self._free = list(range(self._groups))
        if self._batches:
            self._batches.close()


def orders_of(source: Source, workers: int, unit: int, sparse: bool) -> Orders:
    """Return the owner's side for a source; `sparse`: the network takes sparse rows."""
    if isinstance(source, ArraySource):
        return ArrayOrders(source, workers, unit)
    return SlotOrders(source, workers, unit, sparse)
