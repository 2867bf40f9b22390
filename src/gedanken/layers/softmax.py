"""SoftMax and LogSoftMax: scores as shares of a whole, which are taken together over the channels or chosen axes."""

import math
from abc import abstractmethod
from dataclasses import KW_ONLY, dataclass
from typing import Any

from gedanken.layers.base import Context
from gedanken.layers.over_axes import OverAxes
from gedanken.ops import Ops
from gedanken.types import Array, Arrays


class _Shares(OverAxes):
    """A layer whose formula is one of rows: of what it takes together, one after the other."""

    whole_pictures = False

    def __post_init__(self) -> None:
        self._check_axes()

    @abstractmethod
    def of_rows(self, ops: Ops, x: Array) -> Array:
        """Return what comes out along the last axis."""

    @abstractmethod
    def rows_back(self, ops: Ops, y: Array, dy: Array) -> Array:
        """Return the gradient by x, of what came out along the last axis and its gradient."""

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        y = self.of_rows(ctx.ops, self._rows(x))
        return self._in_place(y, x), y

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        return self._in_place(self.rows_back(ctx.ops, cache, self._rows(dy)), dy)

    def _order(self, x: Array) -> tuple[int, ...]:
        over = self._over(x)
        return (*(axis for axis in range(x.ndim) if axis not in over), *over)

    def _rows(self, x: Array) -> Array:
        """Return x with what is taken together along the last axis."""
        if self.of_channels(x.shape[1:]):
            return x
        kept = x.ndim - len(self._over(x))
        turned = x.transpose(self._order(x))
        return turned.reshape(*turned.shape[:kept], math.prod(turned.shape[kept:]))

    def _in_place(self, rows: Array, like: Array) -> Array:
        """Return rows in the shape that they were taken from."""
        if self.of_channels(like.shape[1:]):
            return rows
        order = self._order(like)
        turned = rows.reshape(tuple(like.shape[axis] for axis in order))
        return turned.transpose(tuple(order.index(axis) for axis in range(like.ndim)))


@dataclass(frozen=True, eq=False, repr=False)
class SoftMax(_Shares):
    """Turn scores into probabilities that sum to 1 over the channels, or over chosen axes.

        y[c] = exp(x[c]) / sum over d of exp(x[d])
        dx[c] = y[c] * (dy[c] - sum over d of dy[d] * y[d])

    Over the channels, as the last layer before `cross_entropy`, it is folded into one stable cost when the network is
    compiled; anywhere else it has this, its true Jacobian.

    Args:
        axes: the axes of a sample that the sum is over, a number or several, counted from 1 as users see them; see
            Permute. None is the channels. (2, 3) of an image makes of each channel one map of shares. A sum over the
            places of a sequence does not honour lengths.

    Shapes:
        x, y: (N, ..., C).

    Raises:
        ShapeError: the input has no channel axis, or not all of `axes` (at compile time).

    Source:
        Bridle 1990, "Probabilistic interpretation of feedforward classification network outputs".
    """

    _: KW_ONLY
    axes: int | tuple[int, ...] | None = None

    def of_rows(self, ops: Ops, x: Array) -> Array:
        return ops.softmax(x)

    def rows_back(self, ops: Ops, y: Array, dy: Array) -> Array:
        h = dy - ops.sum(dy * y, axis=-1, keepdims=True)
        return y * (h - ops.sum(h * y, axis=-1, keepdims=True))  # the rounded mean's rest: of large slopes


@dataclass(frozen=True, eq=False, repr=False)
class LogSoftMax(_Shares):
    """Turn scores into logarithms of probabilities that sum to 1 over the channels, or over chosen axes.

        y[c] = x[c] - log(sum over d of exp(x[d]))
        dx[c] = dy[c] - exp(y[c]) * sum over d of dy[d]

    The cost `cross_entropy` takes probabilities: before it stands SoftMax, which is folded into it.

    Args:
        axes: as of SoftMax.

    Shapes:
        x, y: (N, ..., C).

    Raises:
        ShapeError: the input has no channel axis, or not all of `axes` (at compile time).

    Source:
        Bridle 1990, "Probabilistic interpretation of feedforward classification network outputs".
    """

    _: KW_ONLY
    axes: int | tuple[int, ...] | None = None

    def of_rows(self, ops: Ops, x: Array) -> Array:
        return ops.log_softmax(x)

    def rows_back(self, ops: Ops, y: Array, dy: Array) -> Array:
        return dy - ops.xp.exp(y) * ops.sum(dy, axis=-1, keepdims=True)
