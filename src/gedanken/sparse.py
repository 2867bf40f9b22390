"""Rows of which most numbers are 0, and gradients of matrices of which most rows are 0: only the others are kept."""

from typing import Any, NamedTuple

import numpy as np

from gedanken.checks import extent, refuse_masked
from gedanken.errors import ArgumentError, DataError
from gedanken.types import Array, Shape


class SparseRows:
    """Rows of numbers of which most are 0, in CSR (compressed sparse rows).

    Row i has the numbers values[k] in the columns columns[k], starts[i] <= k < starts[i + 1]; a column that comes
    twice counts as the sum. Some rows of it, as a slice or an array of places takes them, share its numbers. Where
    numbers are cannot be changed: kernels trust it.

    Args:
        starts: (N + 1,) whole numbers that do not fall, from 0 to K.
        columns: (K,) whole numbers in [0, features).
        values: (K,) numbers.
        features: columns of a row, at least 1.

    Raises:
        DataError: an argument breaks its rule.
        ArgumentError: features breaks its rule.

    Example:
        >>> rows = SparseRows([0, 2, 2, 3], [1, 3, 0], [0.5, 2.0, 1.0], 4)
        >>> rows[[2, 0]].toarray()
        array([[1. , 0. , 0. , 0. ],
               [0. , 0.5, 0. , 2. ]])

    Source:
        Tinney & Walker 1967, "Direct solutions of sparse network equations by optimally ordered triangular
        factorization" (the form).
    """

    ndim = 2

    def __init__(self, starts: Any, columns: Any, values: Any, features: int) -> None:
        ends = _whole_numbers("starts", starts)
        listed = _whole_numbers("columns", columns)
        numbers, size = _numbers(values), len(listed)
        count = extent("features", features)
        rising = len(ends) > 0 and ends[0] == 0 and ends[-1] == size and bool((ends[1:] >= ends[:-1]).all())
        if not rising:
            raise DataError(f"starts must not fall, from 0 to the number of columns {size}, got {ends}")
        if len(numbers) != size:
            raise DataError(f"values must be as many as columns, got {len(numbers)} for {size}")
        if size and not (listed.min() >= 0 and listed.max() < count):
            low, high = listed.min(), listed.max()
            raise DataError(f"columns must be in [0, {count}), got {low if low < 0 else high}")
        self.values: Array
        self.features: int
        self.columns: Array
        self.begins: Array
        self.ends: Array
        columns, begins, after = (_fixed(part) for part in (listed.astype(np.int32), ends[:-1], ends[1:]))
        vars(self).update(values=numbers, features=count, columns=columns, begins=begins, ends=after)

    def __setattr__(self, name: str, value: Any) -> None:
        raise ArgumentError(f"SparseRows must stay as they are made, got other {name}; make others of these")

    @classmethod
    def of(cls, data: Any) -> "SparseRows":
        """Return rows as they are, those of a SciPy matrix, or those of an array (N, F)."""
        if isinstance(data, cls):
            return data
        if is_sparse(data):
            matrix = data.tocsr()
            return cls(matrix.indptr, matrix.indices, matrix.data, matrix.shape[1])
        refuse_masked("rows", data)
        rows, columns = np.nonzero(data)
        starts = np.searchsorted(rows, np.arange(len(data) + 1))
        return cls(starts, columns, data[rows, columns], data.shape[1])

    def _with(self, **changed: Array) -> "SparseRows":
        other = object.__new__(SparseRows)
        vars(other).update(vars(self), **changed)
        return other

    @property
    def shape(self) -> Shape:
        """Rows and columns."""
        return len(self.begins), self.features

    @property
    def dtype(self) -> Any:
        """The number type of the values."""
        return self.values.dtype

    @property
    def count(self) -> int:
        """How many numbers are kept."""
        return int((self.ends - self.begins).sum())

    def __len__(self) -> int:
        return len(self.begins)

    def __repr__(self) -> str:
        return f"SparseRows of shape {self.shape} with {self.count} numbers of {self.dtype}"

    def __getitem__(self, places: Any) -> "SparseRows":
        """Return some rows: a slice, an array or list of places, or of truth values."""
        begins = self.begins[places]
        if begins.ndim != 1:
            raise DataError(f"rows are taken by a slice or a list of places, got {places!r}")
        return self._with(begins=_fixed(begins), ends=_fixed(self.ends[places]))

    def copy(self) -> "SparseRows":
        """Return the same rows; their numbers are shared, since nobody writes to them."""
        return self._with()

    def astype(self, dtype: Any) -> "SparseRows":
        """Return the rows with values of another number type."""
        return self if self.dtype == dtype else self._with(values=self.values.astype(dtype))

    def listed(self) -> tuple[Array, Array, Array]:
        """Return row, column and value of each number, row after row."""
        lengths = self.ends - self.begins
        firsts = np.cumsum(lengths) - lengths
        places = np.repeat(self.begins - firsts, lengths) + np.arange(int(lengths.sum()))
        return np.repeat(np.arange(len(self)), lengths), self.columns[places], self.values[places]

    def toarray(self) -> Array:
        """Return the rows with all their zeros, (N, F)."""
        rows, columns, values = self.listed()
        whole: Array = np.zeros(self.shape, self.dtype)
        np.add.at(whole, (rows, columns), values)
        return whole


