"""Where a window stands when it slides over an image."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from gedanken.checks import extent, pair, short
from gedanken.errors import ArgumentError, ShapeError
from gedanken.types import Shape

LARGEST_IMAGE = 1 << 31  # values of one sample, with its padding
Padding = int | tuple[int, int] | str


NEEDS_IMAGES = "needs images (C, H, W)"


def require_image(shape: Shape) -> None:
    """Raise ShapeError unless `shape` is (H, W, C). What the fix is depends on what came before, see shapes_through."""
    if len(shape) != 3:
        raise ShapeError(NEEDS_IMAGES)


class Geometry(NamedTuple):
    """A window on an image of known size: every number that a convolution or pooling kernel needs.

    size = (height, width) of the window; padding = ((top, bottom), (left, right)); the others are
    (vertical, horizontal).
    """

    size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def positions(self, image: Shape) -> tuple[int, int]:
        """Return how many places (vertical, horizontal) the window takes on an (H, W, ...) image."""
        return (self._along(0, image[0]), self._along(1, image[1]))

    def _along(self, axis: int, length: int) -> int:
        reach = self.dilation[axis] * (self.size[axis] - 1) + 1
        return (length + sum(self.padding[axis]) - reach) // self.stride[axis] + 1


@dataclass(frozen=True)
class Window:
    """A window as a layer is told it: checked, but not yet set on an image."""

    size: tuple[int, int]
    stride: tuple[int, int]
    padding: Padding
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def on(self, image: Shape) -> Geometry:
        """Return the geometry on an image of shape (H, W, C), or raise ShapeError."""
        require_image(image)
        geometry = Geometry(self.size, self.stride, self._amounts(image), self.dilation, self.groups)
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

    def _amounts(self, image: Shape) -> tuple[tuple[int, int], tuple[int, int]]:
        if isinstance(self.padding, str):
            return self._same(0, image[0]), self._same(1, image[1])
        vertical, horizontal = pair("zero_padding", self.padding, at_least=0)
        return (vertical, vertical), (horizontal, horizontal)

    def _same(self, axis: int, length: int) -> tuple[int, int]:
        # ceil(length / stride) positions; where the total is odd, the end gets one more.
        positions = -(-length // self.stride[axis])
        reach = self.dilation[axis] * (self.size[axis] - 1) + 1
        total = max((positions - 1) * self.stride[axis] + reach - length, 0)
        return total // 2, total - total // 2


def untie(layer: Any, *names: str) -> None:
    """Make tuples of lists among these fields of a frozen layer, so that it can be compared and hashed."""
    for name in names:
        if isinstance(given := getattr(layer, name), list):
            object.__setattr__(layer, name, tuple(given))


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
                f'{layer} zero_padding must be a number, a pair (height, width) or "same", got {short(zero_padding)}'
            )
    else:
        pair(f"{layer} zero_padding", zero_padding, at_least=0)
    return Window(
        (extent(f"{layer} height_filter", height_filter), extent(f"{layer} width_filter", width_filter)),
        pair(f"{layer} stride", stride),
        zero_padding,
        pair(f"{layer} dilation", dilation),
        extent(f"{layer} groups", groups),
    )
