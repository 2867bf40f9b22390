"""What workers need that change one vector at the same time: an addition that loses nothing, and fast small numbers."""

import numpy as np

from gedanken.engine.cpu.engine import kernels_for
from gedanken.engine.cpu.machine import this_machine
from gedanken.engine.cpu.program import call
from gedanken.types import Array


class Merger:
    """Adds what a worker learnt to a vector that others change meanwhile.

    Args:
        dtype: of the vectors.
    """

    def __init__(self, dtype: str) -> None:
        self._library = kernels_for(this_machine(), dtype, "full")
        self._lost = np.zeros(1, np.int64)

    def add(self, shared: Array, before: Array, after: Array) -> None:
        """Add after - before; a number that nobody has changed since becomes `after`, bit for bit."""
        call(self._library, "merge.merge", shared=shared, before=before, after=after, size=after.size)

    def collisions(self, shared: Array, before: Array, after: Array) -> int:
        """Add after - before, and return how many of these additions a plain update would have lost."""
        vectors = {"shared": shared, "before": before, "after": after}
        call(self._library, "merge.collide", **vectors, size=after.size, lost=self._lost)
        return int(self._lost[0])

    def meet(self, shared: Array, mine: Array, before: Array, weights: Array) -> None:
        """Add to `shared` how a copy has changed since `before`, weighted, and make both what is there now."""
        vectors = {"shared": shared, "mine": mine, "before": before, "weights": weights}
        call(self._library, "merge.meet", **vectors, size=mine.size)

    def flush_denormals(self) -> None:
        """Let this thread take denormals as zero from now on: they cost a processor a hundred times the time."""
        if not self._library.interpreter:
            for kind in ("float32", "float64"):
                np.finfo(kind)  # an older NumPy looks at denormals when first asked, and warns where they are zero
            call(self._library, "executor.flush")
