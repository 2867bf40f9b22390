"""Pooling: each window of an image, channel by channel, becomes one number."""

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gedanken.checks import extent, real, require, truth
from gedanken.errors import ShapeError
from gedanken.geometry import NO_SIDES, Geometry, Padding, Span, Window, require_image, sides, untie, window
from gedanken.layers.base import Context, Layer
from gedanken.layers.power_norm import norm, slope
from gedanken.types import Array, Arrays, Shape


class BasePool(Layer):
    """What all poolings share: where the windows stand, and giving gradients back to overlapping windows.

    A new pooling says where its windows stand and writes `pool` and `tap_gradient`, a few lines each.
    """

    outside = 0.0  # the value of a padded pixel

    @abstractmethod
    def geometry(self, shape: Shape) -> Geometry:
        """Return where the windows stand on images of `shape` = (H, W, C)."""

    @abstractmethod
    def pool(self, xp: Any, windows: Array) -> tuple[Array, Any]:
        """Return the pooled windows and what `tap_gradient` needs.

        Shapes:
            windows: (N, H', W', R, S, C).   first result: (N, H', W', C).
        """

    @abstractmethod
    def tap_gradient(self, xp: Any, cache: Any, dy: Array, r: int, s: int) -> Array:
        """Return the gradient with respect to the value at (r, s) of each window.

        Shapes:
            dy, result: (N, H', W', C).
        """

    def output_shape(self, shape: Shape) -> Shape:
        return (*self.geometry(shape).positions(shape), shape[2])

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        geometry = self.geometry(x.shape[1:])
        windows = ctx.ops.windows(ctx.ops.pad(x, geometry, self.outside), geometry)
        y, cache = self.pool(ctx.ops.xp, windows)
        return y, (cache, x.shape[1:])

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        cache, image = cache
        geometry = self.geometry(image)
        # In float64, since as many windows overlap as a window has pixels.
        dx, dpadded = ctx.ops.padded_zeros(len(dy), geometry, image, "float64")
        taps = ctx.ops.windows(dpadded, geometry)
        for r, s in np.ndindex(geometry.size):
            tap = taps[:, :, :, r, s]
            tap += self.tap_gradient(ctx.ops.xp, cache, dy, r, s)
        return dx.astype(dy.dtype)


@dataclass(frozen=True, eq=False, repr=False)
class _SlidingPool(BasePool):
    """A pooling with a window of fixed size; stride None means windows side by side."""

    width_filter: int
    height_filter: int
    stride: int | tuple[int, int] | None = None
    zero_padding: Padding = 0
    dilation: int | tuple[int, int] = 1
    ceil_mode: bool = False

    def __post_init__(self) -> None:
        untie(self, "stride", "zero_padding", "dilation")
        name = type(self).__name__
        truth(f"{name} ceil_mode", self.ceil_mode)
        window = self.window()
        if not isinstance(self.zero_padding, str):
            reach = tuple(d * (s - 1) + 1 for s, d in zip(window.size, window.dilation, strict=True))
            amounts = sides("zero_padding", self.zero_padding)
            fits = all(max(both) < length for both, length in zip(amounts, reach, strict=True))
            require(fits, f"{name} zero_padding", f"be smaller than the window {reach}", self.zero_padding)

    def window(self) -> Window:
        """Return the window, not yet set on an image."""
        stride = (self.height_filter, self.width_filter) if self.stride is None else self.stride
        name = type(self).__name__
        made = window(name, self.width_filter, self.height_filter, stride, self.zero_padding, self.dilation)
        return replace(made, ceil=self.ceil_mode)

    def geometry(self, shape: Shape) -> Geometry:
        geometry = self.window().on(shape)
        for axis in (0, 1):
            # Only taps that lie further apart than the image is long can all miss it.
            if geometry.dilation[axis] > shape[axis] and not geometry.span(axis, shape[axis], 0).seen.all():
                raise ShapeError(
                    f"has a dilation of {geometry.dilation[axis]}, with which some window sees no pixel of the image "
                    f"of {shape[0]} x {shape[1]}",
                    "use a smaller dilation or less zero_padding",
                )
        return geometry

    def spans(self, shape: Shape) -> tuple[Span, Span]:
        """Return what the windows see of an image (H, W, C) along both axes; the padding that was asked for counts."""
        geometry, asked = self.geometry(shape), self.window().amounts(shape)
        return geometry.span(0, shape[0], asked[0][1]), geometry.span(1, shape[1], asked[1][1])


