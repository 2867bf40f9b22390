"""Layers that only change the shape.

Images are channels-last inside the network and channels-first for users. Both layers keep the order of the latter:
feature c * H * W + h * W + w of a flattened image is its channel c at (h, w).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gedanken.checks import extent, require
from gedanken.errors import ShapeError
from gedanken.layers.base import Context, Layer
from gedanken.types import AnyShape, Array, Arrays, Shape


def to_channels_first(x: Array) -> Array:
    """Return (N, H, W, C) as (N, C, H, W); any other number of axes as it is."""
    return x.transpose(0, 3, 1, 2) if x.ndim == 4 else x


def to_channels_last(x: Array) -> Array:
    """Return (N, C, H, W) as (N, H, W, C); any other number of axes as it is."""
    return x.transpose(0, 2, 3, 1) if x.ndim == 4 else x


def channels_first_shape(shape: Shape) -> Shape:
    """Return the shape of one sample as users see it: (C, H, W) for (H, W, C)."""
    return (shape[2], shape[0], shape[1]) if len(shape) == 3 else shape


def channels_last_shape(shape: Shape) -> Shape:
    """Return the shape of one sample as it is inside: (H, W, C) for (C, H, W)."""
    return (shape[1], shape[2], shape[0]) if len(shape) == 3 else shape


def each_shape(change: Callable[[Shape], Shape], shape: AnyShape) -> AnyShape:
    """Return a shape changed or, of several by name, each of them."""
    return {name: change(one) for name, one in shape.items()} if isinstance(shape, Mapping) else change(shape)


def each_of(shape: AnyShape) -> list[Shape]:
    """Return a shape or, of several by name, each of them as a list."""
    return [*shape.values()] if isinstance(shape, Mapping) else [shape]


class Flatten(Layer):
    """Make one row of features of every sample, channels first.

        y[n, c * H * W + h * W + w] = x[n, h, w, c]

    Shapes:
        x: (N, ...).   y: (N, F), F the product of the other axes.

    Source:
        none, bookkeeping.
    """

    def output_shape(self, shape: Shape) -> Shape:
        return (math.prod(shape),)

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        return to_channels_first(x).reshape(len(x), -1), x.shape[1:]

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        return to_channels_last(dy.reshape(len(dy), *channels_first_shape(cache)))


@dataclass(frozen=True, eq=False, repr=False)
class Reshape(Layer):
    """Give every sample another shape with as many values.

    Values keep their order with channels first: an image is read channel by channel.

    Args:
        shape: the new shape with channels first, such as (C, H, W); whole numbers of at least 1.

    Shapes:
        x: (N, ...).   y: (N, *shape), channels-last if it is an image.

    Raises:
        ShapeError: the number of values differs (at compile time).

    Source:
        none, bookkeeping.
    """

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        require(isinstance(self.shape, (tuple, list)), "Reshape shape", "be a tuple such as (16, 7, 7)", self.shape)
        object.__setattr__(self, "shape", tuple(self.shape))
        for size in self.shape:
            extent("Reshape shape", size)

    def output_shape(self, shape: Shape) -> Shape:
        if math.prod(shape) != math.prod(self.shape):
            have, need = math.prod(shape), math.prod(self.shape)
            raise ShapeError(f"needs {need} values for the shape {self.shape}, not {have}")
        return channels_last_shape(self.shape)

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        return to_channels_last(to_channels_first(x).reshape(len(x), *self.shape)), x.shape[1:]

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        return to_channels_last(to_channels_first(dy).reshape(len(dy), *channels_first_shape(cache)))
