"""The cost as a part of a program, between the forward and the backward pass."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gedanken.costs import (
    Cost,
    Huber,
    MeanAbsolute,
    MeanSquared,
    SigmoidBinaryCrossEntropy,
    SoftMaxCrossEntropy,
)
from gedanken.costs.base import Weighing
from gedanken.costs.heads import HeadsCost
from gedanken.engine.cpu.kernels.blocks import Rows
from gedanken.engine.cpu.kernels.cost import RowWeights, Targets
from gedanken.engine.cpu.kernels.value_cost import ABSOLUTE, BLOCK, HUBER, SIGMOID, SQUARED, Values
from gedanken.engine.cpu.lowering.base import TASKS, Lowering, cut
from gedanken.engine.cpu.program import Buffer, Variable
from gedanken.types import Array, Shape

KINDS: dict[type[Cost], int] = {
    SigmoidBinaryCrossEntropy: SIGMOID,
    MeanSquared: SQUARED,
    MeanAbsolute: ABSOLUTE,
    Huber: HUBER,
}


def has_kernel(cost: Cost) -> bool:
    """Return whether a cost can be a part of a program."""
    if isinstance(cost, HeadsCost):
        return all(map(has_kernel, cost.costs.values()))
    return type(cost) is SoftMaxCrossEntropy or type(cost) in KINDS


def entries_of(cost: Cost, shape: Shape) -> Shape:
    """Return the shape of the costs of outputs of a shape."""
    return shape[:-1] if type(cost) is SoftMaxCrossEntropy else shape


@dataclass
class LoweredCost:
    """A cost in a program: rows that are judged each by itself.

    Args:
        rows, columns: of the scores as the kernel sees them.
        classes, shares: the targets, given before every run in one of these two forms.
        hard: 1 for classes, 0 for shares; given likewise.
        factors, given, divisor: what each row counts, see `costs.base.Weighing`; given likewise.
        outputs: of the network.
        dz: the gradient with respect to the scores.
        terms: what the cost is made of, see `total_cost`.
    """

    rows: int
    columns: int
    classes: Buffer
    shares: Buffer
    hard: Variable
    factors: Buffer
    given: Variable
    divisor: Variable
    outputs: Buffer
    dz: Buffer
    terms: Buffer

    def point_to(self, target: Array, weighing: Weighing, dtype: Any) -> list[Array]:
        """Say what is wanted in the next run; the arrays that are returned have to live as long."""
        hard = target.ndim < len(self.shares.shape)
        place, kind = (self.classes, np.int64) if hard else (self.shares, dtype)
        wanted = np.ascontiguousarray(target, kind)
        place.point_to(wanted)
        self.hard.set(hard)
        factor = weighing.factor if weighing.divisor else np.zeros(1)
        factors = np.zeros(1, dtype) if factor is None else self._by_row(factor, dtype)
        self.factors.point_to(factors)
        self.given.set(factor is not None)
        self.divisor.set(weighing.divisor or 1.0)
        return [wanted, factors]

    def _by_row(self, factor: Array, dtype: Any) -> Array:
        """Return the factor of each row, of a factor of each sample or place."""
        each = self.rows // factor.size
        return np.repeat(np.ascontiguousarray(factor, dtype).reshape(-1), each)


def lower_cost(low: Lowering, cost: Cost, z: Buffer) -> LoweredCost:
    """Lower a cost of scores z."""
    shape = z.shape
    rows, columns = _softmax_rows(shape) if type(cost) is SoftMaxCrossEntropy else _value_rows(shape)
    classes, shares, factors = low.program.input((rows,), "int64"), low.program.input(shape), low.program.input((rows,))
    made = (rows, columns, classes, shares, Variable(), factors, Variable(), Variable())
    dz = low.buffer(shape)
    if isinstance(cost, SoftMaxCrossEntropy):
        lowered = LoweredCost(*made, low.buffer(shape), dz, low.buffer((rows, 3)))
        _add_softmax(low, cost, z, lowered)
    else:
        outputs = low.buffer(shape) if KINDS[type(cost)] == SIGMOID else z
        lowered = LoweredCost(*made, outputs, dz, low.buffer((rows,)))
        _add_values(low, cost, z, lowered)
    return lowered


def _softmax_rows(shape: Shape) -> tuple[int, int]:
    return math.prod(shape[:-1]), shape[-1]


def _value_rows(shape: Shape) -> tuple[int, int]:
    """Return rows and columns of values that count alike: places of a sequence, whole samples of all others."""
    rows = math.prod(shape[:2]) if len(shape) == 3 else shape[0]
    return rows, math.prod(shape) // rows


def _weights(lowered: LoweredCost) -> RowWeights:
    return RowWeights(factors=lowered.factors, given=lowered.given, divisor=lowered.divisor)


def _add_softmax(low: Lowering, cost: SoftMaxCrossEntropy, z: Buffer, to: LoweredCost) -> None:
    targets = Targets(
        classes=to.classes, shares=to.shares, hard=to.hard,
        weights=class_weights(cost.weight_numbers, to.columns, low.real), kept=1 - cost.label_smoothing,
        smoothing=cost.label_smoothing, counts=_weights(to),
    )  # fmt: skip
    piece = cut(to.rows, TASKS)
    low.program.add(
        "cost.softmax_cross_entropy", cut(to.rows, piece), z=z, targets=targets, y=to.outputs, dz=to.dz,
        terms=to.terms, m=Rows(rows=to.rows, columns=to.columns, piece=piece),
    )  # fmt: skip


def _add_values(low: Lowering, cost: Any, z: Buffer, to: LoweredCost) -> None:
    kind = KINDS[type(cost)]
    weights = (cost.weights if kind == SIGMOID else None) or (1.0, 1.0)
    w0, w1 = (np.resize(np.array(one, low.real), to.columns if kind == SIGMOID else 1) for one in weights)
    values = Values(
        targets=to.shares, kind=kind, w0=w0, w1=w1, delta=getattr(cost, "delta", 0.0), counts=_weights(to),
    )  # fmt: skip
    piece = cut(to.rows, TASKS)
    low.program.add(
        "value_cost.judge", cut(to.rows, piece), BLOCK, z=z, v=values, y=to.outputs, dz=to.dz, terms=to.terms,
        m=Rows(rows=to.rows, columns=to.columns, piece=piece),
    )  # fmt: skip


def class_weights(weights: Sequence[float] | None, columns: int, dtype: Any) -> Array:
    """Return the weight of each class."""
    return np.ones(columns, dtype) if weights is None else np.array(weights, dtype)


def costs_of(terms: Array) -> Array:
    """Return the costs of rows whose terms are these, (N,), or [others, dot, share] of `kernels/cost.py`, (N, 3)."""
    if terms.ndim == 1:
        return terms
    others, dot, share = terms.T
    costs: Array = share * np.log1p(others) - dot
    return costs


def total_cost(terms: Array, divisor: float) -> Array:
    """Return the cost of rows with these terms."""
    total = np.add.reduce(costs_of(terms), dtype="float64")
    cost: Array = (total / divisor if divisor else np.float64(0)).astype(terms.dtype)
    return cost
