"""How the first weights of fully connected layers change what small networks learn: a table of test accuracies.

python benchmarks/first_weights.py                 # scikit-learn's small data sets; needs scikit-learn
GEDANKEN_DATA=folder python benchmarks/first_weights.py --diary     # one epoch of MNIST with the diary's network
"""

import argparse
from collections.abc import Iterator

import numpy as np
from sklearn import datasets

from gedanken import Adam, FullyConnectedLayer, GlorotUniform, HeUniform, Initializer, Network, ReLU, SoftMax
from gedanken.datasets import load_conv
from gedanken.init import DEFAULT
from gedanken.networks import diary

RULES: dict[str, Initializer] = {"default": DEFAULT, "Glorot": GlorotUniform(), "He": HeUniform()}


def small_sets() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    for name in ("iris", "wine", "breast_cancer", "digits"):
        x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        yield name, ((x - x.mean(axis=0)) / (x.std(axis=0) + 1e-9)).astype("f4"), y


def accuracy(
    x: np.ndarray, y: np.ndarray, rule: Initializer, seed: int, rate: float, steps: int, hidden: tuple
) -> float:
    order = np.random.default_rng(seed).permutation(len(x))
    train, test = order[len(x) // 3 :], order[: len(x) // 3]
    net = Network(seed).input(x.shape[1:])
    for units in hidden:
        net.add(FullyConnectedLayer(units, init=rule)).add(ReLU())
    net.add(FullyConnectedLayer(int(y.max()) + 1, init=rule)).add(SoftMax()).regression(Adam(rate))
    size = min(200, len(train))
    net.fit(x[train], y[train], epochs=max(1, steps * size // len(train)), mini_batch_size=size, progress=False)
    return 100 * net.evaluate(x[test], y[test], progress=False)["accuracy"]


def small(seeds: int) -> None:
    print("| data | hidden | rate | steps |", " | ".join(RULES), "|")
    for name, x, y in small_sets():
        for hidden in ((32,), (100,), (64, 64)):
            for rate, steps in ((0.001, 200), (0.001, 1000), (0.01, 200)):
                means = [
                    np.mean([accuracy(x, y, rule, seed, rate, steps, hidden) for seed in range(seeds)])
                    for rule in RULES.values()
                ]
                print(
                    f"| {name} | {hidden} | {rate} | {steps} |", " | ".join(f"{m:.2f}" for m in means), "|", flush=True
                )


def diary_network(seeds: int) -> None:
    train, labels, test, test_labels = load_conv()
    for rate in (0.001, 0.01):
        for rule_name, rule in RULES.items():
            found = []
            for seed in range(seeds):
                net = Network(seed).input((1, 28, 28))
                for layer in diary(10):
                    dense = isinstance(layer, FullyConnectedLayer)
                    net.add(FullyConnectedLayer(layer.n_units, init=rule) if dense else layer)
                net.regression(Adam(rate))
                net.fit(train, labels, epochs=1, mini_batch_size=256, progress=False)
                found.append(100 * net.evaluate(test, test_labels, progress=False)["accuracy"])
            print(f"| diary, one epoch | {rate} | {rule_name} | {np.mean(found):.2f} |", found, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--diary", action="store_true")
    parser.add_argument("--seeds", type=int, default=0)
    options = parser.parse_args()
    if options.diary:
        diary_network(options.seeds or 3)
    else:
        small(options.seeds or 20)
