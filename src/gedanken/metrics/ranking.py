"""Metrics of the order of scores: all of them are kept."""

import math
from functools import partial
from typing import Literal

import numpy as np

from gedanken.metrics.labels import LabelledMetric, scores_and_labels
from gedanken.ops import Ops
from gedanken.types import Array

SIDES: tuple[Literal["left"], Literal["right"]] = ("left", "right")  # of equal scores


class ROCAUC(LabelledMetric):
    """Area under the curve of true against false positive rate, exact.

        area = P(score of a positive > score of a negative) + P(both are equal) / 2

    One output, or class 1 of two, is one curve. For more classes it is the plain mean over the true classes
    that occur, each against all others. It is NaN if fewer than two classes occur. Of several labels it is the plain
    mean over those that are true for some samples and not for others, NaN without any. All scores are kept,
    8 (C + 2) bytes a sample, of labels 16 for each and 8.

    Args:
        multi_label: as `Accuracy`.

    Shapes:
        y, target: as the module says.   statistics: (M, C + 2) for M entries: scores, label and weight;
            (M, 2 * labels + 1) with multi_label.

    Source:
        Hanley & McNeil 1982, "The meaning and use of the area under a receiver operating characteristic (ROC)
        curve". Differs: pairs are counted by sorting, which is what mid-ranks do for equal scores.
    """

    @property
    def name(self) -> str:
        return "roc_auc"

    def measure(self, ops: Ops, y: Array, target: Array, weight: Array | None = None) -> Array:
        entries = self._answers if self.multi_label else partial(scores_and_labels, metric=self)
        scores, true, weight = entries(ops=ops, y=y, target=target, weight=weight)
        return ops.xp.column_stack([scores, true, ops.xp.ones(len(scores)) if weight is None else weight])

    def merge(self, total: Array, part: Array) -> Array:
        return np.concatenate([total, part])

    def value(self, total: Array) -> float:
        many = (total.shape[1] - 1) // 2 if self.multi_label else total.shape[1] - 2
        scores, true, weight = np.split(total, (many, total.shape[1] - 1), axis=1)
        if np.isnan(scores).any():
            return math.nan
        seen = weight[:, 0] > 0
        scores, true, weight = scores[seen], true[seen], weight[seen, 0]
        if self.multi_label:
            marks = (true != 0).T
        else:
            classes = np.unique(true) if many > 2 else np.array([1.0])
            marks = classes[:, None] == true.T
            scores = scores[:, classes.astype(np.intp)] if many > 2 else scores[:, -1:]
        mixed = marks.any(axis=1) & ~marks.all(axis=1)
        if not mixed.any():
            return math.nan
        areas = [_area(scores[:, k], marks[k], weight) for k in np.flatnonzero(mixed)]
        return math.fsum(areas) / len(areas)


def _area(scores: Array, positive: Array, weight: Array) -> float:
    """Return the share of pairs (positive, negative) in the right order, equal scores counted half.

    Pairs are weighed by the product of their weights.
    """
    order = np.argsort(scores[~positive])
    negatives, heavy = scores[~positive][order], np.append(0.0, np.cumsum(weight[~positive][order]))
    twice = sum(weight[positive] @ heavy[np.searchsorted(negatives, scores[positive], side)] for side in SIDES)
    return float(twice / (2 * weight[positive].sum() * heavy[-1]))
