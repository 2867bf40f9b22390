"""Worker processes that write samples into memory which they share with their owner.

All of them read tasks from one pipe, records of one size, so a free one takes the next. Each answers through a pipe of
its own. There is no lock between processes, so one that is killed leaves nothing locked, and no file or segment has
a name, so nothing is left behind whoever is killed.
"""

import contextlib
import errno
import importlib
import multiprocessing
import os
import resource
import select
import signal
import time
from collections import deque
from collections.abc import Sequence
from multiprocessing import util
from typing import Any

from gedanken.checks import warn
from gedanken.data.workers.arena import CACHE_LINE, Arena, rounded_up
from gedanken.data.workers.base import GRACE, Workers
from gedanken.data.workers.channels import (
    NO_TASK,
    TASK,
    WARNED,
    Descriptor,
    ResultReader,
    SharedStatus,
    WorkerArguments,
    WorkerDescriptors,
    mapped,
    pack_task,
    reserve,
    resize,
    unnamed_memory,
)
from gedanken.data.workers.items import ItemSpec
from gedanken.data.workers.pickling import Pickled
from gedanken.data.workers.starting import (
    GUARD,
    ensure_server,
    kill_server,
    no_file_of_a_session,
    one_thread_of_blas,
    preload,
    start_by_server,
    why_server_ended,
    without_interrupts,
)
from gedanken.data.workers.tasks import IDLE, Task, TaskResult
from gedanken.data.workers.worker import main
from gedanken.errors import WorkerError

