"""What a checkpoint costs a training: the same trainings without one, with a callback that does nothing, and with them.

    python benchmarks/checkpoints.py --turns 5

Each turn trains once in every way, on drawn digits, with a new network. Seconds are those of the epochs; medians.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from typing import Any

from gedanken import Callback, Checkpoint, EarlyStopping, Network, networks
from gedanken.datasets import load_drawn_digits
from gedanken.layers import Layer

STEPS = 50  # between two checkpoints, where they are many
WAYS: dict[str, Callable[[], list[Callback]]] = {
    "no callback": list,
    "a callback that does nothing": lambda: [Callback()],
    "EarlyStopping": lambda: [EarlyStopping("cost")],
    f"Checkpoint({STEPS})": lambda: [Checkpoint(STEPS)],
}


def network(layers: list[Layer], shape: tuple[int, ...]) -> Network:
    net = Network(seed=1).input(shape)
    for layer in layers:
        net.add(layer)
    return net.regression("adam")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--turns", type=int, default=5)
    turns = parser.parse_args().turns
    x, y, *_ = load_drawn_digits(train=60_000, test=1)
    tasks: dict[str, tuple[Any, Any, Any, int]] = {
        "784-128-10, mini-batches of 64": (networks.mlp, x.reshape(len(x), -1), (784,), 64),
        "the diary's network, mini-batches of 128": (networks.diary, x[:6400], (1, 28, 28), 128),
    }
    for name, (layers, data, shape, size) in tasks.items():
        found: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(turns):
            for way, callbacks in WAYS.items():
                net = network(list(layers(10)), shape)
                how: dict[str, Any] = {"mini_batch_size": size, "progress": False}
                net.fit(data[:1024], y[:1024], **how)
                with tempfile.TemporaryDirectory() as folder:
                    history = net.fit(data, y[: len(data)], callbacks=callbacks(), folder=f"{folder}/run", **how)
                found[way].append(history.epochs[0].seconds)
        medians = {way: statistics.median(seconds) for way, seconds in found.items()}
        steps = len(data) // size
        print(f"{name}: {sum(row.parameters for row in net.summary().rows):,} parameters, {steps} steps")
        for way, seconds in medians.items():
            ratio = statistics.median(a / b for a, b in zip(found[way], found["no callback"], strict=True))
            print(f"  {way:<30}{1e6 * seconds / steps:>10,.0f} us a step  x {ratio:.3f}")
        each = (medians[f"Checkpoint({STEPS})"] - medians["a callback that does nothing"]) / (steps // STEPS)
        print(f"  a checkpoint takes {1e3 * each:.1f} ms of the training; every 30 s that is {each / 30:.2%}")


if __name__ == "__main__":
    main()
