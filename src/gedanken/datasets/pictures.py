"""Pictures of any size and format as one array (needs Pillow)."""

import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, TypeAlias

import numpy as np

from gedanken.checks import one_of, pair, real, require, warn, whole
from gedanken.datasets.labels import Split, one_hot
from gedanken.datasets.threads import map_threads
from gedanken.errors import DatasetError, MissingPackageError
from gedanken.random import Purpose, permutation
from gedanken.types import Array, Shape

if TYPE_CHECKING:
    from types import ModuleType

    from PIL.Image import Image

PathLike: TypeAlias = str | os.PathLike[str]
SIZE: Final = (32, 32)
MODES: Final = {1: "L", 3: "RGB"}
DEEP_SCALES: Final = {"I": 65535.0, "I;16": 65535.0, "I;16B": 65535.0, "F": 1.0}
NOTES: Final = frozenset(
    (".csv", ".db", ".html", ".ini", ".json", ".md", ".tsv", ".txt", ".xml", ".yaml", ".yml")
)  # files that usually lie beside pictures


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
            test: share of each class to test on, in (0, 1). Each part gets at least one picture of a class
                that has two or more; a lone picture is for training.
            seed: >= 0; the same seed divides the same pictures in the same way.

        Returns:
            train_data, train_labels, test_data, test_labels, as the loaders of known sets return them.

        Raises:
            ArgumentError: an argument breaks its rule.
        """
        share, seed = real("test", test, "(0, 1)"), whole("seed", seed, 0)
        held = np.zeros(len(self.files), bool)
        for name, column in zip(self.classes, self.labels.T, strict=True):
            members = np.flatnonzero(column)[
                permutation(seed, Purpose.DATASET, int(column.sum()), place=f"split.{name}")
            ]
            most = len(members) - 1
            held[members[: min(max(round(share * len(members)), 1), most)]] = True
        return self.data[~held], self.labels[~held], self.data[held], self.labels[held]


def load_images(
    folder: PathLike,
    size: int | tuple[int, int] = SIZE,
    *,
    channels: int = 3,
    fit: str = "crop",
    on_error: str = "warn",
) -> LabelledPictures:
    """Read a folder that has one folder of pictures per class.

    Classes are the names of the folders in sorted order; folders within them are read too. Left out are
    hidden files, files outside of the class folders, and notes (.csv .db .html .ini .json .md .tsv .txt .xml
    .yaml .yml). Every other file is taken for a picture and read as `load_pictures` does.

    Args:
        folder: holds the class folders.
        size, channels, fit, on_error: as in `load_pictures`.

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
    base = Path(folder)
    found = class_files(base)
    read = _read_all([file for members in found.values() for file in members], size, channels, fit, on_error)
    classes = tuple(found)
    numbers = [classes.index(file.relative_to(base).parts[0]) for file in read.files]
    for number, name in enumerate(classes):
        if number not in numbers:
            raise DatasetError(f"{base / name} must hold a readable picture, all {len(found[name])} are damaged")
    labels = one_hot(np.array(numbers), len(classes))
    return LabelledPictures(read.data, read.files, read.unreadable, labels, classes)


def load_pictures(
    files: Iterable[PathLike],
    size: int | tuple[int, int],
    *,
    channels: int = 3,
    fit: str = "crop",
    on_error: str = "warn",
) -> Pictures:
    """Read picture files of any size and format that Pillow knows, in the given order.

    A picture is turned upright by its EXIF orientation, laid on white where it is transparent, and resized
    with a triangle filter that averages over all source pixels. 16-bit grey is divided by 65535; of an
    animation the first frame is read; colour profiles are not applied. Grey is 0.299 red + 0.587 green
    + 0.114 blue.

    Args:
        files: paths, at least one.
        size: (height, width) of the result in pixels, >= 1; one number stands for both.
        channels: 3 for red, green, blue; 1 for grey.
        fit: "crop" keeps proportions and cuts off what is too much on two sides; "stretch" keeps every part.
        on_error: "warn" leaves unreadable files out and names them all in one GedankenWarning; "raise" names
            them all in a DatasetError.

    Returns:
        data, files (those that were read) and unreadable (file -> reason).

    Shapes:
        data: (N, C, H, W), float32 in [0, 1], black is 0.

    Raises:
        DatasetError: no file is readable; or one is not and on_error is "raise".
        ArgumentError: an argument breaks its rule.
        MissingPackageError: Pillow is not installed.
    """
    require(not isinstance(files, (str, os.PathLike)), "files", "be a list of paths", files)
    return _read_all([Path(file) for file in files], size, channels, fit, on_error)


