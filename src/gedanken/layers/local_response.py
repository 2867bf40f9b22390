"""Local response normalisation."""

from dataclasses import dataclass
from typing import Any

from gedanken.checks import extent, real
from gedanken.errors import ShapeError
from gedanken.layers.base import ByPlace, Context
from gedanken.types import Array, Arrays, Shape


@dataclass(frozen=True, eq=False, repr=False)
class LocalResponseNorm(ByPlace):
    """Divide each value by a power of the mean square of the channels beside it, at the same pixel.

        y[..., c] = x[..., c] / d[..., c] ** beta
        d[..., c] = k + alpha / size * sum of x[..., e]**2 over c - floor(size / 2) <= e <= c + floor((size - 1) / 2)

    Channels that do not exist count as 0.

    Args:
        size: number of channels, at least 1.
        alpha: share of the mean square, at least 0.
        beta: the power, at least 0.
        k: what is added to it, > 0.

    Shapes:
        x, y: (N, ..., C).

    Raises:
        ShapeError: the input has no channels (at compile time).

    Source:
        Krizhevsky, Sutskever & Hinton 2012, "ImageNet classification with deep convolutional neural networks", section
        3.3. Differs: alpha / size, as in PyTorch, where the paper has alpha; its network is size=5, alpha=5e-4, k=2.
    """

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def __post_init__(self) -> None:
        extent("LocalResponseNorm size", self.size)
        real("LocalResponseNorm alpha", self.alpha, "[0, inf)")
        real("LocalResponseNorm beta", self.beta, "[0, inf)")
        real("LocalResponseNorm k", self.k, "(0, inf)")

    def output_shape(self, shape: Shape) -> Shape:
        if not shape:
            raise ShapeError("needs channels (..., C)")
        return shape

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        squares = ctx.ops.xp.square(x, dtype="float64")
        d = self.k + self.alpha / self.size * _sums(ctx.ops.xp, squares, self.size // 2, (self.size - 1) // 2)
        return (x * d**-self.beta).astype(x.dtype), (x, d)

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        x, d = cache
        # A channel is beside those that have it beside them, counted from the other side.
        sums = _sums(ctx.ops.xp, dy * x * d ** (-self.beta - 1), (self.size - 1) // 2, self.size // 2)
        return (dy * d**-self.beta - 2 * self.alpha * self.beta / self.size * x * sums).astype(dy.dtype)


def _sums(xp: Any, values: Array, before: int, after: int) -> Array:
    """Return for each channel the sum over itself, so many before it and so many after it."""
    channels = values.shape[-1]
    total = xp.zeros_like(values)
    for step in range(-min(before, channels - 1), min(after, channels - 1) + 1):
        low, high = max(0, -step), min(channels, channels - step)
        total[..., low:high] += values[..., low + step : high + step]
    return total
