"""Kernels stay inside their buffers, buffers that live at the same time do not meet, and a step takes what it says."""

import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gedanken import (
    GELU,
    GLU,
    AveragePoolLayer,
    BatchNorm,
    Branches,
    ConvolutionLayer,
    Dropout,
    Embedding,
    Flatten,
    FullyConnectedLayer,
    GaussianNoise,
    GroupNorm,
    InstanceNorm,
    Layer,
    LayerNorm,
    LogSoftMax,
    MaxPoolLayer,
    PReLU,
    ReLU,
    Residual,
    RMSNorm,
    SpatialDropout,
    TanH,
)
from gedanken.engine.base import Engine
from gedanken.engine.cpu import program, threads
from gedanken.engine.cpu.engine import CpuEngine, FusedLayers
from gedanken.engine.cpu.program import Buffer
from gedanken.types import Array, Shape
from tests.cases import name_of
from tests.cpu.agree import check_agreement, passes
from tests.cpu.test_bf16 import EMULATED, on
from tests.cpu.test_kernels_agree import KNOWN, WINDOWS, values

MARGIN = 256  # bytes
POISON = 0xFF  # four or eight of them are a NaN, so a read outside shows in the results


class Poison:
    """Memory whose surroundings are not numbers."""

    def __init__(self) -> None:
        self.blocks: list[tuple[Array, int]] = []

    def aligned(self, size: int) -> Array:
        block = np.full(size + 2 * MARGIN + 64, POISON, np.uint8)
        start = MARGIN - (block.ctypes.data + MARGIN) % 64 + 64
        self.blocks.append((block, start))
        return block[start : start + size]

    def zeros(self, shape: Any, dtype: Any = float) -> Array:
        dtype = np.dtype(dtype)
        raw = self.aligned(int(np.prod(shape, dtype=int)) * dtype.itemsize)
        raw[...] = 0
        return raw.view(dtype).reshape(shape)

    def lay_out(self, buffers: list[Buffer]) -> int:
        place = MARGIN
        for buffer in buffers:
            buffer.place = place
            place += -(-buffer.nbytes // 64) * 64 + MARGIN
        return place

    def check(self, memory: Array, buffers: list[Buffer]) -> None:
        free = np.ones(memory.size, bool)
        for buffer in buffers:
            free[buffer.place : buffer.place + buffer.nbytes] = False
        assert (memory[free] == POISON).all()


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> Iterator[Poison]:
    poison = Poison()
    monkeypatch.setattr(program, "aligned", poison.aligned)
    monkeypatch.setattr(threads, "aligned", poison.aligned)
    monkeypatch.setattr(program, "_lay_out", poison.lay_out)
    yield poison
    for block, start in poison.blocks:
        assert (block[:start] == POISON).all()


ROWS: list[tuple[list[Layer], Shape]] = [
    *[([case.layer], case.shape) for case in KNOWN],
    *[([layer, BatchNorm()], shape) for layer, shape in WINDOWS],
    ([ConvolutionLayer(17, 3, 2, zero_padding="same"), BatchNorm(), ReLU(), MaxPoolLayer(2, 2)], (3, 9, 7)),
    ([ConvolutionLayer(5, 3, 3, stride=2), TanH(), AveragePoolLayer(2, 2), Dropout(0.5)], (7, 11, 11)),
    ([ConvolutionLayer(11, 3, 3, groups=11, zero_padding=1), BatchNorm(), ReLU()], (11, 6, 5)),
    ([ConvolutionLayer(18, 3, 3), ConvolutionLayer(21, 3, 3, groups=3)], (6, 8, 8)),
    ([Residual([ConvolutionLayer(9, 3, 3, zero_padding=1), BatchNorm()])], (9, 5, 5)),
    ([Branches([ConvolutionLayer(9, 3, 3, zero_padding=1), ReLU()], [], ConvolutionLayer(5, 1, 1))], (3, 5, 7)),
    ([Branches([ConvolutionLayer(17, 1, 1), BatchNorm()], ConvolutionLayer(17, 1, 1), merge="sum")], (3, 5, 7)),
    ([Flatten(), FullyConnectedLayer(33), ReLU(), Dropout(0.5), FullyConnectedLayer(3)], (5, 3, 7)),
    ([LayerNorm(), FullyConnectedLayer(33), GELU(), LayerNorm()], (3, 37)),
    ([GroupNorm(3), FullyConnectedLayer(35), GELU(), GroupNorm(5)], (3, 39)),
    ([GroupNorm(7), ConvolutionLayer(5, 3, 3), GroupNorm(1), GELU()], (7, 9, 7)),
    ([Branches([Embedding(5, 17), PReLU()], Embedding(5, 3)), RMSNorm(), Flatten(), FullyConnectedLayer(3)], (7,)),
    ([GaussianNoise(0.1), InstanceNorm(), PReLU(shared=True), SpatialDropout(0.5), LogSoftMax()], (7, 9, 5)),
    ([ConvolutionLayer(18, 1, 1), GLU(), PReLU()], (3, 5, 7)),
    ([LayerNorm(), ConvolutionLayer(5, 3, 3), BatchNorm(), GELU(), MaxPoolLayer(2, 2)], (7, 9, 7)),
]


@pytest.mark.parametrize("kind", ["float32", "float64", "bf16"])
@pytest.mark.parametrize("samples", [1, 5])
@pytest.mark.parametrize(("layers", "shape"), ROWS, ids=str)
def test_no_kernel_reads_or_writes_outside(
    layers: list[Layer], shape: Shape, samples: int, kind: str, poison: Poison, monkeypatch: pytest.MonkeyPatch
) -> None:
    dtype = "float32" if kind == "bf16" else kind
    engine = on(EMULATED, 2) if kind == "bf16" else CpuEngine("test", dtype, threads=2)
    engine.ops.xp = SimpleNamespace(**{**vars(np), "zeros": poison.zeros})
    runs: list[FusedLayers] = []
    stages = engine.stages
    monkeypatch.setattr(engine, "stages", lambda *a, **k: [runs.append(s) or s for s in stages(*a, **k)])  # type: ignore[func-returns-value]
    tokens = layers[0].tokens is not None
    given = poison.zeros((samples, *shape), "int64" if tokens else dtype)
    given[...] = np.arange(given.size).reshape(given.shape) % 5 if tokens else values(samples, shape, 1, dtype)
    check_agreement(layers, shape, given, engine, tolerance=0.1 if kind == "bf16" else None, dtype=dtype)
    for run in runs:
        for ready in run._programs.held.values():
            poison.check(ready.program.memory, [b for b in ready.program._buffers if b.first >= 0 or b.last >= 0])


def test_buffers_that_live_together_do_not_meet() -> None:
    rng = np.random.default_rng(0)
    buffers = []
    for _ in range(200):
        first = int(rng.integers(0, 60))
        made = Buffer((int(rng.integers(1, 5000)),), np.dtype("float32"))
        made.first, made.last = first, first + int(rng.integers(0, 12))
        buffers.append(made)
    size = program._lay_out(buffers)
    for moment in range(72):
        alive = sorted((b.place, b.place + b.nbytes) for b in buffers if b.first <= moment <= b.last)
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(alive))
    most = max(sum(b.nbytes for b in buffers if b.first <= moment <= b.last) for moment in range(72))
    assert most <= size < 1.3 * most


