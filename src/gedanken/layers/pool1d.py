"""Pooling over time."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from gedanken.checks import require, truth
from gedanken.geometry import untie
from gedanken.layers.base import Context, Layer
from gedanken.layers.conv1d import TimePadding, TimeWindow, amounts, require_sequence, time_window
from gedanken.types import Array, Arrays, Shape


class _AllOfIt(TimeWindow):
    """A window over all places that there are, one for each sequence of any length."""

    @property
    def more(self) -> int:
        return -1


class TimePool(Layer):
    """Windows over time, each of which becomes one value for each feature. They see real places only."""

    largest = False  # whether it takes the largest value, else the mean
    counts_padding = False  # whether a mean is over the width of the window, else over what it sees

    def window(self, shape: Shape) -> TimeWindow:
        """Return the window for sequences (T, F): all of it."""
        return _AllOfIt(shape[0], shape[0], 0)

    def before(self, shape: Shape) -> int:
        """Return how many places before the sequence the first window begins."""
        return self.window(shape).on(shape).padding[1][0]

    def output_shape(self, shape: Shape) -> Shape:
        return self.window(shape).on(shape).positions((1, *shape))[1], shape[1]

    def output_lengths(self, shape: Shape, lengths: Array) -> Array | None:
        return self.window(shape).lengths(lengths)

    def may_be_cut(self, shape: Shape, places: int) -> bool:
        return self.before(shape) == self.before((places, shape[1]))

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        xp, shape = ctx.ops.xp, x.shape[1:]
        values, seen = self._windows(ctx, x)
        if self.largest:
            values = xp.where(seen, values, -np.inf)
            winner = values.argmax(axis=2)
            y = xp.take_along_axis(values, winner[:, :, None], axis=2)[:, :, 0]
            y, cache = xp.where(seen.any(axis=2), y, x.dtype.type(0)), (winner, seen)
        else:
            count = xp.maximum(seen.sum(axis=2), 1)
            count = xp.full_like(count, self.window(shape).width) if self.counts_padding else count
            total = xp.where(seen, values, 0).sum(axis=2, dtype="float64")
            y, cache = (total / count).astype(x.dtype), (count, seen)
        return self._given(y), (shape, cache)

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        (shape, (kept, seen)), xp = cache, ctx.ops.xp
        dy = dy.reshape(len(dy), -1, shape[1])
        window, before = self.window(shape), self.before(shape)
        dx = xp.zeros((len(dy), *shape), "float64")
        for r in range(window.width):
            share = dy * (kept == r) if self.largest else dy / kept
            share = xp.where(seen[:, :, r], share, 0)
            first = max(0, -(-(before - r) // window.stride))  # the first window whose place r is inside
            last = min(dy.shape[1], (shape[0] - 1 + before - r) // window.stride + 1)
            if first < last:
                start = first * window.stride + r - before
                dx[:, start : start + (last - first - 1) * window.stride + 1 : window.stride] += share[:, first:last]
        return dx.astype(dy.dtype)

    def _windows(self, ctx: Context, x: Array) -> tuple[Array, Array]:
        """Return the values of all windows, (N, T', width, F), and which are real, (N, T', width, 1)."""
        xp, shape = ctx.ops.xp, x.shape[1:]
        window = self.window(shape)
        made = window.on(shape).positions((1, *shape))[1]
        places = xp.arange(made)[:, None] * window.stride - self.before(shape) + xp.arange(window.width)
        lengths = xp.full(len(x), shape[0]) if ctx.lengths is None else ctx.lengths
        windows = xp.arange(made) < window.lengths(lengths)[:, None]
        seen = (places >= 0) & (places < lengths[:, None, None]) & windows[:, :, None]
        return x[:, xp.clip(places, 0, shape[0] - 1)], seen[..., None]

    def _given(self, y: Array) -> Array:
        return y


@dataclass(frozen=True, eq=False, repr=False)
class _SlidingTimePool(TimePool):
    """A pooling with a window of fixed width; stride None means windows side by side."""

    width_filter: int
    stride: int | None = None
    zero_padding: TimePadding = 0

    def __post_init__(self) -> None:
        untie(self, "zero_padding")
        window = self.window(())
        if not isinstance(self.zero_padding, str):
            name = f"{type(self).__name__} zero_padding"
            fits = max(amounts(name, self.zero_padding)) < window.width
            require(fits, name, f"be smaller than the window {window.width}", self.zero_padding)

    def window(self, shape: Shape) -> TimeWindow:
        stride = self.width_filter if self.stride is None else self.stride
        return time_window(type(self).__name__, self.width_filter, stride, self.zero_padding)


class MaxPool1DLayer(_SlidingTimePool):
    """Take the largest value of each window over time.

        y[n, t, f] = max over r of x[n, t * stride + r - before, f]

    The gradient goes to the first largest value of each window. Padding and places behind a sequence's end never win.

    Args:
        width_filter: places of a window, at least 1.
        stride: places between two windows, at least 1; None is the window's width.
        zero_padding: places before and after the sequence, a number, a pair, "same" or "causal", as for
            Convolution1DLayer; less than the window.

    Shapes:
        x: (N, T, F).   y: (N, T', F), T' as for Convolution1DLayer.

    Raises:
        ShapeError: the input is no sequence, or shorter than a window (at compile time).

    Source:
        Waibel et al. 1989, "Phoneme recognition using time-delay neural networks" (the sum over time).
    """

    largest = True


@dataclass(frozen=True, eq=False, repr=False)
class AveragePool1DLayer(_SlidingTimePool):
    """Take the mean of each window over time.

        y[n, t, f] = mean over r of x[n, t * stride + r - before, f]

    Args:
        width_filter: places of a window, at least 1.
        stride: places between two windows, at least 1; None is the window's width.
        zero_padding: places before and after the sequence, as for MaxPool1DLayer.
        count_padding: whether padding counts as zeros, else the mean is over what the window sees of the sequence.

    Shapes:
        x: (N, T, F).   y: (N, T', F), T' as for Convolution1DLayer.

    Raises:
        ShapeError: the input is no sequence, or shorter than a window (at compile time).

    Source:
        Waibel et al. 1989, "Phoneme recognition using time-delay neural networks" (the sum over time).
    """

    count_padding: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        truth("AveragePool1DLayer count_padding", self.count_padding)

    @property
    def counts_padding(self) -> bool:  # type: ignore[override]
        return self.count_padding


class _GlobalTimePool(TimePool):
    """One value for each feature of the whole sequence."""

    def output_shape(self, shape: Shape) -> Shape:
        require_sequence(shape)
        return (shape[1],)

    def output_lengths(self, shape: Shape, lengths: Array) -> None:
        return None

    def _given(self, y: Array) -> Array:
        return y[:, 0]


class GlobalMaxPool1DLayer(_GlobalTimePool):
    """Take the largest value of each feature over time; places behind a sequence's end never win.

        y[n, f] = max over t of x[n, t, f]

    Shapes:
        x: (N, T, F).   y: (N, F).

    Raises:
        ShapeError: the input is no sequence (at compile time).

    Source:
        Collobert et al. 2011, arXiv:1103.0398, section 3.3.2 (the max over time).
    """

    largest = True


class GlobalAveragePool1DLayer(_GlobalTimePool):
    """Take the mean of each feature over time, of the places that are real.

        y[n, f] = mean over t of x[n, t, f]

    Shapes:
        x: (N, T, F).   y: (N, F).

    Raises:
        ShapeError: the input is no sequence (at compile time).

    Source:
        Lin, Chen & Yan 2013, arXiv:1312.4400, section 3.2.
    """
