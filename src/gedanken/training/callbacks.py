"""The contract of a callback, and the smallest ones."""

import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from gedanken.checks import require, short, truth, whole
from gedanken.errors import ArgumentError
from gedanken.parallel.fault import Fault
from gedanken.plain import PlainNumbers, plain
from gedanken.state import State, check_like, check_state
from gedanken.training.records import (
    Answers,
    Begun,
    Capture,
    EpochRecord,
    History,
    KeepWeights,
    RollBack,
    Run,
    Save,
    SetRate,
    Skip,
    StepRecord,
    Stop,
    Unfreeze,
)
from gedanken.training.watched import Watched

# Hooks of Keras and Lightning, and what is called at that time here.
HOOKS = {
    "on_batch_end": "on_step",
    "on_epoch_end": "on_epoch",
    "on_fit_end": "on_stop",
    "on_fit_start": "on_start",
    "on_train_batch_end": "on_step",
    "on_train_begin": "on_start",
    "on_train_end": "on_stop",
    "on_train_epoch_end": "on_epoch",
    "on_train_start": "on_start",
    "on_validation_end": "on_epoch",
}


ANSWERS = (Stop, SetRate, Save, KeepWeights, Capture)


class Callback(PlainNumbers):
    """Listens to a training. What it answers is done after the step: Stop, SetRate, Save, KeepWeights, a list of them.

    Nothing else controls the loop, and every answer is written into `History.answers`; but for a Capture, which may be
    answered too and changes nothing. AverageWeights is answered before the first step, to `on_start`.
    """

    shows = False  # whether it only shows the training: then its state is no part of the training's

    def on_start(self, run: Run) -> Begun:
        """Before the first step. A Capture is followed as soon as the training is where it begins."""
        return None

    def on_resume(self, run: Run, history: History) -> None:
        """After `on_start` where a training goes on: `history` is what it has recorded so far."""

    def on_step(self, run: Run, record: StepRecord) -> Answers:
        """After each step."""
        return None

    def on_epoch(self, run: Run, record: EpochRecord) -> Answers:
        """After each epoch and its validation."""
        return None

    def on_fault(self, run: Run, fault: Fault) -> Answers:
        """After a step of which nothing was kept, since something was not finite; before its `on_step`.

        If nobody answers Skip or RollBack, the training ends with a NonFiniteError.
        """
        return None

    def on_interrupt(self, run: Run) -> Capture | None:
        """When Ctrl-C was pressed: after this step the training ends."""
        return None

    def on_stop(self, run: Run, reason: str) -> None:
        """After the last step, also after an error; the network is what `fit` leaves."""

    def state(self) -> State:
        """Return what it has learnt from the training so far and needs to go on: arrays, numbers and texts by name."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where another one was, after `on_start`; a CheckpointError changes nothing."""
        check_like(type(self).__name__, state, self.state())


@dataclass
class EarlyStopping(Callback):
    """End the training when a value in the records has not improved for some epochs.

    Args:
        monitor: name of a value in the epoch records, such as "validation_cost" or "validation_accuracy".
        patience: epochs without an improvement that are accepted, >= 0.
        mode: "min" or "max", what is better; None is "min" for a cost, and for a metric what its class says
            (`Metric.better`).
        threshold: by how much a value must improve to count, >= 0.
        restore_best: whether the network ends with the weights of the best epoch, whatever ends the training; without
            it with the last ones, which are `patience` + 1 epochs older.

    Raises:
        ArgumentError: an argument breaks its rule; when `fit` begins: the training has no such value, or it is not one
            number, or the direction that is better is unknown.
    """

    monitor: str = "validation_cost"
    patience: int = 3
    mode: str | None = None
    threshold: float = 0.0
    restore_best: bool = True

    def __post_init__(self) -> None:
        require(isinstance(self.monitor, str), "EarlyStopping monitor", "be the name of a value", self.monitor)
        whole("EarlyStopping patience", self.patience, at_least=0)
        truth("EarlyStopping restore_best", self.restore_best)
        self._watched, self._waited = Watched("EarlyStopping", self.monitor, self.mode, self.threshold), 0

    def on_start(self, run: Run) -> None:
        self._watched.begin(run)
        self._waited = 0

    def state(self) -> State:
        return {**self._watched.state(), "waited": self._waited}

    def restore(self, state: Mapping[str, Any]) -> None:
        check_state("EarlyStopping", state, self.state())
        self._watched.restore({"best": state["best"]})
        self._waited = state["waited"]

    def on_epoch(self, run: Run, record: EpochRecord) -> Stop | KeepWeights | None:
        improved = self._watched.improved(record)
        if improved is None:
            return None
        if improved:
            self._waited = 0
            return KeepWeights() if self.restore_best else None
        self._waited += 1
        if self._waited <= self.patience:
            return None
        best = self._watched.best
        missed = f"improved on {best:.4g}" if math.isfinite(best) else "become a finite number"
        return Stop(f"{self.monitor} has not {missed} for {self._waited} epoch{'s' * (self._waited > 1)}")


