"""Windows that slide along sequences, and convolution over time."""

import math
from dataclasses import dataclass
from typing import Any

from gedanken.checks import extent, require, short, truth
from gedanken.errors import ArgumentError, ShapeError
from gedanken.geometry import NEEDS_SEQUENCES, Geometry, untie
from gedanken.init import DEFAULT, Initializer, Zeros, check_initializers
from gedanken.layers.base import Context, Layer, Param
from gedanken.types import Array, Arrays, Shape

TimePadding = int | tuple[int, int] | str
NAMED = ("same", "causal")


def require_sequence(shape: Shape) -> None:
    """Raise ShapeError unless `shape` is (T, F)."""
    if len(shape) == 2:
        return
    if len(shape) == 3:
        height, width, channels = shape
        rows = f"(({height}, {width * channels}))" if channels == 1 else f"(({channels}, {height * width}))"
        raise ShapeError(NEEDS_SEQUENCES, f"for a picture as a sequence of rows add Reshape{rows} before it")
    raise ShapeError(NEEDS_SEQUENCES, "say input((T, F)) or add Reshape((T, F)) before it")


@dataclass(frozen=True)
class TimeWindow:
    """A window that slides along a sequence, as a layer is told it."""

    width: int
    stride: int
    padding: TimePadding
    dilation: int = 1
    groups: int = 1
    ceil: bool = False  # whether a last window that reaches beyond the padding counts, if it begins before the end

    @property
    def reach(self) -> int:
        """Places from the first to the last that it sees."""
        return self.dilation * (self.width - 1) + 1

    def on(self, shape: Shape) -> Geometry:
        """Return where it stands on sequences (T, F), seen as pictures of one row, or raise ShapeError."""
        require_sequence(shape)
        before, after = self._amounts(shape[0])
        padded = shape[0] + before + after
        if self.made(shape[0]) < 1:
            rule = f"has a window of {self.reach} places, longer than the padded sequence of {padded}"
            raise ShapeError(rule, 'use a smaller one, zero_padding="same", or fewer poolings before it')
        if self.ceil:
            after = max(after, (self.made(shape[0]) - 1) * self.stride + self.reach - shape[0] - before)
        padding = (0, 0), (before, after)
        return Geometry((1, self.width), (1, self.stride), padding, (1, self.dilation), self.groups)

    def _amounts(self, places: int) -> tuple[int, int]:
        if self.padding == "causal":
            return self.reach - 1, 0
        if self.padding == "same":
            total = max((-(-places // self.stride) - 1) * self.stride + self.reach - places, 0)
            return total // 2, total - total // 2
        assert not isinstance(self.padding, str)
        return (self.padding, self.padding) if isinstance(self.padding, int) else self.padding

    def begins(self, places: int) -> int:
        """Return how many places before a sequence the first window begins: with "same" and a stride, T decides."""
        return self._amounts(places)[0]

    @property
    def more(self) -> int:
        """What is added to a length: of L real places in, (L + more) // stride + 1 come out."""
        if isinstance(self.padding, str):
            return -1
        before, after = self._amounts(0)
        floor = before + after - self.reach
        return min(floor + self.stride - 1, before - 1) if self.ceil else floor

    @property
    def room(self) -> int:
        """Places that count, the padding that was asked for, beside those of a sequence; where it is named, all do."""
        return 2 * self.reach if isinstance(self.padding, str) else sum(self._amounts(0))

    def made(self, places: int) -> int:
        """Return how many windows a sequence of so many places has."""
        return (places + self.more) // self.stride + 1

    def lengths(self, lengths: Array) -> Array:
        """Return how many places are real behind it."""
        return (lengths + self.more) // self.stride + 1


def amounts(argument: str, value: int | tuple[int, int]) -> tuple[int, int]:
    """Return how many places of padding there are before and after a sequence; one number stands for both."""
    if isinstance(value, (tuple, list)):
        require(len(value) == 2, argument, "be a number or a pair (before, after)", value)
        return extent(argument, value[0], 0), extent(argument, value[1], 0)
    return (extent(argument, value, 0),) * 2


def time_window(
    layer: str, width: int, stride: int, zero_padding: TimePadding, dilation: int = 1, groups: int = 1
) -> TimeWindow:
    """Return the checked window of a layer's arguments; `layer` names it in errors."""
    if isinstance(zero_padding, str):
        if zero_padding not in NAMED:
            rule = f'{layer} zero_padding must be a number, a pair (before, after), "same" or "causal"'
            raise ArgumentError(f"{rule}, got {short(zero_padding)}")
    else:
        amounts(f"{layer} zero_padding", zero_padding)
    return TimeWindow(
        extent(f"{layer} width_filter", width),
        extent(f"{layer} stride", stride),
        zero_padding,
        extent(f"{layer} dilation", dilation),
        extent(f"{layer} groups", groups),
    )


@dataclass(frozen=True, eq=False, repr=False)
class Convolution1DLayer(Layer):
    """Slide filters along the sequence (cross-correlation, as is usual) and add a bias.

        y[n, t, k] = bias[k] + sum over r, f of x[n, t * stride + r * dilation - before, f] * kernel[r, f, k]

    With groups > 1 the features are cut into equal groups, and each group of filters sees only its own. Places behind a
    sequence's end are zeros, whatever stands there.

    Args:
        n_filter: number of filters, at least 1, a multiple of groups.
        width_filter: places that a filter sees, at least 1.
        stride: places between two windows, at least 1.
        zero_padding: zeros before and after the sequence: a number >= 0, a pair (before, after), "same" (as many as
            make the output ceil(T / stride) long, the odd one after it) or "causal" (all before it, so that no output
            sees what comes later).
        dilation: places between two values of one window, at least 1.
        groups: number of groups of features, at least 1; it divides the features.
        bias: whether a bias is added.
        init: first values of the kernel; by default uniform with variance 1 / (3 * fan_in).
        bias_init: first values of the bias.

    Shapes:
        x: (N, T, F).   y: (N, T', n_filter), T' = floor((T + before + after - dilation * (width_filter - 1) - 1) /
        stride) + 1.   kernel: (width_filter, F / groups, n_filter).   bias: (n_filter,).

    Raises:
        ShapeError: the input is no sequence or shorter than the window, or groups does not divide the features (at
            compile time).

    Source:
        Waibel et al. 1989, "Phoneme recognition using time-delay neural networks"; dilated and causal: van den Oord et
        al. 2016, arXiv:1609.03499.
    """

    n_filter: int
    width_filter: int
    stride: int = 1
    zero_padding: TimePadding = 0
    dilation: int = 1
    groups: int = 1
    bias: bool = True
    init: Initializer = DEFAULT
    bias_init: Initializer = Zeros()

    def __post_init__(self) -> None:
        extent("Convolution1DLayer n_filter", self.n_filter)
        truth("Convolution1DLayer bias", self.bias)
        check_initializers("Convolution1DLayer", init=self.init, bias_init=self.bias_init)
        untie(self, "zero_padding")
        self.window()

    def window(self) -> TimeWindow:
        """Return the window that slides."""
        name = type(self).__name__
        return time_window(name, self.width_filter, self.stride, self.zero_padding, self.dilation, self.groups)

    def geometry(self, shape: Shape) -> Geometry:
        """Return where the windows stand on sequences (T, F), seen as pictures of one row."""
        geometry = self.window().on(shape)
        if shape[1] % self.groups or self.n_filter % self.groups:
            both = f"the {shape[1]} features and the {self.n_filter} filters"
            raise ShapeError(f"has groups={self.groups}, which must divide {both}")
        return geometry

    def output_shape(self, shape: Shape) -> Shape:
        return self.geometry(shape).positions((1, *shape))[1], self.n_filter

    def output_lengths(self, shape: Shape, lengths: Array) -> Array:
        return self.window().lengths(lengths)

    def may_be_cut(self, shape: Shape, places: int) -> bool:
        return self.window().begins(shape[0]) == self.window().begins(places)

    def params(self, shape: Shape) -> dict[str, Param]:
        size = self.width_filter, shape[1] // self.groups, self.n_filter
        fans = size[0] * size[1], self.width_filter * self.n_filter // self.groups
        bias = {"bias": Param((self.n_filter,), self.bias_init, *fans)} if self.bias else {}
        return {"kernel": Param(size, self.init, *fans, decay=True), **bias}

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        x = ctx.ops.real_places(x, ctx.lengths)
        y = ctx.ops.convolve(x[:, None], p["kernel"][None], self.geometry(x.shape[1:]))[:, 0]
        if self.bias:
            y += p["bias"]
        return y, x

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        shape, kernel = cache.shape[1:], p["kernel"][None]
        if ctx.lengths is not None:
            dy = ctx.ops.real_places(dy, self.output_lengths(shape, ctx.lengths))
        geometry = self.geometry(shape)
        g["kernel"][...] = ctx.ops.convolve_dkernel(cache[:, None], dy[:, None], kernel, geometry)[0]
        if self.bias:
            g["bias"][...] = ctx.ops.sum(dy, axis=(0, 1))
        dx = ctx.ops.convolve_dx(dy[:, None], kernel, geometry, (1, *shape))[:, 0]
        return ctx.ops.real_places(dx, ctx.lengths)

    def multiply_adds(self, shape: Shape) -> int:
        return math.prod(self.output_shape(shape)) * self.width_filter * shape[1] // self.groups
