"""What outputs and targets of classes or labels mean to a metric: scores, labels, and the answer that counts."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from gedanken.checks import real, require
from gedanken.errors import DataError
from gedanken.metrics.base import Metric, fits, table
from gedanken.ops import Ops
from gedanken.types import Array


def scores_and_labels(ops: Ops, metric: Metric, y: Array, target: Array) -> tuple[Array, Array]:
    """Return the scores, (N, C) or (N, 1), and the true classes, (N,)."""
    fits(y.ndim in (1, 2) and 0 not in y.shape[1:], metric, "y (N, C), (N, 1) or (N,)", y, target)
    scores = (y if y.ndim == 2 else y[:, None]).astype(np.float64)
    samples, outputs = scores.shape
    if outputs > 1 and target.shape == scores.shape:
        require_one_class(metric, target)
        return scores, target.argmax(axis=1)
    shapes = [(samples,)] if outputs > 1 else [(samples,), (samples, 1)]
    fits(target.shape in shapes, metric, "one target for each sample of y", y, target)
    labels = target.reshape(samples)
    classes = max(outputs, 2)
    right = (labels >= 0) & (labels < classes)
    if labels.dtype.kind == "f":
        right &= labels == ops.xp.floor(labels)
    if not right.all():
        wrong = labels[~right][0]
        raise DataError(f"labels of {metric.name} must be whole and in 0 ... {classes - 1}, got {wrong}")
    return scores, labels.astype(np.intp)


def require_one_class(metric: Metric, target: Array) -> None:
    wrong = (target < 0).any(axis=1) | (abs(target.sum(axis=1, dtype=np.float64) - 1) > 1e-3)
    if wrong.any():
        row = wrong.argmax()
        rule = f"{metric.name} needs one class for each sample, one-hot or probabilities that sum to 1"
        other = type(metric).__name__ if hasattr(metric, "multi_label") else "Accuracy"
        hint = f"for several labels a sample use {other}(multi_label=True)"
        raise DataError(f"{rule}, got {target[row].tolist()[:20]} in row {row} of target; {hint}")


def predicted_classes(scores: Array, threshold: float) -> Array:
    return scores.argmax(axis=1) if scores.shape[1] > 1 else (scores[:, 0] > threshold).astype(np.intp)


def nan_if_unknown(ops: Ops, scores: Array, statistics: Array) -> Array:
    """Return the statistics, or nan in their place if a score is NaN and so predicts no class."""
    return ops.xp.full_like(statistics, math.nan) if ops.xp.isnan(scores).any() else statistics


@dataclass(frozen=True, kw_only=True)
class LabelledMetric(Metric):
    """A metric of classes, or of several labels each by itself; None is classes until `regression` knows better."""

    multi_label: bool | None = None
    better: ClassVar[Literal["higher", "lower"] | None] = "higher"

    def __post_init__(self) -> None:
        name = f"{type(self).__name__} multi_label"
        known = self.multi_label is None or isinstance(self.multi_label, (bool, np.bool_))
        require(known, name, "be True, False or None", self.multi_label)

    def per_label(self) -> Metric:
        return replace(self, multi_label=True) if self.multi_label is None else self

    def _answers(self, y: Array, target: Array) -> tuple[Array, Array]:
        """Return the scores of all labels, (N, F), and which of them are true."""
        scores, targets = table(self, y, target)
        wrong = ~((targets >= 0) & (targets <= 1))
        if wrong.any():
            raise DataError(f"labels of {self.name} must lie in [0, 1], got {targets[wrong][0]}")
        return scores, targets > 0.5


@dataclass(frozen=True, kw_only=True)
class ClassMetric(LabelledMetric):
    """A metric of predicted classes; `threshold` decides where one output gives the answer."""

    threshold: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        real(f"{type(self).__name__} threshold", self.threshold, "(-inf, inf)")

    def _counts(self, ops: Ops, y: Array, target: Array) -> Array:
        """Return for each class or label, (4, C): hits, how often it is true, how often predicted, and samples."""
        if self.multi_label:
            scores, true = self._answers(y, target)
            predicted = scores > self.threshold
            counts = [ops.xp.count_nonzero(marks, axis=0) for marks in (true & predicted, true, predicted)]
        else:
            scores, labels = scores_and_labels(ops, self, y, target)
            found, classes = predicted_classes(scores, self.threshold), max(scores.shape[1], 2)
            counts = [ops.xp.bincount(these, minlength=classes) for these in (labels[labels == found], labels, found)]
        rows = ops.xp.stack([*counts, ops.xp.full(len(counts[0]), len(scores))])
        return nan_if_unknown(ops, scores, rows.astype(np.float64))
