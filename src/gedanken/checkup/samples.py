"""The samples that are looked at: some, at random, so that data of any size take little time."""

import contextlib
import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gedanken.by_name import ByName, parts_of
from gedanken.data.batches import ArraySource, Batch, GeneratorSource, Source, taken
from gedanken.data.generator import runner_of
from gedanken.random import Purpose, generator
from gedanken.sequences import Sequences
from gedanken.sparse import SparseRows
from gedanken.types import Array

MOST = 4096  # samples whose numbers are looked at
NUMBERS = 1 << 22  # and numbers in them
LEAST = 16  # samples, however large they are
LABELS = 1 << 23  # samples whose labels are counted
SECONDS = 1.0  # for which a Generator's mini-batches are taken
KEPT = 1 << 26  # numbers of a Generator's mini-batches


class Looked(NamedTuple):
    """Samples of a source.

    Args:
        x: (M, *input shape), at most MOST of them.
        target: (M, ...), theirs.
        labels: (L, ...), targets of all samples where these are known and not too many, else those above.
        source: gives mini-batches of all samples, or of those of a Generator that were looked at.
        samples: of an epoch; None: not known.
        steps: of an epoch; of a Generator about.
        whole: whether `source` has all samples.
    """

    x: Any
    target: Array
    labels: Array
    source: ArraySource
    samples: int | None
    steps: int
    whole: bool


def look(source: Source, seed: int) -> Looked:
    """Return samples of a source: of arrays some at random, of a Generator those of the first mini-batches."""
    if isinstance(source, GeneratorSource):
        return _first(source)
    assert isinstance(source, ArraySource)
    places = some(source.samples, _count(source.x), seed)
    x, target = rows_of(source, places)
    labels = target
    if source.samples <= LABELS:
        labels = source.target if source.rows is None else taken(source.target, source.rows)
    return Looked(x, target, labels, source, source.samples, source.steps, True)


def some(samples: int, count: int, seed: int) -> Array:
    """Return at most `count` of the places of `samples`, at random and in order."""
    if count >= samples:
        return np.arange(samples)
    return np.sort(generator(seed, Purpose.CHECK).choice(samples, count, replace=False))


def rows_of(source: ArraySource, places: Array) -> tuple[Any, Array]:
    """Return inputs and targets of some samples."""
    rows = places if source.rows is None else source.rows[places]
    return taken(source.x, rows), taken(source.target, rows)


def _count(x: Any) -> int:
    return min(MOST, max(LEAST, NUMBERS // max(1, numbers_of(x))))


def numbers_of(x: Any) -> int:
    """Return how many numbers one sample has; of sparse rows 1."""
    return sum(1 if isinstance(part, SparseRows) else math.prod(part.shape[1:]) for part in parts_of(x))


def _first(source: GeneratorSource) -> Looked:
    """Return what a Generator's first mini-batches have; it stands where it stood, and rests if it did."""
    runner, found = runner_of(source.generator), list[Batch]()
    idle = runner.scheduler is None
    source.fixed = True  # epoch 0, made for this and counted by nobody
    ends, numbers = time.monotonic() + SECONDS, 0
    try:
        with contextlib.closing(source.batches(0)) as batches:
            for batch in batches:
                found.append(batch)
                numbers += len(batch.x) * numbers_of(batch.x)
                enough = sum(len(one.x) for one in found) >= MOST or numbers >= KEPT
                if enough or time.monotonic() > ends:
                    break
    finally:
        if idle:
            runner.close()
    x, target = _joined([batch.x for batch in found]), _joined([batch.target for batch in found])
    whole = found[-1].share >= 1
    kept = ArraySource(x, target, source.mini_batch_size)
    steps = max(len(found), round(len(found) / found[-1].share))
    count = _count(x)
    return Looked(x[:count], target[:count], target, kept, len(x) if whole else None, steps, whole)


def _joined(parts: Sequence[Any]) -> Any:
    """Return arrays, sequences, sparse rows or several such by name, one after the other."""
    if isinstance(parts[0], ByName):
        return ByName({name: _joined([one.parts[name] for one in parts]) for name in parts[0].parts})
    if isinstance(parts[0], Sequences):
        return Sequences(*(np.concatenate(each) for each in zip(*((p.values, p.lengths) for p in parts), strict=True)))
    if not isinstance(parts[0], SparseRows):
        return np.concatenate(parts)
    lists = [part.listed() for part in parts]
    lengths = np.concatenate([part.ends - part.begins for part in parts])
    columns, values = (np.concatenate([one[place] for one in lists]) for place in (1, 2))
    return SparseRows(np.concatenate([[0], np.cumsum(lengths)]), columns, values, parts[0].features)
