"""Workers that share each mini-batch: all that a training leaves behind is that of the serial one, byte for byte."""

import copy
import gc
import pickle
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import (
    GRU,
    LSTM,
    SGD,
    AdaGrad,
    Adam,
    ArgumentError,
    Auto,
    BatchNorm,
    Bidirectional,
    Callback,
    ConvolutionLayer,
    Cpu,
    DataParallel,
    Dropout,
    EarlyStopping,
    Embedding,
    Flatten,
    FullyConnectedLayer,
    Layer,
    MatrixFactorisation,
    MaxPoolLayer,
    Momentum,
    Network,
    Numpy,
    OnPlateau,
    Optimizer,
    Param,
    ReLU,
    Residual,
    Save,
    SetRate,
    Sigmoid,
    SoftMax,
    SparseFullyConnectedLayer,
    SparseRows,
    StateValue,
    StepDecay,
    Zeros,
)
from gedanken.cli.main import main
from gedanken.data.batches import ArraySource
from gedanken.engine.plan import Plan
from gedanken.parallel.base import Strategy
from gedanken.parallel.chosen import strategy_of
from gedanken.parallel.recipe import Recipe
from gedanken.training.loop import Training
from gedanken.training.new_run import new_run
from tests.explosions import history_of
from tests.parallel.made import Acts, Made, arrays, marked

RNG = np.random.default_rng(0)
SAMPLES, QUIET = 45, {"progress": False}
X, Y = arrays(SAMPLES)
PICTURES = RNG.random((SAMPLES, 2, 8, 8), np.float32)
TOKENS = RNG.integers(0, 40, (SAMPLES, 5))
ROWS = SparseRows.of(np.where(RNG.random((SAMPLES, 30)) < 0.2, RNG.normal(size=(SAMPLES, 30)), 0).astype("float32"))
PAIRS = np.stack([RNG.integers(0, 9, SAMPLES), RNG.integers(0, 7, SAMPLES)], axis=1)


class Scale(Layer):
    """A layer of a user's: a factor for each number, which it trains, and a count of its passes."""

    def params(self, shape: Any) -> dict[str, Param]:
        return {"factor": Param(shape, Zeros())}

    def state(self, shape: Any) -> dict[str, StateValue]:
        return {"passes": StateValue((1,), 0.0)}

    def output_shape(self, shape: Any) -> Any:
        return shape

    def forward(self, ctx: Any, p: Any, s: Any, x: Any) -> tuple[Any, Any]:
        s["passes"] += ctx.train
        return x * (1 + p["factor"]), x

    def backward(self, ctx: Any, p: Any, g: Any, cache: Any, dy: Any) -> Any:
        g["factor"][...] = (dy * cache).sum(axis=0)
        return dy * (1 + p["factor"])


