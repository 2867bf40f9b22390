"""Chaos for a while: random Generators, kills, errors, breaks, resumes and hoards; every sample is looked at.

    python tests/data/soak.py --seconds 300 --seed 7

It ends with an error where a sample is wrong, something hangs, or anything is left behind.
"""

import argparse
import contextlib
import faulthandler
import gc
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from gedanken.data.workers.tasks import Permutations
from tests.data.made import Made, cut, gone, numbers_of, pids, right
from tests.data.programs import Program
from tests.data.test_raised import NASTY

HANG = 60.0  # seconds without progress
WAYS: list[dict[str, Any]] = [
    {},
    {"mode": "serial"},
    *({"mode": "threads", "workers": workers} for workers in (1, 3, 9)),
    *({"mode": "processes", "workers": workers} for workers in (1, 2, 4)),
    {"mode": "processes", "workers": 2, "threads": 4},
    {"mode": "processes", "workers": 3, "start_method": "fork"},
    {"mode": "processes", "workers": 2, "start_method": "spawn"},
]
KILLED = """
from tests.data.made import *

if __name__ == "__main__":
    print("begins", flush=True)
    with Made([2] * 10_000, seconds=0.002, mini_batch_size=8, **OPTIONS) as generator:
        while True:
            for mini_batch in generator:
                pass
"""


class Chaos:
    """One random Generator after the other."""

    def __init__(self, seed: int) -> None:
        self.random, self.done = random.Random(seed), Counter()
        self.kept: list[tuple[Any, list[int]]] = []

    def counts(self) -> list[int]:
        """Return samples of each call."""
        calls = self.random.randint(0, 120)
        return self.random.choice(
            [
                [self.random.randint(1, 9)] * calls,
                [self.random.randint(0, 5) for _ in range(calls)],
                [self.random.choice([0, 0, 1, 80]) for _ in range(calls // 3)],
            ]
        )

    def life(self) -> None:
        """Make a Generator, use it for some epochs, and look at all that it gives."""
        counts, way = self.counts(), self.random.choice(WAYS)
        exact = self.random.random() < 0.7
        more = {
            "mini_batch_size": self.random.choice([1, 3, 16, 64]),
            "buffer": self.random.choice([1, 2, 5, "auto"]),
            "drop_last": self.random.random() < 0.3,
            "shuffle": self.random.random() < 0.5,
            "seed": self.random.randint(0, 9),
            "several": self.random.random() < 0.4,
            "seconds": self.random.choice([0, 0, 0, 0.001]),
            "width": self.random.choice([1, 3, 2000]),
            "order": "exact" if exact else "as ready",
        }
        acts = {}
        if counts and self.random.random() < 0.3:
            acts = {
                self.random.randrange(len(counts)): self.random.choice(
                    ["ValueError", "TwoArguments", "StopIteration", *NASTY]
                )
            }
        self.wounded = False  # whether a worker was killed
        generator = Made(counts, acts, **more, **way)
        try:
            for _ in range(self.random.randint(1, 6)):
                self.epoch(generator, exact)
        finally:
            workers = pids(generator) if generator.stats().get("each") else []
            if self.random.random() < 0.5:
                generator.close()
            del generator
            gc.collect()
        assert gone(workers), "workers live on"
        self.done["generators"] += 1

    def epoch(self, generator: Made, exact: bool) -> None:
        """Take an epoch's mini-batches, with whatever happens meanwhile."""
        number, got, leaves = generator.epoch + 1, [], self.random.choice([None, None, 0, 1, 7])
        kills = self.random.random() < 0.2
        try:
            for mini_batch in generator:
                got.append(right(mini_batch))
                self.done["mini-batches"] += 1
                if self.random.random() < 0.05:
                    self.keep(mini_batch, got[-1])
                if kills and self.random.random() < 0.1:
                    self.kill(generator)
                if len(got) - 1 == leaves:
                    self.done["breaks"] += 1
                    if self.random.random() < 0.3:
                        self.resume(generator, got)
                    break
        except Exception as error:
            if not (self.wounded or getattr(error, "__notes__", None)):
                raise
            self.done[type(error).__name__] += 1
            leaves = 0
            generator.acts, self.wounded = {}, False
            generator.close()
        self.compare(generator, number, got, leaves is None, exact)

    def resume(self, generator: Made, got: list[list[int]]) -> None:
        """Go on in the middle, as from a file."""
        state = generator.state_dict()
        if not state["mini_batches"]:
            return  # that was the last one
        generator.load_state_dict(state)
        got += [right(mini_batch) for mini_batch in generator]
        self.done["resumes"] += 1

    def compare(self, generator: Made, number: int, got: list[list[int]], complete: bool, exact: bool) -> None:
        """Compare mini-batches with those of the plain loop."""
        calls = len(generator.counts)
        order = Permutations().of(generator.seed, number, calls).tolist() if generator.shuffle else range(calls)
        samples = numbers_of(generator.counts, order)
        expected = cut(samples, generator.mini_batch_size, generator.drop_last)
        if exact:
            assert got == expected[: len(got)], "wrong samples"
        else:
            found = [sample for mini_batch in got for sample in mini_batch]
            assert len(set(found)) == len(found) and set(found) <= set(samples), "wrong samples"
        assert not complete or len(got) == len(expected), "too few mini-batches"
        self.done["epochs"] += 1

    def kill(self, generator: Made) -> None:
        """Kill some of its workers."""
        workers = pids(generator)
        for process in self.random.sample(workers, self.random.randint(0, len(workers))):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
            self.done["kills"], self.wounded = self.done["kills"] + 1, True

    def keep(self, mini_batch: Any, numbers: list[int]) -> None:
        """Keep a mini-batch, and look at one that was kept long ago."""
        self.kept.append((mini_batch, numbers))
        if len(self.kept) > 200:
            kept, expected = self.kept.pop(self.random.randrange(len(self.kept)))
            assert right(kept) == expected, "a kept mini-batch changed"

    def killed_program(self, folder: Path) -> None:
        """End a program with a signal at any time; nothing of it may be left."""
        number = self.random.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
        way = self.random.choice([way for way in WAYS if way.get("mode", "serial") != "serial"])
        with Program(folder, KILLED.replace("OPTIONS", repr(way))) as program:
            program.wait_for("begins")
            time.sleep(self.random.random() * 0.7)
            program.send(number, group=number == signal.SIGINT)
            program.end(-number, None, range(5))
        self.done["programs"] += 1


def descriptors() -> int:
    """Return how many this process has open."""
    return len(os.listdir("/proc/self/fd"))


def main() -> None:
    """Run until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    chaos, ends = Chaos(given.seed), time.monotonic() + given.seconds
    most = 0
    while time.monotonic() < ends:
        faulthandler.dump_traceback_later(HANG, exit=True)
        chaos.life()
        if chaos.done["generators"] % 20 == 5:
            with tempfile.TemporaryDirectory() as folder:
                chaos.killed_program(Path(folder))
        if chaos.done["generators"] == 40:
            most = descriptors() + 210  # each kept mini-batch may hold one memory
        assert not most or descriptors() <= most, "descriptors grow"
        assert threading.active_count() < 20, threading.enumerate()
    sys.stdout.write(", ".join(f"{name} {count}" for name, count in sorted(chaos.done.items())) + "\n")
    for kept, expected in chaos.kept:
        assert right(kept) == expected, "a kept mini-batch changed"


if __name__ == "__main__":
    main()
