"""Metrics of a regression's values."""

import math
from typing import ClassVar, Literal

import numpy as np

from gedanken.metrics.base import Metric, numbers, ratio, table
from gedanken.ops import Ops
from gedanken.types import Array


class MeanAbsoluteError(Metric):
    """Mean distance of outputs and targets, in their units.

        error = sum |y - target| / (N * F)

    Shapes:
        y, target: (N, F), or (N,) for F = 1.   statistics: (2,), sum and number of values.
    """

    better: ClassVar[Literal["higher", "lower"] | None] = "lower"

    def measure(self, ops: Ops, y: Array, target: Array) -> Array:
        outputs, targets = table(self, y, target)
        return numbers(ops, ops.xp.abs(outputs - targets).sum(), targets.size)

    def value(self, total: Array) -> float:
        return float(ratio(total[0], total[1], empty=math.nan))


class RootMeanSquareError(Metric):
    """Square root of the mean squared distance of outputs and targets, in their units.

        error = sqrt(sum (y - target)^2 / (N * F))

    Shapes:
        y, target: (N, F), or (N,) for F = 1.   statistics: (2,), sum and number of values.
    """

    better: ClassVar[Literal["higher", "lower"] | None] = "lower"

    def measure(self, ops: Ops, y: Array, target: Array) -> Array:
        outputs, targets = table(self, y, target)
        return numbers(ops, ops.xp.square(outputs - targets).sum(), targets.size)

    def value(self, total: Array) -> float:
        return float(np.sqrt(ratio(total[0], total[1], empty=math.nan)))


class R2(Metric):
    """Fraction of the targets' variance that the outputs explain: 1 is perfect, 0 as good as the mean target.

        R2 = 1 - sum (y - target)^2 / sum (target - mean)^2     for each output, then their plain mean

    It is NaN if an output's targets are all the same.

    Shapes:
        y, target: (N, F), or (N,) for F = 1.
        statistics: (5, F): samples, origin, mean - origin, sum (target - mean)^2, sum (y - target)^2.

    Source:
        Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance". Differs: means are kept
        relative to the first target, so a large offset of all targets costs no digits.
    """

    better: ClassVar[Literal["higher", "lower"] | None] = "higher"

    def measure(self, ops: Ops, y: Array, target: Array) -> Array:
        outputs, targets = table(self, y, target)
        samples, features = targets.shape
        if not samples:
            return ops.xp.zeros((5, features))
        around = targets - targets[0]
        mean = around.mean(axis=0)
        spread, missed = (ops.xp.square(apart).sum(axis=0) for apart in (around - mean, outputs - targets))
        return ops.xp.stack([ops.xp.full(features, float(samples)), targets[0], mean, spread, missed])

    def merge(self, total: Array, part: Array) -> Array:
        if not total[0].all() or not part[0].all():
            return part if part[0].any() else total
        (many, origin, mean, spread, missed), (more, *other) = total, part
        apart = (other[0] - origin) + (other[1] - mean)
        samples = many + more
        spread = spread + other[2] + apart**2 * many * more / samples
        return np.stack([samples, origin, mean + apart * more / samples, spread, missed + other[3]])

    def value(self, total: Array) -> float:
        return float(1 - ratio(total[4], total[3], empty=math.nan).mean())