class MaxPoolLayer(_SlidingPool):
    """Take the largest value of each window.

        y[n, i, j, c] = max over r, s of x[n, i * stride + r * dilation, j * stride + s * dilation, c]

    The gradient goes to the first largest value of each window, in reading order. A NaN in a window is its result.

    Args:
        width_filter, height_filter: size of a window in pixels, at least 1.
        stride: pixels between two windows, a number or a pair (vertical, horizontal); None is the window's size.
        zero_padding: rows and columns around the image, a number, a pair (vertical, horizontal), or
            ((top, bottom), (left, right)), less than the window; or "same". They never win.
        dilation: pixels between two values of one window, a number or a pair, at least 1.
        ceil_mode: whether a last window that reaches beyond the padded image counts, if it begins inside the image or
            in the padding before it; then H' is rounded up. What lies beyond never wins.

    Shapes:
        x: (N, H, W, C).   y: (N, H', W', C), H' as for ConvolutionLayer.

    Raises:
        ShapeError: the input is not an image, or smaller than a window, or a window sees nothing of it (at compile
            time).

    Source:
        Riesenhuber & Poggio 1999, "Hierarchical models of object recognition in cortex".
    """

    outside = -np.inf

    def pool(self, xp: Any, windows: Array) -> tuple[Array, Any]:
        height, width = windows.shape[3:5]
        taps = [windows[:, :, :, r, s] for r, s in np.ndindex(height, width)]
        y = taps[0].copy()
        for tap in taps[1:]:
            xp.maximum(y, tap, out=y)
        # the number of the first tap that equals the maximum is the number of taps before it
        winner = xp.zeros(y.shape, np.min_scalar_type(len(taps) - 1))
        searching = xp.ones(y.shape, bool)
        for tap in taps[:-1]:
            searching &= tap != y
            winner += searching
        return y, (winner, width)

    def tap_gradient(self, xp: Any, cache: Any, dy: Array, r: int, s: int) -> Array:
        winner, width = cache
        return dy * (winner == r * width + s)


@dataclass(frozen=True, eq=False, repr=False)
class AveragePoolLayer(_SlidingPool):
    """Take the mean of each window; padded zeros count as values, unless count_padding=False.

        y[n, i, j, c] = mean over r, s of x[n, i * stride + r * dilation, j * stride + s * dilation, c]

    Args:
        width_filter, height_filter: size of a window in pixels, at least 1.
        stride: pixels between two windows, a number or a pair (vertical, horizontal); None is the window's size.
        zero_padding: rows and columns around the image, a number, a pair (vertical, horizontal), or
            ((top, bottom), (left, right)), less than the window; or "same". They are zeros.
        dilation: pixels between two values of one window, a number or a pair, at least 1.
        ceil_mode: whether a last window that reaches beyond the padded image counts, if it begins inside the image or
            in the padding before it; then H' is rounded up. What lies beyond never counts.
        count_padding: whether the zeros around the image count, as in PyTorch; False: the mean is over the pixels of
            the image that a window sees, as in Keras.
        divisor: what each window's sum is divided by, at least 1, in place of the number of its values; None is that
            number. With 1 it is a sum.

    Shapes:
        x: (N, H, W, C).   y: (N, H', W', C), H' as for ConvolutionLayer.

    Raises:
        ShapeError: the input is not an image, or smaller than a window, or a window sees nothing of it (at compile
            time).

    Source:
        LeCun et al. 1998, "Gradient-based learning applied to document recognition". Differs: no trained factor.
    """

    count_padding: bool = True
    divisor: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        truth("AveragePoolLayer count_padding", self.count_padding)
        if self.divisor is not None:
            extent("AveragePoolLayer divisor", self.divisor)

    def counts(self, shape: Shape) -> tuple[Array, Array]:
        """Return what the sum of each window is divided by: the numbers along both axes, to be multiplied."""
        rows, columns = self.spans(shape)
        if self.divisor is not None:
            return np.full_like(rows.counted, self.divisor), np.ones_like(columns.counted)
        return (rows.counted, columns.counted) if self.count_padding else (rows.seen, columns.seen)

    def is_even(self, shape: Shape) -> bool:
        """Return whether every mean is over as many values as the window has."""
        rows, columns = self.counts(shape)
        return int(rows.min()) * int(columns.min()) == self.height_filter * self.width_filter

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        y, (taps, image) = super().forward(ctx, p, s, x)
        if self.is_even(image):
            return y, (taps, image)
        rows, columns = self.counts(image)
        counts = ctx.ops.asarray(rows[:, None, None] * columns[None, :, None], y.dtype)
        return y * (taps / counts), (counts, image)

    def pool(self, xp: Any, windows: Array) -> tuple[Array, Any]:
        mean = windows.mean(axis=(3, 4), dtype="float64")
        return mean.astype(windows.dtype), windows.shape[3] * windows.shape[4]

    def tap_gradient(self, xp: Any, cache: Any, dy: Array, r: int, s: int) -> Array:
        return dy / cache


