"""Precision, recall and F1 of every class in one table."""

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from gedanken.checks import printable
from gedanken.metrics.base import ratio
from gedanken.metrics.labels import ClassMetric
from gedanken.ops import Ops
from gedanken.texts import count_text, in_columns
from gedanken.types import Array

COLUMNS = ("precision", "recall", "f1", "support")
AVERAGES = ("micro", "macro", "weighted")


class Report(np.ndarray[tuple[int, ...], np.dtype[np.float64]]):
    """An array (C + 3, 4) that prints as a table: a row for each class or label, and one for each average.

    Columns are precision, recall, F1 and support, how often the class is the true one.
    """

    def lines(self, names: Sequence[str] | None = None) -> list[str]:
        """Return the table as lines, with classes by their names where there are as many, or else by their numbers."""
        classes = len(self) - len(AVERAGES)
        called = names if names is not None and len(names) == classes else range(classes)
        heads = [*(printable(str(name)) for name in called), *AVERAGES]
        cells = [[*(f"{share:.4f}" for share in row[:3]), count_text(row[3])] for row in self.tolist()]
        return in_columns([["", *COLUMNS], *([head, *row] for head, row in zip(heads, cells, strict=True))])

    def __repr__(self) -> str:
        is_table = self.ndim == 2 and self.shape[1] == len(COLUMNS) and len(self) > len(AVERAGES)
        return "\n".join(self.lines()) if is_table else repr(np.asarray(self))

    __str__ = __repr__


class ClassReport(ClassMetric):
    """Precision, recall, F1 and support of each class or label, and their averages; `evaluate` shows it as a table.

    Arguments are those of `Accuracy`. The averages are those of `Precision`: "micro" is the accuracy where each sample
    has one class, and "macro" is over the classes that occur. The support of an average is that of all classes.

    Shapes:
        y, target: as the module says.   statistics: (4, C), as for `Precision`.
        value: (C + 3, 4), a `Report`; NaN for classes that do not occur.
    """

    better: ClassVar[Literal["higher", "lower"] | None] = None

    def measure(self, ops: Ops, y: Array, target: Array, weight: Array | None = None) -> Array:
        return self._counts(ops, y, target, weight)

    def value(self, total: Array) -> Report:
        hits, true, predicted, _ = total
        tops, bottoms = np.stack([hits, hits, 2 * hits]), np.stack([predicted, true, true + predicted])
        there = (true + predicted != 0) & ~np.isnan(true)
        each = ratio(tops, bottoms, empty=0.0)
        micro = ratio(tops.sum(axis=1), bottoms.sum(axis=1), empty=0.0 if there.any() else math.nan)
        macro, weighted = (ratio(each @ w, np.full(3, w.sum()), empty=math.nan) for w in (1.0 * there, true))
        shares = np.vstack([np.where(there, each, math.nan).T, micro, macro, weighted])
        support = np.append(true, [true.sum()] * len(AVERAGES))
        return np.column_stack([shares, support]).view(Report)
