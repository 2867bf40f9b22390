"""Sequences of different length, however they are given: lists, arrays with a mask, Sequences; and their labels."""

from typing import Any

import numpy as np

from gedanken.data.conversion import as_array
from gedanken.errors import DataError
from gedanken.sequences import Sequences
from gedanken.types import Array, Shape


def as_sequences(argument: str, data: Any, places: int, mask: int | None = None) -> Any:
    """Return data as Sequences of T places where rows have ends of their own, and else as they are.

    Rows end where a list or Sequences says so, and with a mask before its numbers at their end, in whatever they come.

    Args:
        argument: what the caller calls the data, for errors.
        data: what was given.
        places: T.
        mask: the whole number that pads rows, or None.

    Raises:
        DataError: a sequence is longer than T, or the mask stands where it may not.
    """
    if isinstance(data, np.ndarray) and data.dtype == object and data.ndim == 1:
        data = list(data)  # of lists, as files of arrays keep them
    if _are_shorter(data, places):
        data = _told(argument, data)
    elif mask is not None and not isinstance(data, Sequences):
        array = as_array(argument, data)
        if array.ndim != 2:
            raise DataError(f"{argument} must have shape (N, {places}), got {array.shape}")
        data = Sequences(array, np.full(len(array), array.shape[1])) if array.size else array
    if not isinstance(data, Sequences):
        return data
    return _of_places(argument, data if mask is None else _cut_by_mask(argument, data, mask), places)


def sequences_of(argument: str, rows: Any, places: int) -> Sequences:
    """Return sequences of any lengths as Sequences of T places.

    Args:
        argument: what the caller calls them, for errors.
        rows: Sequences, or a list or array of sequences.
        places: T.

    Raises:
        DataError: they are no sequences, or longer ones.
    """
    return _of_places(argument, rows if isinstance(rows, Sequences) else _told(argument, rows), places)


def if_ragged(argument: str, data: Any) -> Any:
    """Return data as Sequences where they are rows of different length, and else as they are."""
    if isinstance(data, np.ndarray) and data.dtype == object and data.ndim == 1:
        data = list(data)
    return _told(argument, data) if isinstance(data, (list, tuple)) and len(_lengths(data)) > 1 else data


def labels_of_places(argument: str, labels: Any, shape: Shape, lengths: Array | None) -> Any:
    """Return labels of the places of sequences as one array (N, T, ...); what stands behind their ends may be anything.

    There each gets the label of its first place, so that nobody who checks labels has to know of ends.

    Args:
        argument: what the caller calls the labels, for errors.
        labels: an array or Sequences (N, T, ...), or a list of sequences.
        shape: of one output, (T, ...).
        lengths: (N,), how many places of each output are real; None is all.

    Raises:
        DataError: a sequence has fewer labels than places.
    """
    if lengths is None and not isinstance(labels, Sequences):
        return labels
    if len(shape) < 2:
        raise DataError(f"{argument} must be an array, since outputs of shape {shape} have no places")
    given = as_sequences(argument, labels, shape[0])
    real = np.full(len(given), shape[0]) if lengths is None else lengths
    if isinstance(given, Sequences):
        if len(given) == len(real) and (given.lengths < real).any():
            row = int(np.argmax(given.lengths < real))
            got = f"got {given.lengths[row]} for {real[row]} in row {row}"
            raise DataError(f"{argument} must have one for each place of the network's output, {got}")
        given = given.values
    array = as_array(argument, given)
    behind = np.arange(shape[0]) >= real[:, None]
    if array.shape[:2] != behind.shape:
        return array  # whoever checks shapes says what is wrong
    apart = behind.reshape(behind.shape + (1,) * (array.ndim - 2))
    return np.where(apart, array[:, :1], array) if behind.any() else array


