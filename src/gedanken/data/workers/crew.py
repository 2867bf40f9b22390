"""Who does the tasks: the caller himself, or threads of this process. Processes stand in `processes.py`."""

import contextlib
import queue
import sys
import threading
import time
import traceback
import weakref
from abc import ABC, abstractmethod
from array import array
from collections import deque
from collections.abc import Sequence

from gedanken.data.workers.arena import Arena
from gedanken.data.workers.items import Layout
from gedanken.data.workers.tasks import IDLE, Bench, Calls, Done, Orders, Task
from gedanken.errors import WorkerError

GRACE = 0.3  # seconds that workers have to end by themselves
LOOK = 0.25  # seconds between two looks at workers that give nothing
LOST = 2.0  # seconds that it may take at least until a worker has a task that was given out


class Crew(ABC):
    """Workers that take tasks in the order in which they are given.

    Args:
        width: how many calls they make at the same time.
    """

    width: int
    beside = True  # whether they work while the caller waits
    ready = True  # whether one of them has started

    @abstractmethod
    def settle(self, layout: Layout, rows: int, slots: int) -> Arena:
        """Return memory for samples that look so, and tell the workers of it."""

    @abstractmethod
    def submit(self, task: Task) -> None:
        """Give a task; never waits."""

    @abstractmethod
    def wait(self, seconds: float) -> list[Done]:
        """Return what was done, at least one task unless the time is over.

        Raises:
            WorkerError: a worker died.
        """

    @abstractmethod
    def renew(self, generation: int) -> None:
        """Tasks of older generations need not be done any more."""

    @abstractmethod
    def places(self) -> Sequence[int]:
        """Return the index of the call that each worker is making, or IDLE."""

    @abstractmethod
    def describe(self, worker: int) -> str:
        """Return a worker's name, as "process 3 (pid 1234)"."""

    @abstractmethod
    def stack(self, worker: int) -> str:
        """Return where a worker stands in its code."""

    @abstractmethod
    def close(self) -> None:
        """End all workers; may be called again. Those that do not end in time are given up."""


class SerialCrew(Crew):
    """The caller, who does a task whenever he waits for one, without a time limit."""

    width, beside = 1, False

    def __init__(self, generator: Calls) -> None:
        self._generator = weakref.ref(generator)
        self._tasks: deque[Task] = deque()
        self._bench = Bench(0, "the only worker", array("q", [IDLE]), Orders())
        self._generation = 0

    def settle(self, layout: Layout, rows: int, slots: int) -> Arena:
        arena = self._bench.arena = Arena(layout, rows, slots)
        return arena

    def submit(self, task: Task) -> None:
        self._tasks.append(task)

    def wait(self, seconds: float) -> list[Done]:
        if not self._tasks or not seconds:
            return []
        task, generator = self._tasks.popleft(), self._generator()
        assert generator is not None
        done = self._bench.perform(generator, task, self._generation)
        self._bench.rest()
        if isinstance(done.error, KeyboardInterrupt):
            raise done.error
        return [done]

    def renew(self, generation: int) -> None:
        self._generation = generation

    def places(self) -> Sequence[int]:
        return self._bench.at

    def describe(self, worker: int) -> str:
        return self._bench.name

    def stack(self, worker: int) -> str:
        return ""

    def close(self) -> None:
        self._tasks.clear()


