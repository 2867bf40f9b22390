"""The contract of a callback, and the smallest ones."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gedanken.checks import one_of, real, require, short, whole
from gedanken.errors import ArgumentError
from gedanken.foreign import KeywordsChecked
from gedanken.named import METRICS
from gedanken.state import State, check_state
from gedanken.training.records import Answers, EpochRecord, Run, StepRecord, Stop

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
MODES = {"lower": "min", "higher": "max"}  # what `Metric.better` says, in the words of EarlyStopping


class Callback(KeywordsChecked):
    """Listens to a training. What it answers is done after the step: Stop, SetRate, Checkpoint, or a list of them.

    Nothing else controls the loop, and every answer is written into `History.answers`.
    """

    def on_start(self, run: Run) -> None:
        """Before the first step."""

    def on_step(self, run: Run, record: StepRecord) -> Answers:
        """After each step."""
        return None

    def on_epoch(self, run: Run, record: EpochRecord) -> Answers:
        """After each epoch and its validation."""
        return None

    def on_stop(self, run: Run, reason: str) -> None:
        """After the last step, also after an error."""

    def state(self) -> State:
        """Return what it has learnt from the training so far and needs to go on: arrays, numbers and texts by name."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where another one was, after `on_start`; a CheckpointError changes nothing."""
        check_state(type(self).__name__, state, self.state())


@dataclass
class EarlyStopping(Callback):
    """End the training when a value in the records has not improved for some epochs.

    Nothing is put back: the network keeps the weights of the last epoch, `patience` + 1 epochs after the best one.

    Args:
        monitor: name of a value in the epoch records, such as "validation_cost" or "validation_accuracy".
        patience: epochs without an improvement that are accepted, >= 0.
        mode: "min" or "max", what is better; None is "min" for a cost, and for a metric what its class says
            (`Metric.better`).
        threshold: by how much a value must improve to count, >= 0.

    Raises:
        ArgumentError: an argument breaks its rule; when `fit` begins: the training has no such value, or it is not one
            number, or the direction that is better is unknown.
    """

    monitor: str = "validation_cost"
    patience: int = 3
    mode: str | None = None
    threshold: float = 0.0

    def __post_init__(self) -> None:
        require(isinstance(self.monitor, str), "EarlyStopping monitor", "be the name of a value", self.monitor)
        whole("EarlyStopping patience", self.patience, at_least=0)
        if self.mode is not None:
            former = MODES.get(self.mode) if isinstance(self.mode, str) else None
            require(not former, "EarlyStopping mode", f'be "min" or "max", here {former!r}', self.mode)
            one_of("EarlyStopping mode", self.mode, ("min", "max"))
        real("EarlyStopping threshold", self.threshold, "[0, inf)")
        self._best, self._waited = math.inf, 0

    def on_start(self, run: Run) -> None:
        names = {"cost", *run.metrics}
        if run.validates:
            names |= {f"validation_{name}" for name in names}
        if self.monitor.startswith("validation_") and not run.validates:
            known = ", ".join(sorted(names))
            hint = "fit was given no validation_set"
            raise ArgumentError(f"EarlyStopping monitor must be one of {known}, got {self.monitor!r}; {hint}")
        one_of("EarlyStopping monitor", self.monitor, names)
        self._sign = 1 if self._mode(run) == "min" else -1
        self._best, self._waited = math.inf, 0

    def _mode(self, run: Run) -> str:
        """Return which way is better, or raise ArgumentError where nobody says."""
        name = self.monitor.removeprefix("validation_")
        ours = {metric: kind.better for metric, kind in METRICS.items()}
        told = dict(zip(run.metrics, run.better, strict=True)) if run.better else ours
        better = {**told, "cost": "lower"}.get(name)
        found = self.mode or MODES.get(str(better))
        rule = 'be "min" or "max", because the metric does not say which'
        require(found is not None, f"EarlyStopping mode for {self.monitor!r}", rule, self.mode)
        return str(found)

    def state(self) -> State:
        return {"best": self._best, "waited": self._waited}

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        self._best, self._waited = state["best"], state["waited"]

    def on_epoch(self, run: Run, record: EpochRecord) -> Stop | None:
        figure = record.flat().get(self.monitor)
        if figure is None:
            return None  # the epoch was broken off before its validation
        require(isinstance(figure, float), "EarlyStopping monitor", "be one number", self.monitor)
        value = self._sign * figure
        if value < self._best - self.threshold:
            self._best, self._waited = value, 0
            return None
        self._waited += 1
        if self._waited <= self.patience:
            return None
        missed = f"improved on {self._sign * self._best:.4g}" if math.isfinite(self._best) else "become a finite number"
        return Stop(f"{self.monitor} has not {missed} for {self._waited} epoch{'s' * (self._waited > 1)}")


def checked_callbacks(callbacks: object) -> list[Callback]:
    """Return the callbacks as a list, or raise ArgumentError."""
    if isinstance(callbacks, (list, tuple)) and all(isinstance(c, Callback) for c in callbacks):
        for callback in callbacks:
            _check_hooks(callback)
        return list(callbacks)
    raise ArgumentError(f"callbacks must be a list of Callback objects, got {short(callbacks)}")


def _check_hooks(callback: Callback) -> None:
    """Raise ArgumentError for a hook of another library's, which nobody would ever call."""
    for theirs, ours in HOOKS.items():
        if hasattr(callback, theirs):
            name = type(callback).__name__
            raise ArgumentError(f"{name}.{theirs} would never be called; here it is {ours}(run, ...), see Callback")
