"""Random numbers that are a function of where they are used, not of when.

Every draw comes from the counter-based generator Philox 4x64-10, whose key and counter say what it is for:

    key     = (seed, purpose * 2**32 + crc32(place))
    counter = (block, 0, epoch, 0)

`place` is the path of a layer or parameter ("3", "5.layers.0.kernel"). A draw that belongs to a sample starts at
block = position * blocks_per_sample, where position is the sample's place in the epoch's order. Nothing is
remembered between draws, so a validation pass, a further worker or a resumed run meets the same numbers, and a
kernel can compute them where it needs them.

Source:
    Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3". NumPy's Philox counts up before the first
    block, so block b is generated from counter b + 1.
"""

import contextlib
import math
import random
import struct
import sys
import zlib
from enum import IntEnum
from typing import Final

import numpy as np

from gedanken.types import Array

DRAWS_PER_BLOCK: Final = 16  # a block is 256 bits, a draw 16
DRAW_RANGE: Final = 1 << 16
NORMALS_PER_BLOCK: Final = 8  # two for each word of 64 bits
FEW = 1 << 13  # numbers that are sorted
ROUNDS, TOGETHER = 6, 1 << 13  # of more of them; places that go through the rounds at once, in the fast caches


class Purpose(IntEnum):
    """What a draw is for; draws of different purposes never meet."""

    WEIGHTS = 1
    ORDER = 2
    DROPOUT = 3
    AUGMENTATION = 4
    HOLD_OUT = 5
    DATASET = 6
    MINI_BATCH = 7
    CHECK = 8
    NOISE = 9


def stream_key(seed: int, purpose: Purpose, place: str) -> Array:
    """Return the two words of the generator's key."""
    return np.array([seed, (purpose << 32) | zlib.crc32(_bytes(place))], dtype=np.uint64)


def _bytes(place: str) -> bytes:
    # A name of the file system may be no text; the same bytes count however the system reads them.
    try:
        return place.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return place.encode(errors="surrogatepass")


def _philox(seed: int, purpose: Purpose, place: str, epoch: int, block: int = 0) -> "np.random.Philox":
    key = stream_key(seed, purpose, place)
    counter = np.array([block, 0, epoch, 0], dtype=np.uint64)
    return np.random.Philox(key=key, counter=counter)


def generator(seed: int, purpose: Purpose, place: str = "", epoch: int = 0) -> "np.random.Generator":
    """Return a NumPy Generator that starts at the given place of the stream."""
    return np.random.Generator(_philox(seed, purpose, place, epoch))


