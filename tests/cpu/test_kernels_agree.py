"""Kernels give what the specification gives: every layer that they know, fused in runs, on random shapes."""

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gedanken import (
    ELU,
    GELU,
    AveragePoolLayer,
    BatchNorm,
    ConvolutionLayer,
    Cost,
    CrossEntropy,
    Dropout,
    Flatten,
    FullyConnectedLayer,
    GlobalAveragePoolLayer,
    GroupNorm,
    Layer,
    LayerNorm,
    LeakyReLU,
    MaxPoolLayer,
    MeanSquared,
    ReLU,
    Residual,
    ShapeError,
    Sigmoid,
    SiLU,
    SoftMax,
    TanH,
)
from gedanken.engine.cpu.lowering.match import why_no_kernel
from gedanken.engine.plan import Plan
from gedanken.engine.select import select_engine
from tests.cases import LAYERS, LayerCase, name_of
from tests.cpu.agree import TOLERANCE, check_agreement, distance

DTYPES = ("float32", "float64")


def is_known(case: LayerCase) -> bool:
    plan = Plan([case.layer], case.shape, select_engine("numpy", "float32"), 0)
    return not any(why_no_kernel(step) for step in plan.layers)


KNOWN = [case for case in LAYERS if is_known(case)]


def test_most_layers_have_kernels() -> None:
    assert len(KNOWN) >= 34


def test_the_guide_names_the_layers_without_kernels() -> None:
    without = {type(case.layer).__name__ for case in LAYERS if not is_known(case)} - {
        "FunctionLayer"
    }  # it is the user's
    guide = (Path(__file__).parents[2] / "docs" / "guide.md").read_text()
    (said,) = re.findall(r"kernels for all of these layers except (.*?); these", guide)
    assert set(re.findall(r"`(\w+)`", said)) == without


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("samples", [1, 3, 19])
@pytest.mark.parametrize("case", KNOWN, ids=name_of)
def test_every_known_layer(case: LayerCase, samples: int, dtype: str) -> None:
    check_agreement([case.layer], case.shape, case.data(samples, dtype=dtype), dtype=dtype)


sizes = st.integers(1, 4)
windows = st.one_of(sizes, st.integers(1, 15))  # up to the whole picture


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Layer, tuple[int, int, int]]:
    groups = draw(st.integers(1, 3))
    channels = groups * draw(st.integers(1, 9))
    filters = groups * draw(st.integers(1, 21))
    padding = draw(st.one_of(st.just("same"), st.tuples(st.integers(0, 3), st.integers(0, 3))))
    layer = ConvolutionLayer(
        filters,
        draw(windows),
        draw(windows),
        stride=(draw(st.integers(1, 3)), draw(st.integers(1, 3))),
        zero_padding=padding,
        dilation=(draw(st.integers(1, 3)), draw(st.integers(1, 2))),
        groups=groups,
        bias=draw(st.booleans()),
    )
    return layer, (channels, draw(st.integers(1, 15)), draw(st.integers(1, 15)))


@st.composite
def depthwise(draw: st.DrawFn) -> tuple[Layer, tuple[int, int, int]]:
    channels = draw(st.integers(2, 40))
    layer, (_, height, width) = draw(convolutions())
    assert isinstance(layer, ConvolutionLayer)
    return replace(layer, n_filter=channels, groups=channels), (channels, height, width)


def fits(layers: list[Layer], shape: tuple[int, ...]) -> bool:
    try:
        Plan(layers, shape, select_engine("numpy", "float32"), 0)
    except ShapeError:
        return False
    return True


def values(samples: int, shape: tuple[int, ...], seed: int, dtype: str) -> np.ndarray:
    """Distinct values, so that no two of them tie in a pooling."""
    rng = np.random.default_rng(seed)
    count = samples * int(np.prod(shape))
    return ((rng.permutation(count) + 0.5) / count * 4 - 2).reshape(samples, *shape).astype(dtype)


