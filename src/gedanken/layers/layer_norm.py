"""Normalisations of a sample, or of each place of it, over some of its axes: LayerNorm, RMSNorm and UnitNorm."""

from dataclasses import KW_ONLY, dataclass
from typing import Any

from gedanken.checks import real
from gedanken.layers.base import Context
from gedanken.layers.norm import Norm, normalised_dx
from gedanken.layers.over_axes import OverAxes
from gedanken.types import Array, Arrays


@dataclass(frozen=True, eq=False, repr=False)
class LayerNorm(OverAxes, Norm):
    """Normalise each sample over all its features, then scale and shift each feature.

        y = scale * (x - mean) / sqrt(var + epsilon) + shift

    On images the mean is over height, width and channels, and scale and shift are per channel. On a sequence (T, F)
    each of the T vectors is normalised by itself. With `axes` the mean is over these, and scale and shift are as
    large as they are: `axes=1` normalises the channels of each pixel of an image (C, H, W), as ConvNeXt does.

    Args:
        axes: the axes of a sample that a mean is over, a number or several, counted from 1 as users see them; see
            Permute. A mean over the places of a sequence does not honour lengths.
        epsilon: added to the variance, > 0, in squared units of x.
        scale, shift: whether there is a scale, and a shift.

    Shapes:
        x, y: (N, F), (N, T, F) or (N, H, W, C).   scale, shift: (F,) or (C,); with `axes` these, of (H, W, C) in order.

    Raises:
        ShapeError: the input has no channel axis, or not all of `axes` (at compile time).

    Source:
        Ba, Kiros & Hinton 2016, arXiv:1607.06450, equation 3.
    """

    _: KW_ONLY
    axes: int | tuple[int, ...] | None = None
    epsilon: float = 1e-5
    scale: bool = True
    shift: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_axes()

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        axes = self._over(x)
        h, _ = ctx.ops.centred(x, axes)
        deviation = ctx.ops.xp.sqrt(ctx.ops.mean_square(h, axis=axes, keepdims=True) + self.epsilon)
        h /= deviation
        return self._scaled(p, h), (h, deviation, axes)

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        h, deviation, axes = cache
        return normalised_dx(ctx.ops, self._scaled_back(ctx.ops, p, g, h, dy), h, deviation, axes)


@dataclass(frozen=True, eq=False, repr=False)
class RMSNorm(OverAxes, Norm):
    """Divide each sample by the root of the mean square of all its features, then scale each feature.

        y = scale * h,   h = x / r,   r = sqrt(mean(x**2) + epsilon)
        dx = (dh - h * mean(dh * h)) / r,   dh = scale * dy

    As LayerNorm, without a mean to subtract and a shift: on images the mean is over height, width and channels; on a
    sequence (T, F) each of the T vectors is divided by itself.

    Args:
        axes: the axes of a sample that the mean is over; see LayerNorm.
        epsilon: added to the mean square, > 0, in squared units of x.
        scale: whether there is a scale.

    Shapes:
        x, y: (N, F), (N, T, F) or (N, H, W, C).   scale: (F,) or (C,); with `axes` as that of LayerNorm.

    Raises:
        ShapeError: the input has no channel axis, or not all of `axes` (at compile time).

    Source:
        Zhang & Sennrich 2019, arXiv:1910.07467, equation 4.
    """

    _: KW_ONLY
    axes: int | tuple[int, ...] | None = None
    epsilon: float = 1e-6
    scale: bool = True
    shift = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_axes()

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        axes = self._over(x)
        root = ctx.ops.xp.sqrt(ctx.ops.mean_square(x, axis=axes, keepdims=True) + self.epsilon)
        h = x / root
        return self._scaled(p, h), (h, root, axes)

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        h, root, axes = cache
        dh = self._scaled_back(ctx.ops, p, g, h, dy)
        return (dh - h * ctx.ops.mean(dh * h, axis=axes, keepdims=True)) / root


@dataclass(frozen=True, eq=False, repr=False)
class UnitNorm(OverAxes):
    """Divide each vector by its length.

        y = x / r,   r = sqrt(sum(x**2) + epsilon)
        dx = (dy - y * sum(dy * y)) / r

    A vector is a sample's features, those of one place of a sequence, or the channels of one pixel.

    Args:
        axes: the axes of a sample that a vector is made of; see LayerNorm.
        epsilon: added to the sum of squares, so that a vector of zeros stays one; > 0, in squared units of x.

    Shapes:
        x, y: (N, F), (N, T, F) or (N, H, W, C).

    Raises:
        ShapeError: the input has no channel axis, or not all of `axes` (at compile time).

    Source:
        Wang et al. 2017, arXiv:1704.06369, section 3.2. Keras and PyTorch divide by max(|x|, 1e-12) instead.
    """

    _: KW_ONLY
    axes: int | tuple[int, ...] | None = None
    epsilon: float = 1e-12
    whole_pictures = False

    def __post_init__(self) -> None:
        real("UnitNorm epsilon", self.epsilon, "(0, inf)")
        self._check_axes()

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        axes = self._over(x)
        squares = ctx.ops.xp.sum(ctx.ops.xp.square(x, dtype="float64"), axis=axes, keepdims=True)
        root = ctx.ops.xp.sqrt(squares + self.epsilon).astype(x.dtype)
        y = x / root
        return y, (y, root, axes)

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        y, root, axes = cache
        return (dy - y * ctx.ops.sum(dy * y, axis=axes, keepdims=True)) / root