def is_sparse(data: Any) -> bool:
    """Return whether data are sparse rows, ours or SciPy's."""
    return isinstance(data, SparseRows) or (hasattr(data, "tocsr") and getattr(data, "ndim", 2) == 2)


def _fixed(array: Array) -> Array:
    """Return an array as kernels read it, that nobody writes to."""
    kept = np.ascontiguousarray(array)
    kept = kept if kept.base is None or not kept.flags.writeable else kept.copy()
    kept.flags.writeable = False
    return kept


def _whole_numbers(argument: str, values: Any) -> Array:
    refuse_masked(argument, values)
    array = np.asarray(values)
    if array.ndim != 1 or (array.dtype.kind not in "iu" and array.size):
        raise DataError(f"{argument} must be a list of whole numbers, got shape {array.shape} of {array.dtype}")
    if array.dtype.kind == "u" and array.size and array.max() >= 1 << 63:
        raise DataError(f"{argument} must be whole numbers below 2**63, got {array.max()}")
    return array.astype(np.int64)


def _numbers(values: Any) -> Array:
    refuse_masked("values", values)
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "biuf":
        raise DataError(f"values must be a list of real numbers, got shape {array.shape} of {array.dtype}")
    return np.ascontiguousarray(array, array.dtype if array.dtype in (np.float32, np.float64) else np.float64)


class RowGradient:
    """The gradient of a matrix of which a step touches few rows: all others are 0, and stay so without being written.

    An optimizer whose update of a 0 changes nothing needs to look at the touched rows only.

    Args:
        array: (R, ...), zeros, where the gradient lies: a view of the plan's flat vector.
        xp: the array module.

    Attributes:
        touched: (R,), the rows that are touched, in its first `count[0]` places; the rest is anything.
        marks: (R,), 1 for each touched row, else 0.
    """

    def __init__(self, array: Array, xp: Any = np) -> None:
        self.array, self._xp = array, xp
        self.touched: Array = xp.zeros(len(array), np.int64)
        self.marks: Array = xp.zeros(len(array), np.uint8)
        self.count: Array = np.zeros(1, np.int64)

    @property
    def rows(self) -> Array:
        """The touched rows, each once."""
        return self.touched[: int(self.count[0])]

    def clear(self) -> None:
        """Make it zero."""
        self.array[self.rows] = 0
        self.marks[self.rows] = 0
        self.count[0] = 0

    def touch(self, rows: Array) -> None:
        """Say which rows are touched, each once, where the array was changed by somebody else."""
        self.marks[self.rows] = 0
        self.marks[rows] = 1
        self.touched[: len(rows)] = rows
        self.count[0] = len(rows)

    def set(self, rows: Array, values: Array) -> None:
        """Make it the sum of some rows, 0 elsewhere.

        Shapes:
            rows: (M,), places, which may come more than once.   values: (M, ...).
        """
        self.clear()
        xp = self._xp
        touched, places = xp.unique(rows, return_inverse=True)
        total = xp.zeros((len(touched), *values.shape[1:]), "float64")
        xp.add.at(total, places.reshape(-1), values)
        self.array[touched] = total
        self.marks[touched] = 1
        self.touched[: len(touched)] = touched
        self.count[0] = len(touched)


class RowPart(NamedTuple):
    """Where a matrix with a RowGradient lies: `start` in the flat vectors, which have it in rows.

    `simplex`: whether the numbers of each row are kept such that none is negative and they sum to 1; `factor`: what its
    learning rate is multiplied by, 0 where it does not learn.
    """

    start: int
    gradient: RowGradient
    simplex: bool = False
    factor: float = 1.0

    @property
    def cut(self) -> slice:
        """Where it lies."""
        return slice(self.start, self.start + self.gradient.array.size)

    def of(self, vector: Array) -> Array:
        """Return the matrix in a flat vector, as a view."""
        return vector[self.cut].reshape(len(self.gradient.array), -1)


def on_simplex(rows: Array, xp: Any = np) -> Array:
    """Return for each row the nearest one whose numbers are not negative and sum to 1.

    Shapes:
        rows, result: (M, C).

    Source:
        Held, Wolfe & Crowder 1974, "Validation of subgradient optimization", section 3.
    """
    # A number that is taken from a whole row moves the nearest one nowhere, and so large ones keep their digits.
    rows = rows - rows.max(axis=1, keepdims=True)
    falling = -xp.sort(-rows, axis=1)
    limits = (xp.cumsum(falling, axis=1) - 1) / xp.arange(1, rows.shape[1] + 1)
    kept = (falling > limits).sum(axis=1)
    return xp.maximum(rows - xp.take_along_axis(limits, kept[:, None] - 1, axis=1), 0)
