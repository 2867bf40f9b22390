"""Figures of how good a network's outputs are, gathered mini-batch by mini-batch.

A metric holds options and no data. What it has seen so far is one float64 array, which the caller keeps:

    total = metric.measure(y, target)                          first mini-batch
    total = metric.merge(total, metric.measure(y, target))     each further one
    figure = metric.value(total)

Any split of the data gives the figure of the whole. A figure is nan where it is undefined: for no samples,
and as soon as an output of the network was nan. Further conventions stand at each metric.

What the metrics of classes accept, with N samples and C >= 2 classes:

    y (N, C), scores or probabilities       with target (N, C), one-hot or a distribution, or labels (N,)
    y (N, 1) or (N,), one score of class 1  with target (N, 1) or (N,) of 0 and 1

The predicted class has the highest score, the first of equals; with one score a sample it is class 1 if the
score is above the threshold.
"""

import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np

from gedanken.checks import one_of, real, whole
from gedanken.errors import DataError
from gedanken.foreign import KeywordsChecked
from gedanken.types import Array

Average = Literal["macro", "micro", "weighted", "binary"]


@dataclass(frozen=True)
class Metric(KeywordsChecked, ABC):
    """A figure that is computed from sums over mini-batches."""

    better: ClassVar[Literal["higher", "lower"] | None] = None  # which way is better, where one is

    @property
    def name(self) -> str:
        """Name in records: the class's name in lower case, its words joined by underscores."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__).lower()

    @abstractmethod
    def measure(self, y: Array, target: Array) -> Array:
        """Return the statistics of one mini-batch, float64.

        Raises:
            DataError: y and target do not belong together; the message names both shapes.
        """

    def merge(self, total: Array, part: Array) -> Array:
        """Return the statistics of `total` followed by those of `part`, both left as they are."""
        return total + part

    @abstractmethod
    def value(self, total: Array) -> float | Array:
        """Return the figure that the statistics amount to."""


def _require(holds: bool, metric: Metric, rule: str, y: Array, target: Array) -> None:
    if not holds:
        raise DataError(f"{metric.name} needs {rule}, got y {y.shape} and target {target.shape}")


def _scores_and_labels(metric: Metric, y: Array, target: Array) -> tuple[Array, Array]:
    """Return the scores, (N, C) or (N, 1), and the true classes, (N,)."""
    _require(y.ndim in (1, 2) and 0 not in y.shape[1:], metric, "y (N, C), (N, 1) or (N,)", y, target)
    scores = (y if y.ndim == 2 else y[:, None]).astype(np.float64)
    samples, outputs = scores.shape
    if outputs > 1 and target.shape == scores.shape:
        return scores, target.argmax(axis=1)
    shapes = [(samples,)] if outputs > 1 else [(samples,), (samples, 1)]
    _require(target.shape in shapes, metric, "one target for each sample of y", y, target)
    labels = target.reshape(samples)
    classes = max(outputs, 2)
    right = (labels >= 0) & (labels < classes)
    if labels.dtype.kind == "f":
        right &= labels == np.floor(labels)
    if not right.all():
        wrong = labels[~right][0]
        raise DataError(f"labels of {metric.name} must be whole and in 0 ... {classes - 1}, got {wrong}")
    return scores, labels.astype(np.intp)


def _predicted(scores: Array, threshold: float) -> Array:
    return scores.argmax(axis=1) if scores.shape[1] > 1 else (scores[:, 0] > threshold).astype(np.intp)


def _nan_if_unknown(scores: Array, statistics: Array) -> Array:
    """Return the statistics, or nan in their place if a score is nan and so predicts no class."""
    return np.full_like(statistics, np.nan) if np.isnan(scores).any() else statistics


def _ratio(top: Array | float, bottom: Array | float, empty: float) -> Array:
    """Return top / bottom, and `empty` where bottom is 0."""
    result: Array = np.full(np.shape(bottom), empty)
    return np.divide(top, bottom, out=result, where=np.not_equal(bottom, 0))


@dataclass(frozen=True, kw_only=True)
class _Classes(Metric):
    """A metric of predicted classes; `threshold` decides where the network has one output."""

    threshold: float = 0.5

    def __post_init__(self) -> None:
        real(f"{type(self).__name__} threshold", self.threshold, "(-inf, inf)")


class Accuracy(_Classes):
    """Share of the samples whose predicted class is the true one.

        accuracy = right / samples

    Args:
        threshold: score above which a single output means class 1; 0.5 suits probabilities, 0 suits logits.

    Shapes:
        y, target: as the module says.   statistics: (2,), right and samples.
    """

    better = "higher"

    def measure(self, y: Array, target: Array) -> Array:
        scores, labels = _scores_and_labels(self, y, target)
        right = np.count_nonzero(_predicted(scores, self.threshold) == labels)
        return _nan_if_unknown(scores, np.array([right, len(labels)], np.float64))

    def value(self, total: Array) -> float:
        return float(_ratio(total[0], total[1], empty=math.nan))


@dataclass(frozen=True)
class TopKAccuracy(Metric):
    """Share of the samples whose true class is among the k with the highest scores.

        accuracy = (samples whose true class has fewer than k classes before it) / samples

    Of equal scores the lower class comes first, so k = 1 is `Accuracy`.

    Args:
        k: number of guesses, at least 1 and at most the number of classes.

    Shapes:
        y: (N, C).   target: (N, C) or (N,).   statistics: (2,), right and samples.
    """

    better = "higher"

    k: int = 5

    def __post_init__(self) -> None:
        whole("TopKAccuracy k", self.k)

    @property
    def name(self) -> str:
        return f"top_{self.k}_accuracy"

    def measure(self, y: Array, target: Array) -> Array:
        scores, labels = _scores_and_labels(self, y, target)
        fewest = max(self.k, 2)
        _require(scores.shape[1] >= fewest, self, f"y (N, C) of C >= {fewest} classes", y, target)
        true = np.take_along_axis(scores, labels[:, None], axis=1)
        lower = np.arange(scores.shape[1]) < labels[:, None]
        before = np.count_nonzero((scores > true) | ((scores == true) & lower), axis=1)
        return _nan_if_unknown(scores, np.array([np.count_nonzero(before < self.k), len(labels)], np.float64))

    def value(self, total: Array) -> float:
        return float(_ratio(total[0], total[1], empty=math.nan))


class ConfusionMatrix(_Classes):
    """Count for every true class (row) how often each class (column) was predicted.

    The figure is the matrix itself, all zero for no samples.

    Args:
        threshold: score above which a single output means class 1.

    Shapes:
        y, target: as the module says.   statistics, value: (C, C), with C = 2 for a single output.
    """

    def measure(self, y: Array, target: Array) -> Array:
        scores, labels = _scores_and_labels(self, y, target)
        classes = max(scores.shape[1], 2)
        cells = labels * classes + _predicted(scores, self.threshold)
        counts = np.bincount(cells, minlength=classes * classes).reshape(classes, classes)
        return _nan_if_unknown(scores, counts.astype(np.float64))

    def value(self, total: Array) -> float | Array:
        return total


@dataclass(frozen=True)
class _Averaged(ConfusionMatrix):
    """A fraction of counts for each class, made one figure by `average`."""

    better = "higher"

    average: Average = "macro"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(f"{type(self).__name__} average", self.average, get_args(Average))

    @property
    def name(self) -> str:
        return super().name if self.average == "macro" else f"{super().name}_{self.average}"

    def measure(self, y: Array, target: Array) -> Array:
        counts = super().measure(y, target)
        _require(self.average != "binary" or len(counts) == 2, self, "exactly two classes", y, target)
        return counts

    @abstractmethod
    def _fraction(self, hits: Array, true: Array, predicted: Array) -> tuple[Array, Array]:
        """Return numerator and denominator for each class."""

    def value(self, total: Array) -> float:
        if not total.any():
            return math.nan
        true, predicted = total.sum(axis=1), total.sum(axis=0)
        top, bottom = self._fraction(total.diagonal(), true, predicted)
        if self.average == "micro":
            return float(_ratio(top.sum(), bottom.sum(), empty=0.0))
        weights = {"macro": true + predicted != 0, "weighted": true, "binary": np.array([0, 1])}[self.average]
        return float(_ratio(top, bottom, empty=0.0) @ weights / weights.sum())


class Precision(_Averaged):
    """Share of the predictions of a class that are right.

        precision = hits / predicted     for each class; 0 for a class that is never predicted

    Args:
        average: how the classes become one figure:
            "macro": plain mean over the classes that occur among targets or predictions,
            "weighted": mean weighted by how often a class is the true one,
            "micro": hits and predictions summed over the classes first,
            "binary": class 1 alone, for networks of two classes or one output.
        threshold: score above which a single output means class 1.

    Shapes:
        y, target: as the module says.   statistics: (C, C), the confusion matrix.

    Raises:
        DataError: "binary" meets more than two classes.
    """

    def _fraction(self, hits: Array, true: Array, predicted: Array) -> tuple[Array, Array]:
        return hits, predicted


class Recall(_Averaged):
    """Share of the samples of a class that are found.

        recall = hits / true     for each class; 0 for a class that never is the true one

    Args, Shapes, Raises:
        as `Precision`.
    """

    def _fraction(self, hits: Array, true: Array, predicted: Array) -> tuple[Array, Array]:
        return hits, true


class F1(_Averaged):
    """Harmonic mean of precision and recall.

        F1 = 2 * hits / (true + predicted)     for each class; 0 where precision and recall both are

    Args, Shapes, Raises:
        as `Precision`.

    Source:
        Opitz & Burst 2019, arXiv:1911.03347. The macro average is their averaged F1, not the F1 of averages.
    """

    def _fraction(self, hits: Array, true: Array, predicted: Array) -> tuple[Array, Array]:
        return 2 * hits, true + predicted


class MatthewsCorrelation(ConfusionMatrix):
    """Correlation of predicted and true classes, from -1 to 1; 0 is no better than chance.

        R_K = (s * hits - sum_k t_k * p_k) / sqrt((s^2 - sum_k t_k^2) * (s^2 - sum_k p_k^2))

    with s samples, of which class k is the true one t_k times and the predicted one p_k times. It is 0 where
    all samples share one true class or one predicted class.

    Args:
        threshold: score above which a single output means class 1.

    Shapes:
        y, target: as the module says.   statistics: (C, C), the confusion matrix.

    Source:
        Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation coefficient".
    """

    better = "higher"

    def value(self, total: Array) -> float:
        samples, true, predicted = total.sum(), total.sum(axis=1), total.sum(axis=0)
        if samples == 0:
            return math.nan
        common = samples * total.trace() - true @ predicted
        scale = (samples**2 - true @ true) * (samples**2 - predicted @ predicted)
        return float(_ratio(common, np.sqrt(scale), empty=0.0))


class ROCAUC(Metric):
    """Area under the curve of true against false positive rate, exact.

        area = P(score of a positive > score of a negative) + P(both are equal) / 2

    One output, or class 1 of two, is one curve. For more classes it is the plain mean over the true classes
    that occur, each against all others. It is nan if fewer than two classes occur. All scores are kept,
    8 (C + 1) bytes a sample.

    Shapes:
        y, target: as the module says.   statistics: (N, C + 1), or (N, 2) for one output: scores and label.

    Source:
        Hanley & McNeil 1982, "The meaning and use of the area under a receiver operating characteristic (ROC)
        curve". Differs: pairs are counted by sorting, which is what mid-ranks do for equal scores.
    """

    better = "higher"

    @property
    def name(self) -> str:
        return "roc_auc"

    def measure(self, y: Array, target: Array) -> Array:
        return np.column_stack(_scores_and_labels(self, y, target))

    def merge(self, total: Array, part: Array) -> Array:
        return np.concatenate([total, part])

    def value(self, total: Array) -> float:
        scores, labels = total[:, :-1], total[:, -1]
        classes = np.unique(labels)
        if len(classes) < 2 or np.isnan(scores).any():
            return math.nan
        if scores.shape[1] < 3:
            return _area(scores[:, -1], labels == 1)
        return math.fsum(_area(scores[:, int(k)], labels == k) for k in classes) / len(classes)


def _area(scores: Array, positive: Array) -> float:
    """Return the share of pairs (positive, negative) in the right order, equal scores counted half."""
    negatives = np.sort(scores[~positive])
    positives = scores[positive]
    twice = sum(int(np.searchsorted(negatives, positives, side).sum()) for side in ("left", "right"))
    return twice / (2 * len(positives) * len(negatives))


def _table(metric: Metric, y: Array, target: Array) -> tuple[Array, Array]:
    """Return outputs and targets of a regression, both (N, F)."""
    _require(y.ndim > 0 and target.ndim > 0, metric, "y (N, F) and target (N, F)", y, target)
    shapes = [values.shape if values.ndim > 1 else (len(values), 1) for values in (y, target)]
    _require(shapes[0] == shapes[1], metric, "y and target of the same shape", y, target)
    flat = (len(y), math.prod(shapes[0][1:]))
    return y.reshape(flat).astype(np.float64), target.reshape(flat).astype(np.float64)


class MeanAbsoluteError(Metric):
    """Mean distance of outputs and targets, in their units.

        error = sum |y - target| / (N * F)

    Shapes:
        y, target: (N, F), or (N,) for F = 1.   statistics: (2,), sum and number of values.
    """

    better = "lower"

    def measure(self, y: Array, target: Array) -> Array:
        outputs, targets = _table(self, y, target)
        return np.array([np.abs(outputs - targets).sum(), targets.size])

    def value(self, total: Array) -> float:
        return float(_ratio(total[0], total[1], empty=math.nan))


class RootMeanSquareError(Metric):
    """Square root of the mean squared distance of outputs and targets, in their units.

        error = sqrt(sum (y - target)^2 / (N * F))

    Shapes:
        y, target: (N, F), or (N,) for F = 1.   statistics: (2,), sum and number of values.
    """

    better = "lower"

    def measure(self, y: Array, target: Array) -> Array:
        outputs, targets = _table(self, y, target)
        return np.array([np.square(outputs - targets).sum(), targets.size])

    def value(self, total: Array) -> float:
        return float(np.sqrt(_ratio(total[0], total[1], empty=math.nan)))


class R2(Metric):
    """Share of the targets' variance that the outputs explain: 1 is perfect, 0 as good as the mean target.

        R2 = 1 - sum (y - target)^2 / sum (target - mean)^2     for each output, then their plain mean

    It is nan if an output's targets are all the same.

    Shapes:
        y, target: (N, F), or (N,) for F = 1.
        statistics: (5, F): samples, origin, mean - origin, sum (target - mean)^2, sum (y - target)^2.

    Source:
        Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance". Differs: means are kept
        relative to the first target, so a large offset of all targets costs no digits.
    """

    better = "higher"

    def measure(self, y: Array, target: Array) -> Array:
        outputs, targets = _table(self, y, target)
        samples, features = targets.shape
        if not samples:
            return np.zeros((5, features))
        around = targets - targets[0]
        mean = around.mean(axis=0)
        spread, missed = np.square(around - mean).sum(axis=0), np.square(outputs - targets).sum(axis=0)
        return np.stack([np.full(features, float(samples)), targets[0], mean, spread, missed])

    def merge(self, total: Array, part: Array) -> Array:
        if not total[0].all() or not part[0].all():
            return part if part[0].any() else total
        (many, origin, mean, spread, missed), (more, *other) = total, part
        apart = (other[0] - origin) + (other[1] - mean)
        samples = many + more
        spread = spread + other[2] + apart**2 * many * more / samples
        return np.stack([samples, origin, mean + apart * more / samples, spread, missed + other[3]])

    def value(self, total: Array) -> float:
        return float(1 - _ratio(total[4], total[3], empty=math.nan).mean())