@settings(max_examples=120)
@given(convolutions(), st.integers(1, 5), st.integers(0, 99), st.sampled_from(DTYPES))
def test_any_convolution(made: tuple[Layer, tuple[int, int, int]], samples: int, seed: int, dtype: str) -> None:
    layer, shape = made
    assume(fits([layer], shape))
    check_agreement([layer], shape, values(samples, shape, seed, dtype))


# Windows as wide, as high or as large as the picture, or larger than it with its padding; few and many channels.
WINDOWS = [
    (ConvolutionLayer(33, 32, 3), (1, 20, 32)),
    (ConvolutionLayer(9, 3, 32), (2, 32, 20)),
    (ConvolutionLayer(20, 12, 9), (5, 9, 12)),
    (ConvolutionLayer(20, 1, 20), (3, 20, 20)),
    (ConvolutionLayer(20, 20, 1, stride=(2, 1)), (3, 20, 20)),
    (ConvolutionLayer(18, 9, 9, zero_padding=4), (17, 4, 4)),
    (ConvolutionLayer(18, 3, 3, zero_padding=1), (40, 1, 1)),
    (ConvolutionLayer(5, 3, 3, zero_padding=7), (16, 4, 4)),
    (ConvolutionLayer(24, 11, 3, groups=3, zero_padding=(1, 0)), (6, 5, 11)),
    (ConvolutionLayer(24, 8, 2, dilation=(1, 2), groups=2), (18, 10, 16)),
    (ConvolutionLayer(16, 13, 1, groups=2, stride=3), (18, 1, 40)),
    (ConvolutionLayer(16, 3, 3, stride=(1, 3), dilation=4, zero_padding="same"), (33, 9, 9)),
    (ConvolutionLayer(64, 7, 7, stride=2, zero_padding=3), (3, 21, 23)),
    (ConvolutionLayer(1, 3, 3, zero_padding=1), (48, 9, 14)),
    (ConvolutionLayer(2, 5, 3, dilation=2, zero_padding=(0, 4)), (48, 9, 14)),
    (ConvolutionLayer(6, 3, 2, groups=2), (40, 9, 14)),
    (ConvolutionLayer(40, 40, 1), (48, 2, 41)),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("samples", [1, 5, 27])
@pytest.mark.parametrize(("layer", "shape"), WINDOWS, ids=str)
def test_windows_of_any_size(layer: Layer, shape: tuple[int, int, int], samples: int, dtype: str) -> None:
    check_agreement(
        [layer, BatchNorm(), ReLU()], shape, values(samples, shape, 3, dtype), tolerance=3 * TOLERANCE[dtype]
    )
    check_agreement([layer], shape, values(samples, shape, 3, dtype))


@settings(max_examples=80)
@given(depthwise(), st.integers(1, 5), st.integers(0, 99), st.sampled_from(DTYPES))
def test_any_depthwise_convolution(
    made: tuple[Layer, tuple[int, int, int]], samples: int, seed: int, dtype: str
) -> None:
    layer, shape = made
    assume(fits([layer], shape))
    check_agreement([layer, ReLU()], shape, values(samples, shape, seed, dtype))


@settings(max_examples=60)
@given(
    st.integers(1, 70),
    st.integers(1, 40),
    st.integers(1, 40),
    st.booleans(),
    st.sampled_from([TanH(), GELU(), SiLU(), ELU()]),
    st.integers(0, 99),
    st.sampled_from(DTYPES),
)
def test_any_dense_layer(
    features: int, units: int, samples: int, bias: bool, curve: Layer, seed: int, dtype: str
) -> None:
    layers = [FullyConnectedLayer(units, bias=bias), curve, FullyConnectedLayer(3), LeakyReLU(0.2)]
    # A gradient of few numbers may be a small difference of large ones.
    check_agreement(layers, (features,), values(samples, (features,), seed, dtype), tolerance=10 * TOLERANCE[dtype])


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 9), max_size=2),
    st.integers(1, 150),
    st.integers(1, 40),
    st.integers(0, 99),
    st.sampled_from(DTYPES),
)
def test_any_layer_norm(outer: list[int], channels: int, samples: int, seed: int, dtype: str) -> None:
    # A row of two numbers is normalised to +-1 whatever they are, so without epsilon its gradient is only rounding.
    shape = (channels, *outer) if len(outer) == 2 else (*outer, channels)
    check_agreement([LayerNorm(epsilon=0.01)], shape, values(samples, shape, seed, dtype))


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 9), max_size=2),
    st.integers(1, 9),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(0, 99),
    st.sampled_from(DTYPES),
)
def test_any_group_norm(outer: list[int], groups: int, each: int, samples: int, seed: int, dtype: str) -> None:
    channels = groups * each
    shape = (channels, *outer) if len(outer) == 2 else (*outer, channels)
    x = values(samples, shape, seed, dtype)
    # The gradient of a group of two numbers is a small difference of large ones.
    check_agreement([GroupNorm(groups, epsilon=0.01)], shape, x, tolerance=3 * TOLERANCE[dtype])


