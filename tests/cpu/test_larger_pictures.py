"""Layers that make pictures larger: kernels give what the specification gives, on random shapes."""

import itertools
import random
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gedanken import (
    GELU,
    BatchNorm,
    Convolution1DLayer,
    ConvolutionLayer,
    Layer,
    LeakyReLU,
    Permute,
    PixelShuffle,
    PixelUnshuffle,
    Reshape,
    TransposedConvolutionLayer,
    UpsamplingLayer,
)
from gedanken.engine.cpu.engine import CpuEngine
from gedanken.engine.cpu.program import Program
from gedanken.types import Shape
from tests.cpu.agree import TOLERANCE, check_agreement, passes
from tests.cpu.test_kernels_agree import DTYPES, fits, values

small = st.integers(1, 4)
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def transposed(draw: st.DrawFn) -> tuple[Layer, Shape]:
    groups = draw(st.integers(1, 3))
    channels, filters = groups * draw(st.integers(1, 21)), groups * draw(st.integers(1, 9))
    stride = draw(pairs)
    padding = draw(st.one_of(st.just("same"), st.tuples(st.integers(0, 3), st.integers(0, 3))))
    more = (0, 0)
    if not isinstance(padding, str):
        more = tuple(draw(st.integers(0, step + cut - 1)) for step, cut in zip(stride, padding, strict=True))
    layer = TransposedConvolutionLayer(
        filters, draw(st.integers(1, 6)), draw(st.integers(1, 6)), stride, padding, more, draw(pairs), groups,
        bias=draw(st.booleans()),
    )  # fmt: skip
    return layer, (channels, draw(st.integers(1, 9)), draw(st.integers(1, 9)))


@settings(max_examples=40)
@given(transposed(), st.integers(1, 5), st.integers(0, 99), st.sampled_from(DTYPES))
def test_any_transposed_convolution(made: tuple[Layer, Shape], samples: int, seed: int, dtype: str) -> None:
    layer, shape = made
    assume(fits([layer], shape))
    check_agreement([layer], shape, values(samples, shape, seed, dtype))


@settings(max_examples=20)
@given(transposed(), st.integers(2, 5), st.integers(0, 99), st.sampled_from(DTYPES))
def test_what_stands_behind_a_transposed_convolution(
    made: tuple[Layer, Shape], samples: int, seed: int, dtype: str
) -> None:
    layer, shape = made
    assume(fits([layer], shape))
    x = values(samples, shape, seed, dtype)
    check_agreement([layer, GELU()], shape, x, tolerance=3 * TOLERANCE[dtype])
    # Variances of what the layer never reaches are 0: then a gradient is divided by the root of epsilon alone.
    check_agreement([layer, BatchNorm(epsilon=0.1), LeakyReLU(0.1)], shape, x, tolerance=10 * TOLERANCE[dtype])


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (ConvolutionLayer(4, 3, 3, 10**9, zero_padding=1), (2, 5, 6)),
        (TransposedConvolutionLayer(4, 3, 2, 10**9), (2, 1, 1)),
        (Convolution1DLayer(4, 3, 10**9), (9, 2)),
    ],
    ids=str,
)
def test_a_stride_beyond_the_picture_takes_no_time(layer: Layer, shape: Shape) -> None:
    check_agreement([layer], shape, values(2, shape, 1, "float32"))


wide = st.tuples(st.integers(1, 24), st.integers(1, 24))


@st.composite
def leaping(draw: st.DrawFn) -> tuple[Layer, Shape]:
    """Return a transposed convolution, or a convolution, whose windows lie far apart."""
    groups, stride, size = draw(st.integers(1, 2)), draw(wide), draw(wide)
    filters, dilation = groups * draw(st.integers(1, 9)), draw(st.just((1, 1)) | pairs)
    channels = groups * draw(st.integers(1, 9))
    if draw(st.booleans()):
        layer = TransposedConvolutionLayer(filters, *size, stride, dilation=dilation, groups=groups)
        return layer, (channels, draw(small), draw(small))
    image = (dilation[a] * (size[1 - a] - 1) + draw(st.integers(1, 60)) for a in (0, 1))
    return ConvolutionLayer(filters, *size, stride, dilation=dilation, groups=groups), (channels, *image)


