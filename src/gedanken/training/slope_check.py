"""Whether the slopes of a user's cost are the derivatives of its values, its own or those that autograd finds."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from gedanken.costs import Cost, CustomCost
from gedanken.derivatives import HIDDEN
from gedanken.differences import CLOSE, STEP, STEPS, disproved, quotient, signs_like, worst_place
from gedanken.errors import GedankenError, GradientError
from gedanken.hyperparameters import class_name
from gedanken.ops import Ops
from gedanken.types import Array

FAR, NEAR = 2.0, (0.1, 0.01, 0.001)  # of the noise on outputs, see `check_slopes`
BETWEEN = 0.1, 0.3  # of the way from outputs to their mean
RULE = "must have a function whose derivative autograd finds"
OWN_RULE = "must give as slopes the derivatives of its costs"
OWN_HINT = "where they are meant to be others, say so in a class of your own: exact_gradient = False"
OPS = Ops(np, "float64")


@np.errstate(all="ignore")
def check_slopes(cost: Cost, y: Array, target: Array) -> None:
    """Compare the slopes of a cost of the user's with differences, near some outputs and in float64.

    Several are tried, of which one must be right, since one may lie beside a kink, or where a logarithm is none; and
    wrong is only what differences of several steps agree on. Far from the outputs slopes that autograd finds only have
    to be finite: there is the other side of a `xp.where`.

    Args:
        cost: the cost.
        y, target: (N, ...), channels last, on the host.

    Raises:
        GradientError: slopes are wrong.
    """
    if not cost.exact_gradient:
        return
    found = isinstance(cost, CustomCost) and cost.derivative is None
    wrong = ""
    for near, at in _places(y, far=found):
        try:
            costs, slopes = _judged(cost, at, target)
            if found and not near:
                _check_finite(costs, slopes)
            if not (near and np.isfinite(costs).all() and np.isfinite(slopes).all()):
                continue
            told = _wrong(cost, at, target, slopes)
        except GedankenError:
            raise
        except Exception:  # noqa: S112 - the user's; training will raise it where it matters
            continue
        if told is None:
            return
        wrong = wrong or told
    if wrong:
        rule, hint = (RULE, HIDDEN) if found else (OWN_RULE, OWN_HINT)
        raise GradientError(f"{class_name(cost)} {rule}, but {wrong}; {hint}")


def _places(y: Array, far: bool) -> Iterator[tuple[bool, Array]]:
    """Yield outputs to look at, and whether they are near the given ones.

    First these themselves and some between them, where a cost of probabilities has values; then random ones.

    Args:
        y: the given ones.
        far: whether some far from them come before.
    """
    rng = np.random.default_rng(0)
    if far:
        yield from ((False, y + noise) for noise in _noises(rng, y, FAR))
    yield from ((True, y + share * (y.mean() - y)) for share in (0.0, *BETWEEN))
    yield from ((True, y + noise) for scale in NEAR for noise in _noises(rng, y, scale))


def _noises(rng: np.random.Generator, y: Array, scale: float) -> Iterator[Array]:
    for either_way in (True, False):
        noise = np.asarray(scale * rng.standard_normal(y.shape))
        yield noise if either_way else np.abs(noise)


def _judged(cost: Cost, at: Array, target: Array) -> tuple[Array, Array]:
    """Return costs, one or several, and the slopes of their sum."""
    given: Any = cost.entries(OPS, at.copy(), target) if cost.by_entries else cost(OPS, at.copy(), target)
    return np.asarray(given[0]), np.asarray(given[1])


def _check_finite(costs: Array, slopes: Array) -> None:
    """Raise GradientError where the cost of a sample is finite and its slopes are not."""
    sound = np.atleast_1d(np.isfinite(costs.reshape(len(costs), -1)).all(axis=1))
    for place in np.argwhere(~np.isfinite(slopes)):
        if sound[place[0]]:
            where = tuple(map(int, place))
            raise GradientError(f"CustomCost {RULE}, but dy at {where} is {slopes[where]}; {HIDDEN}")


def _wrong(cost: Cost, at: Array, target: Array, slopes: Array) -> str | None:
    """Return what is wrong with the slopes there, "" where that cannot be told, and None where nothing is."""

    def slope(direction: Array, step: float = STEP) -> float:
        return quotient(lambda h: float(_judged(cost, at + h * direction, target)[0].sum(dtype="float64")), step)

    def off(direction: Array) -> float:
        return abs(slope(direction) - float((slopes * direction).sum()))

    signs, limit = signs_like(slopes), CLOSE * (float(np.linalg.norm(slopes)) + 1e-3 * np.sqrt(slopes.size))
    if not off(signs) > limit:
        return None
    place = worst_place(off, signs)
    alone = np.zeros_like(signs)
    alone[place] = 1
    quotients, got = [slope(alone, step) for step in STEPS], float(slopes[place])
    if disproved(got, quotients, limit):
        return f"dy at {tuple(map(int, place))} is {got:.6g}, the difference quotient {quotients[1]:.6g}"
    return ""
