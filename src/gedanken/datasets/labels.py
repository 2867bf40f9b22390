"""What loaders return, class numbers as one-hot rows, and the division into training and test parts."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from gedanken.checks import real, seed_of_draws
from gedanken.random import Purpose, permutation
from gedanken.types import Array

Split: TypeAlias = tuple[Array, Array, Array, Array]  # train_data, train_labels, test_data, test_labels


def one_hot(numbers: Array, classes: int) -> Array:
    """Return rows that are 1 at the class and 0 elsewhere.

    Shapes:
        numbers: (N,), whole numbers of 0 ... classes - 1.   result: (N, classes), float32.
    """
    rows = np.zeros((len(numbers), classes), np.float32)
    rows[np.arange(len(numbers)), numbers] = 1
    return rows


def held_out(numbers: Array, classes: Sequence[str], test: float, seed: int) -> Array:
    """Return which samples are for testing: of every class its share, drawn at random.

    Shapes:
        numbers: (N,), of the class of each sample.   result: (N,), bool.

    Raises:
        ArgumentError: `test` is not in (0, 1), or `seed` not a whole number >= 0.
    """
    share, seed = real("test", test, "(0, 1)"), seed_of_draws("seed", seed)
    held = np.zeros(len(numbers), bool)
    for number, name in enumerate(classes):
        members = np.flatnonzero(numbers == number)
        members = members[permutation(seed, Purpose.DATASET, len(members), place=f"split.{name}")]
        most = len(members) - 1
        held[members[: min(max(round(share * len(members)), 1), most)]] = True
    return held
