"""Who may do what with a network while it is trained, and copies of it."""

import copy
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import (
    Adam,
    BatchNorm,
    Callback,
    CrossEntropy,
    Cuda,
    Dropout,
    FullyConnectedLayer,
    GedankenWarning,
    Network,
    OnPlateau,
    ReLU,
    Sigmoid,
    SoftMax,
    StateError,
    StepDecay,
    Stop,
)

X = np.random.default_rng(0).standard_normal((64, 6)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)
QUIET: dict[str, Any] = {"progress": False}


def network(**options: Any) -> Network:
    net = Network(1).input((6,)).add(FullyConnectedLayer(12)).add(BatchNorm()).add(ReLU()).add(Dropout(0.8))
    return net.add(FullyConnectedLayer(3)).add(SoftMax()).regression(Adam(StepDecay(0.01, 20, 0.5)), **options)


class Do(Callback):
    """Does something after each epoch, and keeps what was refused."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self.act, self.refused, self.done = act, [], 0

    def on_epoch(self, run: Any, record: Any) -> None:
        try:
            self.act()
            self.done += 1
        except StateError as error:
            self.refused.append(str(error))


CHANGES: dict[str, Callable[[Network], Any]] = {
    "regression": lambda net: net.regression(),
    "fit": lambda net: net.fit(X, Y, **QUIET),
    "add": lambda net: net.add(ReLU()),
    "input": lambda net: net.input((3,)),
}
USES: dict[str, Callable[[Network, Path], Any]] = {
    "predict": lambda net, _: net.predict(X),
    "evaluate": lambda net, _: net.evaluate(X, Y, **QUIET),
    "summary": lambda net, _: net.summary(),
    "check": lambda net, _: net.check(X, Y),
    "save": lambda net, folder: net.save(folder / "net"),
    "copy": lambda net, _: copy.deepcopy(net).fit(X, Y, **QUIET),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("thread", [False, True], ids=["callback", "thread"])
def test_changes_are_refused_while_a_network_is_trained(name: str, thread: bool) -> None:
    net, usual = network(), network()

    def act() -> None:
        CHANGES[name](net)

    def aside() -> None:
        errors: list[BaseException] = []

        def run() -> None:
            try:
                act()
            except StateError as error:
                errors.append(error)

        other = threading.Thread(target=run)
        other.start()
        other.join()
        for error in errors:
            raise error

    do = Do(aside if thread else act)
    net.fit(X, Y, epochs=3, callbacks=[do], **QUIET)
    usual.fit(X, Y, epochs=3, **QUIET)
    assert len(do.refused) == 3
    assert do.refused[0].startswith(f"{name} cannot be called while fit of the same network runs")
    assert np.array_equal(net.feedforward(X), usual.feedforward(X))
    assert net.epoch == 3
    assert net.fit(X, Y, **QUIET)["epoch"] == [4], "it is free again"


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_network_can_be_used_while_it_is_trained(use: Any, tmp_path: Path) -> None:
    net, usual = network(), network()
    do = Do(lambda: use(net, tmp_path))
    net.fit(X, Y, epochs=3, callbacks=[do], **QUIET)
    usual.fit(X, Y, epochs=3, **QUIET)
    assert (do.done, do.refused) == (3, [])
    assert np.array_equal(net.feedforward(X), usual.feedforward(X))


def test_one_of_two_trainings_at_once_is_refused() -> None:
    net, results, both = network(), [], threading.Barrier(2)
    hold = Do(lambda: both.wait(30))

    def run() -> None:
        try:
            net.fit(X, Y, callbacks=[hold], **QUIET)
            results.append("trained")
        except StateError:
            results.append("refused")
            both.wait(30)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["refused", "trained"]


class Raises(Callback):
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def on_step(self, run: Any, record: Any) -> None:
        raise self.error


@pytest.mark.parametrize("error", [ValueError(), KeyboardInterrupt(), SystemExit(), MemoryError()], ids=repr)
def test_whatever_ends_a_training_the_network_is_free(error: BaseException) -> None:
    net = network()
    with pytest.raises(type(error)):
        net.fit(X, Y, callbacks=[Raises(error)], **QUIET)
    assert net.epoch == 1, "something was learnt in it"
    assert net.regression().fit(X, Y, **QUIET)["epoch"] == [2]


# In a process of its own: an exception in the middle of what measures coverage would be another test.
INTERRUPTED = """
import signal
import subprocess
import sys
import numpy as np
from gedanken import *

class Now(Exception):
    pass

def raise_now(number, frame):
    raise Now

