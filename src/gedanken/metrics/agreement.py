"""Figures of how far predicted and true classes agree, whatever the sizes of the classes."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from gedanken.checks import one_of
from gedanken.metrics.base import ratio
from gedanken.metrics.classes import ConfusionMatrix
from gedanken.metrics.labels import ClassMetric
from gedanken.ops import Ops
from gedanken.types import Array


class BalancedAccuracy(ClassMetric):
    """Mean recall of the classes that occur, so that a rare class counts as much as a frequent one.

        accuracy = mean over the classes of hits / true

    Of several labels, the mean over them of that of the classes no and yes.

    Args:
        threshold, multi_label: as `Accuracy`.

    Shapes:
        y, target: as the module says.   statistics: (4, C), as for `Precision`.

    Source:
        Brodersen et al. 2010, "The balanced accuracy and its posterior distribution".
    """

    def measure(self, ops: Ops, y: Array, target: Array, weight: Array | None = None) -> Array:
        return self._counts(ops, y, target, weight)

    def value(self, total: Array) -> float:
        hits, true, predicted, entries = total
        if not total.any():
            return math.nan
        if not self.multi_label:
            return float(ratio(hits, true, empty=0.0).sum() / np.count_nonzero(true))
        rest = entries - true
        both = ratio(hits, true, empty=0.0) + ratio(rest - predicted + hits, rest, empty=0.0)
        return float((both / (1.0 * (true != 0) + (rest != 0))).mean())


class MatthewsCorrelation(ClassMetric):
    """Correlation of predicted and true classes, from -1 to 1; 0 is no better than chance.

        R_K = (s * hits - sum_k t_k * p_k) / sqrt((s^2 - sum_k t_k^2) * (s^2 - sum_k p_k^2))

    with s entries, of which class k is the true one t_k times and the predicted one p_k times. It is 0 where
    all samples share one true class or one predicted class. Of several labels it is the plain mean over them.

    Args:
        threshold, multi_label: as `Accuracy`.

    Shapes:
        y, target: as the module says.   statistics: (4, C), as for `Precision`.

    Source:
        Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation coefficient".
    """

    def measure(self, ops: Ops, y: Array, target: Array, weight: Array | None = None) -> Array:
        return self._counts(ops, y, target, weight)

    def value(self, total: Array) -> float:
        hits, true, predicted, samples = total
        if not samples.any():
            return math.nan
        if self.multi_label:
            common = samples * hits - true * predicted
            scale = true * (samples - true) * predicted * (samples - predicted)
            return float(ratio(common, np.sqrt(scale), empty=0.0).mean())
        common = samples[0] * hits.sum() - true @ predicted
        # s^2 - sum of t_k^2 as what each class lacks of all: exactly 0 where there is one class, whatever the weights.
        others = 1 - np.eye(len(true))
        scale = (true @ (others @ true)) * (predicted @ (others @ predicted))
        return float(ratio(common, np.sqrt(scale), empty=0.0))


@dataclass(frozen=True, kw_only=True)
class CohenKappa(ConfusionMatrix):
    """Agreement of predicted and true classes beyond that of chance, up to 1; 0 is no better than chance.

        kappa = 1 - sum_ij d_ij * n_ij / sum_ij d_ij * t_i * p_j / s

    with n_ij of s entries of class i that are taken for class j, t_i of class i and p_j taken for class j. It is NaN
    where all share one class and are taken for it. Of several labels it is the plain mean over them.

    Args:
        distance: how wrong it is to take class i for class j:
            None: d = 1 for all that are not the same,
            "linear": d = |i - j|, for classes that are in order,
            "quadratic": d = (i - j)^2, likewise.
        threshold, multi_label: as `Accuracy`.

    Shapes:
        y, target: as the module says.   statistics: as for `ConfusionMatrix`.

    Source:
        Cohen 1968, "Weighted kappa: nominal scale agreement provision for scaled disagreement or partial credit".
    """

    distance: str | None = None
    better: ClassVar[Literal["higher", "lower"] | None] = "higher"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.distance is not None:
            one_of("CohenKappa distance", self.distance, ("linear", "quadratic"))

    @property
    def name(self) -> str:
        return f"cohen_kappa_{self.distance}" if self.distance else "cohen_kappa"

    def value(self, total: Array) -> float:
        if self.multi_label:
            hits, true, predicted, entries = total
            apart = true + predicted - 2 * hits
            chance = true * (entries - predicted) + (entries - true) * predicted
            return _mean_of_defined(1 - ratio(apart * entries, chance, empty=math.nan))
        classes, (cells, counts) = int(total[0, 0]), total[1:].T
        if total[0, 1]:
            return math.nan
        rows, columns = np.divmod(cells.astype(np.intp), classes)
        true, predicted = (np.bincount(axis, counts, minlength=classes) for axis in (rows, columns))
        apart = counts @ self._apart(rows, columns)
        if self.distance is None:
            chance = sum(true) * sum(predicted) - true @ predicted
        else:
            chance = true @ self._apart(*np.ogrid[:classes, :classes]) @ predicted
        return float(1 - ratio(apart * counts.sum(), chance, empty=math.nan))

    def _apart(self, rows: Array, columns: Array) -> Array:
        steps = np.abs(rows - columns).astype(np.float64)
        return steps if self.distance == "linear" else steps**2 if self.distance else 1.0 * (steps > 0)


def _mean_of_defined(figures: Array) -> float:
    there = figures[~np.isnan(figures)]
    return float(there.mean()) if len(there) else math.nan
