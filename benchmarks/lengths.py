"""What mini-batches of short sequences cost in a network that is made for long ones, beside what they cost uncut.

    python benchmarks/lengths.py --engine cpu --turns 20

A mini-batch has 64 sequences of 10 to so many places; the network takes 128. Steps of training in one thread, cut and
uncut in turns, the shortest of all turns: what disturbs a machine only adds.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np

from gedanken import (
    GELU,
    LSTM,
    Cpu,
    FullyConnectedLayer,
    GlobalAveragePool1DLayer,
    LayerNorm,
    MultiHeadAttention,
    Network,
    Numpy,
    Residual,
    Sequences,
)
from gedanken.layers import Layer

SAMPLES, T, LEAST = 64, 128, 10
LONGEST = (16, 32, 64, 96, 128)


def block(features: int) -> list[Layer]:
    """Return a block of a transformer."""
    wide = [FullyConnectedLayer(4 * features), GELU(), FullyConnectedLayer(features)]
    return [Residual([LayerNorm(), MultiHeadAttention(4)]), Residual([LayerNorm(), *wide]), GlobalAveragePool1DLayer()]


ROWS: dict[str, tuple[int, Callable[[], list[Layer]]]] = {
    "LSTM of 128 units, 64 features": (64, lambda: [LSTM(128, last=True)]),
    "transformer block, 128 features": (128, lambda: block(128)),
}


def steps(features: int, layers: list[Layer], engine: str) -> Callable[[int, bool], float]:
    """Return what takes the seconds of a step with sequences of at most so many places, cut or not."""
    net = Network(seed=1).input((T, features))
    for layer in layers:
        net.add(layer)
    net.add(FullyConnectedLayer(2)).regression(
        cost="mean_squared", engine=Cpu(threads=1) if engine == "cpu" else Numpy()
    )
    plan, rng = net._plan, np.random.default_rng(0)
    assert plan
    values, target = rng.normal(size=(SAMPLES, T, features)).astype("float32"), np.zeros((SAMPLES, 2), "float32")

    def step(longest: int, cut: bool) -> float:
        lengths = np.append(np.random.default_rng(longest).integers(LEAST, longest + 1, SAMPLES - 1), longest)
        x = Sequences(values, lengths)
        began = time.perf_counter()
        plan.cost_and_gradients(plan.context(train=True), *(plan.cut(x, target) if cut else (x, target)))
        return time.perf_counter() - began

    return step


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=("cpu", "numpy"), default="cpu")
    parser.add_argument("--turns", type=int, default=20)
    options = parser.parse_args()
    print("| longest of the mini-batch |", " | ".join(map(str, LONGEST)), "|")
    for title, (features, layers) in ROWS.items():
        step = steps(features, layers(), options.engine)
        best = {(longest, cut): np.inf for longest in LONGEST for cut in (True, False)}
        for turn in range(options.turns + 1):
            for key, before in best.items():
                seconds = step(*key)
                best[key] = min(before, seconds) if turn else np.inf  # the first makes programs
        for cut in (False, True):
            times = " | ".join(f"{1000 * best[longest, cut]:.1f}" for longest in LONGEST)
            print(f"| {title}, {'cut' if cut else 'uncut'}, ms | {times} |")


if __name__ == "__main__":
    main()
