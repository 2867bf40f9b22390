"""A process that measures what no loader can exceed; the driver starts as many as there are processors, or one.

    python benchmarks/generator/limits.py SECONDS NAME [PORT LOOPS]

It prints "ready", waits for a line, and prints the mini-batches a second that one process copies ("frames"), or the
median of the seconds that an item takes one after the other.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from workloads import BATCH, FRAME, Work, frame, spin

SECONDS = 2.0


def copied(seconds: float) -> Callable[[], float]:
    """Return what copies the cached frame round and round into warm memory of one mini-batch."""
    memory = np.zeros((BATCH, *FRAME), np.float32)
    memory += 1
    source = frame()

    def run() -> float:
        began, rounds = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            for place in memory:
                np.copyto(place, source)
            rounds += 1
        return rounds / (time.perf_counter() - began)

    return run


def lasting(work: Work, seconds: float) -> Callable[[], float]:
    """Return what makes items, one after the other."""
    for index in range(8):
        work.item(index)

    def run() -> float:
        times = [time.perf_counter()]
        while times[-1] - times[0] < seconds:
            work.item(len(times))
            times.append(time.perf_counter())
        return float(np.median(np.diff(times)))

    return run


def calibrated(seconds: float) -> int:
    """Return how many loops last so long."""
    loops = 20_000
    times = []
    for _ in range(300):  # about half a second: other programs have not disturbed them all
        began = time.perf_counter()
        spin(loops, 0)
        times.append(time.perf_counter() - began)
    return round(loops * seconds / min(times))


def measured(work: Work, processes: int) -> list[float]:
    """Return what so many processes print, which work at the same time."""
    command = [sys.executable, str(Path(__file__)), str(SECONDS), *map(str, work)]
    pipe = subprocess.PIPE
    started = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(processes)]
    try:
        for process in started:
            process.stdout.readline()
        for process in started:
            process.stdin.write("go\n")
            process.stdin.flush()
        return [float(process.stdout.readline()) for process in started]
    finally:
        for process in started:
            process.kill()
            process.communicate()


def main() -> None:
    """Wait for the word, measure."""
    seconds, work = float(sys.argv[1]), Work(sys.argv[2], *map(int, sys.argv[3:]))
    run = copied(seconds) if work.name == "frames" else lasting(work, seconds)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    if sys.stdin.readline():
        sys.stdout.write(f"{run()}\n")


if __name__ == "__main__":
    main()
