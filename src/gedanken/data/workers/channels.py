"""What lies between a Generator and its worker processes: shared memory, records of tasks, and results."""

import pickle
import struct
import threading
from typing import Any, NamedTuple

import numpy as np

from gedanken.data.workers.arena import Arena
from gedanken.data.workers.items import ArraySpec, ItemSpec
from gedanken.data.workers.tasks import MOST_SLOTS, Task, TaskResult
from gedanken.processes.memory import Descriptor, mapped
from gedanken.processes.messages import PipeReader, write_all
from gedanken.processes.pickling import SharedObject
from gedanken.processes.raised import pack_error, unpack_error

TASK = struct.Struct(f"<IIIQQIIII{MOST_SLOTS}H")
RESULT = struct.Struct("<IIIQdQ")  # a pickle of so many bytes may follow
NO_TASK = 0  # number of the result that says a worker is ready or could not start; tasks count from 1
WARNED = 2**32 - 1  # number of the result that carries a warning
TEXT = 1 << 16  # bytes for the description of the arena
CELL = 8  # bytes of one integer


class SharedStatus:
    """A small shared memory that owner and workers look at: the generation, where workers are, and the arena's form.

    Args:
        memory: as `unnamed_memory(SharedStatus.size(workers))`.
        workers: number of them, threads of processes counted singly.
    """

    def __init__(self, memory: Descriptor, workers: int) -> None:
        buffer = mapped(memory)
        self._cells = memoryview(buffer)[: (2 + workers) * CELL].cast("q")
        self._text = memoryview(buffer)[(2 + workers) * CELL :]
        self.current_calls = self._cells[2:]

    @staticmethod
    def size(workers: int) -> int:
        """Return how many bytes it takes."""
        return (2 + workers) * CELL + TEXT

    @property
    def generation(self) -> int:
        """Tasks of others are not done any more."""
        return self._cells[0]

    @generation.setter
    def generation(self, value: int) -> None:
        self._cells[0] = value

    def announce(self, spec: ItemSpec, rows: int, slots: int) -> None:
        """Tell what the arena looks like; tasks that use it may be given after that."""
        specs = [(key, shape, dtype.str, lengths) for key, shape, dtype, lengths in spec.arrays]
        text = pickle.dumps((spec.kind, specs, rows, slots))
        self._text[: len(text)] = text
        self._cells[1] = len(text)

    def arena(self, memory: Descriptor) -> Arena:
        """Return the announced arena over this memory."""
        kind, specs, rows, slots = pickle.loads(self._text[: self._cells[1]])  # noqa: S301 - from our own process
        from_text = tuple(ArraySpec(key, shape, np.dtype(dtype), lengths) for key, shape, dtype, lengths in specs)
        return Arena(ItemSpec(kind, from_text), rows, slots, mapped(memory))


class WorkerDescriptors(NamedTuple):
    """What a worker process reads, writes and maps.

    Args:
        tasks: where tasks are read.
        results: where results are written.
        status, arena, stacks: shared memory; the last is for writing down where threads stand.
    """

    tasks: Descriptor
    results: Descriptor
    status: Descriptor
    arena: Descriptor
    stacks: Descriptor


class WorkerArguments(NamedTuple):
    """All that a worker process is given.

    Args:
        descriptors: what it reads, writes and maps.
        sent: the Generator.
        inherited: the Generator itself, in a forked process that needs no pickle.
        foreign: descriptors that a forked process has too and must not keep.
        first: number of its first thread among all workers.
        threads: how many threads make calls.
        workers: number of all workers.
        owner: process id of the trainer.
    """

    descriptors: WorkerDescriptors
    sent: SharedObject
    inherited: Any
    foreign: tuple[int, ...]
    first: int
    threads: int
    workers: int
    owner: int


def report(worker: int, error: BaseException | None = None, number: int = NO_TASK) -> TaskResult:
    """Return the result of a worker that is ready, or that could not start or, with the number WARNED, warns."""
    return TaskResult(number, generation=0, worker=worker, samples=0, seconds=0.0, error=error)


def pack_task(task: Task) -> bytes:
    """Return a task as a record."""
    slots = task.slots + (0,) * (MOST_SLOTS - len(task.slots))
    return TASK.pack(*task[:9], *slots)


def unpack_task(record: bytes) -> Task:
    """Return the task of a record."""
    values = TASK.unpack(record)
    return Task._make((*values[:9], values[9:]))


class ResultWriter:
    """The end of a pipe where a worker process writes results, for all its threads."""

    def __init__(self, fd: int) -> None:
        self._fd, self._lock = fd, threading.Lock()

    def send(self, done: TaskResult) -> None:
        """Write a result, and its samples or error if it has any; where there is no memory for that, this is told."""
        try:
            content = _content(done)
        except Exception as error:
            done = done._replace(samples=0, extra=None, error=error)
            content = _content(done)
        with self._lock:
            write_all(self._fd, RESULT.pack(*done[:5], len(content)) + content)


def _content(done: TaskResult) -> bytes:
    if not (done.extra or done.error):
        return b""
    return pickle.dumps((done.extra, pack_error(done.error) if done.error else None), protocol=5)


class ResultReader(PipeReader):
    """The other end: reads results as they come, never waits."""

    def read(self) -> list[TaskResult]:
        """Return the results that are complete."""
        self.fill()
        found, at = [], 0
        while len(self.got) - at >= RESULT.size:
            *values, length = RESULT.unpack_from(self.got, at)
            if len(self.got) - at < RESULT.size + length:
                break
            at += RESULT.size
            extra = error = None
            if length:
                extra, packed = pickle.loads(memoryview(self.got)[at : at + length])  # noqa: S301 - our own process
                error = unpack_error(packed) if packed else None
            at += length
            found.append(TaskResult._make((*values, extra, error)))
        if at:
            self.got = self.got[at:]
        return found
