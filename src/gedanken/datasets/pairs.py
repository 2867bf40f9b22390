"""Pictures with masks that say the class of each pixel, in two folders (needs Pillow)."""

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

from gedanken.checks import one_of, path, printable, require, warn
from gedanken.data.generator import Generator
from gedanken.datasets.decoding import MOST_PIXELS, Decoder
from gedanken.datasets.folders import Reasons, files_under, report
from gedanken.datasets.labels import Split, held_out
from gedanken.datasets.masks import Colour, MaskError, PairDecoder
from gedanken.datasets.pictures import PathLike
from gedanken.datasets.threads import map_threads
from gedanken.errors import DatasetError
from gedanken.types import Array

WHAT: Final = "pictures with masks"
Values = Mapping[int, int] | Mapping[Colour, int]


@dataclass(frozen=True, eq=False)
class ImagePairs:
    """Pictures with masks that were read, and the files that could not be.

    Shapes:
        data: (N, C, H, W), float32 in [0, 1], black is 0.   masks: (N, H, W), int32, a class for each pixel.
    """

    data: Array
    masks: Array
    files: tuple[tuple[Path, Path], ...]  # of each picture and its mask
    unreadable: Mapping[Path, str]  # file -> what is wrong with it

    def split(self, test: float = 0.2, seed: int = 0) -> Split:
        """Divide them at random into a training and a test part.

        Args:
            test: fraction to test on, in (0, 1). Each part gets at least one where there are two.
            seed: >= 0; the same seed divides the same pictures in the same way.

        Returns:
            train_data, train_masks, test_data, test_masks.

        Raises:
            ArgumentError: an argument breaks its rule.
        """
        held = _held(len(self.data), test, seed)
        return self.data[~held], self.masks[~held], self.data[held], self.masks[held]


def load_image_pairs(
    folder: PathLike,
    size: int | tuple[int, int],
    classes: int,
    *,
    values: Values | None = None,
    ignore: int | None = None,
    images: str = "images",
    masks: str = "masks",
    channels: int = 3,
    fit: str = "crop",
    on_error: str = "raise",
    max_pixels: int = MOST_PIXELS,
) -> ImagePairs:
    """Read a folder that has a folder of pictures and one of masks, files of the same name without suffix.

    Pictures are read as `load_pictures` does. A mask has the size of its picture, and is brought to `size` with it,
    each pixel with the value of the nearest: its values are never mixed. They are palette indices or grey levels; or
    `values` says what they mean, such as {0: 0, 255: 1} or {(0, 0, 0): 0, (255, 0, 0): 1}. Masks of JPEG are refused,
    since their values are not those that were written. Which files are read `load_images` says.

    Args:
        folder: holds both folders.
        size: (height, width) of the result in pixels, >= 1; one number stands for both.
        classes: how many there are, numbered from 0 on; a mask with another one is wrong. 1 is one that is there or
            not, 1 or 0, as for `unet(classes=1)`.
        values: the class of each level or colour, as a dict; None where levels are classes.
        ignore: a number besides those of the classes that masks may have, as of the costs' `ignore_label`.
        images, masks: names of the two folders.
        channels, fit, max_pixels: as of `load_pictures`.
        on_error: "raise" names all pairs of which one file is unreadable, or that do not fit together, in a
            DatasetError; "warn" leaves them out and names them in one GedankenWarning.

    Returns:
        data, masks, files, unreadable; its `split()` divides them into training and test.

    Shapes:
        data: (N, C, H, W), float32 in [0, 1], black is 0.   masks: (N, H, W), int32.

    Raises:
        DatasetError: a folder is missing or empty, a picture has no mask or a mask no picture; no pair is readable, or
            one is not and on_error is "raise".
        ArgumentError: an argument breaks its rule.
        MissingPackageError: Pillow is not installed.
    """
    fatal = one_of("on_error", on_error, ("raise", "warn")) == "raise"
    decoder = PairDecoder(Decoder(size, channels, fit, max_pixels), classes, values, ignore)
    files, unreadable = _pairs(folder, images, masks)
    data = np.empty((len(files), *decoder.decoder.shape), np.float32)
    maps = np.empty((len(files), *decoder.decoder.shape[1:]), np.int32)

    def read(place: int) -> Reasons:
        try:
            data[place], maps[place] = decoder.pair(*files[place])
        except DatasetError as error:
            return _reason(files[place], error)
        return {}

    wrong = map_threads(read, range(len(files)))
    for one in wrong:
        unreadable |= one
    good = [not one for one in wrong]
    report(unreadable, fatal or not any(good), WHAT)
    kept = tuple(pair for pair, keep in zip(files, good, strict=True) if keep)
    return ImagePairs(data[good], maps[good], kept, unreadable)