def _read_all(paths: Sequence[Path], size: int | tuple[int, int], channels: int, fit: str, on_error: str) -> Pictures:
    require(bool(paths), "files", "name at least one picture", paths)
    shape = checked_shape(size, channels, fit, on_error)
    data = np.empty((len(paths), *shape), np.float32)

    def read(place: int) -> str:
        try:
            data[place] = read_picture(paths[place], shape, fit)
        except Exception as error:  # what Pillow raises on a damaged file depends on the format
            return f"{type(error).__name__}: {error}"
        return ""

    reasons = map_threads(read, range(len(paths)))
    unreadable = {path: reason for path, reason in zip(paths, reasons, strict=True) if reason}
    good = [not reason for reason in reasons]
    _report(unreadable, fatal=on_error == "raise" or not any(good))
    kept = tuple(path for path, keep in zip(paths, good, strict=True) if keep)
    return Pictures(data[good] if unreadable else data, kept, unreadable)


def checked_shape(size: int | tuple[int, int], channels: int, fit: str, on_error: str) -> tuple[int, int, int]:
    """Return (C, H, W), or raise what `load_pictures` does where an argument breaks its rule or Pillow is missing."""
    height, width = pair("size", size)
    require(channels in tuple(MODES), "channels", "be 1 or 3", channels)
    one_of("fit", fit, ("crop", "stretch"))
    one_of("on_error", on_error, ("raise", "warn"))
    _pillow()
    return channels, height, width


def decode_rgb(content: bytes) -> Array:
    """Return the pixels of a picture file's content.

    Shapes:
        result: (H, W, 3), uint8.
    """
    with _pillow().open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def class_files(base: Path) -> dict[str, list[Path]]:
    """Return the files of each class folder, by the rules of `load_images`."""
    return {path.name: _pictures_under(path) for path in _class_folders(base)}


def _class_folders(base: Path) -> list[Path]:
    if not base.is_dir():
        raise DatasetError(f"folder must be an existing folder, got {str(base)!r}")
    folders = sorted(path for path in base.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not folders:
        raise DatasetError(
            f"folder must hold one folder of pictures per class, got {str(base)!r}, which has none; "
            "for a plain list of files use load_pictures"
        )
    return folders


def _pictures_under(folder: Path) -> list[Path]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and _is_candidate(path.relative_to(folder))]
    if not files:
        raise DatasetError(f"class folder must hold at least one picture, got {str(folder)!r}, which has none")
    return files


def _is_candidate(path: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.parts)
    return not hidden and path.suffix.lower() not in NOTES


def _report(unreadable: Mapping[Path, str], fatal: bool) -> None:
    if not unreadable:
        return
    lines = "".join(f"\n  - {path}: {reason}" for path, reason in unreadable.items())
    message = f"{len(unreadable)} of the files cannot be read as pictures:{lines}"
    if fatal:
        raise DatasetError(message)
    warn(message)


def read_picture(file: Path | BinaryIO, shape: Shape, fit: str) -> Array:
    """Return a picture as `load_pictures` does, or raise what Pillow does.

    Shapes:
        result: (C, H, W) as `shape`, float32 in [0, 1].
    """
    channels, height, width = shape
    with _pillow().open(file) as image:
        image.draft(None, (2 * max(height, width),) * 2)  # a huge JPEG is decoded at a half, quarter or eighth
        plain = _plain(_upright(image), MODES[channels])
    box = _middle(plain.size, (height, width)) if fit == "crop" else None
    small = plain.resize((width, height), _pillow().Resampling.BILINEAR, box)
    if small.mode == "F":
        return np.broadcast_to(np.asarray(small), shape)
    pixels = np.asarray(small, np.float32) / np.float32(255)
    return pixels.transpose(2, 0, 1) if channels == 3 else pixels[None]


def _upright(image: "Image") -> "Image":
    from PIL import ImageOps  # noqa: PLC0415 - optional

    return ImageOps.exif_transpose(image)


def _plain(image: "Image", mode: str) -> "Image":
    """Return the picture without transparency in `mode`; deeper than 8 bits, in "F" with 1 as white."""
    pillow = _pillow()
    if image.mode in DEEP_SCALES:
        values = np.asarray(image, np.float32) / np.float32(DEEP_SCALES[image.mode])
        if not (values.min() >= 0 and values.max() <= 1):
            raise DatasetError(f"values must be in [0, {DEEP_SCALES[image.mode]:g}] for mode {image.mode}")
        deep: Image = pillow.fromarray(values)
        return deep
    if image.has_transparency_data:
        white = pillow.new("RGBA", image.size, "white")
        image = pillow.alpha_composite(white, image.convert("RGBA"))
    return image.convert(mode)


def _middle(size: tuple[int, int], shape: Shape) -> tuple[float, float, float, float]:
    """Return the largest box (left, top, right, bottom) in the middle that has the proportions of `shape`."""
    (width, height), (rows, columns) = size, shape
    wide = width * rows > height * columns
    across, down = (height * columns / rows, height) if wide else (width, width * rows / columns)
    return (width - across) / 2, (height - down) / 2, (width + across) / 2, (height + down) / 2


def _pillow() -> "ModuleType":
    try:
        from PIL import Image  # noqa: PLC0415 - optional
    except ImportError as error:
        raise MissingPackageError("reading pictures needs Pillow: pip install gedanken[images]") from error
    return Image
