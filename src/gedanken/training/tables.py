"""Figures that are arrays as text, with the names of the classes: matrices, reports, a number for each class."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gedanken.checks import printable, short
from gedanken.metrics import ConfusionMatrix, Metric
from gedanken.metrics.heads import judging
from gedanken.metrics.report import Report
from gedanken.texts import count_text, cut, figure_text, in_columns, width
from gedanken.types import Array

MOST = 20  # classes: a wider table is no help
MOST_ROWS = 103  # of a report
LONGEST = 16  # columns of a name
OF_A_LABEL = ("no as no", "no as yes", "yes as no", "yes as yes")


def table_lines(metrics: Sequence[Metric], figures: Mapping[str, Any], names: Sequence[str] | None) -> list[str]:
    """Return the arrays among the figures as lines.

    A matrix of classes has a row for each true class and a column for each predicted one; that of labels a row for each
    label. Arrays of one axis and one length are the columns of one table. Classes are called by their `names`, where
    there are as many, or by their numbers.
    """
    lines, rows = list[str](), dict[int, dict[str, Array]]()
    for metric in metrics:
        array = figures.get(metric.name)
        if isinstance(array, Report):
            lines += _report(metric.name, array, names)
        elif isinstance(array, np.ndarray):
            if isinstance(judging(metric), ConfusionMatrix) and array.ndim in (2, 3):
                lines += _table(metric.name, array, names)
            elif array.ndim == 1:
                rows.setdefault(len(array), {})[metric.name] = array
            else:
                lines.append(f"{metric.name} of {' x '.join(map(str, array.shape))}")
    return [*(line for columns in rows.values() for line in _columns(columns, names)), *lines]


def _columns(arrays: Mapping[str, Array], names: Sequence[str] | None) -> list[str]:
    """Return arrays of one length as the columns of a table."""
    count = len(next(iter(arrays.values())))
    if not 0 < count <= MOST_ROWS:
        return [f"{name} of {count} numbers" for name in arrays]
    cells = zip(*([_cell(value) for value in array.tolist()] for array in arrays.values()), strict=True)
    rows = ([head, *row] for head, row in zip(_heads(count, names), cells, strict=True))
    return in_columns([["", *map(printable, arrays)], *rows])


def _heads(count: int, names: Sequence[str] | None) -> list[str]:
    """Return what so many classes are called."""
    called = names if names is not None and len(names) == count else range(count)
    return [_short(printable(str(name))) for name in called]


def _cell(value: object) -> str:
    return figure_text(value) if isinstance(value, float) else printable(short(value))


def _report(title: str, report: Report, names: Sequence[str] | None) -> list[str]:
    if len(report) > MOST_ROWS:
        return [f"{title} of {len(report)} rows"]
    return [title, *report.lines(None if names is None else [_short(printable(str(name))) for name in names])]


def _table(title: str, matrix: Array, names: Sequence[str] | None) -> list[str]:
    count, rows = len(matrix), matrix.reshape(len(matrix), -1)
    if count > MOST:
        return [f"{title} of {count} x {rows.shape[1]}"]
    heads = _heads(count, names)
    columns = OF_A_LABEL if matrix.ndim == 3 else heads
    told = "labels, the true answer as the predicted one" if matrix.ndim == 3 else "true classes; columns: predicted"
    cells = [columns, *([count_text(value) for value in row] for row in rows.tolist())]
    lines = [[head, *line] for head, line in zip(["", *heads], cells, strict=True)]
    return [f"{title} (rows: {told})", *in_columns(lines)]


def _short(name: str) -> str:
    return name if width(name) <= LONGEST else f"{cut(name, LONGEST - 3)}..."
