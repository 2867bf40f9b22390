"""Whether the derivative that autograd finds of a cost is that of its values."""

import itertools

import numpy as np

from gedanken.costs import CustomCost
from gedanken.derivatives import HIDDEN
from gedanken.differences import CLOSE, quotient, signs_like, worst_place
from gedanken.errors import GradientError
from gedanken.ops import Ops
from gedanken.types import Array

FAR, NEAR = 2.0, (0.1, 0.01, 0.001)  # of the noise on outputs, see `check_slopes`
RULE = "must have a function whose derivative autograd finds"
OPS = Ops(np, "float64")


@np.errstate(all="ignore")
def check_slopes(cost: CustomCost, y: Array, target: Array) -> None:
    """Compare the cost's slopes with differences, near some outputs and in float64.

    Several are tried, since one may lie beside a kink, or where a logarithm is none. Far from the outputs slopes only
    have to be finite: there is the other side of a `xp.where`.

    Args:
        cost: a cost without a derivative of its own.
        y, target: (N, ...), channels last, on the host.

    Raises:
        GradientError: they differ wherever both can be told.
    """
    rng, wrong = np.random.default_rng(0), ""
    for scale, upwards in itertools.product((FAR, *NEAR), (False, True)):
        noise = scale * rng.standard_normal(y.shape)
        at = y + (abs(noise) if upwards else noise)
        costs, slopes = cost.entries(OPS, at, target)
        _check_finite(costs, slopes)
        if scale != FAR and np.isfinite(costs).all():
            told = _wrong(cost, at, target, slopes)
            if not told:
                return
            wrong = wrong or told
    if wrong:
        raise GradientError(f"CustomCost {RULE}, but {wrong}; {HIDDEN}")


def _check_finite(costs: Array, slopes: Array) -> None:
    """Raise GradientError where the cost of a sample is finite and its slopes are not."""
    sound = np.atleast_1d(np.isfinite(costs.reshape(len(costs), -1)).all(axis=1))
    for place in np.argwhere(~np.isfinite(slopes)):
        if sound[place[0]]:
            where = tuple(map(int, place))
            raise GradientError(f"CustomCost {RULE}, but dy at {where} is {slopes[where]}; {HIDDEN}")


def _wrong(cost: CustomCost, at: Array, target: Array, slopes: Array) -> str:
    """Return what is wrong with the slopes there, or nothing."""

    def slope(direction: Array) -> float:
        return quotient(lambda h: float(cost.entries(OPS, at + h * direction, target)[0].sum()))

    def off(direction: Array) -> float:
        return abs(slope(direction) - float((slopes * direction).sum()))

    signs = signs_like(slopes)
    if not off(signs) > CLOSE * (float(np.linalg.norm(slopes)) + 1e-3 * np.sqrt(slopes.size)):
        return ""
    place = worst_place(off, signs)
    alone = np.zeros_like(signs)
    alone[place] = 1
    return f"dy at {tuple(map(int, place))} is {slopes[place]:.6g}, the difference quotient {slope(alone):.6g}"
