"""One way to make an array of whatever the user gives: nothing is lost on it, and an error says what would help."""

import datetime
import itertools
import math
import numbers
from collections.abc import Iterator, Mapping, Sized
from typing import Any

import numpy as np

from gedanken.checks import refuse_masked, require
from gedanken.errors import DataError
from gedanken.sparse import SparseRows
from gedanken.types import Array

REAL = "fiub"  # kinds of NumPy's number types
NUMBERS = REAL + "c"
AS_FLOATS = 'use .astype("float32")'
NUMBERED = "number them: np.unique(values, return_inverse=True)[1]"


def as_array(name: str, values: Any, kinds: str = REAL) -> Array:
    """Return `values` as an array, which shares their memory where it can.

    Args:
        name: what the caller calls the values, for errors.
        values: anything that NumPy makes an array of numbers of.
        kinds: of number types that are right.

    Raises:
        DataError: they are no numbers, rows differ in length, or an entry is masked; says what to do.
    """
    if type(values) is np.ndarray and values.dtype.kind in kinds:
        return values
    refuse_masked(name, values)
    refuse_sparse(name, values)
    rule = f"{name} must be an array of {'real ' * (kinds == REAL)}numbers, got"
    try:
        array = np.asarray(values)
    except ValueError as error:
        if "inhomogeneous" not in str(error):
            raise DataError(
                f"{rule} a {type(values).__name__} that NumPy cannot read: {error}{_tensor(values)}"
            ) from None
        raise DataError(f"{name} must be an array, got rows of different shapes ({error}){_ragged(values)}") from None
    except Exception as error:  # the object's own way to become an array
        raise DataError(f"{rule} a {type(values).__name__} that NumPy cannot read: {error}{_tensor(values)}") from error
    if array.dtype.kind not in kinds:
        raise DataError(f"{rule} {_described(values, array)}")
    return array


def finite_in(argument: str, array: Array, dtype: Any) -> Array:
    """Return an array in a number type, or raise ArgumentError where a number of it is not finite there."""
    with np.errstate(over="ignore"):  # looked at below
        found = array.astype(dtype)
    wrong = ~np.isfinite(found)
    if wrong.any():
        require(False, argument, f"be finite in {dtype}", array[wrong][0].item())
    return found


def refuse_sparse(name: str, values: Any) -> None:
    """Raise DataError for sparse rows and matrices: they look like arrays, and NumPy makes one object of them."""
    if isinstance(values, SparseRows) or hasattr(values, "tocsr") or hasattr(values, "nnz"):
        raise DataError(f"{name} must be an array of numbers, got a sparse matrix ({_sparse_kind(values)}")


def _sparse_kind(matrix: Any) -> str:
    """Return the end of a sentence: kind and shape of a sparse matrix, and what would help."""
    kind, shape, dtype = type(matrix).__name__, getattr(matrix, "shape", ()), getattr(matrix, "dtype", None)
    taken = math.prod(shape) * np.dtype(dtype).itemsize / 2**20 if shape and dtype else 0.0
    size = f", which takes {taken:,.1f} MiB" if taken > 1 else ""
    helps = f"use .toarray(){size}, or a Generator that does so for some rows, or begin with SparseFullyConnectedLayer"
    return f"{kind}{f' {shape}' if shape else ''}); {helps}"


def _described(values: Any, array: Array) -> str:
    """Return what was given in place of numbers, and what would help."""
    if hasattr(values, "columns") and hasattr(values, "dtypes"):
        return _described_frame(values)
    if array.ndim == 0 and array.dtype == object:
        return _described_object(values)
    if hasattr(values, "cat"):
        return f"{array.dtype} in categories; use .cat.codes"
    if array.dtype == object:
        return _described_entries(array)
    hints = {
        "U": f"strings; {NUMBERED}",
        "S": f"bytes; {NUMBERED}",
        "M": 'dates; use a difference of them in days or the like, .astype("float32")',
        "m": 'time differences; divide by np.timedelta64(1, "s")',
        "c": "complex numbers; stack their .real and .imag",
        "V": f"with fields {array.dtype.names}; use one field, or stack them" if array.dtype.names else AS_FLOATS,
        "T": f"strings; {NUMBERED}",
    }
    return f"{array.dtype}: {hints.get(array.dtype.kind, AS_FLOATS)}"


