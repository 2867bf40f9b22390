"""Products that sum over very many numbers keep their digits, by kernels and by the specification."""

import numpy as np
import pytest

from gedanken import ConvolutionLayer, FullyConnectedLayer, Layer
from gedanken.engine.plan import Plan
from gedanken.engine.select import select_engine
from gedanken.types import Array, Shape

# Sums of n equal numbers are the hardest: all roundings go the same way. One plain sum of these is off by 1e-3 to 1e-5.
LONG = 3e-6


def passes(layer: Layer, shape: Shape, samples: int, engine: str, dtype: str) -> list[Array]:
    """Return outputs, the kernel's gradient and the input's, where all numbers are a tenth."""
    plan = Plan([layer], shape, select_engine(engine, dtype), 0)
    plan._passes = plan._passes._replace(stages=plan.engine.stages(plan.layers, dx=True))
    plan.params[...] = 0.1
    ctx = plan.context(train=True)
    y, tape = plan.forward(ctx, np.full((samples, *shape), 0.1, dtype))
    y = y.copy()
    dx = plan.stages[0].backward(ctx, tape.pop(), np.full(y.shape, 0.1, dtype)).copy()
    return [y, plan.layers[0].g["kernel"].copy(), dx]


@pytest.mark.parametrize(
    ("layer", "shape", "samples"),
    [
        (FullyConnectedLayer(3), (300_000,), 9),
        (FullyConnectedLayer(1), (300_000,), 12),
        (FullyConnectedLayer(1), (3_000_000,), 2),
        (FullyConnectedLayer(3), (1_000_000,), 1),
        (FullyConnectedLayer(3), (7, 10_007), 2),
        (FullyConnectedLayer(20), (60_000,), 20),
        (FullyConnectedLayer(60_000), (4,), 9),
        (FullyConnectedLayer(8), (16,), 200_000),
        (FullyConnectedLayer(1), (3,), 200_000),
        (ConvolutionLayer(4, 3, 3, zero_padding=1), (2, 300, 300), 4),
        (ConvolutionLayer(20, 3, 3), (2, 300, 300), 4),
        (ConvolutionLayer(40, 1, 1), (8, 300, 300), 2),
        (ConvolutionLayer(1, 1, 1), (16, 300, 300), 2),
        (ConvolutionLayer(20, 100, 100), (4, 101, 101), 2),
        (ConvolutionLayer(2, 60, 60), (1, 130, 130), 1),
        (ConvolutionLayer(1, 40, 40), (20, 70, 70), 1),
        (ConvolutionLayer(2, 30, 30, groups=2, dilation=2), (8, 80, 80), 1),
        (ConvolutionLayer(6, 90, 90, groups=6), (6, 100, 120), 1),
        (ConvolutionLayer(5, 20, 30, groups=5, stride=(2, 1), dilation=(2, 3)), (5, 80, 130), 2),
        (ConvolutionLayer(20, 150, 150), (4, 150, 150), 9),
    ],
    ids=str,
)
@pytest.mark.parametrize("engine", ["numpy", "cpu"])
def test_long_sums_keep_their_digits(layer: Layer, shape: Shape, samples: int, engine: str) -> None:
    expected = passes(layer, shape, samples, "numpy", "float64")
    got = passes(layer, shape, samples, engine, "float32")
    for exact, rounded in zip(expected, got, strict=True):
        np.testing.assert_allclose(rounded, exact, rtol=LONG, atol=0)
