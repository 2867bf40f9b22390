"""Metrics of predicted classes, and of several labels each by itself."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from gedanken.checks import whole
from gedanken.errors import ArgumentError
from gedanken.metrics.base import Metric, fits, numbers, ratio
from gedanken.metrics.entries import of_each, total, totals, whole_weight
from gedanken.metrics.labels import ClassMetric, nan_if_unknown, predicted_classes, scores_and_labels
from gedanken.ops import Ops
from gedanken.types import Array


class Accuracy(ClassMetric):
    """Fraction of the samples whose predicted class is the true one; of several labels, fraction of right labels.

        accuracy = right / samples,   or with multi_label   right labels / (samples * labels)

    Args:
        threshold: score above which a single output means class 1, or a label is predicted; 0.5 suits probabilities,
            0 suits logits.
        multi_label: whether each output is a label by itself, see the module; None is what suits the cost.

    Shapes:
        y, target: as the module says.   statistics: (2,), right and samples.
    """

    def measure(self, ops: Ops, y: Array, target: Array, weight: Array | None = None) -> Array:
        if self.multi_label:
            scores, true, weight = self._answers(ops, y, target, weight)
            right, labels = totals(ops, weight, (scores > self.threshold) == true).sum(), true.shape[1]
        else:
            scores, true, weight = scores_and_labels(ops, self, y, target, weight)
            right, labels = total(ops, weight, predicted_classes(scores, self.threshold) == true), 1
        return nan_if_unknown(ops, scores, numbers(ops, right, labels * whole_weight(weight, len(scores))))

    def value(self, total: Array) -> float:
        return float(ratio(total[0], total[1], empty=math.nan))


class HammingLoss(Accuracy):
    """Fraction of the labels that are wrong: 1 - accuracy; of classes, fraction of the samples.

    Arguments and shapes are those of `Accuracy`.
    """

    better: ClassVar[Literal["higher", "lower"] | None] = "lower"

    def value(self, total: Array) -> float:
        return 1.0 - super().value(total)


class ExactMatch(ClassMetric):
    """Fraction of the samples all of whose labels are right, the subset accuracy; of classes it is the accuracy.

    Arguments and shapes are those of `Accuracy`; the statistics are right and all samples.
    """

    def measure(self, ops: Ops, y: Array, target: Array, weight: Array | None = None) -> Array:
        if self.multi_label:
            scores, true, weight = self._answers(ops, y, target, weight)
            right = ((scores > self.threshold) == true).all(axis=1)
        else:
            scores, true, weight = scores_and_labels(ops, self, y, target, weight)
            right = predicted_classes(scores, self.threshold) == true
        found = numbers(ops, total(ops, weight, right), whole_weight(weight, len(scores)))
        return nan_if_unknown(ops, scores, found)

    def value(self, total: Array) -> float:
        return float(ratio(total[0], total[1], empty=math.nan))


@dataclass(frozen=True)
class TopKAccuracy(Metric):
    """Fraction of the samples whose true class is among the k with the highest scores.

        accuracy = (samples whose true class has fewer than k classes before it) / samples

    Of equal scores the lower class comes first, so k = 1 is `Accuracy`.

    Args:
        k: number of guesses, at least 1 and at most the number of classes.

    Shapes:
        y: (N, C).   target: (N, C) or (N,).   statistics: (2,), right and samples.
    """

    k: int = 5
    better: ClassVar[Literal["higher", "lower"] | None] = "higher"

    def __post_init__(self) -> None:
        whole("TopKAccuracy k", self.k)

    @property
    def name(self) -> str:
        return f"top_{self.k}_accuracy"

    def measure(self, ops: Ops, y: Array, target: Array, weight: Array | None = None) -> Array:
        scores, labels, weight = scores_and_labels(ops, self, y, target, weight)
        fewest = max(self.k, 2)
        fits(scores.shape[1] >= fewest, self, f"y (N, C) of C >= {fewest} classes", y, target)
        true = ops.xp.take_along_axis(scores, labels[:, None], axis=1)
        lower = ops.xp.arange(scores.shape[1]) < labels[:, None]
        before = ops.xp.count_nonzero((scores > true) | ((scores == true) & lower), axis=1)
        right = total(ops, weight, before < self.k)
        return nan_if_unknown(ops, scores, numbers(ops, right, whole_weight(weight, len(labels))))

    def value(self, total: Array) -> float:
        return float(ratio(total[0], total[1], empty=math.nan))

    def per_label(self) -> Metric:
        raise ArgumentError(f"{self.name} needs one class for each sample, got several labels; use Accuracy()")


class ConfusionMatrix(ClassMetric):
    """Count for every true class (row) how often each class (column) was predicted; for labels, each by itself.

    The figure is the matrix itself, all zero for no samples: whole numbers, or sums of weights where they are not
    whole. Only where an output was NaN it is a matrix of NaN.

    Args:
        threshold, multi_label: as `Accuracy`.

    Shapes:
        y, target: as the module says.   value: (C, C), with C = 2 for a single output; (labels, 2, 2) with multi_label.
        statistics: (K + 1, 2), the number of classes, and whether there was a NaN, then the number C * row + column of
            each cell that is not 0 and its count; (4, labels) with multi_label.
    """

    better: ClassVar[Literal["higher", "lower"] | None] = None

    def measure(self, ops: Ops, y: Array, target: Array, weight: Array | None = None) -> Array:
        if self.multi_label:
            return self._counts(ops, y, target, weight)
        scores, labels, weight = scores_and_labels(ops, self, y, target, weight)
        classes = max(scores.shape[1], 2)
        cells, places = ops.xp.unique(labels * classes + predicted_classes(scores, self.threshold), return_inverse=True)
        counts = of_each(ops, weight, places.reshape(-1), len(cells))
        head = numbers(ops, classes, ops.xp.isnan(scores).any())
        return ops.xp.concatenate([head[None], ops.xp.stack([cells, counts], axis=1)])

    def merge(self, total: Array, part: Array) -> Array:
        if self.multi_label:
            return total + part
        both = np.concatenate([total[1:], part[1:]])
        cells, places = np.unique(both[:, 0], return_inverse=True)
        counts = np.bincount(places, both[:, 1], minlength=len(cells))
        head = (total[0, 0], total[0, 1] + part[0, 1])
        return np.concatenate([[head], np.column_stack([cells, counts])])

    def value(self, total: Array) -> float | Array:
        if self.multi_label:
            hits, true, predicted, samples = total
            rest = samples - true - predicted + hits
            cells = np.stack([rest, predicted - hits, true - hits, hits], axis=-1).reshape(-1, 2, 2)
            return _whole_if_possible(np.maximum(cells, 0))
        classes = int(total[0, 0])
        if total[0, 1]:
            return np.full((classes, classes), np.nan)
        matrix = np.zeros(classes * classes)
        matrix[total[1:, 0].astype(np.intp)] = total[1:, 1]
        return _whole_if_possible(matrix.reshape(classes, classes))


def _whole_if_possible(matrix: Array) -> Array:
    return matrix.astype(np.int64) if (matrix == np.floor(matrix)).all() else matrix
