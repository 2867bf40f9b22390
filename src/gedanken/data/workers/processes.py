"""Worker processes that write samples into memory which they share with their owner.

All of them read tasks from one pipe, records of one size, so a free one takes the next. Each answers through a pipe of
its own. There is no lock between processes, so one that is killed leaves nothing locked, and no file or segment has
a name, so nothing is left behind whoever is killed.
"""

import contextlib
import os
import select
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from multiprocessing import util
from typing import Any

from gedanken.checks import warn
from gedanken.data.workers.arena import Arena
from gedanken.data.workers.base import Workers
from gedanken.data.workers.channels import (
    NO_TASK,
    TASK,
    WARNED,
    ResultReader,
    SharedStatus,
    WorkerArguments,
    WorkerDescriptors,
    pack_task,
)
from gedanken.data.workers.items import ItemSpec
from gedanken.data.workers.tasks import IDLE, Task, TaskResult
from gedanken.data.workers.worker import main
from gedanken.errors import WorkerError
from gedanken.processes.group import ProcessGroup, death_of
from gedanken.processes.memory import Descriptor, mapped, reserve, resize, unnamed_memory
from gedanken.processes.pickling import Pickled, SharedObject
from gedanken.processes.refused import granted

PIPE_BYTES = 1 << 20  # asked for; a pipe that is smaller is filled again whenever a mini-batch is asked for
AT_ONCE = 4096 // TASK.size  # tasks that a pipe takes whole or not at all
START_SECONDS = 60.0