def aligned_labels(argument: str, labels: Any, shape: Shape, lengths: Array | None) -> Array:
    """Return labels that are sequences of their own length as one array (N, 2 + S), see `costs.CTC.checked_target`.

    Args:
        argument: what the caller calls the labels, for errors.
        labels: Sequences, a list of sequences, or an array (N, S).
        shape: of one output, (T, K).
        lengths: (N,), how many places of each output are real; None is all.

    Raises:
        DataError: they are no sequences.
    """
    if isinstance(labels, Sequences):
        values, count = labels.padded(), labels.lengths
    elif isinstance(labels, (list, tuple)) or (isinstance(labels, np.ndarray) and labels.dtype == object):
        values, count = _padded(argument, labels)
    else:
        values = as_array(argument, labels)
        count = np.full(len(values) if values.ndim else 0, values.shape[1] if values.ndim == 2 else 0)
    if values.ndim != 2 or values.dtype.kind not in "fiub":
        got = f"shape {values.shape} of {values.dtype}"
        raise DataError(
            f"{argument} must be sequences of whole numbers: lists, Sequences or an array (N, S), got {got}"
        )
    if lengths is None or len(lengths) != len(values):  # whoever counts samples says what is wrong
        lengths = np.full(len(values), shape[0])
    return np.concatenate([lengths[:, None], count[:, None], values], axis=1)


def _padded(argument: str, rows: Any) -> tuple[Array, Array]:
    """Return sequences, of which some may be empty, as one array and how long each is."""
    arrays = [np.zeros(0, np.int64) if _is_empty(row) else as_array(argument, row) for row in rows]
    for place, array in enumerate(arrays):
        if array.ndim != 1:
            raise DataError(f"{argument} must be sequences of whole numbers, got shape {array.shape} in row {place}")
    count = np.array([len(array) for array in arrays], np.int64)
    values = np.zeros((len(arrays), count.max(initial=0)), np.result_type(np.int64, *arrays))
    for row, array in zip(values, arrays, strict=True):
        row[: len(array)] = array
    return values, count


def _is_empty(row: Any) -> bool:
    return isinstance(row, (list, tuple, np.ndarray)) and len(row) == 0


def _are_shorter(data: Any, places: int) -> bool:
    """Say whether data are a list of sequences that are not all of so many places."""
    return isinstance(data, (list, tuple)) and bool(_lengths(data) - {places})


def _lengths(rows: Any) -> set[int]:
    """Return all lengths of rows, none where some have no length: they are no sequences."""
    try:
        return {len(row) for row in rows}
    except TypeError:
        return set()


def _told(argument: str, rows: Any) -> Sequences:
    if not isinstance(rows, (list, tuple)) and np.ndim(rows) == 0:
        raise DataError(f"{argument} must be sequences, got {rows!r}")
    try:
        return Sequences.of(rows)
    except DataError as error:
        hint = "; labels of CTC of which there are none are given as one blank" if any(map(_is_empty, rows)) else ""
        raise DataError(f"{argument}: {error}{hint}") from None


def _of_places(argument: str, given: Sequences, places: int) -> Sequences:
    """Return the same sequences with so many places."""
    if given.shape[1] == places:
        return given
    if given.lengths.max(initial=0) > places:
        row = int(given.lengths.argmax())
        raise DataError(f"{argument} must have at most {places} places, got {given.lengths[row]} in row {row}")
    values = np.zeros((len(given), places, *given.shape[2:]), given.dtype)
    kept = min(places, given.shape[1])
    values[:, :kept] = given.values[:, :kept]
    return Sequences(values, given.lengths)


def _cut_by_mask(argument: str, given: Sequences, mask: int) -> Sequences:
    """Return sequences that each end with the last number that is not the mask.

    Raises:
        DataError: the mask stands before another number, or nothing else in a row.
    """
    if given.ndim != 2:
        raise DataError(f"{argument} must have shape (N, T), got {given.shape}")
    words = given.real() & (given.values != mask)
    lengths = words.sum(axis=1)
    before = words & (np.arange(given.shape[1]) >= lengths[:, None])
    if before.any():
        row = int(np.argmax(before.any(axis=1)))
        raise DataError(
            f"{argument} must have the mask {mask} at the end of a row only, got it before another number in row {row}"
        )
    if not lengths.all():
        row = int(np.argmin(lengths))
        raise DataError(f"{argument} must have a number that is not the mask {mask} in each row, got none in row {row}")
    return Sequences(given.values, lengths)
