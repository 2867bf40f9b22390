"""Poolings whose windows follow from the size of the result."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gedanken.checks import extent, pair
from gedanken.errors import ShapeError
from gedanken.geometry import LARGEST_IMAGE, Span, require_image, untie
from gedanken.layers.base import Context, Layer
from gedanken.layers.conv1d import require_sequence
from gedanken.types import Array, Arrays, Shape


@dataclass(frozen=True, eq=False, repr=False)
class AdaptivePool(Layer):
    """What both poolings to a size share: where the windows stand."""

    size: int | tuple[int, int]

    def __post_init__(self) -> None:
        untie(self, "size")
        pair(f"{type(self).__name__} size", self.size)

    def output_shape(self, shape: Shape) -> Shape:
        require_image(shape)
        height, width = pair("size", self.size)
        if height * width * shape[2] > LARGEST_IMAGE:
            raise ShapeError(
                f"makes an image of {height} x {width}, which with its {shape[2]} channels must be of at most "
                f"{LARGEST_IMAGE} values"
            )
        return height, width, shape[2]

    def spans(self, shape: Shape) -> tuple[Span, Span]:
        """Return what the windows see of an image (H, W, C) along both axes."""
        height, width, _ = self.output_shape(shape)
        return _span(shape[0], height), _span(shape[1], width)

    def windows(self, x: Array) -> Iterator[tuple[int, int, Array]]:
        """Yield (i, j, what the window of this output sees of x): (N, R, S, C)."""
        rows, columns = self.spans(x.shape[1:])
        for i, (top, height) in enumerate(zip(rows.first, rows.seen, strict=True)):
            for j, (left, width) in enumerate(zip(columns.first, columns.seen, strict=True)):
                yield i, j, x[:, top : top + height, left : left + width]

    @abstractmethod
    def pool(self, xp: Any, values: Array) -> tuple[Array, Any]:
        """Return the result (N, C) of what a window sees, (N, R * S, C), and what `gradient` needs."""

    @abstractmethod
    def gradient(self, xp: Any, found: Any, dy: Array) -> Array:
        """Return the gradient with respect to what a window sees, (N, R * S, C), or what broadcasts to that."""

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        y = ctx.ops.xp.empty((len(x), *self.output_shape(x.shape[1:])), x.dtype)
        found = []
        for i, j, window in self.windows(x):
            y[:, i, j], one = self.pool(ctx.ops.xp, _listed(window))
            found.append(one)
        return y, (found, x.shape)

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        found, shape = cache
        dx = ctx.ops.xp.zeros(shape, "float64")  # where the result is larger than the image, many windows overlap
        for one, (i, j, window) in zip(found, self.windows(dx), strict=True):
            gradient = self.gradient(ctx.ops.xp, one, dy[:, i, j])
            window[...] += ctx.ops.xp.broadcast_to(gradient, _listed(window).shape).reshape(window.shape)
        return dx.astype(dy.dtype)


def _listed(window: Array) -> Array:
    """Return the pixels (N, R, S, C) of a window as (N, R * S, C)."""
    return window.reshape(len(window), -1, window.shape[3])


def _span(length: int, windows: int) -> Span:
    at = np.arange(windows, dtype=np.int64)
    first, end = at * length // windows, -(-(at + 1) * length // windows)
    return Span(first, end - first, end - first)


class AdaptiveMaxPoolLayer(AdaptivePool):
    """Take the largest value of each of as many windows as the result has pixels.

        y[n, i, j, c] = max of x[n, h, w, c] over floor(i * H / H') <= h < ceil((i + 1) * H / H'), and w likewise

    The windows cover the image, and overlap where H' does not divide H. The gradient goes to the first largest value of
    each window, in reading order. A NaN in a window is its result.

    Args:
        size: of the result, a number or a pair (height, width), at least 1.

    Shapes:
        x: (N, H, W, C).   y: (N, H', W', C), of the size.

    Raises:
        ShapeError: the input is not an image (at compile time).

    Source:
        He et al. 2015, arXiv:1406.4729, section 2.2. Differs: one grid, not a pyramid of several.
    """

    def pool(self, xp: Any, values: Array) -> tuple[Array, Any]:
        winner = values.argmax(axis=1)[:, None]
        return xp.take_along_axis(values, winner, axis=1)[:, 0], (winner, values.shape[1])

    def gradient(self, xp: Any, found: Any, dy: Array) -> Array:
        winner, pixels = found
        return xp.where(xp.arange(pixels)[:, None] == winner, dy[:, None], 0)


class AdaptiveAveragePoolLayer(AdaptivePool):
    """Take the mean of each of as many windows as the result has pixels.

        y[n, i, j, c] = mean of x[n, h, w, c] over floor(i * H / H') <= h < ceil((i + 1) * H / H'), and w likewise

    The windows cover the image, and overlap where H' does not divide H.

    Args:
        size: of the result, a number or a pair (height, width), at least 1.

    Shapes:
        x: (N, H, W, C).   y: (N, H', W', C), of the size.

    Raises:
        ShapeError: the input is not an image (at compile time).

    Source:
        He et al. 2015, arXiv:1406.4729, section 2.2. Differs: means of one grid, not maxima of a pyramid.
    """

    def pool(self, xp: Any, values: Array) -> tuple[Array, Any]:
        return values.mean(axis=1, dtype="float64"), values.shape[1]

    def gradient(self, xp: Any, found: Any, dy: Array) -> Array:
        return dy[:, None] / found


@dataclass(frozen=True, eq=False, repr=False)
class AdaptiveTimePool(Layer):
    """What both poolings over time to a size share: where the windows stand in each sequence."""

    size: int

    largest = False  # whether it takes the largest value, else the mean

    def __post_init__(self) -> None:
        extent(f"{type(self).__name__} size", self.size)

    def output_shape(self, shape: Shape) -> Shape:
        require_sequence(shape)
        if self.size * shape[1] > LARGEST_IMAGE:
            rule = f"makes {self.size} places, which with their {shape[1]} features must be of at most"
            raise ShapeError(f"{rule} {LARGEST_IMAGE} values")
        return self.size, shape[1]

    def output_lengths(self, shape: Shape, lengths: Array) -> None:
        return None  # all places are real, whatever a sequence's length

    def may_be_cut(self, shape: Shape, places: int) -> bool:
        return True

    def windows(self, ctx: Context, x: Array) -> Iterator[tuple[Array, Array]]:
        """Yield for each window the places that it may see, (N, width), and which of them it sees, (N, width, 1)."""
        xp, most = ctx.ops.xp, x.shape[1]
        lengths = xp.full(len(x), most) if ctx.lengths is None else ctx.lengths
        for j in range(self.size):
            first, end = j * lengths // self.size, -(-(j + 1) * lengths // self.size)
            places = first[:, None] + xp.arange(-(-most // self.size) + 1)
            yield xp.minimum(places, most - 1), (places < end[:, None])[:, :, None]

    @abstractmethod
    def pool(self, xp: Any, values: Array, seen: Array) -> tuple[Array, Array]:
        """Return the result (N, F) of what a window sees, and of each value the share that it has in it, (N, width, F).

        Shapes:
            values: (N, width, F).   seen: (N, width, 1), not of padding behind the window's end.
        """

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        xp, samples = ctx.ops.xp, ctx.ops.xp.arange(len(x))[:, None]
        y, found = xp.empty((len(x), self.size, x.shape[2]), x.dtype), []
        for j, (places, seen) in enumerate(self.windows(ctx, x)):
            y[:, j], shares = self.pool(xp, x[samples, places], seen)
            found.append((places, shares))
        return y, (found, x.shape)

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        found, shape = cache
        xp, samples = ctx.ops.xp, ctx.ops.xp.arange(len(dy))
        dx = xp.zeros(shape, "float64")  # where the result is longer than a sequence, many windows overlap
        for j, (places, shares) in enumerate(found):
            for r in range(places.shape[1]):
                dx[samples, places[:, r]] += shares[:, r] * dy[:, j]
        return dx.astype(dy.dtype)


class AdaptiveMaxPool1DLayer(AdaptiveTimePool):
    """Take the largest value of each of as many windows over time as the result has places.

        y[n, i, f] = max of x[n, t, f] over floor(i * T / T') <= t < ceil((i + 1) * T / T')

    The windows cover the sequence, and overlap where T' does not divide T. Of sequences with lengths T is each one's
    own, so that all T' places are real and `Flatten` may follow. The gradient goes to the first largest value of each
    window.

    Args:
        size: T', the places of the result, at least 1.

    Shapes:
        x: (N, T, F).   y: (N, T', F).

    Raises:
        ShapeError: the input is no sequence (at compile time).

    Source:
        He et al. 2015, arXiv:1406.4729, section 2.2. Differs: along one axis, and one row, not a pyramid of several.
    """

    largest = True

    def pool(self, xp: Any, values: Array, seen: Array) -> tuple[Array, Array]:
        values = xp.where(seen, values, -np.inf)
        winner = values.argmax(axis=1)[:, None]
        return xp.take_along_axis(values, winner, axis=1)[:, 0], xp.arange(values.shape[1])[:, None] == winner


class AdaptiveAveragePool1DLayer(AdaptiveTimePool):
    """Take the mean of each of as many windows over time as the result has places.

        y[n, i, f] = mean of x[n, t, f] over floor(i * T / T') <= t < ceil((i + 1) * T / T')

    The windows cover the sequence, and overlap where T' does not divide T. Of sequences with lengths T is each one's
    own, so that all T' places are real and `Flatten` may follow.

    Args:
        size: T', the places of the result, at least 1.

    Shapes:
        x: (N, T, F).   y: (N, T', F).

    Raises:
        ShapeError: the input is no sequence (at compile time).

    Source:
        He et al. 2015, arXiv:1406.4729, section 2.2. Differs: means along one axis, not maxima of a pyramid.
    """

    def pool(self, xp: Any, values: Array, seen: Array) -> tuple[Array, Array]:
        count = seen.sum(axis=1, keepdims=True)
        return xp.where(seen, values, 0).sum(axis=1, dtype="float64") / count[:, 0], seen / count
