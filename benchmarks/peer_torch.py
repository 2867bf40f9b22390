"""PyTorch's side of the benchmark: eager, tuned (channels-last or time-first, with fused Adam), or that compiled."""

import os
from typing import Any

import numpy as np
import torch
from networks import EPOCH, RATES, Description, Task, checked_batches, described, loss_of, samples, weights
from torch import Tensor, nn
from torch_layers import entering, load, sequence

COSTS = {"cross_entropy": nn.CrossEntropyLoss, "binary_cross_entropy": nn.BCEWithLogitsLoss}


class Side:
    """A network, its optimizer and its memory layout."""

    def __init__(self, description: Description, configuration: str, rate: float) -> None:
        self.tuned, self.layers = configuration != "eager", description.layers
        net = sequence(description.layers, description.shape, self.tuned)
        load(net, weights(description))
        if self.tuned:
            net = net.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(net.parameters(), rate, fused=True if self.tuned else None)
        self.cost = COSTS[description.cost]()
        self.net = torch.compile(net) if configuration == "compiled" else net

    def entering(self, x: np.ndarray) -> Tensor:
        return entering(x, self.layers, self.tuned)

    def targets(self, y: np.ndarray) -> Tensor:
        return entering(y, self.layers, self.tuned) if y.dtype == np.float32 else torch.from_numpy(y)

    def step(self, x: Tensor, labels: Tensor) -> Tensor:
        self.optimizer.zero_grad()
        loss = self.cost(self.net(x), labels)
        loss.backward()
        self.optimizer.step()
        return loss

    def predict(self, x: Tensor) -> np.ndarray:
        with torch.inference_mode():
            return self.net(x).softmax(1).numpy()


class Peer:
    """The work of one task."""

    def __init__(self, configuration: str, task: Task) -> None:
        torch.set_num_threads(int(os.environ["BENCH_THREADS"]))
        torch.manual_seed(0)
        self.configuration, self.task = configuration, task
        description = described(task.network)
        self.side = self._side(description, RATES[task.kind])
        x, labels = samples(description, EPOCH if task.kind == "epoch" else task.batch)
        self.x, self.labels = self.side.entering(x), self.side.targets(labels)
        self.run = {"step": self._step, "epoch": self._epoch, "predict": self._predict}[task.kind]

    def _side(self, description: Description, rate: float) -> Side:
        side = Side(description, self.configuration, rate)
        side.net.train(self.task.kind != "predict")
        return side

    def _step(self) -> None:
        self.side.step(self.x, self.labels)

    def _epoch(self) -> None:
        for rows in torch.randperm(len(self.x)).split(self.task.batch):
            self.side.step(self.x[rows], self.labels[rows])

    def _predict(self) -> np.ndarray:
        return self.side.predict(self.x)

    def check(self) -> list[float]:
        description = described(self.task.network, thin=False)
        side = self._side(description, RATES["check"])
        batches = checked_batches(description, self.task)
        if self.task.kind == "predict":
            return [loss_of(side.predict(side.entering(x)), labels) for x, labels in batches]
        return [side.step(side.entering(x), side.targets(labels)).item() for x, labels in batches]

    def facts(self) -> dict[str, Any]:
        return {"version": torch.__version__}
