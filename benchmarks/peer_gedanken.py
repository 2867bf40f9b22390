"""Gedanken's side of the benchmark. The configuration is the name of the engine."""

import os
from typing import Any

import numpy as np
from networks import CLASSES, EPOCH, RATES, Task, checked_batches, described, loss_of, samples, weights

import gedanken
from gedanken import Adam, Dropout, Network, networks
from gedanken.data.batches import Batch
from gedanken.parallel.single import Single

NETWORKS = {
    "diary": networks.diary,
    "mlp": lambda classes: networks.mlp(classes)[1:],  # the samples are flat already
    "lenet": networks.lenet5,
    "vgg": networks.vgg,
    "resnet": networks.resnet20,
}


def built(name: str, engine: str, rate: float, thin: bool = True) -> Network:
    """Return the compiled network with the common weights; with `thin` false its dropouts keep everything."""
    description = described(name)
    net = Network().input(description.shape)
    for layer in NETWORKS[name](CLASSES):
        net.add(layer if thin or not isinstance(layer, Dropout) else Dropout(1.0))
    threads = {"threads": int(os.environ["BENCH_THREADS"])} if engine == "cpu" else {}
    net.regression(Adam(rate), "cross_entropy", engine=engine, **threads)
    net._plan.restore(weights(description))
    return net


class Peer:
    """The work of one task."""

    def __init__(self, engine: str, task: Task) -> None:
        self.engine, self.task = engine, task
        self.description = described(task.network)
        self.net = built(task.network, engine, RATES[task.kind])
        self.x, self.labels = samples(self.description, EPOCH if task.kind == "epoch" else task.batch)
        self.run = {"step": self._step(), "epoch": self._epoch, "predict": self._predict}[task.kind]

    def _step(self) -> Any:
        strategy, train_state = Single(), self.net._train_state
        strategy.start(train_state)
        x, target, _ = self.net._input_spec("fit").checked("{}", self.x, self.labels)
        batch = Batch(x, target, 0, 1.0)
        return lambda: strategy.step(batch, 0)

    def _epoch(self) -> None:
        self.net.fit(self.x, self.labels, mini_batch_size=self.task.batch, progress=False)

    def _predict(self) -> np.ndarray:
        return self.net.feedforward(self.x, mini_batch_size=self.task.batch)

    def check(self) -> list[float]:
        net = built(self.task.network, self.engine, RATES["check"], thin=False)
        batches = checked_batches(self.description, self.task)
        if self.task.kind == "predict":
            return [loss_of(net.feedforward(x, mini_batch_size=len(x)), labels) for x, labels in batches]
        strategy = Single()
        strategy.start(net._train_state)
        pairs = [net._input_spec("fit").checked("{}", x, labels) for x, labels in batches]
        return [strategy.step(Batch(x, target, 0, 1.0), 0).cost for x, target, _ in pairs]

    def facts(self) -> dict[str, Any]:
        rows = [row.multiply_adds for row in self.net.summary().rows]
        first = next(count for count in rows if count)
        return {"version": gedanken.__version__, "forward": sum(rows), "first": first}
