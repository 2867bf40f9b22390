"""One candidate of bench.py: what each rank does; rank 0 prints one line of JSON."""

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from gedanken import (
    AdaGrad,
    BatchNorm,
    Callback,
    ConvolutionLayer,
    Cpu,
    DataParallel,
    Dropout,
    Flatten,
    FullyConnectedLayer,
    MaxPoolLayer,
    Network,
    ParameterServer,
    ReLU,
    SoftMax,
)
from gedanken.datasets import load_fashion_fc
from gedanken.parallel import gradient_sums
from gedanken.parallel.gradient_sums import GradientSums
from gedanken.ranks.joined import joined
from gedanken.types import Array

RNG = np.random.default_rng(0)
TRIES = 41


def mlp(seed: int = 1) -> Network:
    net = Network(seed=seed).input((784,)).add(FullyConnectedLayer(128)).add(ReLU())
    return net.add(FullyConnectedLayer(10)).add(SoftMax())


def diary() -> Network:
    net = Network(seed=1).input((1, 28, 28))
    for layer in (ConvolutionLayer(32, 3, 3), BatchNorm(), ReLU(), ConvolutionLayer(64, 3, 3), BatchNorm(), ReLU()):
        net.add(layer)
    net.add(MaxPoolLayer(2, 2, stride=1)).add(Dropout(0.75)).add(Flatten())
    return net.add(FullyConnectedLayer(128)).add(ReLU()).add(Dropout(0.5)).add(FullyConnectedLayer(10)).add(SoftMax())


def wide() -> Network:
    net = Network(seed=1).input((784,))
    for _ in range(4):
        net.add(FullyConnectedLayer(1024)).add(ReLU())
    return net.add(FullyConnectedLayer(10)).add(SoftMax())


NETWORKS: dict[str, tuple[Callable[[], Network], int]] = {
    "mlp": (mlp, 60_000),
    "diary": (diary, 2_048),
    "wide": (wide, 8_192),
}


class Watch(Callback):
    """Notes when each step, or each epoch, is over."""

    def __init__(self) -> None:
        self.epochs: list[float] = []

    def on_epoch(self, run: Any, record: Any) -> None:
        self.epochs.append(time.perf_counter())


def train(name: str, batch: int, epochs: int) -> float:
    """Return the median of the seconds of a step, over all epochs but the first."""
    make, samples = NETWORKS[name]
    shape = (1, 28, 28) if name == "diary" else (784,)
    x, y = RNG.random((samples, *shape), np.float32), RNG.integers(0, 10, samples)
    watch, net = Watch(), make().regression("adam", engine=Cpu(threads=1))
    parallel = DataParallel(workers=1)
    net.fit(x, y, mini_batch_size=batch, epochs=epochs, parallel=parallel, callbacks=[watch], progress=False)
    seconds = np.diff(watch.epochs) if watch.epochs else [0.0]
    return float(np.median(seconds)) / -(-samples // batch)


def downpour(seed: int, epochs: int) -> dict[str, float]:
    """Return samples a second, over all epochs but the first, accuracy on Fashion-MNIST, and staleness."""
    x, y, x_test, y_test = load_fashion_fc()
    net = mlp(seed).regression(AdaGrad(0.03), engine=Cpu(threads=1))
    history = net.fit(x, y, mini_batch_size=64, epochs=epochs, parallel=ParameterServer(), progress=False)
    seconds, told = [one.seconds for one in history.epochs[1:]], history.epochs[-1].parallel or {}
    found = {name: told.get(name, 0) for name in ("mean_staleness", "max_staleness")}
    accuracy = float(net.evaluate(x_test, y_test, progress=False)["accuracy"])
    return {"speed": len(x) / statistics.median(seconds), "accuracy": accuracy, **found}


def median_of(work: Callable[[], Any], tries: int = TRIES) -> float:
    """Return the median seconds of what all ranks do together."""
    found = []
    for _ in range(tries):
        joined().barrier()
        begun = time.perf_counter()
        work()
        found.append(time.perf_counter() - begun)
    return statistics.median(found)


def sums(numbers: int) -> dict[str, float]:
    """Return the seconds of a sum through our layer and by mpi4py itself."""
    from mpi4py import MPI  # noqa: PLC0415 - what is compared with

    vector = np.ones(numbers, np.float32)
    ours, raw = [], []
    for _ in range(5):
        ours.append(median_of(lambda: joined().add(vector)))
        raw.append(median_of(lambda: MPI.COMM_WORLD.Allreduce(MPI.IN_PLACE, vector)))
        vector[...] = 1
    return {"ours": statistics.median(ours), "raw": statistics.median(raw)}


class Stepped(GradientSums):
    """Notes when buckets are left behind, and may leave out what ranks say, or say it behind the pass."""

    way = "beside"
    times: list[list[float]] = []  # noqa: RUF012 - of each pass: its begin, each bucket's time, and its end
    sizes: list[int] = []  # noqa: RUF012

    def begin(self, part: int, whole: int) -> Any:
        Stepped.sizes = [bucket.nbytes for bucket in self._buckets]
        Stepped.times.append([time.perf_counter()])
        return super().begin(part, whole)

    def _passed(self, number: int) -> None:
        Stepped.times[-1].append(time.perf_counter())
        if self.way == "beside" or (self.way == "behind" and number == len(self._buckets) - 1):
            super()._passed(number)

    def finish(self) -> None:
        if self.way == "none":
            return
        super().finish()


def hidden(batch: int, epochs: int) -> dict[str, float]:
    """Return the seconds of a step with sums beside the pass, behind it, without them, and at best."""
    from gedanken.parallel import shared_batches  # noqa: PLC0415 - changed here

    shared_batches.GradientSums = Stepped  # type: ignore[misc]
    shared_batches.SharedBatches.compare = lambda _: None  # type: ignore[method-assign]  # without sums they differ
    found = {}
    for way in ("none", "behind", "beside"):
        Stepped.way, Stepped.times = way, []
        found[way] = train("wide", batch, epochs)
        if way == "none":
            passes = [one for one in Stepped.times if len(one) > len(Stepped.sizes)][3:]
            ready = [statistics.median(one[1 + k] - one[0] for one in passes) for k in range(len(Stepped.sizes))]
    buckets: list[Array] = [np.ones(size // 4, np.float32) for size in Stepped.sizes]
    lasts = [median_of(lambda bucket=bucket: joined().add(bucket), 9) for bucket in buckets]  # type: ignore[misc]
    over = 0.0
    for begun, last in zip(ready, lasts, strict=True):
        over = max(over, begun) + last
    found["best"] = found["none"] + max(0.0, over - ready[-1])
    found["sums"] = sum(lasts)
    return found


def main() -> None:
    what, *rest = sys.argv[1:]
    if what == "sum":
        told: Any = sums(int(rest[0]))
    elif what == "downpour":
        told = downpour(int(rest[0]), int(rest[1]))
    elif what == "hidden":
        gradient_sums.BUCKET = int(rest[2]) if len(rest) > 2 else gradient_sums.BUCKET
        told = hidden(int(rest[0]), int(rest[1]))
    else:
        told = train(what, int(rest[0]), int(rest[1]))
    if joined().rank == 0:
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
