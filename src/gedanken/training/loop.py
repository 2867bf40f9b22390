"""The training loop. It computes nothing, shows nothing and saves nothing: it asks a strategy and tells callbacks."""

import contextlib
import math
import time
from collections.abc import Callable, Sequence

import numpy as np

from gedanken.checks import require
from gedanken.data.source import Batch, Source
from gedanken.parallel.base import StepResult, Strategy, Work, judged
from gedanken.training.callbacks import Callback
from gedanken.training.interrupt import Interrupt
from gedanken.training.records import EpochRecord, Evaluation, History, Meter, Run, Snapshot, StepRecord, Stop


class Training:
    """One call of `fit`.

    Args:
        work: network, cost, optimizer and metrics.
        strategy: who computes the steps.
        source: mini-batches to train on.
        validation: mini-batches to validate on after each epoch, or None.
        epochs: (first, last) numbers of the epochs, counted from 1.
        callbacks: who listens, in this order.
        snapshot_step: seconds between two snapshots.
        reached: is told the number of each epoch as soon as something was learnt in it.
    """

    def __init__(
        self,
        work: Work,
        strategy: Strategy,
        source: Source,
        validation: Source | None,
        epochs: tuple[int, int],
        callbacks: Sequence[Callback],
        snapshot_step: float,
        reached: Callable[[int], None],
    ) -> None:
        self.work, self.strategy, self.source, self.validation = work, strategy, source, validation
        names = tuple(metric.name for metric in work.metrics)
        better = tuple(metric.better for metric in work.metrics)
        self.run = Run(*epochs, source.steps, source.samples, validation is not None, names, better)
        self.callbacks, self.snapshot_step, self.reached = callbacks, snapshot_step, reached
        self.history = History()
        self.interrupt = Interrupt()
        self.stop: Stop | None = None
        self._last: Batch | None = None  # a sample that was just learnt from
        for given in (source, validation):
            if given:
                given.broken_off = lambda: self.interrupt.asked

    def __call__(self) -> History:
        """Train, and return what happened."""
        reason = "error"
        started: list[Callback] = []
        try:
            for callback in self.callbacks:
                started.append(callback)
                callback.on_start(self.run)
            # Numbers that overflow show in the cost, which is watched.
            with self.interrupt, np.errstate(all="ignore"):
                self.strategy.start(self.work)
                self._began, self._between = time.perf_counter(), 0.0
                self._snapshots = _Snapshots(self.run, self.snapshot_step, self.work)
                for epoch in range(self.run.first_epoch, self.run.last_epoch + 1):
                    self._epoch(epoch)
                    if self.stop:
                        break
                if self._last and not self.history.diverged:
                    self._fault(self.strategy.settle(self._last), "after the last step")
            reason = self.stop.reason if self.stop else "all epochs done"
        finally:
            self._end(started, reason)
        self.history.reason = reason
        return self.history

    def _end(self, started: Sequence[Callback], reason: str) -> None:
        """Tell all who were told of the start, in order, and free the strategy, whoever raises."""
        with contextlib.ExitStack() as ending:
            ending.callback(self.interrupt.put_back)
            ending.callback(self.strategy.stop)
            for callback in reversed(started):
                ending.callback(callback.on_stop, self.run, reason)

    def _epoch(self, epoch: int) -> None:
        began, waited, meter = self._seconds(), self.source.waited, Meter(self.work.metrics)
        finished = self._steps(epoch, meter)
        if not meter.samples:  # Ctrl-C came before the first mini-batch
            self._listen()
            return
        self._fault(self.strategy.sync(), f"at the end of epoch {epoch}")
        trained = self._seconds()
        found = self._validate() if finished else Evaluation()
        if not self.stop:
            self.work.descent.watch(found["cost"] if found else meter.cost)
        record = EpochRecord(
            epoch,
            finished,
            meter.samples,
            meter.cost,
            meter.metrics,
            found.pop("cost", None),
            dict(found),
            self.work.descent.rate,
            trained - began,
            self._seconds() - trained,
            self.source.waited - waited,
            self.source.stats(),
        )
        self.history.epochs.append(record)
        self._listen([callback.on_epoch(self.run, record) for callback in self.callbacks], "on_epoch")
        self._between += self._seconds() - trained

    def _steps(self, epoch: int, meter: Meter) -> bool:
        """Learn from the mini-batches of an epoch; return whether all were seen."""
        share = 0.0
        with contextlib.closing(self.source.batches(epoch - 1)) as batches:
            for step, batch in enumerate(batches, start=1):
                result, share = self.strategy.step(batch, epoch - 1), batch.share
                if step == 1:
                    self.reached(epoch)
                meter.add(result)
                self._tell_step(epoch, step, share, result)
                if self.stop:
                    break
            else:
                share = share if self.interrupt.asked else 1.0
            if meter.samples:
                self._last = batch._replace(x=batch.x[:1].copy(), target=batch.target[:1].copy())
        return share == 1.0

    def _tell_step(self, epoch: int, step: int, share: float, result: StepResult) -> None:
        seconds = self._seconds()
        snapshot = self._snapshots.add(epoch, share, result, seconds, seconds - self._between)
        if snapshot:
            self.history.keep(snapshot)
        rate = self.work.descent.rate
        told = (epoch, step, share, result.samples, result.cost, rate, seconds, snapshot, result.statistics)
        record = StepRecord(*told)
        if self.callbacks or self.interrupt.asked:
            self._listen([callback.on_step(self.run, record) for callback in self.callbacks], "on_step")
        if result.fault:
            self._fault(result.fault, f"in step {step} of epoch {epoch}")

    def _fault(self, fault: str, when: str) -> None:
        """End the training because of what was not finite, if anything was; the step itself was undone."""
        if fault:
            self.history.diverged = True
            self.stop = Stop(f"{fault} {when}; the weights are those before it; try a lower learning rate")

    def _validate(self) -> Evaluation:
        if self.validation is None:
            return Evaluation()
        found = evaluate(self.work, self.validation, lambda: self.interrupt.asked)
        self._listen()
        if found and not math.isfinite(found["cost"]):
            self.history.diverged = True
            self.stop = self.stop or Stop(f"the validation cost became {found['cost']}; try a lower learning rate")
        return found

    def _listen(self, answers: Sequence[Stop | None] = (), hook: str = "") -> None:
        """Keep the first reason to stop: what callbacks answered, or Ctrl-C."""
        for callback, answer in zip(self.callbacks, answers, strict=False):
            right = answer is None or isinstance(answer, Stop)
            require(right, f"{type(callback).__name__}.{hook}", "return a Stop or None", answer)
        asked = Stop("Ctrl-C") if self.interrupt.asked else None
        self.stop = self.stop or next((answer for answer in answers if answer), asked)

    def _seconds(self) -> float:
        return time.perf_counter() - self._began


