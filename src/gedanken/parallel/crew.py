"""The workers of a training as their owner sees them: it gives orders, and hears what was done, or who died."""

import contextlib
import fcntl
import os
import select
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager
from multiprocessing import util
from typing import Any, NamedTuple

from gedanken.errors import WorkerError
from gedanken.parallel.block import Block, Layout
from gedanken.parallel.feeds import Feed
from gedanken.parallel.recipe import Recipe
from gedanken.parallel.worker import Order, Work, Worker, serve
from gedanken.processes.child import send_warnings, settle
from gedanken.processes.group import GRACE, ProcessGroup, death_of
from gedanken.processes.memory import Descriptor
from gedanken.processes.messages import MessageReader, MessageWriter
from gedanken.processes.pickling import Pickled, SharedObject
from gedanken.processes.raised import pack_error
from gedanken.processes.refused import FEWER, granted
from gedanken.processes.uncut import start_thread

STOP = Order(0, 0, 0, 0, 0)
THREAD_SECONDS = 5.0  # that threads have to end by themselves: each may be in the midst of a mini-batch


class Job(NamedTuple):
    """What every worker is given.

    Args:
        recipe: of the network.
        feed: where mini-batches are.
        update: how the parameters are written.
    """

    recipe: Recipe
    feed: Feed
    update: str


class Crew(ABC):
    """Some workers, who work for the process that made them; a fork of it leaves them alone.

    Args:
        workers: how many.
        lines: how many pipes of orders there are: one for all, or one for each worker.
    """

    def __init__(self, workers: int, lines: int) -> None:
        self.workers, self._owner = workers, os.getpid()
        pipes = [os.pipe() for _ in range(lines)]
        self._reading = [Descriptor(reading) for reading, _ in pipes]
        self._writing = [Descriptor(writing) for _, writing in pipes]
        for writing in self._writing:
            os.set_blocking(writing.fd, False)

    @property
    def owned(self) -> bool:
        """Whether this process made them, and is not a fork of the one that did."""
        return os.getpid() == self._owner

    def require_owner(self) -> None:
        """Raise WorkerError in a fork."""
        if not self.owned:
            rule = "the training goes on there alone; a fork of it may train a network of its own"
            raise WorkerError(f"workers belong to process {self._owner}, of which this one is a fork: {rule}")

    def submit(self, order: Order, line: int = 0) -> bool:
        """Give an order to whoever reads this pipe next; return False where the pipe is full."""
        with contextlib.suppress(BlockingIOError):
            return os.write(self._writing[line].fd, order.packed()) > 0
        return False

    def _ask_to_end(self) -> None:
        """Let every worker end when it has done what was ordered before."""
        for line in range(len(self._writing)):
            for _ in range(self.workers):
                self.submit(STOP, line)

    def _orders_for(self, number: int) -> Descriptor:
        """Return the pipe that a worker reads its orders from."""
        return self._reading[number % len(self._reading)]

    def unread(self, number: int) -> bool:
        """Return whether there are orders for a worker that nobody has read."""
        waiting = select.poll()
        waiting.register(self._orders_for(number).fd, select.POLLIN)
        return bool(waiting.poll(0))

    @abstractmethod
    def start(self, number: int) -> None:
        """Start a worker, or another one in its place."""

    @abstractmethod
    def wait(self, seconds: float) -> list[Work]:
        """Return what was done meanwhile; nothing when the time is over or a worker died."""

    @abstractmethod
    def death(self, number: int) -> str:
        """Say how a worker died, or nothing where it lives."""

    @abstractmethod
    def end(self, number: int) -> None:
        """End a worker that does not answer."""

    @abstractmethod
    def describe(self, number: int) -> str:
        """Return a worker's name."""

    def close(self) -> None:
        """End all workers; a fork ends nobody."""
        if self.owned:
            self._ask_to_end()
            self._close()

    @abstractmethod
    def _close(self) -> None:
        """Wait a moment for those who were asked to end, and free what they took."""


