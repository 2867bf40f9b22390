"""What workers are to those who give them tasks, and who notices that one of them gives no answer."""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence

from gedanken.data.workers.arena import Arena
from gedanken.data.workers.items import ItemSpec
from gedanken.data.workers.tasks import IDLE, Task, TaskResult
from gedanken.errors import WorkerError

GRACE = 0.3  # seconds that workers have to end by themselves
LOOK = 0.25  # seconds between two looks at workers that give nothing
LOST = 2.0  # seconds that it may take at least until a worker has a task that was given out


class Workers(ABC):
    """Workers that take tasks in the order in which they are given.

    Args:
        width: how many calls they make at the same time.
    """

    width: int
    beside = True  # whether they work while the caller waits
    ready = True  # whether one of them has started

    @abstractmethod
    def allocate(self, spec: ItemSpec, rows: int, slots: int) -> Arena:
        """Return memory for samples that look so, and tell the workers of it."""

    @abstractmethod
    def submit(self, task: Task) -> None:
        """Give a task; never waits."""

    @abstractmethod
    def wait(self, seconds: float) -> list[TaskResult]:
        """Return what was done, at least one task unless the time is over.

        Raises:
            WorkerError: a worker died.
        """

    @abstractmethod
    def cancel_before(self, generation: int) -> None:
        """Tasks of older generations need not be done any more."""

    @abstractmethod
    def current_calls(self) -> Sequence[int]:
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


class Watchdog:
    """Notices a call that takes too long, and a task that was given out and that no worker has.

    Time is counted while somebody looks, in steps that are bounded: that the program was stopped for an hour and then
    goes on is no fault of its workers.

    Args:
        workers: whose calls.
        limit: seconds that one may take, counted from when it is first seen; None is for ever.
    """

    def __init__(self, workers: Workers, limit: float | None) -> None:
        self._workers, self._limit = workers, limit
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
        current_calls = list(self._workers.current_calls())
        for worker, call in enumerate(current_calls):
            seen, since = self._seen.get(worker, (IDLE, self._clock))
            if call == IDLE or call != seen:
                self._seen[worker] = (call, self._clock)
            elif self._limit is not None and self._clock - since > self._limit:
                raise WorkerError(
                    f"get_mini_batches({call}) takes longer than time_limit={self._limit:g} s in "
                    f"{self._workers.describe(worker)}, which stands at\n{self._workers.stack(worker)}"
                )
        lost = self._workers.ready and all(call == IDLE for call in current_calls)
        self._idle = self._idle + passed if lost else 0.0
        if self._limit is not None and self._idle > max(self._limit, LOST):
            raise WorkerError(f"for {self._idle:.3g} s no worker has the calls that were given out: one was stopped")
