"""Time Gedanken's Generator beside other data loaders and print a table.

    python benchmarks/generator/bench.py [--rows http ...] [--candidates grain ...] [--quick] [--repetitions 3] [--read]
                                         [--seconds 4] [--output runs/generator.md]

Rows are workloads (`workloads.py`), candidates are loaders in one configuration (`candidates.py`). Each works in a
fresh interpreter, one after the other, all of a row in turns, A B C A B C. A figure is the median of the turns:

    mini-batches/s   the slope of their number over the time, for about 4 s from the first one on
    first            from the making of the loader, its modules imported, to the first mini-batch
    CPU              processor time of all processes of the loader between the first and the last mini-batch
    PSS              the most memory of all its processes while it goes on for a second after that
    shutdown         from leaving the loop, in the middle of the work, until the last process is gone

The consumer does nothing with a mini-batch but look at its shape and labels; with --read it sums all bytes. The server
of "http" runs on the same processors. All runs are in the JSON file beside the table.
"""

import argparse
import os
import statistics
from pathlib import Path

import limits
import report
import server
from candidates import ROWS, Candidate, wanted
from report import Result, Row
from runs import PROCESSORS, RunError, log, prepare_driver, run
from single import Job
from workloads import BATCH, Work

LATENCY = 0.020  # of the server
COMPUTING = 0.002  # of an item of "python"


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=list(ROWS), help="all if not given")
    parser.add_argument("--candidates", nargs="*", default=[], help="words of their names, like gedanken or spawn")
    parser.add_argument("--quick", action="store_true", help="the best known configurations, one turn, shorter")
    parser.add_argument("--repetitions", type=int, help="turns, instead of 3, or 1 with --quick")
    parser.add_argument("--seconds", type=float, help="of each run, instead of 4, or 2 with --quick")
    parser.add_argument("--read", action="store_true", help="sum all bytes of each mini-batch")
    parser.add_argument("--output", type=Path, default=Path("runs/generator.md"))
    found = parser.parse_args()
    found.repetitions = found.repetitions or (1 if found.quick else 3)
    found.seconds = found.seconds or (2.0 if found.quick else 4.0)
    return found


def limit(work: Work) -> list[float]:
    """Return a measurement of the mini-batches a second that are possible; of one request in flight for "http"."""
    if work.name == "tiny":
        return []
    if work.name == "frames":
        return [sum(limits.measured(work, PROCESSORS))]
    seconds = limits.measured(work, 1)[0]
    return [(PROCESSORS if work.name == "python" else 1) / (BATCH * seconds)]


def turn(row: Row, candidate: Candidate, work: Work, chosen: argparse.Namespace) -> None:
    """Add a run, or the reason why there is none; a candidate that failed is not asked again."""
    if any(failure.startswith(f"{candidate}: ") for failure in row.failures):
        return
    job = Job(candidate.module, candidate.settings, work, candidate.ordered, chosen.seconds, read=chosen.read)
    try:
        figures = run(job)
    except RunError as error:
        row.failures.append(f"{candidate}: {error}")
        log(f"  LEFT OUT: {row.failures[-1]}")
        return
    result = next((one for one in row.results if one.candidate == candidate), None)
    if result is None:
        result = Result(candidate, [])
        row.results.append(result)
    result.runs.append(figures)
    told = f"{figures['rate']:.3g}/s, first {1000 * figures['first']:.0f} ms"
    log(f"  {candidate}: {told}{', LEFT PROCESSES' if figures['orphans'] else ''}")


def measure(name: str, work: Work, chosen: argparse.Namespace) -> Row:
    """Return the row, all candidates measured in turns."""
    row = Row(name, ROWS[name][0], [], [], [])
    candidates = wanted(name, chosen.candidates, chosen.quick)
    for number in range(chosen.repetitions):
        log(f"{row.title}, turn {number + 1} of {chosen.repetitions} (load {os.getloadavg()[0]:.1f})")
        row.limits.extend(limit(work))
        for candidate in candidates:
            turn(row, candidate, work, chosen)
    if row.limits:
        log(f"  limit {statistics.median(row.limits):.4g}/s")
    return row


def main() -> None:
    """Measure the wanted rows; the table is written after each, so that nothing is lost."""
    chosen = options()
    prepare_driver()
    facts = {"processors": PROCESSORS, "repetitions": chosen.repetitions, "seconds a run": chosen.seconds}
    facts |= {"consumer": "reads all" if chosen.read else "reads nothing", "versions": report.versions()}
    rows: list[Row] = []
    with server.running(LATENCY) as port:
        for name in chosen.rows:
            loops = limits.calibrated(COMPUTING) if name == "python" else 0
            rows.append(measure(name, Work(name, port, loops), chosen))
            report.write(chosen.output, report.markdown(rows, facts), report.data(rows, facts))
    print(chosen.output.read_text())


if __name__ == "__main__":
    main()
