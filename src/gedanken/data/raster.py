"""What transforms do to the pixels of a picture; nothing here is random."""

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from gedanken.errors import DataError
from gedanken.types import Array


def pixel_value(argument: str, value: float, picture: Array) -> Any:
    """Return a number in the picture's number type, or raise DataError where it does not fit in."""
    with np.errstate(all="ignore"):
        pixel = np.float64(value).astype(picture.dtype)
    if not (np.isfinite(pixel) if picture.dtype.kind == "f" else int(pixel) == value):
        raise DataError(f"{argument} must be a value of {picture.dtype}, as the picture's are, got {value!r}")
    return pixel


def window(picture: Array, top: int, left: int, size: tuple[int, int], fill: Any) -> Array:
    """Return the part of the picture from (top, left) on; where it sticks out it is filled."""
    bottom, right = top + size[0], left + size[1]
    part = picture[..., max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    if part.shape[-2:] == size:
        return part
    filled = np.full((*picture.shape[:-2], *size), fill, picture.dtype)
    row, column = max(-top, 0), max(-left, 0)
    filled[..., row : row + part.shape[-2], column : column + part.shape[-1]] = part
    return filled


BAND: Final = 4096  # pixels made in one go: what they take on the way stays in the cache


def rotated(picture: Array, angle: float, fill: Any, nearest: bool = False) -> Array:
    """Return the picture turned by `angle`, in radians, counter-clockwise; see Rotate.

    Args:
        picture: (..., H, W).
        angle: in radians.
        fill: what is around the picture.
        nearest: whether each pixel is one of the picture's, in the place of bilinear.
    """
    height, width = picture.shape[-2:]
    channels = picture.reshape(-1, height, width)
    if nearest:
        turned = np.full(channels.shape, fill, picture.dtype)
        for band, rows, columns in _bands(height, width, angle):
            row, column = np.floor(rows - 0.5).astype(np.intp), np.floor(columns - 0.5).astype(np.intp)
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            turned[:, band][:, inside] = channels[:, row[inside], column[inside]]
        return turned.reshape(picture.shape)
    padded = np.full((len(channels), height + 3, width + 3), fill, np.result_type(picture.dtype, np.float32))
    padded[:, 1:-2, 1:-2] = channels
    y = np.empty((len(channels), height, width), padded.dtype)
    for band, rows, columns in _bands(height, width, angle):
        y[:, band] = _bilinear(padded, rows, columns)
    if picture.dtype.kind != "f":
        np.rint(y, out=y)
    return y.astype(picture.dtype, copy=False).reshape(picture.shape)


def _bands(height: int, width: int, angle: float) -> Iterator[tuple[slice, Array, Array]]:
    """Yield some rows of the turned picture, and where their pixels come from, counted from a border of one pixel."""
    down, right = np.arange(height)[:, None] - (height - 1) / 2, np.arange(width) - (width - 1) / 2
    cos, sin = math.cos(angle), math.sin(angle)
    step = max(BAND // width, 1)
    for band in (slice(top, top + step) for top in range(0, height, step)):
        rows = cos * down[band] + (height + 1) / 2 + sin * right
        columns = (width + 1) / 2 - sin * down[band] + cos * right
        yield band, rows, columns


def _bilinear(padded: Array, rows: Array, columns: Array) -> Array:
    # One pixel of padding before the picture and two behind it: each place has four neighbours, wherever it is.
    height, width = padded.shape[1:]
    rows, columns = rows.clip(0, height - 2), columns.clip(0, width - 2)
    above, before = rows.astype(np.intp), columns.astype(np.intp)
    down, right = (rows - above).astype(padded.dtype), (columns - before).astype(padded.dtype)
    up, left = 1 - down, 1 - right
    flat, first = padded.reshape(len(padded), -1), above * width + before
    y = flat.take(first, axis=1) * (up * left)
    for step, weight in ((1, up * right), (width, down * left), (width + 1, down * right)):
        neighbour = flat.take(first + step, axis=1)
        neighbour *= weight
        y += neighbour
    return y