# Name: (one sample's shape, layers, data, labels, cost).
NETWORKS: dict[str, tuple[Any, Callable[[], list[Layer]], Any, Any, str]] = {
    "mlp": (
        (6,),
        lambda: [FullyConnectedLayer(40), ReLU(), FullyConnectedLayer(3), SoftMax()],
        X, Y, "cross_entropy",
    ),
    "convolutions": (
        (2, 8, 8),
        lambda: [
            ConvolutionLayer(5, 3, 3), BatchNorm(), ReLU(), MaxPoolLayer(2, 2), Dropout(0.7), Flatten(),
            FullyConnectedLayer(3), SoftMax(),
        ],
        PICTURES, Y, "cross_entropy",
    ),
    "tokens": (
        (5,),
        lambda: [Embedding(40, 6), Flatten(), FullyConnectedLayer(3), SoftMax()],
        TOKENS, Y, "cross_entropy",
    ),
    "readers": (
        (5,),
        lambda: [
            Embedding(40, 6, mask=0), GRU(8), Bidirectional(LSTM(5, last=True)), FullyConnectedLayer(3), SoftMax(),
        ],
        np.where(np.arange(5) < np.arange(1, len(TOKENS) + 1)[:, None] % 5 + 1, TOKENS % 39 + 1, 0), Y, "cross_entropy",
    ),
    "residual": (
        (6,),
        lambda: [
            FullyConnectedLayer(8), Residual([FullyConnectedLayer(8), BatchNorm(), ReLU()]), FullyConnectedLayer(3),
            SoftMax(),
        ],
        X, Y, "cross_entropy",
    ),
    "a layer of a user's": (
        (6,),
        lambda: [FullyConnectedLayer(20), BatchNorm(), Scale(), ReLU(), FullyConnectedLayer(3), SoftMax()],
        X, Y, "cross_entropy",
    ),
    "values": (
        (6,),
        lambda: [FullyConnectedLayer(20), ReLU(), FullyConnectedLayer(2)],
        X, X[:, :2], "huber",
    ),
    "sparse": ((30,), lambda: [SparseFullyConnectedLayer(1), Sigmoid()], ROWS, Y % 2, "binary_cross_entropy"),
    "factors": ((2,), lambda: [MatrixFactorisation(9, 7, 2)], PAIRS, X[:, :1], "mean_squared"),
}  # fmt: skip
RULES: list[Optimizer] = [
    SGD(0.05),
    Adam(0.01),
    Momentum(0.05, clip_norm=0.1, accumulate=3),
    AdaGrad(StepDecay(0.05, every=4, factor=0.5), clip_value=0.01),
    SGD(OnPlateau(0.05, factor=0.5, patience=0, threshold=0.9)),
]


def network(name: str = "mlp", rule: Optimizer | str = "adam", engine: Any = "cpu") -> Network:
    shape, layers, _, _, cost = NETWORKS[name]
    net = Network(seed=3).input(shape)
    for layer in layers():
        net.add(layer)
    return net.regression(rule, cost, engine=engine)


def data_of(name: str) -> tuple[Any, Any]:
    return NETWORKS[name][2:4]


def all_of(net: Network) -> dict[str, Any]:
    """Return all that a training changes."""
    train_state = net._train_state
    assert train_state
    return {**train_state.plan.state(), **train_state.optimizer_state.state()}


def assert_same(one: Network, other: Network) -> None:
    mine, others = all_of(one), all_of(other)
    assert mine.keys() == others.keys()
    for name, value in mine.items():
        assert np.asarray(value).tobytes() == np.asarray(others[name]).tobytes(), name
    assert one.epoch == other.epoch


def told(history: Any) -> str:
    """Return what a history says in its last digit, but for times and who shared the work."""
    lines = [(r.epoch, r.finished, r.samples, r.cost, r.metrics, r.validation_cost, r.rate) for r in history.epochs]
    return repr([*lines, history.answers, history.reason, history.diverged])


# ---------------------------------------------------------------------- the serial bytes


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_the_serial_training(name: str, rule: Optimizer) -> None:
    serial = network(name, rule, Cpu(threads=1))
    shared = {workers: network(name, rule, Cpu(threads=1)) for workers in (1, 2, 3)}
    x, y = data_of(name)
    how: dict[str, Any] = {"mini_batch_size": 8, "validation_set": (x, y), **QUIET}  # 45 samples: 5 are left
    for epochs, together in ((2, True), (1, False), (1, True)):  # what comes after it goes on as serially
        wanted = serial.fit(x, y, epochs=epochs, **how)
        for workers, net in shared.items():
            parallel = DataParallel(workers=workers) if together else None
            found = net.fit(x, y, epochs=epochs, parallel=parallel, **how)
            assert told(found) == told(wanted), workers
            assert_same(serial, net)
    for net in shared.values():
        assert serial.predict(x).tobytes() == net.predict(x).tobytes()


@pytest.mark.parametrize("engine", [Auto(), Cpu(threads=3), Cpu(threads=2, dtype="float64"), Cpu()], ids=repr)
@pytest.mark.parametrize("workers", [2, "auto"])
def test_whatever_threads_the_network_has(engine: Any, workers: Any) -> None:
    serial, shared = network("convolutions", engine=engine), network("convolutions", engine=engine)
    wanted = serial.fit(PICTURES, Y, mini_batch_size=7, epochs=2, **QUIET)
    found = shared.fit(PICTURES, Y, mini_batch_size=7, epochs=2, parallel=DataParallel(workers=workers), **QUIET)
    assert told(found) == told(wanted)
    assert_same(serial, shared)


