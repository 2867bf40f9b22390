"""Checks of the data that a network is given, before any work begins."""

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from gedanken.checks import warn
from gedanken.data.conversion import as_array
from gedanken.errors import DataError
from gedanken.sparse import SparseRows, is_sparse
from gedanken.types import Array, Shape

LEAST_PICTURE = 64  # pixels: fewer bytes in a row are taken for features
BLOCK = 1 << 20  # numbers looked at in one go: no second copy of the data is made


def checked_rows(argument: str, x: Any, shape: Shape, dtype: Any) -> SparseRows:
    """Return `x` as sparse rows in the network's number type, or raise DataError.

    Args:
        argument, shape, dtype: as of `checked_inputs`.
        x: SparseRows, a SciPy matrix or an array (N, F).
    """
    data = x
    if not is_sparse(x):
        data = checked_array(argument, x)
        if data.ndim != 2:
            raise DataError(f"{argument} must have shape (N, {shape[0]}), got {data.shape}")
    try:
        rows = SparseRows.of(data)
    except DataError as error:
        raise DataError(f"{argument}: {error}") from None
    if len(rows) == 0:
        raise DataError(f"{argument} must have at least one sample, got none: shape {rows.shape}")
    if rows.features != shape[0]:
        raise DataError(f"{argument} must have shape (N, {shape[0]}), got {rows.shape}")
    if rows.values.size:
        check_finite(f"the numbers of {argument}", rows.values, dtype)
    return rows.astype(dtype)


def checked_inputs(
    argument: str, x: Any, shape: Shape, dtype: Any, tokens: int | tuple[int, ...] | None = None
) -> Array:
    """Return `x` as an array of samples of `shape`, or raise DataError.

    Args:
        argument: what the caller calls the data, for errors.
        x: (N, *shape), anything that NumPy makes an array of.
        shape: one sample, channels first.
        dtype: number type that the network computes in.
        tokens: for a network that takes whole numbers: how many different ones, or how many in each column.
    """
    array = checked_array(argument, x)
    if array.shape[1:] != shape:
        expected = f"(N, {', '.join(map(str, shape))})"
        hint = _shape_hint(array.shape, shape) or _hint_of_places(array.shape, shape, tokens)
        raise DataError(f"{argument} must have shape {expected}, got {array.shape}{hint}")
    if tokens is not None:
        _check_tokens(argument, array, tokens)
    elif array.dtype.kind == "f":
        check_finite(argument, array, dtype)
    elif array.max() > 1:
        warn(f"{argument} has whole numbers ({array.dtype}) up to {array.max()}; {_scaling(argument, array)}")
    return array


def checked_names(argument: str, given: Any, names: Collection[str]) -> dict[str, Any]:
    """Return what was given for each name, in their order, or raise DataError unless it is a dict of just these.

    Args:
        argument: what the caller calls it, for errors.
        given: what was given.
        names: of inputs or outputs.
    """
    wanted = ", ".join(map(repr, names))
    if not isinstance(given, Mapping):
        raise DataError(f"{argument} must be a dict of arrays by the names {wanted}, got a {type(given).__name__}")
    for name in names:
        if name not in given:
            raise DataError(f"{argument} must have an array for each of the names {wanted}, got none for {name!r}")
    for name in given:
        if name not in names:
            raise DataError(f"{argument} must have arrays for the names {wanted} only, got {name!r} too")
    return {name: given[name] for name in names}


def _scaling(argument: str, array: Array) -> str:
    """Return how to scale whole numbers: pictures, which may be flat, by white, other features each by itself."""
    bytes_of_pixels = array.dtype in (np.uint8, np.uint16)
    if array.ndim == 4 or (bytes_of_pixels and array[0].size >= LEAST_PICTURE):
        white = np.iinfo(array.dtype).max if bytes_of_pixels else array.max()
        return f"networks train badly on unscaled pictures: use {argument} / {white} as float32"
    scaled = f"({argument} - {argument}.mean(axis=0)) / {argument}.std(axis=0)"
    return f"networks train badly on unscaled features: use {scaled}, or give them as float32 if they are right as is"


def checked_array(argument: str, values: Any) -> Array:
    """Return `values` as an array of at least one sample of real numbers, or raise DataError."""
    array = as_array(argument, values)
    if array.ndim == 0:
        raise DataError(f"{argument} must have a first axis of samples, got the single number {array}")
    if len(array) == 0:
        raise DataError(f"{argument} must have at least one sample, got none: shape {array.shape}")
    return array


