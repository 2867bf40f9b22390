"""Pooling: each window of an image, channel by channel, becomes one number."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from gedanken.checks import pair, require
from gedanken.geometry import Geometry, Padding, Window, require_image, untie, window
from gedanken.layers.base import Context, Layer
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

    def __post_init__(self) -> None:
        untie(self, "stride", "zero_padding")
        window = self._window()
        if not isinstance(self.zero_padding, str):
            padding = pair("zero_padding", self.zero_padding, at_least=0)
            fits = padding[0] < window.size[0] and padding[1] < window.size[1]
            name = f"{type(self).__name__} zero_padding"
            require(fits, name, f"be smaller than the window {window.size}", self.zero_padding)

    def _window(self) -> Window:
        stride = (self.height_filter, self.width_filter) if self.stride is None else self.stride
        name = type(self).__name__
        return window(name, self.width_filter, self.height_filter, stride, self.zero_padding)

    def geometry(self, shape: Shape) -> Geometry:
        return self._window().on(shape)


class MaxPoolLayer(_SlidingPool):
    """Take the largest value of each window.

        y[n, i, j, c] = max over r, s of x[n, i * stride + r, j * stride + s, c]

    The gradient goes to the first largest value of each window, in reading order. A NaN in a window is its result.

    Args:
        width_filter, height_filter: size of a window in pixels, at least 1.
        stride: pixels between two windows, a number or a pair (vertical, horizontal); None is the window's size.
        zero_padding: rows and columns around the image, a number, a pair or "same"; less than the window. They never
            win.

    Shapes:
        x: (N, H, W, C).   y: (N, H', W', C), H' as for ConvolutionLayer.

    Raises:
        ShapeError: the input is not an image, or smaller than a window (at compile time).

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


class AveragePoolLayer(_SlidingPool):
    """Take the mean of each window; padded zeros count as values.

        y[n, i, j, c] = mean over r, s of x[n, i * stride + r, j * stride + s, c]

    Args:
        width_filter, height_filter: size of a window in pixels, at least 1.
        stride: pixels between two windows, a number or a pair (vertical, horizontal); None is the window's size.
        zero_padding: rows and columns of zeros around the image, a number, a pair or "same".

    Shapes:
        x: (N, H, W, C).   y: (N, H', W', C), H' as for ConvolutionLayer.

    Raises:
        ShapeError: the input is not an image, or smaller than a window (at compile time).

    Source:
        LeCun et al. 1998, "Gradient-based learning applied to document recognition". Differs: no trained factor.
    """

    def pool(self, xp: Any, windows: Array) -> tuple[Array, Any]:
        mean = windows.mean(axis=(3, 4), dtype="float64")
        return mean.astype(windows.dtype), windows.shape[3] * windows.shape[4]

    def tap_gradient(self, xp: Any, cache: Any, dy: Array, r: int, s: int) -> Array:
        return dy / cache


class GlobalAveragePoolLayer(BasePool):
    """Take the mean of each channel over the whole image.

        y[n, c] = mean over i, j of x[n, i, j, c]

    Shapes:
        x: (N, H, W, C).   y: (N, C).

    Raises:
        ShapeError: the input is not an image (at compile time).

    Source:
        Lin, Chen & Yan 2013, arXiv:1312.4400, section 3.2.
    """

    def geometry(self, shape: Shape) -> Geometry:
        require_image(shape)
        return Geometry((shape[0], shape[1]), (1, 1), ((0, 0), (0, 0)))

    def output_shape(self, shape: Shape) -> Shape:
        self.geometry(shape)
        return (shape[2],)

    def pool(self, xp: Any, windows: Array) -> tuple[Array, Any]:
        mean = windows.mean(axis=(1, 2, 3, 4), dtype="float64")
        return mean.astype(windows.dtype), windows.shape[3] * windows.shape[4]

    def tap_gradient(self, xp: Any, cache: Any, dy: Array, r: int, s: int) -> Array:
        return dy[:, None, None, :] / cache

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        pixels, image = cache
        return ctx.ops.xp.broadcast_to((dy / pixels)[:, None, None, :], (len(dy), *image)).copy()
