"""Convolution over images."""

import math
from dataclasses import dataclass
from typing import Any

from gedanken.checks import extent, one_of, truth
from gedanken.errors import ShapeError
from gedanken.geometry import BORDERS, NO_SIDES, Geometry, Padding, Window, border, untie, window
from gedanken.init import DEFAULT, Initializer, Zeros, check_initializers
from gedanken.layers.base import Context, Layer, Param
from gedanken.types import Array, Arrays, Shape


@dataclass(frozen=True, eq=False, repr=False)
class ConvolutionLayer(Layer):
    """Slide filters over the image (cross-correlation, as is usual) and add a bias.

        y[n, i, j, k] = bias[k] + sum over r, s, c of
                        x[n, i * stride + r * dilation - padding, j * stride + s * dilation - padding, c]
                        * kernel[r, s, c, k]

    With groups > 1 the channels are cut into equal groups, and each group of filters sees only its own.

    Args:
        n_filter: number of filters, at least 1, a multiple of groups.
        width_filter, height_filter: size of a filter in pixels, at least 1.
        stride: pixels between two windows, a number or a pair (vertical, horizontal), at least 1.
        zero_padding: rows and columns around the image, a number, a pair (vertical, horizontal) or
            ((top, bottom), (left, right)), >= 0, or "same": as many as make the output ceil(image / stride) large (the
            odd one at the end).
        dilation: pixels between two values of one window, a number or a pair, at least 1.
        groups: number of channel groups, at least 1; it divides the channels.
        bias: whether a bias is added.
        init: first values of the kernel; by default uniform with variance 1 / (3 * fan_in).
        bias_init: first values of the bias.
        padding_mode: what stands there: "zeros", "reflect" (the image without the pixel at its edge, turned),
            "replicate" (the pixel at its edge) or "circular" (the image from its other side on); see PaddingLayer.

    Shapes:
        x: (N, H, W, C).   y: (N, H', W', n_filter).
        H' = floor((H + padding - dilation * (height_filter - 1) - 1) / stride) + 1, with the padding of both sides.
        kernel: (height_filter, width_filter, C / groups, n_filter).   bias: (n_filter,).

    Raises:
        ShapeError: the input is not an image, the filter is larger than it, groups does not divide the channels, or the
            image has too few pixels to be reflected or to begin again (at compile time).

    Source:
        LeCun et al. 1998, "Gradient-based learning applied to document recognition", section II.
    """

    n_filter: int
    width_filter: int
    height_filter: int
    stride: int | tuple[int, int] = 1
    zero_padding: Padding = 0
    dilation: int | tuple[int, int] = 1
    groups: int = 1
    bias: bool = True
    init: Initializer = DEFAULT
    bias_init: Initializer = Zeros()
    padding_mode: str = "zeros"

    def __post_init__(self) -> None:
        extent("ConvolutionLayer n_filter", self.n_filter)
        truth("ConvolutionLayer bias", self.bias)
        one_of("ConvolutionLayer padding_mode", self.padding_mode, BORDERS)
        check_initializers("ConvolutionLayer", init=self.init, bias_init=self.bias_init)
        untie(self, "stride", "zero_padding", "dilation")
        self._window()

    def _window(self) -> Window:
        return window(
            "ConvolutionLayer",
            self.width_filter,
            self.height_filter,
            self.stride,
            self.zero_padding,
            self.dilation,
            self.groups,
        )

    def geometry(self, shape: Shape) -> Geometry:
        """Return where the windows stand on images of `shape` = (H, W, C)."""
        geometry = self._window().on(shape)
        if shape[2] % self.groups or self.n_filter % self.groups:
            raise ShapeError(
                f"has groups={self.groups}, which must divide the {shape[2]} channels and the {self.n_filter} filters"
            )
        self.border(geometry, shape)
        return geometry

    def border(self, geometry: Geometry, shape: Shape) -> tuple[Array, Array] | None:
        """Return which row and column of an image each one of the padded image is, or None for zeros around it."""
        if self.padding_mode == "zeros" or geometry.padding == NO_SIDES:
            return None
        rows, columns = (border(self.padding_mode, shape[axis], *geometry.padding[axis]) for axis in (0, 1))
        return rows, columns

    def output_shape(self, shape: Shape) -> Shape:
        return (*self.geometry(shape).positions(shape), self.n_filter)

    def params(self, shape: Shape) -> dict[str, Param]:
        size = (self.height_filter, self.width_filter, shape[2] // self.groups, self.n_filter)
        fan_in = math.prod(size[:3])
        fan_out = math.prod(size[:2]) * self.n_filter // self.groups
        kernel = Param(size, self.init, fan_in, fan_out, decay=True)
        bias = {"bias": Param((self.n_filter,), self.bias_init, fan_in, fan_out)} if self.bias else {}
        return {"kernel": kernel, **bias}

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        image = x.shape[1:]
        geometry = self.geometry(image)
        if taken := self.border(geometry, image):
            x, geometry = ctx.ops.take(x, *taken), geometry._replace(padding=NO_SIDES)
        y = ctx.ops.convolve(x, p["kernel"], geometry)
        if self.bias:
            y += p["bias"]
        return y, (x, image)

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        x, image = cache
        geometry = self.geometry(image)
        taken = self.border(geometry, image)
        if taken:
            geometry = geometry._replace(padding=NO_SIDES)
        g["kernel"][...] = ctx.ops.convolve_dkernel(x, dy, p["kernel"], geometry)
        if self.bias:
            g["bias"][...] = ctx.ops.sum(dy, axis=(0, 1, 2))
        dx = ctx.ops.convolve_dx(dy, p["kernel"], geometry, x.shape[1:])
        return ctx.ops.give_back(dx, *taken, image) if taken else dx

    def multiply_adds(self, shape: Shape) -> int:
        return math.prod(self.output_shape(shape)) * math.prod(self.params(shape)["kernel"].shape[:3])