@pytest.mark.parametrize("mode", ["serial", "threads"])
def test_a_generator_as_data(mode: str) -> None:
    nets = [network(engine=Cpu(threads=1)) for _ in range(2)]
    found = [
        net.fit(Made(60, mini_batch_size=7, mode=mode), epochs=2, parallel=parallel, **QUIET)
        for net, parallel in zip(nets, (None, DataParallel(workers=2)), strict=True)
    ]
    assert told(found[0]) == told(found[1])
    assert_same(*nets)


class Answers(Callback):
    """Slows down, saves, copies, and raises if it is told to; hears each step's cost and rate."""

    def __init__(self, net: Network, raising: int = -1) -> None:
        self.net, self.raising = net, raising
        self.heard: list[Any] = []
        self.copy: Network | None = None

    def on_step(self, run: Any, record: Any) -> Any:
        self.heard.append((record.step, record.cost, record.rate, self.net.predict(X).tobytes()))
        if record.step == self.raising:
            raise KeyError("of the callback")
        if record.step == 3 and record.epoch == 1:
            self.copy = pickle.loads(pickle.dumps(self.net))
            return [SetRate(0.5), Save("third")]
        return None


def test_callbacks_see_and_change_what_they_would_serially(tmp_path: Path) -> None:
    nets = [network(rule=Momentum(0.05, accumulate=2), engine=Cpu(threads=1)) for _ in range(2)]
    listeners, found = [Answers(net) for net in nets], []
    for net, one, parallel in zip(nets, listeners, (None, DataParallel(workers=2)), strict=True):
        stop, folder = EarlyStopping("cost", patience=1, threshold=0.2), tmp_path / str(parallel)
        how = {"callbacks": [one, stop], "folder": folder, "epochs": 9, "mini_batch_size": 8, **QUIET}
        found.append(net.fit(X, Y, parallel=parallel, **how))
    assert "cost" in found[0].reason
    assert told(found[0]) == told(found[1])
    assert listeners[0].heard == listeners[1].heard
    assert_same(*nets)
    files = [
        (tmp_path / str(parallel) / "third.safetensors").read_bytes() for parallel in (None, DataParallel(workers=2))
    ]
    assert files[0] == files[1]
    first, second = (one.copy for one in listeners)
    assert first
    assert second
    assert_same(first, second)


def test_copies_go_on_as_the_network_does() -> None:
    serial, shared = network(engine=Cpu(threads=1)), network(engine=Cpu(threads=1))
    for net, parallel in ((serial, None), (shared, DataParallel(workers=2))):
        net.fit(X, Y, mini_batch_size=8, parallel=parallel, **QUIET)
    for made in (copy.deepcopy(shared), pickle.loads(pickle.dumps(shared))):
        assert_same(serial, made)
        made.fit(X, Y, mini_batch_size=8, parallel=DataParallel(workers=3), **QUIET)
        expected = copy.deepcopy(serial)
        expected.fit(X, Y, mini_batch_size=8, **QUIET)
        assert_same(expected, made)


class Keeps(Callback):
    """Keeps the training's state after a step."""

    def __init__(self) -> None:
        self.training: Training | None = None
        self.kept: dict[str, Any] = {}

    def on_step(self, run: Any, record: Any) -> None:
        if record.step == 4:
            assert self.training
            self.kept = self.training.state()


def training(net: Network, keeps: Keeps, parallel: DataParallel) -> Training:
    train_state, source = net._train_state, ArraySource(X, Y, 8, shuffle=True, seed=3)
    assert train_state
    strategy: Strategy = strategy_of(parallel, net._recipe())
    run = new_run(train_state, net.layers, net._cost, source, False, (1, 1), None)
    keeps.training = Training(train_state, strategy, source, None, run, [keeps], 1.0, net)
    return keeps.training


