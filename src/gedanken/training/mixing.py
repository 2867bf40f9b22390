"""Whether a cost of the user's own judges each sample by itself, and each place of sequences that have lengths.

What a sample costs may depend neither on the mini-batch that it is in nor on what it is padded with.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gedanken.costs import Cost
from gedanken.errors import GedankenError
from gedanken.metrics.base import HOST
from gedanken.types import Array

NOISE = 0.1, 0.01  # on outputs beside the given ones: those of a network that has not learnt may be all the same


@np.errstate(all="ignore")
def samples_mixed(cost: Cost, y: Array, target: Array) -> tuple[Any, Any] | None:
    """Return what a cost gives for samples together and one by one, costs or slopes, where that differs.

    Args:
        cost: the cost.
        y, target: (N, ...), channels last, on the host.
    """

    def both(at: Array) -> Iterator[tuple[Any, Any]]:
        together = cost.entries(HOST, at, target) if cost.by_entries else _means(cost, at, target)
        rows = [slice(place, place + 1) for place in range(len(at))]
        if cost.by_entries:
            each = [cost.entries(HOST, at[row], target[row]) for row in rows]
            yield from zip(together, map(np.concatenate, zip(*each, strict=True)), strict=True)
        elif getattr(together[1], "shape", None) == at.shape:  # else the first step says what is wrong with it
            costs, slopes = zip(*(_means(cost, at[row], target[row]) for row in rows), strict=True)
            yield together[0], np.mean(costs)
            yield together[1], np.concatenate(slopes)

    return _first_that_differs(both, y)


@np.errstate(all="ignore")
def places_mixed(cost: Cost, y: Array, target: Array) -> tuple[Any, Any] | None:
    """Return costs or slopes of real places with one padding and another, where these differ.

    The later half of the places is taken for padding, with outputs of 0, as a network has them there, and others.

    Args:
        cost: the cost.
        y, target: (N, T, ...), on the host; of places where these are all of the axes that the costs have.
    """
    if not cost.by_entries or y.ndim < 2 or y.shape[1] < 2:
        return None
    real = -(-y.shape[1] // 2)
    padded = target.copy()
    if target.shape[:2] == y.shape[:2]:
        padded[:, real:] = target[:, :1]

    def both(at: Array) -> Iterator[tuple[Any, Any]]:
        ended = at.copy()
        ended[:, real:] = 0
        given = zip(cost.entries(HOST, ended, target), cost.entries(HOST, at, padded), strict=True)
        yield from ((one[:, :real], other[:, :real]) for one, other in given)

    return _first_that_differs(both, y)


def alike(one: Any, other: Any) -> bool:
    """Return whether these are the same up to rounding, or are no numbers."""
    try:
        one, other = np.asarray(one, float), np.asarray(other, float)
    except (TypeError, ValueError):
        return True
    return bool(one.shape == other.shape and np.allclose(one, other, rtol=1e-4, atol=1e-7, equal_nan=True))


def _means(cost: Cost, y: Array, target: Array) -> tuple[Any, Any]:
    """Return the mean cost of a cost with a call of its own, and the slopes of the sum."""
    mean, slopes = cost(HOST, y, target)
    return mean, slopes * len(y)


def _first_that_differs(both: Callable[[Array], Iterator[tuple[Any, Any]]], y: Array) -> tuple[Any, Any] | None:
    """Return the first pair that differs, near some outputs: of these themselves, or of some beside them."""
    rng = np.random.default_rng(0)
    for scale in (0.0, *NOISE):
        noise = rng.standard_normal(y.shape)
        try:
            found = next((pair for pair in both(y + scale * noise) if not alike(*pair)), None)
        except GedankenError:
            raise
        except Exception:
            if not scale:
                raise
            continue  # the user's function may not know such outputs
        if found:
            return found
    return None
