"""Large tables, tuples of tuples of truth values or of numbers, as one text: the header of a file is small.

{"type": "table of numbers", "shape": [2, 300], "bytes": the float64 numbers, in base64}
{"type": "table of bits", "shape": [600, 600], "bytes": eight truth values in each byte, the first in the highest bit}
"""

import base64
import math
from typing import Any

import numpy as np

LEAST, MOST = 1 << 8, 1 << 22  # entries: fewer stay a list that can be read, more would be much to make of a header
AXES = 4
BITS, NUMBERS = "table of bits", "table of numbers"


def table_data(value: tuple[Any, ...]) -> dict[str, Any] | None:
    """Return a tuple as the data of a large table, or None if it is none."""
    shape: list[int] = []
    rows: list[Any] = [value]
    while type(rows[0]) is tuple:
        shape.append(len(rows[0]))
        if len(shape) > AXES or 0 in shape or any(type(row) is not tuple or len(row) != shape[-1] for row in rows):
            return None
        rows = [entry for row in rows for entry in row]
    kind = type(rows[0])
    if not (kind in (bool, float) and LEAST <= len(rows) <= MOST and all(type(entry) is kind for entry in rows)):
        return None
    raw = np.packbits(np.array(rows)) if kind is bool else np.array(rows, "<f8")
    name = BITS if kind is bool else NUMBERS
    return {"type": name, "shape": shape, "bytes": base64.b64encode(raw.tobytes()).decode()}


def table_of(data: dict[str, Any]) -> tuple[Any, ...]:
    """Return the tuple that `table_data` was given.

    Raises:
        KeyError, TypeError, ValueError: the data are no such table.
    """
    shape, raw = data["shape"], base64.b64decode(data["bytes"], validate=True)
    if not (isinstance(shape, list) and 1 <= len(shape) <= AXES and all(type(n) is int and n > 0 for n in shape)):
        raise ValueError
    size = math.prod(shape)
    if size > MOST or len(raw) != (-(-size // 8) if data["type"] == BITS else 8 * size):
        raise ValueError
    if data["type"] == BITS:
        entries = np.unpackbits(np.frombuffer(raw, np.uint8), count=size).astype(bool)
    else:
        entries = np.frombuffer(raw, "<f8")
    return _as_tuples(entries.reshape(shape).tolist())


def _as_tuples(rows: Any) -> Any:
    return tuple(map(_as_tuples, rows)) if isinstance(rows, list) else rows
