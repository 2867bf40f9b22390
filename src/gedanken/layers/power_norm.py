"""The p-norm of what a window sees, and its derivative."""

from typing import Any

import numpy as np

from gedanken.types import Array


def norm(xp: Any, values: Array, power: float, axis: int) -> Array:
    """Return (sum of |values| ** power) ** (1 / power) along an axis, in float64.

    Values are divided by the largest first, so that no power overflows or vanishes where the result does not.
    """
    sizes = abs(values.astype("float64"))
    most = sizes.max(axis=axis, keepdims=True)
    scale = xp.where((most > 0) & (most < np.inf), most, 1)
    return ((sizes / scale) ** power).sum(axis=axis) ** (1 / power) * scale.squeeze(axis)


def slope(xp: Any, values: Array, result: Array, power: float) -> Array:
    """Return the derivative of a norm by some of its values: sign(x) * (|x| / result) ** (power - 1), 0 for x = 0."""
    return xp.sign(values) * (abs(values) / xp.where(result == 0, 1, result)) ** (power - 1)
