"""Confusion matrices as text, with the names of the classes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gedanken.checks import printable
from gedanken.metrics import ConfusionMatrix, Metric
from gedanken.training.display import BETWEEN, cut, width
from gedanken.types import Array

MOST = 20  # classes: a wider table is no help
LONGEST = 16  # columns of a name
OF_A_LABEL = ("no as no", "no as yes", "yes as no", "yes as yes")


def confusion_lines(metrics: Sequence[Metric], figures: Mapping[str, Any], names: Sequence[str] | None) -> list[str]:
    """Return the confusion matrices among the figures as lines.

    A matrix of classes has a row for each true class and a column for each predicted one; that of labels a row for each
    label. They are called by their `names`, where there are as many, or by their numbers.
    """
    lines: list[str] = []
    for metric in metrics:
        matrix = figures.get(metric.name)
        if isinstance(metric, ConfusionMatrix) and isinstance(matrix, np.ndarray) and matrix.ndim in (2, 3):
            lines += _table(metric.name, matrix, names)
    return lines


def _table(title: str, matrix: Array, names: Sequence[str] | None) -> list[str]:
    count, rows = len(matrix), matrix.reshape(len(matrix), -1)
    if count > MOST:
        return [f"{title} of {count} x {rows.shape[1]}"]
    called = names if names is not None and len(names) == count else range(count)
    heads = [_short(printable(str(name))) for name in called]
    columns = OF_A_LABEL if matrix.ndim == 3 else heads
    told = "labels, the true answer as the predicted one" if matrix.ndim == 3 else "true classes; columns: predicted"
    cells = [columns, *([f"{value:.0f}" for value in row] for row in rows.tolist())]
    widths = [max(width(line[place]) for line in cells) for place in range(len(columns))]
    first = max(map(width, heads))
    lines = [f"{title} (rows: {told})"]
    for head, line in zip(["", *heads], cells, strict=True):
        texts = [" " * (space - width(text)) + text for text, space in zip(line, widths, strict=True)]
        lines.append(BETWEEN.join([head + " " * (first - width(head)), *texts]))
    return lines


def _short(name: str) -> str:
    return name if width(name) <= LONGEST else f"{cut(name, LONGEST - 3)}..."
