"""What outputs and targets of classes or labels mean to a metric: scores, labels, and the answer that counts."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from gedanken.checks import real, require
from gedanken.errors import DataError
from gedanken.metrics.base import Metric
from gedanken.metrics.entries import Table, of_each, table, totals
from gedanken.ops import Ops
from gedanken.types import Array


def scores_and_labels(ops: Ops, metric: Metric, y: Array, target: Array, weight: Array | None = None) -> Table:
    """Return the scores, (M, C) or (M, 1), the true classes, (M,), and the weights of all entries."""
    found = table(ops, metric, y, target, weight)
    scores, labels = found.y.astype(np.float64), found.target
    if labels.ndim == 2:
        require_one_class(metric, labels)
        return Table(scores, labels.argmax(axis=1), found.weight)
    classes = max(scores.shape[1], 2)
    right = (labels >= 0) & (labels < classes)
    if labels.dtype.kind == "f":
        right &= labels == ops.xp.floor(labels)
    if not right.all():
        wrong = labels[~right][0]
        raise DataError(f"labels of {metric.name} must be whole and in 0 ... {classes - 1}, got {wrong}")
    return Table(scores, labels.astype(np.intp), found.weight)


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

    def _answers(self, ops: Ops, y: Array, target: Array, weight: Array | None = None) -> Table:
        """Return the scores of all labels, (M, F), which of them are true, (M, F), and the weights of all entries."""
        found = table(ops, self, y, target, weight)
        scores, targets = found.y.astype(np.float64), found.target.astype(np.float64)
        if targets.ndim == 1:
            rule = f"{self.name} needs an answer for each label, a target of the same shape as y"
            if scores.shape[1] > 1:
                raise DataError(f"{rule}, got y {y.shape} and target {target.shape}")
            targets = targets[:, None]
        wrong = ~((targets >= 0) & (targets <= 1))
        if wrong.any():
            raise DataError(f"labels of {self.name} must lie in [0, 1], got {targets[wrong][0]}")
        return Table(scores, targets > 0.5, found.weight)


@dataclass(frozen=True, kw_only=True)
class ClassMetric(LabelledMetric):
    """A metric of predicted classes; `threshold` decides where one output gives the answer."""

    threshold: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        real(f"{type(self).__name__} threshold", self.threshold, "(-inf, inf)")

    def _counts(self, ops: Ops, y: Array, target: Array, weight: Array | None = None) -> Array:
        """Return for each class or label, (4, C): hits, how often it is true, how often predicted, and entries.

        All four are sums of weights. That of the entries is added up as the others are, so that a class which all
        of them have weighs as much as they do, to the last bit.
        """
        if self.multi_label:
            scores, true, weight = self._answers(ops, y, target, weight)
            predicted = scores > self.threshold
            marks = (true & predicted, true, predicted, ops.xp.ones_like(true))
            counts = [totals(ops, weight, these) for these in marks]
        else:
            scores, labels, weight = scores_and_labels(ops, self, y, target, weight)
            found, classes = predicted_classes(scores, self.threshold), max(scores.shape[1], 2)
            hit = labels == found
            hits = of_each(ops, None if weight is None else weight[hit], labels[hit], classes)
            counts = [hits, *(of_each(ops, weight, these, classes) for these in (labels, found))]
            counts.append(ops.xp.broadcast_to(counts[1].sum(), (classes,)))
        return nan_if_unknown(ops, scores, ops.xp.stack(counts).astype(np.float64))
