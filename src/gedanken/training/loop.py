"""The training loop. It computes nothing, shows nothing and saves nothing: it asks a strategy and tells callbacks."""

import contextlib
import math
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from gedanken.checks import real, require, short, warn
from gedanken.data.batches import Source
from gedanken.errors import CheckpointError
from gedanken.parallel.base import StepResult, Strategy, TrainState, run_batch
from gedanken.state import State, Stateful, check_is_state, check_state, restore_parts, state_of
from gedanken.training.callbacks import Callback
from gedanken.training.interrupt import Interrupt
from gedanken.training.meter import Meter
from gedanken.training.records import (
    Answer,
    Answered,
    Answers,
    Checkpoint,
    EpochRecord,
    Evaluation,
    History,
    Run,
    SetRate,
    Snapshot,
    StepRecord,
    Stop,
)


class Trained(Protocol):
    """The network, as far as the loop knows it."""

    epoch: int

    def save(self, path: str) -> None:
        """Write it into a file."""


def new_run(
    train_state: TrainState,
    source: Source,
    validates: bool,
    epochs: tuple[int, int],
    folder: str | None,
    config: Mapping[str, Any],
) -> Run:
    """Return what is known before the first step; without a `folder` it has one of its own in `runs/`."""
    name = f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{secrets.token_hex(3)}"
    return Run(
        *epochs,
        source.steps,
        source.samples,
        validates,
        metrics=tuple(metric.name for metric in train_state.metrics),
        better=tuple(metric.better for metric in train_state.metrics),
        id=name,
        folder=folder or os.path.join("runs", name),
        started=time.time(),
        config=config,
    )