@dataclass(frozen=True, eq=False, repr=False)
class LpPoolLayer(_SlidingPool):
    """Take the p-norm of each window: with power=1 the sum of sizes, with a high one nearly the largest of them.

        y[n, i, j, c] = (sum over r, s of |x[n, i * stride + r * dilation, j * stride + s * dilation, c]|**p)**(1 / p)

    Where a window is all 0 its gradient is taken as 0.

    Args:
        width_filter, height_filter: size of a window in pixels, at least 1.
        stride, zero_padding, dilation: as for AveragePoolLayer. Padded pixels are 0 and add nothing.
        ceil_mode: as for AveragePoolLayer; what lies beyond adds nothing.
        power: p, at least 1.

    Shapes:
        x: (N, H, W, C).   y: (N, H', W', C), H' as for ConvolutionLayer.

    Raises:
        ShapeError: the input is not an image, or smaller than a window, or a window sees nothing of it (at compile
            time).

    Source:
        Sermanet, Chintala & LeCun 2012, arXiv:1204.3968 ("Lp-pooling"). Differs: pixels of a window count alike.
    """

    power: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        real("LpPoolLayer power", self.power, "[1, inf)")

    def pool(self, xp: Any, windows: Array) -> tuple[Array, Any]:
        y = norm(xp, windows.reshape(*windows.shape[:3], -1, windows.shape[5]), self.power, axis=3)
        return y.astype(windows.dtype), (windows, y)

    def tap_gradient(self, xp: Any, cache: Any, dy: Array, r: int, s: int) -> Array:
        windows, y = cache
        return dy * slope(xp, windows[:, :, :, r, s], y, self.power)


class _GlobalPool(BasePool):
    """A pooling whose one window is the whole image."""

    def geometry(self, shape: Shape) -> Geometry:
        require_image(shape)
        return Geometry((shape[0], shape[1]), (1, 1), NO_SIDES)

    def output_shape(self, shape: Shape) -> Shape:
        self.geometry(shape)
        return (shape[2],)


class GlobalMaxPoolLayer(_GlobalPool):
    """Take the largest value of each channel in the whole image.

        y[n, c] = max over i, j of x[n, i, j, c]

    The gradient goes to the first largest value, in reading order. A NaN is the result where there is one.

    Shapes:
        x: (N, H, W, C).   y: (N, C).

    Raises:
        ShapeError: the input is not an image (at compile time).

    Source:
        Oquab et al. 2015, "Is object localization for free?", section 3.
    """

    def pool(self, xp: Any, windows: Array) -> tuple[Array, Any]:
        pixels = windows.reshape(len(windows), -1, windows.shape[5])
        winner = pixels.argmax(axis=1)[:, None]
        return xp.take_along_axis(pixels, winner, axis=1)[:, 0], winner

    def tap_gradient(self, xp: Any, cache: Any, dy: Array, r: int, s: int) -> Array:
        raise NotImplementedError("the gradient of the whole image is made at once")

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        xp, (winner, image) = ctx.ops.xp, cache
        won = xp.arange(image[0] * image[1])[:, None] == winner
        return xp.where(won, dy[:, None], 0).astype(dy.dtype).reshape(len(dy), *image)


class GlobalAveragePoolLayer(_GlobalPool):
    """Take the mean of each channel over the whole image.

        y[n, c] = mean over i, j of x[n, i, j, c]

    Shapes:
        x: (N, H, W, C).   y: (N, C).

    Raises:
        ShapeError: the input is not an image (at compile time).

    Source:
        Lin, Chen & Yan 2013, arXiv:1312.4400, section 3.2.
    """

    def pool(self, xp: Any, windows: Array) -> tuple[Array, Any]:
        mean = windows.mean(axis=(1, 2, 3, 4), dtype="float64")
        return mean.astype(windows.dtype), windows.shape[3] * windows.shape[4]

    def tap_gradient(self, xp: Any, cache: Any, dy: Array, r: int, s: int) -> Array:
        return dy[:, None, None, :] / cache

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        pixels, image = cache
        return ctx.ops.xp.broadcast_to((dy / pixels)[:, None, None, :], (len(dy), *image)).copy()


@dataclass(frozen=True, eq=False, repr=False)
class GlobalLpPoolLayer(_GlobalPool):
    """Take the p-norm of each channel over the whole image.

        y[n, c] = (sum over i, j of |x[n, i, j, c]| ** p) ** (1 / p)

    Args:
        power: p, at least 1.

    Shapes:
        x: (N, H, W, C).   y: (N, C).

    Raises:
        ShapeError: the input is not an image (at compile time).

    Source:
        Sermanet, Chintala & LeCun 2012, arXiv:1204.3968 ("Lp-pooling"). Differs: one window.
    """

    power: float = 2.0

    def __post_init__(self) -> None:
        real("GlobalLpPoolLayer power", self.power, "[1, inf)")

    def pool(self, xp: Any, windows: Array) -> tuple[Array, Any]:
        pixels = windows.reshape(len(windows), -1, windows.shape[5])
        y = norm(xp, pixels, self.power, axis=1)
        return y.astype(windows.dtype), (pixels, y)

    def tap_gradient(self, xp: Any, cache: Any, dy: Array, r: int, s: int) -> Array:
        raise NotImplementedError("the gradient of the whole image is made at once")

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        (pixels, y), image = cache
        dx = dy[:, None] * slope(ctx.ops.xp, pixels, y[:, None], self.power)
        return dx.astype(dy.dtype).reshape(len(dy), *image)
