"""Changes that move the pixels of a picture, and with them those of its masks."""

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from gedanken.checks import one_of, pair, real, require
from gedanken.data.changes import PictureTransform, below, check_key, is_nested, is_numbers, kind_of, parts_of, with_new
from gedanken.data.raster import pixel_value, rotated, window
from gedanken.data.workers.items import Key
from gedanken.errors import DataError
from gedanken.types import Array, Shape


@dataclass(frozen=True, eq=False, repr=False)
class Move(PictureTransform):
    """What all changes share that move pixels: masks of the picture move with it, by the same draw.

    Args:
        masks: places or keys of masks in the item, arrays of the picture's height and width that say something of each
            pixel, such as its class; () for none. None is none too, but refuses an item that has what looks like one.
        mask_fill: what a mask has where nothing moved to, such as the label to ignore. Needed where there is such.

    Shapes:
        mask: (H, W) or (C, H, W) for a picture (C, H, W) or (H, W), any real number type; its values are never mixed.

    Raises:
        DataError: there is no such mask, or one that `masks` does not tell of (when called).
    """

    masks: Key | tuple[Key, ...] | None = field(default=None, kw_only=True)
    mask_fill: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        name, places = type(self).__name__, self._places()
        for place in places:
            check_key(f"{name} masks", place)
            require(place != self.key, f"{name} masks", "be other entries than the picture", self.masks)
        if self.mask_fill is not None:
            real(f"{name} mask_fill", self.mask_fill, "(-inf, inf)")
        rule = "be given: it is what masks have where nothing moved to"
        require(not places or not self.uncovers() or self.mask_fill is not None, f"{name} mask_fill", rule, None)

    @abstractmethod
    def draw(self, rng: "np.random.Generator", shape: Shape) -> Any:
        """Return what is random for a picture of this shape, (C, H, W) or (H, W)."""

    @abstractmethod
    def moved(self, picture: Array, drawn: Any, fill: Any, nearest: bool) -> Array:
        """Return the picture, or a mask, as `draw` decided; `nearest` does not mix values. fill None fills nothing."""

    def uncovers(self) -> bool:
        """Say whether there are pixels that nothing moved to."""
        return True

    def change(self, rng: "np.random.Generator", picture: Array) -> Array:
        return self.moved(picture, self.draw(rng, picture.shape), self._fill("fill", picture), nearest=False)

    def __call__(self, rng: "np.random.Generator", item: Any) -> Any:
        key, picture = self.picture_of(item)
        plain, masks = self.channels_first(picture), self._masks(item, key, picture)
        drawn = self.draw(rng, plain.shape)
        new = {key: self.moved(plain, drawn, self._fill("fill", plain), nearest=False)}
        for place, mask in masks.items():
            new[place] = self.moved(self.channels_first(mask), drawn, self._fill("mask_fill", mask), nearest=True)
        return with_new(item, {place: self.as_given(array) for place, array in new.items()})

    def _places(self) -> tuple[Key, ...]:
        if is_nested(self.masks):
            return (self.masks,)  # type: ignore[return-value]
        if isinstance(self.masks, (tuple, list)):
            return tuple(self.masks)
        return () if self.masks is None else (self.masks,)

    def _fill(self, name: str, array: Array) -> Any:
        value = getattr(self, name, None)
        return None if value is None else pixel_value(f"{type(self).__name__} {name}", value, array)

    def _masks(self, item: Any, key: Key, picture: Array) -> dict[Key, Array]:
        """Return the masks of an item by their places, or raise DataError."""
        parts, name = parts_of(item), type(self).__name__
        if self.masks is None:
            self._check_untold(parts, key, picture)
        found: dict[Key, Array] = {}
        for place in self._places():
            mask = parts.get(place)
            if not self._is_alike(mask, picture):
                rule = f"{name} needs a mask of the picture's height and width at masks={place!r}"
                raise DataError(f"{rule}, got {kind_of(mask)} for a picture of shape {picture.shape}")
            found[place] = mask  # type: ignore[assignment]
        return found

    def _check_untold(self, parts: Mapping[Any, Any], key: Key, picture: Array) -> None:
        for place, value in parts.items():
            turned = is_numbers(value, "fiub") and value.ndim == 3 and value.shape[:2] == self._size(picture)
            if place != key and (turned or self._is_alike(value, picture)):
                found = f"entry {place!r}, {kind_of(value)}, has the height and width of the picture"
                remedy = f"say masks={place!r} to move it with the picture, or masks=() to leave it as it is"
                raise DataError(f"{type(self).__name__} moves pixels, and {found}: {remedy}")

    def _is_alike(self, value: Any, picture: Array) -> bool:
        if not is_numbers(value, "fiub") or value.ndim not in (2, 3):
            return False
        return self._size(value) == self._size(picture)

    def _size(self, array: Array) -> Shape:
        return array.shape[:2] if self.channels == "last" else array.shape[-2:]


