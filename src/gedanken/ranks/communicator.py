"""What the ranks of a training say to each other: about ten calls, whatever carries them."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import NoReturn

from gedanken.errors import GedankenError
from gedanken.types import Array

DEADLINE = 10.0  # seconds for which a rank may be silent


class RankError(GedankenError, RuntimeError):
    """A call among ranks cannot end: others are lost, or were silent for too long.

    Attributes:
        lost: the ranks to blame, as far as they are known.
        survivable: whether it came of a call, and those that are left can go on after `Communicator.shrink`.
    """

    def __init__(self, message: str, lost: Iterable[int] = (), survivable: bool = False) -> None:
        super().__init__(message)
        self.lost, self.survivable = frozenset(lost), survivable


class Window(ABC):
    """Numbers of a rank's that every rank may read and add to, without the owner's help."""

    @abstractmethod
    def add(self, rank: int, start: int, values: Array) -> None:
        """Add values to those of a rank from place `start` on; each number by itself is added whole."""

    @abstractmethod
    def get(self, rank: int, start: int, out: Array) -> None:
        """Read those of a rank from place `start` on; each number by itself is read whole."""

    @abstractmethod
    def advance(self, rank: int, place: int, by: float) -> float:
        """Add to one number of a rank's, and return what it was right before."""

    @abstractmethod
    def close(self) -> None:
        """Give the numbers back; every rank calls it."""


class Communicator(ABC):
    """One rank's side of what `size` ranks say to each other.

    `add`, `broadcast`, `gather`, `window`, `barrier` and `shrink` are collective: every rank calls them, in one order.
    Arrays are C-contiguous, of the same length and type on all ranks that take part in a call.

    Attributes:
        rank: which one this is, 0 to size - 1.
        size: how many there are.
        local: how many of them are on this machine.
        seconds: how long calls have taken so far.
        survives: whether those that are left can go on after a loss, by `shrink`.
        numbers: which rank each of them was when all were started.

    Raises:
        RankError: of any call, where another rank is lost or silent.
    """

    rank: int
    size: int
    local: int
    survives: bool
    numbers: tuple[int, ...]
    seconds: float = 0.0

    @abstractmethod
    def add(self, vector: Array) -> None:
        """Replace a vector by the sum of all ranks' vectors: the same bits on each."""

    @abstractmethod
    def broadcast(self, vector: Array, root: int = 0) -> None:
        """Replace a vector by that of rank `root`."""

    @abstractmethod
    def gather(self, value: bytes) -> list[bytes]:
        """Return what each rank gave, in the order of ranks, on every rank."""

    @abstractmethod
    def send(self, vector: Array, to: int, tag: int = 0) -> None:
        """Send numbers to another rank, which may not have asked yet; `vector` may be changed afterwards."""

    @abstractmethod
    def receive(self, vector: Array, source: int, tag: int = 0) -> None:
        """Fill a vector with what another rank sends, by the same tag in the order in which it was sent."""

    @abstractmethod
    def swap(self, vector: Array, other: int, into: Array) -> None:
        """Send a vector to another rank, and fill one with what that rank sends meanwhile, both with tag 0.

        So ranks that send to each other do not wait for each other, however long the vectors are.
        """

    @abstractmethod
    def window(self, values: Array) -> Window:
        """Let all ranks read and add to values of each rank, which begin as these."""

    def second(self) -> "Communicator | None":
        """Return another side of the same ranks, for a thread of its own; None where one thread says all.

        It is collective when it is asked for first.
        """
        return None

    @abstractmethod
    def barrier(self) -> None:
        """Wait until all ranks are here."""

    @abstractmethod
    def failed(self) -> frozenset[int]:
        """Return the ranks that are known to be lost."""

    @abstractmethod
    def shrink(self, well: bool = False) -> "Communicator":
        """Return what the ranks that are left say to each other, numbered anew in the same order.

        Ranks come here after different calls: what one that is not well calls from here on, and what others still wait
        for, ends with a RankError, so that all come. All get the same answer.

        Args:
            well: whether this rank misses nobody. Where all ranks are here and say so, the answer is this communicator.
        """

    @abstractmethod
    def abort(self, reason: str) -> NoReturn:
        """End all ranks at once."""