@dataclass
class KeepBest(Callback):
    """Let the network end with the weights of the best epoch, whatever ends the training.

    Args:
        monitor: name of a value in the epoch records; None is "validation_cost" or, without a validation set, "cost".
        mode: "min" or "max", what is better; None is "min" for a cost, and for a metric what its class says.

    Raises:
        ArgumentError: as for `EarlyStopping`.
    """

    monitor: str | None = None
    mode: str | None = None

    def __post_init__(self) -> None:
        self._watched = Watched("KeepBest", self.monitor, self.mode)

    def on_start(self, run: Run) -> None:
        self._watched.begin(run)

    def state(self) -> State:
        return self._watched.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        self._watched.restore(state)

    def on_epoch(self, run: Run, record: EpochRecord) -> KeepWeights | None:
        return KeepWeights() if self._watched.improved(record) else None


class Calls(Callback):
    """Call functions of yours; what they return is answered.

    Args:
        on_step, on_epoch: are given the Run and the record, as the hooks of that name; None does nothing.

    Raises:
        ArgumentError: one of them is no function.
    """

    def __init__(
        self,
        *,
        on_step: Callable[[Run, StepRecord], Answers] | None = None,
        on_epoch: Callable[[Run, EpochRecord], Answers] | None = None,
    ) -> None:
        for name, function in (("on_step", on_step), ("on_epoch", on_epoch)):
            require(function is None or callable(function), f"Calls {name}", "be a function or None", function)
        self._step, self._epoch = on_step, on_epoch

    def on_step(self, run: Run, record: StepRecord) -> Answers:
        return self._step(run, record) if self._step else None

    def on_epoch(self, run: Run, record: EpochRecord) -> Answers:
        return self._epoch(run, record) if self._epoch else None


def checked_callbacks(callbacks: object) -> list[Callback]:
    """Return the callbacks as a list, or raise ArgumentError."""
    if isinstance(callbacks, (list, tuple)) and all(isinstance(c, Callback) for c in callbacks):
        for callback in callbacks:
            _check_hooks(callback)
        return list(callbacks)
    given = callbacks if isinstance(callbacks, (list, tuple)) else (callbacks,)
    hint = "; a function is one as Calls(on_step=...)" if any(isinstance(c, FunctionType) for c in given) else ""
    raise ArgumentError(f"callbacks must be a list of Callback objects, got {short(callbacks)}{hint}")


def _check_hooks(callback: Callback) -> None:
    """Raise ArgumentError for a hook of another library's, which nobody would ever call."""
    for theirs, ours in HOOKS.items():
        if hasattr(callback, theirs):
            name = type(callback).__name__
            raise ArgumentError(f"{name}.{theirs} would never be called; here it is {ours}(run, ...), see Callback")


def told(callback: Callback, hook: str, *given: Any) -> Any:
    """Return what a callback answers to a hook; what it raises says whose it was."""
    try:
        return getattr(callback, hook)(*given)
    except Exception as error:
        with contextlib.suppress(Exception):  # of a class that takes no notes
            error.add_note(f"raised by the callback {type(callback).__name__} in {hook}")
        raise


def answers_of(callback: Callback, hook: str, given: Any) -> list[Any]:
    """Return what a hook answered as a list, its numbers plain, or raise ArgumentError."""
    listed: list[Any] = given if isinstance(given, list) else [] if given is None else [given]
    kinds = {"on_interrupt": (Capture,), "on_fault": (*ANSWERS, Skip, RollBack), "on_epoch": (*ANSWERS, Unfreeze)}.get(
        hook, ANSWERS
    )
    rule = "return a Capture or None"
    if len(kinds) > 1:
        rule = f"return a {', '.join(kind.__name__ for kind in kinds)}, a list of them or None"
    require(all(isinstance(one, kinds) for one in listed), f"{type(callback).__name__}.{hook}", rule, given)
    return [one._replace(**{name: plain(part) for name, part in one._asdict().items()}) for one in listed]
