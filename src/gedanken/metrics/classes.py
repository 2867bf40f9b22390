"""Metrics of classes, and of several labels each by itself."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np

from gedanken.checks import one_of, require, whole
from gedanken.errors import ArgumentError
from gedanken.metrics.base import Metric, fits, numbers, ratio
from gedanken.metrics.labels import ClassMetric, LabelledMetric, nan_if_unknown, predicted_classes, scores_and_labels
from gedanken.ops import Ops
from gedanken.types import Array

Average = Literal["macro", "micro", "weighted", "binary"]


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

    def measure(self, ops: Ops, y: Array, target: Array) -> Array:
        if self.multi_label:
            scores, true = self._answers(y, target)
            right, count = ops.xp.count_nonzero((scores > self.threshold) == true), true.size
        else:
            scores, labels = scores_and_labels(ops, self, y, target)
            right, count = ops.xp.count_nonzero(predicted_classes(scores, self.threshold) == labels), len(labels)
        return nan_if_unknown(ops, scores, numbers(ops, right, count))

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

    def measure(self, ops: Ops, y: Array, target: Array) -> Array:
        scores, labels = scores_and_labels(ops, self, y, target)
        fewest = max(self.k, 2)
        fits(scores.shape[1] >= fewest, self, f"y (N, C) of C >= {fewest} classes", y, target)
        true = ops.xp.take_along_axis(scores, labels[:, None], axis=1)
        lower = ops.xp.arange(scores.shape[1]) < labels[:, None]
        before = ops.xp.count_nonzero((scores > true) | ((scores == true) & lower), axis=1)
        right = ops.xp.count_nonzero(before < self.k)
        return nan_if_unknown(ops, scores, numbers(ops, right, len(labels)))

    def value(self, total: Array) -> float:
        return float(ratio(total[0], total[1], empty=math.nan))

    def per_label(self) -> Metric:
        raise ArgumentError(f"{self.name} needs one class for each sample, got several labels; use Accuracy()")


class ConfusionMatrix(ClassMetric):
    """Count for every true class (row) how often each class (column) was predicted; for labels, each by itself.

    The figure is the matrix itself, in whole numbers, all zero for no samples. Only where an output was NaN it is a
    matrix of NaN.

    Args:
        threshold, multi_label: as `Accuracy`.

    Shapes:
        y, target: as the module says.   value: (C, C), with C = 2 for a single output; (labels, 2, 2) with multi_label.
        statistics: (K + 1, 2), the number of classes, and whether there was a NaN, then the number C * row + column of
            each cell that is not 0 and its count; (4, labels) with multi_label.
    """

    better: ClassVar[Literal["higher", "lower"] | None] = None

    def measure(self, ops: Ops, y: Array, target: Array) -> Array:
        if self.multi_label:
            return self._counts(ops, y, target)
        scores, labels = scores_and_labels(ops, self, y, target)
        classes = max(scores.shape[1], 2)
        cells, counts = ops.xp.unique(labels * classes + predicted_classes(scores, self.threshold), return_counts=True)
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
            return cells if np.isnan(cells).any() else cells.astype(np.int64)
        classes = int(total[0, 0])
        if total[0, 1]:
            return np.full((classes, classes), np.nan)
        matrix = np.zeros(classes * classes, np.int64)
        matrix[total[1:, 0].astype(np.intp)] = total[1:, 1]
        return matrix.reshape(classes, classes)


@dataclass(frozen=True)
class _Averaged(ClassMetric):
    """A fraction of counts for each class or label, made one figure by `average`."""

    average: Average = "macro"

    def __post_init__(self) -> None:
        super().__post_init__()
        name = f"{type(self).__name__} average"
        one_of(name, self.average, get_args(Average))
        require(not (self.multi_label and self.average == "binary"), name, "be another with multi_label", self.average)

    def per_label(self) -> Metric:
        if self.average == "binary" and self.multi_label is None:
            rule = f"{self.name} needs two classes, got several labels"
            raise ArgumentError(f'{rule}; use average="macro", "micro" or "weighted"')
        return super().per_label()

    @property
    def name(self) -> str:
        return super().name if self.average == "macro" else f"{super().name}_{self.average}"

    def measure(self, ops: Ops, y: Array, target: Array) -> Array:
        counts = self._counts(ops, y, target)
        fits(self.average != "binary" or counts.shape[1] == 2, self, "exactly two classes", y, target)
        return counts

    @abstractmethod
    def _fraction(self, hits: Array, true: Array, predicted: Array) -> tuple[Array, Array]:
        """Return numerator and denominator for each class."""

    def value(self, total: Array) -> float:
        if not total.any():
            return math.nan
        hits, true, predicted, _ = total
        top, bottom = self._fraction(hits, true, predicted)
        if self.average == "micro":
            return float(ratio(top.sum(), bottom.sum(), empty=0.0))
        weights = {"macro": true + predicted != 0, "weighted": true, "binary": np.array([0, 1])}[self.average]
        return float(ratio(ratio(top, bottom, empty=0.0) @ weights, weights.sum(), empty=0.0))


class Precision(_Averaged):
    """Fraction of the predictions of a class that are right.

        precision = hits / predicted     for each class; 0 for a class that is never predicted

    Args:
        average: how the classes become one figure:
            "macro": plain mean over the classes that occur among targets or predictions,
            "weighted": mean weighted by how often a class is the true one,
            "micro": hits and predictions summed over the classes first,
            "binary": class 1 alone, for networks of two classes or one output.
        threshold, multi_label: as `Accuracy`; classes are labels then.

    Shapes:
        y, target: as the module says.
        statistics: (4, C), for each class hits, how often it is true, how often predicted, and samples.

    Raises:
        DataError: "binary" meets more than two classes.
    """

    def _fraction(self, hits: Array, true: Array, predicted: Array) -> tuple[Array, Array]:
        return hits, predicted


class Recall(_Averaged):
    """Fraction of the samples of a class that are found.

        recall = hits / true     for each class; 0 for a class that never is the true one

    Arguments, shapes and errors are those of `Precision`.
    """

    def _fraction(self, hits: Array, true: Array, predicted: Array) -> tuple[Array, Array]:
        return hits, true


class F1(_Averaged):
    """Harmonic mean of precision and recall.

        F1 = 2 * hits / (true + predicted)     for each class; 0 where precision and recall both are

    Arguments, shapes and errors are those of `Precision`.

    Source:
        Opitz & Burst 2019, arXiv:1911.03347. The macro average is their averaged F1, not the F1 of averages.
    """

    def _fraction(self, hits: Array, true: Array, predicted: Array) -> tuple[Array, Array]:
        return 2 * hits, true + predicted


class MatthewsCorrelation(ClassMetric):
    """Correlation of predicted and true classes, from -1 to 1; 0 is no better than chance.

        R_K = (s * hits - sum_k t_k * p_k) / sqrt((s^2 - sum_k t_k^2) * (s^2 - sum_k p_k^2))

    with s samples, of which class k is the true one t_k times and the predicted one p_k times. It is 0 where
    all samples share one true class or one predicted class. Of several labels it is the plain mean over them.

    Args:
        threshold, multi_label: as `Accuracy`.

    Shapes:
        y, target: as the module says.   statistics: (4, C), as for `Precision`.

    Source:
        Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation coefficient".
    """

    def measure(self, ops: Ops, y: Array, target: Array) -> Array:
        return self._counts(ops, y, target)

    def value(self, total: Array) -> float:
        hits, true, predicted, samples = total
        if not samples.any():
            return math.nan
        if self.multi_label:
            common = samples * hits - true * predicted
            scale = true * (samples - true) * predicted * (samples - predicted)
            return float(ratio(common, np.sqrt(scale), empty=0.0).mean())
        common = samples[0] * hits.sum() - true @ predicted
        scale = (samples[0] ** 2 - true @ true) * (samples[0] ** 2 - predicted @ predicted)
        return float(ratio(common, np.sqrt(scale), empty=0.0))


class ROCAUC(LabelledMetric):
    """Area under the curve of true against false positive rate, exact.

        area = P(score of a positive > score of a negative) + P(both are equal) / 2

    One output, or class 1 of two, is one curve. For more classes it is the plain mean over the true classes
    that occur, each against all others. It is NaN if fewer than two classes occur. Of several labels it is the plain
    mean over those that are true for some samples and not for others, NaN without any. All scores are kept,
    8 (C + 1) bytes a sample, of labels 16 for each.

    Args:
        multi_label: as `Accuracy`.

    Shapes:
        y, target: as the module says.   statistics: (N, C + 1), or (N, 2) for one output: scores and label;
            (N, 2 * labels) with multi_label.

    Source:
        Hanley & McNeil 1982, "The meaning and use of the area under a receiver operating characteristic (ROC)
        curve". Differs: pairs are counted by sorting, which is what mid-ranks do for equal scores.
    """

    @property
    def name(self) -> str:
        return "roc_auc"

    def measure(self, ops: Ops, y: Array, target: Array) -> Array:
        return ops.xp.column_stack(
            self._answers(y, target) if self.multi_label else scores_and_labels(ops, self, y, target)
        )

    def merge(self, total: Array, part: Array) -> Array:
        return np.concatenate([total, part])

    def value(self, total: Array) -> float:
        if self.multi_label:
            return _mean_area(*np.split(total, 2, axis=1))
        scores, labels = total[:, :-1], total[:, -1]
        classes = np.unique(labels)
        if len(classes) < 2 or np.isnan(scores).any():
            return math.nan
        if scores.shape[1] < 3:
            return _area(scores[:, -1], labels == 1)
        return math.fsum(_area(scores[:, int(k)], labels == k) for k in classes) / len(classes)


def _mean_area(scores: Array, true: Array) -> float:
    mixed = true.any(axis=0) & ~true.all(axis=0)
    if np.isnan(scores).any() or not mixed.any():
        return math.nan
    return math.fsum(_area(scores[:, f], true[:, f] != 0) for f in np.flatnonzero(mixed)) / np.count_nonzero(mixed)


def _area(scores: Array, positive: Array) -> float:
    """Return the share of pairs (positive, negative) in the right order, equal scores counted half."""
    negatives = np.sort(scores[~positive])
    positives = scores[positive]
    twice = sum(int(np.searchsorted(negatives, positives, side).sum()) for side in ("left", "right"))
    return twice / (2 * len(positives) * len(negatives))