class ThreadCrew(Crew):
    """Threads of this process."""

    def __init__(self, workers: int, lines: int, job: Job, block: Block) -> None:
        super().__init__(workers, lines)
        self._job, self._block, self._lock = job, block, threading.Lock()
        self._works: deque[Work] = deque()
        bell = os.pipe()
        self._heard, self._bell = Descriptor(bell[0]), Descriptor(bell[1])
        os.set_blocking(self._heard.fd, False)
        self._threads: list[threading.Thread | None] = [None] * workers
        self._using, self._counting, self._closing = 0, threading.Lock(), False
        self._hangs = False  # one of them does not answer

    def start(self, number: int) -> None:
        name = f"gedanken worker {number}"
        orders = self._orders_for(number).fd
        thread = threading.Thread(target=self._work, args=(number, orders), name=name, daemon=True)
        self._threads[number] = thread
        self._count(1)
        try:
            start_thread(thread)
        except RuntimeError as error:
            self._count(-1)
            raise WorkerError(f"worker {number} of {self.workers} could not start: {error}; {FEWER}") from error

    def _work(self, number: int, orders: int) -> None:
        try:
            try:
                worker = Worker(number, self._job.recipe, self._block, self._job.feed, self._job.update, self._lock)
                worker.prepare()
            except BaseException as error:
                self._send(Work(number, 0, error=pack_error(error)))
                return
            self._send(Work(number, 0))
            serve(worker, orders, self._send)
        finally:
            self._count(-1)

    def _count(self, more: int) -> None:
        """Count who uses the pipes; whoever is the last to leave, the owner or a thread that ends late, closes them."""
        with self._counting:
            self._using += more
            if self._closing and not self._using:
                for descriptor in (*self._reading, *self._writing, self._heard, self._bell):
                    descriptor.close()

    def _send(self, work: Work) -> None:
        self._works.append(work)
        with contextlib.suppress(OSError):
            os.write(self._bell.fd, b"!")

    def wait(self, seconds: float) -> list[Work]:
        if not self._works:
            select.select([self._heard.fd], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            os.read(self._heard.fd, 1 << 16)
        return [self._works.popleft() for _ in range(len(self._works))]

    def death(self, number: int) -> str:
        return ""

    def end(self, number: int) -> None:
        self._hangs = True
        raise WorkerError(f"{self.describe(number)} does not answer, and a thread cannot be ended from outside")

    def describe(self, number: int) -> str:
        return f"worker {number} (a thread)"

    def _close(self) -> None:
        limit = time.monotonic() + (GRACE if self._hangs else THREAD_SECONDS)
        for thread in self._threads:
            if thread and thread.ident is not None:
                thread.join(max(0.0, limit - time.monotonic()))
        self._closing = True
        self._count(0)


class ProcessJob(NamedTuple):
    """What a worker process is given.

    Args:
        number: of the worker.
        sent: the Job.
        inherited: the Job itself, in a forked process that needs no pickle.
        layout, block: of the shared memory.
        slots: the feed's memory.
        orders, results, stacks: what it reads and writes.
        foreign: descriptors that a forked process has too and must not keep.
        owner: process id of the owner.
    """

    number: int
    sent: SharedObject
    inherited: Job | None
    layout: Layout
    block: Descriptor
    slots: Descriptor | None
    orders: Descriptor
    results: Descriptor
    stacks: Descriptor
    foreign: tuple[int, ...]
    owner: int


class FileLock(AbstractContextManager[None]):
    """A lock between processes, which the system gives back for one that is killed while it holds it.

    Args:
        fd: of a file of one byte or more.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __enter__(self) -> None:
        fcntl.lockf(self._fd, fcntl.LOCK_EX, 1)

    def __exit__(self, *_: object) -> None:
        fcntl.lockf(self._fd, fcntl.LOCK_UN, 1)


class ProcessCrew(Crew):
    """Processes.

    Args:
        workers, lines: as of `Crew`.
        pickled: the Job, or None where a forked process inherits it.
        job: what is to be done.
        layout, memory: of the block.
        method: how processes are started.
    """

    def __init__(
        self,
        workers: int,
        lines: int,
        job: Job,
        pickled: Pickled | None,
        layout: Layout,
        memory: Descriptor,
        method: str,
    ) -> None:
        super().__init__(workers, lines)
        self._inherited, self._layout, self._memory = None if pickled else job, layout, memory
        self._slots = job.feed.memory
        self._sent = SharedObject.of(pickled, "data and network")
        self._group = ProcessGroup(method, ["gedanken.parallel.crew"])
        self._processes: list[Any] = [None] * workers
        self._readers: list[MessageReader | None] = [None] * workers
        self._began = False
        # Ends the workers also when the program ends, before multiprocessing waits for them.
        self._end = util.Finalize(
            self, _end, (self._group, self._writing, self._reading, self._readers, self._sent), exitpriority=100
        )

    def start(self, number: int) -> None:
        with granted(f"worker {number} of {self.workers} could not start"):
            self._start(number)

    def _start(self, number: int) -> None:
        reading, writing = os.pipe()
        if old := self._readers[number]:
            os.close(old.fd)
        self._readers[number] = MessageReader(reading)
        results = Descriptor(writing)
        fork = self._group.method == "fork"
        foreign = [reader.fd for reader in self._readers if reader] + [one.fd for one in self._writing]
        job = ProcessJob(
            number, self._sent, self._inherited, self._layout, self._memory, self._slots,
            self._orders_for(number), results, self._group.stacks,
            tuple(foreign) if fork else (), os.getpid(),
        )  # fmt: skip
        self._processes[number] = self._group.start(main, job, f"gedanken worker {number}", results)

    def wait(self, seconds: float) -> list[Work]:
        watched = select.poll()
        for number, reader in enumerate(self._readers):
            if reader and not reader.ended:
                watched.register(reader.fd, select.POLLIN)
                watched.register(self._processes[number].sentinel, select.POLLIN)
        ready = {fd for fd, _ in watched.poll(round(seconds * 1000))}
        works = [work for reader in self._readers if reader and reader.fd in ready for work in reader.read()]
        self._began |= any(work.order == 0 and not work.error for work in works)
        return works

    def death(self, number: int) -> str:
        process, reader = self._processes[number], self._readers[number]
        if process.is_alive() and not (reader and reader.ended):
            return ""
        return death_of(process, ready=self._began)

    def end(self, number: int) -> None:
        self._processes[number].kill()

    def describe(self, number: int) -> str:
        return f"worker {number} (process {self._processes[number].pid})"

    def _close(self) -> None:
        self._end()


def _end(
    group: ProcessGroup,
    writing: Sequence[Descriptor],
    reading: Sequence[Descriptor],
    readers: Sequence[MessageReader | None],
    sent: SharedObject,
) -> None:
    if group.owner != os.getpid():
        return  # a fork of the owner
    for descriptor in writing:
        descriptor.close()
    group.end()
    for descriptor in (*reading, sent.memory):
        descriptor.close()
    for reader in readers:
        if reader:
            os.close(reader.fd)


def main(given: ProcessJob) -> None:
    """Be a worker process until there are no more orders, or the owner is gone."""
    with contextlib.suppress(BrokenPipeError):  # the owner closed while this process was starting
        _main(given)


def _main(given: ProcessJob) -> None:
    settle(given.owner, given.stacks, given.foreign)
    results = MessageWriter(given.results.fd)
    try:
        job = given.sent.loaded() if given.inherited is None else given.inherited
        if given.slots:
            job.feed.attach(given.slots)
        block, lock = Block(given.layout, given.block), FileLock(given.block.fd)
        worker = Worker(given.number, job.recipe, block, job.feed, job.update, lock)
        worker.prepare()
    except BaseException as error:  # the user's own __setstate__, or the import of his module
        results.send(Work(given.number, 0, error=pack_error(error)))
        return
    send_warnings(lambda warning: results.send(Work(given.number, 0, warning=warning)))
    results.send(Work(given.number, 0))
    serve(worker, given.orders.fd, results.send)
