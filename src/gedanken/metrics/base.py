"""The contract of a metric, and what several share."""

import functools
import inspect
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from gedanken.errors import DataError
from gedanken.foreign import KeywordsChecked
from gedanken.ops import Ops
from gedanken.types import Array

HOST = Ops()


@dataclass(frozen=True)
class Metric(KeywordsChecked, ABC):
    """A value that is computed from sums over mini-batches.

    Class attributes:
        better: "higher" or "lower", for early stopping; None if neither, or if unknown.
    """

    better: ClassVar[Literal["higher", "lower"] | None] = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if inspect.isfunction(measure := vars(cls).get("measure")):
            cls.measure = _with_or_without_ops(measure)  # type: ignore[method-assign]

    @property
    def name(self) -> str:
        """Name in records: the class's name in lower case, its words joined by underscores."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__).lower()

    @abstractmethod
    def measure(self, ops: Ops, y: Array, target: Array) -> Array:
        """Return the statistics of one mini-batch, float64.

        They may stay on the device: `merge` and `value` get them on the host. Called without `ops` it takes NumPy
        arrays; and a class may define `measure(self, y, target)`, which is given NumPy arrays on every engine.

        Args:
            ops: the device's primitives; its array module is `ops.xp`.
            y: the outputs, on the device and channels first.
            target: the targets, on the device.

        Raises:
            DataError: y and target do not belong together; the message names both shapes.
        """

    def merge(self, total: Array, part: Array) -> Array:
        """Return the statistics of `total` followed by those of `part`, both on the host and left as they are.

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


def required_arguments(measure: Callable[..., Any]) -> int:
    """Return how many arguments a function must be given by place; 3 where it takes any number."""
    given = inspect.signature(measure).parameters.values()
    if any(one.kind is one.VAR_POSITIONAL for one in given):
        return 3
    by_place = [one for one in given if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    return sum(one.default is one.empty for one in by_place)


def takes_weights(metric: Metric) -> bool:
    """Say whether a metric knows what to do with weights: whether its `measure` has an argument `weight`."""
    return "weight" in inspect.signature(metric.measure).parameters


def _with_or_without_ops(measure: Callable[..., Array]) -> Callable[..., Array]:
    """Return a method `measure` that is called with or without `ops` first, whichever form the class defines."""
    on_host = required_arguments(measure) == len(("self", "y", "target"))

    @functools.wraps(measure)
    def call(self: Metric, *given: Any, **named: Any) -> Array:
        if named:
            given = (*given, *(named[name] for name in ("ops", "y", "target") if name in named))
        ops, y, target = given if len(given) == 3 else (HOST, *given)
        if on_host:
            return measure(self, ops.to_host(y), ops.to_host(target))
        return measure(self, ops, y, target)

    return call


def numbers(ops: Ops, *values: Any) -> Array:
    """Return numbers of host or device as one array."""
    if ops.xp is np:
        return np.array(values, np.float64)
    return ops.xp.stack([ops.xp.asarray(value, dtype="float64") for value in values])


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
