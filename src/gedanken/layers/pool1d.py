"""Pooling over time."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gedanken.checks import extent, real, require, truth
from gedanken.errors import ShapeError
from gedanken.geometry import untie
from gedanken.layers.base import Context, Layer
from gedanken.layers.conv1d import TimePadding, TimeWindow, amounts, require_sequence, time_window
from gedanken.layers.power_norm import norm, slope
from gedanken.types import Array, Arrays, Shape


class _AllOfIt(TimeWindow):
    """A window over all places that there are, one for each sequence of any length."""

    @property
    def more(self) -> int:
        return -1


class TimePool(Layer):
    """Windows over time, each of which becomes one value for each feature. They see real places only."""

    largest = False  # whether it takes the largest value, else the mean
    counts_padding = False  # whether a mean is over the padding too, else over what the window sees
    divides_by: int | None = None  # what the sum of a window is divided by, whatever it sees

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
        values, seen = self._windows(ctx, x)
        y, kept = self.pool(ctx, x, values, seen)
        return self._given(y.astype(x.dtype)), (x.shape[1:], kept, seen)

    def pool(self, ctx: Context, x: Array, values: Array, seen: Array) -> tuple[Array, Any]:
        """Return what becomes of the windows, (N, T', F), and what `tap_gradient` needs.

        `values` and `seen` are as `_windows` has them.
        """
        xp = ctx.ops.xp
        if self.largest:
            values = xp.where(seen, values, -np.inf)
            winner = values.argmax(axis=2)
            y = xp.take_along_axis(values, winner[:, :, None], axis=2)[:, :, 0]
            return xp.where(seen.any(axis=2), y, 0), winner
        count = self._counts(ctx, x, seen)
        return xp.where(seen, values, 0).sum(axis=2, dtype="float64") / count, count

    def tap_gradient(self, xp: Any, kept: Any, dy: Array, r: int) -> Array:
        """Return the gradient with respect to value number r of each window that sees it, (N, T', F)."""
        return dy * (kept == r) if self.largest else dy / kept

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        (shape, kept, seen), xp = cache, ctx.ops.xp
        dy = dy.reshape(len(dy), -1, shape[1])
        window, before = self.window(shape), self.before(shape)
        dx = xp.zeros((len(dy), *shape), "float64")
        for r in range(window.width):
            share = xp.where(seen[:, :, r], self.tap_gradient(xp, kept, dy, r), 0)
            at = before - r * window.dilation
            first = max(0, -(-at // window.stride))  # the first window whose place r is inside
            last = min(dy.shape[1], (shape[0] - 1 + at) // window.stride + 1)
            if first < last:
                start = first * window.stride - at
                dx[:, start : start + (last - first - 1) * window.stride + 1 : window.stride] += share[:, first:last]
        return dx.astype(dy.dtype)

    def _windows(self, ctx: Context, x: Array) -> tuple[Array, Array]:
        """Return the values of all windows, (N, T', width, F), and which are real, (N, T', width, 1)."""
        xp, shape = ctx.ops.xp, x.shape[1:]
        window = self.window(shape)
        made = window.on(shape).positions((1, *shape))[1]
        taps = xp.arange(window.width) * window.dilation
        places = xp.arange(made)[:, None] * window.stride - self.before(shape) + taps
        lengths = xp.full(len(x), shape[0]) if ctx.lengths is None else ctx.lengths
        windows = xp.arange(made) < window.lengths(lengths)[:, None]
        seen = (places >= 0) & (places < lengths[:, None, None]) & windows[:, :, None]
        return x[:, xp.clip(places, 0, shape[0] - 1)], seen[..., None]

    def _counts(self, ctx: Context, x: Array, seen: Array) -> Array:
        """Return what the sum of each window is divided by, (N, T', 1)."""
        xp, window = ctx.ops.xp, self.window(x.shape[1:])
        count = seen.sum(axis=2)
        if self.divides_by is not None:
            return xp.full_like(count, self.divides_by)
        if self.counts_padding:
            lengths = xp.full(len(x), x.shape[1]) if ctx.lengths is None else ctx.lengths
            beside = lengths[:, None] + window.room - xp.arange(count.shape[1]) * window.stride
            count = xp.minimum(window.width, -(-beside // window.dilation))[:, :, None]
        return xp.maximum(count, 1)

    def _given(self, y: Array) -> Array:
        return y


@dataclass(frozen=True, eq=False, repr=False)
class _SlidingTimePool(TimePool):
    """A pooling with a window of fixed width; stride None means windows side by side."""

    width_filter: int
    stride: int | None = None
    zero_padding: TimePadding = 0
    dilation: int = 1
    ceil_mode: bool = False

    def __post_init__(self) -> None:
        untie(self, "zero_padding")
        name = type(self).__name__
        truth(f"{name} ceil_mode", self.ceil_mode)
        window = self.window(())
        if isinstance(self.zero_padding, str):
            rule = f'be False with zero_padding="{self.zero_padding}"'
            require(not self.ceil_mode, f"{name} ceil_mode", rule, self.ceil_mode)
        else:
            fits = max(amounts(f"{name} zero_padding", self.zero_padding)) < window.reach
            require(fits, f"{name} zero_padding", f"be smaller than the window {window.reach}", self.zero_padding)

    def window(self, shape: Shape) -> TimeWindow:
        stride = self.width_filter if self.stride is None else self.stride
        made = time_window(type(self).__name__, self.width_filter, stride, self.zero_padding, self.dilation)
        return replace(made, ceil=self.ceil_mode)

    def output_shape(self, shape: Shape) -> Shape:
        made = super().output_shape(shape)
        if not self._all_see(shape[0]):
            raise ShapeError(
                f"has a dilation of {self.dilation}, with which some window sees none of the {shape[0]} places",
                "use a smaller dilation or less zero_padding",
            )
        return made

    def output_lengths(self, shape: Shape, lengths: Array) -> Array | None:
        made = self.window(shape).lengths(lengths)
        for places in range(1, min(self.dilation, shape[0] + 1)):
            if not self._all_see(places):
                made = made * (lengths != places)  # none: too few
        return made

    def _all_see(self, places: int) -> bool:
        """Return whether every window sees some of a sequence's places."""
        if self.dilation <= places:  # only taps that lie further apart than it is long can all miss it
            return True
        window = self.window(())
        return window.made(places) > 0 and bool(window.on((places, 1)).span(1, places, 0).seen.all())


class MaxPool1DLayer(_SlidingTimePool):
    """Take the largest value of each window over time.

        y[n, t, f] = max over r of x[n, t * stride + r * dilation - before, f]

    The gradient goes to the first largest value of each window. Padding and places behind a sequence's end never win.

    Args:
        width_filter: places of a window, at least 1.
        stride: places between two windows, at least 1; None is the window's width.
        zero_padding: places before and after the sequence, a number, a pair, "same" or "causal", as for
            Convolution1DLayer; less than the window.
        dilation: places between two values of one window, at least 1.
        ceil_mode: whether a last window that reaches beyond the padded sequence counts, if it begins in the sequence or
            in the padding before it; then T' is rounded up. What lies beyond never wins.

    Shapes:
        x: (N, T, F).   y: (N, T', F), T' as for Convolution1DLayer.

    Raises:
        ShapeError: the input is no sequence or shorter than a window, or a window sees nothing of it (at compile time).
        DataError: so is one of those that are given.

    Source:
        Waibel et al. 1989, "Phoneme recognition using time-delay neural networks" (the sum over time).
    """

    largest = True


@dataclass(frozen=True, eq=False, repr=False)
class AveragePool1DLayer(_SlidingTimePool):
    """Take the mean of each window over time.

        y[n, t, f] = mean over r of x[n, t * stride + r * dilation - before, f]

    Args:
        width_filter: places of a window, at least 1.
        stride: places between two windows, at least 1; None is the window's width.
        zero_padding: places before and after the sequence, as for MaxPool1DLayer.
        dilation: places between two values of one window, at least 1.
        ceil_mode: as for MaxPool1DLayer; what lies beyond the padded sequence never counts.
        count_padding: whether padding counts as zeros, else the mean is over what the window sees of the sequence.
        divisor: what each window's sum is divided by, at least 1, in place of the number of its values; None is that
            number. With 1 it is a sum.

    Shapes:
        x: (N, T, F).   y: (N, T', F), T' as for Convolution1DLayer.

    Raises:
        ShapeError: the input is no sequence or shorter than a window, or a window sees nothing of it (at compile time).
        DataError: so is one of those that are given.

    Source:
        Waibel et al. 1989, "Phoneme recognition using time-delay neural networks" (the sum over time).
    """

    count_padding: bool = True
    divisor: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        truth("AveragePool1DLayer count_padding", self.count_padding)
        if self.divisor is not None:
            extent("AveragePool1DLayer divisor", self.divisor)

    @property
    def counts_padding(self) -> bool:  # type: ignore[override]
        return self.count_padding

    @property
    def divides_by(self) -> int | None:  # type: ignore[override]
        return self.divisor


class NormOfTime(TimePool):
    """A pooling over time that takes the p-norm of each window."""

    power: float

    def pool(self, ctx: Context, x: Array, values: Array, seen: Array) -> tuple[Array, Any]:
        values = ctx.ops.xp.where(seen, values, 0)
        y = norm(ctx.ops.xp, values, self.power, axis=2)
        return y, (values, y)

    def tap_gradient(self, xp: Any, kept: Any, dy: Array, r: int) -> Array:
        values, y = kept
        return dy * slope(xp, values[:, :, r], y, self.power)


@dataclass(frozen=True, eq=False, repr=False)
class LpPool1DLayer(NormOfTime, _SlidingTimePool):
    """Take the p-norm of each window over time.

        y[n, t, f] = (sum over r of |x[n, t * stride + r * dilation - before, f]| ** p) ** (1 / p)

    Where a window is all 0 its gradient is taken as 0. Places behind a sequence's end add nothing.

    Args:
        width_filter: places of a window, at least 1.
        stride: places between two windows, at least 1; None is the window's width.
        zero_padding: places before and after the sequence, as for MaxPool1DLayer; they add nothing.
        dilation: places between two values of one window, at least 1.
        ceil_mode: as for MaxPool1DLayer; what lies beyond the padded sequence adds nothing.
        power: p, at least 1.

    Shapes:
        x: (N, T, F).   y: (N, T', F), T' as for Convolution1DLayer.

    Raises:
        ShapeError: the input is no sequence or shorter than a window, or a window sees nothing of it (at compile time).
        DataError: so is one of those that are given.

    Source:
        Sermanet, Chintala & LeCun 2012, arXiv:1204.3968 ("Lp-pooling"). Differs: along time; all places count alike.
    """

    power: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        real("LpPool1DLayer power", self.power, "[1, inf)")


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


@dataclass(frozen=True, eq=False, repr=False)
class GlobalLpPool1DLayer(NormOfTime, _GlobalTimePool):
    """Take the p-norm of each feature over time, of the places that are real.

        y[n, f] = (sum over t of |x[n, t, f]| ** p) ** (1 / p)

    Args:
        power: p, at least 1.

    Shapes:
        x: (N, T, F).   y: (N, F).

    Raises:
        ShapeError: the input is no sequence (at compile time).

    Source:
        Sermanet, Chintala & LeCun 2012, arXiv:1204.3968 ("Lp-pooling"). Differs: along time, and one window.
    """

    power: float = 2.0

    def __post_init__(self) -> None:
        real("GlobalLpPool1DLayer power", self.power, "[1, inf)")