class Training:
    """One call of `fit`.

    Args:
        work: plan, optimizer and metrics.
        strategy: who computes the steps.
        source: mini-batches to train on.
        validation: mini-batches to validate on after each epoch, or None.
        run: what is known before the first step.
        callbacks: who listens, in this order.
        snapshot_step: seconds between two snapshots.
        network: is told the number of each epoch as soon as something was learnt in it, and writes checkpoints.
    """

    def __init__(
        self,
        train_state: TrainState,
        strategy: Strategy,
        source: Source,
        validation: Source | None,
        run: Run,
        callbacks: Sequence[Callback],
        snapshot_step: float,
        network: Trained,
    ) -> None:
        self.train_state, self.strategy, self.source, self.validation = train_state, strategy, source, validation
        self.run, self.callbacks, self.snapshot_step, self.network = run, callbacks, snapshot_step, network
        self.history = History(run=run)
        self.interrupt = Interrupt()
        self.stop: Stop | None = None
        self._resumed: Mapping[str, Any] | None = None
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
                begin: Callable[[Run], object] = callback.on_start
                answer = begin(self.run)
                name = f"{type(callback).__name__}.on_start"
                require(answer is None, name, "return nothing: on_step and on_epoch answer", answer)
            # Numbers that overflow show in the cost, which is watched.
            with self.interrupt, np.errstate(all="ignore"):
                self.strategy.start(self.train_state)
                self._begin()
                for epoch in range(self._place.epoch, self.run.last_epoch + 1):
                    self._epoch(epoch)
                    if self.stop:
                        break
                if not self.history.diverged:
                    self._fault(self.strategy.settle(), "after the last step")
            reason = self.stop.reason if self.stop else "all epochs done"
        finally:
            self._end(started, reason)
        self.history.reason = reason
        return self.history

    def state(self) -> State:
        """Return where it is and all it needs to go on from there.

        It is asked between two steps, when all callbacks were told of the one before. The history is not part of it.
        """
        place = replace(self._place, seconds=self._seconds(), waited=self.source.waited - self._place.waited)
        return state_of({"place": place, **self._parts()})

    def restore(self, state: Mapping[str, Any]) -> None:
        """Begin where another training was, with the same network, source and callbacks, once it is called.

        What a dict holds is looked at then, after the callbacks' `on_start`; a CheckpointError ends the training.
        """
        check_is_state("the training", state)
        self._resumed = state

    def _begin(self) -> None:
        self._began, self._snapshots = time.perf_counter(), _Snapshots(self.run, self.snapshot_step, self.train_state)
        self._place, self._meter = _Place(self.run.first_epoch), _new_meter(self.train_state)
        if self._resumed is None:
            return
        restore_parts("the training", {"place": self._place, **self._parts()}, self._resumed)
        self._place.waited = self.source.waited - self._place.waited
        self._began -= self._place.seconds
        if self._place.step:
            self.network.epoch = self._place.epoch

    def _parts(self) -> dict[str, Stateful]:
        own: dict[str, Stateful] = {"strategy": self.strategy, "meter": self._meter, "snapshots": self._snapshots}
        return {**own, **{f"callbacks.{place}": one for place, one in enumerate(self.callbacks)}}

    def _end(self, started: Sequence[Callback], reason: str) -> None:
        """Tell all who were told of the start, in order, and free the strategy, whoever raises."""
        with contextlib.ExitStack() as ending:
            ending.callback(self.interrupt.put_back)
            ending.callback(self.strategy.stop)
            for callback in reversed(started):
                ending.callback(self._tell_stop, callback, reason)

    def _tell_stop(self, callback: Callback, reason: str) -> None:
        tell: Callable[[Run, str], object] = callback.on_stop
        answer = tell(self.run, reason)
        if answer is not None:  # no error: what was learnt is already there, and the history is wanted
            name = f"{type(callback).__name__}.on_stop"
            warn(f"{name} must return nothing, the training is over; {short(answer)} is not followed")

    def _epoch(self, epoch: int) -> None:
        if not self._place.step:
            self._place.began, self._place.waited = self._seconds(), self.source.waited
        began, waited, meter = self._place.began, self._place.waited, self._meter
        finished = self._steps(epoch)
        if not meter.samples:  # Ctrl-C came before the first mini-batch
            self._listen()
            return
        self._fault(self.strategy.sync(), f"at the end of epoch {epoch}")
        trained = self._seconds()
        found = self._validate() if finished else Evaluation()
        if not self.stop:
            self.train_state.optimizer_state.watch(found["cost"] if found else meter.cost)
        record = EpochRecord(
            epoch,
            finished,
            meter.samples,
            meter.cost,
            meter.metrics,
            found.pop("cost", None),
            dict(found),
            self.train_state.optimizer_state.rate,
            trained - began,
            self._seconds() - trained,
            self.source.waited - waited,
            self.source.stats(),
            self.strategy.report(),
        )
        self.history.epochs.append(record)
        if finished:
            self._place.epoch, self._place.step, self._meter = epoch + 1, 0, _new_meter(self.train_state)
        self._listen([callback.on_epoch(self.run, record) for callback in self.callbacks], "on_epoch", epoch)
        self._place.between += self._seconds() - trained

    def _steps(self, epoch: int) -> bool:
        """Learn from the mini-batches of an epoch that are left; return whether all were seen."""
        share = 0.0
        with contextlib.closing(self.strategy.steps(self.source, epoch - 1, self._place.step)) as results:
            for given in results:
                result = given.read(self.train_state.plan.ops) if self.callbacks else given
                share = result.share
                if not self._place.step:
                    self.network.epoch = epoch
                self._meter.add(result)
                self._place.step += result.batches
                self._tell_step(epoch, self._place.step, result)
                if self.stop:
                    break
            else:
                share = share if self.interrupt.asked else 1.0
        return share == 1.0

    def _tell_step(self, epoch: int, step: int, result: StepResult) -> None:
        seconds = self._seconds()
        snapshot = self._snapshots.add(epoch, result, seconds, seconds - self._place.between)
        if snapshot:
            self.history.keep(snapshot)
        if self.callbacks:
            rate = self.train_state.optimizer_state.rate
            told = (epoch, step, result.share, result.samples, float(result.cost), rate, seconds, snapshot)
            record = StepRecord(*told, result.statistics)
            self._listen([callback.on_step(self.run, record) for callback in self.callbacks], "on_step", epoch, step)
        elif self.interrupt.asked:
            self._listen()
        if result.fault:
            self._fault(result.fault, f"in step {step} of epoch {epoch}")

    def _fault(self, fault: str, when: str) -> None:
        """End the training because of what was not finite, if anything was; the step itself was undone."""
        if fault:
            self.history.diverged = True
            # The first cost comes before the first update, so the rate has no part in it.
            first = fault.startswith("the cost") and not self.train_state.optimizer_state.updates
            blamed = first and self._place.step == 1
            advice = "look at the data and the first weights" if blamed else "try a lower learning rate"
            self.stop = Stop(f"{fault} {when}; the weights are those before it; {advice}")

    def _validate(self) -> Evaluation:
        if self.validation is None:
            return Evaluation()
        found = evaluate(self.train_state, self.validation, lambda: self.interrupt.asked)
        self._listen()
        if found and not math.isfinite(found["cost"]):
            self.history.diverged = True
            self.stop = self.stop or Stop(f"the validation cost became {found['cost']}; try a lower learning rate")
        return found

    def _listen(self, answers: Sequence[Answers] = (), hook: str = "", epoch: int = 0, step: int = 0) -> None:
        """Do what callbacks answered; the first reason to stop, theirs or Ctrl-C, is kept."""
        for callback, given in zip(self.callbacks, answers, strict=False):
            name, rule = type(callback).__name__, "return a Stop, SetRate, Checkpoint, a list of them or None"
            listed = given if isinstance(given, list) else [] if given is None else [given]
            for answer in listed:
                require(isinstance(answer, (Stop, SetRate, Checkpoint)), f"{name}.{hook}", rule, given)
            for answer in listed:
                self._follow(answer, name)
                self.history.answers.append(Answered(epoch, step, name, answer))
        if self.interrupt.asked:
            self.stop = self.stop or Stop("Ctrl-C")

    def _follow(self, answer: Answer, callback: str) -> None:
        if isinstance(answer, Stop):
            require(isinstance(answer.reason, str), f"{callback}: Stop reason", "be a text", answer.reason)
            self.stop = self.stop or answer
        elif isinstance(answer, SetRate):
            self.train_state.optimizer_state.scale_rate(real(f"{callback}: SetRate factor", answer.factor, "(0, inf)"))
        else:
            name = answer.name
            plain = isinstance(name, str) and name not in ("", ".", "..") and name == os.path.basename(name)
            require(
                plain and "\0" not in name, f"{callback}: Checkpoint name", "be a file's name without folders", name
            )
            path = os.path.join(self.run.folder, f"{answer.name.removesuffix('.safetensors')}.safetensors")
            try:
                os.makedirs(self.run.folder, exist_ok=True)
                self.strategy.show()
                self.network.save(path)
            except OSError as error:
                warn(f"the checkpoint {path} could not be written, the training goes on: {error}")

    def _seconds(self) -> float:
        return time.perf_counter() - self._began


