"""Time Gedanken beside its peers and print a table.

    python benchmarks/bench.py [--rows diary mlp ...] [--quick] [--compile none|some|all] [--beside CHECKOUT]
        [--output runs/bench.md]

Every candidate (a peer in one configuration) works in a process of its own; all of a row are started first, must agree
on the losses of a few steps from the same weights, and are then asked in turns, A B C A B C. A figure is the median of
the turns. NumPy's product of two large matrices is asked in the same turns: its rate gives the arithmetic limit.
"""

import argparse
import contextlib
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from bench_table import Measured, Row, report
from candidates import COMPILED, LIMIT, ROWS, Candidate, CandidateError, Single, candidates_of
from networks import Task

THREADS = 2
TURN = 0.4  # seconds of work asked for in one turn, about
TOLERANCE = 1e-3
LEAST = 0.01  # losses below it are compared by their distance: they are the rounding of probabilities near 1
HOPELESS = 3.0  # times slower than another configuration of the same peer


def log(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="*", default=[], help=f"some of {' '.join(ROWS)}; all if not given")
    parser.add_argument("--quick", action="store_true", help="few turns")
    parser.add_argument("--turns", type=int, help="instead of 9, or 3 with --quick")
    parser.add_argument("--compile", choices=("none", "some", "all"), default="some", help="where torch.compile runs")
    parser.add_argument("--beside", type=Path, help="compare with Gedanken in another checkout alone, not with peers")
    parser.add_argument("--output", type=Path, default=Path("runs/bench.md"))
    found = parser.parse_args()
    found.turns = found.turns or (3 if found.quick else 9)
    if unknown := set(found.rows) - set(ROWS):
        parser.error(f"no rows {sorted(unknown)}; there are {' '.join(ROWS)}")
    if found.beside and not (found.beside / "src" / "gedanken").is_dir():
        parser.error(f"--beside must be a checkout of Gedanken; {found.beside} has no src/gedanken")
    return found


def limit_processors() -> None:
    """Keep this process and all that it starts on so many processors: JAX has no other switch."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BENCH_THREADS")
    os.environ.update(dict.fromkeys(names, str(THREADS)))


def agrees(candidate: Candidate, wanted: Sequence[float]) -> bool:
    """Return whether it computes these losses, Gedanken's; say how far apart they are."""
    losses = candidate.ask("check")
    apart = max(abs(a - b) / max(abs(a), LEAST) for a, b in zip(wanted, losses, strict=True))
    log(f"  {candidate}: losses differ by {apart:.1e}")
    if not apart < TOLERANCE:
        log(f"  LEFT OUT, OTHER LOSSES: {losses} where Gedanken has {wanted}")
    return apart < TOLERANCE


def entrants(names: Sequence[tuple[str, str]], task: Task, stack: contextlib.ExitStack) -> list[Candidate]:
    """Return candidates that agree and are warm; those that cannot be their peer's best have only their warm-up."""
    wanted: list[float] = []
    found: list[Candidate] = []
    for peer, configuration in names:
        try:
            candidate = stack.enter_context(Candidate(peer, configuration, task))
            if not wanted:
                wanted = candidate.ask("check")
            elif not agrees(candidate, wanted):
                candidate.close()
                continue
            candidate.warm_up(TURN)
        except CandidateError as error:
            if not found:
                raise
            log(f"  LEFT OUT: {error}; BENCH_VERBOSE=1 shows why")
            continue
        found.append(candidate)
        _drop_hopeless(found)
    return found


def _drop_hopeless(found: Sequence[Candidate]) -> None:
    """End the processes that were far slower than another configuration of the last one's peer."""
    peers = [one for one in found if one.peer == found[-1].peer]
    best = min(one.fastest for one in peers)
    for one in peers:
        if one.running and one.fastest > HOPELESS * best:
            log(f"  {one}: {one.fastest:.3g} s in the warm-up, where {best:.3g} s is possible; not asked again")
            one.close()


def in_turns(candidates: Sequence[Candidate], turns: int) -> list[list[float]]:
    """Return each candidate's seconds, a median for each turn."""
    rounds = [[candidate.turn() for candidate in candidates] for _ in range(turns)]
    return [list(column) for column in zip(*rounds, strict=True)]


def measure_times(title: str, task: Task, names: Sequence[tuple[str, str]], turns: int) -> Row:
    """Return the row of one task, after all its candidates agreed."""
    with contextlib.ExitStack() as stack:
        every = entrants(names, task, stack)
        candidates = [one for one in every if one.running]
        limit = stack.enter_context(Candidate(*LIMIT, Task("none", "sgemm", 0)))
        limit.warm_up(TURN)
        *columns, products = in_turns([*candidates, limit], turns)
        rate = limit.ask("facts")["products"] / statistics.median(products)
        facts = [candidate.ask("facts") for candidate in candidates]
        arithmetic = _arithmetic(task, facts[0])
        rows = [Measured(c.peer, c.configuration, column) for c, column in zip(candidates, columns, strict=True)]
        rows += [Measured(c.peer, f"{c.configuration} (warm-up)", [c.fastest]) for c in every if not c.running]
        versions = [f"{c.peer} {fact['version']}" for c, fact in zip(candidates, facts, strict=True)]
    return Row(title, "ms", rows, arithmetic / rate, rate, versions)


def _arithmetic(task: Task, facts: dict[str, int]) -> float:
    """Return the operations of a run: forward, both gradients, less the first layer's by its input."""
    count = facts["forward"] if task.kind == "predict" else 3 * facts["forward"] - facts["first"]
    return 2.0 * count * (60_000 if task.kind == "epoch" else task.batch)


def measure_memory(title: str, task: Task, names: Sequence[tuple[str, str]]) -> Row:
    """Return the peak of the resident memory after five steps, each candidate in a fresh process."""
    rows = []
    for name in names:
        with Candidate(*name, task) as candidate:
            candidate.ask("all 5")
            rows.append(Measured(*name, [candidate.ask("memory")]))
    return Row(title, "MB", rows)


def measure_whole(title: str, task: Task, names: Sequence[tuple[str, str]], turns: int) -> Row:
    """Return the wall time of whole processes, in turns; a first one of each is not counted."""
    whole = [Single(*name, task) for name in names]
    for one in whole:
        one.turn()
    rounds = [[one.turn() for one in whole] for _ in range(turns)]
    columns = zip(*rounds, strict=True)
    return Row(title, "ms", [Measured(*name, list(column)) for name, column in zip(names, columns, strict=True)])


def main() -> None:
    """Measure the wanted rows; the table is written after each, so that nothing is lost."""
    chosen = options()
    limit_processors()
    rows: list[Row] = []
    for name in chosen.rows or ROWS:
        for title, measure, task in ROWS[name]:
            log(f"{title} (load {os.getloadavg()[0]:.1f})")
            compiled = chosen.compile == "all" or (chosen.compile == "some" and task.network in COMPILED)
            names = candidates_of(task, measure, compiled, chosen.beside)
            if measure == "memory":
                rows.append(measure_memory(title, task, names))
            else:
                rows.append({"times": measure_times, "whole": measure_whole}[measure](title, task, names, chosen.turns))
            chosen.output.parent.mkdir(parents=True, exist_ok=True)
            chosen.output.write_text(report(rows, chosen.turns, THREADS))
    sys.stdout.write(chosen.output.read_text())


if __name__ == "__main__":
    main()
