"""PyTorch's side of the benchmark: eager, channels-last with fused Adam, or that compiled."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from networks import (
    EPOCH,
    RATES,
    Description,
    Layer,
    Shape,
    Task,
    checked_batches,
    described,
    loss_of,
    samples,
    walked,
    weights,
)
from torch import Tensor, nn

MODULES = {
    "kernel": "weight",
    "bias": "bias",
    "scale": "weight",
    "shift": "bias",
    "mean": "running_mean",
    "var": "running_var",
}


class Residual(nn.Module):
    """The sum of two ways."""

    def __init__(self, layers: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.layers, self.shortcut = layers, shortcut

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) + self.shortcut(x)


def theirs(layer: Layer, shape: Shape) -> nn.Module:
    """Return PyTorch's module for what takes an input of this shape."""
    match layer:
        case ("conv", filters, size, padding, stride):
            return nn.Conv2d(shape[0], filters, size, stride, padding)
        case ("dense", width):
            return nn.Linear(shape[0], width)
        case ("norm",):
            return nn.BatchNorm2d(shape[0], eps=1e-5, momentum=0.1)
        case ("maxpool", size, stride):
            return nn.MaxPool2d(size, stride)
        case ("dropout", keep):
            return nn.Dropout(1 - keep)
        case ("average",):
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        case ("residual", body, shortcut):
            return Residual(sequence(body, shape), sequence(shortcut, shape))
    return {"relu": nn.ReLU, "flatten": nn.Flatten}[layer[0]]()


def sequence(layers: Sequence[Layer], shape: Shape) -> nn.Sequential:
    return nn.Sequential(*(theirs(layer, entering) for layer, entering, _ in walked(layers, shape)))


def load(net: nn.Module, arrays: Mapping[str, np.ndarray]) -> None:
    """Copy the common weights into PyTorch's layouts."""
    state = net.state_dict()
    for name, array in arrays.items():
        place, _, kind = name.rpartition(".")
        turned = array.transpose({4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[array.ndim])
        state[f"{place}.{MODULES[kind]}"].copy_(torch.from_numpy(turned.copy()))


class Side:
    """A network, its optimizer and its memory layout."""

    def __init__(self, description: Description, configuration: str, rate: float) -> None:
        self.tuned = configuration != "eager"
        net = sequence(description.layers, description.shape)
        load(net, weights(description))
        self.images = len(description.shape) == 3
        if self.tuned and self.images:
            net = net.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(net.parameters(), rate, fused=True if self.tuned else None)
        self.cost = nn.CrossEntropyLoss()
        self.net = torch.compile(net) if configuration == "compiled" else net

    def entering(self, x: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(x)
        return tensor.contiguous(memory_format=torch.channels_last) if self.tuned and self.images else tensor

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
        self.x, self.labels = self.side.entering(x), torch.from_numpy(labels)
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
        return [side.step(side.entering(x), torch.from_numpy(labels)).item() for x, labels in batches]

    def facts(self) -> dict[str, Any]:
        return {"version": torch.__version__}
