"""NumPy's side of the benchmark: an epoch of the MLP written by hand, and the machine's own rate of products."""

from typing import Any

import numpy as np
from networks import EPOCH, RATES, Task, checked_batches, described, samples, weights

SIZE = 2048  # of the matrices whose product gives the rate


class ByHand:
    """The MLP: its forward and backward pass and Adam."""

    def __init__(self, rate: float) -> None:
        arrays = weights(described("mlp"))
        self.p = [arrays[name] for name in ("0.kernel", "0.bias", "2.kernel", "2.bias")]
        self.m, self.v = ([np.zeros_like(one) for one in self.p] for _ in range(2))
        self.rate, self.count = rate, 0

    def step(self, x: np.ndarray, labels: np.ndarray) -> float:
        w1, b1, w2, b2 = self.p
        rows = np.arange(len(x))
        h = np.maximum(x @ w1 + b1, 0)
        z = h @ w2 + b2
        z = np.exp(z - z.max(axis=1, keepdims=True))
        z /= z.sum(axis=1, keepdims=True)
        loss = float(-np.log(z[rows, labels]).mean())
        z[rows, labels] -= 1
        z /= np.float32(len(x))
        dh = (z @ w2.T) * (h > 0)
        self._adam([x.T @ dh, dh.sum(axis=0), h.T @ z, z.sum(axis=0)])
        return loss

    def _adam(self, grads: list[np.ndarray]) -> None:
        self.count += 1
        first, second = 1 - 0.9**self.count, 1 - 0.999**self.count
        for i, g in enumerate(grads):
            self.m[i] += 0.1 * (g - self.m[i])
            self.v[i] += 0.001 * (g * g - self.v[i])
            self.p[i] -= self.rate / first * self.m[i] / (np.sqrt(self.v[i] / second) + 1e-8)


class Peer:
    """The work of one task: "epoch" of the MLP, or "sgemm", one product of large matrices."""

    def __init__(self, configuration: str, task: Task) -> None:
        self.task, self.rng = task, np.random.default_rng(0)
        if task.kind == "sgemm":
            self.a, self.b = (self.rng.random((SIZE, SIZE), np.float32) for _ in range(2))
            self.c = np.empty_like(self.a)
        else:
            self.net = ByHand(RATES[task.kind])
            self.x, self.labels = samples(described("mlp"), EPOCH)
        self.run = {"sgemm": self._sgemm, "epoch": self._epoch}[task.kind]

    def _sgemm(self) -> None:
        np.matmul(self.a, self.b, out=self.c)

    def _epoch(self) -> None:
        order = self.rng.permutation(len(self.x))
        for start in range(0, len(order), self.task.batch):
            rows = order[start : start + self.task.batch]
            self.net.step(self.x[rows], self.labels[rows])

    def check(self) -> list[float]:
        net = ByHand(RATES["check"])
        return [net.step(x, labels) for x, labels in checked_batches(described("mlp"), self.task)]

    def facts(self) -> dict[str, Any]:
        return {"version": np.__version__, "products": 2 * SIZE**3}