net = Network().input((3,)).add(FullyConnectedLayer(3)).add(SoftMax())
signal.signal(signal.SIGALRM, raise_now)
for wait in np.linspace(1e-5, 0.003, 60):
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, wait)
            for _ in range(3):
                net.add(ReLU())
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except Now:
        pass
    assert not net._changing
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer of POSIX")
def test_an_exception_at_any_line_leaves_the_network_free() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


# ------------------------------------------------------------------ epochs


def test_files_written_meanwhile_tell_the_epoch_reached(tmp_path: Path) -> None:
    net = network()

    class Save(Callback):
        def on_step(self, run: Any, record: Any) -> None:
            net.save(tmp_path / f"{record.epoch}.{record.step}")
            assert net.epoch == record.epoch

        def on_epoch(self, run: Any, record: Any) -> Stop | None:
            net.save(tmp_path / f"{record.epoch}")
            return Stop("enough") if record.epoch == 3 else None

    net.fit(X, Y, epochs=9, mini_batch_size=16, callbacks=[Save()], **QUIET)
    for name, epoch in {"1.1": 1, "1": 1, "2.3": 2, "2": 2, "3": 3}.items():
        assert Network.load(tmp_path / name).epoch == epoch
    again = Network.load(tmp_path / "2")
    assert again.fit(X, Y, mini_batch_size=16, **QUIET)["epoch"] == [3]
    # 12 of the schedule's 20 updates were made
    assert again.fit(X, Y, epochs=2, mini_batch_size=16, **QUIET)["rate"] == [0.01, 0.005]


# ------------------------------------------------------------------ copies

WAYS: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
}
EVERY_WAY = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


