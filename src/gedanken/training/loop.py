"""The training loop. It computes nothing, shows nothing and saves nothing: it asks a strategy and tells callbacks."""

import contextlib
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from gedanken.checks import real, require, short, warn
from gedanken.data.batches import Source
from gedanken.errors import ArgumentError, CheckpointError, NonFiniteError
from gedanken.io.training_state import WEIGHTS, TrainingState
from gedanken.parallel.base import StepResult, Strategy, TrainState
from gedanken.parallel.fault import Fault
from gedanken.state import State, Stateful, check_is_state, check_state, part, restore_parts, state_of
from gedanken.training.average import Average
from gedanken.training.callbacks import Callback, answers_of, told
from gedanken.training.course import Kept, Place, Snapshots, new_meter
from gedanken.training.evaluation import evaluate
from gedanken.training.interrupt import Interrupt
from gedanken.training.past import Past
from gedanken.training.records import (
    Answer,
    Answered,
    Answers,
    AverageWeights,
    Capture,
    EpochRecord,
    Evaluation,
    History,
    KeepWeights,
    RollBack,
    Run,
    Save,
    SetRate,
    StepRecord,
    Stop,
    Unfreeze,
)
from gedanken.training.trained import Trained, save_as

CTRL_C = Stop("Ctrl-C")
TOO_HIGH = "the last updates were too large; try a lower learning rate"
MOST_EPOCHS = 1 << 32


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
        network: is told the number of each epoch as soon as something was learnt in it, and writes files.

    Attributes:
        about: what a checkpoint says of the training beside its state.
    """

    about: Mapping[str, Any] = MappingProxyType({})

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
        self.fault: Fault | None = None  # that ended it
        self._kept, self._average = Kept(train_state.plan), Average(train_state)
        self._resumed: Mapping[str, Any] | None = None
        for given in filter(None, (source, validation)):
            given.broken_off = lambda: self.interrupt.asked

    def __call__(self) -> History:
        """Train, and return what happened."""
        reason = "error"
        started: list[Callback] = []
        try:
            captures = [capture for callback in self.callbacks for capture in self._start(callback, started)]
            # Numbers that overflow show in the cost, which is watched.
            with self.interrupt, np.errstate(all="ignore"):
                self.strategy.start(self.train_state)
                self._begin()
                self._capture(captures, first=True)
                for epoch in range(self._place.epoch, self.run.last_epoch + 1):
                    if self.stop and not self._place.step:
                        break
                    self._epoch(epoch)
                if not self.history.diverged:
                    self._settle()
            reason = self.stop.reason if self.stop else "all epochs done"
        finally:
            self._end(started, reason)
        self.history.reason = reason
        if self.history.diverged:
            raise NonFiniteError(reason, self.fault, self.history)
        return self.history

    @property
    def epochs_done(self) -> int:
        """Epochs of the network that are done before its first step."""
        place = self._resumed.get("place.epoch") if self._resumed else self.run.first_epoch
        if not (type(place) is int and 1 <= place < MOST_EPOCHS):
            raise CheckpointError(f"{self.run.resumed}: epochs are counted from 1 to {MOST_EPOCHS - 1}, got {place}")
        return place - 1

    def state(self) -> State:
        """Return where it is and all it needs to go on from there.

        It is asked between two steps, when all callbacks were told of the one before.
        """
        stopped = self.stop.reason if self.stop and self.stop is not CTRL_C else ""
        seconds, waited = self._seconds(), self.source.waited - self._place.waited
        place = replace(self._place, stopped=stopped, seconds=seconds, waited=waited)
        with self._average.hidden():
            found = {**state_of({"place": place, **self._parts()}), "source": json.dumps(self.source.state())}
        for name, value in found.items():
            if name.startswith("callbacks.") and isinstance(value, np.ndarray):
                found[name] = value.copy()  # the user's own goes on changing
        return found

    def restore(self, state: Mapping[str, Any]) -> None:
        """Begin where another training was, with the same network, source and callbacks, once it is called.

        The source goes there at once. What else a dict holds is looked at when the training is called, after the
        callbacks' `on_start`; a CheckpointError ends it.
        """
        check_is_state("the training", state)
        source = {name: value for name, value in state.items() if name == "source"}
        check_state("the training", source, {"source": ""})
        try:
            self.source.restore(json.loads(source["source"]))
        except (ArgumentError, ValueError, RecursionError) as error:
            raise CheckpointError(f"the mini-batches cannot go on where they were: {error}") from error
        self._resumed = {name: value for name, value in state.items() if name != "source"}

    def _begin(self) -> None:
        self._began, self._snapshots = time.perf_counter(), Snapshots(self.run, self.snapshot_step, self.train_state)
        self._place, self._meter = Place(self.run.first_epoch), new_meter(self.train_state)
        if self._resumed is None:
            return
        self._thaw_again(self._resumed.get("place.thawed") or "[]")
        try:
            restore_parts("the training", {"place": self._place, **self._parts()}, self._resumed)
        except CheckpointError as error:
            raise CheckpointError(f"{self.run.resumed}: {error}" if self.run.resumed else str(error)) from error
        place = self._place
        place.waited = self.source.waited - place.waited
        self._began -= place.seconds
        self.network.epoch = place.epoch if place.step else place.epoch - 1
        if place.stopped:
            self.stop = Stop(place.stopped)
        for callback in self.callbacks:
            told(callback, "on_resume", self.run, self.history)

    def _thaw_again(self, thawed: Any) -> None:
        """Let the layers learn that a training before has unfrozen."""
        try:
            self._thaw(Unfreeze(tuple(json.loads(thawed))))
        except (TypeError, ValueError, RecursionError) as error:
            raise CheckpointError(f"{self.run.resumed}: its unfrozen layers cannot be read: {short(thawed)}") from error

    def _parts(self) -> dict[str, Stateful]:
        own: dict[str, Stateful] = {"strategy": self.strategy, "meter": self._meter, "snapshots": self._snapshots}
        own |= {"history": Past(self.history), "kept": self._kept, "average": self._average}
        return {**own, **{f"callbacks.{place}": one for place, one in enumerate(self._own())}}

    def _own(self) -> list[Callback]:
        """Return the callbacks that are the user's: those that only show a training may be others when it goes on."""
        return [callback for callback in self.callbacks if not callback.shows]

    def _start(self, callback: Callback, started: list[Callback]) -> Iterator[Capture]:
        """Tell a callback of the start, and yield what it answers."""
        started.append(callback)
        answer = told(callback, "on_start", self.run)
        name = f"{type(callback).__name__}.on_start"
        rule = "return nothing, a Capture or AverageWeights"
        require(answer is None or isinstance(answer, Capture | AverageWeights), name, rule, answer)
        if isinstance(answer, AverageWeights):
            self._average.begin(type(callback).__name__, answer.decay, self.strategy)
            self.history.answers.append(Answered(self.run.first_epoch - 1, 0, type(callback).__name__, answer))
        elif answer:
            yield answer

    def _end(self, started: Sequence[Callback], reason: str) -> None:
        """Free the strategy, put kept weights back, and tell all who were told of the start, whoever raises."""
        with contextlib.ExitStack() as ending:
            ending.callback(self.interrupt.put_back)
            for callback in reversed(started):
                ending.callback(self._tell_stop, callback, reason)
            ending.callback(self._put_back)
            ending.callback(self.strategy.stop)

    def _put_back(self) -> None:
        self._average.end(self.history.diverged)
        self.history.kept = self._kept.put_back()

    def _tell_stop(self, callback: Callback, reason: str) -> None:
        answer = told(callback, "on_stop", self.run, reason)
        if answer is not None:  # no error: what was learnt is already there, and the history is wanted
            name = f"{type(callback).__name__}.on_stop"
            warn(f"{name} must return nothing, the training is over; {short(answer)} is not followed")

    def _epoch(self, epoch: int) -> None:
        if not self._place.step:
            self._place.began, self._place.waited = self._seconds(), self.source.waited
        began, waited, meter = self._place.began, self._place.waited, self._meter
        finished = self._steps(epoch)
        if self.interrupt.asked:  # also where it came while a mini-batch was waited for: the epoch is not over then
            self._listen()
        if not self._place.step:
            return
        if refused := self.strategy.sync():
            self._forgiven(Fault(refused, epoch, cause=TOO_HIGH))
        self._average.take()
        if epoch == self.run.last_epoch and not self.history.diverged:
            self._settle()
        trained = self._seconds()
        if not self.history.diverged:
            self._average.show()
        found = self._validate(epoch) if finished else Evaluation()
        if not self.stop:
            self.train_state.optimizer_state.watch(found["cost"] if found else meter.cost)
        record = EpochRecord(
            epoch,
            finished,
            meter.samples,
            meter.cost,
            meter.metrics if meter.samples else {},
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
        self._place.epoch, self._place.step, self._meter = epoch + 1, 0, new_meter(self.train_state)
        self._listen([told(callback, "on_epoch", self.run, record) for callback in self.callbacks], "on_epoch", epoch)
        self._average.hide()
        self._place.between += self._seconds() - trained

    def _steps(self, epoch: int) -> bool:
        """Learn from the mini-batches of an epoch that are left; return whether all were seen."""
        place = self._place
        place.share = place.share if place.step else 0.0
        if self.stop:  # it was stopped within the epoch that is gone on with
            return place.share == 1.0
        with contextlib.closing(self.strategy.steps(self.source, epoch - 1, place.step)) as results:
            for given in results:
                result = given.read(self.train_state.plan.ops) if self.callbacks else given
                place.share = result.share
                if not place.step:
                    self.network.epoch = epoch
                place.step += result.batches
                self._average.take()
                self._tell_step(epoch, place.step, result)
                if self.stop:
                    break
            else:
                place.share = place.share if self.interrupt.asked else 1.0
        return place.share == 1.0

    def _tell_step(self, epoch: int, step: int, result: StepResult) -> None:
        seconds = self._seconds()
        self.history.steps += 1
        snapshot = None
        if not (result.fault and self._forgiven(result.fault._replace(epoch=epoch, step=step))):
            self._meter.add(result)
            snapshot = self._snapshots.add(epoch, result, seconds, seconds - self._place.between)
        if snapshot:
            self.history.keep(snapshot)
        if self.callbacks:
            rate = self.train_state.optimizer_state.rate
            entries = (epoch, step, result.share, result.samples, float(result.cost), rate, seconds, snapshot)
            record = StepRecord(*entries, result.statistics, result.counts)
            self._listen(
                [told(callback, "on_step", self.run, record) for callback in self.callbacks], "on_step", epoch, step
            )
        elif self.interrupt.asked:
            self._listen()

    def _settle(self) -> None:
        if useless := self.strategy.settle():
            self._forgiven(Fault(f"{useless} after the last step", cause=TOO_HIGH))

    def _forgiven(self, fault: Fault) -> bool:
        """Ask what is done about a step of which nothing was kept; return whether the training goes on, else end it."""
        self.history.add_fault(fault)
        self._goes_on = False
        answers = [told(callback, "on_fault", self.run, fault) for callback in self.callbacks]
        self._listen(answers, "on_fault", fault.epoch, fault.step)
        self._average.take()  # where it went back, the average begins anew
        if not self._goes_on:
            self._kept.drop(self.strategy.useful)
            self.history.diverged, self.fault = True, fault
            self.stop = Stop(f"{fault}; the weights are those before it")
        return self._goes_on

    def _validate(self, epoch: int) -> Evaluation:
        if self.validation is None:
            return Evaluation()
        found = evaluate(self.train_state, self.validation, lambda: self.interrupt.asked)
        self._listen()
        if found and not math.isfinite(found["cost"]):
            with self._average.hidden():
                cause = TOO_HIGH if self.strategy.settle() else "look at the samples of the validation set"
                self._forgiven(Fault(f"the validation cost became {found['cost']}", epoch, cause=cause))
        return found

    def _thaw(self, answer: Unfreeze) -> None:
        """Let frozen layers learn from now on."""
        if answer.layers:
            tuning = self.network.thaw(answer)
            self._place.thawed = json.dumps([*json.loads(self._place.thawed or "[]"), *answer.layers])
            for train_state in {id(one): one for one in (self.train_state, self.strategy.train_state)}.values():
                train_state.retune(tuning)

    def _listen(self, answers: Sequence[Answers] = (), hook: str = "", epoch: int = 0, step: int = 0) -> None:
        """Do what callbacks answered; the first reason to stop, theirs or Ctrl-C, is kept."""
        captures: list[Capture] = []
        for callback, given in zip(self.callbacks, answers, strict=False):
            for answer in answers_of(callback, hook, given):
                if isinstance(answer, Capture):
                    captures.append(answer)
                else:
                    self._follow(answer, callback, epoch)
                    self.history.answers.append(Answered(epoch, step, type(callback).__name__, answer))
        interrupted = self.interrupt.asked and not self.stop
        if interrupted:
            asked = [(callback, told(callback, "on_interrupt", self.run)) for callback in self.callbacks]
            captures = [one for callback, given in asked for one in answers_of(callback, "on_interrupt", given)]
        self._capture(captures)
        if interrupted:
            self.stop = CTRL_C

    def _capture(self, captures: Sequence[Capture], first: bool = False) -> None:
        """Give what the training has become to those who asked.

        What comes after Ctrl-C would not come otherwise, and what is not finite comes again: neither is captured.
        """
        if captures and self.stop is not CTRL_C and not self.history.diverged:
            try:
                state = self.state()
            except ArgumentError as error:  # a user's callback has become what cannot be written
                if first:
                    raise
                warn(f"the training could not be written down, it goes on: {error}")
                return
            model = self.network.written(part(WEIGHTS, state), TrainingState(state, self.about))
            for capture in captures:
                capture.receive(model)

    def _follow(self, answer: Answer, callback: Callback, epoch: int) -> None:
        name = type(callback).__name__
        if isinstance(answer, Stop):
            require(isinstance(answer.reason, str), f"{name}: Stop reason", "be a text", answer.reason)
            self.stop = self.stop or answer
        elif isinstance(answer, SetRate):
            self.train_state.optimizer_state.scale_rate(real(f"{name}: SetRate factor", answer.factor, "(0, inf)"))
        elif isinstance(answer, KeepWeights):
            self.strategy.show()
            self._kept.keep(next(place for place, one in enumerate(self._own()) if one is callback), epoch)
        elif isinstance(answer, Save):
            self.strategy.show()
            save_as(self.network, self.run.folder, name, answer.name)
        elif isinstance(answer, Unfreeze):
            self._thaw(answer)
        else:
            rule = "be answered where single steps can be left out, not with workers that wait for nobody"
            require(self.strategy.forgives, f"{name}: {type(answer).__name__}", rule, answer)
            self._goes_on = True
            if isinstance(answer, RollBack):
                self.strategy.roll_back()
                self._average.take()

    def _seconds(self) -> float:
        return time.perf_counter() - self._began
