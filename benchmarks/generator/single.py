"""A fresh interpreter in which one loader works once; the drivers start it.

    python benchmarks/generator/single.py JSON

The argument is a `Job`. The answer, one line of JSON, tells times in seconds: "imports"; "first", from the making of
the loader to the first mini-batch; "rate", mini-batches a second; "cpu", processor time of all its processes for a
mini-batch; "memory", their most PSS in MB; "others", how many processors all other programs kept busy; "left", the
system's clock when the loop was left: the driver waits until all processes are gone, and reckons from there; "closed",
how long closing alone took.
"""

import importlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Self

import numpy as np
import processes
from workloads import BATCH, Work

OBSERVED = 1.0  # seconds that follow the timing, in which the memory is looked at
OFTEN = 16  # every so many mini-batches all labels are compared, not the first and the last only
WARM = 4  # this part of the time is not counted, where mini-batches are frequent


class Job(NamedTuple):
    """What to do. Without `batches` the loader works for about so many seconds, else until it has given so many."""

    module: str
    settings: dict[str, Any]
    work: Work
    ordered: bool
    seconds: float = 4.0
    batches: int = 0
    read: bool = False
    limit: int = 120  # seconds, then everything is killed

    @property
    def count(self) -> int:
        """Return how many items there are: many more than the time suffices for, if time is the measure."""
        return BATCH * (self.batches or (1 << 17 if self.work.name == "tiny" else 1 << 13))


class Consumer:
    """Takes mini-batches, checks them, and notes when each came."""

    def __init__(self, job: Job, batches: Iterator[tuple[Any, Any]]) -> None:
        self.job, self.batches = job, batches
        self.times: list[float] = []
        self.seen: set[int] = set()
        self.samples: list[tuple[np.ndarray, int]] = []

    def take(self) -> None:
        """Take one. It is held until the next one is there, as in a loop."""
        self.held = next(self.batches)
        self.times.append(time.perf_counter())
        inputs, labels = map(np.asarray, self.held)
        self._check(inputs, labels)
        if self.job.read:
            inputs.reshape(-1).view(np.uint64).sum()

    def _check(self, inputs: np.ndarray, labels: np.ndarray) -> None:
        number, first = len(self.times) - 1, int(labels[0])
        if inputs.shape != (BATCH, *self.job.work.shape) or inputs.dtype != self.job.work.dtype or len(labels) != BATCH:
            raise ValueError(f"mini-batch {number} has {inputs.dtype} {inputs.shape} and labels {labels.shape}")
        if self.job.ordered and (first != number * BATCH or int(labels[-1]) != first + BATCH - 1):
            raise ValueError(f"mini-batch {number} has labels {first} to {labels[-1]}")
        if not self.job.ordered and first in self.seen:
            raise ValueError(f"the item {first} came twice")
        if number % OFTEN == 0 and len(set(labels.tolist())) != BATCH:
            raise ValueError(f"mini-batch {number} has an item twice")
        if number == 0:
            self.samples = [(inputs[row].copy(), int(labels[row])) for row in (0, BATCH - 1)]
        self.seen.add(first)

    def check_samples(self) -> None:
        """Compare items of the first mini-batch with those that the work gives now."""
        for found, label in self.samples:
            if not np.array_equal(found, self.job.work.item(label)[0]):
                raise ValueError(f"item {label} has other contents")


def enough(times: list[float], seconds: float) -> bool:
    """Return whether the last mini-batch is a good one to stop at: it had to be waited for.

    Loaders whose workers make a whole mini-batch each give many at a time, then none for long. The rate is right only
    if several of such bursts are seen, and none is cut.
    """
    elapsed = times[-1] - times[0]
    if elapsed < seconds or len(times) < 4:
        return False
    longest = np.diff(times).max()
    if elapsed > max(3 * seconds, 5 * longest):
        return True
    return elapsed >= 2.5 * longest and times[-1] - times[-2] > 0.5 * elapsed / (len(times) - 1)


def rate(times: list[float]) -> float:
    """Return mini-batches a second: the slope of the line through the number given by then over the time.

    The last mini-batch, the first of a burst, does not count; nor do the first ones if they come steadily.
    """
    instants = np.array(times[:-1]) - times[0]
    numbers = np.arange(len(instants))
    if np.diff(times).max() < instants[-1] / 10:
        warm = instants > instants[-1] / WARM
        instants, numbers = instants[warm], numbers[warm]
    return float(np.polyfit(instants, numbers, 1)[0])


class MemoryWatch(threading.Thread):
    """Looks at the memory ten times a second, until it is told that this is enough."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.over = threading.Event()
        self.most = processes.memory()

    def run(self) -> None:
        while not self.over.wait(0.1):
            self.most = max(self.most, processes.memory())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.over.set()
        self.join()


def for_a_time(consumer: Consumer, began: float) -> dict[str, float]:
    """Time the loader, then look at its memory while it goes on."""
    consumer.take()
    cpu, busy = processes.cpu_seconds(), processes.busy_seconds()
    while not enough(consumer.times, consumer.job.seconds):
        consumer.take()
    cpu, busy = processes.cpu_seconds() - cpu, processes.busy_seconds() - busy
    times = consumer.times[:]
    consumer.check_samples()
    with MemoryWatch() as watch:
        until = time.perf_counter() + OBSERVED
        while time.perf_counter() < until:
            consumer.take()
    figures = {"first": times[0] - began, "rate": rate(times), "cpu": cpu / (len(times) - 1), "memory": watch.most}
    others = max(busy - cpu, 0) / (times[-1] - times[0])
    return figures | {"count": len(times), "others": others, "left": time.monotonic()}


def to_the_end(consumer: Consumer, began: float) -> dict[str, float]:
    """Take all mini-batches."""
    for _ in range(consumer.job.batches):
        consumer.take()
    total = consumer.times[-1] - began
    cpu = processes.cpu_seconds() / consumer.job.batches
    consumer.check_samples()
    figures = {"first": consumer.times[0] - began, "total": total, "rate": consumer.job.batches / total, "cpu": cpu}
    return figures | {"count": consumer.job.batches, "left": time.monotonic()}


def measured(job: Job, batches: Iterable[tuple[Any, Any]], began: float) -> dict[str, Any]:
    """Return the figures; when this returns, the loader's iterator is gone, as after `break` in a loop over it."""
    consumer = Consumer(job, iter(batches))
    figures = (to_the_end if job.batches else for_a_time)(consumer, began)
    if hasattr(batches, "stats"):
        figures["stats"] = batches.stats()
    return figures


def _kill_all(*_: object) -> None:
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def main() -> None:
    """Do the job, and answer."""
    told = json.loads(sys.argv[1])
    job = Job(**told | {"work": Work(*told["work"])})
    signal.signal(signal.SIGALRM, _kill_all)
    signal.alarm(job.limit)
    out = os.fdopen(os.dup(1), "w")  # what libraries print goes to the errors, not into the answer
    os.dup2(2, 1)
    imports = time.perf_counter()
    module = importlib.import_module(job.module)
    job.work.prepare()
    began = time.perf_counter()
    with module.loader(job.work, job.count, **job.settings) as batches:
        figures = measured(job, batches, began)
        del batches
    closed = time.monotonic() - figures["left"]
    figures |= {"imports": began - imports, "closed": closed}
    out.write(json.dumps(figures, default=str) + "\n")
    out.flush()


if __name__ == "__main__":
    main()
