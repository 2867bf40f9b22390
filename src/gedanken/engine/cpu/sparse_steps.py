"""Linear models on sparse rows under SGD: many mini-batches in one call of a kernel, which makes no gradient."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gedanken.costs import (
    BinaryCrossEntropy,
    Cost,
    Hinge,
    MeanSquared,
    SigmoidBinaryCrossEntropy,
    SoftMaxCrossEntropy,
    WeightedMean,
)
from gedanken.costs.base import Ignoring
from gedanken.engine.base import Placement
from gedanken.engine.cpu.compiler import Library
from gedanken.engine.cpu.kernels.cost import RowWeights, Targets
from gedanken.engine.cpu.kernels.runs import HINGE, SIGMOID, SOFTMAX, SQUARED, WEIGHTED, Results, Run
from gedanken.engine.cpu.kernels.sparse import Csr, Penalty, Weights
from gedanken.engine.cpu.lowering.lowered_cost import class_weights
from gedanken.engine.cpu.pair_steps import CutSteps, FactorSteps, PairSteps
from gedanken.engine.cpu.program import call
from gedanken.engine.cpu.sharing import fields_of
from gedanken.engine.learner import Learnt, Sharing
from gedanken.layers import GraphCut, Layer, MatrixFactorisation, SparseFullyConnectedLayer
from gedanken.layers.stages import LayerStage
from gedanken.optimizers import Optimizer
from gedanken.sparse import SparseRows
from gedanken.types import Array

COSTS: dict[type[Cost], int] = {
    SoftMaxCrossEntropy: SOFTMAX,
    SigmoidBinaryCrossEntropy: SIGMOID,
    MeanSquared: SQUARED,
    Hinge: HINGE,
    WeightedMean: WEIGHTED,
}
# How a cost's slope rises with the score, at most; of the hinge, which has a bend, over a margin of its length.
CURVATURES = {SOFTMAX: 0.5, SIGMOID: 0.25, SQUARED: 2.0, HINGE: 0.25}
OF_PAIRS: dict[type[Layer], type[PairSteps]] = {MatrixFactorisation: FactorSteps, GraphCut: CutSteps}


def sparse_steps(
    library: Library, layers: Sequence[Placement], cost: Cost, rule: Optimizer
) -> "SparseSteps | PairSteps | None":
    """Return what learns in runs, or None where the model, its cost or the rule is another one."""
    if len(layers) != 1 or type(cost) not in COSTS or not _is_plain(cost) or not rule.lazy or rule.slots():
        return None
    stage, number = layers[0], COSTS[type(cost)]
    if not isinstance(stage, LayerStage):
        return None
    kind: Any = type(stage.layer)
    if kind is SparseFullyConnectedLayer:
        return SparseSteps(library, stage, cost)
    if kind in OF_PAIRS and number != SOFTMAX:
        return OF_PAIRS[kind](library, stage, (number, getattr(cost, "pos_weight", None) or 1.0))
    return None


def _is_plain(cost: Cost) -> bool:
    """Return whether a cost is a mean over all that is there, of outputs that count alike."""
    if isinstance(cost, Ignoring) and cost.ignore_label is not None:
        return False
    if isinstance(cost, BinaryCrossEntropy) and (isinstance(cost.pos_weight, tuple) or cost.class_weights is not None):
        return False
    return cost.reduction == "mean"


class SparseSteps:
    """Learns from runs of mini-batches.

    Args:
        library: where kernels come from.
        stage: the layer with its arrays.
        cost: what is made small.
    """

    def __init__(self, library: Library, stage: LayerStage, cost: Cost) -> None:
        self._library, self._stage, self._cost = library, stage, cost
        self._units, self._dtype = stage.output_shape[0], np.dtype(library.dtype)
        self._layer: Any = stage.layer
        self._done = np.zeros(2, np.int64)
        # What a layer without bias or penalty reads in place of them.
        self._nothing, self._one = np.zeros(self._units, self._dtype), np.ones(1, self._dtype)

    @property
    def rows(self) -> int:
        """Of the kernel, one for each feature."""
        return self._stage.shape[0]

    def curvature(self, x: SparseRows) -> Array:
        """Return the mean second derivative of a sample's cost by each parameter; the bias is the first of them."""
        _, columns, values = x.listed()
        squares = np.bincount(columns, values.astype("float64") ** 2, self.rows) / len(x)
        slope_rises = CURVATURES[COSTS[type(self._cost)]] / self._units
        kernel = np.repeat(slope_rises * squares + self._layer.l2, self._units)
        return np.concatenate([np.full(self._units * self._layer.bias, slope_rises), kernel])

    def takes(self, mini_batch_size: int) -> bool:
        """Return whether it does what a gradient of a mini-batch would do: a penalty changes weights in between."""
        return not self._layer.l2 or mini_batch_size == 1

    def written(self, x: SparseRows) -> int:
        """Return how many numbers are written to, learning from these rows."""
        return x.count * self._units

    def learn(self, x: SparseRows, target: Array, size: int, rates: Array, sharing: Sharing | None = None) -> Learnt:
        """Learn from mini-batches of `size` rows, one for each rate; end before one whose scores are not finite."""
        samples, p = len(x), self._stage.p
        scores = np.empty((samples, self._units), self._dtype)
        most = min(size, samples)
        memory = (np.empty((most, width), self._dtype) for width in (self._units, self._units, 3))
        shares, slopes, terms = memory
        positive = getattr(self._cost, "pos_weight", None)
        call(
            self._library, "sparse.learn",
            x=Csr(begins=x.begins, ends=x.ends, columns=x.columns, values=x.values),
            targets=self._targets(target),
            w=Weights(kernel=p["kernel"], bias=p.get("bias", self._nothing), features=self.rows),
            penalty=Penalty(
                l2=self._layer.l2, kernel=p["kernel"], seen=self._stage.s.get("seen", self._one),
                features=self.rows,
            ),
            run=Run(
                rows=samples, size=size, units=self._units, biased=int(self._layer.bias), cost=COSTS[type(self._cost)],
                positive=1.0 if positive is None else positive, **fields_of(sharing),
            ),
            told=Results(
                rates=rates.astype(self._dtype), scores=scores, shares=shares, slopes=slopes, terms=terms,
                done=self._done,
            ),
        )  # fmt: skip
        return Learnt(scores, *self._done.tolist())

    def _targets(self, target: Array) -> Targets:
        hard = isinstance(self._cost, SoftMaxCrossEntropy) and target.ndim == 1
        smoothing = getattr(self._cost, "label_smoothing", 0.0)
        weights = getattr(self._cost, "class_weights", None)
        return Targets(
            classes=np.ascontiguousarray(target, np.int64) if hard else np.zeros(1, np.int64),
            shares=self._one if hard else np.ascontiguousarray(target, self._dtype), hard=int(hard),
            weights=class_weights(weights, self._units, self._dtype), kept=1 - smoothing, smoothing=smoothing,
            counts=RowWeights(factors=self._one, given=0, divisor=1),
        )  # fmt: skip
