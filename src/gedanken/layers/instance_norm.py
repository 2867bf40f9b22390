"""Normalisations without the mini-batch: InstanceNorm, of each channel by itself, and RMSNorm, without a mean."""

from dataclasses import KW_ONLY, dataclass
from typing import Any

from gedanken.errors import ShapeError
from gedanken.layers.base import ByPlace, Context
from gedanken.layers.norm import Norm, normalised_dx
from gedanken.types import Array, Arrays, Shape


@dataclass(frozen=True, eq=False, repr=False)
class InstanceNorm(Norm):
    """Normalise each channel of each sample over its pixels or times, then scale and shift it.

        y = scale * (x - mean) / sqrt(var + epsilon) + shift

    It is a GroupNorm with a group for each channel. Training and prediction do the same: nothing is remembered.

    Args:
        epsilon: added to the variance, > 0, in squared units of x.
        scale, shift: whether there is a scale, and a shift.

    Shapes:
        x, y: (N, T, F) or (N, H, W, C).   scale, shift: (F,) or (C,).

    Raises:
        ShapeError: the input is neither a sequence nor an image (at compile time).

    Source:
        Ulyanov, Vedaldi & Lempitsky 2016, arXiv:1607.08022, equation 2.
    """

    _: KW_ONLY
    epsilon: float = 1e-5
    scale: bool = True
    shift: bool = True

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) < 2:
            raise ShapeError("needs a sequence (T, F) or an image (C, H, W)", "use LayerNorm for features")
        return shape

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        axes = tuple(range(1, x.ndim - 1))
        h, _ = ctx.ops.centred(x, axes)
        deviation = ctx.ops.xp.sqrt(ctx.ops.mean_square(h, axis=axes, keepdims=True) + self.epsilon)
        h /= deviation
        return self._scaled(p, h), (h, deviation, axes)

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        h, deviation, axes = cache
        return normalised_dx(ctx.ops, self._scaled_back(ctx.ops, p, g, h, dy), h, deviation, axes)


@dataclass(frozen=True, eq=False, repr=False)
class RMSNorm(Norm, ByPlace):
    """Divide each sample by the root of the mean square of all its features, then scale each feature.

        y = scale * h,   h = x / r,   r = sqrt(mean(x**2) + epsilon)
        dx = (dh - h * mean(dh * h)) / r,   dh = scale * dy

    As LayerNorm, without a mean to subtract and a shift: on images the mean is over height, width and channels; on a
    sequence (T, F) each of the T vectors is divided by itself.

    Args:
        epsilon: added to the mean square, > 0, in squared units of x.
        scale: whether there is a scale.

    Shapes:
        x, y: (N, F), (N, T, F) or (N, H, W, C).   scale: (F,) or (C,).

    Raises:
        ShapeError: the input has no channel axis (at compile time).

    Source:
        Zhang & Sennrich 2019, arXiv:1910.07467, equation 4.
    """

    _: KW_ONLY
    epsilon: float = 1e-6
    scale: bool = True
    shift = False

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        axes = (1, 2, 3) if x.ndim == 4 else (-1,)
        root = ctx.ops.xp.sqrt(ctx.ops.mean_square(x, axis=axes, keepdims=True) + self.epsilon)
        h = x / root
        return self._scaled(p, h), (h, root, axes)

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        h, root, axes = cache
        dh = self._scaled_back(ctx.ops, p, g, h, dy)
        return (dh - h * ctx.ops.mean(dh * h, axis=axes, keepdims=True)) / root
