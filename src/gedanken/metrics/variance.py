"""Metrics that compare how outputs and targets vary."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np

from gedanken.checks import one_of
from gedanken.metrics.averages import averaged_name
from gedanken.metrics.base import Metric, ratio
from gedanken.metrics.entries import outputs_and_targets
from gedanken.ops import Ops
from gedanken.types import Array

OutputAverage = Literal["macro", "weighted"]


@dataclass(frozen=True)
class _Paired(Metric):
    """A figure of the moments of targets and of a second value, for each output.

    Shapes:
        statistics: (8, F): weight; origin, mean - origin and sum of squares around the mean, of targets and of the
            second value; sum of the products of both, each around its mean.
    """

    average: OutputAverage | None = "macro"
    better: ClassVar[Literal["higher", "lower"] | None] = "higher"

    def __post_init__(self) -> None:
        if self.average is not None:
            one_of(f"{type(self).__name__} average", self.average, get_args(OutputAverage))

    @property
    def name(self) -> str:
        return averaged_name(super().name, self.average)

    @abstractmethod
    def _second(self, y: Array, target: Array) -> Array:
        """Return the second value, (M, F)."""

    @abstractmethod
    def _figures(self, total: Array) -> Array:
        """Return the figure of each output, NaN where it is undefined."""

    def measure(self, ops: Ops, y: Array, target: Array, weight: Array | None = None) -> Array:
        xp = ops.xp
        outputs, targets, weight = outputs_and_targets(ops, self, y, target, weight)
        entries, features = targets.shape
        weight = xp.ones((entries, 1)) if weight is None else weight[:, None]
        heavy = weight.sum()
        if not heavy:
            return xp.zeros((8, features))
        found, apart = [xp.broadcast_to(heavy, (features,))], []
        for values in (targets, self._second(outputs, targets)):
            around = values - values[0]
            mean = (weight * around).sum(axis=0) / heavy
            apart.append(around - mean)
            found += [values[0], mean, (weight * xp.square(apart[-1])).sum(axis=0)]
        return xp.stack([*found, (weight * apart[0] * apart[1]).sum(axis=0)])

    def merge(self, total: Array, part: Array) -> Array:
        if not total[0].all() or not part[0].all():
            return part if part[0].any() else total
        many, more = total[0], part[0]
        heavy = many + more
        found, apart = [heavy], []
        for place in (1, 4):
            (origin, mean, spread), (other, its_mean, its_spread) = total[place : place + 3], part[place : place + 3]
            apart.append((other - origin) + (its_mean - mean))
            spread = spread + its_spread + apart[-1] ** 2 * many * more / heavy
            found += [origin, mean + apart[-1] * more / heavy, spread]
        return np.stack([*found, total[7] + part[7] + apart[0] * apart[1] * many * more / heavy])

    def value(self, total: Array) -> float | Array:
        figures, spread = self._figures(total), total[3]
        if self.average is None:
            return figures
        if self.average == "macro":
            return float(figures.mean())
        there = ~(spread == 0)
        return float(figures[there] @ spread[there] / spread.sum()) if there.any() else math.nan


class R2(_Paired):
    """Fraction of the targets' variance that the outputs explain: 1 is perfect, 0 as good as the mean target.

        R2 = 1 - sum w * (y - target)^2 / sum w * (target - mean)^2     for each output

    It is NaN if an output's targets are all the same.

    Args:
        average: how the outputs become one figure:
            "macro": plain mean,
            "weighted": mean weighted by the variance of the targets, which leaves out those that are all the same,
            None: all of them, an array.

    Shapes:
        y, target: as the module says.   value: one figure, or (F,) for average=None.
        statistics: (8, F), moments of targets and of y - target.

    Source:
        Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance". Differs: means are kept
        relative to the first target, so a large offset of all targets costs no digits.
    """

    def _second(self, y: Array, target: Array) -> Array:
        return y - target

    def _figures(self, total: Array) -> Array:
        missed = total[6] + total[0] * (total[4] + total[5]) ** 2
        return 1 - ratio(missed, total[3], empty=math.nan)


class ExplainedVariance(_Paired):
    """Fraction of the targets' variance that is not in the errors: as R2, but a constant error does not count.

        figure = 1 - variance of (y - target) / variance of target     for each output

    It is NaN if an output's targets are all the same. Arguments and shapes are those of `R2`.
    """

    def _second(self, y: Array, target: Array) -> Array:
        return y - target

    def _figures(self, total: Array) -> Array:
        return 1 - ratio(total[6], total[3], empty=math.nan)


class PearsonCorrelation(_Paired):
    """Correlation of outputs and targets, from -1 to 1: whether they rise together, on whatever scale.

        r = covariance of y and target / sqrt(variance of y * variance of target)     for each output

    It is NaN if an output, or its targets, are all the same. Arguments and shapes are those of `R2`.

    Source:
        Pearson 1895, "Notes on regression and inheritance in the case of two parents".
    """

    def _second(self, y: Array, target: Array) -> Array:
        return y

    def _figures(self, total: Array) -> Array:
        return ratio(total[7], np.sqrt(total[3]) * np.sqrt(total[6]), empty=math.nan)
