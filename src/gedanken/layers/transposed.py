"""Transposed convolution: the way back through a convolution, as a layer that makes pictures larger."""

import math
from dataclasses import dataclass
from typing import Any

from gedanken.checks import extent, pair, require, truth
from gedanken.errors import ShapeError
from gedanken.geometry import Geometry, Window, require_image, untie, window
from gedanken.init import DEFAULT, Initializer, Zeros, check_initializers
from gedanken.layers.base import Context, Layer, Param
from gedanken.types import Array, Arrays, Shape

NAME = "TransposedConvolutionLayer"


@dataclass(frozen=True, eq=False, repr=False)
class TransposedConvolutionLayer(Layer):
    """Let each pixel add filters, weighted by its channels, to the larger picture around it, and add a bias.

        y[n, i, j, k] = bias[k] + sum over h, w, r, s with i = h * stride + r * dilation - padding and
                        j = w * stride + s * dilation - padding, and over c, of x[n, h, w, c] * kernel[r, s, k, c]

    It is the input gradient of the convolution that makes an image like x of one like y, whose kernel it has: in that
    convolution's layout, so that all three passes are passes of the convolution and nothing is copied.

    Args:
        n_filter: number of filters, the channels of y; at least 1, a multiple of groups.
        width_filter, height_filter: size of a filter in pixels, at least 1.
        stride: pixels of y between two pixels of x, a number or a pair (vertical, horizontal), at least 1.
        zero_padding: rows and columns that are cut off on each side of y, the padding of the convolution; a number or a
            pair, >= 0, or "same": as many as make y stride times as large as x.
        output_padding: rows and columns that y has more at its lower and right end, a number or a pair, >= 0, less than
            stride + zero_padding; a convolution with a stride makes the same of several sizes, and this says which
            one is meant.
        dilation: pixels between two values of one filter, a number or a pair, at least 1.
        groups: number of channel groups, at least 1; it divides the channels.
        bias: whether a bias is added.
        init: first values of the kernel; by default uniform with variance 1 / (3 * fan_in), where fan_in is how many
            numbers a pixel of y sums over: height_filter * width_filter * C / groups / stride**2.
        bias_init: first values of the bias.

    Shapes:
        x: (N, H, W, C).   y: (N, H', W', n_filter).
        H' = (H - 1) * stride + dilation * (height_filter - 1) + 1 - 2 * zero_padding + output_padding.
        kernel: (height_filter, width_filter, n_filter / groups, C).   bias: (n_filter,).

    Raises:
        ShapeError: the input is not an image, nothing is left of y, or groups does not divide the channels (at
            compile time).

    Source:
        Zeiler et al. 2010, "Deconvolutional networks"; Dumoulin & Visin 2016, arXiv:1603.07285, section 4.
    """

    n_filter: int
    width_filter: int
    height_filter: int
    stride: int | tuple[int, int] = 1
    zero_padding: int | tuple[int, int] | str = 0
    output_padding: int | tuple[int, int] = 0
    dilation: int | tuple[int, int] = 1
    groups: int = 1
    bias: bool = True
    init: Initializer = DEFAULT
    bias_init: Initializer = Zeros()

    def __post_init__(self) -> None:
        extent(f"{NAME} n_filter", self.n_filter)
        truth(f"{NAME} bias", self.bias)
        check_initializers(NAME, init=self.init, bias_init=self.bias_init)
        untie(self, "stride", "zero_padding", "output_padding", "dilation")
        slid = self._window()
        more = pair(f"{NAME} output_padding", self.output_padding, at_least=0)
        if isinstance(self.zero_padding, str):
            rule = 'be 0 with zero_padding="same"'
            require(more == (0, 0), f"{NAME} output_padding", rule, self.output_padding)
            return
        cut = pair(f"{NAME} zero_padding", self.zero_padding, at_least=0)
        fits = all(one < step + less for one, step, less in zip(more, slid.stride, cut, strict=True))
        require(fits, f"{NAME} output_padding", "be less than stride + zero_padding", self.output_padding)

    def _window(self) -> Window:
        return window(
            NAME,
            self.width_filter,
            self.height_filter,
            self.stride,
            self.zero_padding,
            self.dilation,
            self.groups,
        )

    def geometry(self, shape: Shape) -> Geometry:
        """Return where the windows of the convolution stand on what comes out for images of `shape` = (H, W, C)."""
        return self._convolution(shape)[0]

    def _convolution(self, shape: Shape) -> tuple[Geometry, Shape]:
        """Return the geometry of the convolution that this one goes back through, and the shape of its image."""
        require_image(shape)
        if shape[2] % self.groups or self.n_filter % self.groups:
            raise ShapeError(
                f"has groups={self.groups}, which must divide the {shape[2]} channels and the {self.n_filter} filters"
            )
        slid = self._window()
        if isinstance(self.zero_padding, str):
            image = (shape[0] * slid.stride[0], shape[1] * slid.stride[1], self.n_filter)
            return slid.on(image), image
        cut = pair("zero_padding", self.zero_padding, at_least=0)
        more = pair("output_padding", self.output_padding, at_least=0)
        height, width = (
            (shape[a] - 1) * slid.stride[a] + slid.dilation[a] * (slid.size[a] - 1) + 1 - 2 * cut[a] + more[a]
            for a in (0, 1)
        )
        if min(height, width) < 1:
            raise ShapeError(f"makes a picture of {height} x {width}", "use a smaller zero_padding")
        image = (height, width, self.n_filter)
        # Rows that output_padding adds are some of those that zero_padding takes away, or lie behind all windows.
        (above, below), (left, right) = ((one, max(one - over, 0)) for one, over in zip(cut, more, strict=True))
        return slid.on(image)._replace(padding=((above, below), (left, right))), image

    def output_shape(self, shape: Shape) -> Shape:
        return self._convolution(shape)[1]

    def params(self, shape: Shape) -> dict[str, Param]:
        size = (self.height_filter, self.width_filter, self.n_filter // self.groups, shape[2])
        taps, (down, right) = math.prod(size[:2]), self._window().stride
        fan_in = max(1, taps * shape[2] // self.groups // (down * right))
        fan_out = math.prod(size[:3])
        kernel = Param(size, self.init, fan_in, fan_out, decay=True)
        bias = {"bias": Param((self.n_filter,), self.bias_init, fan_in, fan_out)} if self.bias else {}
        return {"kernel": kernel, **bias}

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        y = ctx.ops.convolve_dx(x, p["kernel"], *self._convolution(x.shape[1:]))
        if self.bias:
            y = y + p["bias"]
        return y, x

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        geometry = self.geometry(cache.shape[1:])
        g["kernel"][...] = ctx.ops.convolve_dkernel(dy, cache, p["kernel"], geometry)
        if self.bias:
            g["bias"][...] = ctx.ops.sum(dy, axis=(0, 1, 2))
        return ctx.ops.convolve(dy, p["kernel"], geometry)

    def multiply_adds(self, shape: Shape) -> int:
        return math.prod(shape) * math.prod(self.params(shape)["kernel"].shape[:3])
