"""Fractions of counts for each class or label, made one figure by an average."""

import math
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from gedanken.checks import one_of, real, require
from gedanken.errors import ArgumentError, DataError
from gedanken.metrics.base import Metric, fits, numbers, ratio
from gedanken.metrics.entries import sum_of, whole_weight
from gedanken.metrics.labels import ClassMetric, nan_if_unknown
from gedanken.ops import Ops
from gedanken.types import Array

Average = Literal["macro", "micro", "weighted", "binary", "samples"]


@dataclass(frozen=True)
class Averaged(ClassMetric):
    """A fraction of counts for each class or label, made one figure by `average`."""

    average: Average | None = "macro"

    def __post_init__(self) -> None:
        super().__post_init__()
        name, average = f"{type(self).__name__} average", self.average
        if average is not None:
            one_of(name, average, get_args(Average))
        require(not (self.multi_label and average == "binary"), name, "be another with multi_label", average)
        require(average != "samples" or self.multi_label is not False, name, "be another for classes", average)

    def per_label(self) -> Metric:
        if self.average == "binary" and self.multi_label is None:
            rule = f"{self.name} needs two classes, got several labels"
            raise ArgumentError(f'{rule}; use average="macro", "micro" or "weighted"')
        return super().per_label()

    @property
    def name(self) -> str:
        return averaged_name(super().name, self.average)

    def measure(self, ops: Ops, y: Array, target: Array, weight: Array | None = None) -> Array:
        if self.average == "samples":
            return self._of_samples(ops, y, target, weight)
        counts = self._counts(ops, y, target, weight)
        fits(self.average != "binary" or counts.shape[1] == 2, self, "exactly two classes", y, target)
        return counts

    def _of_samples(self, ops: Ops, y: Array, target: Array, weight: Array | None) -> Array:
        """Return the sum of the entries' figures, (2,), and how much they weigh."""
        if not self.multi_label:
            hint = f"use {type(self).__name__}('samples', multi_label=True)"
            raise DataError(f"{self.name} needs several labels for each sample; {hint}")
        scores, true, weight = self._answers(ops, y, target, weight)
        found = scores > self.threshold
        counts = [marks.sum(axis=1) for marks in (true & found, true, found, ops.xp.ones_like(true))]
        top, bottom = self._fraction(*counts)
        each = ops.xp.where(bottom > 0, top / ops.xp.maximum(bottom, 1), 0.0)
        return nan_if_unknown(ops, scores, numbers(ops, sum_of(weight, each), whole_weight(weight, len(each))))

    @abstractmethod
    def _fraction(self, hits: Array, true: Array, predicted: Array, entries: Array) -> tuple[Array, Array]:
        """Return numerator and denominator for each class."""

    def value(self, total: Array) -> float | Array:
        if self.average == "samples":
            return float(ratio(total[0], total[1], empty=math.nan))
        top, bottom = self._fraction(*total)
        each, there = ratio(top, bottom, empty=0.0), total[1] + total[2] != 0
        if self.average is None:
            return np.where(there, each, math.nan)
        if not total.any():
            return math.nan
        if self.average == "micro":
            return float(ratio(top.sum(), bottom.sum(), empty=0.0))
        weights = {"macro": there, "weighted": total[1], "binary": np.array([0, 1])}[self.average]
        return float(ratio(each @ weights, weights.sum(), empty=0.0))


def averaged_name(name: str, average: str | None) -> str:
    """Return what a metric with an average is called in records: the usual one is not named."""
    return name if average == "macro" else f"{name}_{average or 'each'}"


