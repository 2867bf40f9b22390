"""The experiments of the HOGWILD! paper: sparse problems, and ways for workers to write to the same parameters.

Source:
    Niu, Recht, Ré & Wright 2011, "HOGWILD!", arXiv:1106.5730, section 5. Differs: the data are as many as a minute
    allows, made with the statistics that the paper gives; step sizes are ours, since it does not tell its own.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from gedanken.datasets import load_svmlight
from gedanken.errors import DatasetError
from gedanken.layers import GraphCut, MatrixFactorisation, SparseFullyConnectedLayer
from gedanken.network import Network
from gedanken.optimizers import SGD
from gedanken.parallel.hogwild import Hogwild
from gedanken.schedules import ExponentialDecay
from gedanken.sparse import SparseRows
from gedanken.types import Array

WAYS = ("racy", "atomic", "locked", "per-coordinate", "round-robin")
FALL = 0.9  # of the rate after each epoch, as in the paper
FEATURES, EACH, FLATNESS = 47_236, 75, 0.9  # of RCV1: features, numbers of a row, and how their frequency falls
RANK, PER_PERSON, POPULARITY = 10, 208, 0.44  # of Netflix: entries of a person, and how those of films fall
LARGEST = 1e15  # number of a file: squares of more leave the range of float32
LABELS, NOISE = 4, 0.3  # of a cut: how many, and the share of points that look like any of them


class Problem(NamedTuple):
    """Something to learn.

    Args:
        name, about: what it is called, and what it is.
        network: returns it anew, for so many samples in an epoch.
        data, labels: what it learns from.
    """

    name: str
    about: str
    network: Callable[[int], Network]
    data: Any
    labels: Array


class Result(NamedTuple):
    """One training.

    Args:
        way, workers: who trained.
        rate: samples a second after the first epoch.
        cost: the mean of the last epoch.
    """

    way: str
    workers: int
    rate: float
    cost: float


def measured(problem: Problem, ways: Sequence[str], workers: Sequence[int], epochs: int) -> Iterator[Result]:
    """Train anew in each way with each number of workers, and yield what came of it; Ctrl-C is not kept back."""
    for way in ways:
        for count in workers:
            net = problem.network(len(problem.labels))
            history = net.fit(
                problem.data, problem.labels, epochs=epochs, mini_batch_size=1, progress=False,
                parallel=Hogwild(workers=count, update=way),
            )  # fmt: skip
            if history.reason == "Ctrl-C":
                raise KeyboardInterrupt
            later = history.epochs[1:]
            rate = sum(record.samples for record in later) / sum(record.seconds for record in later)
            yield Result(way, count, rate, history.epochs[-1].cost)


# ------------------------------------------------------------------ support vector machine


def rcv1_like(samples: int) -> tuple[SparseRows, Array]:
    """Return rows whose feature number k comes with a frequency of k**-FLATNESS, and labels 0 and 1."""
    rng = np.random.default_rng(0)
    share = np.arange(1, FEATURES + 1) ** -FLATNESS
    edges = np.cumsum(share / share.sum())
    columns = np.searchsorted(edges, rng.random(samples * EACH)).clip(0, FEATURES - 1).astype(np.int32)
    values = ((rng.random(samples * EACH) + 0.5) / np.sqrt(EACH)).astype(np.float32)
    starts = np.arange(samples + 1) * EACH
    scores = np.add.reduceat(values * rng.normal(size=FEATURES)[columns], starts[:-1])
    scores += 0.3 * scores.std() * rng.normal(size=samples)
    return SparseRows(starts, columns, values, FEATURES), (scores > np.median(scores)).astype(int)


def svm(samples: int) -> Problem:
    """Return a support vector machine on generated rows."""
    return _margin("svm", "rows with the statistics of RCV1", *rcv1_like(samples))


def svm_of_file(path: str) -> Problem:
    """Return a support vector machine on the rows of a file in the svmlight format.

    Where it has more than two labels, the most frequent one is told from all others.

    Raises:
        DatasetError: the file cannot be read, has a single label, or numbers that are not finite or above LARGEST.
    """
    rows, labels = load_svmlight(path)
    for what, numbers in (("labels", labels), ("values", rows.values)):
        if (wrong := ~(abs(numbers) <= LARGEST)).any():
            raise DatasetError(f"{path}: {what} must be at most {LARGEST:g} in size here, got {numbers[wrong][0]}")
    values, counts = np.unique(labels, return_counts=True)
    if len(values) < 2:
        raise DatasetError(f"{path} must have two labels or more, got only {values[0]}")
    yes = values[-1] if len(values) == 2 else values[counts.argmax()]
    return _margin(f"svm {os.path.basename(path)}", f"rows of {path}, label {yes}", rows, (labels == yes).astype(int))


def _margin(name: str, about: str, rows: SparseRows, labels: Array) -> Problem:
    squares = float((rows.values.astype("float64") ** 2).sum()) / len(rows)  # of a row's length, in the mean

    def network(samples: int) -> Network:
        net = Network(seed=1).input((rows.features,)).add(SparseFullyConnectedLayer(1, l2=1e-5))
        return net.regression(SGD(ExponentialDecay(0.5 / max(squares, 1.0), samples, FALL)), "hinge")

    each = rows.count / len(rows)
    about = f"{len(rows):,} {about}; {rows.features:,} features, {each:.0f} in a row"
    return Problem(name, about, network, rows, labels)


# ------------------------------------------------------------------ completing a matrix


def completion(samples: int) -> Problem:
    """Return a matrix of people and films to complete, a film's frequency falling as k**-POPULARITY."""
    people = max(4 * RANK, samples // PER_PERSON)
    films = max(4 * RANK, people // 27)
    rng = np.random.default_rng(0)
    left, right = (rng.normal(size=(size, RANK)) / np.sqrt(RANK) for size in (people, films))
    share = np.arange(1, films + 1) ** -POPULARITY
    seen = np.searchsorted(np.cumsum(share / share.sum()), rng.random(samples)).clip(0, films - 1)
    pairs = np.stack([rng.integers(0, people, samples), seen], axis=1)
    values = (left[pairs[:, 0]] * right[pairs[:, 1]]).sum(axis=1) + 0.1 * rng.normal(size=samples)

    def network(samples: int) -> Network:
        net = Network(seed=1).input((2,)).add(MatrixFactorisation(people, films, RANK))
        return net.regression(SGD(ExponentialDecay(0.05, samples, FALL)), "mean_squared", metrics=[])

    about = f"{samples:,} entries of a matrix of {people:,} people and {films:,} films, rank {RANK}"
    return Problem("completion", about, network, pairs, values.astype("float32"))


# ------------------------------------------------------------------ cutting a graph


def cuts(samples: int) -> Problem:
    """Return a cube of points that are to be parted: balls in it, seen through noise."""
    side = max(4, round((samples / 4) ** (1 / 3)))
    rng = np.random.default_rng(0)
    place = np.stack(np.meshgrid(*3 * [np.arange(side)], indexing="ij"), axis=-1) / side
    true = np.zeros((side, side, side), int)
    for label in range(1, LABELS):
        true[((place - rng.uniform(0.25, 0.75, 3)) ** 2).sum(axis=-1) < 0.2**2] = label
    seen = np.where(rng.random(true.shape) < NOISE, rng.integers(0, LABELS, true.shape), true)
    nodes = LABELS + np.arange(true.size).reshape(true.shape)
    beside = [
        np.stack([np.take(nodes, range(side - 1), axis).ravel(), np.take(nodes, range(1, side), axis).ravel()], 1)
        for axis in range(3)
    ]
    edges = np.concatenate([*beside, np.stack([seen.ravel(), nodes.ravel()], 1)])
    weights = np.where(edges[:, 0] < LABELS, 1.5, 1.0).astype("float32")

    def network(samples: int) -> Network:
        net = Network(seed=1).input((2,)).add(GraphCut(true.size, LABELS))
        return net.regression(SGD(ExponentialDecay(0.3, samples, FALL)), "weighted_mean", metrics=[])

    about = f"{len(edges):,} edges of a cube of {true.size:,} points, {LABELS} labels"
    return Problem("cuts", about, network, edges, weights)


PROBLEMS: dict[str, tuple[Callable[[int], Problem], int]] = {  # and how many samples are enough
    "svm": (svm, 100_000),
    "completion": (completion, 2_000_000),
    "cuts": (cuts, 1_000_000),
}