PIPE_BYTES = 1 << 20  # asked for; a pipe that is smaller is filled again whenever a mini-batch is asked for
AT_ONCE = 4096 // TASK.size  # tasks that a pipe takes whole or not at all
STACK_SECONDS = 1.0  # for a worker to write down where it stands
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
        self._servers: list[int] = []  # process ids of servers that were started for these processes
        # Ends the workers also when the program ends, before multiprocessing waits for them.
        ends = (self._tasks, self._processes, self._readers, self._memory, self.width, self._servers)
        self._end = util.Finalize(self, _end, ends, exitpriority=100)
        context = multiprocessing.get_context(method)
        if method == "forkserver":
            preload(context, type(generator).__module__)
        tasks = Descriptor(reading)
        try:
            for number in range(processes):
                self._start(context, tasks, number, None if pickled else generator)
        except BaseException as error:
            self.close()
            if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
                raise WorkerError(f"process {number} of {processes} could not start: {_few_descriptors()}") from error
            raise
        finally:
            # The workers have copies. Without this one a write fails when all of them are dead.
            tasks.close()
        self._started, self._began = 0, time.monotonic()

    def _start(self, context: Any, tasks: Descriptor, number: int, inherited: Any) -> None:
        reading, writing = os.pipe()
        self._readers.append(ResultReader(reading))
        results, memory, start = Descriptor(writing), self._memory, context.get_start_method()
        arguments = WorkerArguments(
            WorkerDescriptors(tasks, results, memory.status, memory.arena, memory.stacks, memory.pickle),
            parts=memory.parts,
            inherited=inherited,
            # A fork has these too; a pipe that it kept open would never end for the others.
            foreign=(self._tasks.fd, reading) if start == "fork" else (),
            first=number * self.threads,
            threads=self.threads,
            workers=self.width,
            owner=os.getpid(),
        )
        process = context.Process(target=main, args=(arguments,), name=f"gedanken process {number}", daemon=True)
        try:
            with one_thread_of_blas(), no_file_of_a_session():
                self._launch(process, start)
        except (EOFError, ConnectionError) as error:
            why = why_server_ended(served=bool(self._processes))
            raise WorkerError(f"the server of worker processes ended {why}") from error
        except ChildProcessError as error:
            rule = "a forked process cannot use its parent's server of worker processes; choose start_method='spawn'"
            raise WorkerError(rule) from error
        finally:
            # The worker has a copy, the only one: the pipe ends when the worker does.
            results.close()
            if process.ident is not None:  # also where an interrupt came after its start
                self._processes.append(process)
                # It is ended by us alone; multiprocessing would also end it when a fork of this process ends.
                getattr(multiprocessing.process, "_children", set()).discard(process)

    def _launch(self, process: Any, start: str) -> None:
        with without_interrupts():
            if start == "forkserver":
                self._servers += ensure_server()
            elif start == "fork":
                # NumPy imports it late; who is forked while another thread does so waits for ever.
                importlib.import_module("numpy.random")
                process.start()
            else:
                process.start()
        if start != "forkserver":
            return
        try:
            start_by_server(process)
        except (EOFError, ConnectionError):
            if self._processes or self._servers:
                raise
            kill_server()  # it was about to end, of what it was last asked for
            self._launch(process, start)

    def allocate(self, spec: ItemSpec, rows: int, slots: int) -> Arena:
        # Memory for all slots is asked for now, and taken when each is first used.
        resize(self._memory.arena, Arena.size(spec, rows, slots))
        memory = self._memory.arena
        self._arena = Arena(spec, rows, slots, mapped(memory), lambda start, size: reserve(memory, start, size))
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
        process = self._processes[number]
        process.join(GRACE)  # its pipe ends a moment before it does, and until then it has no exit code
        code = process.exitcode
        how = f"exited with code {code}" if code is None or code >= 0 else f"was killed by {_signal_name(-code)}"
        if code == -signal.SIGKILL:
            how += " (often by the system because memory ran out)"
        first = number * self.threads
        calls = [call for call in self.status.current_calls[first : first + self.threads] if call != IDLE]
        doing = f" in get_mini_batches({', '.join(map(str, calls))})" if calls else ""
        hint = f" before it was ready; its own message is above; {GUARD}" if not self._started and code == 1 else ""
        return f"{process.name} (pid {process.pid}) {how}{doing}{hint}"

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
        file = self._memory.stacks.fd
        size = before = os.fstat(file).st_size
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._processes[worker // self.threads].pid, signal.SIGUSR1)
        limit = time.monotonic() + STACK_SECONDS
        while time.monotonic() < limit:
            time.sleep(0.02)
            # It writes line by line and says nowhere that it is done.
            last, size = size, os.fstat(file).st_size
            if size > before and size == last:
                return os.pread(file, size - before, before).decode(errors="replace")
        return "(it does not answer)"

    def close(self) -> None:
        self._end()


class _Memory:
    """What the workers share with their owner."""

    def __init__(self, pickled: Pickled | None, workers: int) -> None:
        self.status = unnamed_memory(SharedStatus.size(workers))
        self.arena, self.stacks = unnamed_memory(), unnamed_memory()
        self.parts, size = _placed(pickled)
        self.pickle = unnamed_memory(size)
        if pickled and size:
            reserve(self.pickle, 0, size)
            memory = memoryview(mapped(self.pickle))
            for (start, length), part in zip(self.parts, pickled.parts, strict=True):
                memory[start : start + length] = part.cast("B")
        self.owner = os.getpid()


def _placed(pickled: Pickled | None) -> tuple[tuple[tuple[int, int], ...], int]:
    """Return start and size of each part, such that arrays begin where processors like it, and the size of all."""
    places, at = [], 0
    for part in pickled.parts if pickled else ():
        places.append((at, part.nbytes))
        at += rounded_up(part.nbytes, CACHE_LINE)
    return tuple(places), at


def _end(
    tasks: Descriptor,
    processes: Sequence[Any],
    readers: Sequence[ResultReader],
    memory: _Memory,
    workers: int,
    servers: Sequence[int],
) -> None:
    """End all workers: those that are busy are waited for a moment, then killed, as is a server that still imports."""
    if memory.owner != os.getpid():
        return  # a fork of the owner
    # No task is of this generation, so those that are still in the pipe are dropped instead of done.
    SharedStatus(memory.status, workers).generation = 0xFFFFFFFF
    stop = pack_task(Task.stop())
    with contextlib.suppress(BlockingIOError, BrokenPipeError):
        for _ in range(workers):
            os.write(tasks.fd, stop)
    tasks.close()
    _end_processes(processes)
    for reader in readers:
        os.close(reader.fd)
    for descriptor in (memory.status, memory.arena, memory.stacks, memory.pickle):
        descriptor.close()
    if servers and not processes:  # it has started nobody: one that still imports would go on, whoever is gone
        kill_server()


def _end_processes(processes: Sequence[Any]) -> None:
    limit = time.monotonic() + GRACE
    for process in processes:
        process.join(max(0.0, limit - time.monotonic()))
    for process in processes:
        if process.is_alive():
            process.kill()
            process.join(GRACE)
        if process.is_alive() and process._start_method == "forkserver":
            kill_server()  # it was stopped, and would tell of no end
            process.join(GRACE)
        if not process.is_alive():
            process.close()


def _few_descriptors() -> str:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return f"there are no more file descriptors (of {limit}); ask for fewer workers, or raise the limit (ulimit -n)"


def _widen(fd: int) -> None:
    try:
        import fcntl  # noqa: PLC0415 - not on every system

        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except (ImportError, AttributeError, OSError):
        return  # the usual size does


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
