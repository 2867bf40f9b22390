"""Convolutions multiply what their windows see and few zeros, whatever the window."""

import math

import pytest

from gedanken import ConvolutionLayer
from gedanken.engine.cpu.engine import CpuEngine
from gedanken.engine.cpu.lowering import bf16, spread
from gedanken.engine.cpu.lowering.base import Lowering
from gedanken.engine.cpu.lowering.plan import Plan
from gedanken.engine.cpu.lowering.products import products_of
from gedanken.engine.cpu.lowering.taps import backward, forward, tiles_of
from gedanken.engine.cpu.program import Program
from gedanken.geometry import Geometry

MOST = 1.5  # products for each one that is needed
SAMPLES = 24


def needed(plan: Plan) -> int:
    """Return how many pairs of an output and a tap inside the image there are."""
    along = [sum(int((last - first).clip(0).sum()) for _, first, last in plan.limits(axis)) for axis in (0, 1)]
    return SAMPLES * math.prod(along)


def done(plan: Plan, geometry: Geometry) -> float:
    """Return how many are multiplied, in units of an output's and a tap's numbers."""
    engine = CpuEngine("test", "float32", 1)
    low = Lowering(Program(engine.library, engine.pool), SAMPLES, True, 0, products_of(engine.library))
    if spread.is_worth(low, plan, geometry):
        return SAMPLES * math.prod(plan.source[:2]) * math.prod(geometry.size)
    return tiles_of(low, plan).work


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (ConvolutionLayer(64, 32, 3), (1, 64, 32)),
        (ConvolutionLayer(64, 128, 3), (1, 64, 128)),
        (ConvolutionLayer(64, 32, 3), (16, 64, 32)),
        (ConvolutionLayer(64, 3, 32), (16, 32, 64)),
        (ConvolutionLayer(64, 3, 64), (1, 64, 64)),
        (ConvolutionLayer(64, 1, 32), (32, 32, 32)),
        (ConvolutionLayer(64, 32, 1), (32, 32, 32)),
        (ConvolutionLayer(32, 20, 20), (16, 24, 24)),
        (ConvolutionLayer(16, 15, 15, zero_padding=7), (16, 8, 8)),
        (ConvolutionLayer(64, 3, 3, zero_padding=1), (64, 1, 1)),
        (ConvolutionLayer(64, 3, 3, zero_padding=1), (64, 2, 2)),
        (ConvolutionLayer(64, 32, 3, groups=4), (64, 32, 32)),
        (ConvolutionLayer(32, 16, 3, dilation=(1, 2)), (8, 32, 32)),
        (ConvolutionLayer(192, 16, 16, stride=16), (3, 64, 64)),
        (ConvolutionLayer(64, 7, 7, stride=2, zero_padding=3), (3, 64, 64)),
        (ConvolutionLayer(64, 3, 3), (32, 26, 26)),
    ],
    ids=str,
)
def test_few_zeros_are_multiplied(layer: ConvolutionLayer, shape: tuple[int, int, int]) -> None:
    channels, height, width = shape
    image = (height, width, channels)
    geometry = layer.geometry(image)
    for plan in (
        forward(geometry, image, layer.n_filter),
        backward(geometry, image, (*geometry.positions(image), layer.n_filter)),
    ):
        assert done(plan, geometry) <= MOST * needed(plan)


@pytest.mark.parametrize(
    ("layer", "shape", "suits"),
    [
        (ConvolutionLayer(64, 3, 3), (32, 26, 26), True),
        (ConvolutionLayer(64, 3, 3, stride=2, zero_padding=1), (64, 32, 32), True),
        (ConvolutionLayer(64, 32, 3), (1, 64, 32), False),
        (ConvolutionLayer(64, 32, 3), (16, 64, 32), False),
        (ConvolutionLayer(64, 3, 3, zero_padding=1), (64, 1, 1), False),
        (ConvolutionLayer(32, 3, 3), (1, 28, 28), False),
    ],
    ids=str,
)
def test_the_tile_unit_takes_no_gradient_that_is_mostly_zeros(
    layer: ConvolutionLayer, shape: tuple[int, int, int], suits: bool
) -> None:
    image = (*shape[1:], shape[0])
    geometry = layer.geometry(image)
    assert bf16.suits_tile_unit(forward(geometry, image, layer.n_filter), geometry) == suits
