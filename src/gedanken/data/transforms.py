"""Changes of single samples, drawn anew each epoch, so that a network meets more pictures than there are.

A transform is any callable (rng, item) -> item. All randomness comes from the given `rng`, and how much of it is
used never depends on the data, so the same state of `rng` leads to the same item wherever it is made.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal

import numpy as np

from gedanken.checks import one_of, pair, real, require, whole
from gedanken.data.raster import pixel_value, rotated, window
from gedanken.data.workers.items import entries_of_tuple, entry_of
from gedanken.errors import DataError
from gedanken.hyperparameters import Hyperparameters
from gedanken.types import Array

CHANNELS: Final = (1, 3, 4)  # grey, colour, colour and alpha


class Transform(Hyperparameters, ABC):
    """Turn an item into a new one, as `rng` decides; the item given and its arrays stay as they are.

    An item is what `get_mini_batches` gave: a tuple of arrays, such as (picture, label), a dict of arrays, or one
    array. Arrays of the new item may share memory with the old one. A plain function (rng, item) -> item does as well.
    """

    on_mini_batches: ClassVar[bool] = False  # whether items are whole mini-batches instead of single samples

    @abstractmethod
    def __call__(self, rng: "np.random.Generator", item: Any) -> Any:
        """Return the new item."""


@dataclass(frozen=True, eq=False, repr=False)
class PictureTransform(Transform):
    """What all changes of pictures share: finding the picture in the item, and putting the new one back.

    A new one defines `change`, which must not write into the picture that it is given.

    Args:
        key: place of the picture in a tuple, or its key in a dict; of a dict in a tuple both, (0, "image"). An item
            that is one array is the picture itself.
        channels: which axis they are, "first" or "last". None is first too, but refuses what looks like the other:
            a last axis of 1, 3 or 4 behind a first one of more than 4.

    Shapes:
        picture: (C, H, W) or (H, W), any real number type; results have the same, unless said otherwise. With
            channels="last" (H, W, C) in the place of (C, H, W).

    Raises:
        DataError: there is no picture at `key`, or its channels look to be last (when called).
    """

    key: int | str | tuple[int, str] = field(default=0, kw_only=True)
    channels: Literal["first", "last"] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        pair_of = isinstance(self.key, tuple) and len(self.key) == 2 and isinstance(self.key[1], str)
        if pair_of:
            whole(f"{type(self).__name__} key[0]", self.key[0], at_least=0)  # type: ignore[index]
        elif not isinstance(self.key, str):
            whole(f"{type(self).__name__} key", self.key, at_least=0)
        if self.channels is not None:
            one_of(f"{type(self).__name__} channels", self.channels, ("first", "last"))

    @abstractmethod
    def change(self, rng: "np.random.Generator", picture: Array) -> Array:
        """Return the new picture."""

    def __call__(self, rng: "np.random.Generator", item: Any) -> Any:
        parts, key = _parts(item), self.key if isinstance(item, (tuple, dict)) else 0
        if key not in parts:
            entries = ", ".join(map(repr, parts)) or "none"
            raise DataError(f"{type(self).__name__} needs a picture at key={key!r}, got an item with entries {entries}")
        picture = parts[key]
        if not _is_numbers(picture, "fiub") or picture.ndim not in (2, 3) or not picture.size:
            rule = f"{type(self).__name__} needs a picture (C, H, W) or (H, W) of real numbers at key={key!r}"
            raise DataError(f"{rule}, got {_kind_of(picture)}")
        return _with(item, {key: self._changed(rng, picture)})

    def _changed(self, rng: "np.random.Generator", picture: Array) -> Array:
        if picture.ndim == 2:
            return self.change(rng, picture)
        if self.channels == "last":
            return np.moveaxis(self.change(rng, np.moveaxis(picture, -1, 0)), 0, -1)
        if self.channels is None and picture.shape[0] > max(CHANNELS) and picture.shape[2] in CHANNELS:
            rule = f"{type(self).__name__} needs a picture (C, H, W)"
            found = f"got shape {picture.shape}, which looks like (H, W, C)"
            raise DataError(f"{rule}, {found}: say channels='last', or 'first' where it is right as it is")
        return self.change(rng, picture)


def _parts(item: Any) -> Mapping[Any, Any]:
    if isinstance(item, tuple):
        return dict(entries_of_tuple(item))
    return item if isinstance(item, dict) else {0: item}


def _with(item: Any, new: dict[Any, Any]) -> Any:
    # A copy of the item with other arrays in some places.
    if isinstance(item, dict):
        return item | new
    if not isinstance(item, tuple):
        return new[0]
    changed = {key: new.get(key, value) for key, value in entries_of_tuple(item)}
    values = [entry_of(changed, place) for place in range(len(item))]
    return type(item)._make(values) if hasattr(item, "_make") else tuple(values)


def _is_numbers(value: Any, kinds: str) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in kinds


def _kind_of(value: Any) -> str:
    return f"{value.dtype} of shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


def _below(rng: "np.random.Generator", count: int) -> int:
    # One draw for any count, which `rng.integers` does not promise.
    return int(rng.random() * count)


@dataclass(frozen=True, eq=False, repr=False)
class Flip(PictureTransform):
    """Mirror the picture, or leave it.

        y[c, i, j] = x[c, i, W - 1 - j] with `probability`, else x[c, i, j]    for axis "horizontal"

    Args:
        probability: how often the picture is mirrored, in [0, 1].
        axis: "horizontal" swaps left and right, "vertical" top and bottom.
        of, channels: as of `PictureTransform`.

    Shapes:
        x, y: (C, H, W) or (H, W).
    """

    probability: float = 0.5
    axis: Literal["horizontal", "vertical"] = "horizontal"

    def __post_init__(self) -> None:
        super().__post_init__()
        real("Flip probability", self.probability, "[0, 1]")
        one_of("Flip axis", self.axis, ("horizontal", "vertical"))

    def change(self, rng: "np.random.Generator", picture: Array) -> Array:
        if rng.random() >= self.probability:
            return picture
        return picture[..., ::-1] if self.axis == "horizontal" else picture[..., ::-1, :]


@dataclass(frozen=True, eq=False, repr=False)
class Translate(PictureTransform):
    """Move the picture by a few whole pixels down or up and right or left.

        y[c, i, j] = x[c, i - d, j - r] inside the picture, else fill,    d and r uniform on -pixels ... pixels

    Args:
        pixels: farthest move, >= 0, a number or a pair (height, width).
        fill: value of the pixels that nothing moved to.
        of, channels: as of `PictureTransform`.

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

    def change(self, rng: "np.random.Generator", picture: Array) -> Array:
        fill = pixel_value("Translate fill", self.fill, picture)
        down, right = (_below(rng, 2 * most + 1) - most for most in pair("Translate pixels", self.pixels, at_least=0))
        return window(picture, -down, -right, picture.shape[-2:], fill)