class Precision(Averaged):
    """Fraction of the predictions of a class that are right.

        precision = hits / predicted     for each class; 0 for a class that is never predicted

    Args:
        average: how the classes become one figure:
            "macro": plain mean over the classes that occur among targets or predictions,
            "weighted": mean weighted by how often a class is the true one,
            "micro": hits and predictions summed over the classes first,
            "binary": class 1 alone, for networks of two classes or one output,
            "samples": of several labels, the figure of each sample, then their mean,
            None: all of them, an array, with NaN for classes that do not occur.
        threshold, multi_label: as `Accuracy`; classes are labels then.

    Shapes:
        y, target: as the module says.
        statistics: (4, C), for each class hits, how often it is true, how often predicted, and entries, all of them
            sums of weights; (2,) with "samples".
        value: one figure, or (C,) for average=None.

    Raises:
        DataError: "binary" meets more than two classes, or "samples" classes instead of labels.
    """

    def _fraction(self, hits: Array, true: Array, predicted: Array, entries: Array) -> tuple[Array, Array]:
        return hits, predicted


class Recall(Averaged):
    """Fraction of the samples of a class that are found.

        recall = hits / true     for each class; 0 for a class that never is the true one

    Arguments, shapes and errors are those of `Precision`.
    """

    def _fraction(self, hits: Array, true: Array, predicted: Array, entries: Array) -> tuple[Array, Array]:
        return hits, true


class F1(Averaged):
    """Harmonic mean of precision and recall.

        F1 = 2 * hits / (true + predicted)     for each class; 0 where precision and recall both are

    Arguments, shapes and errors are those of `Precision`.

    Source:
        Opitz & Burst 2019, arXiv:1911.03347. The macro average is their averaged F1, not the F1 of averages.
    """

    def _fraction(self, hits: Array, true: Array, predicted: Array, entries: Array) -> tuple[Array, Array]:
        return 2 * hits, true + predicted


@dataclass(frozen=True)
class FBeta(Averaged):
    """Mean of precision and recall in which recall counts beta times as much.

        F = (1 + beta^2) * hits / (beta^2 * true + predicted)     for each class; 0 where precision and recall both are

    Args:
        beta: above 1 for recall, below 1 for precision, 1 is `F1`; > 0.
        average, threshold, multi_label: as `Precision`, whose shapes and errors these are.

    Source:
        van Rijsbergen 1979, "Information Retrieval", chapter 7.
    """

    average: Average | None = field(default="macro", kw_only=True)
    beta: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        real("FBeta beta", self.beta, "(0, inf)")

    @property
    def name(self) -> str:
        return averaged_name(f"f{self.beta:g}", self.average)

    def _fraction(self, hits: Array, true: Array, predicted: Array, entries: Array) -> tuple[Array, Array]:
        square = self.beta**2
        return (1 + square) * hits, square * true + predicted


class Specificity(Averaged):
    """Fraction of the samples of other classes that are not taken for this one.

        specificity = right no / (right no + wrong yes)     for each class; 0 for a class that all samples have

    With "binary" this is the recall of class 0. Arguments, shapes and errors are those of `Precision`.
    """

    def _fraction(self, hits: Array, true: Array, predicted: Array, entries: Array) -> tuple[Array, Array]:
        rest = entries - true
        return rest - (predicted - hits), rest


class IoU(Averaged):
    """Intersection over union, the index of Jaccard: what a class has and is given, over what it has or is given.

        IoU = hits / (true + predicted - hits)     for each class

    Counted over all entries together, not picture by picture. For masks of one output `IoU("binary")` is that of what
    is masked, and `IoU()` the mean with the rest. Arguments, shapes and errors are those of `Precision`.

    Source:
        Everingham et al. 2010, "The PASCAL visual object classes (VOC) challenge", section 4.1.
    """

    @property
    def name(self) -> str:
        return averaged_name("iou", self.average)

    def _fraction(self, hits: Array, true: Array, predicted: Array, entries: Array) -> tuple[Array, Array]:
        return hits, true + predicted - hits


class DiceCoefficient(Averaged):
    """Overlap of what a class has and what it is given, over the mean size of both; the same number as `F1`.

        Dice = 2 * hits / (true + predicted)     for each class

    Counted over all entries together, not picture by picture. Arguments, shapes and errors are those of `Precision`.

    Source:
        Dice 1945, "Measures of the amount of ecologic association between species".
    """

    def _fraction(self, hits: Array, true: Array, predicted: Array, entries: Array) -> tuple[Array, Array]:
        return 2 * hits, true + predicted
