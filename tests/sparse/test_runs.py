"""Linear models on sparse rows learn from many mini-batches in one go: as step by step, and by several workers."""

import contextlib
import os
import signal
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import (
    SGD,
    Adam,
    ArgumentError,
    BinaryCrossEntropy,
    Callback,
    Cpu,
    CrossEntropy,
    ExponentialDecay,
    GedankenWarning,
    Generator,
    Hogwild,
    Metric,
    Momentum,
    Network,
    NonFiniteError,
    Sigmoid,
    SoftMax,
    SparseFullyConnectedLayer,
    SparseRows,
    Zeros,
)
from gedanken.parallel.block import Block, Layout
from gedanken.processes.memory import reserved_memory

UPDATES = ["racy", "atomic", "locked", "per-coordinate", "round-robin"]
RNG = np.random.default_rng(0)
FEATURES, SAMPLES = 60, 403
DENSE = np.where(RNG.random((SAMPLES, FEATURES)) < 0.1, RNG.normal(size=(SAMPLES, FEATURES)), 0).astype("float32")
DENSE[7] = 0
ROWS = SparseRows.of(DENSE)
SCORES = DENSE @ RNG.normal(size=(FEATURES, 3))
YES, CLASSES, VALUES = (SCORES[:, 0] > 0).astype(int), SCORES.argmax(axis=1), SCORES.astype("float32")

# Name: (the last layer, the cost, units, targets).
MODELS: dict[str, tuple[Any, Any, int, Any]] = {
    "logistic": (Sigmoid(), "binary_cross_entropy", 1, YES),
    "logistic, weighted": (Sigmoid(), BinaryCrossEntropy(pos_weight=3.0), 1, YES),
    "several labels": (Sigmoid(), "binary_cross_entropy", 3, (SCORES > 0).astype(int)),
    "classes": (SoftMax(), "cross_entropy", 3, CLASSES),
    "shares, smoothed": (SoftMax(), CrossEntropy(label_smoothing=0.1, class_weights=[1, 2, 3]), 3, np.eye(3)[CLASSES]),
    "support vectors": (None, "hinge", 1, YES),
    "values": (None, "mean_squared", 3, VALUES),
}


def network(model: str, engine: Any, rule: Any = None, **options: Any) -> Network:
    last, cost, units, _ = MODELS[model]
    net = Network(seed=3).input((FEATURES,)).add(SparseFullyConnectedLayer(units, init=Zeros(), **options))
    if last:
        net.add(last)
    return net.regression(rule or SGD(0.1), cost, engine=engine)


def learnt(net: Network, model: str, size: int, parallel: Any = None, epochs: int = 3) -> tuple[Any, Any]:
    history = net.fit(ROWS, MODELS[model][3], mini_batch_size=size, epochs=epochs, progress=False, parallel=parallel)
    assert net._plan
    return net._plan.params.copy(), history


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
@pytest.mark.parametrize("model", MODELS)
def test_a_run_is_what_its_steps_are(model: str, size: int) -> None:
    rule = SGD(ExponentialDecay(0.1, 50, 0.5))
    found, history = learnt(network(model, "cpu", rule), model, size, epochs=2)
    expected, steps = learnt(network(model, "numpy", rule), model, size, epochs=2)
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-6)
    for one, other in zip(history.epochs, steps.epochs, strict=True):
        assert one.samples == other.samples == SAMPLES
        np.testing.assert_allclose(one.cost, other.cost, rtol=1e-4)
        for name, value in one.metrics.items():
            np.testing.assert_allclose(value, other.metrics[name], atol=0.01)
        assert one.rate == pytest.approx(other.rate)


@pytest.mark.parametrize(("bias", "l2"), [(False, 0.0), (True, 0.05), (False, 0.05)])
@pytest.mark.parametrize("model", ["logistic", "classes"])
def test_a_run_of_single_samples_knows_penalty_and_bias(model: str, bias: bool, l2: float) -> None:
    nets = [network(model, engine, bias=bias, l2=l2) for engine in ("cpu", "numpy")]
    (found, _), (expected, _) = (learnt(net, model, 1, epochs=2) for net in nets)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("backend", ["threads", "processes"])
@pytest.mark.parametrize("size", [1, 32])
def test_one_worker_is_the_serial_training(update: str, backend: str, size: int) -> None:
    expected, _ = learnt(network("logistic", Cpu(threads=1)), "logistic", size)
    found, history = learnt(
        network("logistic", Cpu(threads=1)), "logistic", size, Hogwild(workers=1, backend=backend, update=update)
    )
    assert found.tobytes() == expected.tobytes()
    assert history.epochs[-1].samples == SAMPLES


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("backend", ["threads", "processes"])
@pytest.mark.parametrize("model", ["logistic", "support vectors", "classes"])
def test_several_workers_learn_as_much(model: str, backend: str, update: str) -> None:
    _, expected = learnt(network(model, "cpu"), model, 1, epochs=8)
    found, history = learnt(
        network(model, "cpu"), model, 1, Hogwild(workers=2, backend=backend, update=update), epochs=8
    )
    assert np.isfinite(found).all()
    record = history.epochs[-1]
    assert record.samples == SAMPLES
    assert sum(record.parallel["samples"]) == SAMPLES
    assert sum(record.parallel["updates"]) == SAMPLES
    assert record.cost == pytest.approx(expected.epochs[-1].cost, rel=0.25)


