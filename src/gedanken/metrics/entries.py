"""Outputs, targets and weights as tables of entries: a sample is one, or each of its places where it has places.

    outputs         places      entries     channels
    (N,), (N, C)                N           1, C
    (N, T, C)       (T,)        N * T       C
    (N, C, H, W)    (H, W)      N * H * W   C

A target has the outputs' shape, or has no channels where there is one, or where it says which of them is right.
"""

from typing import NamedTuple

from gedanken.errors import DataError
from gedanken.metrics.base import Metric, fits
from gedanken.ops import Ops
from gedanken.types import Array, Shape


class Table(NamedTuple):
    """A mini-batch of M entries.

    Args:
        y: outputs, (M, C).
        target: (M, C), or (M,) for numbers of classes and answers of a single output.
        weight: (M,), or None for 1 each.
    """

    y: Array
    target: Array
    weight: Array | None


def table(ops: Ops, metric: Metric, y: Array, target: Array, weight: Array | None) -> Table:
    """Return a mini-batch as a table of entries; of outputs with one channel the target is (M,).

    Raises:
        DataError: y, target and weight do not belong together.
    """
    fits(y.ndim > 0, metric, "y (N, C), (N, T, C), (N, C, H, W) or (N,)", y, target)
    places, channels = places_of(y.shape), channels_of(y.shape)
    fits(channels > 0, metric, "y of at least one output", y, target)
    whole, without = target.shape == y.shape, target.shape == places
    also = channels == 1 and target.shape in ((len(y),), (len(y), 1)) and len(places) == 1
    fits(whole or without or also, metric, "one target for each sample or place of y", y, target)
    flat = rows(target, channels) if whole and channels > 1 else target.reshape(-1)
    return Table(rows(y, channels), flat, weights(ops, metric, places, weight))


def outputs_and_targets(ops: Ops, metric: Metric, y: Array, target: Array, weight: Array | None) -> Table:
    """Return outputs and targets of a regression, both (M, F), and the weights of all entries."""
    found = table(ops, metric, y, target, weight)
    columns = found.y.shape[1]
    fits(columns == 1 or found.target.ndim == 2, metric, "y and target of the same shape", y, target)
    return Table(found.y.astype("float64"), found.target.reshape(-1, columns).astype("float64"), found.weight)


def channels_of(shape: Shape) -> int:
    """Return how many outputs an entry has, by the shape of all outputs, channels first."""
    return 1 if len(shape) == 1 else shape[1] if len(shape) > 3 else shape[-1]


def places_of(shape: Shape) -> Shape:
    """Return the shape that targets without channels have."""
    return (shape[0], *shape[2:]) if len(shape) > 3 else shape[: max(len(shape) - 1, 1)]


def rows(values: Array, channels: int) -> Array:
    if values.ndim > 3:
        values = values.transpose(0, *range(2, values.ndim), 1)
    return values.reshape(-1, channels)


def weights(ops: Ops, metric: Metric, places: Shape, weight: Array | None) -> Array | None:
    """Return the weight of each entry, (M,); that of a sample holds for all of its places."""
    if weight is None:
        return None
    found = ops.asarray(weight, "float64")
    shapes = " or ".join({str(places[:1]): None, str(places): None})
    if found.shape not in (places[:1], places):
        raise DataError(f"weight of {metric.name} must have shape {shapes}, got {found.shape}")
    wrong = ~((found >= 0) & ops.xp.isfinite(found))
    if wrong.any():
        raise DataError(f"weight of {metric.name} must be finite and at least 0, got {found[wrong][0]}")
    if found.shape != places:
        found = ops.xp.broadcast_to(found.reshape(-1, *(1 for _ in places[1:])), places)
    return found.reshape(-1)


def total(ops: Ops, weight: Array | None, marks: Array) -> Array:
    """Return how much the entries weigh that are marked, (M,)."""
    return ops.xp.count_nonzero(marks) if weight is None else (weight * marks).sum()


def totals(ops: Ops, weight: Array | None, marks: Array) -> Array:
    """Return how much the entries weigh that are marked, (M, F), for each column."""
    return ops.xp.count_nonzero(marks, axis=0) if weight is None else (weight[:, None] * marks).sum(axis=0)


def of_each(ops: Ops, weight: Array | None, numbers: Array, count: int) -> Array:
    """Return how much the entries weigh that have each of the numbers 0 ... count - 1."""
    return ops.xp.bincount(numbers, weights=weight, minlength=count)


def sum_of(weight: Array | None, values: Array) -> Array:
    """Return the sum of values, (M,) or (M, F), each times the weight of its entry."""
    if weight is None:
        return values.sum()
    return (weight * values if values.ndim == 1 else weight[:, None] * values).sum()


def whole_weight(weight: Array | None, count: int) -> Array | int:
    """Return how much `count` entries weigh together."""
    return count if weight is None else weight.sum()
