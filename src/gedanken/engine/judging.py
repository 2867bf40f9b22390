"""A cost at work: what a cost of the user's own gives is looked at."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gedanken.checks import require
from gedanken.costs import Cost
from gedanken.costs.base import Judged, Weighing
from gedanken.costs.heads import HeadsCost
from gedanken.layers.border import guarded, sealed, taken
from gedanken.ops import Ops
from gedanken.ranks.together import Together
from gedanken.types import Array


def shares_of(together: Together, cost: Cost, weighings: Sequence[Weighing]) -> list[float]:
    """Return which share of each cost's gradient a rank's part of a mini-batch has: 1 of a sum, else d_r / sum(d_r).

    Args:
        together: the pass.
        cost: the cost, of several heads or not.
        weighings: how each head's cost was made here, whose divisor is d_r.
    """
    costs = [*cost.costs.values()] if isinstance(cost, HeadsCost) else [cost]
    if all(of.factor is None and one.reduction != "weighted_mean" for one, of in zip(costs, weighings, strict=True)):
        found = [together.share] * len(costs)  # all entries count alike, on all ranks
    else:
        found = together.shares([one.divisor for one in weighings])
    return [float(together.counts) if one.sums else share for one, share in zip(costs, found, strict=True)]


def judged(
    cost: Cost,
    ops: Ops,
    y: Any,
    target: Any,
    weight: Array | None,
    lengths: Any,
    together: Together | None = None,
) -> Judged:
    """Return the cost of outputs, its gradient, and how it was made; a cost of the user's own may give anything.

    Args:
        cost: the cost.
        ops: the device's primitives.
        y, target, weight, lengths: as of `Cost.__call__`.
        together: of a pass of several ranks: the gradient is this one's share of the whole mini-batch's.
    """
    if isinstance(cost, HeadsCost):
        own = lengths or {}
        each = {
            name: judged(one, ops, y.parts[name], target.parts[name], weight, own.get(name))
            for name, one in cost.costs.items()
        }
        if together:
            shares = shares_of(together, cost, [one.weighing for one in each.values()])
            each = {name: _part(one, share) for (name, one), share in zip(each.items(), shares, strict=True)}
        return cost.together(each, len(y))
    name = str(cost)
    found: Judged = guarded(name, "outputs and labels", cost.judged, ops, sealed(y), sealed(target), weight, lengths)
    number = found.cost
    real = isinstance(number, (int, float)) or getattr(number, "dtype", np.dtype("O")).kind in "fiub"
    require(real and getattr(number, "shape", ()) == (), f"the cost of {name}", "be a real number", number)
    dy = taken(name, "give a gradient of the outputs' shape {}", found.dy, y.shape, y, ops)
    found = found._replace(dy=dy)
    return _part(found, shares_of(together, cost, [found.weighing])[0]) if together else found


def _part(found: Judged, share: float) -> Judged:
    return found._replace(dy=found.dy * found.dy.dtype.type(share))
