"""What loaders return, and class numbers as one-hot rows."""

from typing import TypeAlias

import numpy as np

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
