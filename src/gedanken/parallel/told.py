"""What a rank tells the others of its part of a mini-batch, as bytes."""

import json
import math
import struct
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from gedanken.parallel.base import StepResult
from gedanken.parallel.counting import counts_of
from gedanken.types import Array

NUMBERS = struct.Struct("<qdddqqq")


class Told(NamedTuple):
    """What came of a part.

    Args:
        samples: of it; 0: the rank had none.
        cost, counts: of the part, and for how many samples the cost counts.
        fault: what of it was not finite; "".
        factor: the leader's: what the learning rate is multiplied by.
        batches: mini-batches that it was; of one that is shared, 1 on rank 0.
        place: number in the epoch of the mini-batch of which something was not finite.
        statistics: of each metric.
    """

    samples: int = 0
    cost: float = 0.0
    counts: float = 0.0
    fault: str = ""
    factor: float = 1.0
    batches: int = 0
    place: int = 0
    statistics: tuple[Array, ...] = ()

    def of(self, found: StepResult | None) -> "Told":
        """Return it with what was learnt, of one mini-batch or several; None: nothing was."""
        if found is None:
            return self
        told = self._replace(samples=found.samples, cost=float(found.cost), counts=counts_of(found))
        return told._replace(batches=found.batches, statistics=found.statistics)

    def result(self, done: float) -> StepResult:
        """Return what was learnt, with which so much of the epoch is done."""
        return StepResult(self.samples, done, self.cost, self.statistics, None, self.batches, self.counts)

    def packed(self) -> bytes:
        """Return it as numbers, texts and forms, and the statistics' bytes one after the other."""
        kinds = tuple((part.dtype.str, part.shape) for part in self.statistics)
        texts = _texts(self.fault, kinds)
        numbers = self.samples, self.cost, self.counts, self.factor, self.batches, self.place, len(texts)
        return b"".join([NUMBERS.pack(*numbers), texts, *map(np.ndarray.tobytes, self.statistics)])

    @classmethod
    def unpacked(cls, content: bytes) -> "Told":
        """Return what was packed."""
        samples, cost, counts, factor, batches, place, length = NUMBERS.unpack_from(content)
        start = NUMBERS.size + length
        fault, kinds = _meant(content[NUMBERS.size : start])
        statistics = list[Array]()
        for dtype, shape in kinds:
            statistics.append(np.frombuffer(content, dtype, math.prod(shape), start).reshape(shape))
            start += statistics[-1].nbytes
        return cls(samples, cost, counts, fault, factor, batches, place, tuple(statistics))


@lru_cache
def _texts(*given: Any) -> bytes:
    return json.dumps(given).encode()


@lru_cache
def _meant(texts: bytes) -> Any:
    return json.loads(texts)