@EVERY_WAY
@pytest.mark.parametrize("engine", ["cpu", "numpy"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_copy_goes_on_as_the_first_would(way: Any, engine: str, dtype: str) -> None:
    net = network(engine=engine, dtype=dtype, metrics=["f1", "accuracy"])
    net.fit(X, Y, epochs=3, mini_batch_size=8, **QUIET)
    before = net.feedforward(X)
    twin = way(net)
    assert twin.summary() == net.summary()
    history = net.fit(X, Y, epochs=2, mini_batch_size=8, **QUIET)
    assert np.array_equal(twin.feedforward(X), before), "they share nothing"
    other = twin.fit(X, Y, epochs=2, mini_batch_size=8, **QUIET)
    assert np.array_equal(twin.feedforward(X), net.feedforward(X))
    for figure in ("epoch", "cost", "f1", "rate"):
        assert other[figure] == history[figure]
    assert twin.epoch == net.epoch == 5


@EVERY_WAY
def test_networks_can_be_copied_before_they_are_compiled_or_without_a_cost(way: Any, tmp_path: Path) -> None:
    for net in (Network(7), Network(7).input((3,)), Network(7).input((3,)).add(FullyConnectedLayer(2))):
        twin = way(net)
        assert (repr(twin), twin.seed) == (repr(net), 7)
        twin.input((4,)).add(Sigmoid())
        assert net.input_shape != (4,)
    net = network()
    net.save(tmp_path / "net")
    loaded = Network.load(tmp_path / "net", engine="numpy")
    assert np.array_equal(way(loaded).predict(X), net.predict(X))
    assert way(loaded).summary().engine == "numpy"


@EVERY_WAY
@pytest.mark.parametrize("part", [ReLU(), FullyConnectedLayer(3), Adam(OnPlateau(0.1)), CrossEntropy()], ids=repr)
def test_parts_can_be_copied(way: Any, part: Any) -> None:
    assert way(part) == part


@EVERY_WAY
def test_a_history_can_be_copied(way: Any) -> None:
    history = network().fit(X, Y, epochs=2, validation_set=0.2, **QUIET)
    assert way(history) == history


def _train(net: Network, answers: Any) -> None:
    net.fit(X, Y, epochs=2, **QUIET)
    answers.put(net.feedforward(X))


@pytest.mark.parametrize("start", ["spawn", "fork"])
def test_a_network_can_be_sent_to_a_process(start: str) -> None:
    if start not in multiprocessing.get_all_start_methods():
        pytest.skip("there is no such way here")
    context, net = multiprocessing.get_context(start), network()
    net.fit(X, Y, **QUIET)
    answers = context.Queue()
    process = context.Process(target=_train, args=(net, answers))
    process.start()
    found = answers.get(timeout=100)
    process.join()
    net.fit(X, Y, epochs=2, **QUIET)
    assert np.array_equal(found, net.feedforward(X))


def test_a_copy_whose_engine_is_not_here_runs_on_another_and_says_so() -> None:
    net = network(engine="numpy")
    state = net.__getstate__()
    state["_engine"] = Cuda()
    twin = Network.__new__(Network)
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        pytest.skip("there may be a GPU")
    with pytest.warns(GedankenWarning, match='runs on the engine that "auto" chooses here: engine "cuda"'):
        twin.__setstate__(state)
    assert np.allclose(twin.feedforward(X), net.feedforward(X), atol=1e-6)


# ------------------------------------------------------------------ names and figures


@pytest.mark.parametrize("name", ["adam", "Adam", "ADAM", "sgd", "rmsprop", "adamw", "lion"])
def test_optimizers_by_name(name: str) -> None:
    net = network().regression(name)
    assert net._train_state is not None
    assert type(net._train_state.optimizer_state.optimizer).__name__.lower() == name.lower()


def test_metrics_and_costs_by_name() -> None:
    net = network(cost="Cross_Entropy", metrics=["F1", "accuracy", "roc_auc"])
    assert list(net.fit(X[:, :6], Y, **QUIET).epochs[0].metrics) == ["f1", "accuracy", "roc_auc"]


def test_a_history_is_plain_data() -> None:
    net = network(metrics=["accuracy", "confusion_matrix"])
    history = net.fit(X, Y, epochs=3, validation_set=0.25, **QUIET)
    found = history.to_dict()
    assert list(found) == history.keys() == list(history.epochs[0].to_dict())
    assert {len(column) for column in found.values()} == {3}
    assert json.loads(json.dumps(found))["cost"] == history["cost"]
    assert json.loads(json.dumps(history.epochs[1].to_dict()))["epoch"] == 2
    assert dict(history)["accuracy"] == history["accuracy"]
    assert history.to_dict().keys() == dict.fromkeys(history.keys()).keys()


# ------------------------------------------------------------------ predict


def test_predict_speaks_in_the_form_of_the_targets() -> None:
    values = Network().input((6,)).add(FullyConnectedLayer(2)).regression(cost="mean_squared")
    assert np.array_equal(values.predict(X), values.feedforward(X))
    labels = Network().input((6,)).add(FullyConnectedLayer(4)).add(Sigmoid()).regression(cost="binary_cross_entropy")
    outputs = labels.feedforward(X)
    assert labels.predict(X).dtype == np.int64
    assert np.array_equal(labels.predict(X), outputs > 0.5)
    assert np.array_equal(labels.predict(X, threshold=0.3), outputs > 0.3)
    one = Network().input((6,)).add(FullyConnectedLayer(1)).add(Sigmoid()).regression(cost="binary_cross_entropy")
    assert np.array_equal(one.predict(X, threshold=0.6), one.feedforward(X)[:, 0] > 0.6)
    again = Network().input((6,)).add(FullyConnectedLayer(3)).add(Sigmoid()).regression(cost="mean_squared")
    assert np.array_equal(again.predict(X), again.feedforward(X))


@pytest.mark.parametrize(
    ("layers", "cost", "shape"),
    [
        ([FullyConnectedLayer(3), SoftMax()], "cross_entropy", (64, 3)),
        ([FullyConnectedLayer(3), SoftMax()], "mean_squared", (64, 3)),
        ([FullyConnectedLayer(4), Sigmoid()], "binary_cross_entropy", (64, 4)),
        ([FullyConnectedLayer(1), Sigmoid()], "binary_cross_entropy", (64, 2)),
        ([FullyConnectedLayer(1), Sigmoid()], "mean_squared", (64, 2)),
    ],
)
def test_predict_proba_gives_what_predict_decides_by(layers: list[Any], cost: str, shape: tuple[int, ...]) -> None:
    net = Network(3).input((6,))
    for layer in layers:
        net.add(layer)
    net.regression(cost=cost)
    found, answers = net.predict_proba(X), net.predict(X)
    assert found.shape == shape and (found >= 0).all() and (found <= 1).all()
    if shape[1] == 4:
        assert np.array_equal(answers, found > 0.5)
        return
    assert np.array_equal(answers, found.argmax(axis=1))
    assert np.allclose(found.sum(axis=1), 1)
    assert np.array_equal(net.predict_proba(X, mini_batch_size=7).argmax(axis=1), answers)


def test_predict_proba_refuses_what_is_no_probability() -> None:
    net = Network().input((6,)).add(FullyConnectedLayer(2))
    with pytest.raises(StateError, match="predict_proba needs a compiled network"):
        net.predict_proba(X)
    with pytest.raises(StateError, match=r"outputs are probabilities: end it with SoftMax\(\)"):
        net.regression(cost="mean_squared").predict_proba(X)
