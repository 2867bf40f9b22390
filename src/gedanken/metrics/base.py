"""The contract of a metric, and what several share."""

import functools
import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from gedanken.checks import refuse_masked, required_arguments
from gedanken.errors import ArgumentError, DataError
from gedanken.ops import Ops
from gedanken.plain import PlainNumbers
from gedanken.types import Array

HOST = Ops()


@dataclass(frozen=True)
class Metric(PlainNumbers, ABC):
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
    def measure(self, ops: Ops, y: Array, target: Array, weight: Array | None = None) -> Array:
        """Return the statistics of one mini-batch, float64.

        They may stay on the device: `merge` and `value` get them on the host. Called without `ops` it takes NumPy
        arrays. A class may leave out `ops`, as in `measure(self, y, target)`, and is given NumPy arrays on every engine
        then; and it may leave out `weight`, and is refused where samples have weights then, see `takes_weights`.

        Args:
            ops: the device's primitives; its array module is `ops.xp`.
            y: the outputs, on the device and channels first.
            target: the targets, on the device.
            weight: how much each sample counts, (N,), or each entry, at least 0; None is 1 for all.

        Raises:
            DataError: y, target and weight do not belong together; the message names the shapes.
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


def takes_weights(metric: Metric) -> bool:
    """Say whether a metric knows what to do with weights: whether its `measure` has an argument `weight`."""
    return "weight" in inspect.signature(metric.measure).parameters


def _with_or_without_ops(measure: Callable[..., Array]) -> Callable[..., Array]:
    """Return a method `measure` that is called with or without `ops` first, whichever form the class defines."""
    on_host = required_arguments(measure, "weight") == len(("self", "y", "target"))
    weighs = "weight" in inspect.signature(measure).parameters

    @functools.wraps(measure)
    def call(self: Metric, *given: Any, **named: Any) -> Array:
        if named:
            given = (*given, *(named[name] for name in ("ops", "y", "target") if name in named))
        ops, y, target, *rest = given if given and hasattr(given[0], "xp") else (HOST, *given)
        weight = rest[0] if rest else named.get("weight")
        for argument, value in (("y", y), ("target", target), ("weight", weight)):
            refuse_masked(f"{argument} of {self.name}", value)
        if weight is not None and not weighs:
            rule = "take an argument weight where samples have weights"
            raise ArgumentError(f"{type(self).__name__}.measure must {rule}, and has none")
        if on_host:
            y, target = ops.to_host(y), ops.to_host(target)
            weight = None if weight is None else ops.to_host(weight)
        lent = (y, target) if on_host else (ops, y, target)
        return measure(self, *lent, weight=weight) if weighs else measure(self, *lent)

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
