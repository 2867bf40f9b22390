"""The same sample twice: in training and validation, or with two labels. Samples are compared by a digest."""

import hashlib
import math
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from gedanken.by_name import ByName, parts_of
from gedanken.checkup.samples import Looked, numbers_of, rows_of, some
from gedanken.sequences import as_padded
from gedanken.sparse import SparseRows
from gedanken.types import Array

TRAINED, VALIDATED = 1 << 17, 1 << 12  # samples that are compared
BYTES = 1 << 28  # and bytes of the former
SECONDS = 1.0
AT_ONCE = 1 << 20  # numbers brought into one form
FEW_VALUES, FEW_NUMBERS = 16, 8  # samples of so few different values, or whole numbers, may come again by chance


class Twins(NamedTuple):
    """What was found.

    Args:
        trained, validated: samples that were compared.
        leaked: samples of the validation set that stand among those trained on, too.
        repeated: samples trained on that came before.
        conflicting: those of them that had another label then.
        chance: whether samples are made of so few different values that the same one may come again by chance.
    """

    trained: int = 0
    validated: int = 0
    leaked: int = 0
    repeated: int = 0
    conflicting: int = 0
    chance: bool = False


def twins(train: Looked, validation: Looked | None, dtype: Any, seed: int) -> Twins:
    """Compare samples trained on with each other, and those of the validation set with them.

    Args:
        train, validation: where they come from.
        dtype: number type in which they are compared; whole numbers stay so.
        seed: of the choice, where there are too many.
    """
    ends = time.monotonic() + SECONDS
    first, repeated, conflicting, compared = dict[bytes, bytes](), 0, 0, 0
    for digest, label in _digests(train, TRAINED, dtype, seed):
        compared += 1
        if digest in first:
            repeated += 1
            conflicting += first[digest] != label
        first.setdefault(digest, label)
        if compared % 1024 == 0 and time.monotonic() > ends:
            break
    held = [digest for digest, _ in _digests(validation, VALIDATED, dtype, seed)] if validation else []
    leaked = sum(digest in first for digest in held)
    return Twins(compared, len(held), leaked, repeated, conflicting, _by_chance(train.x))


def _digests(looked: Looked, most: int, dtype: Any, seed: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield digest and label of all samples or, of too many, of a random choice."""
    source = looked.source
    each = numbers_of(source.x)
    places = some(source.samples, min(most, max(1, BYTES // (4 * max(1, each)))), seed)
    step = max(1, AT_ONCE // max(1, each))
    for start in range(0, len(places), step):
        x, target = rows_of(source, places[start : start + step])
        labels = zip(*parts_of(target), strict=True)
        for row, label in zip(_rows(x, dtype), labels, strict=True):
            yield hashlib.blake2b(row, digest_size=16).digest(), b"".join(one.tobytes() for one in label)


def _rows(x: Any, dtype: Any) -> Iterator[bytes]:
    if isinstance(x, ByName):
        yield from map(b"".join, zip(*(_rows(part, dtype) for part in parts_of(x)), strict=True))
        return
    if isinstance(x, SparseRows):
        for begin, end in zip(x.begins.tolist(), x.ends.tolist(), strict=True):
            yield x.columns[begin:end].tobytes() + x.values[begin:end].astype(dtype).tobytes()
        return
    x = as_padded(x)
    same: Array = np.ascontiguousarray(x.reshape(len(x), -1))
    same = same.astype(dtype if same.dtype.kind == "f" else np.int64)
    same += 0  # of -0.0 it makes 0.0
    yield from map(bytes, same)


def _by_chance(x: Any) -> bool:
    few = x[:1024]
    if isinstance(few, ByName):
        return all(map(_by_chance, parts_of(few)))
    if isinstance(few, SparseRows):
        _, _, values = few.listed()
        return len(np.unique(values)) <= FEW_VALUES
    few = as_padded(few)
    short = math.prod(few.shape[1:]) <= FEW_NUMBERS and bool((few == np.floor(few)).all())
    return short or len(np.unique(few)) <= FEW_VALUES
