"""Masks: pictures that say the class of each pixel, whose values must not be mixed on the way (needs Pillow)."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from gedanken.checks import extent, require, whole
from gedanken.datasets.decoding import Decoder, lies_on_its_side, turned_upright
from gedanken.errors import DatasetError
from gedanken.types import Array

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

Colour: TypeAlias = tuple[int, int, int]
LEVELS: Final = {"1", "L", "P", "I", "I;16", "I;16B"}  # modes whose pixels are one whole number
SPREAD: Final = {"L;2": 85, "L;4": 17}  # what Pillow multiplies levels of 2 and 4 bits by
MOST_CLASSES: Final = 1 << 16


class PairDecoder:
    """Makes a picture and its class map of two files that have the same size.

    Args:
        decoder: of the picture.
        classes, values, ignore: as of `load_image_pairs`.

    Raises:
        ArgumentError: an argument breaks its rule.
    """

    def __init__(self, decoder: Decoder, classes: int, values: Any, ignore: int | None) -> None:
        self.decoder, self.classes = decoder, extent("classes", classes)
        require(self.classes <= MOST_CLASSES, "classes", f"be at most {MOST_CLASSES:,}", classes)
        self.ignore = None if ignore is None else whole("ignore", ignore, 0, bits=31)
        self.values = None if values is None else _checked_values(values, self._is_class)

    def pair(self, picture: Path, mask: Path) -> tuple[Array, Array]:
        """Return a picture and its class map.

        Shapes:
            result: (C, H, W), float32 in [0, 1], and (H, W), int32.

        Raises:
            DatasetError: one of them is none, or they do not fit together; says why, and names the mask if it is that.
        """
        pixels, size = self.decoder.made(picture, self._sized)
        try:
            classes, its = self.decoder.made(mask, self._class_map)
            if size != its:
                raise DatasetError(f"it has {its[0]:,} x {its[1]:,} pixels, its picture {size[0]:,} x {size[1]:,}")
        except DatasetError as error:
            raise MaskError(str(error)) from error
        return pixels, classes

    def _sized(self, image: "ImageFile") -> tuple[Array, tuple[int, int]]:
        width, height = image.size  # before a large JPEG is decoded at a part of its size
        pixels = self.decoder.resized(image)
        return pixels, (height, width) if lies_on_its_side(image) else (width, height)

    def _class_map(self, image: "ImageFile") -> tuple[Array, tuple[int, int]]:
        if image.format == "JPEG":
            raise DatasetError("it is a JPEG file, which changes the values of pixels: write masks as PNG")
        form = image.tile[0][3] if image.tile else None
        spread = SPREAD.get(str(form[0] if isinstance(form, tuple) else form), 1)
        image.load()
        upright = turned_upright(image)
        _, height, width = self.decoder.shape
        if self.values is not None and isinstance(next(iter(self.values)), tuple):
            found = self._of_colours(upright)
        elif upright.mode in LEVELS:
            found = np.asarray(upright).astype(np.int64) // spread
            found = found if self.values is None else self._mapped(found, np.array(list(self.values)), str)
        else:
            rule = f"it has pixels of mode {upright.mode}, which are no numbers of classes"
            raise DatasetError(f"{rule}: say by values={{(red, green, blue): class}} what its colours mean")
        self._check(found)
        return _nearest(found.astype(np.int32), self.decoder.box(upright.size), (height, width)), upright.size

    def _of_colours(self, upright: "Image") -> Array:
        if upright.mode not in ("RGB", "RGBA", "P", "L", "1"):
            raise DatasetError(f"it has pixels of mode {upright.mode}, which are no colours")
        assert self.values is not None
        weights = np.array([1 << 16, 1 << 8, 1])
        colours = np.asarray(upright.convert("RGB")).astype(np.int64) @ weights
        keys = np.array(list(self.values)) @ weights
        return self._mapped(colours, keys, lambda key: str((key >> 16, key >> 8 & 255, key & 255)))

    def _mapped(self, found: Array, keys: Array, shown: Any) -> Array:
        """Return the classes of pixels that are among the keys of `values`."""
        assert self.values is not None
        order = np.argsort(keys)
        place = np.searchsorted(keys[order], found).clip(0, len(keys) - 1)
        known = keys[order][place] == found
        if not known.all():
            raise DatasetError(f"it has a pixel {shown(int(found[~known][0]))} that is not in `values`")
        classes: Array = np.array(list(self.values.values()), np.int64)[order][place]
        return classes

    def _is_class(self, value: Any) -> bool:
        return 0 <= value < self.classes or value == self.ignore

    def _check(self, found: Array) -> None:
        wrong = (found < 0) | (found >= self.classes)
        if self.ignore is not None:
            wrong &= found != self.ignore
        if wrong.any():
            rule = f"it must have classes from 0 to {self.classes - 1}"
            rule += "" if self.ignore is None else f" or {self.ignore} to ignore"
            raise DatasetError(f"{rule}, got {found[wrong][0]}; `values` gives other values a class")


class MaskError(DatasetError):
    """A mask cannot be read, or does not fit to its picture."""


def _nearest(values: Array, box: tuple[float, float, float, float] | None, size: tuple[int, int]) -> Array:
    """Return the values (H, W) at the middles of the pixels of a smaller or larger picture of a part of them."""
    left, top, right, bottom = box or (0, 0, values.shape[1], values.shape[0])
    rows, columns = (
        np.floor(low + (np.arange(count) + 0.5) * ((high - low) / count)).astype(np.intp).clip(0, most - 1)
        for low, high, count, most in ((top, bottom, size[0], len(values)), (left, right, size[1], values.shape[1]))
    )
    return np.ascontiguousarray(values[rows[:, None], columns])


def _checked_values(values: Any, is_class: Any) -> Mapping[Any, int]:
    rule = "be a dict from levels, or from colours (red, green, blue) of 0 ... 255, to classes"
    require(isinstance(values, Mapping) and len(values) > 0, "values", rule, values)
    colours = isinstance(next(iter(values)), tuple)
    found: dict[Any, int] = {}
    for key, value in values.items():
        if colours:
            require(isinstance(key, tuple) and len(key) == 3, "values", rule, key)
            key = tuple(whole("values colour", part, 0, at_most=255) for part in key)  # noqa: PLW2901
        else:
            key = whole("values level", key, 0, bits=31)  # noqa: PLW2901
        found[key] = whole(f"values[{key!r}]", value, 0, bits=31)
        require(is_class(found[key]), f"values[{key!r}]", "be below `classes`, or `ignore`", value)
    return found