STEPS = """
import numpy as np
from gedanken import *
from gedanken.data.batches import Batch
from gedanken.parallel.base import gradients

def network(size):
    net = Network().input((3, size, size)).add(ConvolutionLayer(64, 3, 3)).add(BatchNorm()).add(ReLU())
    net.add(MaxPoolLayer(2, 2)).add(Flatten()).add(FullyConnectedLayer(100)).add(SoftMax())
    return net.regression(Adam(), engine="cpu")

def step(net, size, samples):
    batch = Batch(np.ones((samples, 3, size, size), "float32"), np.zeros(samples, int), 0, 1.0)
    result = gradients(net._train_state, batch, 0)
    net._train_state.optimizer_state.apply(net._train_state.plan.params, net._train_state.plan.grads, result.samples)

def taken():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

step(network(6), 6, 2)  # loads the kernels
before = taken()
net = network(40)
for _ in range(3):
    step(net, 40, 128)
grown = taken() - before
for _ in range(5):
    step(net, 40, 128)
print(net.summary(128).step_bytes, grown, taken() - before)
"""


def test_a_step_takes_what_the_summary_says() -> None:
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs Linux' account of a process's memory")
    done = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True, check=True)
    said, grown, later = map(int, done.stdout.split())
    inputs = 2 * 128 * 3 * 40 * 40 * 4  # the mini-batch channels-first, and channels-last
    assert abs(grown - said) < 0.1 * said + inputs
    assert later - grown < 1 << 20  # no memory is taken after the first steps


@pytest.mark.parametrize("case", KNOWN[:3], ids=name_of)
def test_a_second_step_gives_the_same(case: Any) -> None:
    engine: Engine = CpuEngine("test", "float64")
    x = case.data(4)
    first, second = passes(engine, [case.layer], case.shape, x), passes(engine, [case.layer], case.shape, x)
    assert all((first[name] == second[name]).all() for name in first)
