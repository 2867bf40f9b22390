"""How long the diary's network waits for data: pictures by HTTP, and an image folder, beside arrays in memory.

    python benchmarks/generator/training.py [--pictures 5120] [--epochs 3] [--seed 0]

Each source trains the diary's network with mini-batches of 256, in turns of one epoch. The first epoch is told apart:
in it workers start and kernels are compiled. The server of pictures waits 20 ms before each answer.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import server
from PIL import Image

from gedanken import Adam, History, Network
from gedanken.cli.networks import build, find_design
from gedanken.datasets import HTTPImageGenerator, ImageFolderGenerator, load_drawn_digits

SIZE = 256
LATENCY = 0.020


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=5120)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def diary(seed: int) -> Network:
    return build(find_design("diary"), (1, 28, 28), 10, seed).regression(Adam(0.001))


def folder_of(data: np.ndarray, labels: np.ndarray, where: Path) -> Path:
    """Write pictures as files, a folder for each class."""
    for number, (picture, label) in enumerate(zip(data, labels.argmax(axis=1), strict=True)):
        folder = where / str(label)
        folder.mkdir(exist_ok=True)
        Image.fromarray((picture[0] * 255).astype(np.uint8)).save(folder / f"{number:06}.png")
    return where


def sources(chosen: argparse.Namespace, where: Path, port: int) -> Iterator[tuple[str, Callable[..., History]]]:
    """Give each source's name, and a function of the network that trains one epoch."""
    data, labels = load_drawn_digits(chosen.pictures, 1)[:2]
    yield "arrays", lambda net: net.fit(data, labels, mini_batch_size=SIZE, progress=False)
    shared: dict[str, Any] = {"channels": 1, "mini_batch_size": SIZE, "shuffle": True}
    folder = ImageFolderGenerator(folder_of(data, labels, where), 28, **shared)
    yield "image folder", lambda net: net.fit(folder, progress=False)
    urls = [f"http://127.0.0.1:{port}/{number}" for number in range(chosen.pictures)]
    web = HTTPImageGenerator(urls, labels, 28, connections=64, **shared)
    yield "HTTP, 20 ms", lambda net: net.fit(web, progress=False)


def main() -> None:
    chosen = options()
    with tempfile.TemporaryDirectory() as where, server.running(LATENCY) as port:
        found = [(name, diary(chosen.seed), fit) for name, fit in sources(chosen, Path(where), port)]
        records: dict[str, list[Any]] = {name: [] for name, _, _ in found}
        for _ in range(chosen.epochs):
            for name, net, fit in found:
                records[name] += fit(net).epochs
        print("| source | first epoch, s | waits | later epochs, s | wait | workers |")
        print("| --- | --- | --- | --- | --- | --- |")
        for name, epochs in records.items():
            first, later = epochs[0], epochs[1:]
            seconds, waiting = sum(r.seconds for r in later), sum(r.waiting_seconds for r in later)
            who = epochs[-1].generator["workers"] if epochs[-1].generator else ""
            waits = (
                f"{first.waiting_seconds / first.seconds:.1%} | {seconds / len(later):.2f} | {waiting / seconds:.1%}"
            )
            print(f"| {name} | {first.seconds:.2f} | {waits} | {who} |")


if __name__ == "__main__":
    main()
