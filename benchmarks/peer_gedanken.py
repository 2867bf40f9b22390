"""Gedanken's side of the benchmark. The configuration is the name of the engine."""

import os
from typing import Any

import numpy as np
from networks import CLASSES, EPOCH, PARTS, RATES, Task, checked_batches, described, loss_of, samples, weights

import gedanken
from gedanken import (
    GELU,
    GRU,
    LSTM,
    Adam,
    Convolution1DLayer,
    Dropout,
    FullyConnectedLayer,
    GlobalAveragePool1DLayer,
    Layer,
    LayerNorm,
    MaxPool1DLayer,
    MultiHeadAttention,
    Network,
    ReLU,
    Residual,
    SoftMax,
    networks,
)
from gedanken.data.batches import Batch
from gedanken.parallel.single import Single


def transformer() -> list[Layer]:
    attention = Residual([LayerNorm(), MultiHeadAttention(4)])
    mlp = Residual([LayerNorm(), FullyConnectedLayer(512), GELU(), FullyConnectedLayer(128)])
    return [attention, mlp, GlobalAveragePool1DLayer(), *classified()]


def conv1d() -> list[Layer]:
    row = [Convolution1DLayer(64, 5, zero_padding="same"), ReLU(), MaxPool1DLayer(2)]
    return [*row, *row, *row, GlobalAveragePool1DLayer(), *classified()]


def classified() -> list[Layer]:
    return [FullyConnectedLayer(CLASSES), SoftMax()]


NETWORKS = {
    "diary": lambda: networks.diary(CLASSES),
    "mlp": lambda: networks.mlp(CLASSES)[1:],  # the samples are flat already
    "lenet": lambda: networks.lenet5(CLASSES),
    "vgg": lambda: networks.vgg(CLASSES),
    "resnet": lambda: networks.resnet20(CLASSES),
    "lstm": lambda: [LSTM(128, last=True), *classified()],
    "gru": lambda: [GRU(128, last=True), *classified()],
    "transformer": transformer,
    "conv1d": conv1d,
    "unet": lambda: networks.unet((3, 64, 64), PARTS),
    "autoencoder": lambda: networks.autoencoder((1, 28, 28)),
}


def built(name: str, engine: str, rate: float, thin: bool = True) -> Network:
    """Return the compiled network with the common weights; with `thin` false its dropouts keep everything."""
    description = described(name)
    net = Network().input(description.shape)
    for layer in NETWORKS[name]():
        net.add(layer if thin or not isinstance(layer, Dropout) else Dropout(1.0))
    threads = {"threads": int(os.environ["BENCH_THREADS"])} if engine == "cpu" else {}
    net.regression(Adam(rate), description.cost, engine=engine, **threads)
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
        counts = [row.multiply_adds for row in self.net.summary().rows]
        return {"version": gedanken.__version__, "forward": sum(counts), "first": self._first(counts[0])}

    def _first(self, count: int) -> int:
        """Return the multiply-adds of the first layer's input gradient, of so many forward: nobody needs it."""
        match self.description.layers[0]:
            case ("lstm" | "gru", units):
                features = self.description.shape[1]
                return count * features // (features + units)
            case ("residual", *_):
                return 0  # it is needed for the norm before the products
        return count
