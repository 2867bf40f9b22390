"""Sums of very many numbers keep their digits in float32, in every kernel and in the specification."""

from typing import NamedTuple

import numpy as np
import pytest

from gedanken import (
    AdaGrad,
    AdaptiveAveragePoolLayer,
    AveragePoolLayer,
    BatchNorm,
    ConvolutionLayer,
    Embedding,
    FullyConnectedLayer,
    GlobalAveragePoolLayer,
    GlobalLpPoolLayer,
    GroupNorm,
    Layer,
    LayerNorm,
    LocalResponseNorm,
    MaxPoolLayer,
    MeanAbsolute,
    MeanSquared,
    PaddingLayer,
    SoftMax,
    TransposedConvolutionLayer,
    UpsamplingLayer,
)
from gedanken.engine.plan import Plan
from gedanken.engine.select import select_engine
from gedanken.optimizer_state import OptimizerState, Updated
from gedanken.types import Array


class Case(NamedTuple):
    """A layer, its input's shape, how many samples, and whose long sums are looked at."""

    layer: Layer
    shape: tuple[int, ...]
    samples: int
    looked_at: tuple[str, ...]


CASES = [
    Case(GlobalAveragePoolLayer(), (2, 300, 300), 1, ("y",)),
    Case(GlobalAveragePoolLayer(), (1, 1000, 1000), 1, ("y",)),
    Case(GlobalAveragePoolLayer(), (70, 60, 50), 3, ("y",)),
    Case(GlobalLpPoolLayer(), (2, 300, 300), 1, ("y", "dx")),
    Case(GlobalLpPoolLayer(3), (1, 1000, 1000), 1, ("y",)),
    Case(AveragePoolLayer(64, 64, stride=(3, 1)), (2, 80, 80), 1, ("y", "dx")),
    Case(AveragePoolLayer(200, 200, stride=100, zero_padding=50), (3, 400, 300), 1, ("y", "dx")),
    Case(AdaptiveAveragePoolLayer((1, 3)), (2, 400, 300), 1, ("y",)),
    Case(AdaptiveAveragePoolLayer((1, 3000)), (1, 1, 1), 1, ("dx",)),
    Case(AveragePoolLayer(64, 64, (3, 1), 9, dilation=2, count_padding=False), (1, 140, 140), 1, ("y", "dx")),
    Case(PaddingLayer(800, "replicate"), (2, 4, 3), 1, ("dx",)),
    Case(LocalResponseNorm(999, alpha=100.0, beta=1.0), (2000, 2, 2), 1, ("y",)),
    Case(MaxPoolLayer(3000, 1, stride=1), (2, 1, 6000), 2, ("y", "dx")),
    Case(BatchNorm(), (1,), 300_000, ("mean", "var", "shift")),
    Case(BatchNorm(), (70,), 20_000, ("mean", "var", "shift")),
    Case(BatchNorm(), (3, 400, 300), 2, ("mean", "var", "shift")),
    Case(LayerNorm(), (16,), 50_000, ("shift",)),
    Case(LayerNorm(), (2, 400, 300), 2, ("shift",)),
    Case(GroupNorm(1), (2, 400, 300), 2, ("shift",)),
    Case(FullyConnectedLayer(1), (3,), 300_000, ("bias",)),
    Case(FullyConnectedLayer(40), (5,), 20_000, ("bias",)),
    Case(ConvolutionLayer(5, 1, 1), (2, 300, 300), 2, ("bias",)),
    Case(ConvolutionLayer(2, 3, 3), (1, 6, 6), 20_000, ("bias",)),
    Case(ConvolutionLayer(6, 3, 3, groups=6), (6, 300, 300), 1, ("bias", "kernel")),
    Case(ConvolutionLayer(6, 3, 3, groups=6), (6, 8, 8), 3000, ("bias", "kernel")),
    Case(TransposedConvolutionLayer(5, 2, 2, stride=2), (2, 150, 150), 2, ("bias",)),
    Case(UpsamplingLayer(400), (2, 2, 1), 1, ("dx",)),
    Case(UpsamplingLayer((300, 90), "bilinear"), (1, 2, 3), 1, ("dx",)),
    Case(UpsamplingLayer((300, 90), "bicubic"), (1, 2, 3), 1, ("dx",)),
    Case(SoftMax(), (300_000,), 1, ("y",)),
]


