"""What all costs in a program have in common: where targets and factors are given, and what the cost is made of."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from gedanken.costs.base import Weighing
from gedanken.engine.cpu.kernels.cost import BY_ROW, BY_VALUE, RowWeights, Targets
from gedanken.engine.cpu.lowering.base import Lowering
from gedanken.engine.cpu.program import Buffer, Variable
from gedanken.types import Array, Shape


@dataclass
class LoweredCost:
    """A cost in a program: rows that are judged each by itself.

    Args:
        rows: what has a factor each: samples, or places of them.
        classes, shares: the targets, given before every run in one of these two forms.
        hard: 1 for classes, 0 for shares; given likewise.
        factors, given, divisor: what each row counts, or each value, see `costs.base.Weighing`; given likewise.
        outputs: of the network.
        dz: the gradient with respect to the scores.
        terms: what the cost is made of, see `total_cost`.
    """

    rows: int
    classes: Buffer
    shares: Buffer
    hard: Variable
    factors: Buffer
    given: Variable
    divisor: Variable
    outputs: Buffer
    dz: Buffer
    terms: Buffer

    @classmethod
    def of(cls, low: Lowering, outputs: Buffer, rows: int, target: Shape, terms: Shape) -> Self:
        """Return a cost whose targets have a shape, if they are not class numbers, and whose terms have another."""
        classes, shares = low.program.input((math.prod(target[:-1]),), "int64"), low.program.input(target)
        factors, dz = low.program.input((math.prod(target),)), low.buffer(outputs.shape)
        return cls(
            rows, classes, shares, Variable(), factors, Variable(), Variable(), outputs, dz, low.buffer(terms)
        )  # fmt: skip

    def row_weights(self) -> RowWeights:
        """Return what each row counts, as kernels are told."""
        return RowWeights(factors=self.factors, given=self.given, divisor=self.divisor)

    def targets(self, weights: Array, smoothing: float = 0.0) -> Targets:
        """Return what is wanted of rows of classes with weights, as kernels are told."""
        return Targets(
            classes=self.classes, shares=self.shares, hard=self.hard, weights=weights, kept=1 - smoothing,
            smoothing=smoothing, counts=self.row_weights(),
        )  # fmt: skip

    def point_to(self, target: Array, weighing: Weighing, dtype: Any) -> list[Array]:
        """Say what is wanted in the next run; the arrays that are returned have to live as long."""
        hard = target.ndim < len(self.shares.shape)
        if not hard and target.shape != self.shares.shape:  # several quantiles of one target
            target = np.broadcast_to(target, self.shares.shape)
        place, kind = (self.classes, np.int64) if hard else (self.shares, dtype)
        wanted = np.ascontiguousarray(target, kind)
        place.point_to(wanted)
        self.hard.set(hard)
        factor = weighing.factor if weighing.divisor else np.zeros(1)
        given, factors = (0, np.zeros(1, dtype)) if factor is None else self._spread(factor, dtype)
        self.factors.point_to(factors)
        self.given.set(given)
        self.divisor.set(weighing.divisor or 1.0)
        return [wanted, factors]

    def _spread(self, factor: Array, dtype: Any) -> tuple[int, Array]:
        """Return BY_ROW and the factor of each row, of one of each sample or place; of more than rows of each value."""
        given, count = (BY_ROW, self.rows) if factor.size <= self.rows else (BY_VALUE, math.prod(self.shares.shape))
        return given, np.repeat(np.ascontiguousarray(factor, dtype).reshape(-1), count // factor.size)


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
