"""Running means of cost and metrics."""

import contextlib
import math
import numbers
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np

from gedanken.checks import require, short
from gedanken.errors import CheckpointError
from gedanken.metrics.base import HOST, Metric
from gedanken.metrics.heads import cost_of_heads
from gedanken.ops import Ops
from gedanken.parallel.base import StepResult
from gedanken.parallel.counting import Mean, counts_of
from gedanken.state import State, Stateful, check_state, restore_parts, state_of
from gedanken.training.records import Evaluation, StepRecord
from gedanken.types import Array

UNREAD = 64  # steps whose values are read together


class Meter:
    """A running mean of cost and metrics: of the cost by what each step's counts for.

    What steps tell may be values of a device; they are read some at a time, so that it need not wait for each step.

    Args:
        metrics: the metrics.
        ops: the device's primitives.
        sums: whether costs add up, see `Cost.sums`.
    """

    def __init__(self, metrics: Sequence[Metric], ops: Ops = HOST, sums: bool = False) -> None:
        self._metrics, self._ops = metrics, ops
        self._unread: list[StepResult | StepRecord] = []
        self.samples = 0
        self._cost = Mean(sums)
        self._gathered = [_Gathered(metric) for metric in metrics]

    def add(self, result: StepResult | StepRecord) -> None:
        """Take in one step."""
        self.samples += result.samples
        self._unread.append(result)
        if len(self._unread) == UNREAD:
            self._read()

    def _read(self) -> None:
        results, self._unread = self._unread, []
        for result in results:
            self._cost.add(float(result.cost), counts_of(result))
            for gathered, part in zip(self._gathered, result.statistics, strict=False):
                gathered.add(self._ops.to_host(part))

    def state(self) -> State:
        """Return sums and gathered statistics."""
        self._read()
        return {**self._sums(), **state_of(self._parts())}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where another one was, with the same metrics; a CheckpointError changes nothing."""
        restore_parts("the meter", self._parts(), state, self._sums())
        self.samples, self._unread = state["samples"], []
        self._cost.total, self._cost.counts = state["cost"], state["counts"]

    def _sums(self) -> dict[str, int | float]:
        return {"samples": self.samples, "cost": self._cost.total, "counts": self._cost.counts}

    def _parts(self) -> dict[str, Stateful]:
        return {str(place): one for place, one in enumerate(self._gathered)}

    @property
    def cost(self) -> float:
        """Mean cost so far; NaN of no samples."""
        self._read()
        if not self.samples:
            return math.nan
        of_heads = cost_of_heads(zip(self._metrics, (one.total for one in self._gathered), strict=True))
        return self._cost.value if of_heads is None else of_heads

    @property
    def metrics(self) -> dict[str, Any]:
        """Value of each metric so far, a float or an array."""
        self._read()
        found = zip(self._metrics, self._gathered, strict=True)
        return {m.name: _figure(m, m.value(gathered.total())) for m, gathered in found}

    def evaluation(self) -> Evaluation:
        """Return cost and metrics by name."""
        return Evaluation(cost=self.cost, **self.metrics)


class _Gathered:
    """One metric's statistics, merged as a binary counter counts.

    A metric that keeps all samples copies each of them once for every doubling, not once for every step.
    """

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._parts: list[tuple[int, Array]] = []

    def add(self, part: Array) -> None:
        steps = 1
        while self._parts and self._parts[-1][0] == steps:
            part = self._metric.merge(self._parts.pop()[1], part)
            steps *= 2
        self._parts.append((steps, part))

    def state(self) -> State:
        """Return the number of steps and the parts; how many steps each is of are the digits of that number."""
        return {
            "steps": sum(steps for steps, _ in self._parts),
            **{str(i): np.array(p) for i, (_, p) in enumerate(self._parts)},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        name, count = self._metric.name, state.get("steps")
        check_state(name, {"steps": count}, {"steps": 0})
        steps = [1 << digit for digit in reversed(range(int(count or 0).bit_length())) if int(count or 0) >> digit & 1]
        given: list[Any] = [state.get(str(place)) for place in range(len(steps))]
        if len(state) != 1 + len(steps) or any(type(one) is not np.ndarray for one in given):
            raise CheckpointError(f"{name} must have an array for each digit of its steps, got {short(dict(state))}")
        if given:
            try:
                self._metric.value(reduce(self._metric.merge, given))
            except Exception as error:  # what a metric's own class does with arrays that are not its own
                raise CheckpointError(f"{name} cannot go on from the arrays of its state: {error}") from error
        self._parts = list(zip(steps, given, strict=True))

    def total(self) -> Array:
        """Return the statistics of all that was added."""
        return reduce(self._metric.merge, (part for _, part in self._parts))


def _figure(metric: Metric, value: Any) -> Any:
    """Return a metric's value as a float where it is one number, whatever type of number it is."""
    if isinstance(value, (numbers.Real, np.bool_)) or (isinstance(value, np.ndarray) and value.shape == ()):
        with contextlib.suppress(OverflowError):
            return float(value)
    require(isinstance(value, np.ndarray), f"the value of the metric {metric.name}", "be a number or an array", value)
    return value
