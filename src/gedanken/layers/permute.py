"""Permute: the axes of a sample in another order."""

from dataclasses import dataclass
from typing import Any

from gedanken.checks import is_list, require, whole
from gedanken.errors import ShapeError
from gedanken.layers.base import Context, Layer
from gedanken.layers.shape import channels_first_shape, channels_last_shape
from gedanken.types import Array, Arrays, Shape

RULE = "be a tuple with each of 1, 2, ... once, such as (2, 1)"


@dataclass(frozen=True, eq=False, repr=False)
class Permute(Layer):
    """Put the axes of every sample in another order.

        y[n, i, j] = x[n, j, i]     for axes = (2, 1)

    Axes are counted as users see an array, images with channels first: axis 0 is that of the samples and stays where
    it is, and axis k of a sample's result is axis axes[k - 1] of what comes in. So on images (C, H, W) the axes
    (1, 3, 2) exchange height and width.

    Args:
        axes: a tuple with each of 1 ... the number of a sample's axes once.

    Shapes:
        x: (N, A, B, ...).   y: the same axes in the new order; images are channels-last inside.

    Raises:
        ShapeError: samples have another number of axes (at compile time).

    Source:
        none, bookkeeping.
    """

    axes: tuple[int, ...]

    def __post_init__(self) -> None:
        require(is_list(self.axes) and len(self.axes) > 0, "Permute axes", RULE, self.axes)
        axes = tuple(whole("Permute axes", axis) for axis in self.axes)
        require(sorted(axes) == list(range(1, len(axes) + 1)), "Permute axes", RULE, self.axes)
        object.__setattr__(self, "axes", axes)

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != len(self.axes):
            raise ShapeError(f"needs samples with {len(self.axes)} axes, as many as it orders")
        seen = channels_first_shape(shape)
        return channels_last_shape(tuple(seen[axis - 1] for axis in self.axes))

    def output_lengths(self, shape: Shape, lengths: Array) -> Array | None:
        return lengths if self.axes[0] == 1 else super().output_lengths(shape, lengths)

    def may_be_cut(self, shape: Shape, places: int) -> bool:
        return self.axes[0] == 1

    @property
    def moves(self) -> tuple[int, ...]:
        """Which axis of a sample as it is inside each axis of the result is, counted from 0."""
        count = len(self.axes)
        if count != 3:
            return tuple(axis - 1 for axis in self.axes)
        inside = channels_first_shape((0, 1, 2))  # where height, width and channels stand, with channels first
        return channels_last_shape(tuple(inside[axis - 1] for axis in self.axes))

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        return x.transpose(0, *(axis + 1 for axis in self.moves)).copy(), None

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        moves = self.moves
        return dy.transpose(0, *(moves.index(axis) + 1 for axis in range(len(moves)))).copy()
