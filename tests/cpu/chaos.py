"""Interruptions at any line and any instant, calls from handlers and finalizers, forks and ends; results stay right.

    python tests/cpu/chaos.py --seconds 300 --seed 7

Each kind of chaos is a function of a random generator and a number of rounds. It raises where a result is wrong; a
crash or a hang of the process shows in its exit status. `test_chaos.py` runs each for some rounds.
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
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Self

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from gedanken import (
    Adam,
    BatchNorm,
    ConvolutionLayer,
    Dropout,
    Flatten,
    FullyConnectedLayer,
    Layer,
    MaxPoolLayer,
    Network,
    ReLU,
    Residual,
    SoftMax,
)
from gedanken.engine.cpu.compiler import Library, library
from gedanken.engine.cpu.machine import this_machine
from gedanken.types import Array
from tests.cpu.chaos_programs import HANG, SOURCES, ends, forks, starts

RNG = np.random.default_rng(0)
PICTURES, LABELS = RNG.random((48, 2, 9, 9)).astype("float32"), RNG.integers(0, 4, 48)
LARGER = RNG.random((2, 14, 14)).astype("float32")
TRACED = [SOURCES / name for name in ("caches.py", "processes/uncut.py", "training/interrupt.py")]
TRACED += [
    SOURCES / "engine/cpu" / f"{name}.py" for name in ("compiler", "machine", "threads", "program", "run", "update")
]


class Interruption(BaseException):
    """What comes at any instant."""


def network(threads: int = 2, seed: int = 3) -> Network:
    """Return a network whose training takes all that a program has: programs with and without the cost, dropout."""
    net = Network(seed=seed).input((2, 9, 9)).add(ConvolutionLayer(6, 3, 3)).add(BatchNorm()).add(ReLU())
    net.add(MaxPoolLayer(2, 2)).add(Flatten()).add(Dropout(0.8)).add(FullyConnectedLayer(12)).add(ReLU())
    net.add(FullyConnectedLayer(4)).add(SoftMax())
    return net.regression(Adam(0.01, clip_norm=1.0), engine="cpu", threads=threads)


def mixed(seed: int = 3) -> Network:
    """Return a network that runs kernels in several rows, with layers by their specification between them."""
    net = Network(seed=seed).input((2, 9, 9)).add(ConvolutionLayer(5, 3, 3)).add(OfOnesOwn()).add(ReLU())
    net.add(Residual([ConvolutionLayer(5, 3, 3, zero_padding=1)])).add(Flatten()).add(FullyConnectedLayer(4))
    return net.add(SoftMax()).regression(Adam(0.01), engine="cpu", threads=2)


class OfOnesOwn(Layer):
    """A layer that has no kernel."""

    def output_shape(self, shape: Any) -> Any:
        return shape

    def forward(self, ctx: Any, p: Any, s: Any, x: Array) -> tuple[Array, Any]:
        return 2 * x, None

    def backward(self, ctx: Any, p: Any, g: Any, cache: Any, dy: Array) -> Array:
        return 2 * dy


def train(net: Network, epochs: int = 1) -> Array:
    net.fit(PICTURES, LABELS, epochs=epochs, mini_batch_size=16, progress=False)
    return weights(net)


def weights(net: Network) -> Array:
    return np.concatenate([value.reshape(-1) for value in net._plan.state().values()])  # type: ignore[union-attr]


def nobody_left() -> bool:
    """Wait until no helping thread is left, also of those whose end was interrupted."""
    gc.collect()
    until = time.monotonic() + 10
    while any(thread.name.startswith("gedanken-") for thread in threading.enumerate()):
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


# ---------------------------------------------------------------------- at any line


class AtLine:
    """Raises where a line of the library is reached for the first time; without one it notes all lines."""

    def __init__(self, line: tuple[str, int] | None = None) -> None:
        self.line, self.reached, self.done = line, dict[tuple[str, int], None](), False
        self._files = {str(path) for path in TRACED}

    def __enter__(self) -> Self:
        sys.settrace(self._frame)
        return self

    def __exit__(self, *error: object) -> bool:
        sys.settrace(None)
        return error[0] is Interruption

    def _frame(self, frame: FrameType, event: str, _: Any) -> Any:
        return self._line if frame.f_code.co_filename in self._files else None

    def _line(self, frame: FrameType, event: str, _: Any) -> Any:
        here = (frame.f_code.co_filename, frame.f_lineno)
        if event == "line" and self.line is None:
            self.reached[here] = None
        elif event == "line" and here == self.line and not self.done:
            self.done = True
            raise Interruption
        return self._line


def first_steps() -> None:
    """Do all that a first start does, and a little more."""
    net = network()
    net.feedforward(PICTURES[:5])
    train(net)
    net.evaluate(PICTURES[:20], LABELS[:20], progress=False)


def lines(rng: random.Random, rounds: int) -> None:
    """Break a start off at lines of the library, then go on with what there is and with a new network."""
    expected = train(network())
    outputs = network().feedforward(PICTURES)
    library.cache_clear()
    with AtLine() as all_lines:
        first_steps()
    assert len(all_lines.reached) > 150
    for line in rng.sample([*all_lines.reached], min(rounds, len(all_lines.reached))):
        broken_at(line, expected, outputs)


def broken_at(line: tuple[str, int], expected: Array, outputs: Array) -> None:
    library.cache_clear()
    nets = [network()]
    library.cache_clear()
    with AtLine(line):
        first_steps()
    with AtLine(line):
        nets[0].feedforward(PICTURES)
    for net in [*nets, network()]:
        assert (net.feedforward(PICTURES) == outputs).all(), line
        assert (train(net) == expected).all(), line
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, line
    del net, nets
    assert nobody_left(), (line, threading.enumerate())


def compilers_lines(rng: random.Random, rounds: int) -> None:
    """Break compiling off at lines of the library, with nothing in the cache, and compile again."""
    machine = this_machine()._replace(unit="plain", vector_bytes=16, rows=2, vectors=1)
    name = "pointwise.forward" if rounds > 100 else "dense.add"
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        with AtLine() as all_lines:
            compiled_twice(machine, name)
        for number, line in enumerate(rng.sample([*all_lines.reached], min(rounds, len(all_lines.reached)))):
            os.environ["XDG_CACHE_HOME"] = f"{folder}/{number}"
            with AtLine(line):
                compiled_twice(machine, name)
            assert compiled_twice(machine, name), line


def compiled_twice(machine: Any, name: str) -> bool:
    made = Library(machine, "float32")
    made.kernel("dense.add")
    parameters = made.kernel(name).parameters
    return Library(machine, "float32").kernel(name).parameters == parameters


# ---------------------------------------------------------------------- at any instant


def instants(rng: random.Random, rounds: int) -> None:
    """Break predictions and trainings off at any instant, by an exception of a signal handler."""
    expected, outputs = train(network()), network().feedforward(PICTURES)
    first = network()._plan.state()  # type: ignore[union-attr]

    def interrupt(number: int, frame: Any) -> None:
        raise Interruption

    for _ in range(rounds):
        net = network(threads=rng.choice([1, 2, 3]))
        for _ in range(rng.randint(1, 8)):
            samples = PICTURES[: rng.choice([1, 7, 30])]
            signal.signal(signal.SIGALRM, interrupt)
            with contextlib.suppress(Interruption):
                signal.setitimer(signal.ITIMER_REAL, rng.random() ** 3 * 0.01 + 1e-6)
                train(net) if rng.random() < 0.5 else net.feedforward(samples)
                signal.setitimer(signal.ITIMER_REAL, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert np.isfinite(train(net)).all()
        net._plan.restore(first)  # type: ignore[union-attr]
        assert (net.feedforward(PICTURES) == outputs).all()
        net.epoch = 0
        net.regression(Adam(0.01, clip_norm=1.0), engine="cpu", threads=2)  # the optimizer begins afresh
        assert (train(net) == expected).all()
        del net
        assert nobody_left(), threading.enumerate()


# ---------------------------------------------------------------------- calls within calls


def looks(net: Network, folder: str) -> dict[str, Callable[[], Any]]:
    """Return what a handler may ask of a network in training without changing it."""
    other = network(seed=9)
    return {
        "predict": lambda: net.predict(PICTURES[:16]),
        "predict all": lambda: net.predict(PICTURES),
        "evaluate": lambda: net.evaluate(PICTURES, LABELS, mini_batch_size=16, progress=False),
        "summary": lambda: str(net.summary(64)),
        "slide": lambda: net.slide(LARGER),
        "save": lambda: net.save(f"{folder}/model"),
        "another": lambda: train(other),
        "another's prediction": lambda: other.predict(PICTURES[:16]),
        "a new one": lambda: train(network(seed=8)),
    }


def handlers(rng: random.Random, rounds: int) -> None:
    """Ask the network within its training: in a signal handler and in finalizers, whatever line Python is at."""
    for make in (network, mixed):
        expected = train(make(), 3)
        net = make()
        outputs = net.feedforward(PICTURES)
        with tempfile.TemporaryDirectory() as folder:
            for number in range(rounds):
                net = make()
                asked = looks(net, folder)
                name = [*asked][number % len(asked)]
                if name == "slide" and make is mixed:
                    continue
                with Often(rng, asked[name]) as often:
                    if number % 3:
                        got = train(net, 3)
                        assert (got == expected).all(), (name, often.count)
                    else:
                        for _ in range(40):
                            assert (net.feedforward(PICTURES) == outputs).all(), (name, often.count)
        del net, asked


class Often:
    """Makes a call at random lines of the library, wherever a signal handler or finalizer may come."""

    def __init__(self, rng: random.Random, act: Callable[[], Any]) -> None:
        self.rng, self.act, self.count, self.busy = rng, act, 0, False
        self._files = {str(path) for path in SOURCES.rglob("*.py")}
        self._next = rng.randint(1, 300)

    def __enter__(self) -> Self:
        sys.settrace(self._frame)
        return self

    def __exit__(self, *error: object) -> None:
        sys.settrace(None)

    def _frame(self, frame: FrameType, event: str, _: Any) -> Any:
        return self._line if not self.busy and frame.f_code.co_filename in self._files else None

    def _line(self, frame: FrameType, event: str, _: Any) -> Any:
        self._next -= 1
        if self._next < 0 and not self.busy:
            self.busy = True
            self.act()
            self.busy, self.count = False, self.count + 1
            self._next = self.rng.randint(1, 1000)
        return self._line


KINDS = {kind.__name__: kind for kind in (lines, compilers_lines, instants, handlers, ends, forks, starts)}


def main() -> None:
    """Run one kind for some rounds, or all until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=[*KINDS])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background shells ignore it
    rng, ends, done = random.Random(given.seed), time.monotonic() + given.seconds, 0
    while not done or time.monotonic() < ends:
        for kind in [KINDS[given.kind]] if given.kind else KINDS.values():
            faulthandler.dump_traceback_later(HANG + 15 * given.rounds, exit=True)
            kind(rng, given.rounds)
            faulthandler.cancel_dump_traceback_later()
        done += given.rounds
    sys.stdout.write(f"{done} rounds of {given.kind or ', '.join(KINDS)}\n")


if __name__ == "__main__":
    main()
