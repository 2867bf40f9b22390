"""The safetensors format: eight bytes of length, a JSON header, then the numbers. No code can hide in it.

To the format we add one thing, a checksum of the whole file in its metadata, so that damage is seen. A file may come
from anybody: its header is small, its arrays lie one after the other and fill the file, and all that is checked before
a number is read, so what is read is never larger than the file.

Source:
    https://huggingface.co/docs/safetensors, "Format".
"""

import json
import math
import os
import zlib
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from gedanken.errors import ArgumentError, CheckpointError
from gedanken.types import Array, Shape

TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BOOL": "|b1"}
TYPES |= {f"{name}{8 * size}": f"<{kind}{size}" for name, kind in (("I", "i"), ("U", "u")) for size in (1, 2, 4, 8)}
NO_CHECKSUM = "0" * 8
HEADER_BYTES = 2 << 20  # at most; what is read from it takes a multiple of that
CHUNK = 1 << 20  # bytes that are copied at a time


class Entry(NamedTuple):
    """Where an array lies.

    Args:
        dtype: its number type as in the file.
        shape: its shape.
        size: its length in bytes.
    """

    dtype: Any
    shape: Shape
    size: int


class Contents(NamedTuple):
    """What a file says before its numbers.

    Args:
        metadata: texts by name.
        table: entries by name, in the order in which they lie.
        header: the bytes that said so.
    """

    metadata: dict[str, str]
    table: dict[str, Entry]
    header: bytes


# ---------------------------------------------------------------------------------------------- writing


def write_arrays(file: BinaryIO, arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Write a file with these arrays and this metadata.

    A chunk is copied first, so the checksum is that of what is written, whatever becomes of the array meanwhile.

    Raises:
        ArgumentError: names and metadata are too long for a header.
    """
    header = _header(arrays, metadata)
    start = len(header).to_bytes(8, "little")
    place = len(start) + header.index(_entry(NO_CHECKSUM)) + len(_entry(NO_CHECKSUM)) - len(NO_CHECKSUM) - 1
    file.write(start + header)
    checksum = zlib.crc32(header, len(header))
    for array in arrays.values():
        flat = np.ascontiguousarray(array, np.dtype(array.dtype).newbyteorder("<")).reshape(-1)
        step = CHUNK // flat.itemsize
        for first in range(0, flat.size, step):
            chunk = flat[first : first + step].tobytes()
            checksum = zlib.crc32(chunk, checksum)
            file.write(chunk)
    file.seek(place)
    file.write(f"{checksum:08x}".encode())


def _header(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> bytes:
    names = {np.dtype(code): name for name, code in TYPES.items()}
    table, end = {}, 0
    for name, array in arrays.items():
        start, end = end, end + array.nbytes
        kind = names[np.dtype(array.dtype).newbyteorder("<")]
        table[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [start, end]}
    header = json.dumps({"__metadata__": {"checksum": NO_CHECKSUM, **metadata}, **table}).encode()
    header += b" " * (-len(header) % 8)
    if len(header) > HEADER_BYTES:
        raise ArgumentError(f"a model file holds at most {HEADER_BYTES:,} bytes beside its arrays, got {len(header):,}")
    return header


def _entry(checksum: str) -> bytes:
    return f'"checksum": "{checksum}"'.encode()


# ---------------------------------------------------------------------------------------------- reading


def read_contents(file: BinaryIO) -> Contents:
    """Return what a file says before its numbers, and go to these.

    Raises:
        CheckpointError: it is no safetensors file with our checksum, or its table does not describe its numbers.
    """
    header, left = _read_header(file)
    try:
        table = parsed(header)
        metadata = table.pop("__metadata__")
        texts = isinstance(metadata["checksum"], str) and all(isinstance(text, str) for text in metadata.values())
    except (RecursionError, ValueError, KeyError, AttributeError, TypeError):
        texts = False
    if not texts:
        raise _foreign()
    entries, end = {}, 0
    for name, described in table.items():
        entries[name] = _checked_entry(name, described, end)
        end += entries[name].size
    if end != left:
        raise CheckpointError(f"is damaged or truncated: its arrays take {end} bytes, and it has {left}")
    return Contents(metadata, entries, header)


def read_arrays(file: BinaryIO, contents: Contents) -> dict[str, Array]:
    """Return the arrays, after `read_contents`.

    Raises:
        CheckpointError: the file's checksum is not the one that it states.
        MemoryError: there is not enough for them.
    """
    values = {name: np.empty(entry.shape, entry.dtype) for name, entry in contents.table.items()}
    stated, header = contents.metadata["checksum"], contents.header
    bare = header.replace(_entry(stated), _entry(NO_CHECKSUM), 1) if stated.isascii() else header
    checksum = zlib.crc32(bare, len(header))
    for array in values.values():
        flat = array.reshape(-1).view(np.uint8)
        for first in range(0, flat.size, CHUNK):
            chunk = flat[first : first + CHUNK]
            if file.readinto(chunk) != chunk.size:  # type: ignore[attr-defined]
                raise CheckpointError("became shorter while it was read")
            checksum = zlib.crc32(chunk.data, checksum)
    if stated != f"{checksum:08x}":
        raise CheckpointError("is damaged or truncated: its checksum does not match its bytes")
    return {name: array.astype(array.dtype.newbyteorder("="), copy=False) for name, array in values.items()}


def parsed(text: str | bytes) -> Any:
    """Return what a JSON text says, or raise ValueError; no name may stand twice in an object."""
    return json.loads(text, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in an object")
    return found


def _foreign() -> CheckpointError:
    return CheckpointError("is not a model file of Gedanken, or its header is damaged")


def _read_header(file: BinaryIO) -> tuple[bytes, int]:
    """Return the header, and how many bytes follow it."""
    file.seek(0)
    left = os.fstat(file.fileno()).st_size - 8
    size = int.from_bytes(file.read(8), "little")
    if not 2 <= size <= min(left, HEADER_BYTES):
        raise _foreign()
    return file.read(size), left - size


def _checked_entry(name: str, described: Any, start: int) -> Entry:
    """Return a row of the table; `start`: where the arrays before it end."""
    try:
        dtype, shape = np.dtype(TYPES[described["dtype"]]), described["shape"]
        right = isinstance(shape, list) and len(shape) <= MOST_AXES and all(_is_length(size) for size in shape)
        size = dtype.itemsize * math.prod(shape) if right else -1
        right = right and described["data_offsets"] == [start, start + size] and len(described) == 3
    except (KeyError, TypeError):
        right = False
    if not right:
        raise CheckpointError(f"is damaged: its table does not say where the array {name[:80]!r} lies")
    return Entry(dtype, tuple(shape), size)


MOST_AXES = 32


def _is_length(size: Any) -> bool:
    return type(size) is int and 0 <= size < 1 << 48
