"""What was delivered, who waited for whom, and what that says about the way to more speed."""

import time
from typing import Any

from gedanken.data.workers.choice import Choice
from gedanken.data.workers.feed import Feed
from gedanken.data.workers.tasks import IDLE
from gedanken.processors import usable_processors

BUSY = 0.7  # share of their time; workers that make calls for longer are what is waited for


class Statistics:
    """Counts and times of a Generator's iterations; what each worker did stands with the feed."""

    def __init__(self) -> None:
        self.delivered = 0  # mini-batches
        self.waited_before = 0.0  # seconds waited for feeds that ended, and for workers to start
        self._seconds = 0.0  # of the iterations that ended
        self._began: float | None = None  # of the one that runs
        self._first = 0.0  # seconds waited before the first mini-batches of epochs
        self._awaited: float | None = None  # what was waited until this epoch, before its first mini-batch

    def waited(self, feed: Feed | None) -> float:
        """Return the seconds for which mini-batches were waited for."""
        return self.waited_before + (feed.waited if feed else 0.0)

    def begin(self, feed: Feed | None) -> None:
        """Note that an epoch begins."""
        self._began, self._awaited = time.perf_counter(), self.waited(feed)

    def opened(self) -> None:
        """Note that there are workers with tasks."""
        assert self._began is not None
        self.waited_before += time.perf_counter() - self._began

    def deliver(self, feed: Feed) -> None:
        """Note that there is a mini-batch."""
        self.delivered += 1
        if self._awaited is not None:
            self._first, self._awaited = self._first + self.waited(feed) - self._awaited, None

    def end(self) -> None:
        """Note that an epoch ends, after its last mini-batch or before."""
        if self._began is not None:
            self._seconds, self._began = self._seconds + time.perf_counter() - self._began, None

    def report(self, feed: Feed | None, choice: Choice | None) -> dict[str, Any]:
        """Return what was done, by whom, and who waited for whom; see Generator.stats."""
        began = self._began  # another thread may ask while the epoch ends
        seconds = self._seconds + (time.perf_counter() - began if began is not None else 0.0)
        found: dict[str, Any] = {
            "workers": str(choice) if choice else "not started",
            "mini_batches": self.delivered,
            "mini_batches_per_second": self.delivered / seconds if seconds else 0.0,
            "seconds": seconds,
            "waiting_for_data": self.waited(feed),
            "bottleneck": "",
        }
        if feed and choice:
            busy = sum(tally.seconds for tally in feed.tallies.values())
            found |= {
                "bottleneck": self._bottleneck(choice, feed, busy, seconds),
                "buffer": feed.level,
                "buffer_size": feed.buffer,
                "waiting_for_network": max(0.0, seconds * feed.crew.width - busy),
                "each": [_worker(feed, number) for number in range(feed.crew.width)],
            }
        return found

    def _bottleneck(self, choice: Choice, feed: Feed, busy: float, seconds: float) -> str:
        """Return in words what keeps mini-batches from coming faster."""
        if self._first > self.waited(feed) / 2:
            return "most of it before the first mini-batch of an epoch, while workers start and begin"
        calls = sum(tally.calls for tally in feed.tallies.values())
        used = busy / (max(seconds, 1e-9) * feed.crew.width)
        each = f"a call takes {busy / calls * 1000:.3g} ms" if calls else "no call was made yet"
        if choice.mode == "serial":
            return f"{each} in the trainer itself: workers would make calls meanwhile"
        if used < BUSY:
            return f"{each}, but the workers are busy {used:.0%} of the time: a larger buffer may help"
        full = choice.mode == "processes" and choice.threads <= 1 and choice.workers >= usable_processors()
        remedy = "each has a processor, so only faster calls would help" if full else "more of them may help"
        return f"{each} and the workers ({choice}) are busy {min(used, 1.0):.0%} of the time: {remedy}"


def _worker(feed: Feed, number: int) -> dict[str, Any]:
    tally, place = feed.tallies.get(number), feed.crew.places()[number]
    return {
        "name": feed.crew.describe(number),
        "state": "waits" if place == IDLE else f"makes call {place}",
        "calls": tally.calls if tally else 0,
        "samples": tally.samples if tally else 0,
        "busy_seconds": tally.seconds if tally else 0.0,
        "samples_per_second": tally.samples / tally.seconds if tally and tally.seconds else 0.0,
    }
