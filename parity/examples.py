"""Train what an example trains, with either library on the same data, and print how well each does.

    python parity/examples.py sunspots --seeds 0 1 2
    python parity/examples.py segmentation --side torch --seeds 0

Data, mini-batches, epochs and rates are those of the script in examples/; layers are the same one for one. Each side
has its own first values, and its own order of the samples. One line of JSON for each side and seed.
"""

import argparse
import importlib
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from gedanken import Network, Sequences

SCRIPTS = Path(__file__).parents[1] / "examples"
TESTED = 256  # samples at a time
Rows = tuple[Tensor, ...]


class Last(nn.Module):
    """The last state of a recurrent layer."""

    def __init__(self, layer: nn.GRU | nn.LSTM) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)[0][:, -1]  # type: ignore[no-any-return]


class Texts(nn.Module):
    """The network of text_by_topic.py."""

    def __init__(self, script: Any, tokens: int, classes: int) -> None:
        super().__init__()
        self.words = nn.Embedding(tokens, script.FEATURES, padding_idx=0)
        self.dropout = nn.Dropout(1 - script.KEPT)
        self.reads = nn.GRU(script.FEATURES, script.UNITS, batch_first=True)
        self.last = nn.Linear(script.UNITS, classes)

    def forward(self, numbers: Tensor, lengths: Tensor) -> Tensor:
        words = self.dropout(self.words(numbers))
        packed = nn.utils.rnn.pack_padded_sequence(words, lengths, batch_first=True, enforce_sorted=False)
        return self.last(self.dropout(self.reads(packed)[1][0]))  # type: ignore[no-any-return]