@st.composite
def groups_of_layers(draw: st.DrawFn) -> list[Layer]:
    """BatchNorm, activation, pooling and dropout, each or not."""
    window, stride, padding = draw(sizes), draw(st.integers(1, 3)), draw(st.integers(0, 1))
    pool = draw(st.sampled_from([MaxPoolLayer, AveragePoolLayer, None]))
    layers: list[Layer] = [BatchNorm()] if draw(st.booleans()) else []
    curve = draw(st.sampled_from([None, ReLU(), LeakyReLU(0.1), Sigmoid(), TanH(), SiLU(), GELU(), ELU(0.5)]))
    layers += [curve] if curve else []
    if pool:
        layers.append(pool(window, draw(sizes), stride=stride, zero_padding=padding if window > 1 else 0))
    return [*layers, Dropout(0.7)] if draw(st.booleans()) else layers


@settings(max_examples=120)
@given(
    st.data(),
    st.integers(1, 20),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 4),
    st.integers(0, 99),
    st.sampled_from(DTYPES),
    st.booleans(),
)
def test_any_group(
    data: st.DataObject, channels: int, height: int, width: int, samples: int, seed: int, dtype: str, behind: bool
) -> None:
    try:
        layers = data.draw(groups_of_layers())
    except ValueError:  # a padding as large as the window
        assume(False)
    before: list[Layer] = [ConvolutionLayer(channels, 1, 1)] if behind else []
    rows = [*before, *layers, Flatten()]
    assume(fits(rows, (channels, height, width)) and samples * height * width > 2)
    x = values(samples, (channels, height, width), seed, dtype)
    # The specification rounds a gradient that is a small difference of large numbers.
    check_agreement(rows, (channels, height, width), x, tolerance=3 * TOLERANCE[dtype])