FREQUENT = np.where(RNG.random((12_000, 40)) < 0.4, 1, 0).astype("float32")
OFTEN_YES = (FREQUENT @ RNG.normal(size=40) + RNG.normal(size=12_000) > 0).astype(int)


@pytest.mark.parametrize(("cost", "last"), [("binary_cross_entropy", Sigmoid()), ("hinge", None)], ids=["yes", "hinge"])
@pytest.mark.parametrize("workers", [2, 6])
def test_copies_do_not_go_too_far_where_all_samples_pull_the_same_way(cost: str, last: Any, workers: int) -> None:
    found = []
    for parallel in (None, Hogwild(workers=workers, backend="threads")):
        net = Network(seed=3).input((40,)).add(SparseFullyConnectedLayer(1, init=Zeros()))
        net = (net.add(last) if last else net).regression(SGD(0.02), cost)
        history = net.fit(FREQUENT, OFTEN_YES, mini_batch_size=1, epochs=8, progress=False, parallel=parallel)
        found.append((history.epochs[-1].cost, net.evaluate(FREQUENT, OFTEN_YES, progress=False)["cost"]))
    (learning, learnt_cost), (together, together_cost) = found
    # The sum of all changes ends far above: with six workers it diverges. Late changes alone cost some hundredths.
    assert together < 1.15 * learning
    assert together_cost < 1.25 * learnt_cost


def test_curvatures_are_in_the_order_of_the_parameters() -> None:
    net = network("classes", "cpu", l2=0.0)
    assert net._plan
    learner = net._plan.learner(SGD(0.1))
    assert learner
    mass = np.where(DENSE != 0, 1, 0).sum(axis=0)
    curvature = learner.curvature(ROWS)
    arrays = net._plan.arrays()
    net._plan.params[...] = curvature
    kernel, bias = arrays["0.kernel"], arrays["0.bias"]
    assert (bias == bias[0]).all()
    assert ((kernel > 0).all(axis=1) == (mass > 0)).all()
    np.testing.assert_allclose(kernel[:, 0] / bias[0], (DENSE.astype(float) ** 2).mean(axis=0), rtol=1e-5)


def test_the_penalty_keeps_weights_small_with_workers_too() -> None:
    sizes = []
    for l2 in (0.0, 0.5):
        net = network("logistic", "cpu", l2=l2)
        found, _ = learnt(net, "logistic", 1, Hogwild(workers=2), epochs=5)
        sizes.append(float(np.linalg.norm(found)))
    assert sizes[1] < 0.5 * sizes[0]


@pytest.mark.parametrize("parallel", [None, Hogwild(workers=2), Hogwild(workers=1, backend="threads")], ids=repr)
@pytest.mark.parametrize("size", [1, 16])
def test_what_explodes_ends_the_training(parallel: Any, size: int) -> None:
    net = network("values", "cpu", SGD(1e6))
    with pytest.raises(NonFiniteError, match="the cost became not finite") as caught:
        learnt(net, "values", size, parallel)
    assert caught.value.history.diverged
    assert caught.value.fault.samples
    assert np.isfinite(net.feedforward(ROWS)).all()


def test_a_step_that_callbacks_hear_of_says_how_many_mini_batches_it_was() -> None:
    steps: list[int] = []

    class Listens(Callback):
        def on_step(self, run: Any, record: Any) -> None:
            steps.append(record.step)

    network("logistic", "cpu").fit(ROWS, YES, mini_batch_size=2, callbacks=[Listens()], progress=False)
    assert steps == [202]
    steps.clear()
    network("logistic", "cpu", Adam(0.01)).fit(ROWS, YES, mini_batch_size=100, callbacks=[Listens()], progress=False)
    assert steps == [1, 2, 3, 4, 5]


@dataclass(frozen=True)
class KillsOnce(Metric):
    """Kills the process that it is measured in, but for the one that runs the tests, as long as a file is there."""

    file: str
    owner: int

    def measure(self, y: Any, target: Any) -> Any:  # type: ignore[override]
        if os.getpid() != self.owner:
            with contextlib.suppress(FileNotFoundError):  # another worker was the first to take it away
                os.unlink(self.file)
                os.kill(os.getpid(), signal.SIGKILL)
        return np.array([len(y)], float)

    def value(self, total: Any) -> Any:
        return 1.0


