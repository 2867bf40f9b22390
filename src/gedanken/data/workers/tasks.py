"""The unit of work: some calls of `get_mini_batches` one after the other, and where their samples go."""

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol

import numpy as np

from gedanken.data.workers.arena import Arena, RowWriter
from gedanken.data.workers.items import ItemSpec, Key, Samples
from gedanken.data.workers.padding import padded
from gedanken.errors import DataError
from gedanken.processes.raised import noted
from gedanken.random import Purpose, call_generator, permutation
from gedanken.types import Array

IDLE = -1
MOST_SLOTS = 10  # of one task


class Calls(Protocol):
    """What a worker needs of a Generator."""

    seed: int
    shuffle: bool
    transforms: Sequence[Callable[..., Any]]
    pad_to: Mapping[Key, int]

    def get_mini_batches(self, index: int) -> list[Any]:
        """Return the items of one call."""


class Task(NamedTuple):
    """Some calls to make.

    Args:
        generation: counts the epochs that were begun; a worker answers an older one at once.
        number: of the task.
        epoch: whose order and random numbers hold, from 0.
        calls: number of calls in that epoch.
        first: place of the first call in the epoch's order.
        length: how many calls.
        skip: samples that are left out at their beginning.
        row, room: the samples go into this row of the first slot and the following, at most so many.
        slots: numbers of slots.
    """

    generation: int
    number: int
    epoch: int
    calls: int
    first: int
    length: int
    skip: int
    row: int
    room: int
    slots: tuple[int, ...]

    @classmethod
    def stop(cls) -> "Task":
        """Return the task that ends a worker: it has no calls."""
        return cls(0, number=0, epoch=0, calls=0, first=0, length=0, skip=0, row=0, room=0, slots=())


class Span(NamedTuple):
    """Calls that are not delivered yet: places in the epoch's order, and samples to leave out at their beginning."""

    first: int
    stop: int
    skip: int

    @property
    def undivided(self) -> int:
        """Number of calls that one task must make: all of them where samples are left out, nobody knows of which."""
        return self.stop - self.first if self.skip else 0


class TaskResult(NamedTuple):
    """What became of a task.

    Args:
        number, generation: those of the task.
        worker: who did it.
        samples: how many it gave.
        seconds: how long it took; 0 for one that was too old.
        extra: (spec, arrays) of the samples that had no room, or None.
        error: what the user's code raised, or None.
    """

    number: int
    generation: int
    worker: int
    samples: int
    seconds: float
    extra: tuple[ItemSpec, list[Array]] | None = None
    error: BaseException | None = None


running_epoch: ContextVar[int] = ContextVar("running_epoch")


