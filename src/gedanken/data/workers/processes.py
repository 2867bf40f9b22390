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
from gedanken.data.workers.arena import LINE, Arena, rounded_up
from gedanken.data.workers.crew import GRACE, Crew
from gedanken.data.workers.items import Layout
from gedanken.data.workers.pickling import Packed
from gedanken.data.workers.ports import (
    NO_TASK,
    TASK,
    Board,
    Descriptor,
    Inbox,
    WorkerArguments,
    WorkerDescriptors,
    mapped,
    pack_task,
    resize,
    secure,
    unnamed_memory,
)
from gedanken.data.workers.starting import (
    GUARD,
    ensure_server,
    kill_server,
    no_file_of_a_session,
    one_thread_of_blas,
    preload,
    why_server_ended,
    without_interrupts,
)
from gedanken.data.workers.tasks import IDLE, Done, Task
from gedanken.data.workers.worker import main
from gedanken.errors import WorkerError

PIPE_BYTES = 1 << 20  # asked for; a pipe that is smaller is filled again whenever a mini-batch is asked for
AT_ONCE = 4096 // TASK.size  # tasks that a pipe takes whole or not at all
STACK_SECONDS = 1.0  # for a worker to write down where it stands
START_SECONDS = 60.0


class ProcessCrew(Crew):
    """Processes, each with some threads.

    Args:
        generator: whose calls they make.
        pickled: the Generator as it is sent; None lets a forked process inherit it.
        processes: how many.
        threads: of each.
        method: "forkserver", "fork" or "spawn".
    """

    def __init__(self, generator: Any, pickled: Packed | None, processes: int, threads: int, method: str) -> None:
        self.width, self.threads = processes * threads, threads
        self._memory = _Memory(pickled, self.width)
        self.board = Board(self._memory.board, self.width)
        for worker in range(self.width):
            self.board.places[worker] = IDLE
        self._arena: Arena | None = None
        self._backlog: deque[bytes] = deque()
        reading, writing = os.pipe()
        _widen(writing)
        os.set_blocking(writing, False)
        self._tasks = Descriptor(writing)
        self._inboxes: list[Inbox] = []
        self._processes: list[Any] = []
        self._servers: list[int] = []  # process ids of servers that were started for these processes
        # Ends the workers also when the program ends, before multiprocessing waits for them.
        ends = (self._tasks, self._processes, self._inboxes, self._memory, self.width, self._servers)
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
            tasks.close()
        self._started, self._began = 0, time.monotonic()

    def _start(self, context: Any, tasks: Descriptor, number: int, inherited: Any) -> None:
        reading, writing = os.pipe()
        self._inboxes.append(Inbox(reading))
        answers, memory, start = Descriptor(writing), self._memory, context.get_start_method()
        arguments = WorkerArguments(
            WorkerDescriptors(tasks, answers, memory.board, memory.arena, memory.stacks, memory.pickle),
            parts=memory.parts,
            inherited=inherited,
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
            answers.close()
        self._processes.append(process)
        # They are ended by us alone; multiprocessing would also end them when a fork of this process ends.
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
            process.start()  # Ctrl-C is heard, since the server may import for long before it answers
        except (EOFError, ConnectionError):
            if self._processes or self._servers:
                raise
            kill_server()  # it was about to end, of what it was last asked for
            self._launch(process, start)

    def settle(self, layout: Layout, rows: int, slots: int) -> Arena:
        resize(self._memory.arena, Arena.size(layout, rows, slots))
        memory = self._memory.arena
        self._arena = Arena(layout, rows, slots, mapped(memory), lambda start, size: secure(memory, start, size))
        self.board.announce(layout, rows, slots)
        return self._arena

    # ------------------------------------------------------------------ tasks and answers

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

    def wait(self, seconds: float) -> list[Done]:
        self._flush()
        watched = select.poll()
        for inbox in self._inboxes:
            watched.register(inbox.fd, select.POLLIN)
        for process in self._processes:
            watched.register(process.sentinel, select.POLLIN)
        if self._backlog:
            watched.register(self._tasks.fd, select.POLLOUT)
        if ready := watched.poll(round(seconds * 1000)):
            return self._answers({fd for fd, _ in ready})
        if seconds and not self._started and time.monotonic() - self._began > START_SECONDS:
            raise WorkerError(f"no worker process was ready within {START_SECONDS:g} s; {self.stack(0)}")
        return []

    def _answers(self, ready: set[int]) -> list[Done]:
        found = []
        for inbox in self._inboxes:
            for done in inbox.read() if inbox.fd in ready else ():
                if done.number != NO_TASK:
                    found.append(done)
                elif done.error is None:
                    self._started += 1
                elif isinstance(done.error, Warning):
                    warn(done.error)
                else:
                    raise WorkerError(f"a worker process could not start: {done.error!r}") from done.error
        for number, (process, inbox) in enumerate(zip(self._processes, self._inboxes, strict=True)):
            if inbox.ended or (process.sentinel in ready and not process.is_alive()):
                raise WorkerError(self._obituary(number))
        return found

    def _obituary(self, number: int) -> str:
        process = self._processes[number]
        process.join(GRACE)
        code = process.exitcode
        how = f"exited with code {code}" if code is None or code >= 0 else f"was killed by {_signal_name(-code)}"
        if code == -signal.SIGKILL:
            how += " (often by the system because memory ran out)"
        first = number * self.threads
        calls = [place for place in self.board.places[first : first + self.threads] if place != IDLE]
        doing = f" in get_mini_batches({', '.join(map(str, calls))})" if calls else ""
        hint = f" before it was ready; its own message is above; {GUARD}" if not self._started and code == 1 else ""
        return f"{process.name} (pid {process.pid}) {how}{doing}{hint}"

    # ------------------------------------------------------------------ the rest of the contract

    @property
    def ready(self) -> bool:  # type: ignore[override]
        return self._started > 0

    def renew(self, generation: int) -> None:
        self.board.generation = generation

    def places(self) -> Sequence[int]:
        return self.board.places

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
            last, size = size, os.fstat(file).st_size
            if size > before and size == last:
                return os.pread(file, size - before, before).decode(errors="replace")
        return "(it does not answer)"

    def close(self) -> None:
        self._end()


class _Memory:
    """The shared memory of a crew."""

    def __init__(self, pickled: Packed | None, workers: int) -> None:
        self.board = unnamed_memory(Board.size(workers))
        self.arena, self.stacks = unnamed_memory(), unnamed_memory()
        self.parts, size = _placed(pickled)
        self.pickle = unnamed_memory(size)
        if pickled and size:
            secure(self.pickle, 0, size)
            memory = memoryview(mapped(self.pickle))
            for (start, length), part in zip(self.parts, pickled.parts, strict=True):
                memory[start : start + length] = part.cast("B")
        self.owner = os.getpid()


def _placed(pickled: Packed | None) -> tuple[tuple[tuple[int, int], ...], int]:
    """Return start and size of each part, such that arrays begin where processors like it, and the size of all."""
    places, at = [], 0
    for part in pickled.parts if pickled else ():
        places.append((at, part.nbytes))
        at += rounded_up(part.nbytes, LINE)
    return tuple(places), at


def _end(
    tasks: Descriptor,
    processes: Sequence[Any],
    inboxes: Sequence[Inbox],
    memory: _Memory,
    workers: int,
    servers: Sequence[int],
) -> None:
    """End all workers: those that are busy are waited for a moment, then killed, as is a server that still imports."""
    if memory.owner != os.getpid():
        return  # a fork of the owner
    Board(memory.board, workers).generation = 0xFFFFFFFF
    stop = pack_task(Task.stop())
    with contextlib.suppress(BlockingIOError, BrokenPipeError):
        for _ in range(workers):
            os.write(tasks.fd, stop)
    tasks.close()
    _end_processes(processes)
    for inbox in inboxes:
        os.close(inbox.fd)
    for descriptor in (memory.board, memory.arena, memory.stacks, memory.pickle):
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