@pytest.mark.parametrize("update", [way for way in UPDATES if way != "round-robin"])
@pytest.mark.parametrize("policy", ["respawn", "continue"])
def test_what_a_killed_worker_had_is_learnt_by_others(update: str, policy: str, tmp_path: Path) -> None:
    file = tmp_path / "alive"
    file.touch()
    net = Network(seed=3).input((FEATURES,)).add(SparseFullyConnectedLayer(1, init=Zeros())).add(Sigmoid())
    net.regression(SGD(0.1), "binary_cross_entropy", metrics=[KillsOnce(str(file), os.getpid())])
    with pytest.warns(GedankenWarning, match=r"was killed by SIGKILL .*the training goes on"):
        history = net.fit(
            ROWS, YES, mini_batch_size=1, epochs=4, progress=False,
            parallel=Hogwild(workers=2, update=update, on_worker_loss=policy, backend="processes"),
        )  # fmt: skip
    assert [record.samples for record in history.epochs[1:]] == [SAMPLES] * 3
    assert not file.exists()


def test_the_kernels_locks_of_a_lost_worker_are_freed() -> None:
    layout = Layout(2, "float32", 8, 0, (), rows=9)
    block = Block(layout, reserved_memory(layout.nbytes, "a test"))
    block.lock[:], block.each[3], block.each[5] = 2, 2, 1
    block.unlock(0)
    assert (block.lock[0], block.each[3], block.each[5]) == (2, 2, 0)
    block.unlock(1)
    assert (block.lock.tolist(), block.each.sum()) == ([0, 2, 2], 0)


@pytest.mark.parametrize("policy", ["respawn", "continue"])
def test_whose_turn_it_is_may_not_be_lost(policy: str) -> None:
    with pytest.raises(ArgumentError, match='on_worker_loss must be "raise" with update="round-robin"'):
        Hogwild(update="round-robin", on_worker_loss=policy)


@pytest.mark.parametrize("update", ["per-coordinate", "round-robin"])
def test_ways_of_the_paper_are_for_what_learns_in_runs(update: str) -> None:
    for rule, size, options in ((Adam(0.1), 1, {}), (SGD(0.1), 16, {"l2": 0.1})):
        with pytest.raises(ArgumentError, match="update must be 'racy', 'atomic' or 'locked' for this network"):
            learnt(network("logistic", "cpu", rule, **options), "logistic", size, Hogwild(workers=2, update=update))


def test_workers_are_compared_with_the_serial_training() -> None:
    net = network("logistic", "cpu")
    before = net.feedforward(ROWS)
    found = Hogwild(workers=2, backend="threads").check(net, ROWS, YES, epochs=3, mini_batch_size=4)
    np.testing.assert_array_equal(net.feedforward(ROWS), before)
    assert (found.workers, set(found.serial)) == (2, {"cost", "accuracy"})
    assert found.parallel["cost"] == pytest.approx(found.serial["cost"], rel=0.2)
    assert found.speedup > 0
    assert "2 workers" in str(found).splitlines()[0]
    assert [line.split()[0] for line in str(found).splitlines()[1:]] == ["cost", "accuracy", "seconds"]


@pytest.mark.parametrize(("momentum", "workers", "told"), [(0.99, 2, True), (0.95, 2, False), (0.99, 1, False)])
def test_too_much_momentum_is_warned_of(momentum: float, workers: int, told: bool) -> None:
    net = network("logistic", "cpu", Momentum(0.01, momentum))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        learnt(net, "logistic", 16, Hogwild(workers=workers, backend="threads"), epochs=1)
    assert any("a momentum of 0.99 with 2 workers" in str(one.message) for one in caught) == told


class Rows(Generator):
    def __len__(self) -> int:
        return 40

    def get_mini_batches(self, index: int) -> Any:
        return [(DENSE[index], YES[index])]


@pytest.mark.parametrize("way", [{}, {"backend": "threads"}, {"workers": 1}, {"update": "atomic"}], ids=repr)
def test_a_generator_gives_rows_to_threads(way: Any) -> None:
    serial, parallel = network("logistic", "cpu"), network("logistic", "cpu")
    expected = serial.fit(Rows(mini_batch_size=2, mode="serial"), epochs=5, progress=False)
    history = parallel.fit(
        Rows(mini_batch_size=2, mode="serial"), epochs=5, progress=False, parallel=Hogwild(**{"workers": 2, **way})
    )
    record = history.epochs[-1]
    assert record.samples == len(Rows()) == sum(record.parallel["samples"])
    assert record.parallel["workers"].split(":")[0] == ("1 thread" if "workers" in way else "2 threads")
    if way.get("workers") == 1:
        np.testing.assert_array_equal(parallel.feedforward(ROWS), serial.feedforward(ROWS))
    else:
        assert record.cost == pytest.approx(expected.epochs[-1].cost, rel=0.3)


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_rows_of_a_generator_do_not_go_to_processes(method: str) -> None:
    net = network("logistic", "cpu")
    way = Hogwild(workers=2, backend="processes", start_method=method)
    with pytest.raises(ArgumentError, match="got 'processes'; sparse rows of a Generator stay in this process"):
        net.fit(Rows(mini_batch_size=2, mode="serial"), progress=False, parallel=way)
    with pytest.raises(ArgumentError, match="net must be a Network after regression, got None"):
        Hogwild(workers=2).check(None, ROWS, YES)
    with pytest.raises(ArgumentError, match="check must be called without parallel="):
        Hogwild(workers=2).check(net, ROWS, YES, parallel=Hogwild())
