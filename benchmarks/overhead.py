"""What a training costs beside its arithmetic: what is always on, callbacks, checkpoints.

    python benchmarks/overhead.py --turns 7

Each turn trains once in every way, on drawn digits, with a new network. "arithmetic" is a loop of mini-batches, passes,
metrics and updates alone: nobody looks whether a number is finite, keeps a way back, records or listens. Times are
those of the epochs, the shortest of all turns: what disturbs a machine only adds.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from gedanken import Callback, Checkpoint, EarlyStopping, KeepBest, MovingAverage, Network, OnNonFinite, networks
from gedanken.data.batches import ArraySource
from gedanken.datasets import load_drawn_digits
from gedanken.layers import Layer

STEPS = 50  # between two checkpoints, where they are many
ARITHMETIC, DEFAULT, SILENT = "arithmetic", "fit, with what is always on", "a callback that does nothing"
WAYS: dict[str, Callable[[], list[Callback]]] = {
    ARITHMETIC: list,
    DEFAULT: list,
    SILENT: lambda: [Callback()],
    "EarlyStopping, KeepBest, OnNonFinite": lambda: [EarlyStopping("cost"), KeepBest("cost"), OnNonFinite("skip")],
    "MovingAverage": lambda: [MovingAverage()],
    f"Checkpoint({STEPS})": lambda: [Checkpoint(STEPS)],
}


def network(layers: list[Layer], shape: tuple[int, ...]) -> Network:
    net = Network(seed=1).input(shape)
    for layer in layers:
        net.add(layer)
    return net.regression("adam")


def arithmetic(net: Network, data: Any, labels: Any, size: int) -> float:
    """Return the seconds of an epoch of nothing else."""
    train_state = net._train_state
    assert train_state
    plan, optimizer_state = train_state.plan, train_state.optimizer_state
    source = ArraySource(data, labels.argmax(axis=1), size, shuffle=True, seed=1)
    began = time.perf_counter()
    with np.errstate(all="ignore"):
        for batch in source.batches(1):
            ctx = plan.context(train=True, epoch=1, position=batch.position)
            outputs = plan.cost_and_gradients(ctx, batch.x, batch.target).outputs
            train_state.measured(outputs, batch.target)
            assert optimizer_state._fused
            optimizer_state._fused(
                optimizer_state.rate, optimizer_state.step, plan.params, plan.grads, optimizer_state.slots
            )
            optimizer_state.step += 1
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--turns", type=int, default=7)
    turns = parser.parse_args().turns
    x, y, *_ = load_drawn_digits(train=20_000, test=1)
    tasks: dict[str, tuple[Any, Any, Any, int]] = {
        "784-128-10, mini-batches of 64": (networks.mlp, x.reshape(20_000, -1), (784,), 64),
        "784-128-10, mini-batches of 128": (networks.mlp, x.reshape(20_000, -1), (784,), 128),
        "the diary's network, mini-batches of 128": (networks.diary, x[:6400], (1, 28, 28), 128),
    }
    for name, (layers, data, shape, size) in tasks.items():
        found: dict[str, list[float]] = {way: [] for way in WAYS}
        labels = y[: len(data)]
        for _ in range(turns):
            for way, callbacks in WAYS.items():
                net = network(list(layers(10)), shape)
                how: dict[str, Any] = {"mini_batch_size": size, "progress": False}
                net.fit(data[:1024], y[:1024], **how)
                if way == ARITHMETIC:
                    found[way].append(arithmetic(net, data, labels, size))
                    continue
                with tempfile.TemporaryDirectory() as folder:
                    place = f"{folder}/run" if way.startswith("Checkpoint") else None
                    history = net.fit(data, labels, callbacks=callbacks(), folder=place, **how)
                found[way].append(history.epochs[0].seconds)
        steps = len(data) // size
        print(f"{name}: {sum(row.parameters for row in net.summary().rows):,} parameters, {steps} steps", flush=True)
        shortest = {way: min(seconds) for way, seconds in found.items()}
        for way, seconds in shortest.items():
            beside = ARITHMETIC if way == DEFAULT else DEFAULT
            ratio = f"x {seconds / shortest[beside]:.3f} of {beside}"
            print(f"  {way:<40}{1e6 * seconds / steps:>10,.0f} us a step  {ratio}")
        each = (shortest[f"Checkpoint({STEPS})"] - shortest[SILENT]) / (steps // STEPS)
        print(
            f"  a checkpoint takes {1e3 * each:.1f} ms of the training; every 30 s that is {each / 30:.2%}", flush=True
        )


if __name__ == "__main__":
    main()
