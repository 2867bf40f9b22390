"""Activations in the words of the kernels."""

from collections.abc import Callable
from typing import Any

from gedanken.engine.cpu.kernels import curves
from gedanken.engine.cpu.kernels import rows as kinds
from gedanken.engine.cpu.kernels.rows import Activation
from gedanken.layers import (
    CELU,
    ELU,
    GELU,
    SELU,
    HardSigmoid,
    HardSwish,
    HardTanH,
    Layer,
    LeakyReLU,
    LogSigmoid,
    Mish,
    ReLU,
    ReLU6,
    Shrink,
    Sigmoid,
    SiLU,
    Softplus,
    Softsign,
    TanH,
    TanHShrink,
    Threshold,
)
from gedanken.layers.clipped import Clipped
from gedanken.layers.curves import SELU_ALPHA, SELU_SCALE


def _curve(kind: int, **numbers: float) -> Activation:
    """Return an activation of a kind, with the numbers that its formula has."""
    return Activation(
        kind=kind, **{name: numbers.get(name, 0.0) for name in ("slope", "rate", "gain", "offset", "low", "high")}
    )


def _clipped(layer: Clipped) -> Activation:
    slope, offset, low, high = layer.pieces
    return _curve(kinds.CLIPPED, slope=slope, offset=offset, low=low, high=high)


LINEAR = _curve(kinds.NONE)
ACTIVATIONS: dict[type[Layer], Callable[[Any], Activation]] = {
    ReLU: lambda _: _curve(kinds.RELU),
    LeakyReLU: lambda layer: _curve(kinds.LEAKY_RELU, slope=layer.slope),
    Sigmoid: lambda _: _curve(kinds.SIGMOID),
    TanH: lambda _: _curve(kinds.TANH),
    ReLU6: _clipped,
    HardTanH: _clipped,
    HardSigmoid: _clipped,
    SiLU: lambda _: _curve(kinds.SILU),
    GELU: lambda layer: _curve(curves.GELU_TANH if layer.approximate else kinds.GELU),
    ELU: lambda layer: _curve(kinds.ELU, slope=layer.alpha, rate=1.0, gain=1.0),
    CELU: lambda layer: _curve(kinds.ELU, slope=layer.alpha, rate=1 / layer.alpha, gain=1.0),
    SELU: lambda _: _curve(kinds.ELU, slope=SELU_SCALE * SELU_ALPHA, rate=1.0, gain=SELU_SCALE),
    Softplus: lambda layer: _curve(curves.SOFTPLUS, slope=1 / layer.beta, rate=layer.beta),
    LogSigmoid: lambda _: _curve(curves.SOFTPLUS, slope=-1.0, rate=-1.0),
    Mish: lambda _: _curve(curves.MISH),
    Softsign: lambda _: _curve(curves.SOFTSIGN),
    TanHShrink: lambda _: _curve(curves.TANH_SHRINK),
    HardSwish: lambda _: _curve(curves.HARD_SWISH),
    Threshold: lambda layer: _curve(curves.THRESHOLD, low=layer.threshold, offset=layer.value),
    Shrink: lambda layer: _curve(curves.SHRINK, low=layer.threshold, offset=layer.offset),
}


def activation_of(layer: Layer | None) -> Activation:
    """Return the kernels' word for an activation, or for none."""
    return LINEAR if layer is None else ACTIVATIONS[type(layer)](layer)


def needs_input(activation: Activation) -> bool:
    """Return whether the derivative of an activation cannot be had from its result."""
    return bool(activation.kind >= kinds.SILU)
