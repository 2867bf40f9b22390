"""Convolutions with fewer products, by windows of 3 x 3 and of one row, give what the specification gives."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gedanken import (
    BatchNorm,
    Convolution1DLayer,
    ConvolutionLayer,
    Layer,
    LeakyReLU,
    TransposedConvolutionLayer,
)
from gedanken.engine.cpu.engine import CpuEngine
from gedanken.engine.cpu.program import Program
from gedanken.types import Shape
from tests.cpu.agree import check_agreement, passes
from tests.cpu.test_kernels_agree import DTYPES, fits, values

LINES = {"winograd.forward", "winograd.gradient", "winograd_lines.pack", "winograd_lines.pack_transposed"}
FEWER = {"winograd.forward", "winograd.gradient", "winograd_basis.pack", "winograd_basis.pack_transposed"}
pads = st.integers(0, 2)
channels = st.integers(7, 40) | st.sampled_from([16, 32, 64])


def kernels_of(layers: list[Layer], shape: Shape, samples: int, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return the kernels that a training step and a prediction call."""
    called, add = set[str](), Program.add

    def noted(self: Program, name: str, /, *rest: Any, **given: Any) -> None:
        called.add(name)
        add(self, name, *rest, **given)

    monkeypatch.setattr(Program, "add", noted)
    passes(CpuEngine("test", "float32", 1), layers, shape, values(samples, shape, 1, "float32"))
    return called


@pytest.mark.parametrize(
    ("layer", "shape", "samples", "fewer"),
    [
        (ConvolutionLayer(32, 3, 3, zero_padding=1), (32, 16, 16), 8, FEWER),
        (ConvolutionLayer(40, 3, 3), (31, 11, 14), 4, FEWER),
        (TransposedConvolutionLayer(32, 3, 3, zero_padding=1), (32, 16, 16), 8, FEWER),
        (Convolution1DLayer(128, 3, zero_padding="causal"), (70, 128), 64, LINES),
        (Convolution1DLayer(128, 5), (70, 128), 64, LINES),
        (ConvolutionLayer(128, 2, 1), (128, 9, 40), 32, LINES),
        (Convolution1DLayer(128, 6), (70, 128), 16, set()),
        (Convolution1DLayer(128, 3, dilation=2), (70, 128), 16, set()),
        (ConvolutionLayer(32, 3, 3, zero_padding=1), (32, 1, 1), 8, set()),
        (ConvolutionLayer(3, 3, 3, zero_padding=1), (2, 16, 16), 8, set()),
        (ConvolutionLayer(32, 3, 3, stride=2, zero_padding=1), (32, 16, 16), 8, set()),
        (ConvolutionLayer(32, 3, 3, dilation=2), (32, 16, 16), 8, set()),
        (ConvolutionLayer(32, 3, 3, groups=2), (32, 16, 16), 8, set()),
        (ConvolutionLayer(32, 5, 5, zero_padding=2), (32, 16, 16), 8, set()),
        # dy would have to be cut off, where more zeros are around the image than windows reach.
        (ConvolutionLayer(32, 3, 3, zero_padding=3), (32, 16, 16), 8, FEWER - {"winograd_basis.pack_transposed"}),
    ],
    ids=lambda part: f"{len(part)} kernels" if isinstance(part, set) else str(part),
)
def test_where_there_are_fewer(
    layer: Layer, shape: Shape, samples: int, fewer: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kernels_of([layer], shape, samples, monkeypatch) & (FEWER | LINES) == fewer
    check_agreement([layer], shape, values(samples, shape, 1, "float32"))


@settings(max_examples=12)
@given(
    channels, channels, st.tuples(st.integers(1, 13), st.integers(1, 30)), st.tuples(st.tuples(pads, pads),
    st.tuples(pads, pads)), st.integers(1, 9), st.booleans(), st.sampled_from(DTYPES),
)  # fmt: skip
def test_any_convolution_by_three(
    ins: int, outs: int, size: tuple[int, int], padding: Any, samples: int, transposed: bool, dtype: str
) -> None:
    around = ConvolutionLayer(outs, 3, 3, zero_padding=padding)
    layer = TransposedConvolutionLayer(outs, 3, 3, zero_padding=padding[0][0]) if transposed else around
    shape = (ins, *size)
    rows = [LeakyReLU(0.5), layer, BatchNorm(), LeakyReLU(0.1)]
    assume(fits(rows, shape) and samples * size[0] * size[1] > 20)
    x = values(samples, shape, 1, dtype) + np.asarray(0.3, dtype)
    check_agreement([layer], shape, x)
    check_agreement(rows, shape, x, tolerance={"float32": 3e-5, "float64": 1e-11}[dtype])


@settings(max_examples=12)
@given(
    st.integers(60, 140), st.integers(60, 140), st.integers(2, 5), st.integers(1, 3), st.integers(1, 40),
    st.tuples(st.integers(0, 4), st.integers(0, 4)) | st.sampled_from(["same", "causal"]), st.integers(1, 9),
    st.sampled_from(DTYPES),
)  # fmt: skip
def test_any_convolution_by_a_row(
    ins: int, outs: int, taps: int, height: int, width: int, padding: Any, samples: int, dtype: str
) -> None:
    if height == 1:
        layer, shape = Convolution1DLayer(outs, taps, zero_padding=padding), (width, ins)
    else:
        sides = "same" if isinstance(padding, str) else ((0, 0), padding)
        layer, shape = ConvolutionLayer(outs, taps, 1, zero_padding=sides), (ins, height, width)
    assume(fits([layer], shape))
    check_agreement([layer, LeakyReLU(0.1)], shape, values(samples, shape, 1, dtype) + np.asarray(0.3, dtype))


@pytest.mark.parametrize(
    ("layers", "shape", "samples"),
    [
        ([Convolution1DLayer(100, 4), BatchNorm()], (45, 128), 9),
        ([ConvolutionLayer(70, 3, 3, zero_padding=1), BatchNorm(), LeakyReLU(0.1)], (33, 13, 10), 7),
        ([ConvolutionLayer(16, 3, 3)], (16, 50, 70), 2),
        ([ConvolutionLayer(300, 3, 3, zero_padding=1)], (40, 4, 4), 30),
    ],
    ids=str,
)
def test_any_number_of_threads_gives_the_same_bits(layers: list[Layer], shape: Shape, samples: int) -> None:
    x = values(samples, shape, 1, "float32")
    check_agreement(layers, shape, x)
    one, *others = (passes(CpuEngine("test", "float32", threads=n), layers, shape, x) for n in (1, 2, 3))
    for other in others:
        for name, found in one.items():
            assert (found == other[name]).all(), name


def test_a_large_picture_s_gradient_keeps_its_digits() -> None:
    shape = (16, 150, 160)
    x = abs(values(1, shape, 1, "float32"))
    check_agreement([ConvolutionLayer(16, 3, 3, zero_padding=1)], shape, x, given=abs, tolerance=3e-6)


def test_a_sample_s_outputs_do_not_depend_on_the_others() -> None:
    shape = (32, 9, 8)
    x, engine = values(40, shape, 1, "float32"), CpuEngine("test", "float32", 1)
    layers: list[Layer] = [ConvolutionLayer(32, 3, 3, zero_padding=1)]
    whole, part = (passes(engine, layers, shape, x[:n])["prediction"] for n in (40, 20))
    assert (whole[:20] == part).all()
