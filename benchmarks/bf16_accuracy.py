"""What products in bf16 cost in accuracy: MNIST, a convolutional network and an MLP, beside float32.

A processor without AMX computes on the emulated tile unit: the numbers are a real unit's, the time is not.

GEDANKEN_DATA=folder python benchmarks/bf16_accuracy.py [epochs] [seeds]
"""

import sys
import time

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
    SoftMax,
)
from gedanken.datasets import load_conv
from gedanken.engine.cpu import engine
from gedanken.engine.cpu.machine import this_machine

NETWORKS: dict[str, list[Layer]] = {
    "convolutions": [
        ConvolutionLayer(16, 3, 3), BatchNorm(), ReLU(), MaxPoolLayer(2, 2), ConvolutionLayer(32, 3, 3), BatchNorm(),
        ReLU(), MaxPoolLayer(2, 2), Flatten(), FullyConnectedLayer(64), ReLU(), Dropout(0.5),
        FullyConnectedLayer(10), SoftMax(),
    ],
    "mlp": [Flatten(), FullyConnectedLayer(128), ReLU(), FullyConnectedLayer(10), SoftMax()],
}  # fmt: skip


def accuracy(name: str, precision: str, seed: int, epochs: int, data: tuple[np.ndarray, ...]) -> float:
    net = Network(seed=seed).input((1, 28, 28))
    for layer in NETWORKS[name]:
        net.add(layer)
    net.regression(Adam(0.001), engine="cpu", precision=precision)
    net.fit(data[0], data[1], epochs=epochs, mini_batch_size=128, progress=False)
    return 100 * net.evaluate(data[2], data[3], progress=False)["accuracy"]


def main() -> None:
    epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    seeds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    if not this_machine().tiles:
        engine.this_machine = lambda: this_machine()._replace(tiles="emulated")
    data = load_conv()
    print(f"test accuracy in per cent after {epochs} epochs; seeds 0 to {seeds - 1}, then their mean")
    for name in NETWORKS:
        means = []
        for precision in ("full", "bf16"):
            began = time.perf_counter()
            found = [accuracy(name, precision, seed, epochs, data) for seed in range(seeds)]
            means.append(sum(found) / seeds)
            each = "  ".join(f"{one:.2f}" for one in found)
            print(
                f"{name:12} {precision:4}  {each}   {means[-1]:.3f}   {time.perf_counter() - began:.0f} s", flush=True
            )
        print(f"{name:12} difference {means[1] - means[0]:+.3f}")


if __name__ == "__main__":
    main()
