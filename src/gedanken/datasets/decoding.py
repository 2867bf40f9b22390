"""One picture: from the bytes of anybody's file to an array, within limits of time and memory (needs Pillow)."""

import functools
import io
import math
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeVar

import numpy as np

from gedanken.checks import one_of, pair, printable, require, whole
from gedanken.errors import DatasetError, MissingPackageError
from gedanken.files import open_regular
from gedanken.types import Array, Shape

if TYPE_CHECKING:
    from types import ModuleType

    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

Made = TypeVar("Made")

# What is left out starts other programs (EPS), holds further files (ICO, ICNS), or is rarely met and so rarely tested.
FORMATS: Final = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF")
MOST_PIXELS: Final = 1 << 26
DECODING: Final = 60.0  # seconds for one picture, once its bytes are there
BEYOND_PIXELS: Final = 64 << 20  # bytes of a file besides 8 for each pixel: colour profiles, previews, notes
READ_AHEAD: Final = 1 << 20  # bytes that may be read twice in any file
MODES: Final = {1: "L", 3: "RGB"}
DEEP_SCALES: Final = {"I": 65535.0, "I;16": 65535.0, "I;16B": 65535.0, "F": 1.0}
ORIENTATION: Final = 0x0112
TILE_WIDTH, TILE_HEIGHT = 322, 323  # tags of a TIFF
# How Pillow numbers what undoes each orientation: mirrored, upside down, and so on.
TURNS: Final = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
# PNG: what Pillow makes of samples of other depths than 8, and so of the one colour that is transparent
DEPTHS: Final = {
    "1": lambda value: 255 * (value > 0),
    "L;2": lambda value: (value & 3) * 85,
    "L;4": lambda value: (value & 15) * 17,
    "RGB;16B": lambda value: value >> 8,
}


class Decoder:
    """Makes pictures of one shape from files of any size. Threads may share it.

    Pictures that are decoded at the same time in one process have at most `max_pixels` together, so the memory for it
    does not grow with the number of threads.

    Args:
        size, channels, fit, max_pixels: as of `load_pictures`.

    Raises:
        ArgumentError: an argument breaks its rule.
        MissingPackageError: Pillow is not installed.
    """

    def __init__(self, size: int | tuple[int, int], channels: int, fit: str, max_pixels: int = MOST_PIXELS) -> None:
        height, width = pair("size", size)
        known = isinstance(channels, (int, np.integer)) and not isinstance(channels, bool) and channels in MODES
        require(known, "channels", "be 1 or 3", channels)
        one_of("fit", fit, ("crop", "stretch"))
        self.shape = int(channels), height, width
        self.fit, self.max_pixels = fit, whole("max_pixels", max_pixels)
        pillow()
        self._cut = False  # whether the program that this comes from let Pillow read cut pictures
        self._rooms: dict[int, _Room] = {}  # by process: a fork must not wait for threads of its parent

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_rooms": {}, "_cut": _image_file().LOAD_TRUNCATED_IMAGES}

    def picture(self, file: Path | bytes) -> Array:
        """Return the picture in a file, or in a file's content.

        Shapes:
            result: (C, H, W), float32 in [0, 1].

        Raises:
            DatasetError: there is none; says why.
        """
        return self.made(file, self.resized)

    def made(self, file: Path | bytes, make: "Callable[[ImageFile], Made]") -> "Made":
        """Return what `make` makes of a picture that is identified and has room, but is not decoded yet.

        Raises:
            DatasetError: there is none; says why.
        """
        if self._cut:
            vars(_image_file())["LOAD_TRUNCATED_IMAGES"] = True
        try:
            with io.BytesIO(file) if isinstance(file, bytes) else open_regular(str(file)) as source:
                return self._decoded(_Bounded(source, 8 * self.max_pixels + BEYOND_PIXELS), make)
        except DatasetError:
            raise
        except Exception as error:  # what Pillow raises on a damaged file depends on the format
            reason = error.strerror if isinstance(error, OSError) and error.errno else error
            raise DatasetError(printable(f"{type(error).__name__}: {reason}")) from error

    def _decoded(self, source: "_Bounded", make: "Callable[[ImageFile], Made]") -> "Made":
        with _identified(io.BufferedReader(source)) as image:
            width, height = _largest(image)
            pixels = width * height
            if pixels > self.max_pixels:
                raise DatasetError(f"it has {width:,} x {height:,} pixels, max_pixels is {self.max_pixels:,}")
            room = self._rooms.get(os.getpid()) or self._rooms.setdefault(os.getpid(), _Room(self.max_pixels))
            with room.taken(pixels):
                source.begin()  # waiting for the others does not count
                return make(image)

    def resized(self, image: "ImageFile") -> Array:
        """Return a picture as `picture` does."""
        channels, height, width = self.shape
        image.draft(None, (2 * max(height, width),) * 2)  # a huge JPEG is decoded at a half, quarter or eighth
        plain = _plain(image, MODES[channels])
        box = self.box(plain.size)
        small = plain.resize((width, height), pillow().Resampling.BILINEAR, box)
        if small.mode == "F":
            return np.broadcast_to(np.asarray(small), self.shape)
        values = np.asarray(small, np.float32) / np.float32(255)
        return values.transpose(2, 0, 1) if channels == 3 else values[None]

    def box(self, size: tuple[int, int]) -> tuple[float, float, float, float] | None:
        """Return the part (left, top, right, bottom) of a picture (width, height) that is kept; None is all of it."""
        return _middle(size, self.shape[1:]) if self.fit == "crop" else None


