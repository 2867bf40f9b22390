"""Costs that take every value by itself: which kernel they are, and what numbers they hand it."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gedanken.costs import (
    BinaryCrossEntropy,
    BinaryFocal,
    Cost,
    Hinge,
    Huber,
    LogCosh,
    MeanAbsolute,
    MeanAbsolutePercentage,
    MeanSquared,
    MeanSquaredLogarithmic,
    Poisson,
    Quantile,
    SigmoidBinaryCrossEntropy,
    SmoothL1,
    SquaredHinge,
    WeightedMean,
)
from gedanken.costs.base import LEAST
from gedanken.engine.cpu.kernels import value_cost as kinds
from gedanken.engine.cpu.kernels.blocks import Rows
from gedanken.engine.cpu.kernels.value_cost import BLOCK, SIGMOID, Values
from gedanken.engine.cpu.lowering.base import TASKS, Lowering, cut
from gedanken.engine.cpu.lowering.lowered_cost import LoweredCost
from gedanken.engine.cpu.program import Buffer


class Told(NamedTuple):
    """What a kernel is told of a cost; which kind uses which is said in `VALUES`.

    Args:
        kind: of `kernels/value_cost.py`.
        weights: (w0, w1), each a number or one for each output; None where there are none.
        bend, scale, epsilon, gamma, full: numbers of its formula.
    """

    kind: int
    weights: tuple[Any, Any] | None = None
    bend: float = 0.0
    scale: float = 1.0
    epsilon: float = 0.0
    gamma: float = 0.0
    full: bool = False


def _poisson(cost: Any) -> Told:
    return Told(kinds.LOG_COUNTS if cost.log_input else kinds.COUNTS, epsilon=cost.epsilon, full=cost.full)


VALUES: dict[type[Cost], Callable[[Any], Told]] = {
    MeanSquared: lambda _: Told(kinds.SQUARED),
    MeanAbsolute: lambda _: Told(kinds.ABSOLUTE),
    Huber: lambda cost: Told(kinds.HUBER, bend=cost.delta),
    SmoothL1: lambda cost: Told(kinds.HUBER, bend=cost.beta, scale=1 / cost.beta),
    MeanAbsolutePercentage: lambda cost: Told(kinds.PERCENTAGE, epsilon=cost.epsilon),
    Quantile: lambda cost: Told(kinds.QUANTILE, (cost.quantiles, 1.0)),
    WeightedMean: lambda _: Told(kinds.WEIGHTED),
    Hinge: lambda _: Told(kinds.HINGE),
    SquaredHinge: lambda _: Told(kinds.SQUARED_HINGE),
    SigmoidBinaryCrossEntropy: lambda cost: Told(kinds.SIGMOID, cost.weights or (1.0, 1.0)),
    BinaryCrossEntropy: lambda cost: Told(kinds.PROBABILITY, cost.weights or (1.0, 1.0), epsilon=LEAST),
    BinaryFocal: lambda cost: Told(kinds.FOCAL, cost.weights or (1.0, 1.0), epsilon=LEAST, gamma=cost.gamma),
    LogCosh: lambda _: Told(kinds.LOG_COSH),
    MeanSquaredLogarithmic: lambda _: Told(kinds.LOGARITHMIC),
    Poisson: _poisson,
}


def value_cost(low: Lowering, cost: Cost, z: Buffer) -> LoweredCost:
    """Lower a cost of values z, in rows that count alike: places of a sequence, whole samples of all others."""
    shape, told = z.shape, VALUES[type(cost)](cost)
    rows = shape[0] * shape[1] if len(shape) == 3 else shape[0]
    outputs = low.buffer(shape) if told.kind == SIGMOID else z
    to = LoweredCost.of(low, outputs, rows, shape, (rows,))
    columns, piece = math.prod(shape) // rows, cut(rows, TASKS)
    count = max(columns, min(piece * columns, BLOCK)) if told.weights else 1
    w0, w1 = (np.resize(np.array(one, low.real), count) for one in told.weights or (1.0, 1.0))
    values = Values(
        targets=to.shares, kind=told.kind, w0=w0, w1=w1, bend=told.bend, scale=told.scale, epsilon=told.epsilon,
        gamma=told.gamma, full=int(told.full), counts=to.row_weights(),
    )  # fmt: skip
    low.program.add(
        "value_cost.judge" if told.kind < SIGMOID else "value_cost.judge_curved", cut(rows, piece), BLOCK, z=z,
        v=values, y=outputs, dz=to.dz, terms=to.terms, m=Rows(rows=rows, columns=columns, piece=piece),
    )  # fmt: skip
    return to
