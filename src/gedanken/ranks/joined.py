"""The ranks that this process is one of."""

import os

from gedanken.ranks.communicator import Communicator
from gedanken.ranks.serial import Serial

RANKS = "GEDANKEN_RANKS"  # how many the launcher has started, in the environment of each
_serial = Serial()


def joined() -> Communicator:
    """Return this process's side of the ranks of its launcher; of one that nobody launched, a rank by itself.

    Raises:
        MissingPackageError: it was launched, and there is no mpi4py.
    """
    if RANKS not in os.environ:
        return _serial
    from gedanken.ranks.mpi import world  # noqa: PLC0415 - most processes are alone

    return world()
