"""Train the diary's network on MNIST with either library and print the test accuracy after each epoch.

    python parity/accuracy.py --side torch --learning-rate 0.01 --epochs 1 --seed 0
    python parity/accuracy.py --side gedanken --learning-rate 0.01 --epochs 1 --seed 0

Both sides see the same pictures, in a new random order each epoch, 256 at a time, the last ones included, and are
judged on the 10,000 test pictures. Each starts from its own initial weights. One line of JSON an epoch.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

import gedanken
from gedanken import Adam, Dropout, Network
from gedanken.datasets import load_conv
from gedanken.networks import diary

BATCH = 256
KEEPS = (0.75, 0.5)  # of the two dropouts
FEATURES = 64 * 23 * 23
Epoch = tuple[float, float]  # seconds of training, test accuracy


def our_network(
    optimizer: Adam, keeps: tuple[float, float] = KEEPS, seed: int = 0, dtype: str = "float32", engine: str = "auto"
) -> Network:
    """Return the diary's network, compiled."""
    net, left = Network(seed).input((1, 28, 28)), iter(keeps)
    for layer in diary(classes=10):
        net.add(Dropout(next(left)) if isinstance(layer, Dropout) else layer)
    return net.regression(optimizer, "cross_entropy", engine=engine, dtype=dtype)


def torch_network(keeps: tuple[float, float] = KEEPS) -> nn.Sequential:
    """Return the same layers, one for one; SoftMax is part of PyTorch's cost."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.BatchNorm2d(32, eps=1e-5, momentum=0.1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        nn.BatchNorm2d(64, eps=1e-5, momentum=0.1),
        nn.ReLU(),
        nn.MaxPool2d(2, 1),
        nn.Dropout(1 - keeps[0]),
        nn.Flatten(),
        nn.Linear(FEATURES, 128),
        nn.ReLU(),
        nn.Dropout(1 - keeps[1]),
        nn.Linear(128, 10),
    )


def train_ours(options: argparse.Namespace, data: tuple[Any, ...]) -> Iterator[Epoch]:
    x, labels, test_x, test_labels = data
    net = our_network(Adam(options.learning_rate), seed=options.seed, engine=options.engine)
    for _ in range(options.epochs):
        history = net.fit(x, labels, mini_batch_size=BATCH, progress=False)
        accuracy = net.evaluate(test_x, test_labels, progress=False)["accuracy"]
        yield history.epochs[-1].seconds, accuracy


def train_theirs(options: argparse.Namespace, data: tuple[Any, ...]) -> Iterator[Epoch]:
    torch.manual_seed(options.seed)
    x, labels, test_x, test_labels = map(torch.from_numpy, data)
    net = torch_network()
    optimizer = torch.optim.Adam(net.parameters(), options.learning_rate)
    cost, classes = nn.CrossEntropyLoss(), labels.argmax(1)
    for _ in range(options.epochs):
        began = time.perf_counter()
        net.train()
        for rows in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            cost(net(x[rows]), classes[rows]).backward()
            optimizer.step()
        seconds = time.perf_counter() - began
        net.eval()
        with torch.no_grad():
            found = torch.cat([net(part).argmax(1) for part in test_x.split(BATCH)])
        yield seconds, (found == test_labels.argmax(1)).double().mean().item()


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", choices=("torch", "gedanken"), required=True)
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="threads that compute; all cores if not given")
    parser.add_argument("--limit", type=int, help="train on the first so many pictures only")
    parser.add_argument("--engine", default="auto", help="Gedanken's engine")
    return parser.parse_args()


def limit_threads(threads: int) -> None:
    """Start this program again with so many threads: the libraries below read their number when they are loaded."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    wanted = dict.fromkeys(names, str(threads))
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **wanted})


def main() -> None:
    options = parsed()
    if options.threads:
        limit_threads(options.threads)
        torch.set_num_threads(options.threads)
    x, labels, *test = load_conv()
    data = (x[: options.limit], labels[: options.limit], *test)
    train = train_theirs if options.side == "torch" else train_ours
    library = torch if options.side == "torch" else gedanken
    told = {"side": options.side, "version": library.__version__}
    told |= {name: getattr(options, name) for name in ("learning_rate", "seed", "threads")}
    told["samples"] = len(data[0])
    for epoch, (seconds, accuracy) in enumerate(train(options, data), start=1):
        line = {**told, "epoch": epoch, "accuracy": round(accuracy, 6), "seconds": round(seconds, 2)}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