@dataclass(frozen=True, eq=False, repr=False)
class Flip(Move):
    """Mirror the picture, or leave it.

        y[c, i, j] = x[c, i, W - 1 - j] with `probability`, else x[c, i, j]    for axis "horizontal"

    Args:
        probability: how often the picture is mirrored, in [0, 1].
        axis: "horizontal" swaps left and right, "vertical" top and bottom.
        key, channels: as of `PictureTransform`.
        masks, mask_fill: places of masks that move with the picture, and what they are filled with; see `Move`.

    Shapes:
        x, y: (C, H, W) or (H, W).
    """

    probability: float = 0.5
    axis: Literal["horizontal", "vertical"] = "horizontal"

    def __post_init__(self) -> None:
        super().__post_init__()
        real("Flip probability", self.probability, "[0, 1]")
        one_of("Flip axis", self.axis, ("horizontal", "vertical"))

    def uncovers(self) -> bool:
        return False

    def draw(self, rng: "np.random.Generator", shape: Shape) -> bool:
        return rng.random() < self.probability

    def moved(self, picture: Array, drawn: Any, fill: Any, nearest: bool) -> Array:
        if not drawn:
            return picture
        return picture[..., ::-1] if self.axis == "horizontal" else picture[..., ::-1, :]


@dataclass(frozen=True, eq=False, repr=False)
class Translate(Move):
    """Move the picture by a few whole pixels down or up and right or left.

        y[c, i, j] = x[c, i - d, j - r] inside the picture, else fill,    d and r uniform on -pixels ... pixels

    Args:
        pixels: farthest move, >= 0, a number or a pair (height, width).
        fill: value of the pixels that nothing moved to.
        key, channels: as of `PictureTransform`.
        masks, mask_fill: places of masks that move with the picture, and what they are filled with; see `Move`.

    Shapes:
        x, y: (C, H, W) or (H, W).

    Raises:
        DataError: the picture's number type does not hold `fill` (when called).
    """

    pixels: int | tuple[int, int]
    fill: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        pair("Translate pixels", self.pixels, at_least=0)
        real("Translate fill", self.fill, "(-inf, inf)")

    def draw(self, rng: "np.random.Generator", shape: Shape) -> tuple[int, ...]:
        return tuple(below(rng, 2 * most + 1) - most for most in pair("Translate pixels", self.pixels, at_least=0))

    def moved(self, picture: Array, drawn: Any, fill: Any, nearest: bool) -> Array:
        down, right = drawn
        return window(picture, -down, -right, picture.shape[-2:], fill)


