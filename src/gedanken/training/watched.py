"""The best value so far of something that epoch records say, for callbacks that go by it."""

import math
from collections.abc import Mapping
from typing import Any

from gedanken.checks import one_of, real, require
from gedanken.errors import ArgumentError
from gedanken.named import METRICS
from gedanken.state import State, check_state
from gedanken.training.records import EpochRecord, Run

MODES = {"lower": "min", "higher": "max"}  # what `Metric.better` says, in the words of callbacks


class Watched:
    """A value of the records.

    Args:
        owner: the callback, for errors.
        monitor: name of the value; None is the validation's cost or, without a validation set, the cost.
        mode: "min" or "max", what is better; None is what the cost or the metric says.
        threshold: by how much it must improve to count.

    Raises:
        ArgumentError: an argument breaks its rule.
    """

    def __init__(self, owner: str, monitor: str | None, mode: str | None, threshold: float = 0.0) -> None:
        require(monitor is None or isinstance(monitor, str), f"{owner} monitor", "be the name of a value", monitor)
        if mode is not None:
            former = MODES.get(mode) if isinstance(mode, str) else None
            require(not former, f"{owner} mode", f'be "min" or "max", here {former!r}', mode)
            one_of(f"{owner} mode", mode, ("min", "max"))
        self._owner, self._given, self._mode = owner, monitor, mode
        self._threshold = real(f"{owner} threshold", threshold, "[0, inf)")
        self.monitor, self._sign, self._best = monitor or "", 1, math.inf

    @property
    def best(self) -> float:
        """The best value so far, infinite before the first."""
        return self._sign * self._best

    def begin(self, run: Run) -> None:
        """Begin with a training.

        Raises:
            ArgumentError: it has no such value, or nobody says which way is better.
        """
        names = {"cost", *run.metrics}
        if run.validates:
            names |= {f"validation_{name}" for name in names}
        self.monitor = self._given or ("validation_cost" if run.validates else "cost")
        if self.monitor.startswith("validation_") and not run.validates:
            known = ", ".join(sorted(names))
            hint = "fit was given no validation_set"
            raise ArgumentError(f"{self._owner} monitor must be one of {known}, got {self.monitor!r}; {hint}")
        one_of(f"{self._owner} monitor", self.monitor, names)
        self._sign, self._best = 1 if self._direction(run) == "min" else -1, math.inf

    def _direction(self, run: Run) -> str:
        """Return which way is better, or raise ArgumentError where nobody says."""
        name = self.monitor.removeprefix("validation_")
        ours = {metric: kind.better for metric, kind in METRICS.items()}
        told = dict(zip(run.metrics, run.better, strict=True)) if run.better else ours
        better = {**told, "cost": "lower"}.get(name)
        found = self._mode or MODES.get(str(better))
        rule = 'be "min" or "max", because the metric does not say which'
        require(found is not None, f"{self._owner} mode for {self.monitor!r}", rule, self._mode)
        return str(found)

    def improved(self, record: EpochRecord) -> bool | None:
        """Take in an epoch, and say whether it is the best; None where it was broken off before it had the value."""
        figure = record.flat().get(self.monitor)
        if figure is None:
            return None
        require(isinstance(figure, float), f"{self._owner} monitor", "be one number", self.monitor)
        if self._sign * figure < self._best - self._threshold:
            self._best = self._sign * figure
            return True
        return False

    def state(self) -> State:
        """Return the best value."""
        return {"best": self._best}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Have the best value of another one; a CheckpointError changes nothing."""
        check_state(self._owner, state, self.state())
        self._best = state["best"]
