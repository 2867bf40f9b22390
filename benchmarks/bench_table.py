"""The figures of the benchmark as Markdown."""

import platform
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Measured(NamedTuple):
    """What one candidate gave, a value for each turn."""

    peer: str
    configuration: str
    values: list[float]

    @property
    def middle(self) -> float:
        return statistics.median(self.values)


class Row(NamedTuple):
    """One task: its candidates, Gedanken first; the seconds at the arithmetic limit and the rate of that, if any."""

    title: str
    unit: str
    candidates: list[Measured]
    limit: float | None = None
    rate: float | None = None
    versions: Sequence[str] = ()


def report(rows: Sequence[Row], turns: int, threads: int) -> str:
    """Return the whole text."""
    parts = [_head(rows, turns, threads), _best(rows), "Every candidate:\n", _all(rows)]
    return "\n".join(parts)


def _head(rows: Sequence[Row], turns: int, threads: int) -> str:
    versions = dict.fromkeys(version for row in rows for version in row.versions)
    rates = [row.rate / 1e9 for row in rows if row.rate]
    lines = [
        f"# Benchmark of {time.strftime('%Y-%m-%d %H:%M')}",
        "",
        f"{_processor()}, {threads} threads, Python {platform.python_version()}; medians of {turns} turns, float32.",
        ", ".join(versions) + ".",
    ]
    if rates:
        lines.append(f"The limit is NumPy's product of matrices, {min(rates):.0f} to {max(rates):.0f} GFLOP/s.")
    return "\n".join([*lines, ""])


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _best(rows: Sequence[Row]) -> str:
    """Return the table of the best of each peer, with how many times Gedanken's figure it is."""
    peers = list(dict.fromkeys(one.peer for row in rows for one in row.candidates if one.peer != "gedanken"))
    lines = [_line(["work", "unit", "gedanken", "of the limit", *peers]), _line(["---"] * (4 + len(peers)))]
    for row in rows:
        ours = row.candidates[0]
        share = f"{row.limit / ours.middle:.0%}" if row.limit else ""
        cells = [_best_of(row, ours, peer) for peer in peers]
        lines.append(_line([row.title, row.unit, f"**{_number(ours.middle, row.unit)}**", share, *cells]))
    return "\n".join([*lines, ""])


def _best_of(row: Row, ours: Measured, peer: str) -> str:
    found = [one for one in row.candidates if one.peer == peer]
    if not found:
        return ""
    best = min(found, key=lambda one: one.middle)
    return f"{_number(best.middle, row.unit)} {best.configuration}, x {_ratio(best, ours):.2f}"


def _ratio(theirs: Measured, ours: Measured) -> float:
    """Return the median of the turns' ratios: what slowed the machine in a turn slowed both."""
    if len(theirs.values) != len(ours.values):
        return theirs.middle / ours.middle
    return statistics.median(a / b for a, b in zip(theirs.values, ours.values, strict=True))


def _all(rows: Sequence[Row]) -> str:
    lines = [_line(["work", "candidate", "unit", "median", "least", "most", "x gedanken", "of the limit"])]
    lines.append(_line(["---"] * 8))
    for row in rows:
        for one in row.candidates:
            figures = [_number(value, row.unit) for value in (one.middle, min(one.values), max(one.values))]
            share = f"{row.limit / one.middle:.0%}" if row.limit else ""
            ratio = f"{_ratio(one, row.candidates[0]):.2f}"
            lines.append(_line([row.title, f"{one.peer} {one.configuration}", row.unit, *figures, ratio, share]))
    return "\n".join([*lines, ""])


def _number(value: float, unit: str) -> str:
    shown = value * 1000 if unit == "ms" else value
    return f"{shown:.0f}" if shown >= 100 else f"{shown:.3g}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
