"""Costs that take the outputs of an entry together: the kernel of each, and what it is told."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gedanken.costs import (
    CTC,
    CategoricalHinge,
    CosineDistance,
    Cost,
    CrossEntropy,
    Focal,
    GaussianNLL,
    KullbackLeibler,
    MultiLabelMargin,
    MultiMargin,
)
from gedanken.costs.base import LEAST
from gedanken.costs.likeness import Overlap
from gedanken.engine.cpu.kernels.alignment import EDGE, TOLD, Alignment
from gedanken.engine.cpu.kernels.blocks import Rows
from gedanken.engine.cpu.kernels.dice import ROOM, Regions
from gedanken.engine.cpu.kernels.row_cost import Margin, Shares, Variance
from gedanken.engine.cpu.kernels.value_cost import BLOCK
from gedanken.engine.cpu.lowering.base import TASKS, Lowering, cut
from gedanken.engine.cpu.lowering.lowered_cost import LoweredCost, class_weights
from gedanken.engine.cpu.program import Buffer


class Told(NamedTuple):
    """Which kernel of `kernels/row_cost.py` a cost is, and what it is told.

    Args:
        kernel: its name.
        numbers: of its formula, by the names of the kernel's parameters.
        weights, smoothing: of the classes.
        outputs: for each value of the target.
    """

    kernel: str
    numbers: Mapping[str, Any]
    weights: Sequence[float] | None = None
    smoothing: float = 0.0
    outputs: int = 1


def _classes(cost: Any, gamma: float = 0.0, smoothing: float = 0.0) -> Told:
    return Told("cross_entropy", {"p": Shares(least=LEAST, gamma=gamma)}, cost.weight_numbers, smoothing)


def _margin(cost: Any) -> Told:
    return Told("multi_margin", {"p": Margin(margin=cost.margin, squared=int(cost.power == 2))}, cost.weight_numbers)


ROWS: dict[type[Cost], Callable[[Any], Told]] = {
    CrossEntropy: lambda cost: _classes(cost, smoothing=cost.label_smoothing),
    Focal: lambda cost: _classes(cost, gamma=cost.gamma),
    KullbackLeibler: lambda _: Told("kullback_leibler", {"least": LEAST}),
    CosineDistance: lambda cost: Told("cosine", {"epsilon": cost.epsilon}),
    MultiMargin: _margin,
    MultiLabelMargin: lambda _: Told("multi_label_margin", {}),
    CategoricalHinge: lambda _: Told("categorical_hinge", {}),
    GaussianNLL: lambda cost: Told(
        "gaussian", {"p": Variance(epsilon=cost.epsilon, full=int(cost.full))}, outputs=2
    ),
}  # fmt: skip


def row_cost(low: Lowering, cost: Cost, z: Buffer) -> LoweredCost:
    """Lower a cost of the rows of z, one for each sample or place."""
    told, (*places, columns) = ROWS[type(cost)](cost), z.shape
    rows = math.prod(places)
    to = LoweredCost.of(low, z, rows, (*places, columns // told.outputs), (rows,))
    targets = to.targets(class_weights(told.weights, columns, low.real), told.smoothing)
    piece = cut(rows, TASKS)
    low.program.add(
        f"row_cost.{told.kernel}", cut(rows, piece), max(2 * columns, BLOCK), z=z, targets=targets, dz=to.dz,
        terms=to.terms, m=Rows(rows=rows, columns=columns, piece=piece), **told.numbers,
    )  # fmt: skip
    return to


def overlap(low: Lowering, cost: Overlap, z: Buffer) -> LoweredCost:
    """Lower the Dice or Tversky cost of samples z."""
    samples, *places, columns = z.shape
    to, piece = LoweredCost.of(low, z, samples, z.shape, (samples,)), cut(samples, TASKS)
    weights = class_weights(cost.weight_numbers, columns, np.dtype("float64"))
    regions = Regions(
        places=math.prod(places), smooth=cost.smooth, ignores=int(cost.ignore_label is not None),
        ignored=cost.ignore_label or 0, **cost.ratio._asdict(),
    )  # fmt: skip
    low.program.add(
        "dice.judge", cut(samples, piece), ROOM * columns, z=z,
        targets=to.targets((weights / weights.sum()).astype(low.real)), dz=to.dz, terms=to.terms,
        m=Rows(rows=samples, columns=columns, piece=piece), r=regions,
    )  # fmt: skip
    return to


def alignment(low: Lowering, cost: CTC, z: Buffer) -> LoweredCost:
    """Lower the cost of label sequences, a task for each sample."""
    samples, places, columns = z.shape
    to = LoweredCost.of(low, z, samples, (samples, TOLD + places, 1), (samples,))
    row = 2 * places + 1 + EDGE  # a sample with more labels than places fits nowhere
    low.program.add(
        "alignment.judge", samples, (2 * places + 7) * row, z=z,
        targets=to.targets(class_weights(None, columns, low.real)), dz=to.dz, terms=to.terms,
        m=Rows(rows=samples, columns=columns, piece=1),
        a=Alignment(places=places, blank=cost.blank, infinite=0.0 if cost.zero_infinity else np.inf),
    )  # fmt: skip
    return to
