"""A cost at work: what a cost of the user's own gives is looked at."""

from typing import Any

import numpy as np

from gedanken.checks import require
from gedanken.costs import Cost
from gedanken.costs.base import Judged
from gedanken.costs.heads import HeadsCost
from gedanken.layers.border import guarded, sealed, taken
from gedanken.ops import Ops
from gedanken.types import Array


def judged(cost: Cost, ops: Ops, y: Any, target: Any, weight: Array | None, lengths: Any) -> Judged:
    """Return the cost of outputs, its gradient, and how it was made; a cost of the user's own may give anything.

    Args:
        cost: the cost.
        ops: the device's primitives.
        y, target, weight, lengths: as of `Cost.__call__`.
    """
    if isinstance(cost, HeadsCost):
        own = lengths or {}
        each = {
            name: judged(one, ops, y.parts[name], target.parts[name], weight, own.get(name))
            for name, one in cost.costs.items()
        }
        return cost.together(each, len(y))
    name = str(cost)
    found: Judged = guarded(name, "outputs and labels", cost.judged, ops, sealed(y), sealed(target), weight, lengths)
    number = found.cost
    real = isinstance(number, (int, float)) or getattr(number, "dtype", np.dtype("O")).kind in "fiub"
    require(real and getattr(number, "shape", ()) == (), f"the cost of {name}", "be a real number", number)
    dy = taken(name, "give a gradient of the outputs' shape {}", found.dy, y.shape, y, ops)
    return found._replace(dy=dy)
