"""Weights by which rare classes count as much as common ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gedanken.checks import is_list, real, require
from gedanken.errors import ArgumentError, DataError
from gedanken.types import Array

BALANCED = "balanced"
RULE = 'be a list of numbers, one for each class, or "balanced"'


def checked_weights(name: str, given: Any) -> Sequence[float] | str:
    """Return the weights of classes, numbers of at least 0 that are not all 0; or "balanced"."""
    if isinstance(given, str):
        require(given == BALANCED, name, RULE, given)
        return BALANCED
    require(is_list(given), name, RULE, given)
    weights = tuple(real(name, weight, "[0, inf)") for weight in given)
    require(sum(weights) > 0, name, "not all be zero", weights)
    return weights


def numbers_of(weights: Any, cost: Any) -> Any:
    """Return weights that are numbers; an ArgumentError where these are not known yet."""
    if isinstance(weights, str):
        raise ArgumentError(
            f"{cost}: balanced weights are those of the labels that it is trained on; call fit before, or give numbers"
        )
    return weights


def balanced(counts: Array, what: str = "class") -> tuple[float, ...]:
    """Return N / (C * count) for the counts of C classes, of N in all.

    Raises:
        DataError: there is nothing of a class.
    """
    if (counts <= 0).any():
        missing = int(np.argmin(counts))
        raise DataError(f'class_weights="balanced" needs labels of each {what}, there is none of {what} {missing}')
    return tuple((counts.sum(dtype="float64") / (len(counts) * counts.astype("float64"))).tolist())
