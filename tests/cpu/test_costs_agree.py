"""Costs in programs against their specification: places, weights, lengths, labels to ignore, reductions."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest

from gedanken import (
    CTC,
    BinaryCrossEntropy,
    BinaryFocal,
    CategoricalHinge,
    ConvolutionLayer,
    CosineDistance,
    CrossEntropy,
    Dice,
    Focal,
    FullyConnectedLayer,
    GaussianNLL,
    HardSigmoid,
    Hinge,
    HingeEmbedding,
    Huber,
    KullbackLeibler,
    Layer,
    LogCosh,
    MeanAbsolute,
    MeanAbsolutePercentage,
    MeanSquared,
    MeanSquaredLogarithmic,
    MultiLabelMargin,
    MultiMargin,
    Poisson,
    Quantile,
    Sequences,
    Sigmoid,
    SmoothL1,
    SoftMax,
    Softplus,
    SquaredHinge,
    Tversky,
    WeightedMean,
)
from gedanken.costs import Cost
from gedanken.costs.base import Ignoring
from gedanken.costs.labels import ClassCost
from gedanken.costs.likeness import Overlap
from gedanken.engine.base import Engine
from gedanken.engine.cpu.engine import CpuEngine
from gedanken.engine.plan import Plan
from gedanken.engine.select import select_engine
from gedanken.types import Array, Shape
from tests.cpu.agree import TOLERANCE, distance


class Case(NamedTuple):
    """A cost, the layer before it, if any, and the kinds of outputs that it takes."""

    cost: Cost
    last: Layer | None = None
    kinds: tuple[str, ...] = ("values", "column", "long", "sequence", "picture", "wide picture")


CLASSES = ("values", "long", "sequence", "picture")
ONE = ("column", "places", "wide picture")
COSTS = [
    Case(CrossEntropy(), SoftMax(), CLASSES),
    Case(CrossEntropy(0.1, (1, 2, 0.5), ignore_label=255, reduction="weighted_mean"), SoftMax(), CLASSES),
    Case(CrossEntropy(ignore_label=1, reduction="sum"), SoftMax(), CLASSES),
    Case(CrossEntropy(0.1, (1, 2, 0.5), ignore_label=255, reduction="weighted_mean"), HardSigmoid(), CLASSES),
    Case(Focal(), SoftMax(), CLASSES),
    Case(Focal(0.5, (1, 2, 0.5), ignore_label=-1, reduction="sum"), SoftMax(), CLASSES),
    Case(KullbackLeibler(), SoftMax(), CLASSES),
    Case(KullbackLeibler(reduction="batch_mean"), HardSigmoid(), CLASSES),
    Case(CosineDistance()),
    Case(CosineDistance(1.5, reduction="sum")),
    Case(Dice(), SoftMax(), ("sequence", "picture", "wide picture")),
    Case(Dice(0.5, (1, 2, 0.5), ignore_label=1), SoftMax(), ("sequence", "picture")),
    Case(Tversky(0.3, 0.8), SoftMax(), ("sequence", "picture", "wide picture")),
    Case(Tversky(0.6, 0.1, 0.5, (1, 2, 0.5), ignore_label=1), SoftMax(), ("sequence", "picture")),
    Case(CTC(zero_infinity=True), None, ("sequence",)),
    Case(CTC(blank=1, zero_infinity=True, reduction="sum"), None, ("sequence",)),
    Case(MultiLabelMargin(), None, CLASSES),
    Case(MultiLabelMargin(reduction="sum"), None, ("values", "sequence")),
    Case(MultiMargin(), None, CLASSES),
    Case(MultiMargin(0.5, 2, (1, 2, 0.5), ignore_label=1, reduction="weighted_mean"), None, CLASSES),
    Case(CategoricalHinge(), None, CLASSES),
    Case(CategoricalHinge(ignore_label=255), None, CLASSES),
    Case(GaussianNLL(), None, ("even",)),
    Case(GaussianNLL(full=True, epsilon=0.3, reduction="sum"), Softplus(), ("even",)),
    Case(BinaryCrossEntropy(), Sigmoid()),
    Case(BinaryCrossEntropy(class_weights=(0.5, 3), reduction="weighted_mean"), Sigmoid()),
    Case(BinaryCrossEntropy(), HardSigmoid()),
    Case(BinaryCrossEntropy((0.5, 1, 3)), HardSigmoid(), ("values", "sequence", "picture")),
    Case(BinaryFocal(), Sigmoid()),
    Case(BinaryFocal(0.5, (0.75, 0.25), reduction="weighted_mean"), HardSigmoid()),
    Case(BinaryCrossEntropy(2, ignore_label=255), Sigmoid(), ONE),
    Case(BinaryCrossEntropy(class_weights=(0.5, 3), ignore_label=-1, reduction="weighted_mean"), HardSigmoid(), ONE),
    Case(BinaryFocal(0.5, (0.75, 0.25), ignore_label=-1, reduction="sum"), Sigmoid(), ONE),
    Case(Hinge(ignore_label=255), None, ONE),
    Case(SquaredHinge(ignore_label=255, reduction="batch_mean"), None, ONE),
    Case(Dice(0.5, ignore_label=255), Sigmoid(), ("places", "wide picture")),
    Case(Tversky(0.6, 0.1, ignore_label=-1), Sigmoid(), ("places", "wide picture")),
    Case(MeanSquared()),
    Case(MeanSquared(reduction="batch_mean")),
    Case(MeanAbsolute()),
    Case(Huber(0.3)),
    Case(SmoothL1(0.3)),
    Case(LogCosh()),
    Case(MeanAbsolutePercentage(0.2)),
    Case(MeanSquaredLogarithmic()),
    Case(Hinge()),
    Case(SquaredHinge(reduction="sum")),
    Case(HingeEmbedding(0.7)),
    Case(WeightedMean()),
    Case(Poisson()),
    Case(Poisson(log_input=False, full=True), Softplus()),
    Case(Quantile(0.3)),
    Case(Quantile((0.1, 0.5, 0.9)), None, ("values",)),
]
LAYERS: dict[str, tuple[Shape, Layer]] = {
    "values": ((6,), FullyConnectedLayer(3)),
    "column": ((6,), FullyConnectedLayer(1)),
    "even": ((6,), FullyConnectedLayer(4)),
    "long": ((3,), FullyConnectedLayer(1100)),
    "places": ((7, 6), FullyConnectedLayer(1)),
    "sequence": ((7, 6), FullyConnectedLayer(3)),
    "picture": ((2, 5, 7), ConvolutionLayer(3, 3, 3, zero_padding="same")),
    "wide picture": ((1, 40, 45), ConvolutionLayer(1, 1, 1)),
}
COUNTS = (Poisson, MeanSquaredLogarithmic)


def alignable(cost: CTC, rng: Any, shape: Shape) -> Array:
    """Return labels as the cost takes them, and how many places count; some are too many for these."""
    samples, places, classes = shape
    target = np.full((samples, 2 + places), cost.blank)
    for row in target:
        row[0] = rng.integers(1, places + 1)
        row[1] = rng.integers(0, row[0] + 1)
        labels = [one for one in range(classes) if one != cost.blank] or [cost.blank]
        row[2 : 2 + row[1]] = rng.choice(labels, row[1])
    return target


def targets(cost: Cost, rng: Any, shape: Shape, hard: bool) -> Array:
    """Return targets of outputs (N, ...), channels first."""
    if isinstance(cost, CTC):
        return alignable(cost, rng, shape)
    classes = 1 if len(shape) == 4 else len(shape) - 1
    if isinstance(cost, Ignoring) and cost.ignore_label is not None and shape[classes] == 1:
        return np.where(rng.random(shape) < 0.3, cost.ignore_label, rng.integers(0, 2, shape))
    if isinstance(cost, ClassCost) and (hard or cost.ignore_label is not None):
        labels = rng.integers(0, shape[classes], shape[:classes] + shape[classes + 1 :])
        if cost.ignore_label is not None:
            labels[rng.random(labels.shape) < 0.3] = cost.ignore_label
        return labels
    if isinstance(cost, (ClassCost, KullbackLeibler)):
        raw = rng.random(shape) * rng.integers(0, 2, shape) + 1e-3
        return raw / raw.sum(axis=classes, keepdims=True)
    if isinstance(cost, GaussianNLL):
        return rng.normal(size=(shape[0], shape[1] // 2))
    if isinstance(cost, Quantile) and isinstance(cost.quantiles, tuple):
        return rng.normal(size=(shape[0], 1))
    if cost.classifies or isinstance(cost, (HingeEmbedding, MultiLabelMargin)):
        return rng.integers(0, 2, shape).astype(float)
    return rng.poisson(1.5, shape).astype(float) if isinstance(cost, COUNTS) else rng.normal(size=shape)


def passed(engine: Engine, case: Case, kind: str, samples: int, weighted: bool, hard: bool = True) -> dict[str, Any]:
    """Return all that a training pass gives."""
    shape, layer = LAYERS[kind]
    cost, dtype, rng = case.cost, engine.ops.dtype, np.random.default_rng(samples)
    weights = getattr(cost, "class_weights", None)
    if kind == "long" and weights is not None and isinstance(cost, ClassCost):
        cost = replace(cost, class_weights=np.resize(weights, 1100).tolist())  # type: ignore[call-arg]
    plan = Plan([layer, *([case.last] if case.last else [])], shape, engine, 7, cost)
    assert bool(plan.fused_step) == isinstance(engine, CpuEngine)
    plan.initialise()
    x: Any = rng.normal(size=(samples, *shape)).astype(dtype)
    if kind in ("sequence", "places") and weighted and not isinstance(cost, Overlap):
        x = Sequences(x, rng.integers(1, shape[0] + 1, samples))
    target = targets(cost, rng, plan.predict(x).shape, hard)
    weight = rng.integers(0, 3, samples).astype(dtype) if weighted else None
    found = plan.cost_and_gradients(plan.context(train=True), x, target, weight)
    return {
        "cost": np.array([found.cost]),
        "outputs": found.outputs,
        "grads": plan.grads.copy(),
        "divisor": np.array([found.weighing.divisor, found.weighing.samples]),
    }


CASES = [(case, kind) for case in COSTS for kind in case.kinds]


def shown(value: Any) -> str:
    return f"{value.cost}, {value.last}" if isinstance(value, Case) else str(value)


@pytest.mark.parametrize("weighted", [False, True], ids=["alike", "weighted"])
@pytest.mark.parametrize(("case", "kind"), CASES, ids=shown)
def test_a_cost_in_a_program(case: Case, kind: str, weighted: bool) -> None:
    for dtype, samples, hard in (("float32", 5, True), ("float64", 3, False)):
        expected = passed(select_engine("numpy", dtype), case, kind, samples, weighted, hard)
        got = passed(select_engine("cpu", dtype), case, kind, samples, weighted, hard)
        for name, values in expected.items():
            assert distance(values, got[name]) < TOLERANCE[dtype], (name, distance(values, got[name]))


@pytest.mark.parametrize("engine", ["numpy", "cpu"])
@pytest.mark.parametrize("case", [one for one in COSTS if "values" in one.kinds], ids=shown)
def test_what_does_not_count_may_be_anything(case: Case, engine: str) -> None:
    layers = [FullyConnectedLayer(3), *([case.last] if case.last else [])]
    plan = Plan(layers, (2,), select_engine(engine, "float32"), 7, case.cost)
    plan.initialise()
    x = np.array([[1.0, 2.0], [np.inf, -np.inf], [0.5, 0.5]], "float32")
    target = targets(case.cost, np.random.default_rng(0), (3, 3), hard=True)
    with np.errstate(all="ignore"):
        found = plan.cost_and_gradients(plan.context(train=True), x, target, np.array([1.0, 0.0, 0.0]))
    assert np.isfinite(found.cost)
    assert isinstance(case.last, HardSigmoid) or not np.isfinite(found.outputs[1]).all()
