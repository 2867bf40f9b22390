"""Texts in columns, of characters that may be two columns wide."""

import math
import unicodedata
from collections.abc import Sequence

ROUNDING = 1e-6  # of a sum of weights, which come as float32
BETWEEN = "  "  # stands between the parts of a line


def width(text: str) -> int:
    """Return the columns that a text takes on a terminal: two for a wide character, none for a combining one."""
    if text.isascii():
        return len(text)
    return sum(_columns_of(one) for one in text)


def _columns_of(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, columns: int) -> str:
    """Return the beginning of a text that fits into so many columns."""
    while width(text) > max(columns, 0):
        text = text[:-1]
    return text


def figure_text(value: float) -> str:
    """Return a cost or a metric as text: 0.9896, 12.35."""
    return f"{value:.4f}" if 0.001 <= abs(value) <= 1 or value == 0 else f"{value:.4g}"


def count_text(value: float) -> str:
    """Return a number of entries, or what they weigh, as text: whole numbers whole, whatever rounding weights left."""
    whole = round(value) if math.isfinite(value) else value
    return f"{value:.0f}" if abs(value - whole) <= ROUNDING * abs(value) or abs(value) >= 1000 else f"{value:.4g}"


def in_columns(lines: Sequence[Sequence[str]]) -> list[str]:
    """Return lines of parts as texts: the first part of each to the left, the others to the right of their columns."""
    widths = [max(map(width, column)) for column in zip(*lines, strict=True)]
    texts = []
    for head, *parts in lines:
        fills = [" " * (space - width(part)) for part, space in zip((head, *parts), widths, strict=True)]
        texts.append(
            BETWEEN.join([head + fills[0], *(fill + part for fill, part in zip(fills[1:], parts, strict=True))])
        )
    return texts
