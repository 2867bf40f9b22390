"""Vectors of ranks of one machine, which all of them can read: a sum takes a third of the time of messages."""

import itertools
import mmap
import os
from collections.abc import Sequence

import numpy as np

from gedanken.processes.memory import Descriptor, mapped, reserved_memory
from gedanken.ranks.communicator import Communicator
from gedanken.types import Array


class Readable:
    """Memory for one vector of this rank's, which other ranks of the machine may come to read."""

    def __init__(self) -> None:
        self._memory: Descriptor | None = None
        self._mapped: mmap.mmap | None = None

    def vector(self, numbers: int, dtype: np.dtype[np.generic]) -> Array | None:
        """Return a vector of zeros there; None where there is no such memory."""
        nbytes = numbers * dtype.itemsize
        try:
            self._memory = reserved_memory(max(nbytes, 1), "gradients")
            self._mapped = mapped(self._memory)
        except (MemoryError, OSError):
            return None
        return np.frombuffer(self._mapped, dtype, numbers)

    def beside(self, ranks: Communicator, own: Array) -> "Beside | None":
        """Return what adds up the vectors of all ranks; None where one of them cannot read another's.

        Args:
            ranks: who has one; it is collective.
            own: this rank's.
        """
        place = f"/proc/{os.getpid()}/fd/{self._memory.fd}" if self._memory else ""
        vectors = list[Array]()
        try:
            for rank, content in enumerate(ranks.gather(place.encode())):
                vectors.append(own if rank == ranks.rank else _opened(content.decode(), own))
        except (OSError, ValueError):
            vectors = []
        agreed = all(ranks.gather(b"1" if vectors else b""))
        return Beside(ranks, vectors) if agreed else None

    def close(self) -> None:
        """Give the descriptor up; what is mapped stays as long as arrays of it."""
        if self._memory:
            self._memory.close()
        self._memory = self._mapped = None


def _opened(path: str, like: Array) -> Array:
    """Return another rank's vector, of the size and type of ours."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        return np.frombuffer(mmap.mmap(fd, max(like.nbytes, 1)), like.dtype, like.size)
    finally:
        os.close(fd)


class Beside:
    """The vectors of all ranks, of one machine.

    Args:
        ranks: whose.
        vectors: by rank.
    """

    def __init__(self, ranks: Communicator, vectors: Sequence[Array]) -> None:
        self._ranks, self._vectors = ranks, vectors
        count, size = vectors[0].size, ranks.size
        edges = itertools.pairwise(count * rank // size for rank in range(size + 1))
        self._parts = [slice(begin, end) for begin, end in edges]

    def add(self) -> None:
        """Let each rank's vector become the sum of all: each adds up a part, in the order of ranks, for all.

        All ranks have said something since they wrote to their vectors, and will again before they do so next.
        """
        own, part = self._vectors[self._ranks.rank], self._parts[self._ranks.rank]
        with np.errstate(all="ignore"):
            total = self._vectors[0][part] + self._vectors[1][part]
            for other in self._vectors[2:]:
                total += other[part]
        own[part] = total
        self._ranks.barrier()
        for vector, place in zip(self._vectors, self._parts, strict=True):
            if vector is not own:
                own[place] = vector[place]
