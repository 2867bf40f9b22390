"""What ranks say to each other in the middle of a pass, where each has a share of one mini-batch."""

from collections.abc import Callable, Sequence

import numpy as np

from gedanken.ranks.communicator import Communicator
from gedanken.types import Array


class Together:
    """One rank's side of a training pass that several make over their shares of a mini-batch.

    All ranks make the same calls in the same order. One without a share goes along with any sample, which counts for
    nothing.

    Args:
        ranks: who makes the pass.
        buckets: parts of the vector of gradients, in the order in which they are added up.
        passed: is told, by its number, of a bucket that the backward pass has left behind; so are those before it.
        counts: whether this rank has a share.
    """

    def __init__(
        self,
        ranks: Communicator,
        buckets: Sequence[Array] = (),
        passed: Callable[[int], None] | None = None,
        counts: bool = True,
    ) -> None:
        self._ranks, self.rank, self.size = ranks, ranks.rank, ranks.size
        self.buckets, self.passed, self.counts = buckets, passed, counts
        self.part, self.whole = 0, 0  # samples of this rank's share, and of the mini-batch

    @property
    def share(self) -> float:
        """The share of the samples that is this rank's."""
        return self.part / self.whole if self.counts else 0.0

    def add(self, vector: Array) -> None:
        """Replace a vector by the sum of those of all shares."""
        if not self.counts:
            vector[...] = 0
        self._ranks.add(vector)

    def shares(self, divisors: Sequence[float]) -> list[float]:
        """Return which shares of costs are this rank's, by what each cost's sum is divided by here; 0 where it is 0."""
        own = np.array(divisors if self.counts else [0.0] * len(divisors))
        whole = own.copy()
        self.add(whole)
        return [float(part / all_of) if all_of else 0.0 for part, all_of in zip(own, whole, strict=True)]

    def all_moments(self, own: Array, count: float) -> tuple[Array, Array]:
        """Return the moments of all shares, and of how many numbers each is.

        Shapes:
            own: (M,), moments of this rank's numbers.   results: (size, M) and (size,).
        """
        found = np.zeros((self.size, own.size + 1), own.dtype)
        found[self.rank, :-1], found[self.rank, -1] = own, count
        self.add(found)
        return found[:, :-1], found[:, -1]
