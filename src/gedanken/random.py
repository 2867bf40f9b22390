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
FEW = 1 << 13  # draws that are sorted at once


class Purpose(IntEnum):
    """What a draw is for; draws of different purposes never meet."""

    WEIGHTS = 1
    ORDER = 2
    DROPOUT = 3
    AUGMENTATION = 4
    HOLD_OUT = 5
    DATASET = 6
    MINI_BATCH = 7


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


def permutation(seed: int, purpose: Purpose, size: int, epoch: int = 0, place: str = "") -> Array:
    """Return a random order of range(size): the stable sorting order of `size` draws of 64 bits.

    Of 8,192 draws and more their upper 32 bits are looked at, which are nearly always different.

    Shapes:
        result: (size,), int64.
    """
    keys = np.atleast_1d(_philox(seed, purpose, place, epoch).random_raw(size))
    if size < FEW:
        return np.argsort(keys, kind="stable")
    # Digit by digit, the lower first: of 16 bits NumPy counts instead of comparing.
    digits = keys.astype("<u8", copy=False).view("<u2").reshape(size, 4)
    order = np.argsort(np.ascontiguousarray(digits[:, 2]), kind="stable")
    return order[np.argsort(digits[order, 3], kind="stable")]


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