@dataclass(frozen=True, eq=False, repr=False)
class Crop(PictureTransform):
    """Take a window of the picture at a random place.

        y[c, i, j] = padded x[c, i + t, j + l],    t uniform on 0 ... H + 2 * padding - H', l in the same way

    Args:
        size: height and width of the window, at least 1, a number or a pair (height, width).
        padding: rows and columns put around the picture first, >= 0, a number or a pair (height, width).
        fill: value of the padding.
        of, channels: as of `PictureTransform`.

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

    def change(self, rng: "np.random.Generator", picture: Array) -> Array:
        size, padding = pair("Crop size", self.size), pair("Crop padding", self.padding, at_least=0)
        fill = pixel_value("Crop fill", self.fill, picture)
        room = [there + 2 * p - s for there, p, s in zip(picture.shape[-2:], padding, size, strict=True)]
        if min(room) < 0:
            rule = f"Crop needs a picture of at least {size[0]} x {size[1]} pixels"
            raise DataError(f"{rule}, got shape {picture.shape} and padding {self.padding}")
        top, left = (_below(rng, r + 1) - p for r, p in zip(room, padding, strict=True))
        return window(picture, top, left, size, fill)


@dataclass(frozen=True, eq=False, repr=False)
class Rotate(PictureTransform):
    """Turn the picture about its middle by a random angle.

        y[c, i, j] = x at (m + cos(a) * (i - m) + sin(a) * (j - n), n + cos(a) * (j - n) - sin(a) * (i - m))
        m = (H - 1) / 2,   n = (W - 1) / 2,   a uniform on [-degrees, degrees)

    Between pixels x is bilinear, and around the picture every pixel is `fill`. Whole numbers are rounded to the
    nearest, the even one of two; beyond 2**53 their last digits are lost.

    Args:
        degrees: largest angle, in (0, 180].
        fill: value of the pixels around the picture.
        of, channels: as of `PictureTransform`.

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

    def change(self, rng: "np.random.Generator", picture: Array) -> Array:
        fill = pixel_value("Rotate fill", self.fill, picture)
        return rotated(picture, math.radians(rng.uniform(-self.degrees, self.degrees)), fill)


