"""`gedanken hogwild`."""

import json
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from gedanken.checks import one_of, require, whole
from gedanken.cli.output import note, show
from gedanken.drawing import load_matplotlib, new_figure, plain_settings, png
from gedanken.experiments import PROBLEMS, WAYS, Problem, Result, measured, svm_of_file
from gedanken.files import check_writable, replace_file
from gedanken.parallel.base import MOST_WORKERS
from gedanken.processors import usable_processors

Measured = list[tuple[Problem, list[Result]]]
COLOURS = ("#3465a4", "#cc5500", "#4e9a06", "#75507b", "#888888")


def run(arguments: Namespace) -> int:
    """Repeat the paper's experiments, and return the exit status."""
    ways = [one_of("--update", way, WAYS) for way in dict.fromkeys(arguments.update or WAYS)]
    workers = _counts(arguments.workers)
    epochs = whole("--epochs", arguments.epochs, at_least=2)
    matplotlib = None
    if arguments.figure != "":
        matplotlib = load_matplotlib("the figure", "--figure ''")
        check_writable(arguments.figure)
    found: Measured = []
    for problem in _problems(arguments):
        note(f"{problem.name}: {problem.about}")
        results = []
        for result in measured(problem, ways, workers, epochs):
            note(f"  {_line(result)}")
            results.append(result)
        found.append((problem, results))
    show(json.dumps(_plain(found), indent=2) if arguments.json else "\n\n".join(_table(*one) for one in found))
    if matplotlib:
        replace_file(arguments.figure, _figure(matplotlib, found))
        note(f"figure saved as {arguments.figure}")
    return 0


def _counts(most: int | None) -> list[int]:
    """Return the numbers of workers: powers of two, and the largest one."""
    count = max(2, usable_processors()) if most is None else whole("--workers", most, at_most=MOST_WORKERS)
    return sorted({*(1 << power for power in range(count.bit_length())), count})


def _problems(arguments: Namespace) -> list[Problem]:
    """Return what was asked for, data included: what cannot be read is told before anything is trained."""
    names = [one_of("PROBLEM", name, PROBLEMS) for name in dict.fromkeys(arguments.problems or PROBLEMS)]
    if arguments.data:
        require("svm" in names, "--data", "go with the problem svm", arguments.data)
    problems = []
    for name in names:
        make, enough = PROBLEMS[name]
        if name == "svm" and arguments.data:
            problems += [svm_of_file(path) for path in dict.fromkeys(arguments.data)]
        else:
            problems.append(make(enough if arguments.samples is None else whole("--samples", arguments.samples, 100)))
    return problems


def _line(result: Result) -> str:
    workers = f"{result.workers} worker{'s' if result.workers > 1 else ''}"
    return f"{result.way}, {workers}: {result.rate:,.0f} samples/s, cost {result.cost:.4g}"


def _speedup(result: Result, results: Sequence[Result]) -> float:
    """Return how many times as fast it was as one worker of the first way."""
    return result.rate / results[0].rate


def _table(problem: Problem, results: Sequence[Result]) -> str:
    """Return a line for each way: samples a second, times the first one's, and cost for each number of workers."""
    counts = sorted({result.workers for result in results})
    head = ["", *(f"{n} worker{'s' if n > 1 else ''}" for n in counts), *(f"cost with {n}" for n in counts)]
    rows = [head]
    for way in dict.fromkeys(result.way for result in results):
        mine = [result for result in results if result.way == way]
        speeds = [f"{result.rate:,.0f}/s x {_speedup(result, results):.2f}" for result in mine]
        rows.append([way, *speeds, *(f"{result.cost:.4g}" for result in mine)])
    wide = [max(len(row[place]) for row in rows) for place in range(len(head))]
    lines = [
        "  ".join(
            f"{cell:>{width}}" if place else f"{cell:<{width}}"
            for place, (cell, width) in enumerate(zip(row, wide, strict=True))
        )
        for row in rows
    ]
    return "\n".join([f"{problem.name}: {problem.about}", *(line.rstrip() for line in lines)])


def _plain(found: Measured) -> list[dict[str, Any]]:
    return [
        {"problem": problem.name, "about": problem.about, "results": [result._asdict() for result in results]}
        for problem, results in found
    ]


def _figure(matplotlib: Any, found: Measured) -> bytes:
    """Return a picture of the speed-up over the number of workers, with one panel for each problem."""
    with plain_settings(matplotlib):
        figure = new_figure(figsize=(4.2 * len(found), 3.8), layout="constrained")
        for axes, (problem, results) in zip(figure.subplots(1, len(found), squeeze=False)[0], found, strict=True):
            most = max(result.workers for result in results)
            axes.plot([1, most], [1, most], color="#bbbbbb", linestyle="--", linewidth=1, label="ideal")
            for way, colour in zip(WAYS, COLOURS, strict=True):
                mine = [result for result in results if result.way == way]
                if mine:
                    speeds = [_speedup(result, results) for result in mine]
                    axes.plot([result.workers for result in mine], speeds, "o-", color=colour, markersize=4, label=way)
            axes.set_title(problem.name)
            axes.set_xlabel("workers")
            axes.set_ylabel("times as fast as one")
            axes.set_ylim(bottom=0)
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(alpha=0.3)
        figure.axes[0].legend(fontsize="small")
    return png(matplotlib, figure)
