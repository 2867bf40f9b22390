"""Gedanken's side: the serial training, and Hogwild with any number of workers."""

import os
import tempfile
import time
from typing import Any

import numpy as np
from tasks import EPOCHS, FEATURES, PEOPLE, RANK, THINGS, Task, ratings, samples, sparse_rows

from gedanken import (
    SGD,
    Accuracy,
    Adam,
    Cpu,
    Dropout,
    ExponentialDecay,
    FullyConnectedLayer,
    Hogwild,
    MatrixFactorisation,
    Metric,
    Network,
    ReLU,
    Sigmoid,
    SoftMax,
    SparseFullyConnectedLayer,
    SparseRows,
    Zeros,
    networks,
)


class Slow(Metric):
    """Makes the first process that measures it four times as slow, the one that runs the benchmark left out.

    It takes three times as long as the process has computed since it was last here; waiting is not counted.
    """

    def __init__(self) -> None:
        self.file, self.owner = os.path.join(tempfile.mkdtemp(), "claim"), os.getpid()
        self.mine: bool | None = None
        self.last = 0.0

    def measure(self, y: Any, target: Any) -> Any:  # type: ignore[override]
        if self.mine is None and os.getpid() != self.owner:
            try:
                os.close(os.open(self.file, os.O_CREAT | os.O_EXCL))
                self.mine = True
            except FileExistsError:
                self.mine = False
        if self.mine and self.last:
            end = 4 * time.thread_time() - 3 * self.last
            while time.thread_time() < end:
                pass
        self.last = time.thread_time()
        return np.array([len(y)], float)

    def value(self, total: Any) -> Any:
        return float(total[0])


def network(task: Task, threads: int, slow: bool = False) -> Network:
    """Return the compiled network."""
    if task.data == "ratings":
        net = Network(seed=task.seed).input((2,)).add(MatrixFactorisation(PEOPLE, THINGS, RANK))
        return net.regression(SGD(0.05), "mean_squared", metrics=[], engine=Cpu(threads=threads))
    if task.data == "rcv1":
        layers: list[Any] = [SparseFullyConnectedLayer(1, init=Zeros())]
        layers += [Sigmoid()] if task.network == "logistic" else []
        steps = -(-task.samples // task.batch)
        net, rule = Network(seed=task.seed).input((FEATURES,)), SGD(ExponentialDecay(0.5, steps, 0.9))
        cost = "binary_cross_entropy" if task.network == "logistic" else "hinge"
    elif task.network == "diary":
        layers = [layer if not isinstance(layer, Dropout) else Dropout(layer.keep) for layer in networks.diary(10)]
        net, rule, cost = Network(seed=task.seed).input((1, 28, 28)), Adam(1e-3), "cross_entropy"
    else:
        layers = [FullyConnectedLayer(128), ReLU(), FullyConnectedLayer(10), SoftMax()]
        net, rule, cost = Network(seed=task.seed).input((784,)), SGD(0.1), "cross_entropy"
    for layer in layers:
        net.add(layer)
    return net.regression(rule, cost, metrics=[Accuracy(), Slow()] if slow else None, engine=Cpu(threads=threads))


class Peer:
    """One way to train.

    Args:
        configuration: "plain THREADS", or "WORKERS BACKEND UPDATE", perhaps with "dynamic" or "static" behind it:
            then one worker is four times as slow as the others.
        task: what is trained.
    """

    def __init__(self, configuration: str, task: Task) -> None:
        self.task = task
        if task.data == "rcv1":
            starts, columns, values, self.y = sparse_rows(task.samples)
            self.x = SparseRows(starts, columns, values, FEATURES)
            self.test = self.x, self.y
        elif task.data == "ratings":
            pairs, values = ratings(task.samples + task.samples // 10)
            self.x, self.y = pairs[: task.samples], values[: task.samples]
            self.test = pairs[task.samples :], values[task.samples :]
        else:
            (self.x, self.y), self.test = samples(task)
        first, second, *rest = configuration.split()
        self.slow = len(rest) > 1
        how = {"update": rest[0], "schedule": rest[1] if self.slow else "dynamic"} if rest else {}
        self.parallel = None if first == "plain" else Hogwild(workers=int(first), backend=second, **how)
        self.threads = int(second) if first == "plain" else len(os.sched_getaffinity(0))

    def run(self) -> dict[str, Any]:
        """Train anew; return samples per second after the first epoch, accuracy, and how long the start took."""
        net = network(self.task, self.threads, self.slow)
        began = time.perf_counter()
        how: dict[str, Any] = {"mini_batch_size": self.task.batch, "epochs": EPOCHS, "progress": False}
        history = net.fit(self.x, self.y, parallel=self.parallel, **how)
        wall = time.perf_counter() - began
        later = history.epochs[1:]
        rate = sum(record.samples for record in later) / sum(record.seconds for record in later)
        found = net.evaluate(*self.test, progress=False)
        start = wall - sum(record.seconds for record in later) - self.task.samples / rate
        report = history.epochs[-1].parallel or {}
        told = {name: report.get(name) for name in ("mean_staleness", "conflicts", "lost")}
        cost = found["cost"] ** 0.5 if self.task.data == "ratings" else history.epochs[-1].cost
        return {"rate": rate, "accuracy": found.get("accuracy"), "cost": cost, "start": start, **told}
