"""What a cost would be for a network that knows nothing, and for one that knows everything."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gedanken.costs import (
    BinaryCrossEntropy,
    Cost,
    CrossEntropy,
    Hinge,
    Huber,
    MeanAbsolute,
    MeanSquared,
)
from gedanken.costs.heads import HeadsCost
from gedanken.costs.labels import classes_of
from gedanken.layers.shape import channels_last_shape, to_channels_last
from gedanken.metrics.base import HOST
from gedanken.types import AnyShape, Array

VALUES = (MeanSquared, MeanAbsolute, Huber)
YES_OR_NO = (BinaryCrossEntropy, Hinge)
NUMBERS = 1 << 22  # outputs that are made for this
KNOWN = (CrossEntropy, *YES_OR_NO, *VALUES)


def knows_nothing(cost: Cost, target: Any, shape: AnyShape) -> float | None:
    """Return the mean cost of the best outputs that are the same for all samples and tell no class from another.

    For classes these are equal shares, log C; for yes or no 1/2, log 2, and with hinge 0; for values their mean, which
    makes the variance of the squared error, or their median for the absolute one. None: the cost is the user's own.

    Args:
        cost: as `regression` took it.
        target: (N, ...), as the cost takes it, channels first.
        shape: one output, channels first.
    """
    if isinstance(cost, HeadsCost):
        return _of_heads(knows_nothing, cost, target, shape)
    wanted = to_channels_last(target)
    if isinstance(cost, CrossEntropy):
        few, (*places, classes) = wanted[: max(1, NUMBERS // math.prod(shape))], channels_last_shape(shape)
        return _of(cost, np.full((len(few), *places, classes), 1 / classes), few)
    if isinstance(cost, YES_OR_NO):
        return _of(cost, np.full(wanted.shape, 0.5 if isinstance(cost, BinaryCrossEntropy) else 0.0), wanted)
    if isinstance(cost, VALUES):
        middle = np.median if isinstance(cost, MeanAbsolute) else np.mean
        return _of(cost, np.broadcast_to(middle(wanted.astype("float64"), axis=0), wanted.shape), wanted)
    return None


def knows_all(cost: Cost, target: Any, shape: AnyShape) -> float | None:
    """Return the least mean cost that any outputs have; the arguments are those of `knows_nothing`."""
    if isinstance(cost, HeadsCost):
        return _of_heads(knows_all, cost, target, shape)
    if isinstance(cost, CrossEntropy):
        wanted, classes = to_channels_last(target), classes_of(shape)
        known = np.where(wanted == cost.ignore_label, 0, wanted)
        whole = np.eye(classes)[known] if target.ndim == len(shape) else wanted.astype("float64")
        return _of(cost, (1 - cost.label_smoothing) * whole + cost.label_smoothing / classes, wanted)
    if isinstance(cost, BinaryCrossEntropy):
        wanted = to_channels_last(target).astype("float64")
        return _of(cost, np.clip(wanted, 0, 1), wanted)  # outputs where it is to be ignored, which may be anything
    return 0.0 if isinstance(cost, (Hinge, *VALUES)) else None


def _of_heads(of_one: Callable[..., float | None], cost: HeadsCost, target: Any, shape: AnyShape) -> float | None:
    found = [
        cost.weights[name] * value
        for name, one in cost.costs.items()
        if (value := of_one(one, target.parts[name], shape[name])) is not None
    ]
    return sum(found) if len(found) == len(cost.costs) else None


def kinds_of(cost: Cost) -> tuple[Cost, ...]:
    """Return the costs that make one: of heads all of them."""
    return tuple(cost.costs.values()) if isinstance(cost, HeadsCost) else (cost,)


def _of(cost: Cost, outputs: Array, target: Array) -> float | None:
    number: Any = cost(HOST, np.array(outputs), target)[0]
    return float(number) if math.isfinite(number) else None
