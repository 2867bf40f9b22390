"""Windows over time of any kind: kernels give what the specification gives."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gedanken import (
    AdaptiveAveragePool1DLayer,
    AdaptiveMaxPool1DLayer,
    AveragePool1DLayer,
    CroppingLayer,
    Layer,
    LpPool1DLayer,
    MaxPool1DLayer,
    PaddingLayer,
    Sequences,
    ShapeError,
)
from gedanken.engine.plan import Plan
from gedanken.engine.select import Cpu
from gedanken.types import Array
from tests.cases import LayerCase
from tests.contracts.test_lengths import passes

FEATURES = 5


@st.composite
def poolings(draw: st.DrawFn) -> tuple[Layer, int]:
    """Return a pooling and for how many places."""
    width, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    padding: Any = draw(st.one_of(st.sampled_from(["same", "causal"]), st.tuples(st.integers(0, 3), st.integers(0, 3))))
    named = isinstance(padding, str)
    assume(named or max(padding) < dilation * (width - 1) + 1)
    ceil = not named and draw(st.booleans())
    told = (width, draw(st.integers(1, 4)), padding, dilation, ceil)
    if draw(st.booleans()):
        return LpPool1DLayer(*told, draw(st.sampled_from([1, 2.0, 3.5]))), draw(st.integers(1, 20))
    if draw(st.booleans()):
        return MaxPool1DLayer(*told), draw(st.integers(1, 20))
    return AveragePool1DLayer(*told, draw(st.booleans()), draw(st.sampled_from([None, 2]))), draw(st.integers(1, 20))


@st.composite
def frames(draw: st.DrawFn) -> tuple[Layer, int]:
    """Return what puts places around sequences, or takes some away, and for how many places."""
    around, places = draw(st.tuples(st.integers(0, 6), st.integers(0, 6))), draw(st.integers(1, 20))
    mode = draw(st.sampled_from(["zeros", "constant", "reflect", "replicate", "circular", "cropping"]))
    value = 1.5 if mode == "constant" else 0.0
    return CroppingLayer(around) if mode == "cropping" else PaddingLayer(around, mode, value), places


@st.composite
def to_a_size(draw: st.DrawFn) -> tuple[Layer, int]:
    kind = draw(st.sampled_from([AdaptiveAveragePool1DLayer, AdaptiveMaxPool1DLayer]))
    return kind(draw(st.integers(1, 12))), draw(st.integers(1, 20))


@settings(max_examples=60, deadline=None)
@given(poolings() | frames() | to_a_size(), st.integers(0, 9), st.sampled_from(["float32", "float64"]))
def test_any_window_over_time(told: tuple[Layer, int], seed: int, dtype: str) -> None:
    layer, places = told
    try:
        output_shape = layer.output_shape((places, FEATURES))
    except ShapeError:
        return
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, places + 1, 5)
    made = layer.output_lengths((places, FEATURES), lengths)
    if made is not None:
        lengths[made < 1] = places
    case = LayerCase(layer, (places, FEATURES), output_shape)
    x, dy = rng.normal(size=(5, places, FEATURES)).astype(dtype), rng.normal(size=(5, *output_shape))
    for given_x in (x, Sequences(x, lengths)):
        expected, got = (passes(engine, case, given_x, dy, dtype) for engine in ("numpy", "cpu"))
        for one, two in zip(expected, got, strict=True):
            scale = max(float(abs(one).max(initial=0)), 1.0)
            np.testing.assert_allclose(two, one, atol=scale * (1e-5 if dtype == "float32" else 1e-12))


THREADED = [
    MaxPool1DLayer(2, 1, 1, 2, True),
    AveragePool1DLayer(3, 2, 1, 2, True),
    LpPool1DLayer(3, 2, 1, 1, True, 2.5),
    AdaptiveMaxPool1DLayer(40),
    AdaptiveAveragePool1DLayer(3),
    PaddingLayer((2, 9), "replicate"),
    CroppingLayer((2, 1)),
]


@pytest.mark.parametrize("layer", THREADED, ids=str)
def test_threads_give_the_same_bits(layer: Layer) -> None:
    x = np.random.default_rng(0).normal(size=(23, 31, 17)).astype("float32")
    sequences = Sequences(x, np.random.default_rng(1).integers(4, 32, 23))

    def step(threads: int) -> tuple[Array, Array]:
        plan = Plan([layer], x.shape[1:], Cpu(threads=threads).start(), seed=0)
        plan._passes = plan._passes._replace(stages=plan.engine.stages(plan.layers))
        ctx = plan.told_of_lengths(plan.context(train=True), sequences)
        y, tape = plan.forward(ctx, x)
        (stage,) = plan.stages
        y = y.copy()
        return y, np.array(stage.backward(ctx, tape.pop(), np.cos(y)))

    first = step(1)
    for threads in (2, 3):
        for one, two in zip(first, step(threads), strict=True):
            assert one.tobytes() == two.tobytes()
