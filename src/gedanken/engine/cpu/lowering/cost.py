"""The cost as a part of a program, between the forward and the backward pass."""

import math
from collections.abc import Callable
from typing import Any

from gedanken.costs import CTC, Cost, Dice, SoftMaxCrossEntropy, Tversky
from gedanken.costs.likeness import Overlap
from gedanken.engine.cpu.kernels.blocks import Rows
from gedanken.engine.cpu.lowering.base import TASKS, Lowering, cut
from gedanken.engine.cpu.lowering.lowered_cost import LoweredCost, class_weights
from gedanken.engine.cpu.lowering.row_cost import ROWS, alignment, overlap, row_cost
from gedanken.engine.cpu.lowering.value_cost import VALUES, value_cost
from gedanken.engine.cpu.program import Buffer
from gedanken.types import Shape


def has_kernel(cost: Cost) -> bool:
    """Return whether a cost can be a part of a program."""
    return type(cost) in KNOWN


def entries_of(cost: Cost, shape: Shape) -> Shape:
    """Return the shape of the costs of outputs of a shape."""
    if type(cost) in VALUES:
        return shape
    return shape[:1] if isinstance(cost, (CTC, Overlap)) else shape[:-1]


def lower_cost(low: Lowering, cost: Cost, z: Buffer) -> LoweredCost:
    """Lower a cost of scores z."""
    return KNOWN[type(cost)](low, cost, z)


def _softmax_cross_entropy(low: Lowering, cost: Any, z: Buffer) -> LoweredCost:
    rows, columns = math.prod(z.shape[:-1]), z.shape[-1]
    to = LoweredCost.of(low, low.buffer(z.shape), rows, z.shape, (rows, 3))
    targets = to.targets(class_weights(cost.weight_numbers, columns, low.real), cost.label_smoothing)
    piece = cut(rows, TASKS)
    low.program.add(
        "cost.softmax_cross_entropy", cut(rows, piece), z=z, targets=targets, y=to.outputs, dz=to.dz, terms=to.terms,
        m=Rows(rows=rows, columns=columns, piece=piece),
    )  # fmt: skip
    return to


# All costs of the package but HeadsCost, which is several, and CustomCost, whose functions are the user's.
KNOWN: dict[type[Cost], Callable[[Lowering, Any, Buffer], LoweredCost]] = {
    SoftMaxCrossEntropy: _softmax_cross_entropy,
    Dice: overlap,
    Tversky: overlap,
    CTC: alignment,
    **dict.fromkeys(VALUES, value_cost),
    **dict.fromkeys(ROWS, row_cost),
}
