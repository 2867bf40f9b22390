"""Threads: the same bits for any number, trainings side by side, forked and spawned processes, ends."""

import gc
import multiprocessing
import os
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

from gedanken import (
    AdamW,
    ArgumentError,
    BatchNorm,
    ConvolutionLayer,
    Dropout,
    Flatten,
    FullyConnectedLayer,
    GroupNorm,
    LayerNorm,
    MaxPoolLayer,
    MultiHeadAttention,
    Network,
    ReLU,
    Residual,
    SoftMax,
    TransposedConvolutionLayer,
)
from gedanken.engine.cpu.compiler import Library
from gedanken.engine.cpu.engine import CpuEngine
from gedanken.processors import usable_processors
from gedanken.types import Array
from tests.cpu.agree import check_agreement
from tests.cpu.test_compiler import TILES, machine_like
from tests.cpu.test_kernels_agree import values

RNG = np.random.default_rng(0)
PICTURES, LABELS = RNG.random((90, 2, 13, 13)).astype("float32"), RNG.integers(0, 5, 90)


def network(threads: int | None = None, seed: int = 3) -> Network:
    net = Network(seed=seed).input((2, 13, 13)).add(ConvolutionLayer(20, 3, 3)).add(BatchNorm()).add(ReLU())
    net.add(Residual([ConvolutionLayer(20, 3, 3, zero_padding=1), BatchNorm()])).add(MaxPoolLayer(2, 2, stride=1))
    net.add(LayerNorm()).add(GroupNorm(4)).add(Dropout(0.8)).add(Flatten()).add(FullyConnectedLayer(40)).add(
        ReLU()
    ).add(FullyConnectedLayer(5))
    optimizer = AdamW(0.01, clip_norm=1.0)
    return net.add(SoftMax()).regression(optimizer, engine="cpu", threads=threads)


def trained(threads: int | None = None, seed: int = 3, epochs: int = 2) -> Array:
    net = network(threads, seed)
    net.fit(PICTURES, LABELS, epochs=epochs, mini_batch_size=32, progress=False)
    return np.concatenate([value.reshape(-1) for value in net._plan.state().values()])  # type: ignore[union-attr]


def test_any_number_of_threads_gives_the_same_bits() -> None:
    one, *others = (trained(threads) for threads in (1, 2, 3, 8))
    assert np.isfinite(one).all()
    for other in others:
        assert one.tobytes() == other.tobytes()