@settings(max_examples=40)
@given(leaping(), st.integers(1, 5), st.integers(0, 99), st.sampled_from(DTYPES))
def test_any_large_stride(made: tuple[Layer, Shape], samples: int, seed: int, dtype: str) -> None:
    layer, shape = made
    assume(fits([layer], shape))
    x = values(samples, shape, seed, dtype)
    check_agreement([layer], shape, x)
    alone, *others = (passes(CpuEngine("test", dtype, threads), [layer], shape, x) for threads in (1, 2, 3))
    for name, value in alone.items():
        assert all((value == other[name]).all() for other in others), name


@pytest.mark.parametrize("stride", [2, 16, 17, 64, 640])
@pytest.mark.parametrize(
    ("kind", "shape"),
    [(TransposedConvolutionLayer, (4, 1, 2)), (ConvolutionLayer, (4, 7, 1300))],
    ids=["back", "there"],
)
@pytest.mark.parametrize("size", [3, 64])
def test_a_program_is_no_longer_for_a_larger_stride(
    kind: Any, shape: Shape, size: int, stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed, add = list[int](), Program.add

    def noted(self: Program, name: str, /, *rest: Any, **given: Any) -> None:
        listed.append(getattr(given.get("s"), "n_phases", 0))
        add(self, name, *rest, **given)

    monkeypatch.setattr(Program, "add", noted)
    layer = kind(3, size, 7, stride if kind is TransposedConvolutionLayer else (1, stride))
    passes(CpuEngine("test", "float32", 1), [layer], shape, values(2, shape, 1, "float32"))
    assert len(listed) <= 12
    assert sum(listed) <= 300


@settings(max_examples=40)
@given(
    st.one_of(
        pairs.map(lambda factor: {"factor": factor}),
        st.tuples(st.integers(1, 50), small).map(lambda size: {"size": size}),
    ),
    st.sampled_from([("nearest", False), *itertools.product(["bilinear", "bicubic"], [False, True])]),
    st.tuples(st.integers(1, 20), st.integers(1, 9), st.integers(1, 9)),
    st.integers(1, 5),
    st.sampled_from(DTYPES),
)
def test_any_upsampling(
    how: dict[str, tuple[int, int]], mode: tuple[str, bool], shape: Shape, samples: int, dtype: str
) -> None:
    layer = UpsamplingLayer(**how, mode=mode[0], align_corners=mode[1])  # type: ignore[arg-type]
    check_agreement([layer], shape, values(samples, shape, 1, dtype))


@settings(max_examples=20)
@given(st.integers(1, 4), st.integers(1, 9), pairs, st.integers(1, 20), st.sampled_from(DTYPES))
def test_any_shuffle_and_reshape(factor: int, channels: int, size: tuple[int, int], samples: int, dtype: str) -> None:
    shape = (channels * factor**2, *size)
    x = values(samples, shape, 1, dtype)
    turned = Reshape((size[1], channels * factor, factor * size[0]))
    check_agreement([PixelShuffle(factor)], shape, x)
    wide = channels, factor * size[0], factor * size[1]
    check_agreement([PixelUnshuffle(factor)], wide, x.reshape(-1, *wide))
    check_agreement([turned, LeakyReLU(0.1), Reshape((x[0].size,)), Reshape(shape)], shape, x)


@settings(max_examples=40)
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=5), st.randoms(use_true_random=False), st.integers(1, 20),
    st.sampled_from(DTYPES),
)  # fmt: skip
def test_any_order_of_axes(sizes: list[int], rng: random.Random, samples: int, dtype: str) -> None:
    axes = list(range(1, len(sizes) + 1))
    rng.shuffle(axes)
    layers = [Permute(tuple(axes)), LeakyReLU(0.1)]
    check_agreement(layers, tuple(sizes), values(samples, tuple(sizes), 1, dtype))