def check_lengths(names: tuple[str, str], x: Array, labels: Array) -> None:
    """Raise DataError unless there are as many labels as samples."""
    if len(x) != len(labels):
        raise DataError(f"{names[1]} must have one entry for each sample of {names[0]}, got {len(labels)} for {len(x)}")


def checked_weights(
    argument: str, weights: Any, samples: int, dtype: Any, some: bool, places: Shape | None = ()
) -> Array:
    """Return the weights of samples, (N,), or of their places, in the network's number type, or raise DataError.

    Args:
        argument, dtype: as of `checked_inputs`.
        weights: what was given.
        samples: how many samples there are.
        some: whether one of them has to be above 0.
        places: of a sample's output, which may have a weight each; () of an output without, None where they may not.
    """
    array = checked_array(argument, weights)
    if array.shape not in ((samples,), (samples, *(places or ()))):
        rule = f"{argument} must have shape ({samples},), one for each sample"
        rule += f", or {(samples, *places)}, one for each place" if places else ""
        hint = "" if places is not None else "; costs of whole samples and of heads take no others"
        raise DataError(f"{rule}, got {array.shape}{hint}")
    check_finite(argument, array, dtype)
    if (array < 0).any():
        first, *rest = np.argwhere(array < 0)[0].tolist()
        where = f"sample {first}" + f", place {', '.join(map(str, rest))}" * bool(rest)
        raise DataError(f"{argument} must be at least 0, got {array[(first, *rest)]} for {where}")
    held = array.astype(dtype)
    if some and not held.any():
        in_type = f" in {held.dtype}" if array.any() else ""
        raise DataError(f"{argument} must not all be 0{in_type}: nothing would be learnt or measured")
    return held


def _shape_hint(got: Shape, shape: Shape) -> str:
    if got == shape:
        return "; the axis of samples is missing: use [None] for a single sample"
    if len(shape) == 3 and len(got) == 4 and got[1:] == (shape[1], shape[2], shape[0]):
        return "; the pictures look channels-last: use transpose(0, 3, 1, 2)"
    if len(shape) == 3 and len(got) == 4 and got[1:] == (shape[2], shape[0], shape[1]):
        return f"; the network's input looks channels-last: use input({got[1:]})"
    if len(shape) == 3 and shape[0] == 1 and got[1:] == shape[1:]:
        return "; the channel axis is missing: use [:, None]"
    if math.prod(got[1:]) == math.prod(shape):
        return f"; the number of values is right: use reshape({', '.join(map(str, (-1, *shape)))})"
    return ""


def _hint_of_places(got: Shape, shape: Shape, tokens: int | tuple[int, ...] | None) -> str:
    sequences = len(shape) == (2 if tokens is None else 1)
    shorter = sequences and len(got) == len(shape) + 1 and got[1] < shape[0] and got[2:] == shape[1:]
    return "; use Sequences.of(...) for sequences that are shorter than the network's" if shorter else ""


@np.errstate(over="ignore", invalid="ignore")
def check_finite(argument: str, array: Array, dtype: Any) -> None:
    """Raise DataError unless all numbers are finite, and stay so when they become `dtype`."""
    largest = np.finfo(dtype).max
    step = max(1, BLOCK // max(array[0].size, 1))
    for start in range(0, len(array), step):
        block = array[start : start + step]
        flat = block.ravel(order="K")  # in the order of memory, whatever that is
        if flat.dot(flat) <= largest:
            continue  # no number is too large or a NaN, and the sum of squares is quickly made
        wrong = ~(abs(block) <= largest)
        if wrong.any():
            first = np.argwhere(wrong)[0].tolist()
            index = (start + first[0], *first[1:])
            rule = f"be in the range of {dtype}" if np.isfinite(array[index]) else "be finite"
            raise DataError(f"{argument} must {rule}, got {array[index]} at index {index}")


def _check_tokens(
    argument: str, array: Array, tokens: int | tuple[int, ...], whose: str = " for the Embedding"
) -> None:
    if isinstance(tokens, tuple):
        for column, limit in enumerate(tokens):
            _check_tokens(f"column {column} of {argument}", array[:, column], limit, "")
        return
    rule = f"{argument} must be whole numbers from 0 to {tokens - 1}{whose}"
    if array.dtype.kind not in "iu":
        raise DataError(f"{rule}, got {array.dtype}")
    low, high = array.min(), array.max()
    if low < 0 or high >= tokens:
        raise DataError(f"{rule}, got {low if low < 0 else high}")