class ImagePairGenerator(Generator):
    """Pictures with masks of a folder, read while the network trains; in memory are only the names of the files.

    One call is one pair. Transforms that move pixels take the mask with `masks=1`.

    Args:
        folder, size, classes, values, ignore, images, masks, channels, fit, on_error: as of `load_image_pairs`.
        max_pixels: as of `load_pictures`, for each worker process.
        **options: of `Generator`.

    Shapes:
        mini-batch: pictures (N, C, H, W), float32 in [0, 1], and masks (N, H, W), int32.

    Raises:
        DatasetError: as of `load_image_pairs`; of a file when it is read.
        ArgumentError: an argument breaks its rule.
        MissingPackageError: Pillow is not installed.
    """

    def __init__(
        self,
        folder: PathLike,
        size: int | tuple[int, int],
        classes: int,
        *,
        values: Values | None = None,
        ignore: int | None = None,
        images: str = "images",
        masks: str = "masks",
        channels: int = 3,
        fit: str = "crop",
        on_error: str = "raise",
        max_pixels: int = MOST_PIXELS,
        **options: Any,
    ) -> None:
        self._fatal = one_of("on_error", on_error, ("raise", "warn")) == "raise"
        self._decoder = PairDecoder(Decoder(size, channels, fit, max_pixels), classes, values, ignore)
        self._options = options
        super().__init__(**options)
        self.files, self.unreadable = _pairs(folder, images, masks)
        report(self.unreadable, self._fatal, WHAT)

    def __len__(self) -> int:
        return len(self.files)

    def get_mini_batches(self, index: int) -> list[Any]:
        """Return one picture with its mask, or nothing where one of them cannot be read."""
        try:
            return [self._decoder.pair(*self.files[index])]
        except DatasetError as error:
            ((file, reason),) = _reason(self.files[index], error).items()
            message = f"{printable(str(file))} cannot be read as one of the {WHAT}: {reason}"
            if self._fatal:
                raise DatasetError(message) from error
            warn(message)
            return []

    def split(self, test: float = 0.2, seed: int = 0, **options: Any) -> tuple[Self, Self]:
        """Divide them at random into a training and a test part, as `ImagePairs.split` does.

        Args:
            test: fraction to test on, in (0, 1).
            seed: >= 0; the same seed divides the same files in the same way.
            **options: of `Generator`, where those of the test part differ; `transforms=[]` where they vary pictures.

        Returns:
            two Generators: for training, and for testing.

        Raises:
            ArgumentError: an argument breaks its rule.
        """
        held = _held(len(self), test, seed)
        return self._part(~held, {}), self._part(held, options)

    def _part(self, chosen: Array, options: Mapping[str, Any]) -> Self:
        part = copy.copy(self)
        part._options = {**self._options, **options}
        Generator.__init__(part, **part._options)  # workers and position of its own
        part.files = tuple(pair for pair, here in zip(self.files, chosen, strict=True) if here)
        return part


def _pairs(folder: PathLike, images: str, masks: str) -> tuple[tuple[tuple[Path, Path], ...], Reasons]:
    """Return pictures and masks by their names, in the order of the pictures, and what could not be looked at."""
    base = Path(os.path.expanduser(path("folder", folder)))
    for name, value in (("images", images), ("masks", masks)):
        plain = isinstance(value, str) and value not in ("", ".", "..") and "\0" not in value
        require(plain, name, "be the name of a folder in the folder", value)
    require(images != masks, "masks", "be another folder than images", masks)
    (pictures, wrong), (others, also) = (_by_name(base / name) for name in (images, masks))
    for name, file in (*pictures.items(), *others.items()):
        if name not in pictures or name not in others:
            there = base / (masks if name in pictures else images)
            what = "mask" if name in pictures else "picture"
            raise DatasetError(f"{printable(str(file))} must have a {what} of the same name in {printable(str(there))}")
    return tuple((file, others[name]) for name, file in pictures.items()), wrong | also


def _by_name(folder: Path) -> tuple[dict[str, Path], Reasons]:
    files, unreadable = files_under(folder)
    found: dict[str, Path] = {}
    for file in files:
        name = str(file.relative_to(folder).with_suffix(""))
        if found.setdefault(name, file) is not file:
            first, second = printable(str(found[name])), printable(str(file))
            raise DatasetError(f"{second} must have a name of its own, got that of {first} but for the suffix")
    return found, unreadable


def _reason(pair: tuple[Path, Path], error: DatasetError) -> Reasons:
    return {pair[isinstance(error, MaskError)]: str(error)}


def _held(count: int, test: float, seed: int) -> Array:
    return held_out(np.zeros(count, np.intp), ("pairs",), test, seed)
