"""Models of pairs under SGD, entries of a matrix and edges of a graph: many in one call, one after the other."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from gedanken.engine.cpu.compiler import Library
from gedanken.engine.cpu.kernels.cuts import Cuts
from gedanken.engine.cpu.kernels.factors import Factors
from gedanken.engine.cpu.kernels.runs import Results, Run
from gedanken.engine.cpu.program import call
from gedanken.engine.cpu.sharing import fields_of
from gedanken.engine.learner import Learnt, Sharing
from gedanken.layers.stages import LayerStage
from gedanken.types import Array


class PairSteps(ABC):
    """Learns from runs of pairs.

    Args:
        library: where kernels come from.
        stage: the layer with its arrays.
        cost: its number in kernels, and the weight of the targets that are 1.
    """

    def __init__(self, library: Library, stage: LayerStage, cost: tuple[int, float]) -> None:
        self._library, self._stage = library, stage
        self._cost, self._positive = cost
        self._layer: Any = stage.layer
        self._dtype = np.dtype(library.dtype)
        self._done = np.zeros(2, np.int64)
        self._nothing = np.zeros(1, self._dtype)

    @property
    @abstractmethod
    def rows(self) -> int:
        """Of all its matrices."""

    def curvature(self, x: Array) -> Array | None:
        """Return None: it depends on the parameters."""
        return None

    @abstractmethod
    def written(self, x: Array) -> int:
        """Return how many numbers are written to, learning from these pairs."""

    @abstractmethod
    def _call(self, **told: Any) -> None:
        """Call the kernel with what all of them take, and with the layer's arrays."""

    def takes(self, mini_batch_size: int) -> bool:
        """Return whether it does what a gradient would do: pairs of one mini-batch may have the same row."""
        return mini_batch_size == 1

    def learn(self, x: Array, target: Array, size: int, rates: Array, sharing: Sharing | None = None) -> Learnt:
        """Learn from pairs, one for each rate; see Learner."""
        samples = len(x)
        scores = np.empty((samples, 1), self._dtype)
        run = Run(
            rows=samples, size=1, units=1, biased=0, cost=self._cost, positive=self._positive,
            **fields_of(sharing),
        )  # fmt: skip
        told = Results(
            rates=rates.astype(self._dtype), scores=scores, shares=self._nothing, slopes=self._memory(),
            terms=self._nothing, done=self._done,
        )  # fmt: skip
        pairs, targets = np.ascontiguousarray(x, np.int64), np.ascontiguousarray(target, self._dtype)
        self._call(pairs=pairs, targets=targets, run=run, told=told)
        return Learnt(scores, *self._done.tolist())

    def _memory(self) -> Array:
        """Return what a kernel needs beside its arrays."""
        return self._nothing


class FactorSteps(PairSteps):
    """Learns MatrixFactorisation from entries."""

    @property
    def rows(self) -> int:
        return self._layer.n_rows + self._layer.n_columns

    def written(self, x: Array) -> int:
        return len(x) * (2 * self._layer.rank + 3 * self._layer.bias)

    def _call(self, **told: Any) -> None:
        layer, p = self._layer, self._stage.p
        biases = {name: p.get(name, self._nothing) for name in ("row_bias", "column_bias", "offset")}
        factors = Factors(
            rows=p["rows"], columns=p["columns"], **biases, rank=layer.rank, biased=int(layer.bias), l2=layer.l2,
            n_rows=layer.n_rows,
        )  # fmt: skip
        call(self._library, "factors.learn", f=factors, **told)


class CutSteps(PairSteps):
    """Learns GraphCut from edges."""

    @property
    def rows(self) -> int:
        return self._layer.n_nodes

    def written(self, x: Array) -> int:
        return len(x) * 2 * self._layer.n_labels

    def _call(self, **told: Any) -> None:
        call(self._library, "cuts.learn", c=Cuts(shares=self._stage.p["shares"], units=self._layer.n_labels), **told)

    def _memory(self) -> Array:
        return np.empty(3 * self._layer.n_labels, self._dtype)