@settings(max_examples=80)
@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(0, 20), st.integers(0, 20)) | st.just("same"),
    st.tuples(st.integers(1, 9), st.integers(1, 24), st.integers(1, 24)),
    st.integers(1, 3),
    st.booleans(),
    st.sampled_from(DTYPES),
)
def test_any_wide_max_pooling(
    window: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int] | str,
    shape: tuple[int, int, int],
    samples: int,
    ties: bool,
    dtype: str,
) -> None:
    try:
        pool = MaxPoolLayer(*window, stride=stride, zero_padding=padding)
    except ValueError:  # a padding as large as the window
        assume(False)
    rows: list[Layer] = [BatchNorm(), LeakyReLU(0.1), pool, Dropout(0.7), Flatten()]
    assume(fits(rows, shape) and samples * shape[1] * shape[2] > 2)
    x = values(samples, shape, 1, dtype)
    check_agreement([pool, Dropout(0.7)], shape, x.round() if ties else x)
    check_agreement(rows, shape, x)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_diarys_layers_in_one_run(dtype: str) -> None:
    layers = [
        ConvolutionLayer(8, 3, 3), BatchNorm(), ReLU(), ConvolutionLayer(20, 3, 3), BatchNorm(), ReLU(),
        MaxPoolLayer(2, 2, stride=1), Dropout(0.75), Flatten(), FullyConnectedLayer(32), ReLU(), Dropout(0.5),
        FullyConnectedLayer(10),
    ]  # fmt: skip
    check_agreement(layers, (1, 12, 12), values(9, (1, 12, 12), 1, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_block_of_separable_convolutions(dtype: str) -> None:
    layers = [
        ConvolutionLayer(20, 1, 1), BatchNorm(), ReLU(), ConvolutionLayer(20, 3, 3, groups=20, zero_padding=1),
        BatchNorm(), LeakyReLU(), ConvolutionLayer(7, 1, 1), GlobalAveragePoolLayer(), FullyConnectedLayer(3),
    ]  # fmt: skip
    check_agreement(layers, (3, 9, 8), values(6, (3, 9, 8), 1, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_layers_of_a_transformer_in_one_run(dtype: str) -> None:
    inner = Residual([LayerNorm(), FullyConnectedLayer(24), GELU(), Dropout(0.8), FullyConnectedLayer(6)])
    layers = [FullyConnectedLayer(6), inner, LayerNorm(), FullyConnectedLayer(9), BatchNorm(), SiLU(), Flatten()]
    check_agreement(layers, (4, 5), values(9, (4, 5), 1, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_residual_ways_add_their_gradients(dtype: str) -> None:
    inner = Residual([ConvolutionLayer(6, 3, 3, zero_padding=1), BatchNorm(), TanH()], [ConvolutionLayer(6, 1, 1)])
    layers = [inner, Residual([BatchNorm(), ReLU(), Dropout(0.5)]), GlobalAveragePoolLayer(), Dropout(0.9)]
    check_agreement(layers, (3, 7, 6), values(4, (3, 7, 6), 2, dtype))


@pytest.mark.parametrize("layer", [FullyConnectedLayer(5), BatchNorm(), ReLU(), GELU(), Dropout(0.5)], ids=str)
def test_sequences(layer: Layer) -> None:
    check_agreement([layer], (4, 6), values(3, (4, 6), 3, "float64"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("features", "units"), [(40, 300), (150, 30), (7, 5)])
def test_gradients_of_many_rows(features: int, units: int, dtype: str) -> None:
    """So many rows are summed in pieces."""
    x = values(3, (701, features), 5, dtype)
    check_agreement([FullyConnectedLayer(units)], (701, features), x, tolerance=10 * TOLERANCE[dtype])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "layers",
    [
        [ConvolutionLayer(20, 3, 3, zero_padding=1)],
        [BatchNorm()],
        [ReLU()],
        [TanH()],
        [Sigmoid()],
        [SiLU()],
        [GELU()],
        [ELU()],
        [ConvolutionLayer(4, 1, 1), GELU()],
        [LayerNorm()],
        [MaxPoolLayer(2, 2, stride=1), Dropout(0.6)],
        [AveragePoolLayer(2, 2)],
        [Flatten(), FullyConnectedLayer(18)],
    ],
    ids=str,
)
def test_what_is_no_number_stays_visible(layers: list[Layer], bad: float) -> None:
    x = values(3, (2, 6, 6), 4, "float32")
    x[1, 1, 3, 2] = bad
    outputs = []
    for engine in ("numpy", "cpu"):
        plan = Plan(layers, (2, 6, 6), select_engine(engine, "float32"), 7)
        plan.initialise()
        with np.errstate(all="ignore"):
            y, _ = plan.forward(plan.context(train=True), x)
        outputs.append(y.copy())
    np.testing.assert_allclose(outputs[1], outputs[0], rtol=1e-5, atol=1e-6)


def test_a_prediction_pass_has_its_gradients_too() -> None:
    layers = [ConvolutionLayer(5, 3, 3), BatchNorm(), TanH(), Dropout(0.5), Flatten(), FullyConnectedLayer(3)]
    x, found = values(4, (2, 7, 7), 6, "float64"), []
    for engine in ("numpy", "cpu"):
        plan = Plan(layers, (2, 7, 7), select_engine(engine, "float64"), 7)
        plan.initialise()
        ctx = plan.context(train=False)
        y, tape = plan.forward(ctx, x)
        plan.backward(ctx, tape, np.ones_like(y))
        found.append(plan.grads.copy())
    np.testing.assert_allclose(found[1], found[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hard", [True, False], ids=["classes", "shares"])
@pytest.mark.parametrize("cost", [CrossEntropy(), CrossEntropy(0.2, [0.5, 1.0, 3.0]), MeanSquared()], ids=repr)
@pytest.mark.parametrize("samples", [1, 5, 40])
def test_a_pass_with_its_cost(samples: int, cost: Cost, hard: bool, dtype: str) -> None:
    layers = [ConvolutionLayer(5, 3, 3), BatchNorm(), ReLU(), Dropout(0.7), Flatten(), FullyConnectedLayer(3)]
    x, rng = values(samples, (2, 7, 7), 6, dtype), np.random.default_rng(samples)
    target = rng.integers(0, 3, samples) if hard and cost.classifies else rng.dirichlet([1, 1, 1], samples)
    found = []
    for engine in ("numpy", "cpu"):
        plan = Plan([*layers, SoftMax()], (2, 7, 7), select_engine(engine, dtype), 7, cost)
        plan.initialise()
        passes = [
            plan.cost_and_gradients(plan.context(train=train, epoch=2, position=9), x, target)
            for train in (False, True)
        ]
        found.append([passes[0][0], passes[0][1], passes[1][0], passes[1][1], plan.grads, plan.layer_state])
    for expected, got in zip(*found, strict=True):
        assert distance(np.asarray(expected), np.asarray(got)) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layer", [SoftMax(), Sigmoid(), TanH(), SiLU(), ELU(), ELU(2)], ids=str)
def test_small_results_keep_their_digits(layer: Layer, dtype: str) -> None:
    x = -np.logspace(-3, 1.8, 60).astype(dtype).reshape(20, 3)
    y, expected = (Plan([layer], (3,), select_engine(engine, dtype), 0).predict(x) for engine in ("cpu", "numpy"))
    np.testing.assert_allclose(y, expected, rtol=1e-5 if dtype == "float32" else 1e-13)


@pytest.mark.parametrize("engine", ["cpu", "numpy"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_gelu_is_exact_far_out_too(dtype: str, engine: str) -> None:
    x = np.linspace(-12, 12, 2401).astype(dtype)
    expected = np.array([value * math.erfc(-value / math.sqrt(2)) / 2 for value in x.tolist()])
    y = Plan([GELU()], (1,), select_engine(engine, dtype), 0).predict(x[:, None])[:, 0]
    np.testing.assert_allclose(y, expected, rtol=2e-5 if dtype == "float32" else 1e-13)


@pytest.mark.parametrize("engine", ["cpu", "numpy"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_small_slopes_of_elu_keep_their_digits(dtype: str, engine: str) -> None:
    x = -np.linspace(1, 60, 60).astype(dtype)[:, None]
    plan = Plan([ELU(0.5)], (1,), select_engine(engine, dtype), 0)
    plan._passes = plan._passes._replace(stages=plan.engine.stages(plan.layers, dx=True))
    y, tape = plan.forward(plan.context(train=True), x)
    dx = plan.stages[0].backward(plan.context(train=True), tape.pop(), np.ones_like(y))
    np.testing.assert_allclose(dx, 0.5 * np.exp(x.astype(float)), rtol=1e-5 if dtype == "float32" else 1e-13)


@pytest.mark.parametrize("layer", [GELU(), SiLU(), ELU(2)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_slopes_of_any_input(layer: Layer, dtype: str) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 0, -0.0, 1e30, -1e30, 40, -40, 100, -100, 3, -3], dtype)[:, None]
    found = []
    for engine in ("numpy", "cpu"):
        plan = Plan([layer], (1,), select_engine(engine, dtype), 0)
        plan._passes = plan._passes._replace(stages=plan.engine.stages(plan.layers, dx=True))
        ctx = plan.context(train=True)
        with np.errstate(all="ignore"):
            y, tape = plan.forward(ctx, x)
            found.append([y.copy(), plan.stages[0].backward(ctx, tape.pop(), np.ones_like(y)).copy()])
    for expected, got in zip(*found, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6 if dtype == "float32" else 1e-13)
