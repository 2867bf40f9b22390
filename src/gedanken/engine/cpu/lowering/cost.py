"""The cost as a part of a program, between the forward and the backward pass."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gedanken.costs import SoftMaxCrossEntropy
from gedanken.engine.cpu.kernels.blocks import Rows
from gedanken.engine.cpu.kernels.cost import Targets
from gedanken.engine.cpu.lowering.base import TASKS, Lowering, cut
from gedanken.engine.cpu.program import Buffer, Variable
from gedanken.types import Array


class Judged(NamedTuple):
    """A lowered cost.

    Args:
        classes, shares: the targets, given before every run in one of these two forms.
        hard: 1 for classes, 0 for shares; given likewise.
        outputs: of the network.
        dz: the gradient with respect to the scores.
        terms: what the cost is made of, see `mean_cost`.
    """

    classes: Buffer
    shares: Buffer
    hard: Variable
    outputs: Buffer
    dz: Buffer
    terms: Buffer


def softmax_cross_entropy(low: Lowering, cost: SoftMaxCrossEntropy, z: Buffer) -> Judged:
    """Lower SoftMax and cross-entropy on scores z (N, C)."""
    rows, columns = z.shape
    piece = cut(rows, TASKS)
    classes, shares, hard = low.program.input((rows,), "int64"), low.program.input(z.shape), Variable()
    outputs, dz, terms = low.buffer(z.shape), low.buffer(z.shape), low.buffer((rows, 3))
    targets = Targets(
        classes=classes, shares=shares, hard=hard, weights=class_weights(cost.class_weights, columns, low.real),
        kept=1 - cost.label_smoothing, smoothing=cost.label_smoothing,
    )  # fmt: skip
    low.program.add(
        "cost.softmax_cross_entropy", cut(rows, piece), z=z, targets=targets, y=outputs, dz=dz, terms=terms,
        m=Rows(rows=rows, columns=columns, piece=piece),
    )  # fmt: skip
    return Judged(classes, shares, hard, outputs, dz, terms)


def class_weights(weights: Sequence[float] | None, columns: int, dtype: Any) -> Array:
    """Return the weight of each class."""
    return np.ones(columns, dtype) if weights is None else np.array(weights, dtype)


def mean_cost(terms: Array) -> Array:
    """Return the mean cost of the samples whose terms (N, 3) are [others, dot, share], see `kernels/cost.py`."""
    others, dot, share = terms.T
    total = np.add.reduce(share * np.log1p(others) - dot, dtype="float64")
    cost: Array = (total / len(terms)).astype(terms.dtype)
    return cost