def passes(case: Case, engine: str, dtype: str, x: Array, dy: float) -> dict[str, Array]:
    plan = Plan([case.layer], case.shape, select_engine(engine, dtype), 0)
    plan._passes = plan._passes._replace(stages=plan.engine.stages(plan.layers, dx=True))
    plan.initialise()
    ctx = plan.context(train=True)
    y, tape = plan.forward(ctx, x.astype(dtype))
    found = {"y": y.copy()}
    slopes = np.full(y.shape, dy, dtype)
    found["dx"] = plan.stages[0].backward(ctx, tape.pop(), slopes).copy()
    return found | {name.partition(".")[2]: view for name, view in (plan.gradients() | plan._vectors.state).items()}


@pytest.mark.parametrize("kind", ["the same", "all positive"])
@pytest.mark.parametrize("engine", ["numpy", "cpu"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.layer}-{case.shape}-{case.samples}")
def test_long_sums_keep_their_digits(case: Case, engine: str, kind: str) -> None:
    size, rng = (case.samples, *case.shape), np.random.default_rng(0)
    x = np.full(size, 0.1, "float32") if kind == "the same" else rng.uniform(0.05, 0.95, size).astype("float32")
    slope = float(np.float32(0.3))
    expected = passes(case, "numpy", "float64", x.astype("float64"), slope)
    found = passes(case, engine, "float32", x, slope)
    for name in case.looked_at:
        # BatchNorm's variance of numbers that are all the same is nothing.
        np.testing.assert_allclose(found[name], expected[name], rtol=1.5e-6, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("engine", ["numpy", "cpu"])
@pytest.mark.parametrize("value", [1.0, 0.1, 3e37])
def test_the_mean_of_many_equal_numbers_is_that_number(engine: str, value: float) -> None:
    x = np.full((1, 2, 1000, 700), value, "float32")
    y = Plan([GlobalAveragePoolLayer()], (2, 1000, 700), select_engine(engine, "float32"), 0).predict(x)
    np.testing.assert_allclose(y, np.float32(value), rtol=1e-6)


@pytest.mark.parametrize("cost", [MeanSquared(), MeanAbsolute()], ids=repr)
def test_mean_costs_of_many_values(cost: MeanSquared) -> None:
    ops = select_engine("cpu", "float32").ops
    y = np.full((3_000_000, 1), 0.1, "float32")
    got, _ = cost(ops, y, np.zeros_like(y))
    assert float(got) == pytest.approx(float(np.float32(0.1)) ** (2 if isinstance(cost, MeanSquared) else 1), rel=1e-6)


@pytest.mark.parametrize("engine", ["numpy", "cpu"])
def test_gradients_of_a_frequent_token(engine: str) -> None:
    plan = Plan([Embedding(2, 1)], (1000,), select_engine(engine, "float32"), 0)
    ctx = plan.context(train=True)
    y, tape = plan.forward(ctx, np.zeros((1000, 1000), np.int64))
    plan.backward(ctx, tape, np.full(y.shape, 0.1, "float32"))
    np.testing.assert_allclose(plan.grads, [1e5, 0], rtol=1e-6)


@pytest.mark.parametrize("engine", ["numpy", "cpu"])
def test_the_length_of_a_long_gradient(engine: str) -> None:
    chosen, size, rule = select_engine(engine, "float32"), 3_000_000, AdaGrad(1.0, clip_norm=1.0, epsilon=1e3)
    p, g = np.zeros(size, "float32"), np.full(size, 0.1, "float32")
    OptimizerState(chosen.ops, rule, Updated(size, size), chosen.updater).apply(p, g, 1)
    np.testing.assert_allclose(p, -1 / np.sqrt(size) / 1e3, rtol=3e-6)


@pytest.mark.parametrize("engine", ["numpy", "cpu"])
@pytest.mark.parametrize("layer", [BatchNorm(), LayerNorm(), GroupNorm(1)], ids=str)
def test_variances_of_large_numbers_do_not_overflow(layer: Layer, engine: str) -> None:
    x = np.zeros((256, 256), "float32")
    np.fill_diagonal(x, 1e19)  # its square is near the largest number, and so is that of any sum of two
    plan = Plan([layer], (256,), select_engine(engine, "float32"), 0)
    plan.initialise()
    y, _ = plan.forward(plan.context(train=True), x)
    np.testing.assert_allclose(y.diagonal(), np.sqrt(255), rtol=1e-5)
    assert np.isfinite(plan.layer_state).all()


@pytest.mark.parametrize("engine", ["numpy", "cpu"])
def test_a_running_mean_that_hardly_moves(engine: str) -> None:
    plan = Plan([BatchNorm(momentum=0.99999999)], (1,), select_engine(engine, "float32"), 0)
    plan.initialise()
    plan.forward(plan.context(train=True), np.full((4, 1), 2.0, "float32"))
    np.testing.assert_allclose(plan.layer_state[:1], 2e-8, rtol=1e-6)