class Permutations:
    """The order of the calls of one epoch, made once for all threads of a process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: tuple[tuple[int, int, int], Array] | None = None

    def of(self, seed: int, epoch: int, calls: int) -> Array:
        """Return the order of range(calls) in this epoch."""
        key = (seed, epoch, calls)
        with self._lock:
            if self._made is None or self._made[0] != key:
                self._made = key, permutation(seed, Purpose.ORDER, calls, epoch)
            return self._made[1]


def _before_error(writer: "SampleWriter | None") -> tuple[int, Any]:
    """Return the samples that were made before an error, or none where there is no memory for them either."""
    try:
        return (writer.count(), writer.extra()) if writer else (0, None)
    except BaseException:  # whatever it is, there is an error already
        return 0, None


class TaskRunner:
    """Where one worker works.

    Args:
        number: of the worker, from 0.
        name: of it, for errors.
        at: one integer that others may read: the index of the running call, or IDLE.
        permutations: shared by the workers of a process.
        reseed: called with (seed, epoch, index) before each call, where the process is the worker's own.
    """

    def __init__(
        self,
        number: int,
        name: str,
        at: Any,
        permutations: Permutations,
        reseed: Callable[[int, int, int], None] | None = None,
    ) -> None:
        self.number, self.name, self.at = number, name, at
        self.arena: Arena | None = None
        self._spec: ItemSpec | None = None  # of the first samples: what all others have to be like
        self.reseed, self._permutations = reseed, permutations
        self._process = os.getpid() if reseed else 0

    def run(self, generator: Calls, task: Task, generation: int) -> TaskResult:
        """Make the calls of a task, write their samples and tell what happened; drop one of another generation.

        Raises nothing of the user's. The worker counts as busy until `set_idle`, when its answer is with the owner.
        """
        if task.generation != generation:
            return TaskResult(task.number, task.generation, self.number, 0, 0.0)
        began, error, writer = time.perf_counter(), None, None
        token = running_epoch.set(task.epoch)
        try:
            writer = SampleWriter(task, self.arena, self._spec, generator.pad_to)
            self._make_calls(generator, task, writer)
            samples, extra = writer.count(), writer.extra()
            self._spec = writer.spec
        except BaseException as raised:  # whatever it is belongs to the one who waits for the samples
            error = noted(raised, self._where())
            samples, extra = _before_error(writer)
        finally:
            running_epoch.reset(token)
        seconds = time.perf_counter() - began
        try:
            return TaskResult(task.number, task.generation, self.number, samples, seconds, extra, error)
        finally:
            del error  # it refers to this frame

    def _make_calls(self, generator: Calls, task: Task, writer: "SampleWriter") -> None:
        transforms = [t for t in generator.transforms if not getattr(t, "on_mini_batches", False)]
        at, get, put = self.at, generator.get_mini_batches, None if transforms else writer.put_plain()
        for index in self._indices(generator, task):
            at[0] = index
            if self.reseed:
                self.reseed(generator.seed, task.epoch, index)
            items, done = get(index), 0
            if self._process and os.getpid() != self._process:  # a fork by the user's code, which returned
                os._exit(0)
            if put and type(items) is list:
                done = put(items)
                if done == len(items):
                    continue
            _take(generator, transforms, task.epoch, index, items, done, writer)
            put = None if transforms else writer.put_plain()

    def _where(self) -> str:
        call = self.at[0]
        return f"before a call, {self.name}" if call == IDLE else f"in get_mini_batches({call}), {self.name}"

    def set_idle(self) -> None:
        """Say that this worker has nothing to do: its answer is given."""
        self.at[0] = IDLE

    def _indices(self, generator: Calls, task: Task) -> Sequence[int]:
        calls = slice(task.first, task.first + task.length)
        if not generator.shuffle:
            return range(calls.start, calls.stop)
        indices: list[int] = self._permutations.of(generator.seed, task.epoch, task.calls)[calls].tolist()
        return indices


def _take(
    generator: Calls, transforms: Sequence[Any], epoch: int, index: int, items: Any, done: int, writer: "SampleWriter"
) -> None:
    """Take in the items of a call, without the first `done`."""
    if not isinstance(items, list):
        rule = "must return a list of items, such as [(input, label)]"
        raise DataError(f"get_mini_batches({index}) {rule}, got {type(items).__name__}")
    number = 0
    for place in range(done, len(items)):
        item, where = items[place], f"item {place} of get_mini_batches({index})"
        if not transforms:
            writer.add(item, where)
            continue
        for sample in _singles(item, generator.pad_to, where):
            number += 1
            rng = call_generator(generator.seed, Purpose.AUGMENTATION, epoch, index, number)
            writer.add(_transformed(transforms, rng, sample), where)


def _transformed(transforms: Sequence[Any], rng: "np.random.Generator", sample: Any) -> Any:
    for transform in transforms:
        sample = transform(rng, sample)
    return sample


class SampleWriter:
    """Takes a task's samples: into rows of the arena while there is room, else into lists.

    Args:
        task: the task.
        arena: where the rows are, or None.
        spec: how samples look, where that is known.
        pad_to: places of sequences by their keys, see `Generator`.
    """

    def __init__(self, task: Task, arena: Arena | None, spec: ItemSpec | None, pad_to: Mapping[Key, int]) -> None:
        self.spec, self._pad_to = arena.spec if arena else spec, pad_to
        self._skip = task.skip
        self._rows = RowWriter(arena, task.slots, task.row, task.room) if arena and task.room else None
        self._extra: list[Sequence[Array]] = []

    def put_plain(self) -> Callable[[list[Any]], int] | None:
        """Return the fast way to take in items, where there is one."""
        if not self._rows or self._skip or (self.spec and self.spec.has_sequences):
            return None
        return self._rows.put_plain

    def add(self, item: Any, where: str) -> None:
        """Take in an item after a look at all that it may be."""
        item = padded(item, self._pad_to, where)
        if self.spec is None:
            self.spec = ItemSpec.of(item, where)
        arrays = self.spec.arrays_of(item, where)
        if self._skip:
            dropped = min(self._skip, len(arrays[0]))
            self._skip -= dropped
            arrays = [array[dropped:] for array in arrays]
        written = self._rows.put(arrays) if self._rows else 0
        if written < len(arrays[0]):
            # Copies: the caller's arrays are his own, and he may fill them anew for the next call.
            specs = self.spec.arrays
            self._extra.append([np.array(a[written:], s.dtype) for s, a in zip(specs, arrays, strict=True)])

    def count(self) -> int:
        """Return how many samples were taken in."""
        return (self._rows.written() if self._rows else 0) + sum(len(arrays[0]) for arrays in self._extra)

    def extra(self) -> tuple[ItemSpec, list[Array]] | None:
        if not self._extra:
            return None
        assert self.spec is not None
        return self.spec, [np.concatenate(parts) for parts in zip(*self._extra, strict=True)]


def _singles(item: Any, pad_to: Mapping[Key, int], where: str) -> list[Any]:
    """Return the samples that an item carries, each as an item."""
    if not isinstance(item, Samples):
        return [item]
    item = padded(item, pad_to, where)
    spec = ItemSpec.of(item, where)
    arrays = spec.arrays_of(item, where)
    return [spec.sample(arrays, k) for k in range(len(arrays[0]))]
