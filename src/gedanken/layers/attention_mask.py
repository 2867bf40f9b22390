"""Which place sees which: a fixed table of truth values or of numbers, kept as tuples so that files can hold it."""

import zlib
from typing import Any

import numpy as np

from gedanken.checks import is_list, require
from gedanken.errors import ShapeError
from gedanken.types import Array

RULE = "be a table (T, T) or (n_heads, T, T) of True and False, or of numbers (floats) of float32, or -inf"
SHOWN = 100  # entries of the largest table that is written out


def checked_mask(owner: str, value: object, n_heads: int, causal: bool, more: bool) -> tuple[Any, ...]:
    """Return a table as tuples.

    Args:
        owner: who asks, for errors.
        value: what was given.
        n_heads: how many tables there may be.
        causal: whether later places are not seen in any case.
        more: whether there is something that all places see.

    Raises:
        ArgumentError: it is no such table, or a place sees nothing.
    """
    argument = f"{owner} attention_mask"
    require(is_list(value), argument, RULE, value)
    try:
        table = np.array(value)
    except (ValueError, TypeError):  # rows of different length
        table = np.zeros(0)
    numbers = table.dtype.kind == "f" and ((abs(table) <= np.finfo("float32").max) | (table == -np.inf)).all()
    right = table.ndim in (2, 3) and table.size > 0 and (numbers or table.dtype.kind == "b")
    require(right and (table.ndim == 2 or len(table) == n_heads), argument, RULE, value)
    sees = table if table.dtype.kind == "b" else table > -np.inf
    if causal:
        sees = np.tril(sees)
    if not more and not (some := sees.any(axis=-1)).all():
        place = int(np.argwhere(~some)[0][-1])
        rule = f"let each place see one at least, True being what it sees, but place {place} sees none"
        require(False, argument, rule, value)
    return _as_tuples(table.tolist())


def _as_tuples(rows: Any) -> Any:
    return tuple(map(_as_tuples, rows)) if isinstance(rows, list) else rows


def mask_numbers(mask: tuple[Any, ...]) -> Array:
    """Return what a table adds to scores, (1 or H, T, T): -inf where nothing is seen."""
    table = np.array(mask)
    numbers = np.where(table, 0.0, -np.inf) if table.dtype.kind == "b" else table.astype("float64")
    return numbers.reshape(-1, *table.shape[-2:])


def require_places(mask: Array | None, queries: int, keys: int) -> None:
    """Raise ShapeError unless a table is of so many places."""
    if mask is not None and mask.shape[1:] != (queries, keys):
        rows, columns = mask.shape[1:]
        raise ShapeError(f"has an attention_mask of {rows} x {columns} places, which must be {queries} x {keys}")


class Written:
    """How a table looks where a layer is shown: a large one as its sizes, and a number that tells it from others."""

    def __init__(self, mask: tuple[Any, ...]) -> None:
        self.mask = mask

    def __repr__(self) -> str:
        table = np.array(self.mask)
        if table.size <= SHOWN:
            return repr(self.mask)
        kind = "truth values" if table.dtype.kind == "b" else "numbers"
        return f"<{' x '.join(map(str, table.shape))} {kind}, crc32 {zlib.crc32(table.tobytes()):08x}>"
