"""Whether all processors are there. Those of a virtual machine are at times halves of one core of its host's.

    python benchmarks/hogwild/machine.py

prints how many times as long a product of matrices takes where every processor computes one as where one does alone.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LONGER = 1.25  # times as long is not worth waiting for better
PATIENCE, TRIES = 60.0, 5  # seconds; turns that are tried until one begins and ends undisturbed


class Machine:
    """What is measured on.

    Attributes:
        disturbed: turns that count although not all processors were there: it did not come better.
    """

    def __init__(self) -> None:
        self.disturbed = 0
        self._hopeful = True  # some machines always have fewer cores than processors

    def whole(self) -> bool:
        """Return whether all processors at once are about as fast as one alone."""
        command, alone = [sys.executable, str(Path(__file__))], {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        return float(subprocess.run(command, env=alone, capture_output=True, check=True).stdout) < LONGER

    def undisturbed(self, turn: Callable[[], None], undo: Callable[[], None]) -> None:
        """Take a turn while all processors are there; one that was disturbed is undone and tried again."""
        for left in reversed(range(TRIES)):
            self._wait()
            turn()
            sound = self.whole()
            if sound or not left or not self._hopeful:
                self.disturbed += not sound
                return
            undo()

    def _wait(self) -> None:
        until = time.monotonic() + PATIENCE
        while self._hopeful and not self.whole():
            self._hopeful = time.monotonic() < until
            time.sleep(1.0)


def slowed() -> float:
    """Return how many times as long all processors take as one alone; BLAS has one thread."""
    import numpy as np  # noqa: PLC0415

    matrix, count = np.ones((512, 512), np.float32), len(os.sched_getaffinity(0))

    def seconds(_: int) -> float:
        began = time.perf_counter()
        for _ in range(8):
            matrix @ matrix
        return time.perf_counter() - began

    alone = min(seconds(0) for _ in range(4))
    with ThreadPoolExecutor(count) as pool:
        return sorted(max(pool.map(seconds, range(count))) for _ in range(5))[2] / alone


if __name__ == "__main__":
    sys.stdout.write(f"{slowed():.2f}\n")
