"""Costs in programs against their specification: places, weights, lengths, labels to ignore, reductions."""

from typing import Any

import numpy as np
import pytest

from gedanken import (
    BinaryCrossEntropy,
    ConvolutionLayer,
    CrossEntropy,
    FullyConnectedLayer,
    Huber,
    Layer,
    MeanAbsolute,
    MeanSquared,
    Sequences,
    Sigmoid,
    SoftMax,
)
from gedanken.costs import Cost
from gedanken.engine.base import Engine
from gedanken.engine.cpu.engine import CpuEngine
from gedanken.engine.plan import Plan
from gedanken.engine.select import select_engine
from gedanken.types import Array, Shape
from tests.cpu.agree import TOLERANCE, distance

SHAPES: dict[str, tuple[Shape, Layer]] = {
    "values": ((6,), FullyConnectedLayer(3)),
    "column": ((6,), FullyConnectedLayer(1)),
    "sequence": ((7, 6), FullyConnectedLayer(3)),
    "picture": ((2, 5, 7), ConvolutionLayer(3, 3, 3, zero_padding="same")),
    "wide picture": ((1, 40, 45), ConvolutionLayer(1, 1, 1)),
}
COSTS: list[tuple[Cost, Layer | None]] = [
    (CrossEntropy(), SoftMax()),
    (CrossEntropy(0.1, (1, 2, 0.5), ignore_label=255, reduction="weighted_mean"), SoftMax()),
    (CrossEntropy(ignore_label=1, reduction="sum"), SoftMax()),
    (BinaryCrossEntropy(), Sigmoid()),
    (BinaryCrossEntropy(class_weights=(0.5, 3), reduction="weighted_mean"), Sigmoid()),
    (MeanSquared(), None),
    (MeanSquared(reduction="batch_mean"), None),
    (MeanAbsolute(), None),
    (Huber(0.3), None),
]


def targets(cost: Cost, rng: Any, shape: Shape) -> Array:
    """Return targets of outputs (N, ...), channels first."""
    if isinstance(cost, CrossEntropy):
        places = (shape[0], *shape[2:]) if len(shape) == 4 else shape[:-1]
        labels = rng.integers(0, 3, places)
        if cost.ignore_label is not None:
            labels[rng.random(places) < 0.3] = cost.ignore_label
        return labels
    return rng.integers(0, 2, shape).astype(float) if isinstance(cost, BinaryCrossEntropy) else rng.normal(size=shape)


def passed(engine: Engine, cost: Cost, last: Layer | None, kind: str, samples: int, weighted: bool) -> dict[str, Any]:
    """Return all that a training pass gives."""
    shape, layer = SHAPES[kind]
    dtype, rng = engine.ops.dtype, np.random.default_rng(samples)
    plan = Plan([layer, *([last] if last else [])], shape, engine, 7, cost)
    assert bool(plan.fused_step) == isinstance(engine, CpuEngine)
    plan.initialise()
    x: Any = rng.normal(size=(samples, *shape)).astype(dtype)
    if kind == "sequence" and weighted:
        x = Sequences(x, rng.integers(1, shape[0] + 1, samples))
    target = targets(cost, rng, plan.predict(x).shape)
    weight = rng.integers(0, 3, samples).astype(dtype) if weighted else None
    found = plan.cost_and_gradients(plan.context(train=True), x, target, weight)
    assert plan.cost
    return {
        "cost": np.array([found.cost]),
        "outputs": found.outputs,
        "grads": plan.grads.copy(),
        "divisor": np.array([found.weighing.divisor, found.weighing.samples]),
    }


def fits(cost: Cost, kind: str) -> bool:
    return not isinstance(cost, CrossEntropy) or kind not in ("column", "wide picture")


CASES = [(cost, last, kind) for cost, last in COSTS for kind in SHAPES if fits(cost, kind)]


@pytest.mark.parametrize("weighted", [False, True], ids=["alike", "weighted"])
@pytest.mark.parametrize(("cost", "last", "kind"), CASES, ids=lambda value: str(value) if value else "")
def test_a_cost_in_a_program(cost: Cost, last: Layer | None, kind: str, weighted: bool) -> None:
    for dtype, samples in (("float32", 5), ("float64", 3)):
        expected = passed(select_engine("numpy", dtype), cost, last, kind, samples, weighted)
        got = passed(select_engine("cpu", dtype), cost, last, kind, samples, weighted)
        for name, values in expected.items():
            assert distance(values, got[name]) < TOLERANCE[dtype], name


@pytest.mark.parametrize(("cost", "last"), [COSTS[1], COSTS[4], COSTS[5]], ids=str)
def test_threads_do_not_change_a_bit(cost: Cost, last: Layer | None) -> None:
    results = [
        passed(CpuEngine("", "float32", threads=threads), cost, last, "picture", 70, weighted=True)
        for threads in (1, 2, 3)
    ]
    for other in results[1:]:
        for name, values in results[0].items():
            np.testing.assert_array_equal(other[name], values)


@pytest.mark.parametrize("engine", ["numpy", "cpu"])
@pytest.mark.parametrize(("cost", "last"), COSTS[2:6:3], ids=str)
def test_what_does_not_count_may_be_anything(cost: Cost, last: Layer | None, engine: str) -> None:
    plan = Plan([FullyConnectedLayer(3), *([last] if last else [])], (2,), select_engine(engine, "float32"), 7, cost)
    plan.initialise()
    x = np.array([[1.0, 2.0], [np.inf, -np.inf], [0.5, 0.5]], "float32")
    target = np.array([0, 2, 1]) if cost.classifies else np.ones((3, 3), "float32")
    with np.errstate(all="ignore"):
        found = plan.cost_and_gradients(plan.context(train=True), x, target, np.array([1.0, 0.0, 0.0]))
    assert np.isfinite(found.cost)
    assert not np.isfinite(found.outputs[1]).all()