@dataclass(frozen=True, eq=False, repr=False)
class Cutout(PictureTransform):
    """Cover a rectangle at a random place, so that no single part of the picture decides.

        y[c, i, j] = fill where 0 <= i - t < height and 0 <= j - l < width, else x[c, i, j]
        t = u - height // 2,   l = v - width // 2,   (u, v) uniform on all pixels

    Args:
        size: height and width of the rectangle, at least 1, a number or a pair (height, width).
        fill: value of the covered pixels.
        of, channels: as of `PictureTransform`.

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

    def change(self, rng: "np.random.Generator", picture: Array) -> Array:
        height, width = pair("Cutout size", self.size)
        top, left = (_below(rng, there) - s // 2 for there, s in zip(picture.shape[-2:], (height, width), strict=True))
        y = picture.copy()
        y[..., max(top, 0) : top + height, max(left, 0) : left + width] = pixel_value("Cutout fill", self.fill, picture)
        return y


@dataclass(frozen=True, eq=False, repr=False)
class Normalise(PictureTransform):
    """Bring the picture's channels to a common scale; nothing is random.

        y[c, i, j] = (x[c, i, j] - mean[c]) / std[c]

    Args:
        mean: what is subtracted, a number or one for each channel.
        std: what the difference is divided by, > 0, a number or one for each channel.
        of, channels: as of `PictureTransform`.

    Shapes:
        x, y: (C, H, W) or (H, W), which has one channel. y is float64 where x is, else float32.

    Raises:
        DataError: the picture has another number of channels (when called).
    """

    mean: float | Sequence[float] | Array
    std: float | Sequence[float] | Array

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, interval in (("mean", "(-inf, inf)"), ("std", "(0, inf)")):
            value = value.tolist() if isinstance(value := getattr(self, name), np.ndarray) else value
            several = isinstance(value, (tuple, list))
            require(not several or len(value) > 0, f"Normalise {name}", "be a number or one for each channel", value)
            numbers = tuple(real(f"Normalise {name}", each, interval) for each in (value if several else (value,)))
            object.__setattr__(self, name, numbers if several else numbers[0])

    def change(self, rng: "np.random.Generator", picture: Array) -> Array:
        channels = picture.reshape(-1, *picture.shape[-2:])
        dtype = np.float64 if picture.dtype.kind == "f" and picture.dtype.itemsize > 4 else np.float32
        mean, std = self._for_each("mean", channels), self._for_each("std", channels)
        work = np.float64 if (abs(mean) > 16 * std).any() else np.result_type(dtype, picture)  # for the digits
        y = np.subtract(channels, mean, dtype=work, casting="unsafe") / std.astype(work)
        return y.astype(dtype, copy=False).reshape(picture.shape)

    def _for_each(self, name: str, channels: Array) -> Array:
        values = np.array(getattr(self, name), np.float64).reshape(-1, 1, 1)
        if isinstance(getattr(self, name), tuple) and len(values) != len(channels):
            rule = f"Normalise needs a picture of {len(values)} channels, one for each {name}"
            raise DataError(f"{rule}, got {len(channels)} channels of {channels.shape[1:]}")
        return values


@dataclass(frozen=True, eq=False, repr=False)
class MixUp(Transform):
    """Mix every sample of a mini-batch with another one, and their targets in the same way.

        y[n] = k * x[n] + (1 - k) * x[p(n)],    k from Beta(alpha, alpha) and p a random order, one for all entries

    Args:
        alpha: > 0; near 0 one of the two nearly always wins, at 1 every share is as likely.

    Shapes:
        x, y: (N, ...), every entry of the mini-batch, floating numbers.

    Raises:
        DataError: an entry is no such array, or has another number of samples (when called).

    Source:
        Zhang et al. 2018, arXiv:1710.09412, section 2, with one k for the mini-batch as in their program.
    """

    on_mini_batches: ClassVar[bool] = True

    alpha: float = 0.2

    def __post_init__(self) -> None:
        real("MixUp alpha", self.alpha, "(0, inf)")

    def __call__(self, rng: "np.random.Generator", item: Any) -> Any:
        parts = _parts(item)
        samples = self._samples(parts)
        share, order = float(rng.beta(self.alpha, self.alpha)), rng.permutation(samples)
        return _with(item, {place: self._mixed(value, share, order) for place, value in parts.items()})

    def _samples(self, parts: Mapping[Any, Any]) -> int:
        for place, value in parts.items():
            if not _is_numbers(value, "f") or not value.ndim:
                raise DataError(
                    f"MixUp needs floating numbers with a first axis of samples, got entry {place!r}: "
                    f"{_kind_of(value)}; class numbers must become one-hot rows: "
                    "np.eye(classes, dtype=np.float32)[labels]"
                )
        lengths = {place: len(value) for place, value in parts.items()}
        if len(set(lengths.values())) != 1:
            raise DataError(f"MixUp needs entries with the same number of samples, got samples by entry: {lengths}")
        return next(iter(lengths.values()))

    @staticmethod
    def _mixed(value: Array, share: float, order: Array) -> Array:
        mixed = value.take(order, axis=0)
        mixed *= 1 - share
        mixed += share * value
        return mixed
