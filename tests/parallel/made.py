"""Layers, costs and metrics that workers import: some do something bad at one sample."""

import math
import os
import signal
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gedanken import (
    BatchNorm,
    Dropout,
    FullyConnectedLayer,
    Generator,
    Layer,
    Metric,
    Network,
    Param,
    ReLU,
    SoftMax,
    Zeros,
)
from gedanken.types import Array

CLASSES, FEATURES = 3, 6


def arrays(samples: int = 96, seed: int = 0) -> tuple[Array, Array]:
    """Return samples that can be learnt: the class is the largest of the first three numbers."""
    x = np.random.default_rng(seed).random((samples, FEATURES), np.float32)
    return x, x[:, :CLASSES].argmax(1)


def network(engine: Any = "cpu", optimizer: Any = "sgd", *extra: Layer, seed: int = 1, norm: bool = True) -> Network:
    """Return a small network with what depends on place and order: dropout and running means."""
    net = Network(seed).input((FEATURES,))
    for layer in extra:
        net.add(layer)
    net.add(FullyConnectedLayer(16))
    if norm:
        net.add(BatchNorm())
    net.add(ReLU()).add(Dropout(0.8)).add(FullyConnectedLayer(CLASSES)).add(SoftMax())
    return net.regression(optimizer, engine=engine)


@dataclass(frozen=True)
class Acts(Layer):
    """Passes its input on; where a sample is larger than 1 it does what it is told, once if a file is there to say so.

    Args:
        act: what to do.
        once: a file that is there as long as it was not done; "" does it each time.
    """

    act: str
    once: str = ""
    exact_gradient = False

    def output_shape(self, shape: Any) -> Any:
        return shape

    def forward(self, ctx: Any, p: Any, s: Any, x: Array) -> tuple[Array, Any]:
        acts = x.max() > 1 and ctx.train and self._due()
        if acts:
            self._do()
        return np.full_like(x, np.nan) if acts and self.act == "blank" else x.copy(), None

    def backward(self, ctx: Any, p: Any, g: Any, cache: Any, dy: Array) -> Array:
        if self.act == "nan" and dy.shape[0] == 7:
            return np.full_like(dy, np.nan)
        return dy

    def _due(self) -> bool:
        if not self.once:
            return True
        try:
            os.unlink(self.once)
        except FileNotFoundError:
            return False
        return True

    def _do(self) -> None:
        if self.act == "raise":
            raise KeyError("no such sample")
        if self.act == "exit":
            sys.exit(5)
        if self.act == "_exit":
            os._exit(3)
        if self.act == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.act == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        if self.act == "sleep":
            time.sleep(1e6)
        if self.act == "warn":
            warnings.warn("of the layer's own", stacklevel=1)


@dataclass(frozen=True)
class Counts(Layer):
    """Its parameters' gradient is -1, so that SGD(1.0) adds 1 to each of them in every update."""

    size: int = 4000
    exact_gradient = False

    def params(self, shape: Any) -> dict[str, Param]:
        return {"w": Param((self.size,), Zeros())}

    def output_shape(self, shape: Any) -> Any:
        return shape

    def forward(self, ctx: Any, p: Any, s: Any, x: Array) -> tuple[Array, Any]:
        return x.copy(), None

    def backward(self, ctx: Any, p: Any, g: Any, cache: Any, dy: Array) -> Array:
        g["w"][...] = -1
        return dy


@dataclass(frozen=True)
class Seen(Metric):
    """How often each sample was learnt from; the label is its number."""

    samples: int
    name = "seen"
    better = None

    def measure(self, ops: Any, y: Array, target: Array) -> Array:
        return np.bincount(np.asarray(target).reshape(-1).astype(int), minlength=self.samples)

    def merge(self, one: Array, other: Array) -> Array:
        return one + other

    def value(self, statistics: Array) -> Any:
        return statistics.astype(float)


@dataclass(frozen=True)
class Dies(Metric):
    """Kills its process, but for the owner, once a file is there: when an order has been learnt from."""

    once: str
    owner: int

    def measure(self, ops: Any, y: Array, target: Array) -> Array:
        if os.getpid() != self.owner and os.path.exists(self.once):
            os.unlink(self.once)
            os.kill(os.getpid(), signal.SIGKILL)
        return np.zeros(1)

    def value(self, statistics: Array) -> float:
        return float(statistics[0])


@dataclass(frozen=True)
class Mortal(Layer):
    """Kills any process but the owner that lays it out, once if a file is there to say so: while a worker starts.

    Args:
        once: a file that is there as long as it was not done; "" does it each time.
        owner: process id.
    """

    once: str
    owner: int

    def output_shape(self, shape: Any) -> Any:
        if os.getpid() != self.owner and (not self.once or os.path.exists(self.once)):
            if self.once:
                os.unlink(self.once)
            os.kill(os.getpid(), signal.SIGKILL)
        return shape

    def forward(self, ctx: Any, p: Any, s: Any, x: Array) -> tuple[Array, Any]:
        return x.copy(), None

    def backward(self, ctx: Any, p: Any, g: Any, cache: Any, dy: Array) -> Array:
        return dy


class Made(Generator):
    """Gives `arrays` in calls of various lengths."""

    def __init__(self, samples: int = 96, **options: Any) -> None:
        super().__init__(**options)
        self.x, self.y = arrays(samples)
        self.samples = samples

    def __len__(self) -> int:
        return math.ceil(self.samples / 10)

    def get_mini_batches(self, index: int) -> list[Any]:
        part = slice(10 * index, 10 * index + 10)
        return list(zip(self.x[part], self.y[part], strict=True))


class Numbered(Made):
    """The label is the sample's number."""

    def __init__(self, samples: int = 96, **options: Any) -> None:
        super().__init__(samples, **options)
        self.y = np.arange(samples, dtype=np.float32).reshape(-1, 1)


def marked(samples: int = 96, where: int = 50) -> tuple[Array, Array]:
    """Return `arrays`, one of them marked for `Acts`."""
    x, y = arrays(samples)
    x[where, 0] = 2.0
    return x, y


def flag(folder: Path) -> str:
    """Return the name of a file that is there."""
    (folder / "once").touch()
    return str(folder / "once")
