"""Fractions of counts for each class or label, made one figure by an average."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from gedanken.checks import one_of, require
from gedanken.errors import ArgumentError
from gedanken.metrics.base import Metric, fits, ratio
from gedanken.metrics.labels import ClassMetric
from gedanken.ops import Ops
from gedanken.types import Array

Average = Literal["macro", "micro", "weighted", "binary"]


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

    def measure(self, ops: Ops, y: Array, target: Array, weight: Array | None = None) -> Array:
        counts = self._counts(ops, y, target, weight)
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
