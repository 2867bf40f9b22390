"""Memory that processes share: without a name, so nothing is left behind whoever is killed."""

import mmap
import os
import tempfile
from collections.abc import Sequence
from multiprocessing import reduction
from typing import Any

from gedanken.processes.refused import granted

CACHE_LINE = 64  # bytes: each array begins at such a border


def rounded_up(size: int, border: int) -> int:
    """Return the least multiple of `border` that is no less than `size`."""
    return -(-size // border) * border


class Descriptor:
    """A file descriptor that is handed to a process when it is started."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __reduce__(self) -> tuple[Any, tuple[Any]]:
        return _received, (reduction.DupFd(self.fd),)

    def close(self) -> None:
        """Give it up; what is mapped of it stays."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _received(fd: Any) -> Descriptor:
    return Descriptor(fd.detach())


def unnamed_memory(size: int = 0) -> Descriptor:
    """Return memory without a name, which other processes can map and which goes with its last user."""
    if hasattr(os, "memfd_create"):
        found = Descriptor(os.memfd_create("gedanken"))
    else:
        with tempfile.TemporaryFile() as file:
            found = Descriptor(os.dup(file.fileno()))
    os.ftruncate(found.fd, size)
    return found


def resize(memory: Descriptor, size: int, what: str) -> None:
    """Set the size of shared memory.

    Raises:
        MemoryError: there may not be so much.
    """
    try:
        os.ftruncate(memory.fd, size)
    except OSError as error:
        raise MemoryError(f"no {size:,} bytes of shared memory for {what}: {error.strerror}") from error


def reserve(memory: Descriptor, start: int, size: int, what: str) -> None:
    """Reserve this part now, so that a full memory is an error here and not SIGBUS at the first write.

    Raises:
        MemoryError: there is not enough.
    """
    if hasattr(os, "posix_fallocate") and size:
        try:
            os.posix_fallocate(memory.fd, start, size)
        except OSError as error:
            raise MemoryError(f"no {size:,} bytes of shared memory for {what}: {error.strerror}") from error


def reserved_memory(size: int, what: str) -> Descriptor:
    """Return memory without a name that is all there.

    Raises:
        MemoryError: there is not enough for it, called `what`.
    """
    with granted(f"there can be no memory for {what}"):
        found = unnamed_memory()
    try:
        resize(found, size, what)
        reserve(found, 0, size, what)
    except MemoryError:
        found.close()
        raise
    return found


def mapped(memory: Descriptor, private: bool = False) -> mmap.mmap:
    """Return all of the memory as a buffer; what is written to a private one stays unseen by others."""
    access = mmap.ACCESS_COPY if private else mmap.ACCESS_WRITE
    with granted("shared memory cannot be used"):
        return mmap.mmap(memory.fd, os.fstat(memory.fd).st_size, access=access)


def places_of(parts: Sequence[memoryview]) -> tuple[tuple[tuple[int, int], ...], int]:
    """Return start and size of each part, such that arrays begin where processors like it, and the size of all."""
    places, at = [], 0
    for part in parts:
        places.append((at, part.nbytes))
        at += rounded_up(part.nbytes, CACHE_LINE)
    return tuple(places), at
