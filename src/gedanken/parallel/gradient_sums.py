"""The sum of all ranks' gradients, made while the backward pass still computes others."""

import itertools
import threading
import time
from queue import SimpleQueue

from gedanken.ranks.beside import Beside, Readable
from gedanken.ranks.communicator import Communicator
from gedanken.ranks.together import Together
from gedanken.types import Array

BUCKET = 1 << 21  # bytes that are added up at once: so many that a network's latency counts for little


class GradientSums:
    """Adds up a vector of gradients over ranks, in parts (buckets) from its end to its begin.

    The backward pass comes to the last layers first. Buckets that it has left behind are added up by a thread, which
    says all that ranks say of gradients. On a single machine there is nothing to hide: to add up is work of the same
    processors, and one sum behind the pass is the least of it.

    Args:
        grads: the vector.
        ordered: numbers at its begin that lie in the order of layers; those behind are of all layers.
        ranks: who adds up.
        readable: where the vector lies, if ranks of this machine may read it.
    """

    def __init__(self, grads: Array, ordered: int, ranks: Communicator, readable: Readable | None = None) -> None:
        self._grads, self._ordered, self._readable = grads, ordered, readable
        self._met = False
        self._beside: Beside | None = None
        self._ranks = self._adder = ranks
        self._thread: threading.Thread | None = None
        self._apart = ranks.local < ranks.size and grads.nbytes > BUCKET
        starts = [*range(0, ordered, BUCKET // grads.itemsize)] if self._apart else []
        early = [grads[start:end] for start, end in itertools.pairwise([*starts, ordered])][::-1]
        self._buckets = [*early, grads[ordered if early else 0 :]]
        self._passes = {counts: Together(ranks, early, self._passed, counts) for counts in (True, False)}
        self._counts, self._handed = True, 0
        self._given, self._done = SimpleQueue[Array | None](), SimpleQueue[BaseException | None]()

    def among(self, left: Communicator) -> "GradientSums":
        """Return the same among the ranks that are left, when the thread no longer writes: its calls have ended."""
        self._given.put(None)
        if self._thread:
            self._thread.join()
        return GradientSums(self._grads, self._ordered, left, self._readable)

    def begin(self, part: int, whole: int) -> Together:
        """Return a pass with a share of so many samples of a mini-batch; where it is none, any sample stands for it.

        It is collective.
        """
        if not self._met:
            self._meet()
        self._counts, self._handed = part > 0, 0
        together = self._passes[self._counts]
        together.part, together.whole = part, whole
        return together

    def _meet(self) -> None:
        self._met = True
        if self._apart and (second := self._ranks.second()):
            self._adder = second
            self._thread = threading.Thread(target=self._work, name="gedanken-gradients", daemon=True)
            self._thread.start()
        if self._readable and 1 < self._ranks.size == self._ranks.local:
            self._beside = self._readable.beside(self._ranks, self._grads)

    def finish(self) -> None:
        """Wait, behind a pass, until all gradients are the sums, or may become them by `complete`.

        Raises:
            RankError: another rank is lost.
        """
        self._passed(len(self._buckets) - 1)
        if self._thread:
            begun = time.perf_counter()
            errors = [self._done.get() for _ in self._buckets]
            self._ranks.seconds += time.perf_counter() - begun
            for error in filter(None, errors):
                raise error

    def complete(self) -> None:
        """Let all gradients be the sums, where `finish` did not: when ranks of one machine have told of their passes.

        Nobody writes to them before ranks have said something again.

        Raises:
            RankError: another rank is lost.
        """
        if self._beside:
            self._beside.add()

    def close(self) -> None:
        """Let the thread end."""
        self._given.put(None)

    def _passed(self, number: int) -> None:
        """Add up the buckets up to this one."""
        for bucket in self._buckets[self._handed : number + 1]:
            self._handed += 1
            if not self._counts:
                bucket[...] = 0
            if self._thread:
                self._given.put(bucket)
            elif not self._beside:
                self._adder.add(bucket)

    def _work(self) -> None:
        while (bucket := self._given.get()) is not None:
            try:
                self._adder.add(bucket)
            except BaseException as error:
                self._done.put(error)
            else:
                self._done.put(None)
