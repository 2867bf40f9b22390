"""Parameters that lie in parts on all ranks, each with its sum of squared gradients, and what ranks let others know.

Every rank reads and adds to the parts of all, by the one-sided calls of a Window: nobody waits for another.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from gedanken.ranks.communicator import Communicator
from gedanken.types import Array

PARAMS, SQUARES = 0, 1  # the vectors
VERSION, UPDATES, BATCHES, FACTOR, STOP = range(5)  # the numbers of a rank's head; all but STOP are of rank 0's


class Head(NamedTuple):
    """What rank 0's head says.

    Args:
        version: pushes of all ranks.
        updates: of all ranks that are in the parameters.
        batches: mini-batches of all ranks, likewise.
        factor: what the learning rate is multiplied by.
    """

    version: int
    updates: int
    batches: int
    factor: float


class Shards:
    """Two vectors in as many parts as there are ranks; every rank makes them with the same vectors.

    Part r has the numbers from r * length on, length = ceil(size / ranks); the last parts may be empty.

    Args:
        ranks: who has the parts.
        vectors: PARAMS and SQUARES, of one length and number type.
        factor: what the learning rate is multiplied by.
    """

    def __init__(self, ranks: Communicator, vectors: Mapping[int, Array], factor: float) -> None:
        self._ranks, self._size = ranks, vectors[PARAMS].size
        self._length = max(1, -(-self._size // ranks.size))  # a window has at least one number
        values = np.zeros(2 * self._length, vectors[PARAMS].dtype)
        for kind, vector in vectors.items():
            own = vector[ranks.rank * self._length :][: self._length]
            values[kind * self._length :][: len(own)] = own
        self._numbers = ranks.window(values)
        self._head = ranks.window(np.array([0.0, 0.0, 0.0, factor, 0.0]))
        self._factor = factor

    def read(self, kind: int, vector: Array) -> None:
        """Fill a vector with all parts."""
        for rank, start, cut in self._parts(kind):
            self._numbers.get(rank, start, vector[cut])

    def add(self, kind: int, vector: Array) -> None:
        """Add a vector to all parts."""
        for rank, start, cut in self._parts(kind):
            self._numbers.add(rank, start, vector[cut])

    def _parts(self, kind: int) -> Iterator[tuple[int, int, slice]]:
        """Yield of each part its rank, where it begins there, and its place in the vector; a rank's own first."""
        for number in range(self._ranks.size):
            rank = (self._ranks.rank + number) % self._ranks.size
            start = rank * self._length
            if start < self._size:
                yield rank, kind * self._length, slice(start, start + self._length)

    @property
    def head(self) -> Head:
        """What rank 0's head says now."""
        values = np.empty(FACTOR + 1)
        self._head.get(0, 0, values)
        version, updates, batches = map(int, values[:FACTOR])
        return Head(version, updates, batches, float(values[FACTOR]))

    def count(self, updates: int, batches: int) -> int:
        """Count a push of so many updates and mini-batches, which is there; return how many pushes came before it."""
        self._head.add(0, UPDATES, np.array([updates, batches], np.float64))
        return int(self._head.advance(0, VERSION, 1))

    def set_factor(self, factor: float) -> None:
        """Let all ranks multiply the learning rate by a factor from their next push on; rank 0 alone calls it."""
        if factor != self._factor:
            self._head.add(0, FACTOR, np.array([factor - self._factor]))
            self._factor = factor

    def stop(self) -> None:
        """Ask all ranks to end the epoch."""
        for rank in range(self._ranks.size):
            self._head.add(rank, STOP, np.ones(1))

    @property
    def stopped(self) -> bool:
        """Whether somebody asked; it is seen in the rank's own memory."""
        value = np.empty(1)
        self._head.get(self._ranks.rank, STOP, value)
        return bool(value[0])

    def close(self) -> None:
        """Give the memory back; every rank calls it."""
        self._numbers.close()
        self._head.close()
