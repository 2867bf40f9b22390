"""Trainings that are killed again and again, and go on, against ones that were never stopped: not a byte may differ.

Half of the kills come at a random moment, half while a checkpoint is being written. Each training is a process of its
own, forked from this one, which has imported all that trainings import, so that kills meet trainings, and runs nothing.

    python tests/training/chaos.py --kills 200 --seed 0
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.ma

import gedanken.data.workers.processes
import gedanken.engine.cpu.engine  # noqa: F401
from gedanken import (
    SGD,
    Adam,
    ArrayGenerator,
    BatchNorm,
    Callback,
    Checkpoint,
    ConvolutionLayer,
    CosineDecay,
    Cpu,
    DataParallel,
    Dropout,
    EarlyStopping,
    Flatten,
    FullyConnectedLayer,
    Generator,
    History,
    KeepBest,
    Lion,
    MaxPoolLayer,
    Momentum,
    MovingAverage,
    Network,
    Numpy,
    OnPlateau,
    ReLU,
    RMSProp,
    SetRate,
    Sigmoid,
    SoftMax,
    SparseFullyConnectedLayer,
    SparseRows,
    Translate,
)
from gedanken.data.transforms import Flip

RNG = np.random.default_rng(7)
X, Y = RNG.normal(size=(320, 12)).astype("float32"), RNG.integers(0, 3, 320)
PICTURES, DIGITS = RNG.random((160, 1, 8, 8)).astype("float32"), RNG.integers(0, 3, 160)
LIMIT = 60.0  # seconds for a training
SOURCES = Path(__file__).parents[2]


class Falls(Callback):
    """A user's callback that keeps something: lets the rate fall every 13 steps."""

    def __init__(self) -> None:
        self.steps = 0

    def on_step(self, run: Any, record: Any) -> SetRate | None:
        self.steps += 1
        return SetRate(0.9) if self.steps % 13 == 0 else None

    def state(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        self.steps = state["steps"]


class Uneven(Generator):
    """Calls that give one to seven samples, changed at random."""

    def __len__(self) -> int:
        return 60

    def get_mini_batches(self, index: int) -> list[Any]:
        rng, first = self.rng(index), 5 * index
        return [(X[first + k] + rng.normal(0, 0.1, 12).astype("float32"), Y[first + k]) for k in range(1 + index % 7)]


def dense(rule: Any, engine: Any = "cpu") -> Network:
    net = Network(seed=3).input((12,)).add(FullyConnectedLayer(24)).add(BatchNorm()).add(ReLU()).add(Dropout(0.7))
    metrics = ["accuracy", "roc_auc", "confusion_matrix"]
    return net.add(FullyConnectedLayer(3)).add(SoftMax()).regression(rule, metrics=metrics, engine=engine)


def conv(rule: Any) -> Network:
    net = Network(seed=3).input((1, 8, 8)).add(ConvolutionLayer(4, 3, 3)).add(BatchNorm()).add(ReLU())
    net.add(MaxPoolLayer(2, 2)).add(Flatten()).add(Dropout(0.8)).add(FullyConnectedLayer(3)).add(SoftMax())
    return net.regression(rule, engine="cpu")


def sparse(rule: Any) -> Network:
    net = Network(seed=3).input((12,)).add(SparseFullyConnectedLayer(1, l2=1e-3)).add(Sigmoid())
    return net.regression(rule, "binary_cross_entropy", engine="cpu")


HELD = (X[:40], Y[:40])
Fit = Callable[..., History]
Made = tuple[Network, tuple[Any, ...], dict[str, Any], list[Callback]]


def plain() -> Made:
    how = {"validation_set": HELD, "epochs": 5, "mini_batch_size": 16}
    stop = [EarlyStopping("validation_cost", 1), Falls(), KeepBest("validation_accuracy")]
    return dense(Adam(CosineDecay(0.02, 100))), (X, Y), how, stop


def plateau() -> Made:
    how = {"validation_set": 0.2, "epochs": 4, "mini_batch_size": 10, "shuffle": False}
    return (
        dense(Momentum(OnPlateau(0.1, patience=0), accumulate=3, clip_norm=1.0), Numpy(dtype="float64")),
        (X, Y),
        how,
        [MovingAverage(0.95)],
    )


def pictures() -> Made:
    options = {"mini_batch_size": 16, "shuffle": True, "transforms": [Flip(), Translate(1)]}
    data = ArrayGenerator(PICTURES, DIGITS, mode="processes", workers=2, start_method="fork", **options)
    return conv(RMSProp(0.003)), (data,), {"epochs": 4}, [Falls()]


def uneven() -> Made:
    data = Uneven(mini_batch_size=9, shuffle=True, mode="threads", workers=4)
    return dense(Lion(0.001)), (data,), {"epochs": 4, "validation_set": HELD}, [KeepBest()]


def rows() -> Made:
    starts, columns = np.arange(0, 20001, 4), RNG.integers(0, 12, 20000)
    data = SparseRows(starts, columns, np.ones(20000), 12)
    return sparse(SGD(0.1)), (data, (columns[::4] > 5).astype(int)), {"epochs": 12, "mini_batch_size": 1}, []


def shared() -> Made:
    how = {"epochs": 4, "mini_batch_size": 12, "parallel": DataParallel(workers=2), "validation_set": HELD}
    return dense(SGD(0.05), Cpu(dtype="float64")), (X, Y), how, [EarlyStopping(patience=9, restore_best=False)]


CONFIGURATIONS = {made.__name__: made for made in (plain, plateau, pictures, uneven, rows, shared)}


def outcome(net: Network, history: History) -> dict[str, str]:
    """Return digests of all that a training leaves, but for times.

    How far an epoch of a Generator is at a snapshot is such a time: workers are given calls by how long they take.
    """
    state = net._train_state
    assert state
    found = {**state.plan.state(), **state.optimizer_state.state()}
    digests = {name: hashlib.sha256(np.asarray(value).tobytes()).hexdigest() for name, value in found.items()}
    told: dict[str, Any] = {
        "epochs": [
            (r.epoch, r.finished, r.samples, r.cost, _plain(r.metrics), r.validation_cost, _plain(r.validation_metrics))
            for r in history.epochs
        ],
        "rates": [record.rate for record in history.epochs],
        "snapshots": [(s.epoch, s.cost, _plain(s.metrics), s.rate) for s in history.snapshots],
        "answers": [one.to_json() for one in history.answers],
        "faults": [one.to_json() for one in history.faults],
        "end": [history.reason, history.kept, history.diverged, net.epoch],
    }
    return {**digests, **{name: json.dumps(value) for name, value in told.items()}}


def _plain(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {name: np.asarray(value).tolist() for name, value in metrics.items()}


def train(name: str, folder: str, every: Any, snapshot_step: float) -> None:
    """Train, from where it was left, and write down what came of it."""
    net, data, how, callbacks = CONFIGURATIONS[name]()
    resume = folder if os.path.isdir(folder) else None
    callbacks = [Checkpoint(every, keep=2), *callbacks]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*has no checkpoint yet")
        history = net.fit(
            *data, **how, callbacks=callbacks, folder=folder, resume=resume, progress=False, snapshot_step=snapshot_step
        )
    for one in data:
        if isinstance(one, Generator):
            one.close()
    costs = hashlib.sha256(Path(folder, "costs.bin").read_bytes()).hexdigest()
    with open(f"{folder}.json", "w", encoding="ascii") as file:
        json.dump({**outcome(net, history), "costs": costs}, file)


def forked(*arguments: Any) -> int:
    """Return the process id of a training in a process of its own."""
    if pid := os.fork():
        return pid
    status = 1
    try:
        train(*arguments)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def ended(pid: int, until: float) -> int | None:
    """Return the exit code of a process, None where it runs then."""
    while time.monotonic() < until:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    return None


def killed(pid: int, folder: str, moment: float, writing: bool) -> int | None:
    """Kill a process at a moment, or when it writes a checkpoint after it; return its exit code if it ended before."""
    code = ended(pid, time.monotonic() + moment)
    checkpoints, limit = os.path.join(folder, "checkpoints"), time.monotonic() + 0.5
    while code is None and writing and time.monotonic() < limit:
        if any(name.endswith(".partial") for name in _listed(checkpoints)):
            break
        code = ended(pid, time.monotonic())
    if code is None:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return code


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def read(folder: str) -> dict[str, str]:
    with open(f"{folder}.json", encoding="ascii") as file:
        return dict(json.load(file))


def rounds(name: str, place: str, random_: random.Random) -> Iterator[int]:
    """Yield the kills of one training after the other; each has to come out as the one that was not killed."""
    whole = os.path.join(place, f"{name}-whole")
    began = time.monotonic()
    code = ended(forked(name, whole, "epoch", 1e-9), began + LIMIT)
    assert code == 0, f"{name} ended with {code}"
    expected, seconds, number = read(whole), time.monotonic() - began, 0
    while True:
        number += 1
        folder, every = os.path.join(place, f"{name}-{number}"), random_.choice([1, 7, "epoch", "0.02 s"])
        code = None
        for _ in range(random_.randint(1, 8)):
            moment, writing = random_.random() * seconds, random_.random() < 0.5
            code = killed(forked(name, folder, every, 1e-9), folder, moment, writing)
            if code is not None:
                break
            yield 1
        if code is None:
            code = ended(forked(name, folder, every, 1e-9), time.monotonic() + LIMIT)
        assert code == 0, f"{name}, seed {number}: ended with {code}"
        found = read(folder)
        wrong = [key for key in expected if found.get(key) != expected[key]]
        assert not wrong, f"{name}, round {number}, every {every}: {wrong}"
        shutil.rmtree(folder)
        yield 0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    place, random_ = tempfile.mkdtemp(), random.Random(arguments.seed)
    try:
        running = {name: rounds(name, place, random_) for name in CONFIGURATIONS}
        kills, whole = 0, dict.fromkeys(running, 0)
        while kills < arguments.kills or not all(whole.values()):
            for name, one in running.items():
                if found := next(one):
                    kills += found
                else:
                    whole[name] += 1
        sys.stdout.write(f"{kills} kills, {sum(whole.values())} trainings of {len(whole)} kinds, all the same\n")
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
