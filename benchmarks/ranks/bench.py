"""Time training over two ranks beside one process, one thread each, and print a table.

    python benchmarks/ranks/bench.py [--rows sum mlp diary hidden downpour downpour-4] [--turns 5] [--output FILE]

Candidates of a row run in turns, each in processes of its own; a figure is the median of the turns, a ratio the median
of the turns' ratios, and the slowest and the fastest turn stand beside it. "hidden" has its ranks on two hosts, which
are namespaces of this machine with 1 Gbit/s between them: it needs root.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
WORKER = str(HERE / "worker.py")
LAUNCH = [sys.executable, "-m", "gedanken", "launch", "--restarts", "0"]


def told(command: list[str], **more: Any) -> Any:
    """Return what a command says in its last line, as JSON."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **more)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def ratio(parts: list[float]) -> str:
    """Return the median of ratios, and the least and the most."""
    return f"{statistics.median(parts):.2f} ({min(parts):.2f} to {max(parts):.2f})"


def milliseconds(seconds: list[float]) -> str:
    return f"{1e3 * statistics.median(seconds):.3g} ms"


def sums(turns: int) -> str:
    found = [told([*LAUNCH, "-n", "2", WORKER, "sum", "4300000"]) for _ in range(turns)]
    ours, raw = ([one[name] for one in found] for name in ("ours", "raw"))
    parts = [a / b for a, b in zip(ours, raw, strict=True)]
    return f"17.2 MB summed | {milliseconds(ours)}, mpi4py {milliseconds(raw)} | x {ratio(parts)} | at most 1.1"


def faster(name: str, batch: int, epochs: int) -> Callable[[int], str]:
    def row(turns: int) -> str:
        alone, both = list[float](), list[float]()
        for _ in range(turns):
            words = [WORKER, name, str(batch), str(epochs)]
            alone.append(told([sys.executable, *words]))
            both.append(told([*LAUNCH, "-n", "2", *words]))
        parts = [a / b for a, b in zip(alone, both, strict=True)]
        figures = f"{milliseconds(alone)} a step, two ranks {milliseconds(both)}"
        return f"{name}, mini-batches of {batch} | {figures} | x {ratio(parts)} | 1.7"

    return row


def hidden(turns: int) -> str:
    sys.path.insert(0, str(HERE.parents[1]))
    from tests.ranks.hosts import missing, two_hosts  # noqa: PLC0415 - only where it is asked for

    if lacking := missing():
        return f"hidden | {lacking} | - | 0.9"
    found = []
    with tempfile.TemporaryDirectory() as folder, two_hosts(Path(folder), "1gbit") as hosts:
        for _ in range(turns):
            command = [*LAUNCH, "--hosts", "first:1,second:1", WORKER, "hidden", "1024", "4"]
            found.append(told(hosts.first(*command), env=hosts.environment))
    parts = [(one["behind"] - one["beside"]) / (one["behind"] - one["best"]) for one in found]
    named = (("no sums", "none"), ("behind the pass", "behind"), ("beside it", "beside"), ("at best", "best"))
    figures = ", ".join(f"{label} {milliseconds([one[name] for one in found])}" for label, name in named)
    return f"hidden at 1 Gbit/s | {figures} | {ratio(parts)} | 0.9"


def downpour(ranks: int) -> Callable[[int], str]:
    def row(turns: int) -> str:
        alone, several = list[dict[str, float]](), list[dict[str, float]]()
        for seed in range(1, turns + 1):
            words = [WORKER, "downpour", str(seed), "5"]
            alone.append(told([sys.executable, *words]))
            several.append(told([*LAUNCH, "-n", str(ranks), *words]))
        parts = [a["speed"] / b["speed"] for a, b in zip(several, alone, strict=True)]
        points = [100 * (a["accuracy"] - b["accuracy"]) for a, b in zip(several, alone, strict=True)]
        speeds = [f"{statistics.median(one['speed'] for one in found):,.0f}" for found in (alone, several)]
        stale = statistics.mean(one["mean_staleness"] for one in several)
        figures = f"{speeds[0]} samples/s, {ranks} ranks {speeds[1]}, {stale:.2f} pushes stale"
        means = [statistics.mean(100 * one["accuracy"] for one in found) for found in (several, alone)]
        learnt = f"accuracy {means[0]:.1f} % for {means[1]:.1f} %, {statistics.mean(points):+.2f} points"
        return f"Downpour, mini-batches of 64 | {figures}; {learnt} | x {ratio(parts)} | 0.5 points"

    return row


ROWS: dict[str, Callable[[int], str]] = {
    "sum": sums,
    "mlp": faster("mlp", 512, 12),
    "diary": faster("diary", 256, 4),
    "hidden": hidden,
    "downpour": downpour(2),
    "downpour-4": downpour(4),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="*", choices=[*ROWS], default=[*ROWS])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path("runs/ranks.md"))
    args = parser.parse_args()
    lines = ["| work | measured | ratio, median of the turns | asked |", "| --- | --- | --- | --- |"]
    for name in args.rows:
        lines.append(f"| {ROWS[name](args.turns)} |")
        print(lines[-1], flush=True)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
