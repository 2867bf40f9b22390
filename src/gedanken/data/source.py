"""Mini-batches out of arrays, in an order that is a function of seed and epoch."""

import math
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np

from gedanken.random import Purpose, permutation
from gedanken.types import Array


class Batch(NamedTuple):
    """One mini-batch.

    Args:
        x: (N, ...), inputs as at the door.
        target: (N, ...), as the cost takes it.
        position: place of the first sample in the epoch's order.
    """

    x: Array
    target: Array
    position: int


class Source(Protocol):
    """Anything that gives the mini-batches of an epoch; what `fit` reads."""

    samples: int

    def __len__(self) -> int:
        """Return the number of mini-batches in an epoch."""

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield the mini-batches of epoch number `epoch`, counted from 0."""


class ArraySource:
    """Mini-batches of two arrays; the last one is smaller where they do not come out even.

    Args:
        x: (N, ...), inputs.
        target: (N, ...), targets.
        mini_batch_size: samples in a mini-batch, at least 1.
        shuffle: whether each epoch has an order of its own.
        seed: seed of these orders.
    """

    def __init__(self, x: Array, target: Array, mini_batch_size: int, shuffle: bool = False, seed: int = 0) -> None:
        self.x, self.target = x, target
        self.samples = len(x)
        self.mini_batch_size, self.shuffle, self.seed = mini_batch_size, shuffle, seed

    def __len__(self) -> int:
        return math.ceil(self.samples / self.mini_batch_size)

    def batches(self, epoch: int) -> Iterator[Batch]:
        order = permutation(self.seed, Purpose.ORDER, self.samples, epoch) if self.shuffle else None
        for start in range(0, self.samples, self.mini_batch_size):
            part = slice(start, start + self.mini_batch_size)
            if order is None:
                yield Batch(self.x[part], self.target[part], start)
            else:  # `take` is faster than an index
                yield Batch(self.x.take(order[part], axis=0), self.target.take(order[part], axis=0), start)


def hold_out(x: Array, target: Array, fraction: float, seed: int) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Split samples at random, by `seed`, into those to train on and a `fraction` to validate on.

    Both parts keep the order of the data; neither is empty.
    """
    count = min(max(round(len(x) * fraction), 1), len(x) - 1)
    chosen = np.zeros(len(x), dtype=bool)
    chosen[permutation(seed, Purpose.HOLD_OUT, len(x))[:count]] = True
    return (x[~chosen], target[~chosen]), (x[chosen], target[chosen])