def _described_object(value: Any) -> str:
    kind = type(value).__name__
    if hasattr(value, "files") and hasattr(value, "data"):  # pictures that were read
        return f"{kind}; use its .data{' and .labels' * hasattr(value, 'labels')}"
    if hasattr(value, "get_mini_batches"):
        return f"{kind}; a Generator is for fit and evaluate, so give the arrays, or its mini-batches one by one"
    if isinstance(value, Mapping):
        return f"{kind}; names are for a network of several inputs, so give the array that is meant"
    return f"{kind}; use list(...)" if isinstance(value, (Iterator, Sized)) else kind


def _described_entries(array: Array) -> str:
    for index, value in itertools.islice(np.ndenumerate(array), 1 << 20):
        if not isinstance(value, (numbers.Real, np.bool_)):
            return f"object with {_entry(value)} at index {', '.join(map(str, index))}{_remedy(value)}"
    return f"object, though its entries are numbers; {AS_FLOATS}"


def _entry(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 40 else text[:37] + '...'}"


def _remedy(value: Any) -> str:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return "; fill what is missing, or leave such samples out"
    if isinstance(value, (str, bytes)):
        return f"; {NUMBERED}"
    if isinstance(value, (datetime.date, datetime.timedelta)):
        return "; use numbers, such as days since a first one"
    if hasattr(value, "tocsr"):
        return "; use .toarray(), or scipy.sparse.vstack(rows).toarray()"
    if isinstance(value, np.ndarray):
        return "; use np.stack, with arrays of one shape"
    return ""


def _described_frame(frame: Any) -> str:
    """Return which columns of a table are no numbers, and what would help."""
    found = []
    for place, name in enumerate(frame.columns):
        column = frame.iloc[:, place] if hasattr(frame, "iloc") else frame[name]
        kind = getattr(column, "dtype", None)
        if not (isinstance(kind, np.dtype) and kind.kind in REAL):
            found.append(f"column {name!r} ({kind}){_column_hint(column, str(kind))}")
    kind = type(frame).__name__
    if not found:
        return f"a {kind} of columns of different types; {AS_FLOATS}"
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return f"a {kind} with " + ", ".join(found[:5]) + more


COLUMN_HINTS = {
    "category": ": use .cat.codes, or one column for each with pandas.get_dummies",
    "datetime": ": use numbers, such as days since a first one",
    "complex": ": use its .real and .imag",
}


def _column_hint(column: Any, kind: str) -> str:
    if hint := next((COLUMN_HINTS[start] for start in COLUMN_HINTS if kind.startswith(start)), ""):
        return hint
    if kind in ("object", "str") or kind.startswith("string"):
        wrong = next((value for value in column if not isinstance(value, numbers.Real)), None)
        if isinstance(wrong, str):
            return f": strings such as {wrong[:40]!r}; leave it out, or use pandas.get_dummies"
        return f": {_entry(wrong)}{_remedy(wrong)}"
    missing = hasattr(column, "isna") and bool(column.isna().any())
    return f": fill what is missing with fillna, then {AS_FLOATS}" if missing else f": {AS_FLOATS}"


def _ragged(values: Any) -> str:
    """Return how to make rows of whole numbers equally long."""
    try:
        lengths = {len(row) for row in values}
        whole = all(isinstance(v, numbers.Integral) for row in itertools.islice(values, 100) for v in row)
    except TypeError:
        return ""
    if not whole or len(lengths) < 2:
        return ""
    most = max(lengths)
    return (
        f"; pad them to one length, here {min(lengths)} to {most}: "
        f"[list(row) + [0] * ({most} - len(row)) for row in rows]"
    )


def _tensor(values: Any) -> str:
    if hasattr(values, "detach") and hasattr(values, "cpu"):
        return "; use .detach().cpu().numpy(), of bfloat16 after .float()"
    return "; use .get()" if hasattr(values, "get") and hasattr(values, "__cuda_array_interface__") else ""
