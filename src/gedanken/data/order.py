"""In which order the samples of an epoch come, and how samples are divided."""

import numpy as np

from gedanken.random import Permutation, Purpose, permutation
from gedanken.types import Array

AHEAD = 1 << 13  # places of an order that are found at once, if so many will be asked for


class Order:
    """The order of an epoch, found some mini-batches at a time."""

    def __init__(self, seed: int, samples: int, epoch: int) -> None:
        self.epoch = epoch
        self._permutation = Permutation(seed, Purpose.ORDER, samples, epoch)
        self._found: tuple[int, Array] = (0, np.empty(0, np.int64))  # where a part begins, and the part

    def part(self, first: int, last: int, wanted: int) -> Array:
        """Return the places of the samples in a part of the order; what comes up to `wanted` will be asked for next."""
        start, found = self._found
        if not start <= first <= last <= start + len(found):
            start, found = first, self._permutation.part(first, max(last, min(first + AHEAD, wanted)))
            self._found = start, found
        return found[first - start : last - start]


def shared_out(samples: int, place: int, count: int) -> tuple[int, int]:
    """Return begin and end of share number `place` of `count`; where it does not come out even, some have one more.

    >>> [shared_out(5, place, 3) for place in range(3)]
    [(0, 2), (2, 4), (4, 5)]
    """
    return -(-samples * place // count), -(-samples * (place + 1) // count)


def hold_out(samples: int, fraction: float, seed: int) -> tuple[Array, Array]:
    """Return the places of samples to train on, and of a random `fraction` to validate on, by `seed`.

    Both keep the order of the data; neither is empty.
    """
    count = min(max(round(samples * fraction), 1), samples - 1)
    chosen = np.zeros(samples, dtype=bool)
    chosen[permutation(seed, Purpose.HOLD_OUT, samples)[:count]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)
