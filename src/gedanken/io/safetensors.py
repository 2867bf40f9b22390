"""The safetensors format: eight bytes of length, a JSON header, then the numbers. No code can hide in it.

To the format we add one thing, a checksum of the whole file in its metadata, so that damage is seen.

Source:
    https://huggingface.co/docs/safetensors, "Format".
"""

import json
import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from gedanken.errors import CheckpointError
from gedanken.types import Array

TYPES = {"F64": "<f8", "F32": "<f4"}
NO_CHECKSUM = "0" * 8


def pack(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> bytes:
    """Return the bytes of a file with these arrays and this metadata."""
    names = {np.dtype(code): name for name, code in TYPES.items()}
    table, parts, end = {}, [], 0
    for name, array in arrays.items():
        raw = np.ascontiguousarray(array, np.dtype(array.dtype).newbyteorder("<")).tobytes()
        start, end = end, end + len(raw)
        kind = names[np.dtype(array.dtype).newbyteorder("<")]
        table[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [start, end]}
        parts.append(raw)
    header = json.dumps({"__metadata__": {**metadata, "checksum": NO_CHECKSUM}, **table}).encode()
    header += b" " * (-len(header) % 8)
    data = b"".join(parts)
    header = header.replace(_entry(NO_CHECKSUM), _entry(_checksum(header, data)), 1)
    return len(header).to_bytes(8, "little") + header + data


def unpack(content: bytes, origin: str) -> tuple[dict[str, str], dict[str, Any], bytes]:
    """Return the metadata of a file, the table of its arrays and their bytes, for `arrays`.

    Args:
        content: all of its bytes.
        origin: what to call it in errors.

    Raises:
        CheckpointError: it is truncated, damaged, or no safetensors file with our checksum.
    """
    size = int.from_bytes(content[:8], "little")
    header, data = content[8 : 8 + size], content[8 + size :]
    try:
        table = json.loads(header)
        metadata = table.pop("__metadata__")
        checksum = metadata.pop("checksum")
    except (RecursionError, ValueError, KeyError, AttributeError, TypeError):
        raise CheckpointError(f"{origin} is not a model file of Gedanken, or its header is damaged") from None
    if checksum != _checksum(header.replace(_entry(checksum), _entry(NO_CHECKSUM), 1), data):
        raise CheckpointError(f"{origin} is damaged or truncated: its checksum does not match its {len(content)} bytes")
    return metadata, table, data


def arrays(table: Mapping[str, Any], data: bytes) -> dict[str, Array]:
    """Return the arrays that a table describes."""
    return {name: _array(entry, data) for name, entry in table.items()}


def _checksum(header: bytes, data: bytes) -> str:
    return f"{zlib.crc32(data, zlib.crc32(header, len(header))):08x}"


def _entry(checksum: str) -> bytes:
    return f'"checksum": "{checksum}"'.encode()


def _array(entry: Mapping[str, Any], data: bytes) -> Array:
    start = entry["data_offsets"][0]
    kind, shape = np.dtype(TYPES[entry["dtype"]]), tuple(entry["shape"])
    values = np.frombuffer(data, kind, math.prod(shape), start)
    return values.reshape(shape).astype(kind.newbyteorder("="))
