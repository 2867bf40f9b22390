"""Derivatives by differences, to hold others against.

Along a direction d of signs the difference quotient of L has to be sum(g * d), where g is the gradient of L at a:

    (4 D(h / 2) - D(h)) / 3,   D(h) = (L(a + h d) - L(a - h d)) / (2 h)

An error in any one element shows that is not below 1e-7 of the gradient's length. Which one it is, is found by halving
the direction.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gedanken.types import Array

STEP = 1e-5
STEPS = 1e-3, 1e-5, 1e-7  # at which quotients have to agree with each other to prove a gradient wrong
CLOSE = 1e-7  # relative difference along a direction that is accepted


def quotient(value: Callable[[float], float], step: float = STEP) -> float:
    """Return the difference quotient at 0 of a function of one number."""
    coarse, fine = ((value(h) - value(-h)) / (2 * h) for h in (step, step / 2))
    return (4 * fine - coarse) / 3


def signs_like(array: Array) -> Array:
    """Return a direction: 1 or -1 for each number of an array, always the same."""
    return np.where(np.random.default_rng(1).random(array.shape) < 0.5, -1.0, 1.0)


def disproved(slope: float, quotients: Sequence[float], limit: float) -> bool:
    """Say whether difference quotients of several steps prove a slope wrong: they agree, and none is close to it.

    Beside a kink, and where values are rough, they do not agree.

    Args:
        slope: what is looked at.
        quotients: of one place, each with another step.
        limit: what counts as nothing.
    """
    if any(abs(one - slope) <= 1e-4 * max(abs(one), abs(slope)) + limit for one in quotients):
        return False
    return bool(np.ptp(quotients) <= 0.05 * max(map(abs, quotients)) + limit)


def worst_place(off: Callable[[Array], float], direction: Array) -> tuple[Any, ...]:
    """Return the place along which a gradient is wrong the most.

    Args:
        off: how wrong it is along a direction.
        direction: along all of it it is wrong.
    """

    def part(places: Array) -> Array:
        some = np.zeros(direction.size)
        some[places] = direction.reshape(-1)[places]
        return some.reshape(direction.shape)

    chosen = np.arange(direction.size)
    while len(chosen) > 1:
        chosen = max(np.array_split(chosen, 2), key=lambda half: off(part(half)))
    return np.unravel_index(int(chosen[0]), direction.shape)
