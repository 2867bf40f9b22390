"""The gated linear unit: one half of the channels says how much of the other half goes on."""

from typing import Any

from gedanken.errors import ShapeError
from gedanken.layers.base import ByPlace, Context
from gedanken.types import Array, Arrays, Shape


class GLU(ByPlace):
    """Multiply the first half of the channels by the sigmoid of the second half.

        y = a * q,   q = 1 / (1 + exp(-b)),   x = a beside b
        da = dy * q,   db = dy * a * q * (1 - q)

    Shapes:
        x: (N, ..., C).   y: (N, ..., C / 2).

    Raises:
        ShapeError: the channels cannot be halved (at compile time).

    Source:
        Dauphin et al. 2016, arXiv:1612.08083, equation 1.
    """

    def output_shape(self, shape: Shape) -> Shape:
        channels = shape[-1] if shape else 0
        if not channels or channels % 2:
            raise ShapeError(f"needs an even number of channels, not {channels}")
        return (*shape[:-1], channels // 2)

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        half = x.shape[-1] // 2
        return x[..., :half] * ctx.ops.sigmoid(x[..., half:]), x

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        half = cache.shape[-1] // 2
        a, b = cache[..., :half], cache[..., half:]
        q = ctx.ops.sigmoid(b)
        return ctx.ops.concatenate([dy * q, dy * (a * (q * ctx.ops.sigmoid(-b)))])
