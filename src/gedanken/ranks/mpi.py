"""Ranks of MPI, by mpi4py: whatever MPI it finds. The only file that imports it."""

import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NoReturn

import numpy as np

from gedanken.errors import MissingPackageError
from gedanken.ranks.communicator import Communicator, RankError, Window
from gedanken.types import Array

SHORT = 512  # bytes that a rank says in one call; of more it says only how many they are
TOLERANT = "OMPI_MCA_mpi_ft_enable"  # set by Open MPI's launcher where it was told --with-ft ulfm
NAP = 1e-4  # seconds between two looks of a thread that leaves the processor to others
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
    machine = library.COMM_WORLD.Split_type(library.COMM_TYPE_SHARED)
    here = machine.Get_group()
    machine.Free()
    # What a script of the user's sends is not mixed with ours.
    return Mpi(library, library.COMM_WORLD.Dup(), here)


class Mpi(Communicator):
    """One rank of an MPI communicator. It is made without a word to others, some of which may be lost.

    Args:
        library: the module mpi4py.MPI.
        comm: the communicator.
        here: the group of those that were started on this machine.
    """

    def __init__(self, library: Any, comm: Any, here: Any) -> None:
        self._library, self._comm, self._here = library, comm, here
        self._second: Mpi | None = None
        comm.Set_errhandler(library.ERRORS_RETURN)
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        own, started = comm.Get_group(), library.COMM_WORLD.Get_group()
        self.local = library.Group.Intersection(own, here).Get_size()
        self.numbers = tuple(library.Group.Translate_ranks(own, range(self.size), started))
        self.survives = os.environ.get(TOLERANT) == "1"
        self._said = np.empty((self.size, 8 + SHORT), np.uint8)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Count the seconds of a call, and make RankErrors of MPI's."""
        begun = time.perf_counter()
        try:
            yield
        except self._library.Exception as error:
            lost = self.survives and error.Get_error_class() in self._losses()
            raise RankError(f"MPI could not go on: {error.Get_error_string()}", self.failed(), lost) from error
        finally:
            self.seconds += time.perf_counter() - begun

    def _losses(self) -> tuple[int, ...]:
        """Return the kinds of errors by which an MPI with fault tolerance tells of a loss, here or elsewhere."""
        library = self._library
        return library.ERR_PROC_FAILED, library.ERR_PROC_FAILED_PENDING, library.ERR_REVOKED

    def add(self, vector: Array) -> None:
        with self._told():
            self._comm.Allreduce(self._library.IN_PLACE, vector)

    def broadcast(self, vector: Array, root: int = 0) -> None:
        with self._told():
            self._comm.Bcast(vector, root)

    def gather(self, value: bytes) -> list[bytes]:
        said = len(value).to_bytes(8, "little") + value[:SHORT].ljust(SHORT)
        with self._told():
            self._comm.Allgather(said, self._said)
            lengths = self._said[:, :8].copy().view(np.int64)[:, 0]
            if lengths.max() <= SHORT:
                return [one[8 : 8 + length].tobytes() for one, length in zip(self._said, lengths, strict=True)]
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
            return _Remote(self._library, self._comm, values, self._told)

    def second(self) -> Communicator:
        if self._second is None:
            with self._told():
                self._second = _Patient(self._library, self._comm.Dup(), self._here)
        return self._second

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

    def shrink(self, well: bool = False) -> Communicator:
        if not self.survives:
            raise RankError("this MPI cannot go on without a rank: it has no fault tolerance")
        try:
            if not well:
                self._comm.Revoke()
                if self._second:
                    self._second._comm.Revoke()
            if self._all(well):
                return self
            return Mpi(self._library, self._comm.Shrink(), self._here)
        except self._library.Exception as error:
            raise RankError(f"MPI cannot go on without a rank: {error.Get_error_string()}", self.failed()) from error

    def _all(self, well: bool) -> bool:
        """Say the same on all ranks: whether all are there and well."""
        try:
            return bool(self._comm.Agree(int(well)))
        except self._library.Exception as error:
            if error.Get_error_class() not in self._losses():
                raise
            return False

    def abort(self, reason: str) -> NoReturn:
        sys.stderr.write(f"{reason}\n")
        sys.stderr.flush()
        time.sleep(FORWARDED)
        self._library.COMM_WORLD.Abort(1)
        os._exit(1)


class _Patient(Mpi):
    """The side of a thread that leaves the processor to those who compute: MPI itself waits by looking on and on."""

    def add(self, vector: Array) -> None:
        with self._told():
            request = self._comm.Iallreduce(self._library.IN_PLACE, vector)
            while not request.Test():
                time.sleep(NAP)


class _Remote(Window):
    """Numbers in memory that MPI knows.

    One lock, which any number of ranks may have, is taken for good: to take it is to wait until the owner next calls
    MPI, and what comes after it is not.
    """

    def __init__(
        self, library: Any, comm: Any, values: Array, told: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._library, self._dtype, self._told = library, values.dtype, told
        self._window = library.Win.Allocate(values.nbytes, values.itemsize, comm=comm)
        self._window.Lock_all(library.MODE_NOCHECK)
        np.frombuffer(self._window.tomemory(), values.dtype)[...] = values
        self._window.Sync()
        comm.Barrier()

    def add(self, rank: int, start: int, values: Array) -> None:
        with self._done(rank):
            self._window.Accumulate(values, rank, (start, len(values)), self._library.SUM)

    def get(self, rank: int, start: int, out: Array) -> None:
        with self._done(rank):
            # A plain Get beside additions of others is undefined.
            unused = np.empty_like(out)
            self._window.Get_accumulate(unused, out, rank, (start, len(out)), self._library.NO_OP)

    def advance(self, rank: int, place: int, by: float) -> float:
        before = np.empty(1, self._dtype)
        with self._done(rank):
            self._window.Fetch_and_op(np.array([by], self._dtype), before, rank, place, self._library.SUM)
        return float(before[0])

    @contextmanager
    def _done(self, rank: int) -> Iterator[None]:
        """Wait for what is asked for within."""
        with self._told():
            yield
            self._window.Flush(rank)

    def close(self) -> None:
        with self._told():
            self._window.Unlock_all()
            self._window.Free()
