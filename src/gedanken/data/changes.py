"""What changes of samples share: what an item is, and where in it the picture is.

A transform is any callable (rng, item) -> item. All randomness comes from the given `rng`, and how much of it is
used never depends on the data, so the same state of `rng` leads to the same item wherever it is made.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal

import numpy as np

from gedanken.checks import one_of, require, whole
from gedanken.data.workers.items import Key, entries_of_tuple, entry_of
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

    key: Key = field(default=0, kw_only=True)
    channels: Literal["first", "last"] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        check_key(f"{type(self).__name__} key", self.key)
        if self.channels is not None:
            one_of(f"{type(self).__name__} channels", self.channels, ("first", "last"))

    @abstractmethod
    def change(self, rng: "np.random.Generator", picture: Array) -> Array:
        """Return the new picture."""

    def __call__(self, rng: "np.random.Generator", item: Any) -> Any:
        key, picture = self.picture_of(item)
        return with_new(item, {key: self.as_given(self.change(rng, self.channels_first(picture)))})

    def picture_of(self, item: Any) -> tuple[Key, Array]:
        """Return where the picture is in the item, and the picture, or raise DataError."""
        parts, key = parts_of(item), self.key if isinstance(item, (tuple, dict)) else 0
        if key not in parts:
            entries = ", ".join(map(repr, parts)) or "none"
            raise DataError(f"{type(self).__name__} needs a picture at key={key!r}, got an item with entries {entries}")
        picture = parts[key]
        if not is_numbers(picture, "fiub") or picture.ndim not in (2, 3) or not picture.size:
            rule = f"{type(self).__name__} needs a picture (C, H, W) or (H, W) of real numbers at key={key!r}"
            raise DataError(f"{rule}, got {kind_of(picture)}")
        return key, picture

    def channels_first(self, picture: Array) -> Array:
        """Return a view (C, H, W) or (H, W) of a picture, or raise DataError where its channels look to be last."""
        if picture.ndim == 2:
            return picture
        if self.channels == "last":
            return np.moveaxis(picture, -1, 0)
        if self.channels is None and picture.shape[0] > max(CHANNELS) and picture.shape[2] in CHANNELS:
            rule = f"{type(self).__name__} needs a picture (C, H, W)"
            found = f"got shape {picture.shape}, which looks like (H, W, C)"
            raise DataError(f"{rule}, {found}: say channels='last', or 'first' where it is right as it is")
        return picture

    def as_given(self, plain: Array) -> Array:
        """Return a view of a picture (C, H, W) or (H, W) with its channels where those of the given one are."""
        return np.moveaxis(plain, 0, -1) if self.channels == "last" and plain.ndim == 3 else plain


def check_key(argument: str, key: Any) -> None:
    """Raise ArgumentError unless it may be the key of an array in an item."""
    if isinstance(key, tuple):
        require(is_nested(key), argument, 'be a place, a key, or both as (0, "image")', key)
    elif not isinstance(key, str):
        whole(argument, key, at_least=0)


def is_nested(key: Any) -> bool:
    """Say whether a key is the place of a dict in a tuple and a key of that, (0, "image")."""
    pair = isinstance(key, tuple) and len(key) == 2 and isinstance(key[1], str)
    return pair and type(key[0]) is int and key[0] >= 0


def parts_of(item: Any) -> Mapping[Any, Any]:
    """Return what is in an item, by place or key."""
    if isinstance(item, tuple):
        return dict(entries_of_tuple(item))
    return item if isinstance(item, dict) else {0: item}


def with_new(item: Any, new: dict[Any, Any]) -> Any:
    """Return a copy of the item with other arrays in some places."""
    if isinstance(item, dict):
        return item | new
    if not isinstance(item, tuple):
        return new[0]
    changed = {key: new.get(key, value) for key, value in entries_of_tuple(item)}
    values = [entry_of(changed, place) for place in range(len(item))]
    return type(item)._make(values) if hasattr(item, "_make") else tuple(values)


def is_numbers(value: Any, kinds: str) -> bool:
    """Say whether a value is an array of such number types."""
    return isinstance(value, np.ndarray) and value.dtype.kind in kinds


def kind_of(value: Any) -> str:
    """Return what a value is, for errors."""
    return f"{value.dtype} of shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


def below(rng: "np.random.Generator", count: int) -> int:
    """Return a random whole number below `count`, by one draw for any, which `rng.integers` does not promise."""
    return int(rng.random() * count)