class Beside(nn.Module):
    """What layers make of pictures, beside these."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.way = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.way(x)], dim=1)


class Halves(nn.Module):
    """The network of picture_and_table.py; its two outputs stand beside each other."""

    def __init__(self) -> None:
        super().__init__()
        looks = [nn.Conv2d(1, 12, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12 * 6 * 13, 48), nn.ReLU()]
        self.upper, self.columns = nn.Sequential(*looks), nn.Sequential(nn.Linear(28, 32), nn.ReLU())
        self.both, self.heads = nn.Sequential(nn.Linear(80, 48), nn.ReLU()), nn.Linear(48, 11)

    def forward(self, upper: Tensor, columns: Tensor) -> Tensor:
        beside = torch.cat([self.upper(upper), self.columns(columns)], dim=1)
        return self.heads(self.both(beside))  # type: ignore[no-any-return]


def normed(inputs: int, filters: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, filters, 3, stride, 1, bias=False), nn.BatchNorm2d(filters), nn.ReLU()]


def level(below: int, inputs: int, filters: int) -> list[nn.Module]:
    """Return a level of a U-Net and those below it."""
    row = [*normed(inputs, filters), *normed(filters, filters)]
    if below == 0:
        return row
    larger = nn.ConvTranspose2d(2 * filters, filters, 2, 2)
    way = Beside(nn.MaxPool2d(2), *level(below - 1, filters, 2 * filters), larger)
    return [*row, way, *normed(2 * filters, filters), *normed(filters, filters)]


def autoencoder(script: Any) -> nn.Module:
    """Return the network of autoencoder.py, of two halvings."""
    width, size = script.WIDTH, 2 * script.WIDTH * 7 * 7
    there = [*normed(1, width, 2), *normed(width, 2 * width, 2), nn.Flatten(), nn.Linear(size, script.CODE)]
    back = [nn.Linear(script.CODE, size), nn.ReLU(), nn.Unflatten(1, (2 * width, 7, 7))]
    back += [nn.ConvTranspose2d(2 * width, width, 3, 2, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*there, *back, nn.ConvTranspose2d(width, 1, 3, 2, 1, 1), nn.Sigmoid())


class Task(NamedTuple):
    """What both sides learn; a score is of outputs and targets, as arrays or dicts of arrays."""

    data: tuple[Any, Any, Any, Any]
    ours: Callable[[int], Network]
    theirs: Callable[[], nn.Module]
    cost: Callable[..., Tensor]  # of outputs and targets
    score: Callable[[Any, Any], float]
    cosine: int | None = None  # steps in which the rate falls to 0


def accuracy(y: np.ndarray, target: np.ndarray) -> float:
    return float((y.argmax(axis=1) == (target.argmax(axis=1) if target.ndim == 2 else target)).mean())


def classes_of(target: Tensor) -> Tensor:
    return target.argmax(1) if target.is_floating_point() else target


def digits_task(script: Any, data: Any) -> Task:
    def theirs() -> nn.Module:
        return nn.Sequential(Last(nn.GRU(28, 64, batch_first=True)), nn.Linear(64, 10))

    cost = nn.CrossEntropyLoss()
    return Task(data, script.network, theirs, lambda y, target: cost(y, classes_of(target)), accuracy)


def texts_task(script: Any, loaded: Any) -> Task:
    data, vocabulary, names = loaded
    counts = np.bincount(data[1], minlength=len(names))
    balanced = torch.tensor(len(data[1]) / (len(names) * counts), dtype=torch.float32)
    cost = nn.CrossEntropyLoss(balanced, reduction="none")
    return Task(
        data,
        lambda seed: script.network(vocabulary, names, seed),
        lambda: Texts(script, len(vocabulary), len(names)),
        lambda y, target: cost(y, target).mean(),
        accuracy,
    )


def sunspots_task(script: Any, data: Any) -> Task:
    def theirs() -> nn.Module:
        return nn.Sequential(Last(nn.LSTM(1, script.UNITS, batch_first=True)), nn.Linear(script.UNITS, 1))

    def error(y: np.ndarray, target: np.ndarray) -> float:
        return float(np.abs(y - target).mean() * script.UNIT)

    return Task(data, script.network, theirs, nn.MSELoss(), error)


def segmentation_task(script: Any, data: Any) -> Task:
    def iou(y: np.ndarray, target: np.ndarray) -> float:
        found, counts = y.argmax(axis=1), target != script.EDGE
        each = [((found == one) & counts, (target == one) & counts) for one in range(11)]
        return float(np.mean([(a & b).sum() / (a | b).sum() for a, b in each]))

    each = nn.CrossEntropyLoss(torch.tensor(script.WEIGHTS), ignore_index=script.EDGE, reduction="sum")

    def theirs() -> nn.Module:
        return nn.Sequential(*level(script.DEPTH, 1, script.WIDTH), nn.Conv2d(script.WIDTH, 11, 1))

    def cost(y: Tensor, target: Tensor) -> Tensor:
        return each(y, target) / (target != script.EDGE).sum()  # type: ignore[no-any-return]

    steps = script.EPOCHS * math.ceil(len(data[1]) / script.BATCH)
    return Task(data, lambda seed: script.network(steps, seed), theirs, cost, iou, steps)


def autoencoder_task(script: Any, data: Any) -> Task:
    def error(y: np.ndarray, target: np.ndarray) -> float:
        return float(((y - target) ** 2).mean())

    return Task(data, script.network, lambda: autoencoder(script), nn.MSELoss(), error)


def halves_task(script: Any, data: Any) -> Task:
    digits, values = nn.CrossEntropyLoss(), nn.MSELoss()

    def cost(y: Tensor, digit: Tensor, ink: Tensor) -> Tensor:
        return digits(y[:, :10], digit) + script.INK * values(y[:, 10], ink)  # type: ignore[no-any-return]

    def right(y: Any, target: Any) -> float:
        return accuracy(y["digit"] if isinstance(y, dict) else y[:, :10], target["digit"])

    return Task(data, script.network, Halves, cost, right)


TASKS: dict[str, Callable[[Any, Any], Task]] = {
    "autoencoder": autoencoder_task,
    "digits_row_by_row": digits_task,
    "picture_and_table": halves_task,
    "segmentation": segmentation_task,
    "sunspots": sunspots_task,
    "text_by_topic": texts_task,
}


def rows_of(data: Any) -> Rows:
    if isinstance(data, Sequences):
        return torch.from_numpy(data.padded()), torch.from_numpy(data.lengths)
    several = data.values() if isinstance(data, dict) else [data]
    return tuple(torch.from_numpy(np.array(one, one.dtype if one.dtype.kind == "i" else np.float32)) for one in several)


def train_ours(task: Task, script: Any, options: argparse.Namespace, seed: int) -> float:
    data, target, test_data, test_target = task.data
    net = task.ours(seed)
    net.fit(data, target, epochs=script.EPOCHS, mini_batch_size=script.BATCH, progress=False)
    return task.score(net.feedforward(test_data), test_target)


def train_theirs(task: Task, script: Any, options: argparse.Namespace, seed: int) -> float:
    torch.manual_seed(seed)
    data, target, test_data = (rows_of(part) for part in task.data[:3])
    net = task.theirs()
    for layer in net.modules():
        if isinstance(layer, nn.Embedding):
            nn.init.normal_(layer.weight, std=options.deviation)
    optimizer = torch.optim.Adam(net.parameters(), script.RATE)
    falls = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, task.cosine) if task.cosine else None
    for _ in range(script.EPOCHS):
        net.train()
        for places in torch.randperm(len(target[0])).split(script.BATCH):
            optimizer.zero_grad()
            task.cost(net(*(part[places] for part in data)), *(part[places] for part in target)).backward()
            if hasattr(script, "CLIP"):
                nn.utils.clip_grad_norm_(net.parameters(), script.CLIP)
            optimizer.step()
            if falls:
                falls.step()
    net.eval()
    with torch.no_grad():
        found = [net(*parts) for parts in zip(*(part.split(TESTED) for part in test_data), strict=True)]
    return task.score(torch.cat(found).numpy(), task.data[3])


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("example", choices=sorted(TASKS))
    parser.add_argument("--side", choices=("torch", "gedanken"), nargs="*", default=["gedanken", "torch"])
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch")
    parser.add_argument("--deviation", type=float, default=1.0, help="of the first values of PyTorch's embeddings")
    parser.add_argument(
        "--load", type=json.loads, default={}, help="arguments of the script's load: '{\"limit\": 500}'"
    )
    return parser.parse_args()


def main() -> None:
    options = parsed()
    torch.set_num_threads(options.threads)
    sys.path.insert(0, str(SCRIPTS))
    script = importlib.import_module(options.example)
    task = TASKS[options.example](script, script.load(**options.load))
    for side in options.side:
        train = train_ours if side == "gedanken" else train_theirs
        for seed in options.seeds:
            began = time.process_time()
            score = train(task, script, options, seed)
            line = {"example": options.example, "side": side, "seed": seed, "score": round(score, 4)}
            line["processor_seconds"] = round(time.process_time() - began, 1)
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
