"""The life of a Generator's workers: choosing and starting them, epochs, position, the end."""

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from gedanken.checks import whole
from gedanken.data.workers.base import Workers
from gedanken.data.workers.planning import (
    Probe,
    WorkerOptions,
    WorkerPlan,
    choose,
    fixed_plan,
    timed_calls,
)
from gedanken.data.workers.position import Position
from gedanken.data.workers.scheduler import Scheduler
from gedanken.data.workers.statistics import Statistics
from gedanken.data.workers.threads import SerialWorkers, ThreadWorkers
from gedanken.errors import ArgumentError, StateError
from gedanken.processes.pickling import importing_main, sendable, thread_bound
from gedanken.processes.possible import default_method, processes_possible
from gedanken.processes.refused import granted
from gedanken.processes.uncut import start_thread
from gedanken.random import Purpose, call_generator


class Delivery(NamedTuple):
    """A mini-batch, and where it stands in its epoch.

    Args:
        value: in the form of the items.
        samples: in it.
        position: samples before it.
        share: of the epoch's calls that are delivered with it.
    """

    value: Any
    samples: int
    position: int
    share: float


class EpochRunner:
    """What a Generator does when it is iterated. One that is pickled takes its options along and nothing else.

    Args:
        options: what was asked of the workers.
        buffer: mini-batches that are ready or in the making; None is enough to keep the workers busy.
        ordered: whether samples come in the order of the calls.
        time_limit: seconds that one call may take, or None.
    """

    def __init__(self, options: WorkerOptions, buffer: int | None, ordered: bool, time_limit: float | None) -> None:
        self.options, self._buffer, self._ordered, self.time_limit = options, buffer, ordered, time_limit
        self.plan: WorkerPlan | None = None
        self.scheduler: Scheduler | None = None
        self.epoch = -1  # the last that was begun
        self._loaded: Position | None = None
        self._position: Position | None = None
        self._owner = os.getpid()  # the process whose workers these are
        self._length = 0  # of the Generator that the workers have
        self._run: object = None
        self._passing = False  # whether workers are still to be chosen, after the error of a timed call
        self._counted = True  # whether the running epoch is one of those that `epoch` counts
        self._ahead: _BackgroundStart | None = None
        self._statistics = Statistics()

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return EpochRunner, (self.options, self._buffer, self._ordered, self.time_limit)

    # ------------------------------------------------------------------ epochs

    def start(self, generator: Any, first_epoch: int = 0) -> None:
        """Begin the next epoch in the background; the next `run` goes on with it.

        Args:
            first_epoch: its number, where no epoch was begun or loaded yet.
        """
        self._forget_others()
        if self._ahead is None and self._run is None:
            self._count_from(first_epoch)
            self._ahead = _BackgroundStart(self, generator, self._next_position(generator))

    def _count_from(self, first_epoch: int) -> None:
        if self.epoch < 0 and self._loaded is None:
            self.epoch = first_epoch - 1

    def run(
        self,
        generator: Any,
        fixed: int | None = None,
        broken_off: Callable[[], bool] = lambda: False,
        first_epoch: int = 0,
    ) -> Iterator[Delivery]:
        """Yield the mini-batches of the next epoch, or of epoch number `fixed`, which then does not count.

        It ends before its time where `broken_off` says, while it waits, that nobody wants more.

        Args:
            first_epoch: as of `start`.
        """
        self._forget_others()
        if fixed is None:
            self._count_from(first_epoch)
        ahead, self._ahead = self._ahead, None
        run = self._run = object()  # an older iteration finds that it is not the last any more
        position = ahead.position if ahead and fixed is None else self._next_position(generator, fixed)
        self._statistics.begin(self.scheduler)
        self._counted, finished = fixed is None, False
        try:
            failed = ahead.wait() if ahead else None
            if ahead is None or fixed is not None:
                failed = self.open(generator, position)
            if fixed is None:  # also where calls were timed and one of them raised: an epoch that was begun counts
                self.epoch, self._loaded, self._position = position.epoch, None, position
            self._statistics.opened()
            if failed is not None:
                raise failed
            yield from self._deliveries(generator, position, run, broken_off)
            finished = not broken_off()
        finally:
            failed = None  # an exception that is kept must not keep what lies here
            if self._run is run:
                self._leave(finished)

    def _deliveries(
        self, generator: Any, position: Position, run: object, broken_off: Callable[[], bool]
    ) -> Iterator[Delivery]:
        least = generator.mini_batch_size if generator.drop_last else 1
        while self.scheduler and (arrays := self._next(self.scheduler, least, broken_off)):
            spec, samples = self.scheduler.spec, len(arrays[0])
            assert spec is not None
            self._statistics.deliver(self.scheduler)
            value = _mixed(generator, position, spec.join(arrays))
            delivery = Delivery(value, samples, position.samples, self.scheduler.delivered_calls / position.calls)
            del arrays, value
            number, samples_so_far = position.mini_batches + 1, position.samples + samples
            position = position._replace(mini_batches=number, samples=samples_so_far, mark=self.scheduler.mark)
            if self._counted:
                self._position = position
            yield delivery
            del delivery
            self._still(run)
        self._still(run)  # closed by another thread or a call, meanwhile

    def _still(self, run: object) -> None:
        if self._run is not run:
            raise StateError("this iteration is over: the Generator was closed or iterated again")

    def _next(self, scheduler: Scheduler, least: int, broken_off: Callable[[], bool]) -> Any:
        if self._owner != os.getpid():
            raise StateError("this iteration belongs to the process that began it; a fork of it begins its own")
        try:
            return scheduler.next(least, broken_off)
        except BaseException:
            if self._passing or not scheduler.failed:  # dead workers, Ctrl-C: nobody knows what was lost
                self._shut()
            scheduler.failed = False
            raise

    def _leave(self, finished: bool = False) -> None:
        """End an epoch, after its last mini-batch or before."""
        self._forget_others()
        self._statistics.end()
        self._keep_position()
        if finished and self._counted and self._position:
            self._position = self._position._replace(todo=[])  # calls that gave nothing or too little may be left
        try:
            if self.scheduler:
                self.scheduler.cancel()
        except BaseException:  # Ctrl-C: what it left half changed is given up
            self._shut()
            raise
        self._run = None

    def _forget_others(self) -> None:
        """In a forked process, leave its parent's workers alone."""
        if self._owner != os.getpid():
            self.scheduler, self._ahead, self._run, self._owner = None, None, None, os.getpid()
            self._statistics.end()

    def _keep_position(self) -> None:
        if self.scheduler and self._position and self._run is not None and self._counted and self._position.mark:
            self._position = self._position._replace(todo=self.scheduler.rest(self._position.mark))

    def _next_position(self, generator: Any, fixed: int | None = None) -> Position:
        calls = whole(f"len({type(generator).__name__})", len(generator), at_least=0)
        if fixed is not None:
            return Position.start(fixed, calls)
        if self._loaded is None:
            return Position.start(self.epoch + 1, calls)
        if self._loaded.calls != calls:
            raise ArgumentError(
                f"state must be of a Generator with as many calls, got {self._loaded.calls} for {calls}"
            )
        return self._loaded

    # ------------------------------------------------------------------ workers

    def open(self, generator: Any, position: Position) -> BaseException | None:
        """Make sure that there are workers, and give them their first tasks; return what a timed call raised."""
        if importing_main():
            raise StateError(
                "a worker process is importing this script, which begins to train; put the training under "
                '`if __name__ == "__main__":`'
            )
        if not position.calls:
            return None
        if self.scheduler and self.plan and self.plan.mode == "processes" and self._length != position.calls:
            self._shut()  # workers have a copy of what the Generator was then
        probe = None
        if self.scheduler is None:
            workers, probe = self._start_workers(generator, position)
            if workers is None:
                return probe.error if probe else None
            self.scheduler = Scheduler(workers, generator.mini_batch_size, self._buffer, self._ordered, self.time_limit)
            self._length = position.calls
        try:
            self.scheduler.begin(position.epoch, position.calls, position.todo, probe.made if probe else ())
        except BaseException:
            self._shut()
            raise
        return None

    def _start_workers(self, generator: Any, position: Position) -> tuple[Workers | None, Probe | None]:
        options, pickled, obstacle, probe = self.options, None, processes_possible(), None
        method = options.method or default_method()
        plan = fixed_plan(options)
        if not obstacle and (plan.mode if plan else options.mode) in ("auto", "processes"):
            try:  # before a call may open what cannot be sent
                pickled = sendable(generator, method)
            except ArgumentError as error:
                if options.mode == "processes":
                    raise
                obstacle = str(error)
                if plan is None and not options.workers and thread_bound(error):
                    plan = WorkerPlan("serial", 0, 0, method, obstacle)
        if plan is None:
            probe = timed_calls(generator, position.epoch, position.calls, position.todo, self.time_limit)
            if probe.error and not probe.made:
                return None, probe
            if probe.error:  # what came before it is delivered yet, which needs nobody
                plan = WorkerPlan("serial", 0, 0, method, "a call raised when it was timed")
            else:
                plan = choose(options, probe, obstacle)
            self._passing = probe.error is not None
        self.plan = plan
        with granted("workers could not start"):
            return _workers(generator, plan, pickled), probe

    def close(self) -> None:
        """End the workers; iterating again starts new ones."""
        self._forget_others()
        if self._ahead:
            self._ahead.wait(quietly=True)
            self._ahead = None
        if self._run is not None:
            self._leave()
        self._shut()

    def _shut(self) -> None:
        self._keep_position()
        scheduler, self.scheduler = self.scheduler, None
        if scheduler:
            self._statistics.waited_before += scheduler.waited
            scheduler.workers.close()

    # ------------------------------------------------------------------ position and statistics

    def state(self, generator: Any) -> Position:
        """Return the position after the last mini-batch that was delivered, or where an epoch that is begun begins."""
        if self._ahead:
            return self._ahead.position
        if self._loaded or self._position is None:
            return self._next_position(generator)
        self._keep_position()
        reached = self._position
        return reached if reached.todo else Position.start(reached.epoch + 1, reached.calls)

    def load(self, position: Position) -> None:
        """Let the next iteration go on there; one that runs is over."""
        self.close()
        self._loaded, self.epoch = position, position.epoch - 1

    @property
    def resumes(self) -> bool:
        """Whether the next epoch is the rest of one."""
        return self._loaded is not None and self._loaded.mini_batches > 0

    @property
    def waited(self) -> float:
        """Seconds for which mini-batches were waited for."""
        return self._statistics.waited(self.scheduler)

    def stats(self) -> dict[str, Any]:
        """Return what was done, by whom, and who waited for whom."""
        return self._statistics.report(self.scheduler, self.plan)


