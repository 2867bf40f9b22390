"""Metrics of the order of scores: all of them are kept."""

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

from gedanken.checks import one_of
from gedanken.metrics.averages import averaged_name
from gedanken.metrics.labels import LabelledMetric, scores_and_labels
from gedanken.ops import Ops
from gedanken.types import Array

SIDES: tuple[Literal["left"], Literal["right"]] = ("left", "right")  # of equal scores
RankedAverage = Literal["macro", "micro", "weighted"]


class OneCurve(NamedTuple):
    """What one curve is drawn from: scores, which of them are of a positive, and their weights, all (M,)."""

    scores: Array
    positive: Array
    weight: Array


@dataclass(frozen=True)
class _Ranked(LabelledMetric):
    """A figure of a curve for each class against all others, or for each label, made one figure by `average`."""

    average: RankedAverage | None = "macro"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.average is not None:
            one_of(f"{type(self).__name__} average", self.average, get_args(RankedAverage))

    def measure(self, ops: Ops, y: Array, target: Array, weight: Array | None = None) -> Array:
        if self.multi_label:
            scores, true, weight = self._answers(ops, y, target, weight)
        else:
            scores, true, weight = scores_and_labels(ops, self, y, target, weight)
        return ops.xp.column_stack([scores, true, ops.xp.ones(len(scores)) if weight is None else weight])

    def merge(self, total: Array, part: Array) -> Array:
        return np.concatenate([total, part])

    @abstractmethod
    def _figure(self, curve: OneCurve) -> float:
        """Return the figure of one curve, NaN where it has none."""

    def value(self, total: Array) -> float | Array:
        curves = self._curves(total)
        if np.isnan(total).any():
            return math.nan if self.average else np.full(len(list(curves)), math.nan)
        if self.average == "micro":
            return self._figure(OneCurve(*map(np.concatenate, zip(*curves, strict=True))))
        pairs = [(self._figure(curve), curve.weight[curve.positive].sum()) for curve in curves]
        figures, support = np.array(pairs).T
        if self.average is None:
            return figures
        there = ~np.isnan(figures)
        weights = support[there] if self.average == "weighted" else np.ones(np.count_nonzero(there))
        return math.fsum(figures[there] * weights) / float(weights.sum()) if weights.any() else math.nan

    def _curves(self, total: Array) -> Iterator[OneCurve]:
        """Yield the curve of each class or label; of one output, and of two classes, that of class 1 alone."""
        rows = total[total[:, -1] != 0]
        weight, many = rows[:, -1], (total.shape[1] - 1) // 2 if self.multi_label else total.shape[1] - 2
        if self.multi_label:
            yield from (OneCurve(rows[:, f], rows[:, many + f] != 0, weight) for f in range(many))
        else:
            labels = rows[:, -2]
            places = [(k, k) for k in range(many)] if many > 2 else [(many - 1, 1)]
            yield from (OneCurve(rows[:, place], labels == k, weight) for place, k in places)


class ROCAUC(_Ranked):
    """Area under the curve of true against false positive rate, exact.

        area = P(score of a positive > score of a negative) + P(both are equal) / 2

    One output, or class 1 of two, is one curve. More classes are each a curve against all others, and several labels
    one each. A class or label has no area where nothing, or all, is of it. All scores are kept, 8 (C + 2) bytes an
    entry, of labels 16 for each and 8.

    Args:
        average: how several curves become one figure:
            "macro": plain mean over those that have an area,
            "weighted": mean weighted by how often a class or label is true,
            "micro": one curve of all scores together,
            None: all of them, an array, with NaN for those without.
        multi_label: as `Accuracy`.

    Shapes:
        y, target: as the module says.
        statistics: (M, C + 2) for M entries: scores, label and weight; (M, 2 * labels + 1) with multi_label.
        value: one figure, NaN where no curve has an area, or (C,) for average=None.

    Source:
        Hanley & McNeil 1982, "The meaning and use of the area under a receiver operating characteristic (ROC)
        curve". Differs: pairs are counted by sorting, which is what mid-ranks do for equal scores.
    """

    @property
    def name(self) -> str:
        return averaged_name("roc_auc", self.average)

    def _figure(self, curve: OneCurve) -> float:
        scores, positive, weight = curve
        if positive.all() or not positive.any():
            return math.nan
        order = np.argsort(scores[~positive])
        negatives, heavy = scores[~positive][order], np.append(0.0, np.cumsum(weight[~positive][order]))
        # Of each pair of a positive and a negative what is in order counts, by the product of their weights.
        twice = sum(weight[positive] @ heavy[np.searchsorted(negatives, scores[positive], side)] for side in SIDES)
        return float(twice / (2 * weight[positive].sum() * heavy[-1]))


class AveragePrecision(_Ranked):
    """Mean of the precisions at which each positive is found, the area under precision against recall by steps.

        AP = sum_n (recall_n - recall_(n-1)) * precision_n     over the scores from the highest on

    For rare positives it says more than `ROCAUC`. A class or label that nothing is of has none. Arguments, shapes and
    memory are those of `ROCAUC`.

    Source:
        Davis & Goadrich 2006, "The relationship between precision-recall and ROC curves", for why steps are not
        joined by lines.
    """

    def _figure(self, curve: OneCurve) -> float:
        if not curve.positive.any():
            return math.nan
        _, found, named = steps(curve)
        return float(np.diff(found, prepend=0.0) @ (found / named) / found[-1])

    @property
    def name(self) -> str:
        return averaged_name("average_precision", self.average)


def steps(curve: OneCurve) -> tuple[Array, Array, Array]:
    """Return the different scores, falling, and the weight of positives, and of all, that have at least each score."""
    order = np.argsort(-curve.scores, kind="stable")
    scores, weight = curve.scores[order], curve.weight[order]
    last = np.append(scores[1:] != scores[:-1], True) if len(scores) else np.zeros(0, bool)
    return scores[last], np.cumsum(weight * curve.positive[order])[last], np.cumsum(weight)[last]
