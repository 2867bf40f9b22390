"""What is trained: networks, data and sizes that every peer takes."""

import os
from typing import Any, NamedTuple

import numpy as np

EPOCHS = 4  # the first one is not counted


class Task(NamedTuple):
    """One row of the table.

    Args:
        network: "mlp" or "diary".
        data: "fashion", "mnist" or "drawn".
        samples: to train on in an epoch.
        batch: samples of a mini-batch.
        seed: of the weights.
    """

    network: str
    data: str
    samples: int
    batch: int
    seed: int = 1


Pair = tuple[Any, Any]


def samples(task: Task) -> tuple[Pair, Pair]:
    """Return what to train on and what to test on: pictures (N, 784) or (N, 1, 28, 28), and class numbers."""
    from gedanken import datasets  # noqa: PLC0415

    load = {"fashion": datasets.load_fashion_fc, "mnist": datasets.load_fc}[task.data]
    x, y, x_test, y_test = load()
    shape = (-1, 784) if task.network == "mlp" else (-1, 1, 28, 28)
    every: list[Any] = [np.ascontiguousarray(part.reshape(shape), np.float32) for part in (x, x_test)]
    labels, test_labels = (part.argmax(1) if part.ndim == 2 else part for part in (y, y_test))
    return (every[0][: task.samples], labels[: task.samples]), (every[1], test_labels)


def processors() -> int:
    return len(os.sched_getaffinity(0))