@dataclass
class _Place:
    """How far a training is.

    Args:
        epoch: number of the running epoch, counted from 1; after an epoch that of the next.
        step: steps of it that are done.
        seconds: since the training began, at its last state.
        between: of these, those between epochs.
        began: seconds at which the epoch began.
        waited: of the source, when it began; in a state, since it began.
    """

    epoch: int
    step: int = 0
    seconds: float = 0.0
    between: float = 0.0
    began: float = 0.0
    waited: float = 0.0

    def state(self) -> State:
        return dict(vars(self))

    def restore(self, state: Mapping[str, Any]) -> None:
        check_state("the training's place", state, vars(self))
        if state["epoch"] < 1:
            raise CheckpointError(f"the training's place: epochs are counted from 1, got {state['epoch']}")
        vars(self).update(state)


class _Snapshots:
    """Makes a snapshot whenever `every` seconds of training have passed."""

    def __init__(self, run: Run, every: float, train_state: TrainState) -> None:
        self.run, self.every, self.train_state = run, every, train_state
        self._last = 0.0
        self._meter = _new_meter(train_state)

    def add(self, epoch: int, result: StepResult, seconds: float, trained: float) -> Snapshot | None:
        """Take in a step; `seconds` since the start, `trained` of them between epochs left out."""
        self._meter.add(result)
        if trained < self._last + self.every:
            return None
        speed = self._meter.samples / (trained - self._last)
        cost, metrics = self._meter.cost, self._meter.metrics
        self._last, self._meter = trained, _new_meter(self.train_state)
        return Snapshot(
            epoch, epoch - 1 + result.share, cost, metrics, self.train_state.optimizer_state.rate, speed, seconds
        )

    def state(self) -> State:
        """Return when the last snapshot was, and what was gathered since."""
        return {"last": self._last, **state_of({"meter": self._meter})}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where another one was; a CheckpointError changes nothing."""
        restore_parts("the snapshots", {"meter": self._meter}, state, {"last": self._last})
        self._last = state["last"]


def _new_meter(train_state: TrainState) -> Meter:
    return Meter(train_state.metrics, train_state.plan.ops)


@np.errstate(all="ignore")
def evaluate(train_state: TrainState, source: Source, broken_off: Callable[[], bool] = lambda: False) -> Evaluation:
    """Return cost and metrics of all samples; empty where it was broken off."""
    ctx, meter = train_state.plan.context(train=False), _new_meter(train_state)
    with contextlib.closing(source.batches(0)) as batches:
        for batch in batches:
            if broken_off():
                return Evaluation()
            meter.add(run_batch(train_state, batch, ctx))
    return meter.evaluation()
