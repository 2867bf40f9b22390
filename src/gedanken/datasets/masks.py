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
COLOURED: Final = {"1", "L", "P", "RGB", "RGBA"}
SHIFTS: Final = np.array([1 << 16, 1 << 8, 1])  # which make one number of red, green and blue
BAND: Final = 1 << 16  # pixels that are looked at in one go
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
        self.labels = max(self.classes, 2)  # of one class there is a yes and a no
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
        pixels = self._pixels(upright)
        pixels = pixels // pixels.dtype.type(spread) if spread > 1 and pixels.ndim == 2 else pixels
        step = max(BAND // pixels.shape[1], 1)
        for top in range(0, len(pixels), step):  # all that the file has is looked at, a part at a time
            self._classes(pixels[top : top + step])
        _, height, width = self.decoder.shape
        near = _nearest(pixels, self.decoder.box(upright.size), (height, width))
        return self._classes(near).astype(np.int32), upright.size

    def _pixels(self, upright: "Image") -> Array:
        """Return levels or indices (H, W), or colours (H, W, 3), as `values` says them."""
        if self.values is not None and isinstance(next(iter(self.values)), tuple):
            if upright.mode not in COLOURED:
                raise DatasetError(f"it has pixels of mode {upright.mode}, which are no colours")
            return np.asarray(upright.convert("RGB"))
        if upright.mode not in LEVELS:
            rule = f"it has pixels of mode {upright.mode}, which are no numbers of classes"
            raise DatasetError(f"{rule}: say by values={{(red, green, blue): class}} what its colours mean")
        levels = np.asarray(upright)
        return levels.astype(np.uint8) if levels.dtype == bool else levels

    def _classes(self, pixels: Array) -> Array:
        """Return the classes of pixels, or raise DatasetError where one is of none."""
        found = pixels.astype(np.int64)
        if self.values is not None:
            keys = np.array(list(self.values))
            found, keys = (found, keys) if pixels.ndim == 2 else (found @ SHIFTS, keys @ SHIFTS)
            order = np.argsort(keys)
            place = np.searchsorted(keys[order], found).clip(0, len(keys) - 1)
            unknown = keys[order][place] != found
            if unknown.any():
                wrong = pixels[unknown][0].tolist()
                shown = wrong if pixels.ndim == 2 else tuple(wrong)
                raise DatasetError(f"it has a pixel {shown} that is not in `values`")
            found = np.array(list(self.values.values()), np.int64)[order][place]
        self._check(found)
        return found

    def _is_class(self, value: Any) -> bool:
        return 0 <= value < self.labels or value == self.ignore

    def _check(self, found: Array) -> None:
        wrong = (found < 0) | (found >= self.labels)
        if self.ignore is not None:
            wrong &= found != self.ignore
        if wrong.any():
            rule = f"it must have classes from 0 to {self.labels - 1}"
            rule += "" if self.ignore is None else f" or {self.ignore} to ignore"
            raise DatasetError(f"{rule}, got {found[wrong][0]}; `values` gives other values a class")


class MaskError(DatasetError):
    """A mask cannot be read, or does not fit to its picture."""


def _nearest(values: Array, box: tuple[float, float, float, float] | None, size: tuple[int, int]) -> Array:
    """Return the values (H, W, ...) at the middles of the pixels of a smaller or larger picture of a part of them."""
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
