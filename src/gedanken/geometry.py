"""Where a window stands when it slides over an image."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gedanken.checks import extent, pair, require, short
from gedanken.errors import ArgumentError, ShapeError
from gedanken.types import Array, Shape

LARGEST_IMAGE = 1 << 31  # values of one sample, with its padding
Sides = tuple[tuple[int, int], tuple[int, int]]  # ((top, bottom), (left, right))
Padding = int | tuple[int, int] | Sides | str
NO_SIDES: Sides = ((0, 0), (0, 0))


NEEDS_IMAGES = "needs images (C, H, W)"
NEEDS_SEQUENCES = "needs sequences (T, F)"


def require_image(shape: Shape) -> None:
    """Raise ShapeError unless `shape` is (H, W, C). What the fix is depends on what came before, see shapes_through."""
    if len(shape) != 3:
        raise ShapeError(NEEDS_IMAGES)


class Span(NamedTuple):
    """What windows see of an image along one axis, one number for each window.

    Args:
        first: the first pixel inside the image that a window sees.
        seen: how many it sees there, `step` apart.
        counted: how many it has there and in the padding.
        step: the dilation.
    """

    first: Array
    seen: Array
    counted: Array
    step: int = 1


class Geometry(NamedTuple):
    """A window on an image of known size: every number that a convolution or pooling kernel needs.

    size = (height, width) of the window; padding = ((top, bottom), (left, right)); the others are
    (vertical, horizontal).
    """

    size: tuple[int, int]
    stride: tuple[int, int]
    padding: Sides
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def positions(self, image: Shape) -> tuple[int, int]:
        """Return how many places (vertical, horizontal) the window takes on an (H, W, ...) image."""
        return (self._along(0, image[0]), self._along(1, image[1]))

    def _along(self, axis: int, length: int) -> int:
        reach = self.dilation[axis] * (self.size[axis] - 1) + 1
        return (length + sum(self.padding[axis]) - reach) // self.stride[axis] + 1

    def span(self, axis: int, length: int, counted: int) -> Span:
        """Return what the windows see along an axis; `counted` is how much of the padding after the image counts."""
        step, before = self.dilation[axis], self.padding[axis][0]
        start = np.arange(self._along(axis, length), dtype=np.int64) * self.stride[axis] - before
        left_out = np.maximum(0, -(start // step))
        in_image, in_all = (np.minimum(self.size[axis], -((start - end) // step)) for end in (length, length + counted))
        return Span(start + left_out * step, np.maximum(0, in_image - left_out), in_all, step)


@dataclass(frozen=True)
class Window:
    """A window as a layer is told it: checked, but not yet set on an image."""

    size: tuple[int, int]
    stride: tuple[int, int]
    padding: Padding
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    ceil: bool = False

    def on(self, image: Shape) -> Geometry:
        """Return the geometry on an image of shape (H, W, C), or raise ShapeError."""
        require_image(image)
        geometry = Geometry(self.size, self.stride, self.amounts(image), self.dilation, self.groups)
        if self.ceil:
            geometry = geometry._replace(
                padding=(self._ceiled(geometry, 0, image[0]), self._ceiled(geometry, 1, image[1]))
            )
        padded = (image[0] + sum(geometry.padding[0]), image[1] + sum(geometry.padding[1]))
        if padded[0] * padded[1] * image[2] > LARGEST_IMAGE:
            raise ShapeError(
                f"has a padded image of {padded[0]} x {padded[1]}, which with its {image[2]} channels must be of at "
                f"most {LARGEST_IMAGE} values"
            )
        if min(geometry.positions(image)) < 1:
            reach = tuple(d * (s - 1) + 1 for s, d in zip(self.size, self.dilation, strict=True))
            raise ShapeError(
                f"has a window of {reach[0]} x {reach[1]}, larger than the padded image of {padded[0]} x {padded[1]}",
                _too_small_hint(image),
            )
        return geometry

    def amounts(self, image: Shape) -> Sides:
        """Return the padding that was asked for, on an image of shape (H, W, C)."""
        if isinstance(self.padding, str):
            return self._same(0, image[0]), self._same(1, image[1])
        return sides("zero_padding", self.padding)

    def _ceiled(self, geometry: Geometry, axis: int, length: int) -> tuple[int, int]:
        """Return the padding with which a window that begins inside the image, or before it, is a whole one."""
        (before, after), stride = geometry.padding[axis], self.stride[axis]
        reach = self.dilation[axis] * (self.size[axis] - 1) + 1
        last = -(-(length + before + after - reach) // stride)
        last -= last * stride >= length + before
        return before, max(after, last * stride + reach - length - before)

    def _same(self, axis: int, length: int) -> tuple[int, int]:
        # ceil(length / stride) positions; where the total is odd, the end gets one more.
        positions = -(-length // self.stride[axis])
        reach = self.dilation[axis] * (self.size[axis] - 1) + 1
        total = max((positions - 1) * self.stride[axis] + reach - length, 0)
        return total // 2, total - total // 2


def untie(layer: Any, *names: str) -> None:
    """Make tuples of lists among these fields of a frozen layer, so that it can be compared and hashed."""
    for name in names:
        if isinstance(given := getattr(layer, name), (list, tuple)):
            object.__setattr__(layer, name, tuple(tuple(one) if isinstance(one, list) else one for one in given))


def sides(argument: str, value: object) -> Sides:
    """Return `value` as ((top, bottom), (left, right)); one number may stand for a pair, or for all."""
    if not isinstance(value, (tuple, list)):
        return (pair(argument, value, at_least=0),) * 2
    rule = "be a number, a pair (height, width) or ((top, bottom), (left, right))"
    require(len(value) == 2, argument, rule, value)
    vertical, horizontal = (pair(argument, one, at_least=0) for one in value)
    return vertical, horizontal


BORDERS = ("zeros", "reflect", "replicate", "circular")
MOST = {"reflect": "less than", "circular": "at most"}


def border(mode: str, length: int, before: int, after: int) -> Array:
    """Return which pixel of an axis stands at each place of the axis with its padding; -1: none, a constant.

        reflect: c b | a b c | b a     replicate: a a | a b c | c c     circular: b c | a b c | a b

    Raises:
        ShapeError: the image has too few pixels to reflect them, or to begin again with them.
    """
    if length < least(mode, before, after):
        raise ShapeError(
            f"has {max(before, after)} pixels of {mode} padding, which must be {MOST[mode]} the {length} pixels of the "
            "image along this axis"
        )
    return inside(np, mode, np.arange(-before, length + after, dtype=np.int64), length)


def least(mode: str, before: int, after: int) -> int:
    """Return how many pixels an axis must have for so much padding."""
    return {"reflect": max(before, after) + 1, "circular": max(before, after)}.get(mode, 0)


def inside(xp: Any, mode: str, places: Array, length: Any) -> Array:
    """Return which pixel of axes of this length stands at places counted from their first pixel; see `border`.

    Args:
        xp: the array module.
        mode: of the padding.
        places: whole numbers, no further outside than the padding is allowed to be; what others become means nothing.
        length: a number, or an array of numbers that goes with the places.
    """
    if mode == "reflect":
        places = abs(places)
        return xp.where(places < length, places, 2 * (length - 1) - places)
    if mode == "replicate":
        return xp.minimum(xp.maximum(places, 0), length - 1)
    if mode == "circular":
        return places % length
    return xp.where((places >= 0) & (places < length), places, -1)


def _too_small_hint(image: Shape) -> str:
    height, width, channels = image
    if width in (1, 3, 4) and channels == height > width:
        return f"shapes are channels first: ({width}, {channels}, {height})"
    return 'use a smaller filter, zero_padding="same", or fewer pooling layers before it'


def window(
    layer: str,
    width_filter: int,
    height_filter: int,
    stride: int | tuple[int, int],
    zero_padding: Padding,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
) -> Window:
    """Return the checked Window of a layer's arguments; `layer` names it in errors."""
    if isinstance(zero_padding, str):
        if zero_padding != "same":
            raise ArgumentError(
                f"{layer} zero_padding must be a number, a pair (height, width), ((top, bottom), (left, right)) or "
                f'"same", got {short(zero_padding)}'
            )
    else:
        sides(f"{layer} zero_padding", zero_padding)
    return Window(
        (extent(f"{layer} height_filter", height_filter), extent(f"{layer} width_filter", width_filter)),
        pair(f"{layer} stride", stride),
        zero_padding,
        pair(f"{layer} dilation", dilation),
        extent(f"{layer} groups", groups),
    )
