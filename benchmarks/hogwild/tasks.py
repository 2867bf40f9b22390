"""What is trained: networks, data and sizes that every peer takes."""

import os
from typing import Any, NamedTuple

import numpy as np

EPOCHS = 4  # the first one is not counted


class Task(NamedTuple):
    """One row of the table.

    Args:
        network: "mlp", "diary", for sparse rows "logistic" or "hinge", or "factors", a matrix that is completed.
        data: "fashion", "mnist", "rcv1", rows that are made with the statistics of RCV1, or "ratings", entries of a
            matrix of rank 10 with some noise.
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


FEATURES = 47_236  # of RCV1


def sparse_rows(samples: int) -> tuple[Any, Any, Any, Any]:
    """Return starts, columns, values and labels (0 or 1) of rows with the statistics of RCV1."""
    from gedanken.experiments import rcv1_like  # noqa: PLC0415

    rows, labels = rcv1_like(samples)
    return np.append(rows.begins, rows.count), rows.columns, rows.values, labels


PEOPLE, THINGS, RANK = 60_000, 20_000, 10  # of the ratings


def ratings(samples: int) -> tuple[Any, Any]:
    """Return places (N, 2) and values of entries."""
    rng = np.random.default_rng(0)
    left, right = (rng.normal(size=(size, RANK)) / np.sqrt(RANK) for size in (PEOPLE, THINGS))
    pairs = np.stack([rng.integers(0, PEOPLE, samples), rng.integers(0, THINGS, samples)], axis=1)
    values = (left[pairs[:, 0]] * right[pairs[:, 1]]).sum(axis=1) + 0.1 * rng.normal(size=samples)
    return pairs, values.astype(np.float32)


def processors() -> int:
    return len(os.sched_getaffinity(0))
