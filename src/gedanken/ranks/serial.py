"""One rank by itself: what a script has that nobody launched."""

import sys
from typing import NoReturn

from gedanken.ranks.communicator import Communicator, Window
from gedanken.types import Array


class Serial(Communicator):
    """The only rank there is."""

    rank, size, local = 0, 1, 1
    survives, numbers = False, (0,)

    def add(self, vector: Array) -> None:
        pass

    def broadcast(self, vector: Array, root: int = 0) -> None:
        pass

    def gather(self, value: bytes) -> list[bytes]:
        return [value]

    def send(self, vector: Array, to: int, tag: int = 0) -> None:
        raise AssertionError("there is no other rank")

    def receive(self, vector: Array, source: int, tag: int = 0) -> None:
        raise AssertionError("there is no other rank")

    def swap(self, vector: Array, other: int, into: Array) -> None:
        raise AssertionError("there is no other rank")

    def window(self, values: Array) -> Window:
        return _Own(values.copy())

    def barrier(self) -> None:
        pass

    def failed(self) -> frozenset[int]:
        return frozenset()

    def shrink(self, well: bool = False) -> Communicator:
        return self

    def abort(self, reason: str) -> NoReturn:
        sys.exit(reason)


class _Own(Window):
    def __init__(self, values: Array) -> None:
        self._values = values

    def add(self, rank: int, start: int, values: Array) -> None:
        self._values[start : start + len(values)] += values

    def get(self, rank: int, start: int, out: Array) -> None:
        out[...] = self._values[start : start + len(out)]

    def advance(self, rank: int, place: int, by: float) -> float:
        before = float(self._values[place])
        self._values[place] += by
        return before

    def close(self) -> None:
        pass
