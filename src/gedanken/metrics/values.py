"""Metrics of a regression's values."""

import math
from typing import ClassVar, Literal

import numpy as np

from gedanken.metrics.base import Metric, numbers, ratio
from gedanken.metrics.entries import outputs_and_targets, sum_of, whole_weight
from gedanken.ops import Ops
from gedanken.types import Array


class MeanAbsoluteError(Metric):
    """Mean distance of outputs and targets, in their units.

        error = sum w * |y - target| / (F * sum w)

    Shapes:
        y, target: as the module says.   statistics: (2,), weighted sum, and weight of all values.
    """

    better: ClassVar[Literal["higher", "lower"] | None] = "lower"

    def measure(self, ops: Ops, y: Array, target: Array, weight: Array | None = None) -> Array:
        outputs, targets, weight = outputs_and_targets(ops, self, y, target, weight)
        return _sum_and_count(ops, weight, ops.xp.abs(outputs - targets))

    def value(self, total: Array) -> float:
        return float(ratio(total[0], total[1], empty=math.nan))


class MeanSquaredError(Metric):
    """Mean squared distance of outputs and targets, in the square of their units.

        error = sum w * (y - target)^2 / (F * sum w)

    Shapes:
        y, target: as the module says.   statistics: (2,), weighted sum, and weight of all values.
    """

    better: ClassVar[Literal["higher", "lower"] | None] = "lower"

    def measure(self, ops: Ops, y: Array, target: Array, weight: Array | None = None) -> Array:
        outputs, targets, weight = outputs_and_targets(ops, self, y, target, weight)
        return _sum_and_count(ops, weight, ops.xp.square(outputs - targets))

    def value(self, total: Array) -> float:
        return float(ratio(total[0], total[1], empty=math.nan))


class RootMeanSquareError(MeanSquaredError):
    """Square root of the mean squared distance of outputs and targets, in their units.

        error = sqrt(sum w * (y - target)^2 / (F * sum w))

    Shapes:
        y, target: as the module says.   statistics: (2,), weighted sum, and weight of all values.
    """

    def value(self, total: Array) -> float:
        return float(np.sqrt(ratio(total[0], total[1], empty=math.nan)))


class MeanAbsolutePercentageError(Metric):
    """Mean distance of outputs and targets as a share of the targets: 0.1 is ten percent.

        error = sum w * |y - target| / max(|target|, 2^-52) / (F * sum w)

    A target of 0 makes it huge: it is for targets that are far from 0.

    Shapes:
        y, target: as the module says.   statistics: (2,), weighted sum, and weight of all values.
    """

    better: ClassVar[Literal["higher", "lower"] | None] = "lower"

    def measure(self, ops: Ops, y: Array, target: Array, weight: Array | None = None) -> Array:
        outputs, targets, weight = outputs_and_targets(ops, self, y, target, weight)
        size = ops.xp.maximum(ops.xp.abs(targets), 2.0**-52)
        return _sum_and_count(ops, weight, ops.xp.abs(outputs - targets) / size)

    def value(self, total: Array) -> float:
        return float(ratio(total[0], total[1], empty=math.nan))


def _sum_and_count(ops: Ops, weight: Array | None, values: Array) -> Array:
    """Return the weighted sum of values (M, F), and how much they all weigh."""
    return numbers(ops, sum_of(weight, values), values.shape[1] * whole_weight(weight, len(values)))
