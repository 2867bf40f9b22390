"""Windows of time series: what is known at some places, and what follows them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gedanken.checks import extent, real, require, truth, whole
from gedanken.data.conversion import REAL, as_array
from gedanken.data.generator import Generator
from gedanken.data.mapped import mapped_if_possible
from gedanken.errors import DataError
from gedanken.types import Array


class Cut(NamedTuple):
    """How windows are cut out of a series, as `windows` says it."""

    length: int
    ahead: int = 1
    stride: int = 1
    columns: int | tuple[int, ...] | None = None
    each_place: bool = False

    @classmethod
    def of(cls, length: int, ahead: int, stride: int, columns: Any, each_place: bool) -> "Cut":
        """Return checked arguments."""
        found = extent("length", length), extent("ahead", ahead), extent("stride", stride)
        several = isinstance(columns, (list, tuple))
        if several:
            require(len(columns) > 0, "columns", "be at least one", columns)
        if columns is not None:
            chosen = tuple(extent("columns", one, 0) for one in (columns if several else (columns,)))
            columns = chosen if several else chosen[0]
        return cls(*found, columns, truth("each_place", each_place))

    def count(self, places: int) -> int:
        """Return how many windows a series of so many places has."""
        return (places - self.length - self.ahead) // self.stride + 1

    def inputs(self, series: Array) -> Array:
        """Return a view (N, length, ...) of a series."""
        return _sliding(series[: len(series) - self.ahead], self.length)[:: self.stride]

    def targets(self, series: Array) -> Array:
        """Return what follows, (N, ahead, ...), or (N, length, ...) for each place: a view, but for several columns."""
        chosen = series if self.columns is None else series[:, self.columns]
        if self.each_place:
            return _sliding(chosen[self.ahead :], self.length)[:: self.stride]
        return _sliding(chosen[self.length :], self.ahead)[:: self.stride]


def windows(
    series: Any,
    length: int,
    ahead: int = 1,
    *,
    stride: int = 1,
    columns: int | Sequence[int] | None = None,
    each_place: bool = False,
) -> tuple[Array, Array]:
    """Return all windows of a series, and what follows each of them.

        x[n, t] = series[n * stride + t],   y[n, a] = series[n * stride + length + a]
        y[n, t] = series[n * stride + t + ahead]    for each place

    Of one series they are views, which take no memory of their own and are not to be written into; but targets of
    several columns are copies. A window never goes from one series to another.

    Args:
        series: (S,) or (S, F) numbers, or a list of several such arrays.
        length: T, places of a window, at least 1.
        ahead: how many places behind a window are its target; with `each_place` how far it lies ahead. At least 1.
        stride: from one window to the next, at least 1.
        columns: which of the F are the target: one, or several; None are all.
        each_place: whether each place of a window has a target of its own.

    Shapes:
        series: (S,) or (S, F), in any real number type, which is kept.
        result: (N, T) or (N, T, F) and (N, ahead) or (N, ahead, F); in the place of `ahead` T for each place. Without
            the last axis where `columns` is one number.

    Raises:
        ArgumentError: an argument breaks its rule.
        DataError: a series is no such array, is too short, or has a number that is not finite.

    Example:
        >>> x, y = windows(np.arange(6), 3, ahead=2)
        >>> x.tolist(), y.tolist()
        ([[0, 1, 2], [1, 2, 3]], [[3, 4], [4, 5]])
    """
    cut = Cut.of(length, ahead, stride, columns, each_place)
    several = _checked(series, cut)
    for place, one in enumerate(several):
        _check_finite(one, place, 0)
    x, y = [cut.inputs(one) for one in several], [cut.targets(one) for one in several]
    return (x[0], y[0]) if len(several) == 1 else (np.concatenate(x), np.concatenate(y))


class WindowGenerator(Generator):
    """Windows of one long series or of several, one call for each, so that `shuffle` permutes them.

    Numbers of a `np.memmap` are read where they lie. A window never goes from one series to another.

    Args:
        series, length, ahead, stride, columns, each_place: as of `windows`.
        **options: of `Generator`.

    Shapes:
        mini-batch: windows and targets as of `windows`.

    Raises:
        ArgumentError: an argument breaks its rule.
        DataError: a series is no such array, or too short; a window has a number that is not finite (when it is made).

    Example:
        >>> for x, y in WindowGenerator([np.arange(4), np.arange(10, 13)], 2, mini_batch_size=2):
        ...     print(x.tolist(), y.tolist())
        [[0, 1], [1, 2]] [[2], [3]]
        [[10, 11]] [[12]]
    """

    def __init__(
        self,
        series: Any,
        length: int,
        ahead: int = 1,
        *,
        stride: int = 1,
        columns: int | Sequence[int] | None = None,
        each_place: bool = False,
        **options: Any,
    ) -> None:
        self._cut = Cut.of(length, ahead, stride, columns, each_place)
        several = _checked(series, self._cut)
        self._ends = np.cumsum([self._cut.count(len(one)) for one in several])
        self._series = [mapped_if_possible(one) for one in several]
        super().__init__(**options)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def get_mini_batches(self, index: int) -> list[Any]:
        """Return one window with its target."""
        place = int(np.searchsorted(self._ends, index, side="right"))
        before = int(self._ends[place - 1]) if place else 0
        first, cut = (index - before) * self._cut.stride, self._cut
        part = np.asarray(self._series[place][first : first + cut.length + cut.ahead])
        _check_finite(part, place, first)
        return [(cut.inputs(part)[0], cut.targets(part)[0])]


def split_in_time(series: Any, share: float = 0.2, *, before: int = 0) -> tuple[Array, Array]:
    """Divide a series into an earlier part, to train on, and a later one, to test on.

    Windows of the two have no target in common. Windows that are drawn at random for the test would be known from
    those beside them.

    Args:
        series: (S, ...) numbers.
        share: of the places that are in the later part, in (0, 1).
        before: places of the earlier part that the later one has too, so that the windows that are made of it have what
            came before its first target: the length of the windows, or 0.

    Shapes:
        result: (S1, ...) and (before + S - S1, ...), views, with S - S1 the nearest whole number to share * S.

    Raises:
        ArgumentError: an argument breaks its rule.
        DataError: series is no array of numbers, or a part would have no place.

    Example:
        >>> earlier, later = split_in_time(np.arange(10), 0.3, before=2)
        >>> earlier.tolist(), later.tolist()
        ([0, 1, 2, 3, 4, 5, 6], [5, 6, 7, 8, 9])
    """
    array = as_array("series", series, REAL)
    part, more = real("share", share, "(0, 1)"), whole("before", before, 0)
    places = len(array) if array.ndim else 0
    end = places - round(part * places)
    if not 0 < end < places:
        raise DataError(f"series must have places for both parts, got shape {array.shape} and share={share!r}")
    require(more <= end, "before", f"be at most {end}, the places of the earlier part", before)
    return array[:end], array[end - more :]


def _sliding(array: Array, length: int) -> Array:
    return np.moveaxis(np.lib.stride_tricks.sliding_window_view(array, length, axis=0), -1, 1)


def _checked(series: Any, cut: Cut) -> list[Array]:
    """Return series as arrays that have at least one window each."""
    several = isinstance(series, (list, tuple))
    require(not several or len(series) > 0, "series", "be at least one array", series)
    names = [f"series[{place}]" for place in range(len(series))] if several else ["series"]
    found = [as_array(name, one, REAL) for name, one in zip(names, series if several else [series], strict=True)]
    for name, one in zip(names, found, strict=True):
        if one.ndim not in (1, 2):
            raise DataError(f"{name} must be real numbers (S,) or (S, F), got shape {one.shape} of {one.dtype}")
        if one.shape[1:] != found[0].shape[1:] or one.dtype != found[0].dtype:
            rule = f"be of {found[0].dtype} with features {found[0].shape[1:]}, as the first"
            raise DataError(f"{name} must {rule}, got {one.dtype} and {one.shape[1:]}")
        if cut.count(len(one)) < 1:
            least = cut.length + cut.ahead
            raise DataError(f"{name} must have at least length + ahead = {least} places, got {len(one)}")
    _check_columns(cut.columns, found[0])
    return found


def _check_columns(columns: int | tuple[int, ...] | None, series: Array) -> None:
    if columns is not None:
        features = series.shape[1] if series.ndim == 2 else 0
        largest = columns if isinstance(columns, int) else max(columns)
        rule = f"be below {features}, the features of series" if features else "be None for series without features"
        require(largest < features, "columns", rule, columns)


def _check_finite(series: Array, place: int, first: int) -> None:
    if series.dtype.kind == "f":
        finite = np.isfinite(series)
        if not finite.all():
            where = np.argwhere(~finite)[0].tolist()
            wrong = series[tuple(where)]
            where[0] += first
            raise DataError(f"series must be finite numbers, got {wrong} in series {place} at {where}")
