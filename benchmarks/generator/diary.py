"""The diary's own comparison: 1000 mini-batches with 1, 2, 3 workers, and then with more until the machine is full.

    python benchmarks/generator/diary.py [--mini-batches 1000] [--repetitions 1] [--output runs/generator-diary.md]

An item is the diary's: a request over HTTP, for which a server makes wait, and the decoding of a picture. The server
waits 2 ms, ten times less than in `bench.py`, or the plain loop would take most of an hour. Each line is a fresh
interpreter. "Start" is the time to the first mini-batch, "total" that to the last one, both from the making of the
loader. Gedanken's workers are calls in work at a time: up to 3 they are processes, from 4 on two processes with so
many threads. They are doubled until that gains less than 5 %.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import report
import server
from candidates import Candidate, diary, gedanken, plain
from runs import PROCESSORS, RunError, log, prepare_driver, run
from single import Job
from workloads import BATCH, Work

LATENCY = 0.002
MORE = (4, 8, 16, 32, 64)
GAIN = 1.05
PATIENCE = 2.0  # seconds for a mini-batch: more than the plain loop needs

Measured = tuple[Candidate, list[dict[str, Any]]]


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mini-batches", type=int, default=1000)
    parser.add_argument("--repetitions", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("runs/generator-diary.md"))
    return parser.parse_args()


def ours(workers: int) -> Candidate:
    """Return Gedanken with so many calls in work."""
    processes = workers if workers <= 3 else PROCESSORS
    return gedanken("processes", processes, workers // processes)


def timed(candidate: Candidate, work: Work, chosen: argparse.Namespace) -> Measured | None:
    """Return the candidate's runs."""
    limit = round(60 + PATIENCE * chosen.mini_batches)
    job = Job(candidate.module, candidate.settings, work, candidate.ordered, batches=chosen.mini_batches, limit=limit)
    try:
        runs = [run(job) for _ in range(chosen.repetitions)]
    except RunError as error:
        log(f"  LEFT OUT: {candidate}: {error}")
        return None
    log(f"  {candidate}: first {runs[0]['first']:.2f} s, total {runs[0]['total']:.1f} s")
    return candidate, runs


def middle(measured: Measured, key: str) -> float:
    return statistics.median(run[key] for run in measured[1])


def measure(work: Work, chosen: argparse.Namespace) -> list[Measured]:
    """Return all runs; the last one of Gedanken is the first that gained little."""
    fixed = [plain(), *(diary(workers) for workers in (1, 2, 3)), *(ours(workers) for workers in (1, 2, 3))]
    found = [timed(candidate, work, chosen) for candidate in fixed]
    for workers in MORE:
        before = found[-1]
        found.append(timed(ours(workers), work, chosen) if before else None)
        if not found[-1] or middle(before, "total") / middle(found[-1], "total") < GAIN:
            break
    return [one for one in found if one]


def table(found: list[Measured], chosen: argparse.Namespace) -> str:
    """Return the comparison."""
    heading = ["loader", "configuration", "in work", "start, s", "total, s", "mini-batches/s", "x plain", "processors"]
    cells = [heading]
    slowest = middle(found[0], "total")
    for one in found:
        name, total = one[0], middle(one, "total")
        busy = middle(one, "cpu") * chosen.mini_batches / total
        figures = [middle(one, "first"), total, chosen.mini_batches / total, slowest / total, busy]
        cells.append([name.loader, name.configuration, str(name.flight), *map(report.number, figures)])
    return report.lines(cells)


def main() -> None:
    """Measure, write, print."""
    chosen = options()
    prepare_driver()
    with server.running(LATENCY) as port:
        found = measure(Work("http", port), chosen)
    facts = {"processors": PROCESSORS, "repetitions": chosen.repetitions, "ms of waiting": 1000 * LATENCY}
    facts |= {"mini-batches": f"{chosen.mini_batches} of {BATCH}", "versions": report.versions()}
    told = "The server takes what is left of the processors; those in the table are the loader's.\n"
    text = "\n".join([report.head("The diary's comparison", facts), told, table(found, chosen)])
    figures = [{**candidate._asdict(), "runs": runs} for candidate, runs in found]
    report.write(chosen.output, text, json.dumps({"facts": facts, "results": figures}, indent=1))
    print(text)


if __name__ == "__main__":
    main()