def test_a_training_goes_on_from_its_state() -> None:
    keeps, rule = Keeps(), Adam(0.01, accumulate=3)
    net, other = (network("mlp", rule, Cpu(threads=1)) for _ in range(2))
    training(net, keeps, DataParallel(workers=2))()
    resumed = training(other, Keeps(), DataParallel(workers=3))
    resumed.restore(keeps.kept)
    resumed()
    assert_same(net, other)
    serial = network("mlp", rule, Cpu(threads=1))
    serial.fit(X, Y, mini_batch_size=8, **QUIET)
    assert_same(net, serial)


# ---------------------------------------------------------------------- ends


@pytest.mark.parametrize("name", ["mlp", "tokens", "convolutions"])
@pytest.mark.parametrize("rule", [SGD(0.1), Adam(0.01), SGD(1e30)], ids=repr)
def test_what_is_not_finite_ends_it_as_it_does_serially(name: str, rule: Optimizer) -> None:
    x, y = data_of(name)
    if x.dtype.kind == "f":
        x = x.copy()
        x[30] = 3e38  # as large as data may be
    nets = [network(name, rule, Cpu(threads=1)) for _ in range(2)]
    how: dict[str, Any] = {"mini_batch_size": 8, "epochs": 3, "shuffle": False, **QUIET}
    first, second = (
        history_of(net, x, y, parallel=parallel, **how)
        for net, parallel in zip(nets, (None, DataParallel(workers=2)), strict=True)
    )
    assert first.diverged == (name != "tokens" or rule == SGD(1e30))
    assert told(first) == told(second)
    assert_same(*nets)


def plans() -> int:
    gc.collect()
    return sum(type(one) is Plan for one in gc.get_objects())


def helpers() -> int:
    gc.collect()  # the pools of networks that are gone
    return sum(thread.name.startswith("gedanken-") for thread in threading.enumerate())


@pytest.mark.parametrize("raised", ["of the callback", "no such sample", "not today"])
def test_an_error_frees_what_was_taken(raised: str) -> None:
    net = Network(seed=1).input((6,)).add(Acts("raise")).add(FullyConnectedLayer(400)).add(ReLU())
    net.add(FullyConnectedLayer(3)).add(SoftMax()).regression("adam", engine=Cpu(threads=1))
    x, y = marked() if raised == "no such sample" else arrays()
    start = Raises() if raised == "not today" else Answers(net, 2 if raised == "of the callback" else 0)
    before = helpers(), plans()
    with pytest.raises(KeyError, match=raised) as error:  # noqa: F841 - who holds an error holds no plan
        net.fit(x, y, mini_batch_size=8, callbacks=[start], parallel=DataParallel(workers=3), **QUIET)
    assert helpers() == before[0]
    if raised != "no such sample":  # there the plan's own lines are in the traceback
        assert plans() == before[1]


class Raises(Callback):
    """Does not let a training begin."""

    def on_start(self, run: Any) -> None:
        raise KeyError("not today")


def test_many_trainings_leave_no_threads() -> None:
    gc.collect()  # the pools of networks that are gone
    net, before = network(engine=Cpu(threads=1)), threading.active_count()
    for _ in range(20):
        net.fit(X, Y, mini_batch_size=8, parallel=DataParallel(workers=3), **QUIET)
    assert threading.active_count() == before


class Watches(Callback):
    """Counts the engine's threads while it trains."""

    most = 0

    def on_step(self, run: Any, record: Any) -> None:
        self.most = max(self.most, helpers())


# The network's own helpers have begun when cost and metrics saw a sample; where they are as many there are no others.
@pytest.mark.parametrize(("threads", "workers", "expected"), [(1, 3, 2), (3, 2, 3), (2, 2, 1), (3, 1, 2), (1, 1, 0)])
def test_so_many_threads_compute(threads: int, workers: int, expected: int) -> None:
    net, watches, before = network(engine=Cpu(threads=threads)), Watches(), helpers()
    net.fit(X, Y, mini_batch_size=8, callbacks=[watches], parallel=DataParallel(workers=workers), **QUIET)
    assert watches.most - before == expected
    assert helpers() - before == threads - 1


# ---------------------------------------------------------------------- what it refuses, and what it tells