class ProcessWorkers(Workers):
    """Processes, each with some threads.

    Args:
        generator: whose calls they make.
        pickled: the Generator as it is sent; None lets a forked process inherit it.
        processes: how many.
        threads: of each.
        method: "forkserver", "fork" or "spawn".
    """

    def __init__(self, generator: Any, pickled: Pickled | None, processes: int, threads: int, method: str) -> None:
        self.width, self.threads = processes * threads, threads
        self._memory = _Memory(pickled, self.width)
        self.status = SharedStatus(self._memory.status, self.width)
        for worker in range(self.width):  # new memory is zeros, which would be call 0
            self.status.current_calls[worker] = IDLE
        self._arena: Arena | None = None
        self._backlog: deque[bytes] = deque()
        reading, writing = os.pipe()
        _widen(writing)
        os.set_blocking(writing, False)  # the network never waits because workers have enough to do
        self._tasks = Descriptor(writing)
        self._readers: list[ResultReader] = []
        self._processes: list[Any] = []
        self._group = ProcessGroup(method, ["gedanken.data.workers.worker", type(generator).__module__])
        # Ends the workers also when the program ends, before multiprocessing waits for them.
        ends = (self._tasks, self._group, self._readers, self._memory, self.width)
        self._end = util.Finalize(self, _end, ends, exitpriority=100)
        tasks = Descriptor(reading)
        try:
            for number in range(processes):
                with granted(f"process {number} of {processes} could not start"):
                    self._start(tasks, number, None if pickled else generator)
        except BaseException:
            self.close()
            raise
        finally:
            # The workers have copies. Without this one a write fails when all of them are dead.
            tasks.close()
        self._started, self._began = 0, time.monotonic()

    def _start(self, tasks: Descriptor, number: int, inherited: Any) -> None:
        reading, writing = os.pipe()
        self._readers.append(ResultReader(reading))
        results, memory = Descriptor(writing), self._memory
        arguments = WorkerArguments(
            WorkerDescriptors(tasks, results, memory.status, memory.arena, self._group.stacks),
            sent=memory.sent,
            inherited=inherited,
            # A fork has these too; a pipe that it kept open would never end for the others.
            foreign=(self._tasks.fd, reading) if self._group.method == "fork" else (),
            first=number * self.threads,
            threads=self.threads,
            workers=self.width,
            owner=os.getpid(),
        )
        self._processes.append(self._group.start(main, arguments, f"gedanken process {number}", results))

    def allocate(self, spec: ItemSpec, rows: int, slots: int) -> Arena:
        # Memory for all slots is asked for now, and taken when each is first used.
        resize(self._memory.arena, Arena.size(spec, rows, slots), "a mini-batch and its buffer")
        memory = self._memory.arena
        self._arena = Arena(spec, rows, slots, mapped(memory), partial(reserve, memory, what="a mini-batch"))
        self.status.announce(spec, rows, slots)
        return self._arena

    # ------------------------------------------------------------------ tasks and results

    def submit(self, task: Task) -> None:
        self._backlog.append(pack_task(task))
        if len(self._backlog) >= AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        with contextlib.suppress(BlockingIOError, BrokenPipeError):  # full; all dead, which `wait` notices
            while self._backlog:
                records = [self._backlog[k] for k in range(min(AT_ONCE, len(self._backlog)))]
                os.write(self._tasks.fd, b"".join(records))
                for _ in records:
                    self._backlog.popleft()

    def wait(self, seconds: float) -> list[TaskResult]:
        self._flush()
        watched = select.poll()
        for reader in self._readers:
            watched.register(reader.fd, select.POLLIN)
        for process in self._processes:  # its pipe may outlive it in a process that the user's code has started
            watched.register(process.sentinel, select.POLLIN)
        if self._backlog:
            watched.register(self._tasks.fd, select.POLLOUT)
        if ready := watched.poll(round(seconds * 1000)):
            return self._results({fd for fd, _ in ready})
        if seconds and not self._started and time.monotonic() - self._began > START_SECONDS:
            raise WorkerError(f"no worker process was ready within {START_SECONDS:g} s; {self.stack(0)}")
        return []

    def _results(self, ready: set[int]) -> list[TaskResult]:
        found = []
        for reader in self._readers:
            for done in reader.read() if reader.fd in ready else ():
                if done.number == WARNED:
                    warn(done.error if isinstance(done.error, Warning) else str(done.error))
                elif done.number != NO_TASK:
                    found.append(done)
                elif done.error is None:
                    self._started += 1
                else:
                    raise WorkerError(f"a worker process could not start: {done.error!r}") from done.error
        for number, (process, reader) in enumerate(zip(self._processes, self._readers, strict=True)):
            if reader.ended or (process.sentinel in ready and not process.is_alive()):
                raise WorkerError(self._death_report(number))
        return found

    def _death_report(self, number: int) -> str:
        how = death_of(self._processes[number], ready=self._started > 0)
        first = number * self.threads
        calls = [call for call in self.status.current_calls[first : first + self.threads] if call != IDLE]
        return f"{how} in get_mini_batches({', '.join(map(str, calls))})" if calls else how

    # ------------------------------------------------------------------ the rest of the contract

    @property
    def ready(self) -> bool:  # type: ignore[override]
        return self._started > 0

    def cancel_before(self, generation: int) -> None:
        self.status.generation = generation

    def current_calls(self) -> Sequence[int]:
        return self.status.current_calls

    def describe(self, worker: int) -> str:
        process = self._processes[worker // self.threads]
        return f"worker {worker} ({process.name}, pid {process.pid})"

    def stack(self, worker: int) -> str:
        return self._group.stack(self._processes[worker // self.threads])

    def close(self) -> None:
        self._end()


class _Memory:
    """What the workers share with their owner."""

    def __init__(self, pickled: Pickled | None, workers: int) -> None:
        self.status, self.arena = unnamed_memory(SharedStatus.size(workers)), unnamed_memory()
        self.sent = SharedObject.of(pickled, "a Generator")


def _end(
    tasks: Descriptor, group: ProcessGroup, readers: Sequence[ResultReader], memory: _Memory, workers: int
) -> None:
    """End all workers: those that are busy are waited for a moment, then killed."""
    if group.owner != os.getpid():
        return  # a fork of the owner
    # No task is of this generation, so those that are still in the pipe are dropped instead of done.
    SharedStatus(memory.status, workers).generation = 0xFFFFFFFF
    stop = pack_task(Task.stop())
    with contextlib.suppress(BlockingIOError, BrokenPipeError):
        for _ in range(workers):
            os.write(tasks.fd, stop)
    tasks.close()
    group.end()
    for reader in readers:
        os.close(reader.fd)
    for descriptor in (memory.status, memory.arena, memory.sent.memory):
        descriptor.close()


def _widen(fd: int) -> None:
    try:
        import fcntl  # noqa: PLC0415 - not on every system

        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except (ImportError, AttributeError, OSError):
        return  # the usual size does
