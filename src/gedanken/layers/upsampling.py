"""Layers that make pictures larger, or smaller again, without parameters."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gedanken.checks import extent, one_of, pair, require, truth
from gedanken.errors import ShapeError
from gedanken.geometry import LARGEST_IMAGE, require_image, untie
from gedanken.layers.base import Context, Layer
from gedanken.types import Array, Arrays, Shape


class Blend(NamedTuple):
    """What each output along one axis is: the sum over k of shares[k] * input[places[k]].

    Args:
        places: (taps, outputs), whole numbers. Those of one tap never fall, and those of one output stand beside each
            other, but for inputs at the ends that stand in for some beyond.
        shares: (taps, outputs), which add up to 1 for each output, or None: every output is one input.
    """

    places: Array
    shares: Array | None

    def parts(self, xp: Any, dtype: Any) -> list[tuple[list[int], Array | None]]:
        """Return the inputs and what each of them counts for."""
        if self.shares is None:
            return [(self.places[0].tolist(), None)]
        return [
            (places.tolist(), xp.asarray(shares, dtype=dtype))
            for places, shares in zip(self.places, self.shares, strict=True)
        ]


@dataclass(frozen=True, eq=False, repr=False)
class UpsamplingLayer(Layer):
    """Make pictures larger, channel by channel.

        nearest:   y[n, i, j, c] = x[n, floor(i * H / H'), floor(j * W / W'), c]
        bilinear:  y[n, i, j, c] = the mean of the four pixels around row v(i) and column v(j), each weighted by how
                   near it is, with v(i) = max((i + 1/2) * H / H' - 1/2, 0), for columns likewise
        bicubic:   y[n, i, j, c] = sum of k(v(i) - h) * k(v(j) - w) * x[n, h, w, c] over the four rows h and columns w
                   around them, v(i) = (i + 1/2) * H / H' - 1/2, pixels at the edge standing in for those beyond, and
                   k(d) = 1.25 |d|**3 - 2.25 d**2 + 1 for |d| <= 1, -0.75 (|d|**3 - 5 d**2 + 8 |d| - 4) for |d| < 2

    With align_corners the corners of both pictures lie on each other: v(i) = i * (H - 1) / (H' - 1). Bicubic results
    may lie beyond the values that they are made of.

    Args:
        factor: how many times as large, a whole number or a pair (vertical, horizontal), at least 1.
        mode: "nearest", "bilinear" or "bicubic".
        align_corners: see above; not with "nearest".
        size: in place of a factor, the size of the result, a number or a pair (height, width).

    Shapes:
        x: (N, H, W, C).   y: (N, H', W', C), H' = H * factor or as size says.

    Raises:
        ShapeError: the input is not an image, or the result is too large (at compile time).

    Source:
        Press et al. 2007, "Numerical recipes", section 3.6 (bilinear); Keys 1981, "Cubic convolution interpolation for
        digital image processing" (bicubic). Differs: a = -3/4, as in PyTorch, where Keys prefers -1/2.
    """

    factor: int | tuple[int, int] | None = None
    mode: str = "nearest"
    align_corners: bool = False
    size: int | tuple[int, int] | None = None

    def __post_init__(self) -> None:
        untie(self, "factor", "size")
        either = (self.factor is None) != (self.size is None)
        given = {"factor": self.factor, "size": self.size}
        require(either, "UpsamplingLayer factor or size", "be given, one of them", given)
        if self.factor is not None:
            pair("UpsamplingLayer factor", self.factor)
        if self.size is not None:
            pair("UpsamplingLayer size", self.size)
        one_of("UpsamplingLayer mode", self.mode, ("nearest", "bilinear", "bicubic"))
        aligned = truth("UpsamplingLayer align_corners", self.align_corners)
        fits = self.mode != "nearest" or not aligned
        require(fits, "UpsamplingLayer align_corners", 'be False with mode="nearest"', self.align_corners)

    def output_shape(self, shape: Shape) -> Shape:
        require_image(shape)
        if self.size is None:
            down, right = pair("factor", self.factor)
            height, width = shape[0] * down, shape[1] * right
        else:
            height, width = pair("size", self.size)
        return _checked(height, width, shape[2])

    def blends(self, shape: Shape) -> tuple[Blend, Blend]:
        """Return what rows and what columns of the result are, for images of `shape` = (H, W, C)."""
        made = self.output_shape(shape)
        rows, columns = (self._blend(shape[axis], made[axis]) for axis in (0, 1))
        return rows, columns

    def _blend(self, given: int, made: int) -> Blend:
        at = np.arange(made)
        if self.mode == "nearest":
            return Blend((at * given // made)[None], None)
        centres = at * ((given - 1) / max(made - 1, 1)) if self.align_corners else (at + 0.5) * (given / made) - 0.5
        if self.mode == "bicubic":
            first = np.floor(centres).astype(np.int64)
            around = first + np.arange(-1, 3)[:, None]
            return Blend(np.clip(around, 0, given - 1), _cubic(centres - around))
        centres = np.maximum(centres, 0)
        first = np.minimum(centres.astype(np.int64), given - 1)
        share = centres - first
        return Blend(np.stack([first, np.minimum(first + 1, given - 1)]), np.stack([1 - share, share]))

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        y = x
        for axis, blend in enumerate(self.blends(x.shape[1:]), start=1):
            parts = blend.parts(ctx.ops.xp, y.dtype)
            taken = [y[(slice(None),) * axis + (places,)] for places, _ in parts]
            shares = [None if one is None else _along(one, axis) for _, one in parts]
            weighed = [one if share is None else share * one for one, share in zip(taken, shares, strict=True)]
            y = sum(weighed[1:], start=weighed[0])
        return y, x.shape[1:]

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        xp, dx = ctx.ops.xp, dy.astype("float64")  # a pixel's sum may be over a large part of the result
        for axis, blend in enumerate(self.blends(cache), start=1):
            size = list(dx.shape)
            size[axis] = cache[axis - 1]
            total, rows = xp.zeros(size, "float64"), xp.moveaxis(dx, axis, 0)
            sums = xp.moveaxis(total, axis, 0)
            for places, shares in blend.parts(xp, dy.dtype):
                for number, place in enumerate(places):
                    sums[place] += rows[number] if shares is None else shares[number] * rows[number]
            dx = total
        return dx.astype(dy.dtype)


def _cubic(distance: Array) -> Array:
    """Return what pixels at these distances, less than 2, count for."""
    d = abs(distance)
    return np.where(d <= 1, (1.25 * d - 2.25) * d * d + 1, -0.75 * (((d - 5) * d + 8) * d - 4))


def _along(shares: Array, axis: int) -> Array:
    """Return shares of rows (axis 1) or columns (axis 2) of (N, H, W, C)."""
    return shares[:, None, None] if axis == 1 else shares[:, None]


@dataclass(frozen=True, eq=False, repr=False)
class PixelShuffle(Layer):
    """Make pictures larger by giving each pixel's channels places of their own (depth to space).

        y[n, h * factor + r, w * factor + s, c] = x[n, h, w, (c * factor + r) * factor + s]

    Args:
        factor: how many times as high and wide, at least 1.

    Shapes:
        x: (N, H, W, C).   y: (N, H * factor, W * factor, C / factor**2).

    Raises:
        ShapeError: the input is not an image, or its channels are no multiple of factor**2 (at compile time).

    Source:
        Shi et al. 2016, arXiv:1609.05158, section 3.2.
    """

    factor: int

    def __post_init__(self) -> None:
        extent("PixelShuffle factor", self.factor)

    def output_shape(self, shape: Shape) -> Shape:
        require_image(shape)
        height, width, channels = shape
        if channels % self.factor**2:
            raise ShapeError(f"needs channels in multiples of {self.factor**2}, the square of its factor")
        return _checked(height * self.factor, width * self.factor, channels // self.factor**2)

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        return _shuffled(x, self.factor), None

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        return _gathered(dy, self.factor)


@dataclass(frozen=True, eq=False, repr=False)
class PixelUnshuffle(Layer):
    """Make pictures smaller by giving each square of pixels to the channels of one (space to depth).

        y[n, h, w, (c * factor + r) * factor + s] = x[n, h * factor + r, w * factor + s, c]

    It takes back what PixelShuffle does.

    Args:
        factor: how many times as high and wide the input is, at least 1.

    Shapes:
        x: (N, H, W, C).   y: (N, H / factor, W / factor, C * factor**2).

    Raises:
        ShapeError: the input is not an image, or its height or width is no multiple of factor (at compile time).

    Source:
        Shi et al. 2016, arXiv:1609.05158, section 3.2, read backwards.
    """

    factor: int

    def __post_init__(self) -> None:
        extent("PixelUnshuffle factor", self.factor)

    def output_shape(self, shape: Shape) -> Shape:
        require_image(shape)
        height, width, channels = shape
        if height % self.factor or width % self.factor:
            raise ShapeError(f"needs a height and width in multiples of {self.factor}, its factor")
        return height // self.factor, width // self.factor, channels * self.factor**2

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        return _gathered(x, self.factor), None

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        return _shuffled(dy, self.factor)


def _shuffled(x: Array, factor: int) -> Array:
    """Return (N, H, W, C * factor**2) as (N, H * factor, W * factor, C)."""
    n, height, width, channels = x.shape
    made = channels // factor**2
    split = x.reshape(n, height, width, made, factor, factor).transpose(0, 1, 4, 2, 5, 3)
    return split.reshape(n, height * factor, width * factor, made)


def _gathered(x: Array, factor: int) -> Array:
    """Return (N, H * factor, W * factor, C) as (N, H, W, C * factor**2)."""
    n, height, width, channels = x.shape
    split = x.reshape(n, height // factor, factor, width // factor, factor, channels).transpose(0, 1, 3, 5, 2, 4)
    return split.reshape(n, height // factor, width // factor, channels * factor**2)


def _checked(height: int, width: int, channels: int) -> Shape:
    """Return the shape of a result, or raise ShapeError if nobody has room for it."""
    if height * width * channels > LARGEST_IMAGE:
        raise ShapeError(
            f"makes a picture of {height} x {width}, which with its {channels} channels must be of at most "
            f"{LARGEST_IMAGE} values"
        )
    return height, width, channels
