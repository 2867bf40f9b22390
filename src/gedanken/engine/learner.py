"""What learns from many mini-batches in one go, and what it is told and tells."""

from typing import Any, NamedTuple, Protocol

from gedanken.types import Array

OF_RUNS = "per-coordinate", "round-robin"  # the ways to share that learners alone know


class Sharing(NamedTuple):
    """How parameters are changed that other workers change at the same time.

    Args:
        mode: "racy", "atomic", "locked", "per-coordinate" or "round-robin".
        me: the worker, from 1 on.
        lock: (3,), whole numbers in memory that all share, 0 at first: `me` of who writes, with "locked"; with
            "round-robin" how many have begun a mini-batch, and how many of these have ended it.
        each: (Learner.rows + 1,), `me` of who writes to a row, with "per-coordinate".
    """

    mode: str
    me: int
    lock: Array
    each: Array


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

    @property
    def rows(self) -> int:
        """Of the matrices that it changes row by row, all together."""

    def curvature(self, x: Any) -> Array | None:
        """Return the mean second derivative of the cost of one sample by each parameter, about; None: not known.

        Args:
            x: some samples.
        """

    def takes(self, mini_batch_size: int) -> bool:
        """Return whether it knows mini-batches of this size."""

    def written(self, x: Any) -> int:
        """Return how many numbers are written to, learning from these samples."""

    def learn(self, x: Any, target: Array, size: int, rates: Array, sharing: Sharing | None = None) -> Learnt:
        """Learn from mini-batches of `size` samples, one for each rate, and end before one that is not finite."""
