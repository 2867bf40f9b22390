"""Layers that put something around what they are given, or take it away: pictures, and sequences along time."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from gedanken.checks import one_of, pair, real, require
from gedanken.errors import ShapeError
from gedanken.geometry import BORDERS, LARGEST_IMAGE, NEEDS_IMAGES, Sides, border, inside, least, sides, untie
from gedanken.layers.base import Context, Layer
from gedanken.types import Array, Arrays, Shape

Amounts = int | tuple[int, int] | Sides


class Frame(Layer):
    """A layer whose results are values that it is given, in another frame. A sequence is an image of one column."""

    @property
    def outside(self) -> float:
        """What stands where no value is."""
        return 0.0

    @property
    def beyond(self) -> str:
        """How what stands around the values follows from them, one of BORDERS; "zeros": it is `outside`."""
        return "zeros"

    @abstractmethod
    def taken(self, shape: Shape) -> tuple[Array, Array]:
        """Return which row and which column of the input each one of the result is, -1 for none."""

    @abstractmethod
    def around(self, shape: Shape) -> tuple[int, int]:
        """Return how many places are put before and after sequences (T, F); negative ones are taken away."""

    def output_shape(self, shape: Shape) -> Shape:
        rows, columns = self.taken(shape)
        return (len(rows), len(columns), shape[2]) if len(shape) == 3 else (len(rows), shape[1])

    def output_lengths(self, shape: Shape, lengths: Array) -> Array | None:
        if len(shape) != 2:
            return super().output_lengths(shape, lengths)
        before, after = self.around(shape)
        return (lengths + before + after) * (lengths >= least(self.beyond, before, after))  # none: too few to reflect

    def may_be_cut(self, shape: Shape, places: int) -> bool:
        return len(shape) == 2

    def places(self, xp: Any, shape: Shape, lengths: Array) -> Array:
        """Return which place of its sequence each one of the result is, (N, T'); -1 for none, as behind its end."""
        (before, after), ends = self.around(shape), lengths[:, None]
        at = xp.arange(self.output_shape(shape)[0])[None] - before
        return xp.where(at < ends + after, inside(xp, self.beyond, at, ends), -1)

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        xp, shape = ctx.ops.xp, x.shape[1:]
        if ctx.lengths is not None:
            places = self.places(xp, shape, ctx.lengths)
            y = xp.take_along_axis(x, xp.maximum(places, 0)[..., None], axis=1)
            return xp.where((places >= 0)[..., None], y, x.dtype.type(self.outside)), (shape, places)
        y = ctx.ops.take(x.reshape(len(x), *as_image(shape)), *self.taken(shape), self.outside)
        return y.reshape(len(x), *self.output_shape(shape)), (shape, None)

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        (shape, places), xp = cache, ctx.ops.xp
        if places is not None:
            dx, samples = xp.zeros((len(dy), *shape), "float64"), xp.arange(len(dy))
            for j in range(dy.shape[1]):
                dx[samples, xp.maximum(places[:, j], 0)] += xp.where(places[:, j, None] >= 0, dy[:, j], 0)
            return dx.astype(dy.dtype)
        (rows, columns), image = self.taken(shape), as_image(shape)
        dx = ctx.ops.give_back(dy.reshape(len(dy), len(rows), len(columns), image[2]), rows, columns, image)
        return dx.reshape(len(dy), *shape)


def as_image(shape: Shape) -> Shape:
    """Return the shape of an image, or of a sequence (T, F) as an image of one column."""
    if len(shape) not in (2, 3):
        raise ShapeError(f"{NEEDS_IMAGES} or sequences (T, F)")
    return shape if len(shape) == 3 else (shape[0], 1, shape[1])


def _sides_of(name: str, value: Any, shape: Shape) -> Sides:
    """Return what is meant on each side: of a sequence two numbers are (before, after)."""
    if len(shape) == 3:
        return sides(name, value)
    if isinstance(value, tuple) and any(isinstance(one, tuple) for one in value):
        raise ShapeError(f"has {name}={value} for a picture; of a sequence (T, F) say a number or (before, after)")
    return pair(name, value, at_least=0), (0, 0)


@dataclass(frozen=True, eq=False, repr=False)
class PaddingLayer(Frame):
    """Put rows and columns around images, or places before and after sequences.

        y[n, i, j, c] = x[n, i - top, j - left, c] inside the image, and around it
        zeros:      0                            constant:  value
        reflect:    c b | a b c | b a            replicate: a a | a b c | c c           circular: b c | a b c | a b

    Sequences with lengths are padded each right behind its own end, and with what stands there.

    Args:
        padding: of images a number, a pair (vertical, horizontal) or ((top, bottom), (left, right)); of sequences a
            number or a pair (before, after). All are at least 0.
        mode: "zeros", "constant", "reflect" (without the pixel at the edge), "replicate" or "circular".
        value: with mode="constant", what stands around the image, a finite number.

    Shapes:
        x: (N, H, W, C).   y: (N, top + H + bottom, left + W + right, C).
        x: (N, T, F).      y: (N, before + T + after, F).

    Raises:
        ShapeError: the input is neither an image nor a sequence, or has too few pixels for "reflect" or "circular" (at
            compile time).
        DataError: so has one of the sequences that are given.

    Source:
        none, bookkeeping.
    """

    padding: Amounts
    mode: str = "zeros"
    value: float = 0.0

    def __post_init__(self) -> None:
        untie(self, "padding")
        sides("PaddingLayer padding", self.padding)
        one_of("PaddingLayer mode", self.mode, (*BORDERS, "constant"))
        real("PaddingLayer value", self.value, "(-inf, inf)")
        plain = self.mode == "constant" or self.value == 0
        require(plain, "PaddingLayer value", f'be left out unless mode="constant" (mode is "{self.mode}")', self.value)

    @property
    def outside(self) -> float:
        return float(self.value)

    @property
    def beyond(self) -> str:
        return "zeros" if self.mode == "constant" else self.mode

    def taken(self, shape: Shape) -> tuple[Array, Array]:
        height, width, channels = as_image(shape)
        (top, bottom), (left, right) = _sides_of("padding", self.padding, shape)
        height_after, width_after = height + top + bottom, width + left + right
        if height_after * width_after * channels > LARGEST_IMAGE:
            raise ShapeError(
                f"makes {height_after} x {width_after} pixels, which with their {channels} channels must be at most "
                f"{LARGEST_IMAGE} values"
            )
        return border(self.mode, height, top, bottom), border(self.mode, width, left, right)

    def around(self, shape: Shape) -> tuple[int, int]:
        return _sides_of("padding", self.padding, shape)[0]


@dataclass(frozen=True, eq=False, repr=False)
class CroppingLayer(Frame):
    """Take rows and columns away at the sides of images, or places at both ends of sequences.

        y[n, i, j, c] = x[n, i + top, j + left, c]

    Of sequences with lengths each loses the places before its own end.

    Args:
        cropping: of images a number, a pair (vertical, horizontal) or ((top, bottom), (left, right)); of sequences a
            number or a pair (before, after). All are at least 0.

    Shapes:
        x: (N, H, W, C).   y: (N, H - top - bottom, W - left - right, C).
        x: (N, T, F).      y: (N, T - before - after, F).

    Raises:
        ShapeError: the input is neither an image nor a sequence, or nothing would be left (at compile time).
        DataError: nothing would be left of one of the sequences that are given.

    Source:
        none, bookkeeping.
    """

    cropping: Amounts

    def __post_init__(self) -> None:
        untie(self, "cropping")
        sides("CroppingLayer cropping", self.cropping)

    def taken(self, shape: Shape) -> tuple[Array, Array]:
        size = as_image(shape)[:2]
        amounts = _sides_of("cropping", self.cropping, shape)
        kept = [length - sum(both) for length, both in zip(size, amounts, strict=True)]
        if min(kept) < 1:
            told = ("x".join(map(str, each[: len(shape) - 1])) for each in (kept, size))
            raise ShapeError("leaves {} of {}, which must be at least 1 along each axis".format(*told))
        (top, _), (left, _) = amounts
        return np.arange(top, top + kept[0]), np.arange(left, left + kept[1])

    def around(self, shape: Shape) -> tuple[int, int]:
        before, after = _sides_of("cropping", self.cropping, shape)[0]
        return -before, -after
