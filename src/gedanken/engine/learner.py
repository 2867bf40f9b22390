"""What learns from many mini-batches in one go, and what it is told and tells."""

from typing import Any, NamedTuple, Protocol

from gedanken.types import Array


class Sharing(NamedTuple):
    """How parameters are changed that other workers change at the same time.

    Args:
        mode: "racy", "atomic" or "locked".
        lock: (1,), a whole number in memory that all share; with "locked" `me` while this worker writes, else 0.
        me: the worker, from 1 on.
    """

    mode: str
    lock: Array
    me: int


class Learnt(NamedTuple):
    """What came of a run of mini-batches.

    Args:
        scores: (N, ...), outputs of all samples of those that were learnt from; the rest is anything.
        batches: how many were learnt from; the next one's scores are not finite, if there is one.
        collisions: numbers that another worker changed between reading and writing; counted with "atomic" alone.
    """

    scores: Array
    batches: int
    collisions: int


class Learner(Protocol):
    """What learns from many mini-batches in one go: forward pass, gradient and update."""

    def takes(self, mini_batch_size: int) -> bool:
        """Return whether it knows mini-batches of this size."""

    def written(self, x: Any) -> int:
        """Return how many numbers are written to, learning from these samples."""

    def learn(self, x: Any, target: Array, size: int, rates: Array, sharing: Sharing | None = None) -> Learnt:
        """Learn from mini-batches of `size` samples, one for each rate, and end before one that is not finite."""
