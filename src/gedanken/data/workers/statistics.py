"""What was delivered, who waited for whom, and what that says about the way to more speed."""

import time
from typing import Any

from gedanken.data.workers.planning import WorkerPlan
from gedanken.data.workers.scheduler import Scheduler
from gedanken.data.workers.tasks import IDLE
from gedanken.processors import usable_processors

BUSY = 0.7  # share of their time; workers that make calls for longer are what is waited for


class Statistics:
    """Counts and times of a Generator's iterations; what each worker did stands with the scheduler."""

    def __init__(self) -> None:
        self.delivered = 0  # mini-batches
        self.waited_before = 0.0  # seconds waited for schedulers that ended, and for workers to start
        self._seconds = 0.0  # of the iterations that ended
        self._began: float | None = None  # of the one that runs
        self._first = 0.0  # seconds waited before the first mini-batches of epochs
        self._awaited: float | None = None  # what was waited until this epoch, before its first mini-batch

    def waited(self, scheduler: Scheduler | None) -> float:
        """Return the seconds for which mini-batches were waited for."""
        return self.waited_before + (scheduler.waited if scheduler else 0.0)

    def begin(self, scheduler: Scheduler | None) -> None:
        """Note that an epoch begins."""
        self._began, self._awaited = time.perf_counter(), self.waited(scheduler)

    def opened(self) -> None:
        """Note that there are workers with tasks."""
        if self._began is not None:  # else another thread has closed the Generator meanwhile
            self.waited_before += time.perf_counter() - self._began

    def deliver(self, scheduler: Scheduler) -> None:
        """Note that there is a mini-batch."""
        self.delivered += 1
        if self._awaited is not None:
            self._first, self._awaited = self._first + self.waited(scheduler) - self._awaited, None

    def end(self) -> None:
        """Note that an epoch ends, after its last mini-batch or before."""
        if self._began is not None:
            self._seconds, self._began = self._seconds + time.perf_counter() - self._began, None

    def report(self, scheduler: Scheduler | None, plan: WorkerPlan | None) -> dict[str, Any]:
        """Return what was done, by whom, and who waited for whom; see Generator.stats."""
        began = self._began  # another thread may ask while the epoch ends
        seconds = self._seconds + (time.perf_counter() - began if began is not None else 0.0)
        found: dict[str, Any] = {
            "workers": str(plan) if plan else "not started",
            "mini_batches": self.delivered,
            "mini_batches_per_second": self.delivered / seconds if seconds else 0.0,
            "seconds": seconds,
            "waiting_for_data": self.waited(scheduler),
            "bottleneck": "",
        }
        if scheduler and plan:
            busy = sum(stats.seconds for stats in scheduler.worker_stats.values())
            found |= {
                "bottleneck": self._bottleneck(plan, scheduler, busy, seconds),
                "buffer": scheduler.level,
                "buffer_size": scheduler.buffer,
                "waiting_for_network": max(0.0, seconds * scheduler.workers.width - busy),
                "each": [_worker(scheduler, number) for number in range(scheduler.workers.width)],
            }
        return found

    def _bottleneck(self, plan: WorkerPlan, scheduler: Scheduler, busy: float, seconds: float) -> str:
        """Return in words what keeps mini-batches from coming faster."""
        if self._first > self.waited(scheduler) / 2:
            return "most of it before the first mini-batch of an epoch, while workers start and begin"
        calls = sum(stats.calls for stats in scheduler.worker_stats.values())
        used = busy / (max(seconds, 1e-9) * scheduler.workers.width)
        each = f"a call takes {busy / calls * 1000:.3g} ms" if calls else "no call was made yet"
        if plan.mode == "serial":
            return f"{each} in the trainer itself: workers would make calls meanwhile"
        if used < BUSY:
            return f"{each}, but the workers are busy {used:.0%} of the time: a larger buffer may help"
        full = plan.mode == "processes" and plan.threads <= 1 and plan.workers >= usable_processors()
        remedy = "each has a processor, so only faster calls would help" if full else "more of them may help"
        return f"{each} and the workers ({plan}) are busy {min(used, 1.0):.0%} of the time: {remedy}"


def _worker(scheduler: Scheduler, number: int) -> dict[str, Any]:
    stats, call = scheduler.worker_stats.get(number), scheduler.workers.current_calls()[number]
    return {
        "name": scheduler.workers.describe(number),
        "state": "waits" if call == IDLE else f"makes call {call}",
        "calls": stats.calls if stats else 0,
        "samples": stats.samples if stats else 0,
        "busy_seconds": stats.seconds if stats else 0.0,
        "samples_per_second": stats.samples / stats.seconds if stats and stats.seconds else 0.0,
    }
