"""The figures as Markdown and as JSON."""

import importlib.metadata
import json
import platform
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from candidates import Candidate
from workloads import BATCH

PACKAGES = ("gedanken", "torch", "grain", "spdl", "numpy", "pillow")
MEASURES = {  # title: (key of a run, factor)
    "mini-batches/s": ("rate", 1),
    "first, ms": ("first", 1000),
    "CPU ms a mini-batch": ("cpu", 1000),
    "PSS, MB": ("memory", 1),
    "shutdown, ms": ("shutdown", 1000),
}
Cells = Sequence[Any]


class Result(NamedTuple):
    """The runs of one candidate."""

    candidate: Candidate
    runs: list[dict[str, Any]]

    def middle(self, key: str) -> float:
        return statistics.median(run[key] for run in self.runs)


class Row(NamedTuple):
    """One workload. The limit is in mini-batches a second, for "http" that of one request in flight."""

    name: str
    title: str
    results: list[Result]
    limits: list[float]
    failures: list[str]

    def limit(self, flight: int) -> float | None:
        if not self.limits or (self.name == "http" and not flight):
            return None
        return statistics.median(self.limits) * (flight if self.name == "http" else 1)

    def best(self, loader: str) -> Result | None:
        """Return the loader's fastest configuration."""
        found = [one for one in self.results if one.candidate.loader == loader]
        return max(found, key=lambda one: one.middle("rate"), default=None)

    def share(self, result: Result) -> str:
        limit = self.limit(result.candidate.flight)
        return f"{result.middle('rate') / limit:.0%}" if limit else ""


def markdown(rows: Sequence[Row], facts: dict[str, Any]) -> str:
    """Return the whole text."""
    parts = [head("Benchmark of data loaders", facts), _best(rows), _limits(rows), "Every candidate:\n", _all(rows)]
    failures = [f"- {row.title}: {failure}" for row in rows for failure in row.failures]
    if failures:
        parts.append("\n".join(["Left out:\n", *failures, ""]))
    return "\n".join(parts)


def head(title: str, facts: dict[str, Any]) -> str:
    """Return the lines that tell where and how this was measured."""
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    told = ", ".join(f"{name} {value}" for name, value in facts.items() if name != "versions")
    lines = [f"# {title}, {time.strftime('%Y-%m-%d %H:%M')}", "", f"{_processor()}; {told}; {versions}.", ""]
    return "\n".join(lines)


def versions() -> dict[str, str]:
    """Return those of the packages that are there, and of Python."""
    found = {"Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return names[0].partition(":")[2].strip() if names else platform.machine()


def _best(rows: Sequence[Row]) -> str:
    """Return the table of each loader's fastest configuration."""
    loaders = list(dict.fromkeys(one.candidate.loader for row in rows for one in row.results))
    loaders.sort(key=lambda name: name.startswith("Gedanken"))
    cells: list[Cells] = [["work", "", *loaders]]
    for row in rows:
        best = [row.best(loader) for loader in loaders]
        cells.append([row.title, "configuration", *(one.candidate.configuration if one else "" for one in best)])
        for title, (key, factor) in MEASURES.items():
            cells.append(["", title, *(number(factor * one.middle(key)) if one else "" for one in best)])
        cells.append(["", "of the limit", *(row.share(one) if one else "" for one in best)])
        if ours := row.best("Gedanken"):
            ratios = (ours.middle("rate") / one.middle("rate") if one else 0 for one in best)
            cells.append(["", "Gedanken is x", *(number(ratio) if ratio else "" for ratio in ratios)])
    return f"The fastest configuration of each, {BATCH} items in a mini-batch:\n\n{lines(cells)}"


def _limits(rows: Sequence[Row]) -> str:
    told = {
        "http": "requests in flight / latency of an item / 128: {0:.4g} mini-batches/s for each in flight",
        "python": "processors / (128 x seconds of an item on one): {0:.3g}",
        "frames": "what two processes copy that do nothing else: {0:.4g}",
    }
    lines = [f"- {row.title}: {told[row.name].format(statistics.median(row.limits))}" for row in rows if row.limits]
    return "\n".join(["Limits, measured in the same turns:\n", *lines, ""]) if lines else ""


def _all(rows: Sequence[Row]) -> str:
    rate, *more = MEASURES
    heading = ["work", "loader", "configuration", rate, "least", "most", "of the limit", *more, "others"]
    cells: list[Cells] = [heading]
    for row in rows:
        for one in row.results:
            rates = [run["rate"] for run in one.runs]
            figures = [number(value) for value in (one.middle("rate"), min(rates), max(rates))]
            rest = [number(factor * one.middle(key)) for key, factor in list(MEASURES.values())[1:]]
            name = one.candidate
            rest.append(f"{one.middle('others'):.1f}")
            cells.append([row.title, name.loader, name.configuration, *figures, row.share(one), *rest])
    return lines(cells) + "\nOthers: processors that other programs kept busy at that time, the server among them.\n"


def number(value: float) -> str:
    """Return three digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def lines(cells: Sequence[Cells]) -> str:
    """Return a table with a heading."""
    written = [f"| {' | '.join(map(str, line))} |" for line in cells]
    written.insert(1, f"|{' --- |' * len(cells[0])}")
    return "\n".join([*written, ""])


def data(rows: Sequence[Row], facts: dict[str, Any]) -> str:
    """Return all figures of all runs as JSON, in seconds and MB."""
    told = []
    for row in rows:
        results = [{**one.candidate._asdict(), "runs": one.runs} for one in row.results]
        told.append(row._asdict() | {"results": results})
    return json.dumps({"facts": facts, "rows": told}, indent=1)


def write(path: Path, text: str, figures: str) -> None:
    """Write the text, and the figures beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.with_suffix(".json").write_text(figures)
