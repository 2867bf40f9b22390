"""Pictures of any size and format as one array (needs Pillow)."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from gedanken.checks import is_list, one_of, path, printable, require
from gedanken.datasets.decoding import MOST_PIXELS, Decoder
from gedanken.datasets.folders import Reasons, class_files, report
from gedanken.datasets.labels import Split, held_out, one_hot
from gedanken.datasets.threads import map_threads
from gedanken.errors import DatasetError
from gedanken.types import Array

PathLike: TypeAlias = str | os.PathLike[str]
SIZE: Final = (32, 32)


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures that were read, and the files that could not be.

    Shapes:
        data: (N, C, H, W), float32 in [0, 1], black is 0.
    """

    data: Array
    files: tuple[Path, ...]
    unreadable: Mapping[Path, str]  # file -> what is wrong with it


@dataclass(frozen=True, eq=False)
class LabelledPictures(Pictures):
    """Pictures read from class folders.

    Shapes:
        data: (N, C, H, W), float32 in [0, 1], black is 0.   labels: (N, len(classes)), float32, one-hot.
    """

    labels: Array
    classes: tuple[str, ...]

    def split(self, test: float = 0.2, seed: int = 0) -> Split:
        """Divide every class at random into a training and a test part.

        Args:
            test: fraction of each class to test on, in (0, 1). Each part gets at least one picture of a class
                that has two or more; a lone picture is for training.
            seed: >= 0; the same seed divides the same pictures in the same way.

        Returns:
            train_data, train_labels, test_data, test_labels, as the loaders of known sets return them.

        Raises:
            ArgumentError: an argument breaks its rule.
        """
        held = held_out(self.labels.argmax(axis=1), self.classes, test, seed)
        return self.data[~held], self.labels[~held], self.data[held], self.labels[held]


def load_images(
    folder: PathLike,
    size: int | tuple[int, int] = SIZE,
    *,
    channels: int = 3,
    fit: str = "crop",
    on_error: str = "warn",
    max_pixels: int = MOST_PIXELS,
) -> LabelledPictures:
    """Read a folder that has one folder of pictures per class.

    Classes are the names of the folders in sorted order; folders within them are read too. Links are followed,
    and a folder that several of them lead to is read once for a class. Left out are hidden files, files outside of the
    class folders, and notes (.csv .db .html .ini .json .md .tsv .txt .xml .yaml .yml). Every other file is taken
    for a picture and read as `load_pictures` does. Folders that cannot be read, links that lead nowhere, pipes and
    devices count as unreadable files.

    Args:
        folder: holds the class folders.
        size, channels, fit, on_error, max_pixels: as in `load_pictures`.

    Returns:
        data, labels, classes, files, unreadable; its `split()` divides them into training and test.

    Shapes:
        data: (N, C, H, W), float32 in [0, 1], black is 0.   labels: (N, classes), float32, one-hot.

    Raises:
        DatasetError: the folder is missing, has no class folders, or a class has no readable picture; or a
            file is unreadable and on_error is "raise".
        ArgumentError: an argument breaks its rule.
        MissingPackageError: Pillow is not installed.
    """
    base = Path(os.path.expanduser(path("folder", folder)))
    decoder = Decoder(size, channels, fit, max_pixels)
    found, unreadable = class_files(base)
    read = _read_all([file for members in found.values() for file in members], decoder, on_error, unreadable)
    good = set(read.files)
    numbers = [number for number, members in enumerate(found.values()) for file in members if file in good]
    for number, name in enumerate(found):
        if number not in numbers:
            shown = printable(str(base / name))
            raise DatasetError(f"{shown} must hold a readable picture, all {len(found[name])} are damaged")
    labels = one_hot(np.array(numbers), len(found))
    return LabelledPictures(read.data, read.files, read.unreadable, labels, tuple(found))


def load_pictures(
    files: Iterable[PathLike],
    size: int | tuple[int, int],
    *,
    channels: int = 3,
    fit: str = "crop",
    on_error: str = "warn",
    max_pixels: int = MOST_PIXELS,
) -> Pictures:
    """Read picture files of any size in the given order: AVIF, BMP, GIF, JPEG, PNG, PPM, TIFF and WEBP.

    A picture is turned upright by its EXIF orientation, laid on white where it is transparent, and resized
    with a triangle filter that averages over all source pixels. 16-bit grey is divided by 65535; of an
    animation the first frame is read; colour profiles are not applied. Grey is 0.299 red + 0.587 green
    + 0.114 blue.

    The format is that of the content, whatever the name says. Files may come from strangers: what is too large, takes
    more than a minute, is not a regular file or in any other format is unreadable. A file that is cut off is so too,
    unless you set Pillow's `ImageFile.LOAD_TRUNCATED_IMAGES`.

    Args:
        files: paths, at least one.
        size: (height, width) of the result in pixels, >= 1; one number stands for both.
        channels: 3 for red, green, blue; 1 for grey.
        fit: "crop" keeps proportions and cuts off what is too much on two sides; "stretch" keeps every part.
        on_error: "warn" leaves unreadable files out and names them all in one GedankenWarning; "raise" names
            them all in a DatasetError.
        max_pixels: width times height that a picture may have, at least 1; and what all pictures may have that are
            decoded at the same time, with up to 20 bytes each.

    Returns:
        data, files (those that were read) and unreadable (file -> reason).

    Shapes:
        data: (N, C, H, W), float32 in [0, 1], black is 0.

    Raises:
        DatasetError: no file is readable; or one is not and on_error is "raise".
        ArgumentError: an argument breaks its rule.
        MissingPackageError: Pillow is not installed.
    """
    listed = is_list(files) or (isinstance(files, Iterable) and not isinstance(files, (str, os.PathLike, np.ndarray)))
    require(listed, "files", "be a list of paths", files)
    paths = [Path(path("files", file)) for file in files]
    return _read_all(paths, Decoder(size, channels, fit, max_pixels), on_error, {})


def _read_all(paths: Sequence[Path], decoder: Decoder, on_error: str, unreadable: Reasons) -> Pictures:
    require(bool(paths), "files", "name at least one picture", paths)
    fatal = one_of("on_error", on_error, ("raise", "warn")) == "raise"
    data = np.empty((len(paths), *decoder.shape), np.float32)

    def read(place: int) -> str:
        try:
            data[place] = decoder.picture(paths[place])
        except DatasetError as error:
            return str(error)
        return ""

    reasons = map_threads(read, range(len(paths)))
    unreadable = unreadable | {file: reason for file, reason in zip(paths, reasons, strict=True) if reason}
    good = [not reason for reason in reasons]
    report(unreadable, fatal or not any(good))
    kept = tuple(file for file, keep in zip(paths, good, strict=True) if keep)
    return Pictures(data if all(good) else data[good], kept, unreadable)
