"""Sequences of different length, padded on the right to one length."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gedanken.by_name import ByName
from gedanken.checks import extent, refuse_masked
from gedanken.errors import ArgumentError, DataError
from gedanken.types import Array, Shape


class Sequences:
    """Sequences of different length as one array, and how long each is.

    What stands at the places behind a sequence's end is never looked at. Some of them, as a slice or an array of places
    takes them, share the memory of all.

    Args:
        values: (N, T, ...) numbers, each sequence at the first places of its row.
        lengths: (N,) whole numbers, in [1, T].

    Raises:
        DataError: an argument breaks its rule.

    Example:
        >>> words = Sequences.of([[3, 1, 2], [5]])
        >>> words.padded()
        array([[3, 1, 2],
               [5, 0, 0]])
        >>> words.lengths
        array([3, 1])

    Source:
        none, bookkeeping.
    """

    def __init__(self, values: Any, lengths: Any) -> None:
        refuse_masked("values", values)
        refuse_masked("lengths", lengths)
        array, told = np.asarray(values), np.asarray(lengths)
        if array.ndim < 2 or array.dtype.kind not in "fiub":
            got = f"shape {array.shape} of {array.dtype}"
            raise DataError(f"values must be real numbers (N, T, ...), got {got}")
        if told.shape != array.shape[:1] or told.dtype.kind not in "iu":
            rule = f"lengths must be {len(array)} whole numbers, one for each sequence"
            raise DataError(f"{rule}, got shape {told.shape} of {told.dtype}")
        most = array.shape[1]
        wrong = (told < 1) | (told > most)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise DataError(f"lengths must be in [1, {most}], got {told[row]} in row {row}")
        self.values: Array
        self.lengths: Array
        vars(self).update(values=array, lengths=told.astype(np.int64))

    def __setattr__(self, name: str, value: Any) -> None:
        raise ArgumentError(f"Sequences must stay as they are made, got other {name}; make others of these")

    @classmethod
    def of(cls, samples: Sequence[Any], length: int | None = None) -> "Sequences":
        """Return sequences of any lengths, with zeros behind their ends.

        Args:
            samples: arrays or lists, each (T_i, ...) with T_i >= 1, all other axes alike.
            length: T, at least the longest of them; None is the longest.

        Raises:
            DataError: samples break their rule; the message names the first that does.
        """
        arrays = [_checked(sample, row) for row, sample in enumerate(samples)]
        if not arrays:
            raise DataError("samples must be at least one sequence, got none")
        rest = arrays[0].shape[1:]
        for row, array in enumerate(arrays):
            if array.shape[1:] != rest:
                raise DataError(f"samples must be alike but for their length, got {array.shape} in row {row}")
        lengths = np.array([len(array) for array in arrays])
        most = int(lengths.max()) if length is None else extent("length", length)
        if lengths.max() > most:
            raise DataError(f"samples must have at most {most} places, got {lengths.max()} in row {lengths.argmax()}")
        values = np.zeros((len(arrays), most, *rest), np.result_type(*{array.dtype for array in arrays}))
        for row, array in enumerate(arrays):
            values[row, : len(array)] = array
        return cls(values, lengths)

    @property
    def shape(self) -> Shape:
        """That of the array, (N, T, ...)."""
        return self.values.shape

    @property
    def ndim(self) -> int:
        """How many axes the array has."""
        return self.values.ndim

    @property
    def dtype(self) -> Any:
        """The number type of the values."""
        return self.values.dtype

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        return f"Sequences of shape {self.shape} and lengths {self.lengths.min()} to {self.lengths.max()}"

    def __getitem__(self, places: Any) -> "Sequences":
        """Return some sequences: a slice, an array or list of places, or of truth values."""
        lengths = self.lengths[places]
        if lengths.ndim != 1:
            raise DataError(f"sequences are taken by a slice or a list of places, got {places!r}")
        return self._with(self.values[places], lengths)

    def copy(self) -> "Sequences":
        """Return the same sequences in memory of their own."""
        return self._with(self.values.copy(), self.lengths.copy())

    def real(self) -> Array:
        """Return which places are real, (N, T) truth values."""
        return np.arange(self.shape[1]) < self.lengths[:, None]

    def padded(self) -> Array:
        """Return the array with 0 behind the end of each sequence."""
        if (self.lengths == self.shape[1]).all():
            return self.values
        real = self.real().reshape(*self.shape[:2], *(1,) * (self.ndim - 2))
        return np.where(real, self.values, self.dtype.type(0))

    def _with(self, values: Array, lengths: Array) -> "Sequences":
        other = object.__new__(Sequences)
        vars(other).update(values=values, lengths=lengths)
        return other


def lengths_of(x: Any) -> Any:
    """Return the lengths of sequences; of several inputs by name those of which are some; None where there are none."""
    if isinstance(x, ByName):
        return {name: part.lengths for name, part in x.parts.items() if isinstance(part, Sequences)} or None
    return x.lengths if isinstance(x, Sequences) else None


def as_padded(x: Any) -> Any:
    """Return sequences as an array with 0 behind their ends, and anything else as it is."""
    return x.padded() if isinstance(x, Sequences) else x


def _checked(sample: Any, row: int) -> Array:
    refuse_masked(f"row {row} of samples", sample)
    try:
        array = np.asarray(sample)
    except ValueError as error:
        raise DataError(f"samples must be arrays, got in row {row} what is none: {error}") from None
    if array.ndim == 0 or len(array) == 0 or array.dtype.kind not in "fiub":
        rule = "samples must be sequences (T, ...) of at least one place and of real numbers"
        raise DataError(f"{rule}, got shape {array.shape} of {array.dtype} in row {row}")
    return array
