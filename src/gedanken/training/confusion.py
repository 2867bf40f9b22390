"""Confusion matrices and reports of classes as text, with the names of the classes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gedanken.checks import printable
from gedanken.metrics import ConfusionMatrix, Metric
from gedanken.metrics.heads import judging
from gedanken.metrics.report import Report
from gedanken.texts import cut, in_columns, width
from gedanken.types import Array

MOST = 20  # classes: a wider table is no help
MOST_ROWS = 103  # of a report
LONGEST = 16  # columns of a name
OF_A_LABEL = ("no as no", "no as yes", "yes as no", "yes as yes")


def confusion_lines(metrics: Sequence[Metric], figures: Mapping[str, Any], names: Sequence[str] | None) -> list[str]:
    """Return the confusion matrices, and reports of classes, among the figures as lines.

    A matrix of classes has a row for each true class and a column for each predicted one; that of labels a row for each
    label. They are called by their `names`, where there are as many, or by their numbers.
    """
    lines: list[str] = []
    for metric in metrics:
        matrix = figures.get(metric.name)
        if isinstance(judging(metric), ConfusionMatrix) and isinstance(matrix, np.ndarray) and matrix.ndim in (2, 3):
            lines += _table(metric.name, matrix, names)
        if isinstance(matrix, Report):
            lines += _report(metric.name, matrix, names)
    return lines


def _report(title: str, report: Report, names: Sequence[str] | None) -> list[str]:
    if len(report) > MOST_ROWS:
        return [f"{title} of {len(report)} rows"]
    return [title, *report.lines(None if names is None else [_short(printable(str(name))) for name in names])]


def _table(title: str, matrix: Array, names: Sequence[str] | None) -> list[str]:
    count, rows = len(matrix), matrix.reshape(len(matrix), -1)
    if count > MOST:
        return [f"{title} of {count} x {rows.shape[1]}"]
    called = names if names is not None and len(names) == count else range(count)
    heads = [_short(printable(str(name))) for name in called]
    columns = OF_A_LABEL if matrix.ndim == 3 else heads
    told = "labels, the true answer as the predicted one" if matrix.ndim == 3 else "true classes; columns: predicted"
    cells = [columns, *([_count(value) for value in row] for row in rows.tolist())]
    lines = [[head, *line] for head, line in zip(["", *heads], cells, strict=True)]
    return [f"{title} (rows: {told})", *in_columns(lines)]


def _count(value: float) -> str:
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.4g}"


def _short(name: str) -> str:
    return name if width(name) <= LONGEST else f"{cut(name, LONGEST - 3)}..."
