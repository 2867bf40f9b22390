"""Matrix factorisation under SGD: many entries in one call of a kernel, one after the other."""

from typing import Any

import numpy as np

from gedanken.engine.cpu.compiler import Library
from gedanken.engine.cpu.kernels.factors import Factors
from gedanken.engine.cpu.kernels.sparse import Results, Run
from gedanken.engine.cpu.program import call
from gedanken.engine.learner import Learnt, Sharing
from gedanken.layers.stages import LayerStage
from gedanken.types import Array


class FactorSteps:
    """Learns from runs of entries.

    Args:
        library: where kernels come from.
        stage: the layer with its arrays.
        cost: its number in kernels, and the weight of the targets that are 1.
        modes: the ways to share, by name.
    """

    def __init__(self, library: Library, stage: LayerStage, cost: tuple[int, float], modes: dict[str, int]) -> None:
        self._library, self._stage, self._modes = library, stage, modes
        self._cost, self._positive = cost
        self._layer: Any = stage.layer
        self._dtype = np.dtype(library.dtype)
        self._done, self._unlocked = np.zeros(2, np.int64), np.zeros(1, np.int64)
        self._nothing = np.zeros(1, self._dtype)

    def takes(self, mini_batch_size: int) -> bool:
        """Return whether it does what a gradient would do: entries of one mini-batch may have the same row."""
        return mini_batch_size == 1

    def written(self, x: Array) -> int:
        """Return how many numbers are written to, learning from these entries."""
        return len(x) * (2 * self._layer.rank + 3 * self._layer.bias)

    def learn(self, x: Array, target: Array, size: int, rates: Array, sharing: Sharing | None = None) -> Learnt:
        """Learn from entries, one for each rate; see Learner."""
        samples, p = len(x), self._stage.p
        scores = np.empty((samples, 1), self._dtype)
        mode, lock, me = sharing or Sharing("racy", self._unlocked, 1)
        biases = {name: p.get(name, self._nothing) for name in ("row_bias", "column_bias", "offset")}
        call(
            self._library, "factors.learn",
            pairs=np.ascontiguousarray(x, np.int64), targets=np.ascontiguousarray(target, self._dtype),
            f=Factors(
                rows=p["rows"], columns=p["columns"], **biases, rank=self._layer.rank,
                biased=int(self._layer.bias), l2=self._layer.l2, lock=lock,
            ),
            run=Run(
                rows=samples, size=1, units=1, biased=int(self._layer.bias), cost=self._cost,
                positive=self._positive, mode=self._modes[mode], me=me,
            ),
            told=Results(
                rates=rates.astype(self._dtype), scores=scores, shares=self._nothing, slopes=self._nothing,
                terms=self._nothing, done=self._done,
            ),
        )  # fmt: skip
        return Learnt(scores, *self._done.tolist())
