"""Who makes the calls of a Generator: the plan, and the few calls that are timed for it."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from gedanken.data.workers.base import LOOK, Watchdog
from gedanken.data.workers.tasks import Calls, Span, Task, TaskResult
from gedanken.data.workers.threads import ThreadWorkers
from gedanken.errors import ArgumentError, WorkerError
from gedanken.processes.possible import default_method, lock_free, no_socket, processes_possible
from gedanken.processes.raised import as_raised
from gedanken.processors import usable_processors

MODES = ("auto", "threads", "processes", "serial")
WAITS = 0.3  # a call whose thread computes for less of its time mostly waits; beside another thread it may be 0.5
CHEAP = 10e-6  # seconds a sample: handing it to a worker costs as much
COPIED = 5e9  # bytes a second that one processor copies, about
PROBE_CALLS = 64  # at most, and not many longer than this:
PROBE_SECONDS = 0.02
IN_FLIGHT = 128  # calls that wait at the same time, at most
PER_PROCESS = 32  # threads of one process: with more of them Python's lock is what they wait for


class WorkerOptions(NamedTuple):
    """What a Generator was told about its workers; None stands for "auto"."""

    mode: str
    workers: int | None
    threads: int | None
    method: str | None


class Probe(NamedTuple):
    """How long calls take.

    Args:
        seconds: of one call.
        share: of that time in which its thread computes.
        samples, size: of one call; and their bytes.
        made: the tasks that were done for it, and their samples.
        error: what the last of them raised, or None; nothing was measured then.
    """

    seconds: float
    share: float
    samples: float
    size: float
    made: Sequence[tuple[Task, TaskResult]]
    error: BaseException | None = None


class WorkerPlan(NamedTuple):
    """Who makes the calls.

    Args:
        mode: "serial", "threads" or "processes".
        workers: how many threads or processes.
        threads: of each process.
        method: how processes are started.
        reason: why.
    """

    mode: str
    workers: int
    threads: int
    method: str
    reason: str

    def __str__(self) -> str:
        if self.mode == "serial":
            who = "no workers"
        elif self.mode == "threads":
            who = f"{self.workers} thread{'s' * (self.workers > 1)}"
        else:
            each = f" of {self.threads} threads" if self.threads > 1 else ""
            who = f"{self.workers} process{'es' * (self.workers > 1)}{each} ({self.method})"
        return f"{who}: {self.reason}"


def fixed_plan(options: WorkerOptions) -> WorkerPlan | None:
    """Return the plan where the options leave no choice, else None: calls must be timed."""
    method = options.method or default_method()
    if options.mode == "serial" or options.workers == 0:
        return WorkerPlan("serial", 0, 0, method, "as asked")
    if options.mode == "processes" and (reason := processes_possible()):
        raise ArgumentError(f"mode must be 'threads' or 'serial' here, got 'processes'; {reason}")
    if options.mode == "processes" and method == "forkserver" and (reason := no_socket()):
        raise ArgumentError(f"start_method must be 'spawn' or 'fork' here, got 'forkserver'; {reason}")
    if options.mode == "auto" or options.workers is None:
        return None
    return WorkerPlan(options.mode, options.workers, options.threads or 1, method, "as asked")


def choose(options: WorkerOptions, probe: Probe, obstacle: str) -> WorkerPlan:
    """Return the plan for calls like those that were timed.

    Args:
        options: what was asked.
        probe: how long calls take.
        obstacle: why there can be no processes, or nothing.
    """
    method, cores = options.method or default_method(), usable_processors()
    waits, copying = probe.share < WAITS, probe.size / COPIED
    spent = f"a call takes {_time(probe.seconds)} and " + ("mostly waits" if waits else "computes")
    if options.mode == "auto" and options.workers is None and probe.seconds < CHEAP * max(probe.samples, 1):
        if copying < CHEAP * max(probe.samples, 1):
            return WorkerPlan("serial", 0, 0, method, f"a call takes {_time(probe.seconds)}, less than handing it over")
        reason = f"a call takes {_time(probe.seconds)}, less than copying what it gives, which needs no lock"
        return WorkerPlan("threads", cores, 0, method, reason)
    useful = min(IN_FLIGHT, round(2 * cores / max(probe.share, 1e-3))) if waits else cores
    mode, reason = options.mode, spent
    if mode == "auto" and lock_free():
        mode, reason = "threads", f"{spent}; this Python has no lock"
    elif mode == "auto":
        mode = "threads" if obstacle else "processes"
        reason = f"{spent}; no processes: {obstacle}" if obstacle else spent
    if mode == "threads":
        return WorkerPlan(mode, (options.workers or 0) * (options.threads or 1) or useful, 0, method, reason)
    processes = options.workers or max(min(cores, useful), -(-useful // (options.threads or PER_PROCESS)))
    threads = options.threads or -(-useful // processes)
    return WorkerPlan(mode, processes, threads if waits or options.threads else 1, method, reason)


def timed_calls(generator: Calls, epoch: int, calls: int, todo: Sequence[Span], limit: float | None) -> Probe:
    """Make a few calls in a thread; their samples are used like all others."""
    made, seconds, shares = [], [], []
    timed = _Timed(generator)
    workers = ThreadWorkers(timed, 1)
    watch = Watchdog(workers, limit)
    began, first = time.perf_counter(), todo[0] if todo else Span(0, 0, 0)
    # It has no rows: nobody knows yet what samples look like, so they come by value.
    plain = Task.stop()._replace(epoch=epoch, calls=calls, length=first.undivided or 1, skip=first.skip)
    try:
        place = first.first
        while place < min(first.stop, first.first + PROBE_CALLS):
            task = plain._replace(first=place)
            place += task.length
            workers.submit(task)
            watch.heard()
            while not (found := workers.wait(LOOK)):
                watch.look()
            (done,) = found
            made.append((task, done))
            if done.error:
                return Probe(0.0, 0.0, 0.0, 0.0, made, as_raised(done.error))
            seconds.append(done.seconds if generator.transforms else timed.seconds)
            shares.append(timed.share)
            if len(made) > 1 and time.perf_counter() - began > PROBE_SECONDS:
                break
    except WorkerError as error:  # a call that hangs
        return Probe(0.0, 0.0, 0.0, 0.0, (), error)
    finally:
        workers.close()
    last = slice(1 if len(seconds) > 1 else 0, None)  # the first call may open what the others use
    samples = sum(done.samples for _, done in made) / max(len(made), 1)
    size = sum(array.nbytes for _, done in made if done.extra for array in done.extra[1]) / max(len(made), 1)
    return Probe(_low(seconds[last]), 1 - _low([1 - share for share in shares[last]]), samples, size, made)


class _Timed:
    """Makes calls of a Generator, and tells how long the last one took and how much of that its thread computed."""

    def __init__(self, generator: Calls) -> None:
        self.seed, self.shuffle, self.transforms = generator.seed, generator.shuffle, generator.transforms
        self.pad_to = generator.pad_to
        self._call = generator.get_mini_batches
        self.seconds = self.share = 0.0

    def get_mini_batches(self, index: int) -> list[Any]:
        """Make the call."""
        queued, computed, began = _queued(), time.thread_time(), time.perf_counter()
        items = self._call(index)
        self.seconds, computed = time.perf_counter() - began, time.thread_time() - computed
        self.share = computed / max(self.seconds - (_queued() - queued), 1e-9)
        return items


def _low(values: Sequence[float]) -> float:
    """Return the lower quartile: a busy machine only adds to what is measured."""
    return sorted(values)[len(values) // 4] if values else 0.0


def _queued() -> float:
    """Return the seconds for which this thread was ready to run and another one ran, where the system tells."""
    try:
        with open("/proc/thread-self/schedstat", encoding="ascii") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds >= 1e-4 else f"{seconds * 1e6:.2g} us"
