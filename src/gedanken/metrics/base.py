"""The contract of a metric, and what several share."""

import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from gedanken.errors import DataError
from gedanken.foreign import KeywordsChecked
from gedanken.types import Array


@dataclass(frozen=True)
class Metric(KeywordsChecked, ABC):
    """A value that is computed from sums over mini-batches.

    Class attributes:
        better: "higher" or "lower", for early stopping; None if neither, or if unknown.
    """

    better: ClassVar[Literal["higher", "lower"] | None] = None

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
        """Return the statistics of `total` followed by those of `part`, both left as they are.

        Raises:
            DataError: they have no common shape, and a metric of your own has no `merge` of its own.
        """
        if total is None or np.shape(total) != np.shape(part):
            got = [f"shape {np.shape(one)}" if one is not None else "None" for one in (total, part)]
            raise DataError(f"{self.name} must measure numbers of one shape, or define merge, got {' and '.join(got)}")
        return total + part

    @abstractmethod
    def value(self, total: Array) -> float | Array:
        """Return the metric's value for the statistics."""

    def per_label(self) -> "Metric":
        """Return the metric for several labels; itself if that makes no difference.

        Raises:
            ArgumentError: the metric is not defined for several labels.
        """
        return self


def fits(holds: bool, metric: Metric, rule: str, y: Array, target: Array) -> None:
    if not holds:
        raise DataError(f"{metric.name} needs {rule}, got y {y.shape} and target {target.shape}")


def ratio(top: Array | float, bottom: Array | float, empty: float) -> Array:
    """Return top / bottom, and `empty` where bottom is 0."""
    result: Array = np.full(np.shape(bottom), empty)
    return np.divide(top, bottom, out=result, where=np.not_equal(bottom, 0))


def table(metric: Metric, y: Array, target: Array) -> tuple[Array, Array]:
    """Return outputs and targets of a regression, both (N, F)."""
    fits(y.ndim > 0 and target.ndim > 0, metric, "y (N, F) and target (N, F)", y, target)
    shapes = [values.shape if values.ndim > 1 else (len(values), 1) for values in (y, target)]
    fits(shapes[0] == shapes[1], metric, "y and target of the same shape", y, target)
    flat = (len(y), math.prod(shapes[0][1:]))
    return y.reshape(flat).astype(np.float64), target.reshape(flat).astype(np.float64)
