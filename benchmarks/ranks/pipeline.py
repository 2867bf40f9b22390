"""Time a pipeline of two ranks beside one process that does the same micro-batches, one thread each; print a table.

    python benchmarks/ranks/pipeline.py [--turns 5] [--width 1024] [--layers 8] [--micro-batches 16] [--samples 64]

Every candidate is a process of its own, or two, and all train in turns. A figure is the median of a turn's mini-batches
but the first three, and then of the turns; the ratio is the median of the turns' ratios.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np

from gedanken import Callback, Cpu, FullyConnectedLayer, Network, Pipeline, TanH

STEPS, LEFT_OUT = 12, 3
CANDIDATES = {  # name: (ranks, schedule; "" is a fit without parallel=)
    "one process": (1, "1f1b"),
    "two ranks, 1f1b": (2, "1f1b"),
    "two ranks, gpipe": (2, "gpipe"),
    "one process, whole mini-batches": (1, ""),
}


class Clock(Callback):
    """Notes when each mini-batch is done."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step(self, run: Any, record: Any) -> None:
        self.times.append(time.perf_counter())


def train(args: argparse.Namespace) -> None:
    """Train, and print the seconds of a mini-batch."""
    size = args.samples * args.micro_batches
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((STEPS * size, args.width), np.float32) for _ in range(2))
    net = Network(seed=1).input((args.width,))
    for _ in range(args.layers):
        net.add(FullyConnectedLayer(args.width)).add(TanH())
    net.regression("sgd", cost="mean_squared", engine=Cpu(threads=1))
    clock = Clock()
    parallel = Pipeline(micro_batches=args.micro_batches, schedule=args.schedule) if args.schedule else None
    net.fit(x, y, mini_batch_size=size, parallel=parallel, callbacks=[clock], progress=False)
    steps = np.diff(clock.times)[LEFT_OUT:]
    if len(steps):  # rank 0 alone is told of steps
        print(json.dumps(float(np.median(steps))), flush=True)


def timed(args: argparse.Namespace, ranks: int, schedule: str) -> float:
    """Return the seconds of a mini-batch of one candidate."""
    names = ("width", "layers", "micro_batches", "samples")
    words = [word for name in names for word in (f"--{name.replace('_', '-')}", str(getattr(args, name)))]
    command = [sys.executable, "-m", "gedanken", "launch", "-n", str(ranks), __file__, "--schedule", schedule]
    done = subprocess.run([*command, *words, "--train"], capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout))


def main() -> None:
    """Measure, or be a candidate."""
    parser = argparse.ArgumentParser()
    for name, default in (("turns", 5), ("width", 1024), ("layers", 8), ("micro-batches", 16), ("samples", 64)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--schedule", default="1f1b")
    parser.add_argument("--train", action="store_true")
    args = parser.parse_args()
    if args.train:
        train(args)
        return
    found: dict[str, list[float]] = {name: [] for name in CANDIDATES}
    for _ in range(args.turns):
        for name, (ranks, schedule) in CANDIDATES.items():
            found[name].append(timed(args, ranks, schedule))
    first = next(iter(found.values()))
    print("| candidate | ms a mini-batch | times as fast |\n| --- | --- | --- |")
    for name, seconds in found.items():
        ratio = statistics.median(a / b for a, b in zip(first, seconds, strict=True))
        print(f"| {name} | {1000 * statistics.median(seconds):.0f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
