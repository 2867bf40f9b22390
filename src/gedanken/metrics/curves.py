"""Figures of what each threshold would do, for one yes-or-no output, one label or two classes."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from gedanken.checks import one_of, real, whole
from gedanken.errors import ArgumentError
from gedanken.metrics.base import Metric, fits, ratio
from gedanken.metrics.labels import scores_and_labels
from gedanken.metrics.ranking import OneCurve, steps
from gedanken.ops import Ops
from gedanken.types import Array

Criterion = Literal["accuracy", "balanced_accuracy", "f1"]
SMALL = 1e-12  # difference of fractions that is rounding


@dataclass(frozen=True)
class _OfThresholds(Metric):
    """What the thresholds of one output do: counts of positives that are found, and of all that are called so."""

    def measure(self, ops: Ops, y: Array, target: Array, weight: Array | None = None) -> Array:
        scores, labels, weight = scores_and_labels(ops, self, y, target, weight)
        fits(scores.shape[1] <= 2, self, "one output or two classes", y, target)
        return ops.xp.column_stack([scores[:, -1], labels, ops.xp.ones(len(scores)) if weight is None else weight])

    def merge(self, total: Array, part: Array) -> Array:
        return np.concatenate([total, part])

    def per_label(self) -> Metric:
        raise ArgumentError(f"{self.name} needs one yes-or-no output or two classes, got several labels")


@dataclass(frozen=True)
class _Drawn(_OfThresholds):
    """A curve: its points, thinned out."""

    points: int = 200

    def __post_init__(self) -> None:
        whole(f"{type(self).__name__} points", self.points, at_least=2)

    @abstractmethod
    def _rates(self, found: Array, named: Array, positives: float, negatives: float) -> tuple[Array, Array]:
        """Return two rates for each threshold."""

    def value(self, total: Array) -> Array:
        if np.isnan(total).any():
            return np.full((1, 3), math.nan)
        thresholds, found, named = _thresholds(total)
        if not len(found):
            return np.full((1, 3), math.nan)
        rates = self._rates(found, named, found[-1], named[-1] - found[-1])
        curve = np.column_stack([thresholds, *rates])[::-1]
        return curve[np.unique(np.linspace(0, len(curve) - 1, self.points).round().astype(np.intp))]


class PrecisionRecallCurve(_Drawn):
    """Precision and recall at each threshold, as an array of points with rising thresholds.

    A score above the threshold is a yes. The precision where nothing is a yes is 1, and without positives the recall
    is NaN.

    Args:
        points: most points; of more, so many are taken at even distances.

    Shapes:
        y: (N, 1), (N,) or (N, 2), and as the module says.   value: (points, 3), threshold, precision, recall.
        statistics: (M, 3), score, label and weight of each entry.
    """

    def _rates(self, found: Array, named: Array, positives: float, negatives: float) -> tuple[Array, Array]:
        precision = ratio(found, named, empty=1.0)
        return precision, ratio(found, np.full_like(found, positives), empty=math.nan)


class ROCCurve(_Drawn):
    """False and true positive rate at each threshold, as an array of points with rising thresholds.

    A score above the threshold is a yes. A rate is NaN without samples of which it is the rate. Arguments and shapes
    are those of `PrecisionRecallCurve`; value: (points, 3), threshold, false positive rate, true positive rate.
    """

    @property
    def name(self) -> str:
        return "roc_curve"

    def _rates(self, found: Array, named: Array, positives: float, negatives: float) -> tuple[Array, Array]:
        false = ratio(named - found, np.full_like(found, negatives), empty=math.nan)
        return false, ratio(found, np.full_like(found, positives), empty=math.nan)


@dataclass(frozen=True)
class PrecisionAtRecall(_OfThresholds):
    """Highest precision among the thresholds that find at least this share of the positives; NaN without positives.

    Args:
        recall: the share, in (0, 1].

    Shapes:
        y, target and statistics as for `PrecisionRecallCurve`.
    """

    recall: float = 0.9
    better: ClassVar[Literal["higher", "lower"] | None] = "higher"

    def __post_init__(self) -> None:
        real("PrecisionAtRecall recall", self.recall, "(0, 1]")

    @property
    def name(self) -> str:
        return f"precision_at_recall_{self.recall:g}"

    def value(self, total: Array) -> float:
        precision, recall = _precision_and_recall(total)
        return float(precision[recall >= self.recall - SMALL].max(initial=-1)) if len(recall) else math.nan


@dataclass(frozen=True)
class RecallAtPrecision(_OfThresholds):
    """Highest recall among the thresholds of at least this precision; 0 if there is none, NaN without positives.

    Args:
        precision: share of right ones among those that are called positive, in (0, 1].

    Shapes:
        y, target and statistics as for `PrecisionRecallCurve`.
    """

    precision: float = 0.9
    better: ClassVar[Literal["higher", "lower"] | None] = "higher"

    def __post_init__(self) -> None:
        real("RecallAtPrecision precision", self.precision, "(0, 1]")

    @property
    def name(self) -> str:
        return f"recall_at_precision_{self.precision:g}"

    def value(self, total: Array) -> float:
        precision, recall = _precision_and_recall(total)
        return float(recall[precision >= self.precision - SMALL].max(initial=0)) if len(recall) else math.nan


@dataclass(frozen=True)
class BestThreshold(_OfThresholds):
    """Threshold that would have been best for one yes-or-no output, for `Precision(threshold=...)` and so on.

    It lies in the middle between the lowest score that is a yes with it and the highest that is a no; of equally good
    ones it is the highest. NaN without positives. Choose it by the validation set, not by the test set.

    Args:
        criterion: what it is best for, "f1" of the positives, "accuracy" or "balanced_accuracy".

    Shapes:
        y, target and statistics as for `PrecisionRecallCurve`.
    """

    criterion: Criterion = "f1"

    def __post_init__(self) -> None:
        one_of("BestThreshold criterion", self.criterion, ("accuracy", "balanced_accuracy", "f1"))

    @property
    def name(self) -> str:
        return "best_threshold" if self.criterion == "f1" else f"best_threshold_{self.criterion}"

    def value(self, total: Array) -> float:
        if np.isnan(total).any():
            return math.nan
        thresholds, found, named = _thresholds(total)
        if not len(found) or not found[-1]:
            return math.nan
        positives, wrong = found[-1], named - found
        if self.criterion == "f1":
            good = 2 * found / (positives + named)
        elif self.criterion == "accuracy":
            good = (found - wrong) / named[-1]
        else:
            good = found / positives - ratio(wrong, np.full_like(wrong, wrong[-1]), empty=0.0)
        return float(thresholds[np.argmax(good.round(12))])  # rounding decides between no two that are equally good


def _thresholds(total: Array) -> tuple[Array, Array, Array]:
    """Return thresholds, falling, each with the weight of positives, and of all, whose score is above it.

    The first is the highest score, above which there is none.
    """
    scores, labels, weight = total[total[:, 2] != 0].T
    upper, found, named = steps(OneCurve(scores, labels == 1, weight))
    if not len(upper):
        return upper, found, named
    lower = np.append(upper[1:], upper[-1] - 1e-3 * max(1.0, abs(upper[-1])))
    middle = (upper + lower) / 2
    # Outputs are float32, and have to be above the threshold as such.
    between = middle.astype(np.float32) < upper.astype(np.float32)
    thresholds = np.where(between & np.isfinite(middle), middle, lower)
    return np.append(upper[0], thresholds), np.append(0.0, found), np.append(0.0, named)


def _precision_and_recall(total: Array) -> tuple[Array, Array]:
    """Return both for each threshold; nothing where there is none."""
    _, found, named = _thresholds(total)
    if np.isnan(total).any() or not len(found) or not found[-1]:
        return np.zeros(0), np.zeros(0)
    return found[1:] / named[1:], found[1:] / found[-1]