class _BackgroundStart:
    """An epoch that is being begun by a thread."""

    def __init__(self, runner: EpochRunner, generator: Any, position: Position) -> None:
        self.position = position
        self._error: BaseException | None = None
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._begin, args=(runner, generator), daemon=True)
        start_thread(self._thread)

    def _begin(self, runner: EpochRunner, generator: Any) -> None:
        try:
            self._failed = runner.open(generator, self.position)
        except BaseException as error:  # raised where it is waited for
            self._error = error

    def wait(self, quietly: bool = False) -> BaseException | None:
        """Wait until the workers have their tasks, or raise why they have none; return what a timed call raised."""
        self._thread.join()
        if self._error and not quietly:
            raise self._error
        return self._failed


def _workers(generator: Any, plan: WorkerPlan, pickled: Any) -> Workers:
    if plan.mode == "serial":
        return SerialWorkers(generator)
    if plan.mode == "threads":
        return ThreadWorkers(generator, plan.workers)
    from gedanken.data.workers.processes import ProcessWorkers  # noqa: PLC0415 - needs a POSIX system

    return ProcessWorkers(generator, pickled, plan.workers, plan.threads, plan.method)


def _mixed(generator: Any, position: Position, value: Any) -> Any:
    """Apply the transforms of whole mini-batches."""
    for transform in generator.transforms:
        if getattr(transform, "on_mini_batches", False):
            rng = call_generator(generator.seed, Purpose.MINI_BATCH, position.epoch, position.mini_batches)
            value = transform(rng, value)
    return value
