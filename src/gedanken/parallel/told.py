"""What a rank tells the others of its part of a mini-batch, as bytes."""

import json
import math
from typing import NamedTuple

import numpy as np

from gedanken.parallel.base import StepResult
from gedanken.parallel.counting import counts_of
from gedanken.types import Array


class Told(NamedTuple):
    """What came of a part.

    Args:
        samples: of it; 0: the rank had none.
        cost, counts: of the part, and for how many samples the cost counts.
        fault: what of it was not finite; "".
        error: what the rank's own code raised; "".
        goes_on: the leader's: whether the mini-batch is learnt from.
        brings: the leader's: whether all ranks say first what they have learnt.
        factor: the leader's: what the learning rate is multiplied by.
        batches: mini-batches that it was; of one that is shared, 1 on rank 0.
        place: number in the epoch of the mini-batch of which something was not finite.
        statistics: of each metric.
    """

    samples: int = 0
    cost: float = 0.0
    counts: float = 0.0
    fault: str = ""
    error: str = ""
    goes_on: bool = True
    factor: float = 1.0
    batches: int = 0
    place: int = 0
    brings: bool = False
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
        """Return it as a line of JSON, and the statistics' bytes one after the other."""
        kinds = [(part.dtype.str, part.shape) for part in self.statistics]
        parts = [np.ascontiguousarray(part).tobytes() for part in self.statistics]
        return b"\n".join([json.dumps([*self[:-1], kinds]).encode(), b"".join(parts)])

    @classmethod
    def unpacked(cls, content: bytes) -> "Told":
        """Return what was packed."""
        line, _, rest = content.partition(b"\n")
        *entries, kinds = json.loads(line)
        statistics, place = list[Array](), 0
        for dtype, shape in kinds:
            count = math.prod(shape)
            statistics.append(np.frombuffer(rest, dtype, count, place).reshape(shape))
            place += statistics[-1].nbytes
        return cls(*entries)._replace(statistics=tuple(statistics))
