"""Ranks of MPI, by mpi4py: whatever MPI it finds. The only file that imports it."""

import importlib
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

from gedanken.errors import MissingPackageError
from gedanken.ranks.communicator import Communicator, RankError, Window
from gedanken.types import Array

FORWARDED = 0.5  # seconds in which a launcher passes on what was written, which it forgets when it ends all


def world() -> "Mpi":
    """Return this process's side of the ranks that its launcher started.

    Raises:
        MissingPackageError: there is no mpi4py, or no MPI that it finds.
    """
    try:
        rc = importlib.import_module("mpi4py").rc
        rc.thread_level = "multiple"
        library = importlib.import_module("mpi4py.MPI")  # starts MPI
    except (ImportError, RuntimeError) as error:
        raise MissingPackageError(f"ranks need mpi4py and an MPI: pip install gedanken[mpi] ({error})") from error
    return Mpi(library, library.COMM_WORLD)


class Mpi(Communicator):
    """One rank of an MPI communicator, which is duplicated: what a script of the user's sends is not mixed with ours.

    Args:
        library: the module mpi4py.MPI.
        comm: the communicator.
    """

    def __init__(self, library: Any, comm: Any) -> None:
        self._library, self._comm = library, comm.Dup()
        self._comm.Set_errhandler(library.ERRORS_RETURN)
        self.rank, self.size = self._comm.Get_rank(), self._comm.Get_size()
        machine = self._comm.Split_type(library.COMM_TYPE_SHARED)
        self.local = machine.Get_size()
        machine.Free()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Make RankErrors of MPI's."""
        try:
            yield
        except self._library.Exception as error:
            raise RankError(f"MPI could not go on: {error.Get_error_string()}", self.failed()) from error

    def add(self, vector: Array) -> None:
        with self._told():
            self._comm.Allreduce(self._library.IN_PLACE, vector)

    def broadcast(self, vector: Array, root: int = 0) -> None:
        with self._told():
            self._comm.Bcast(vector, root)

    def gather(self, value: bytes) -> list[bytes]:
        with self._told():
            lengths = np.empty(self.size, np.int64)
            self._comm.Allgather(np.array([len(value)]), lengths)
            out = np.empty(int(lengths.sum()), np.uint8)
            self._comm.Allgatherv(np.frombuffer(value, np.uint8), (out, lengths))
        ends = np.cumsum(lengths)
        return [out[end - length : end].tobytes() for end, length in zip(ends, lengths, strict=True)]

    def send(self, vector: Array, to: int, tag: int = 0) -> None:
        with self._told():
            self._comm.Send(vector, to, tag)

    def receive(self, vector: Array, source: int, tag: int = 0) -> None:
        with self._told():
            self._comm.Recv(vector, source, tag)

    def swap(self, vector: Array, other: int, into: Array) -> None:
        with self._told():
            self._comm.Sendrecv(vector, other, 0, into, other, 0)

    def window(self, values: Array) -> Window:
        with self._told():
            return _Remote(self._library, self._comm, values)

    def barrier(self) -> None:
        with self._told():
            self._comm.Barrier()

    def failed(self) -> frozenset[int]:
        try:
            lost, own = self._comm.Get_failed(), self._comm.Get_group()
        except (AttributeError, NotImplementedError, self._library.Exception):  # an MPI without fault tolerance
            return frozenset()
        ranks = self._library.Group.Translate_ranks(lost, range(lost.Get_size()), own)
        return frozenset(rank for rank in ranks if rank >= 0)

    def shrink(self) -> Communicator:
        try:
            with self._told():
                self._comm.Revoke()
                return Mpi(self._library, self._comm.Shrink())
        except (AttributeError, NotImplementedError) as error:
            raise RankError("this MPI cannot go on without a rank: it has no fault tolerance") from error

    def abort(self, reason: str) -> NoReturn:
        sys.stderr.write(f"{reason}\n")
        sys.stderr.flush()
        time.sleep(FORWARDED)
        self._library.COMM_WORLD.Abort(1)
        os._exit(1)


class _Remote(Window):
    def __init__(self, library: Any, comm: Any, values: Array) -> None:
        self._library = library
        self._window = library.Win.Allocate(values.nbytes, values.itemsize, comm=comm)
        np.frombuffer(self._window.tomemory(), values.dtype)[...] = values
        comm.Barrier()

    def add(self, rank: int, start: int, values: Array) -> None:
        with self._locked(rank):
            self._window.Accumulate(values, rank, (start, len(values)), self._library.SUM)

    def get(self, rank: int, start: int, out: Array) -> None:
        with self._locked(rank):
            self._window.Get(out, rank, (start, len(out)))

    @contextmanager
    def _locked(self, rank: int) -> Iterator[None]:
        self._window.Lock(rank, self._library.LOCK_SHARED)
        try:
            yield
        finally:
            self._window.Unlock(rank)

    def close(self) -> None:
        self._window.Free()