class _Room:
    """Lets threads in as long as the pixels of all have room; one alone always has."""

    def __init__(self, size: int) -> None:
        self._size, self._used = size, 0
        self._change = threading.Condition()

    @contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        with self._change:
            self._change.wait_for(lambda: not self._used or self._used + pixels <= self._size)
            self._used += pixels
        try:
            yield
        finally:
            with self._change:
                self._used -= pixels
                self._change.notify_all()


class _Bounded(io.RawIOBase):
    """What is read from a file, as long as it is not too much and does not take too long."""

    def __init__(self, file: BinaryIO, most_bytes: int) -> None:
        self._file, self._size = file, file.seek(0, os.SEEK_END)
        self._left = min(most_bytes, 2 * self._size + READ_AHEAD)
        file.seek(0)
        self.begin()

    def begin(self) -> None:
        """Let the time count from now on."""
        self._end = time.monotonic() + DECODING

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readall(self) -> bytes:
        self._take(self._size - self.tell())
        return self._file.read()

    def readinto(self, buffer: Any) -> int:
        read: int = self._file.readinto(buffer)  # type: ignore[attr-defined]
        self._take(read)
        return read

    def _take(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise DatasetError("it has more bytes than a picture of max_pixels")
        if time.monotonic() > self._end:
            raise DatasetError(f"it is not decoded within {DECODING:g} s")


def _identified(file: BinaryIO) -> "ImageFile":
    # Image.open would start the programs and decoders of all formats, and has a limit of pixels for the whole process.
    kinds, prefix = _kinds(), file.read(16)
    name = next((name for name in (*FORMATS, *kinds) if name in kinds and _is_kind(kinds[name][1], prefix)), None)
    if name is None:
        raise DatasetError("its content is in no format that Pillow knows")
    if name not in FORMATS:
        raise DatasetError(f"it is a {name} file; read are {', '.join(sorted(FORMATS))}")
    file.seek(0)
    try:
        image: ImageFile = kinds[name][0](file, "")
    except (
        SyntaxError,
        IndexError,
        TypeError,
        struct.error,
    ) as error:  # how Pillow says that it cannot make sense of it
        raise DatasetError(printable(f"it is a damaged {name} file: {error}")) from error
    return image


@functools.cache
def _kinds() -> dict[str, Any]:
    """Return what makes a picture of a file, and what looks at its first bytes, by the names of formats."""
    from PIL.JpegImagePlugin import JpegImageFile  # noqa: PLC0415 - optional

    class Jpeg(JpegImageFile):
        """One JPEG, without a look for further pictures in the file, or at how many dots an inch of paper has."""

        def _read_dpi_from_exif(self) -> None:
            pass

    pillow().init()
    _, accept = pillow().OPEN["JPEG"]
    return {**pillow().OPEN, "JPEG": (Jpeg, accept)}


def _is_kind(accept: Any, prefix: bytes) -> bool:
    try:
        return accept is not None and accept(prefix) is True
    except (IndexError, struct.error):  # there are too few bytes
        return False


def _largest(image: "ImageFile") -> tuple[int, int]:
    """Return width and height of what a decoder holds at once: tiles of a TIFF may be larger than its picture."""
    tags = getattr(image, "tag_v2", {})
    tile = int(tags.get(TILE_WIDTH, 0)), int(tags.get(TILE_HEIGHT, 0))
    return max(image.size, tile, key=math.prod)


def _plain(image: "ImageFile", mode: str) -> "Image":
    """Return the picture upright, without transparency, in `mode`; deeper than 8 bits, in "F" with 1 as white."""
    depth = image.tile[0][3] if image.format == "PNG" and image.tile else None
    image.load()
    clear = _clear_colour(image, depth)
    upright = turned_upright(image)
    if upright.mode in DEEP_SCALES:
        return _deep(upright, clear)
    if clear is not None or upright.has_transparency_data:
        upright = _on_white(upright, clear)
    return upright if upright.mode == mode else upright.convert(mode)


def turned_upright(image: "Image") -> "Image":
    """Return a picture as its notes say that it is to be looked at."""
    turn = TURNS.get(_orientation(image))
    return image if turn is None else image.transpose(pillow().Transpose(turn))


def lies_on_its_side(image: "Image") -> bool:
    """Say whether `turned_upright` makes height of width."""
    return _orientation(image) in (5, 6, 7, 8)


def _orientation(image: "Image") -> Any:
    try:
        return image.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged notes are no damage to the picture, which stays as it lies
        return 1


def _clear_colour(image: "Image", depth: Any) -> tuple[int, ...] | None:
    """Return the one colour that is transparent, in the values that pixels have after decoding."""
    colour = image.info.get("transparency")
    if image.mode not in ("1", "L", "RGB", *DEEP_SCALES) or not isinstance(colour, (int, tuple)):
        return None
    values = colour if isinstance(colour, tuple) else (colour,)
    scale = DEPTHS.get(depth if isinstance(depth, str) else "", int)
    return tuple(scale(value) for value in values) if len(values) == len(image.getbands()) else None  # type: ignore[no-untyped-call]


def _deep(image: "Image", clear: tuple[int, ...] | None) -> "Image":
    values = np.array(image, np.float32)
    hidden = None if clear is None else values == clear[0]
    values /= np.float32(DEEP_SCALES[image.mode])
    if not (values.min() >= 0 and values.max() <= 1):
        raise DatasetError(f"values must be in [0, {DEEP_SCALES[image.mode]:g}] for mode {image.mode}")
    if hidden is not None:
        values[hidden] = 1
    deep: Image = pillow().fromarray(values)
    return deep


def _on_white(image: "Image", clear: tuple[int, ...] | None) -> "Image":
    if image.mode == "1":
        image = image.convert("L")
    if clear is not None:
        mask = _mask(image, clear)
    else:
        image = mask = image.convert("RGBA")
    white: Image = pillow().new("L" if image.mode == "L" else "RGB", image.size, "white")
    white.paste(image, mask=mask)
    return white


def _mask(image: "Image", clear: tuple[int, ...]) -> "Image":
    """Return 0 where all bands have the colour, else 255."""
    from PIL import ImageChops  # noqa: PLC0415 - optional

    bands = [
        band.point([255 * (value != hidden) for value in range(256)])
        for band, hidden in zip(image.split(), clear, strict=True)
    ]
    mask: Image = bands[0]
    for band in bands[1:]:
        mask = ImageChops.lighter(mask, band)
    return mask


def _middle(size: tuple[int, int], shape: Shape) -> tuple[float, float, float, float]:
    """Return the largest box (left, top, right, bottom) in the middle that has the proportions of `shape`."""
    (width, height), (rows, columns) = size, shape
    wide = width * rows > height * columns
    across, down = (height * columns / rows, height) if wide else (width, width * rows / columns)
    return (width - across) / 2, (height - down) / 2, (width + across) / 2, (height + down) / 2


def pillow() -> "ModuleType":
    """Return Pillow's module, or raise MissingPackageError."""
    try:
        from PIL import Image  # noqa: PLC0415 - optional
    except ImportError as error:
        raise MissingPackageError("reading pictures needs Pillow: pip install gedanken[images]") from error
    return Image


def _image_file() -> "ModuleType":
    from PIL import ImageFile  # noqa: PLC0415 - optional

    return ImageFile