@dataclass(frozen=True, eq=False, repr=False)
class Crop(Move):
    """Take a window of the picture at a random place.

        y[c, i, j] = padded x[c, i + t, j + l],    t uniform on 0 ... H + 2 * padding - H', l in the same way

    Args:
        size: height and width of the window, at least 1, a number or a pair (height, width).
        padding: rows and columns put around the picture first, >= 0, a number or a pair (height, width).
        fill: value of the padding.
        key, channels: as of `PictureTransform`.
        masks, mask_fill: places of masks that move with the picture, and what they are filled with; see `Move`.

    Shapes:
        x: (C, H, W) or (H, W).   y: (C, H', W') or (H', W') with (H', W') = size.

    Raises:
        DataError: the padded picture is smaller than the window, or its number type does not hold `fill` (when called).
    """

    size: int | tuple[int, int]
    padding: int | tuple[int, int] = 0
    fill: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        pair("Crop size", self.size)
        pair("Crop padding", self.padding, at_least=0)
        real("Crop fill", self.fill, "(-inf, inf)")

    def uncovers(self) -> bool:
        return any(pair("Crop padding", self.padding, at_least=0))

    def draw(self, rng: "np.random.Generator", shape: Shape) -> tuple[int, ...]:
        size, padding = pair("Crop size", self.size), pair("Crop padding", self.padding, at_least=0)
        room = [there + 2 * p - s for there, p, s in zip(shape[-2:], padding, size, strict=True)]
        if min(room) < 0:
            rule = f"Crop needs a picture of at least {size[0]} x {size[1]} pixels"
            raise DataError(f"{rule}, got shape {shape} and padding {self.padding}")
        return tuple(below(rng, r + 1) - p for r, p in zip(room, padding, strict=True))

    def moved(self, picture: Array, drawn: Any, fill: Any, nearest: bool) -> Array:
        top, left = drawn
        return window(picture, top, left, pair("Crop size", self.size), fill)


@dataclass(frozen=True, eq=False, repr=False)
class Rotate(Move):
    """Turn the picture about its middle by a random angle.

        y[c, i, j] = x at (m + cos(a) * (i - m) + sin(a) * (j - n), n + cos(a) * (j - n) - sin(a) * (i - m))
        m = (H - 1) / 2,   n = (W - 1) / 2,   a uniform on [-degrees, degrees)

    Between pixels x is bilinear, and around the picture every pixel is `fill`. Whole numbers are rounded to the
    nearest, the even one of two; beyond 2**53 their last digits are lost. Of a mask the nearest pixel is taken.

    Args:
        degrees: largest angle, in (0, 180].
        fill: value of the pixels around the picture.
        key, channels: as of `PictureTransform`.
        masks, mask_fill: places of masks that move with the picture, and what they are filled with; see `Move`.

    Shapes:
        x, y: (C, H, W) or (H, W).

    Raises:
        DataError: the picture's number type does not hold `fill` (when called).
    """

    degrees: float
    fill: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        real("Rotate degrees", self.degrees, "(0, 180]")
        real("Rotate fill", self.fill, "(-inf, inf)")

    def draw(self, rng: "np.random.Generator", shape: Shape) -> float:
        return math.radians(rng.uniform(-self.degrees, self.degrees))

    def moved(self, picture: Array, drawn: Any, fill: Any, nearest: bool) -> Array:
        return rotated(picture, drawn, fill, nearest)


@dataclass(frozen=True, eq=False, repr=False)
class Cutout(Move):
    """Cover a rectangle at a random place, so that no single part of the picture decides.

    A mask is covered with `mask_fill`, or stays as it is where that is None.

        y[c, i, j] = fill where 0 <= i - t < height and 0 <= j - l < width, else x[c, i, j]
        t = u - height // 2,   l = v - width // 2,   (u, v) uniform on all pixels

    Args:
        size: height and width of the rectangle, at least 1, a number or a pair (height, width).
        fill: value of the covered pixels.
        key, channels: as of `PictureTransform`.
        masks, mask_fill: places of masks that move with the picture, and what they are filled with; see `Move`.

    Shapes:
        x, y: (C, H, W) or (H, W).

    Raises:
        DataError: the picture's number type does not hold `fill` (when called).

    Source:
        DeVries & Taylor 2017, arXiv:1708.04552, section 3.2. Differs: rectangles that are not square are possible.
    """

    size: int | tuple[int, int]
    fill: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        pair("Cutout size", self.size)
        real("Cutout fill", self.fill, "(-inf, inf)")

    def uncovers(self) -> bool:
        return False

    def draw(self, rng: "np.random.Generator", shape: Shape) -> tuple[int, ...]:
        size = pair("Cutout size", self.size)
        return tuple(below(rng, there) - s // 2 for there, s in zip(shape[-2:], size, strict=True))

    def moved(self, picture: Array, drawn: Any, fill: Any, nearest: bool) -> Array:
        if fill is None:
            return picture
        (height, width), (top, left) = pair("Cutout size", self.size), drawn
        y = picture.copy()
        y[..., max(top, 0) : top + height, max(left, 0) : left + width] = fill
        return y
