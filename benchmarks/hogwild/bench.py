"""Time training without locks beside the serial training and PyTorch's Hogwild, and print a table.

    python benchmarks/hogwild/bench.py [--rows mlp diary workers] [--quick] [--output runs/hogwild.md]

Every candidate is a process of its own, and all of a row train in turns, A B C A B C. A figure is the median of the
turns; ratios are medians of the turns' ratios. Samples per second are those after the first epoch, start-up left out.
The slowest and the fastest turn stand beside it: a virtual machine's processors are not always there.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from tasks import Task, processors

HERE = Path(__file__).parent
SPARSE, MARGIN = Task("logistic", "rcv1", 150_000, 1), Task("hinge", "rcv1", 150_000, 1)
FACTORS = Task("factors", "ratings", 6_000_000, 1)
MLP, DIARY = Task("mlp", "fashion", 60_000, 64), Task("diary", "mnist", 6_000, 128)
PROCESSES, PLAIN = "processes racy", "plain 1"
# Name: what is trained, the candidates, and how many turns there are.
ROWS: dict[str, tuple[Task, list[tuple[str, str]], int]] = {
    "mlp": (
        MLP,
        [
            ("gedanken", f"1 {PROCESSES}"),
            ("gedanken", f"2 {PROCESSES}"),
            ("gedanken", "2 threads racy"),
            ("gedanken", "2 processes atomic"),
            ("gedanken", "2 processes locked"),
            ("gedanken", PLAIN),
            ("gedanken", "plain 2"),
            ("torch", "1"),
            ("torch", "2"),
        ],
        5,
    ),
    "diary": (
        DIARY,
        [("gedanken", f"1 {PROCESSES}"), ("gedanken", f"2 {PROCESSES}"), ("gedanken", PLAIN), ("gedanken", "plain 2")],
        3,
    ),
    "diary-whole": (
        DIARY._replace(samples=60_000),
        [("gedanken", f"1 {PROCESSES}"), ("gedanken", f"2 {PROCESSES}")],
        1,
    ),
    **{
        name: (
            task,
            [
                *(("gedanken", kind) for kind in (f"1 {PROCESSES}", f"2 {PROCESSES}", "2 threads racy")),
                *(("gedanken", f"2 processes {update}") for update in ("atomic", "locked")),
                *(("gedanken", kind) for kind in (PLAIN, "plain 2")),
                ("sklearn", "one"),
            ],
            5,
        )
        for name, task in (("sparse", SPARSE), ("sparse-hinge", MARGIN))
    },
    "factors": (
        FACTORS,
        [
            *(("gedanken", kind) for kind in (f"1 {PROCESSES}", f"2 {PROCESSES}", "2 threads racy")),
            *(("gedanken", f"2 processes {update}") for update in ("atomic", "locked")),
            ("gedanken", PLAIN),
        ],
        3,
    ),
    "straggler": (
        MLP,
        [("gedanken", f"{kind}") for kind in (f"1 {PROCESSES}", f"2 {PROCESSES} dynamic", f"2 {PROCESSES} static")],
        3,
    ),
    "workers": (MLP, [("gedanken", f"{n} {PROCESSES}") for n in (1, 2, 4, 8, 16, 32)], 3),
}


class Candidate:
    """A process that trains when it is asked."""

    def __init__(self, peer: str, configuration: str, task: Task) -> None:
        self.name, self.found = f"{peer} {configuration}", list[dict[str, Any]]()
        command = [sys.executable, str(HERE / "worker.py"), peer, configuration, *map(str, task[:4])]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)
        self._read()

    def _read(self) -> Any:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended with status {self.process.wait()}")
        return json.loads(line)

    def turn(self) -> None:
        """Train once."""
        assert self.process.stdin
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        self.found.append(self._read())

    def end(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()

    def median(self, name: str) -> float | None:
        values = [found[name] for found in self.found if found.get(name) is not None]
        return statistics.median(values) if values else None


def measured(name: str, quick: bool) -> str:
    """Return one row's table."""
    task, names, turns = ROWS[name]
    most = processors()
    chosen = [one for one in names if name != "workers" or int(one[1].split()[0]) <= max(8, most)]
    candidates = [Candidate(*one, task) for one in chosen]
    try:
        for _ in range(2 if quick else turns):
            for candidate in candidates:
                candidate.turn()
    finally:
        for candidate in candidates:
            candidate.end()
    base = [found["rate"] for found in candidates[0].found]
    title = f"{task.network} on {task.data}, {task.samples:,} samples, mini-batches of {task.batch}"
    lines = [
        f"### {title}",
        "",
        "| candidate | samples/s | x one worker | slowest, fastest turn | accuracy | cost | start | staleness | lost |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in candidates:
        ratio = statistics.median(found["rate"] / first for found, first in zip(one.found, base, strict=True))
        rates = [found["rate"] for found in one.found]
        cells = [
            one.name,
            f"{one.median('rate'):,.0f}",
            f"{ratio:.2f}",
            f"{min(rates):,.0f}, {max(rates):,.0f}",
            _shown(one.median("accuracy"), ".4f"),
            _shown(one.median("cost"), ".4f"),
            *(_shown(one.median(figure), form) for figure, form in (("start", ".2f"), ("mean_staleness", ".2f"))),
            _shown(one.median("lost"), ".1e"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def main() -> None:
    """Measure the wanted rows; the tables are written after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = [name for name in ROWS if name != "diary-whole"]  # which takes minutes, for the sake of one accuracy
    parser.add_argument("--rows", nargs="*", default=usual, choices=list(ROWS), help="all but diary-whole")
    parser.add_argument("--quick", action="store_true", help="two turns")
    parser.add_argument("--output", type=Path, default=Path("runs/hogwild.md"))
    chosen = parser.parse_args()
    tables = []
    for name in chosen.rows:
        tables.append(measured(name, chosen.quick))
        sys.stderr.write(tables[-1] + "\n")
        chosen.output.parent.mkdir(parents=True, exist_ok=True)
        chosen.output.write_text("\n".join(tables))


if __name__ == "__main__":
    main()