def call_generator(seed: int, purpose: Purpose, epoch: int, index: int, number: int = 0) -> "np.random.Generator":
    """Return a NumPy Generator for one call of `get_mini_batches`, or for one sample of it.

    Its counter is (block, index, epoch, number), so no two of them meet.
    """
    key = stream_key(seed, purpose, "")
    counter = np.array([0, index, epoch, number], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


class Permutation:
    """A random order of range(size), of which any part is found by itself.

    Fewer than 8,192 numbers are in the stable sorting order of as many draws of 64 bits. More of them are not sorted: a
    place x = b * l + r, 0 <= l < a, 0 <= r < b, goes through six rounds, each of which adds a random function of one
    half to the other, and so parts no two places and joins none:

        l = (l + f1(r)) mod a,   r = (r + f2(l)) mod b,   l = (l + f3(r)) mod a, ...   with a = ceil(sqrt(size))

    A place that leaves range(size), which is hardly smaller than a * b, goes through them again.

    Args:
        seed, purpose, epoch, place: what it is for.
        size: how many numbers, at least 1.

    Source:
        Black & Rogaway 2002, "Ciphers with arbitrary finite domains", section 4.
    """

    def __init__(self, seed: int, purpose: Purpose, size: int, epoch: int = 0, place: str = "") -> None:
        self.size = size
        source = _philox(seed, purpose, place, epoch)
        self._whole: Array | None = None
        if size < FEW:
            self._whole = np.argsort(np.atleast_1d(source.random_raw(size)), kind="stable")
            return
        a = math.isqrt(size - 1) + 1
        b = -(-size // a)
        draws = source.random_raw(ROUNDS * a).reshape(ROUNDS, a) >> np.uint64(32)
        self._b, moduli = b, (a, b) * (ROUNDS // 2)
        self._functions = [
            (row * np.uint64(modulus) >> np.uint64(32)).astype(np.intp)
            for row, modulus in zip(draws, moduli, strict=True)
        ]
        self._moduli = [np.uint64(modulus) for modulus in moduli]

    def part(self, start: int, stop: int) -> Array:
        """Return the numbers in places `start` to `stop` - 1 of the order.

        Shapes:
            result: (stop - start,), int64.
        """
        if self._whole is not None:
            return self._whole[start:stop]
        found: Array = np.empty(stop - start, np.int64)
        for first in range(start, stop, TOGETHER):
            places = self._through_rounds(np.arange(first, min(first + TOGETHER, stop)))
            while (outside := np.flatnonzero(places >= self.size)).size:
                places[outside] = self._through_rounds(places[outside])
            found[first - start : first - start + len(places)] = places
        return found

    def _through_rounds(self, places: Array) -> Array:
        moved = places // self._b
        still = places - moved * self._b
        for function, modulus in zip(self._functions, self._moduli, strict=True):
            moved += function.take(still)
            whole = moved.view(np.uint64)  # below the modulus a difference wraps around to more
            np.minimum(whole, whole - modulus, out=whole)
            still, moved = moved, still
        return moved * self._b + still


def permutation(seed: int, purpose: Purpose, size: int, epoch: int = 0, place: str = "") -> Array:
    """Return all of a Permutation.

    Shapes:
        result: (size,), int64.
    """
    return Permutation(seed, purpose, size, epoch, place).part(0, size)


def sample_draws(seed: int, purpose: Purpose, place: str, epoch: int, position: int, samples: int, each: int) -> Array:
    """Return `each` draws for every one of `samples` samples, the first of them at `position`.

    Shapes:
        result: (samples, each), uint16, uniform on 0 ... 65535.
    """
    blocks = -(-each // DRAWS_PER_BLOCK)
    source = _philox(seed, purpose, place, epoch, position * blocks)
    raw = source.random_raw(samples * blocks * 4)
    draws: Array = raw.astype("<u8", copy=False).view("<u2").reshape(samples, blocks * DRAWS_PER_BLOCK)
    return draws[:, :each]


def sample_normals(
    seed: int, purpose: Purpose, place: str, epoch: int, position: int, samples: int, each: int
) -> Array:
    """Return `each` numbers of a normal distribution for every one of `samples` samples, the first at `position`.

    A word of 64 bits gives two: with u the lowest 24 bits plus 1 and v the highest 24, both / 2**24,

        r = sqrt(-2 log(u)),   r cos(2 pi v)   and   r sin(2 pi v)

    Fractions of 24 bits are numbers of float32 too, so a kernel of either type starts from the same ones.

    Shapes:
        result: (samples, each), float64.

    Source:
        Box & Muller 1958, "A note on the generation of random normal deviates".
    """
    blocks = -(-each // NORMALS_PER_BLOCK)
    raw = _philox(seed, purpose, place, epoch, position * blocks).random_raw(samples * blocks * 4)
    radius = np.sqrt(-2 * np.log(((raw & np.uint64(0xFFFFFF)) + np.uint64(1)) / 2**24))
    angle = 2 * math.pi * ((raw >> np.uint64(40)) / 2**24)
    pairs: Array = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    return pairs.reshape(samples, blocks * NORMALS_PER_BLOCK)[:, :each]


def reseed(seed: int, epoch: int, index: int) -> None:
    """Seed the global generators of `random`, of NumPy, and of PyTorch where it is loaded, for one call.

    For processes that belong to the library: global generators of a program are its own. Calls of one epoch get
    different seeds.
    """
    number = zlib.crc32(struct.pack("<QQQ", seed, epoch, index))
    random.seed(number)
    with contextlib.suppress(TypeError):  # the program gave NumPy another bit generator
        np.random.seed(number)  # noqa: NPY002 - for users' code that draws from it
    if torch := sys.modules.get("torch"):
        torch.manual_seed(number)