class ThreadCrew(Crew):
    """Threads of this process.

    While they have nothing to do they hold no reference to the Generator, so that it can be collected.

    Args:
        generator: whose calls they make.
        width: how many threads.
    """

    def __init__(self, generator: Calls, width: int) -> None:
        self.width = width
        self._shared = _Shared(weakref.ref(generator))
        orders, self._places = Orders(), array("q", [IDLE] * width)
        cells = memoryview(self._places)
        benches = [Bench(k, f"thread {k}", cells[k : k + 1], orders) for k in range(width)]
        self._benches = benches
        self._threads = [
            threading.Thread(target=_serve, args=(self._shared, bench), name=f"gedanken {bench.name}", daemon=True)
            for bench in benches
        ]
        self._end = weakref.finalize(self, _end, self._shared, self._threads)
        try:
            for thread in self._threads:
                thread.start()
        except BaseException as error:
            self.close()
            if not isinstance(error, (RuntimeError, MemoryError)):
                raise
            started = sum(thread.ident is not None for thread in self._threads)
            raise WorkerError(f"only {started} of {width} threads could be started ({error}); ask for fewer") from error

    def settle(self, layout: Layout, rows: int, slots: int) -> Arena:
        arena = Arena(layout, rows, slots)
        for bench in self._benches:
            bench.arena = arena
        return arena

    def submit(self, task: Task) -> None:
        self._shared.tasks.put(task)

    def wait(self, seconds: float) -> list[Done]:
        try:
            found = [self._shared.done.get(timeout=seconds)]
        except queue.Empty:
            if seconds:
                self._check_alive()
            return []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._shared.done.get_nowait())
        return found

    def _check_alive(self) -> None:
        for thread, place in zip(self._threads, self._places, strict=True):
            if not thread.is_alive() and self._shared.done.empty():
                doing = "" if place == IDLE else f" in get_mini_batches({place})"
                raise WorkerError(f"{thread.name} ended{doing} without an answer; its own message is above")

    def renew(self, generation: int) -> None:
        self._shared.generation = generation

    def places(self) -> Sequence[int]:
        return self._places

    def describe(self, worker: int) -> str:
        return self._benches[worker].name

    def stack(self, worker: int) -> str:
        frame = sys._current_frames().get(self._threads[worker].ident or 0)
        return "".join(traceback.format_stack(frame)) if frame else ""

    def close(self) -> None:
        self._end()


class _Shared:
    """What threads and their owner have in common."""

    def __init__(self, generator: "weakref.ref[Calls]") -> None:
        self.generator = generator
        self.tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self.done: queue.SimpleQueue[Done] = queue.SimpleQueue()
        self.generation = 0


def _serve(shared: _Shared, bench: Bench) -> None:
    while (task := shared.tasks.get()) is not None:
        generator = shared.generator()
        if generator is None:
            return
        shared.done.put(bench.perform(generator, task, shared.generation))
        bench.rest()
        del generator  # while this thread waits, neither a Generator nor an error lives on in it


def _end(shared: _Shared, threads: Sequence[threading.Thread]) -> None:
    shared.generation = -1
    for _ in threads:
        shared.tasks.put(None)
    limit = time.monotonic() + GRACE
    for thread in threads:
        if thread.ident is not None and thread is not threading.current_thread():
            thread.join(max(0.0, limit - time.monotonic()))


class Watch:
    """Notices a call that takes too long, and a task that was given out and that no worker has.

    Time is counted while somebody looks, in steps that are bounded: that the program was stopped for an hour and then
    goes on is no fault of its workers.

    Args:
        crew: whose calls.
        limit: seconds that one may take, counted from when it is first seen; None is for ever.
    """

    def __init__(self, crew: Crew, limit: float | None) -> None:
        self._crew, self._limit = crew, limit
        self._seen: dict[int, tuple[int, float]] = {}
        self._clock, self._looked, self._idle = 0.0, time.monotonic(), 0.0

    def forget(self) -> None:
        """Begin anew: the same call of another epoch is another one."""
        self._seen.clear()
        self.heard()

    def heard(self) -> None:
        """Note that a worker answered, or that nobody waited until now."""
        self._idle = 0.0

    def look(self) -> None:
        """Raise WorkerError where a worker is in the same call for too long, or nobody in any.

        To be called while a task is out and no answer came.
        """
        now = time.monotonic()
        passed, self._looked = min(now - self._looked, 4 * LOOK), now
        self._clock += passed
        places = list(self._crew.places())
        for worker, place in enumerate(places):
            seen, since = self._seen.get(worker, (IDLE, self._clock))
            if place == IDLE or place != seen:
                self._seen[worker] = (place, self._clock)
            elif self._limit is not None and self._clock - since > self._limit:
                raise WorkerError(
                    f"get_mini_batches({place}) takes longer than time_limit={self._limit:g} s in "
                    f"{self._crew.describe(worker)}, which stands at\n{self._crew.stack(worker)}"
                )
        lost = self._crew.ready and all(place == IDLE for place in places)
        self._idle = self._idle + passed if lost else 0.0
        if self._limit is not None and self._idle > max(self._limit, LOST):
            raise WorkerError(f"for {self._idle:.3g} s no worker has the calls that were given out: one was stopped")
