"""Metrics of outputs that are probabilities."""

import math
from typing import ClassVar, Literal

from gedanken.errors import DataError
from gedanken.metrics.base import numbers, ratio
from gedanken.metrics.entries import sum_of, table, whole_weight
from gedanken.metrics.labels import LabelledMetric, nan_if_unknown, require_one_class, scores_and_labels
from gedanken.ops import Ops
from gedanken.types import Array

LEAST = 1e-30  # probability: what is nearer to 0 counts as this
ROUNDING = 1e-5  # by which a probability may miss [0, 1]


class LogLoss(LabelledMetric):
    """Mean negative logarithm of the probability that the outputs give to what is true.

        loss = -sum_c t_c * log(y_c)                        for each sample, t a distribution or one class
        loss = -t * log(y) - (1 - t) * log(1 - y)           for one output, and for each label

    Of several labels it is the mean over them. Where a probability is below 1e-30 it counts as that.

    Args:
        multi_label: as `Accuracy`.

    Shapes:
        y, target: as the module says; targets (N, 1) of one output are 0 or 1.
        statistics: (2,), weighted sum, and weight of all.

    Raises:
        DataError: an output is no probability: it is not in [0, 1].
    """

    better: ClassVar[Literal["higher", "lower"] | None] = "lower"

    def measure(self, ops: Ops, y: Array, target: Array, weight: Array | None = None) -> Array:
        xp = ops.xp
        shares, true, weight = self._shares(ops, y, target, weight)
        wrong = (shares < -ROUNDING) | (shares > 1 + ROUNDING)
        if wrong.any():
            hint = "end with SoftMax() or Sigmoid()"
            raise DataError(f"{self.name} needs outputs in [0, 1], got {shares[wrong][0]}; {hint}")
        loss = -true * xp.log(xp.clip(shares, LEAST, 1))
        if self.multi_label or shares.shape[1] == 1:
            loss -= (1 - true) * xp.log(xp.clip(1 - shares, LEAST, 1))
        columns = true.shape[1] if self.multi_label else 1
        found = numbers(ops, sum_of(weight, loss), columns * whole_weight(weight, len(loss)))
        return nan_if_unknown(ops, shares, found)

    def _shares(self, ops: Ops, y: Array, target: Array, weight: Array | None) -> tuple[Array, Array, Array | None]:
        """Return probabilities and targets, both (M, C), and the weights of all entries."""
        if self.multi_label:
            self._answers(ops, y, target)
        found = table(ops, self, y, target, weight)
        shares, true, channels = found.y.astype("float64"), found.target, found.y.shape[1]
        if true.ndim == 1 and not self.multi_label:
            true = scores_and_labels(ops, self, y, target).target
            true = true[:, None] == ops.xp.arange(channels) if channels > 1 else true
        elif not self.multi_label:
            require_one_class(self, true)
        return shares, true.reshape(-1, channels).astype("float64"), found.weight

    def value(self, total: Array) -> float:
        return float(ratio(total[0], total[1], empty=math.nan))