def test_networks_train_side_by_side_in_python_threads() -> None:
    alone = [trained(2, seed) for seed in range(3)]
    together: dict[int, Array] = {}
    workers = [threading.Thread(target=lambda s=seed: together.update({s: trained(2, s)})) for seed in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all((together[seed] == alone[seed]).all() for seed in range(3))


def test_one_network_predicts_from_several_threads() -> None:
    net, found = network(2), {}
    parts = [PICTURES[start : start + 16] for start in range(0, 64, 16)]
    expected = [net.feedforward(part) for part in parts]

    def ask(number: int) -> None:
        found[number] = [net.feedforward(parts[number]) for _ in range(50)]

    workers = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all((one == expected[number]).all() for number in range(4) for one in found[number])


def _child(queue: Any) -> None:
    queue.put(trained(2).tobytes())


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_process_beside_a_training_trains_too(method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system cannot {method}")
    expected, stop = trained(2), threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            trained(2, epochs=1)

    beside = threading.Thread(target=go_on)
    beside.start()
    context: Any = multiprocessing.get_context(method)
    try:
        queue = context.Queue()
        process = context.Process(target=_child, args=(queue,))
        process.start()
        assert queue.get(timeout=120) == expected.tobytes()
        process.join(30)
        assert process.exitcode == 0
    finally:
        stop.set()
        beside.join()


def test_a_forked_process_goes_on_with_its_parents_network() -> None:
    if not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    script = """
import os, numpy as np
from tests.cpu.test_threads import network, PICTURES
net = network(2)
expected = net.feedforward(PICTURES)
child = os.fork()
same = (net.feedforward(PICTURES) == expected).all()
if child == 0:
    os._exit(0 if same else 1)
print(same, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "True 0\n"


def test_helpers_end_with_their_network() -> None:
    gc.collect()  # networks of other tests
    before = threading.active_count()
    nets = [network(4) for _ in range(3)]
    for net in nets:
        net.feedforward(PICTURES[:8])
    assert threading.active_count() == before + 9
    del nets, net
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("threads", "rule"),
    [
        (0, "at least 1"),
        (1.5, "whole number"),
        (True, "whole number"),
        (1025, "at most 1024, got 1025"),
        (100_000, "at most 1024"),
        (10**10, "at most 1024"),
        (2**70, "at most 1024"),
    ],
)
def test_threads_are_counted(threads: Any, rule: str) -> None:
    with pytest.raises(ArgumentError, match=f"threads .*{rule}"):
        network(threads)


def test_threads_belong_to_the_engine_that_has_them() -> None:
    net = Network().input((3,)).add(FullyConnectedLayer(2))
    with pytest.raises(ArgumentError, match='threads must be None with engine "numpy"'):
        net.regression(cost="mean_squared", engine="numpy", threads=2)


FEW = """
import gc, resource, sys, threading, warnings
import numpy as np
from gedanken import EngineError, GedankenWarning
from tests.cpu.test_threads import network, PICTURES

alone = network(1).feedforward(PICTURES)
net = network(THREADS)
threading.stack_size(LARGE)  # there is no room for the stack of so many threads, or of one
try:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert (net.feedforward(PICTURES) == alone).all()
        assert (net.feedforward(PICTURES) == alone).all()
    print([str(warning.message) for warning in told])
except EngineError as error:
    print(error)
gc.collect()
print([thread.name for thread in threading.enumerate() if thread.name.startswith("gedanken-")])
threading.stack_size(0)
assert (net.feedforward(PICTURES) == alone).all()
print(len([thread for thread in threading.enumerate() if thread.name.startswith("gedanken-")]))
"""


@pytest.mark.parametrize(
    ("threads", "large", "told", "later"),
    [
        (3, 1 << 46, "of 3 threads only 1 could be started (can't start new thread); ask for fewer", "2"),
        (900, 1 << 38, "could be started (can't start new thread); ask for fewer: Cpu(threads=", "899"),
        (None, 1 << 46, "could be started (can't start new thread), and these compute; results are the same", "0"),
    ],
)
def test_threads_that_cannot_be_started(threads: int | None, large: int, told: str, later: str) -> None:
    if threads is None and usable_processors() == 1:
        pytest.skip("one processor needs no helper")
    script = FEW.replace("THREADS", str(threads)).replace("LARGE", str(large))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    message, left, helpers = done.stdout.splitlines()
    assert told in message
    assert (left, helpers) == ("[]", later)


@pytest.mark.parametrize("unit", TILES)
def test_other_processors_tiles_compute_the_same(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = machine_like(unit)
    monkeypatch.setattr("gedanken.engine.cpu.engine.this_machine", lambda: machine)
    monkeypatch.setattr("gedanken.engine.cpu.engine.library", Library)
    for layers, shape in [
        ([ConvolutionLayer(37, 3, 3, zero_padding=1), BatchNorm(), ReLU(), MaxPoolLayer(2, 2)], (3, 15, 15)),
        ([ConvolutionLayer(21, 3, 3, zero_padding=1)], (19, 9, 14)),
        ([Flatten(), FullyConnectedLayer(70), ReLU(), FullyConnectedLayer(3)], (2, 9, 9)),
        ([TransposedConvolutionLayer(37, 3, 3, stride=2), BatchNorm(), ReLU()], (5, 7, 6)),
        ([MultiHeadAttention(2)], (41, 6)),
        ([FullyConnectedLayer(70)], (130, 19)),
    ]:
        check_agreement(layers, shape, values(17, shape, 1, "float32"), CpuEngine("test", "float32"))


class Own(ReLU):
    """A layer that no kernel knows."""


def test_what_has_no_kernel_is_named_with_the_reason() -> None:
    net = Network().input((1, 4, 4)).add(ConvolutionLayer(2, 2, 2)).add(BatchNorm()).add(Flatten()).add(Own())
    summary = net.freeze(1).regression(cost="mean_squared", engine="cpu").summary()
    norm, own = summary.fallbacks
    assert norm == "layer 1 BatchNorm() (frozen: it runs as at prediction)"
    assert own == "layer 3 Own() (no kernel)"
    assert f"by specification: {norm}, {own}" in str(summary)
    assert summary.step_bytes is None