@pytest.mark.parametrize("workers", [0, -1, 1025, 1.5, True, "all", None, np.array([2])], ids=repr)
def test_workers_are_a_number_or_auto(workers: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^workers must be .* got "):
        DataParallel(workers=workers)


def test_it_needs_the_engine_with_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network(engine=Numpy())
    before = all_of(net)
    match = (
        r'^parallel must be None with engine "numpy": .* engine "cpu"; choose that one, got DataParallel\(workers=2\)'
    )
    with pytest.raises(ArgumentError, match=match):
        net.fit(X, Y, parallel=DataParallel(workers=2), callbacks=[Raises()], **QUIET)
    assert all(np.array_equal(value, before[name]) for name, value in all_of(net).items())
    monkeypatch.setitem(sys.modules, "gedanken.engine.cpu.engine", None)
    net = network(engine="auto")
    match = r'^parallel must be None with engine "numpy" \(auto: engine "cpu" needs llvmlite.*, got DataParallel\(\)'
    with pytest.raises(ArgumentError, match=match):
        net.fit(X, Y, parallel=DataParallel(), **QUIET)


def test_it_refuses_a_device() -> None:
    from gedanken.engine.select import Cuda  # noqa: PLC0415

    net = network()
    assert net._cost
    recipe = Recipe(net.layers, (6,), 3, net._cost, Adam(), (), Cuda())
    with pytest.raises(ArgumentError, match=r'^parallel must be None with engine "cuda"'):
        DataParallel(workers=2).strategy(recipe)


class Wavers(Layer):
    """Declares more each time it is asked."""

    asked = 0

    def params(self, shape: Any) -> dict[str, Param]:
        self.asked += 1
        return {"more": Param((self.asked,), Zeros())}

    def output_shape(self, shape: Any) -> Any:
        return shape

    def forward(self, ctx: Any, p: Any, s: Any, x: Any) -> tuple[Any, Any]:
        return x.copy(), None

    def backward(self, ctx: Any, p: Any, g: Any, cache: Any, dy: Any) -> Any:
        g["more"][...] = 0
        return dy


def test_a_layer_that_declares_other_arrays_is_refused() -> None:
    net = Network().input((6,)).add(Wavers()).add(FullyConnectedLayer(3)).add(SoftMax())
    net.regression(engine=Cpu(threads=1))
    with pytest.raises(ArgumentError, match="a layer declares other arrays than before"):
        net.fit(X, Y, parallel=DataParallel(workers=2), **QUIET)


@pytest.mark.parametrize(("workers", "text"), [(1, "1 thread of"), (2, "2 threads of")])
def test_it_says_who_shared_the_work(workers: int, text: str, capsys: Any) -> None:
    history = network().fit(X, Y, epochs=2, parallel=DataParallel(workers=workers))
    report = history.epochs[1].parallel
    assert report
    assert report["workers"].startswith(f"{text} the engine cpu")
    assert capsys.readouterr().err.count(f"  by {report['workers']}") == 1


def test_it_may_be_used_again_and_compared() -> None:
    assert DataParallel(workers=2) == pickle.loads(pickle.dumps(DataParallel(workers=2)))
    assert DataParallel() != DataParallel(workers=2)
    assert repr(DataParallel(workers=2)) == "DataParallel(workers=2)"


def test_on_the_command_line(tmp_path: Path, capsys: Any) -> None:
    files = [tmp_path / "serial", tmp_path / "shared"]
    common = ["train", "drawn-digits", "--network", "mlp", "--limit", "100", "--engine", "cpu"]
    assert main([*common, "--output", str(files[0])]) == 0
    assert main([*common, "--output", str(files[1]), "--parallel", "data", "--workers", "2"]) == 0
    assert "by 2 threads of the engine cpu" in capsys.readouterr().err
    assert files[0].read_bytes() == files[1].read_bytes()
    assert main([*common, "--parallel", "dat"]) != 0
    assert "--parallel must be one of data, hogwild, got 'dat'; did you mean 'data'?" in capsys.readouterr().err
    assert main([*common, "--workers", "2"]) != 0
    assert "--workers must be given with --parallel" in capsys.readouterr().err
