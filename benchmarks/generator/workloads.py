"""The items of the benchmark: every loader calls `Work.item`, whatever it does around it.

    http     20 ms of waiting for a server, then the decoding of a PNG of 28 x 28 pixels
    python   2 ms of a loop in Python, which holds the interpreter's lock
    frames   (3, 180, 320) float32 that is there already: all the time goes into its transport
    tiny     16 float32 that are there already: all the time goes into the loader itself

An item of "frames" is the one cached frame, not a product in a buffer that is used again: most loaders keep the 128
items of a mini-batch until they stack them, so 128 items in one buffer would be wrong, and 128 buffers of their own
would measure the allocator. The label is the index of the item, so that the order can be checked.
"""

import functools
import http.client
import os
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

BATCH = 128
PICTURE = (28, 28)
FRAME = (3, 180, 320)
SMALL = (16,)

Item = tuple[np.ndarray, int]

_own = threading.local()


class Work(NamedTuple):
    """What an item is. It goes to worker processes as it is."""

    name: str
    port: int = 0  # of the server
    loops: int = 0  # of Python that last as long as they should, see `calibrated`

    def item(self, index: int) -> Item:
        return ITEMS[self.name](self, index)

    def batch(self, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return the mini-batch of these items, made one after the other."""
        return stack([self.item(index) for index in indices])

    def prepare(self) -> None:
        """Do what a program has done when it makes its loader: modules are imported, data in memory are there."""
        if self.name == "http":
            decoder()
        if self.name in ("frames", "tiny"):
            self.item(0)

    @property
    def shape(self) -> tuple[int, ...]:
        return {"http": PICTURE, "frames": FRAME}.get(self.name, SMALL)

    @property
    def dtype(self) -> str:
        return "uint8" if self.name == "http" else "float32"


def stack(items: Sequence[Item]) -> tuple[np.ndarray, np.ndarray]:
    """Return a mini-batch."""
    return np.stack([one[0] for one in items]), np.array([one[1] for one in items])


@functools.cache
def decoder() -> Callable:
    """Return the function that opens pictures."""
    from PIL import Image  # noqa: PLC0415 - the other workloads do without

    return Image.open


def fetched(work: Work, index: int) -> Item:
    """Return the decoded answer of the server; each thread keeps a connection."""
    connection = _connection(work.port)
    connection.request("GET", f"/{index}")
    with decoder()(connection.getresponse()) as picture:
        return np.asarray(picture), index


def _connection(port: int) -> http.client.HTTPConnection:
    key = os.getpid(), port  # a forked process must not talk through its parent's connection
    if getattr(_own, "key", None) != key:
        _own.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        _own.key = key
    return _own.connection


def computed(work: Work, index: int) -> Item:
    """Return the result of a loop in Python."""
    return np.full(SMALL, spin(work.loops, index), np.float32), index


def spin(loops: int, start: int) -> int:
    """Count; nobody wants the result."""
    total = start
    for number in range(loops):
        total = (31 * total + number) & 0xFFFF
    return total


@functools.cache
def frame() -> np.ndarray:
    """Return the one frame."""
    return np.random.default_rng(0).random(FRAME, np.float32)


@functools.cache
def pieces() -> list[np.ndarray]:
    """Return the tiny items."""
    return list(np.random.default_rng(0).random((1024, *SMALL), np.float32))


ITEMS: dict[str, Callable[[Work, int], Item]] = {
    "http": fetched,
    "python": computed,
    "frames": lambda _, index: (frame(), index),
    "tiny": lambda _, index: (pieces()[index & 1023], index),
}
