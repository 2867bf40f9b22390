"""Who does the tasks: the caller himself, or threads of this process. Processes stand in `processes.py`."""

import contextlib
import queue
import sys
import threading
import time
import traceback
import weakref
from array import array
from collections import deque
from collections.abc import Sequence

from gedanken.data.workers.arena import Arena
from gedanken.data.workers.base import GRACE, Workers
from gedanken.data.workers.items import ItemSpec
from gedanken.data.workers.tasks import IDLE, Calls, Permutations, Task, TaskResult, TaskRunner
from gedanken.errors import WorkerError
from gedanken.processes.uncut import start_thread


class SerialWorkers(Workers):
    """The caller, who does a task whenever he waits for one, without a time limit."""

    width, beside = 1, False

    def __init__(self, generator: Calls) -> None:
        self._generator = weakref.ref(generator)
        self._tasks: deque[Task] = deque()
        self._runner = TaskRunner(0, "the only worker", array("q", [IDLE]), Permutations())
        self._generation = 0

    def allocate(self, spec: ItemSpec, rows: int, slots: int) -> Arena:
        arena = self._runner.arena = Arena(spec, rows, slots)
        return arena

    def submit(self, task: Task) -> None:
        self._tasks.append(task)

    def wait(self, seconds: float) -> list[TaskResult]:
        if not self._tasks or not seconds:
            return []
        task, generator = self._tasks.popleft(), self._generator()
        assert generator is not None
        done = self._runner.run(generator, task, self._generation)
        self._runner.set_idle()
        if isinstance(done.error, KeyboardInterrupt):
            raise done.error
        return [done]

    def cancel_before(self, generation: int) -> None:
        self._generation = generation

    def current_calls(self) -> Sequence[int]:
        return self._runner.at

    def describe(self, worker: int) -> str:
        return self._runner.name

    def stack(self, worker: int) -> str:
        return ""

    def close(self) -> None:
        self._tasks.clear()


class ThreadWorkers(Workers):
    """Threads of this process.

    While they have nothing to do they hold no reference to the Generator, so that it can be collected.

    Args:
        generator: whose calls they make.
        width: how many threads.
    """

    def __init__(self, generator: Calls, width: int) -> None:
        self.width = width
        self._shared = _Shared(weakref.ref(generator))
        permutations, self._current_calls = Permutations(), array("q", [IDLE] * width)
        cells = memoryview(self._current_calls)
        runners = [TaskRunner(k, f"thread {k}", cells[k : k + 1], permutations) for k in range(width)]
        self._runners = runners
        self._threads = [
            threading.Thread(target=_serve, args=(self._shared, runner), name=f"gedanken {runner.name}", daemon=True)
            for runner in runners
        ]
        self._end = weakref.finalize(self, _end, self._shared, self._threads)
        try:
            for thread in self._threads:
                start_thread(thread)
        except BaseException as error:
            self.close()
            if not isinstance(error, (RuntimeError, MemoryError)):
                raise
            started = sum(thread.ident is not None for thread in self._threads)
            raise WorkerError(f"only {started} of {width} threads could be started ({error}); ask for fewer") from error

    def allocate(self, spec: ItemSpec, rows: int, slots: int) -> Arena:
        arena = Arena(spec, rows, slots)
        for runner in self._runners:
            runner.arena = arena
        return arena

    def submit(self, task: Task) -> None:
        self._shared.tasks.put(task)

    def wait(self, seconds: float) -> list[TaskResult]:
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
        for thread, call in zip(self._threads, self._current_calls, strict=True):
            if not thread.is_alive() and self._shared.done.empty():
                doing = "" if call == IDLE else f" in get_mini_batches({call})"
                raise WorkerError(f"{thread.name} ended{doing} without an answer; its own message is above")

    def cancel_before(self, generation: int) -> None:
        self._shared.generation = generation

    def current_calls(self) -> Sequence[int]:
        return self._current_calls

    def describe(self, worker: int) -> str:
        return self._runners[worker].name

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
        self.done: queue.SimpleQueue[TaskResult] = queue.SimpleQueue()
        self.generation = 0


def _serve(shared: _Shared, runner: TaskRunner) -> None:
    while (task := shared.tasks.get()) is not None:
        generator = shared.generator()
        if generator is None:
            return
        shared.done.put(runner.run(generator, task, shared.generation))
        runner.set_idle()
        del generator  # while this thread waits, neither a Generator nor an error lives on in it


def _end(shared: _Shared, threads: Sequence[threading.Thread]) -> None:
    shared.generation = -1
    for _ in threads:
        shared.tasks.put(None)
    limit = time.monotonic() + GRACE
    for thread in threads:
        if thread.ident is not None and thread is not threading.current_thread():
            thread.join(max(0.0, limit - time.monotonic()))
