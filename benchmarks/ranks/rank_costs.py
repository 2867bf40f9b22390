"""What a training step costs on this machine, by one thread: the numbers that the models of ranks begin with."""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gedanken import BatchNorm, Cpu, FullyConnectedLayer, Network, ReLU, SoftMax, networks
from gedanken.data.batches import ArraySource
from gedanken.layers import Layer
from gedanken.ranks.communicator import Communicator

NUMBER = 4  # bytes of a parameter
FORWARD = 1 / 3  # of a pass: two operations for each multiply-add forwards, four backwards


class LayerCosts(NamedTuple):
    """What is known of a layer.

    Args:
        share: of the time of a pass, in [0, 1].
        parameters: bytes.
        output: bytes of one sample.
        norm: channels whose mean and variance all ranks find together; 0: none.
    """

    share: float
    parameters: int
    output: int
    norm: int = 0


class Costs(NamedTuple):
    """What training a network costs one rank.

    Args:
        batch: samples of a mini-batch.
        passes: numbers of samples, growing, and the seconds of a forward and backward pass with so many.
        update: seconds of the optimizer's step.
        layers: from the first to the last.
        adding: bytes a second of one array added to another.
    """

    batch: int
    passes: tuple[tuple[int, float], ...]
    update: float
    layers: tuple[LayerCosts, ...]
    adding: float

    def seconds(self, samples: int) -> float:
        """Return how long a pass takes, between two numbers that were measured along the line through them."""
        counts, seconds = zip(*self.passes, strict=True)
        return float(np.interp(samples, counts, np.maximum.accumulate(seconds)))

    @property
    def parameters(self) -> int:
        """Bytes of all parameters."""
        return sum(layer.parameters for layer in self.layers)


def _deep(classes: int) -> list[Layer]:
    layers = [layer for _ in range(8) for layer in (FullyConnectedLayer(1024), ReLU())]
    return [*layers[:-2], FullyConnectedLayer(classes), SoftMax()]


NETWORKS = {  # name: layers, shape of a sample, classes, mini-batch
    "MLP 784-128-10": (networks.mlp, (1, 28, 28), 10, 512),
    "the diary's network": (networks.diary, (1, 28, 28), 10, 256),
    "8 dense layers of 1024": (_deep, (1024,), 1024, 1024),
}


def measured(name: str, turns: int) -> Costs:
    """Measure what a network costs; the shortest of some turns counts, since what disturbs a machine only adds."""
    layers, shape, classes, batch = NETWORKS[name]
    net = Network(seed=1).input(shape)
    for layer in layers(classes):
        net.add(layer)
    net.regression("adam", engine=Cpu(threads=1))
    rng = np.random.default_rng(0)
    x, labels = rng.random((batch, *shape), np.float32), rng.integers(0, classes, batch)
    net.fit(x, labels, mini_batch_size=batch, progress=False)
    train_state = net._train_state
    assert train_state
    plan, optimizer_state = train_state.plan, train_state.optimizer_state

    def a_pass(samples: int) -> float:
        (batch,) = ArraySource(x[:samples], labels[:samples], samples, shuffle=True, seed=1).batches(1)
        ctx = plan.context(train=True, epoch=1, position=batch.position)
        return _shortest(lambda: plan.cost_and_gradients(ctx, batch.x, batch.target), turns)

    counts = [*(4**power for power in range(6) if 4**power < batch), batch]
    passes = tuple((samples, a_pass(samples)) for samples in counts)
    update = _shortest(lambda: optimizer_state.apply(plan.params, plan.grads, 1.0), turns)
    rows = net.summary().rows
    total = sum(row.multiply_adds for row in rows)
    found = tuple(
        LayerCosts(
            row.multiply_adds / total,
            NUMBER * row.parameters,
            NUMBER * int(np.prod(row.output_shape)),
            row.output_shape[0] if isinstance(layer, BatchNorm) else 0,
        )
        for layer, row in zip(layers(classes), rows, strict=True)
    )
    return Costs(batch, passes, update, found, adding_rate(turns))


def adding_rate(turns: int) -> float:
    """Return the bytes a second at which one array is added to another."""
    here, there = np.ones(1 << 20, np.float32), np.ones(1 << 20, np.float32)
    return here.nbytes / _shortest(lambda: np.add(here, there, out=here), turns)


def link_of(ranks: Communicator, turns: int) -> tuple[float, float]:
    """Return seconds of latency and bytes a second between ranks 0 and 1, from messages there and back."""

    def there_and_back(vector: np.ndarray) -> None:
        for source in (0, 1):
            if ranks.rank == source:
                ranks.send(vector, 1 - source)
            elif ranks.rank == 1 - source:
                ranks.receive(vector, source)

    small, large = np.zeros(1, np.float32), np.zeros(4_300_000, np.float32)
    latency = _shortest(lambda: there_and_back(small), 100 * turns, time.perf_counter) / 2
    return latency, large.nbytes / (_shortest(lambda: there_and_back(large), turns, time.perf_counter) / 2 - latency)


def _shortest(work: Callable[[], object], turns: int, clock: Callable[[], float] = time.process_time) -> float:
    """Return the seconds of the shortest turn: of this process, where nothing else has the processor meanwhile."""
    found = []
    for _ in range(turns):
        began = clock()
        work()
        found.append(clock() - began)
    return min(found)
