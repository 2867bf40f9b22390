"""Kernels of the rarer windows and of frames give what the specification gives, on any shape, with any threads."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gedanken import (
    AdaptiveAveragePoolLayer,
    AdaptiveMaxPoolLayer,
    AveragePoolLayer,
    BatchNorm,
    ConvolutionLayer,
    CroppingLayer,
    Dropout,
    Flatten,
    GlobalLpPoolLayer,
    GlobalMaxPoolLayer,
    Layer,
    LeakyReLU,
    LocalResponseNorm,
    LpPool1DLayer,
    LpPoolLayer,
    MaxPoolLayer,
    PaddingLayer,
)
from gedanken.engine.cpu.engine import CpuEngine
from gedanken.engine.select import select_engine
from gedanken.types import Shape
from tests.cpu.agree import check_agreement, passes
from tests.cpu.test_kernels_agree import DTYPES, fits, values

few = st.integers(0, 4)
pairs = st.tuples(st.integers(1, 4), st.integers(1, 4))
four_sides = st.tuples(st.tuples(few, few), st.tuples(few, few))
pictures = st.tuples(st.integers(1, 20), st.integers(1, 9), st.integers(1, 9))
modes = st.sampled_from(["zeros", "reflect", "replicate", "circular"])


@st.composite
def poolings(draw: st.DrawFn) -> Layer:
    """Return a pooling with any window, or to any size."""
    kinds = MaxPoolLayer, AveragePoolLayer, LpPoolLayer, AdaptiveMaxPoolLayer, AdaptiveAveragePoolLayer
    kind = draw(st.sampled_from(kinds))
    if issubclass(kind, (AdaptiveMaxPoolLayer, AdaptiveAveragePoolLayer)):
        return kind((draw(st.integers(1, 8)), draw(st.integers(1, 8))))
    options: dict[str, Any] = {"dilation": draw(pairs | st.just(1)), "ceil_mode": draw(st.booleans())}
    if kind is AveragePoolLayer:
        options["count_padding"] = draw(st.booleans())
        options["divisor"] = draw(st.none() | st.integers(1, 9))
    if kind is LpPoolLayer:
        options["power"] = draw(st.sampled_from([1, 2.0, 3, 1.75, 40]))
    padding = draw(four_sides | st.just("same"))
    try:
        return kind(*draw(pairs), draw(pairs), padding, **options)
    except ValueError:  # a padding as large as the window
        assume(False)
        raise


@settings(max_examples=60)
@given(poolings(), pictures, st.integers(1, 3), st.booleans(), st.sampled_from(DTYPES))
def test_any_pooling(pool: Layer, shape: Shape, samples: int, ties: bool, dtype: str) -> None:
    rows: list[Layer] = [BatchNorm(), LeakyReLU(0.1), pool, Dropout(0.7), Flatten()]
    assume(fits(rows, shape) and samples * shape[1] * shape[2] > 9)
    x = values(samples, shape, 1, dtype) + np.asarray(0.3, dtype)  # no mean is a small difference of large numbers
    check_agreement([pool], shape, x.round() if ties else x)
    check_agreement(rows, shape, x, tolerance={"float32": 3e-5, "float64": 1e-11}[dtype])


@settings(max_examples=40)
@given(
    pairs,
    pairs,
    four_sides | st.just("same"),
    st.booleans(),
    modes,
    pictures,
    st.integers(1, 3),
    st.sampled_from(DTYPES),
)
def test_any_convolution_of_a_padded_picture(
    size: tuple[int, int], stride: tuple[int, int], padding: Any, depthwise: bool, mode: str, shape: Shape,
    samples: int, dtype: str,
) -> None:  # fmt: skip
    groups = shape[0] if depthwise else 1
    layer = ConvolutionLayer(groups * 2, *size, stride, padding, groups=groups, padding_mode=mode)
    assume(fits([layer], shape))
    x = values(samples, shape, 1, dtype) + np.asarray(0.3, dtype)
    check_agreement([layer], shape, x)
    check_agreement([LeakyReLU(0.5), layer, LeakyReLU(0.1)], shape, x)


@settings(max_examples=60)
@given(four_sides, modes | st.just("constant"), st.booleans(), pictures, st.integers(1, 3), st.sampled_from(DTYPES))
def test_any_frame(sides: Any, mode: str, crops: bool, shape: Shape, samples: int, dtype: str) -> None:
    padding = PaddingLayer(sides, mode, value=1.5 if mode == "constant" else 0.0)
    layer = CroppingLayer(sides) if crops else padding
    assume(fits([layer], shape))
    check_agreement([layer], shape, values(samples, shape, 1, dtype))
    sequence = CroppingLayer(sides[0]) if crops else PaddingLayer(sides[0], mode)
    if fits([sequence], shape[1:]):
        check_agreement([sequence], shape[1:], values(samples, shape[1:], 1, dtype))


@settings(max_examples=60)
@given(
    st.integers(1, 90), st.sampled_from([0.75, 0.5, 1.0, 0.0, 2.3, 0.6]), st.floats(0, 20), st.floats(0.01, 3),
    st.integers(1, 70), st.lists(st.integers(1, 5), max_size=2), st.sampled_from(DTYPES),
)  # fmt: skip
def test_any_local_response(
    size: int, beta: float, alpha: float, k: float, channels: int, outer: list[int], dtype: str
) -> None:
    shape = (channels, *outer) if len(outer) == 2 else (*outer, channels)
    check_agreement([LocalResponseNorm(size, alpha, beta, k)], shape, values(3, shape, 1, dtype))


THREADED: list[tuple[list[Layer], Shape]] = [
    ([AveragePoolLayer(3, 3, 2, zero_padding=1, ceil_mode=True, count_padding=False)], (5, 14, 9)),
    (
        [MaxPoolLayer(3, 2, 1, dilation=(2, 3)), AdaptiveMaxPoolLayer((5, 4)), AdaptiveAveragePoolLayer((3, 7))],
        (9, 14, 13),
    ),
    ([LpPoolLayer(3, 2, 2, 1, ceil_mode=True, power=3), LpPoolLayer(2, 2, 1), GlobalLpPoolLayer()], (5, 14, 9)),
    ([PaddingLayer(((3, 1), (0, 2)), "reflect"), CroppingLayer(1), LocalResponseNorm(5)], (5, 14, 9)),
    (
        [ConvolutionLayer(7, 3, 3, zero_padding=2, padding_mode="circular"), BatchNorm(), GlobalMaxPoolLayer()],
        (5, 14, 9),
    ),
]


@pytest.mark.parametrize(("layers", "shape"), THREADED, ids=str)
def test_any_number_of_threads_gives_the_same_bits(layers: list[Layer], shape: Shape) -> None:
    x = values(5, shape, 1, "float32")
    check_agreement(layers, shape, x)
    one, *others = (passes(CpuEngine("test", "float32", threads=n), layers, shape, x) for n in (1, 2, 3))
    for other in others:
        for name, found in one.items():
            assert (found == other[name]).all(), name


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "layer",
    [
        MaxPoolLayer(2, 2, 1, dilation=2),
        AveragePoolLayer(2, 2, 1, dilation=2),
        AdaptiveMaxPoolLayer(3),
        AdaptiveAveragePoolLayer(3),
        PaddingLayer(2, "reflect"),
        LocalResponseNorm(3),
        LpPoolLayer(2, 2, 1),
        LpPoolLayer(3, 2, 2, power=3),
        GlobalLpPoolLayer(1.5),
    ],
    ids=str,
)
def test_what_is_not_finite_reaches_what_sees_it(layer: Layer, bad: float) -> None:
    x = values(2, (4, 6, 7), 1, "float32")
    x[0, 1, 2, 3] = bad
    with np.errstate(all="ignore"):
        expected, got = (
            passes(select_engine(engine, "float32"), [layer], (4, 6, 7), x)["prediction"] for engine in ("numpy", "cpu")
        )
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_windows_of_more_pixels_than_a_real_can_number(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gedanken.engine.cpu.lowering.pooling.MOST_IN_WIDE", 64)
    for pool in (MaxPoolLayer(9, 9, 2, 4), MaxPoolLayer(17, 4, 1, ((0, 3), (2, 9))), GlobalMaxPoolLayer()):
        check_agreement([pool, LeakyReLU(0.5)], (3, 14, 15), values(2, (3, 14, 15), 1, dtype).round(1))


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0, 3.0, 60.0])
@pytest.mark.parametrize("factor", [1e-30, 0.0, 1.0, 1e30])
@pytest.mark.parametrize("kind", [LpPoolLayer, LpPool1DLayer])
def test_norms_of_very_small_and_very_large_numbers(kind: Any, factor: float, power: float) -> None:
    shape: Shape = (4, 6, 7) if kind is LpPoolLayer else (9, 4)
    layer = kind(*(3, 2) if kind is LpPoolLayer else (3,), 2, power=power)
    x = values(3, shape, 1, "float32") * np.float32(factor)
    x[0] = 0  # windows of zeros, whose gradient is 0
    expected, got = (passes(select_engine(engine, "float32"), [layer], shape, x) for engine in ("numpy", "cpu"))
    for name in ("y", "dx", "prediction"):
        assert np.isfinite(got[name]).all()
        np.testing.assert_allclose(got[name], expected[name], rtol=2e-5, atol=1e-6 if name == "dx" else 0)
    assert not expected["dx"][0].any()