class _Snapshots:
    """Makes a snapshot whenever `every` seconds of training have passed."""

    def __init__(self, run: Run, every: float, work: Work) -> None:
        self.run, self.every, self.work = run, every, work
        self._last = 0.0
        self._meter = Meter(work.metrics)

    def add(self, epoch: int, share: float, result: StepResult, seconds: float, trained: float) -> Snapshot | None:
        """Take in a step; `seconds` since the start, `trained` of them between epochs left out."""
        self._meter.add(result)
        if trained < self._last + self.every:
            return None
        speed = self._meter.samples / (trained - self._last)
        cost, metrics = self._meter.cost, self._meter.metrics
        self._last, self._meter = trained, Meter(self.work.metrics)
        return Snapshot(epoch, epoch - 1 + share, cost, metrics, self.work.descent.rate, speed, seconds)


@np.errstate(all="ignore")
def evaluate(work: Work, source: Source, broken_off: Callable[[], bool] = lambda: False) -> Evaluation:
    """Return cost and metrics of all samples; empty where it was broken off."""
    ctx, meter = work.plan.context(train=False), Meter(work.metrics)
    with contextlib.closing(source.batches(0)) as batches:
        for batch in batches:
            if broken_off():
                return Evaluation()
            meter.add(judged(work, batch, ctx))
    return meter.evaluation()
