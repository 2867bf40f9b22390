"""The ranks that this process is one of."""

import os

from gedanken.ranks.communicator import Communicator
from gedanken.ranks.serial import Serial

RANKS = "GEDANKEN_RANKS"  # how many the launcher has started, in the environment of each until it has joined
END = b"the end of the script"  # what a rank says where others may ask for something else
_SERIAL = Serial()
_joined: list[tuple[int, Communicator]] = []  # the process that has joined, and its side


def join(ranks: Communicator) -> None:
    """Let this process be one of some ranks; what it starts is none."""
    _joined[:] = [(os.getpid(), ranks)]
    os.environ.pop(RANKS, None)


def joined() -> Communicator:
    """Return this process's side of the ranks of its launcher; of one that nobody launched, a rank by itself."""
    return next((ranks for process, ranks in _joined if process == os.getpid()), _SERIAL)


def go_on(left: Communicator, before: Communicator) -> None:
    """Let those that are left be what this process is one of, where it was one of those before."""
    if joined() is before:
        join(left)
