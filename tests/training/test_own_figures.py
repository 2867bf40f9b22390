"""Costs and metrics of the user's own: no broadcasting hides in them, and records and callbacks know their values."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest

from gedanken import (
    Accuracy,
    ArgumentError,
    ConfusionMatrix,
    CustomCost,
    EarlyStopping,
    FullyConnectedLayer,
    Generator,
    Network,
    ShapeError,
)
from gedanken.metrics import Metric
from gedanken.types import Array

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 3))
QUIET: dict[str, Any] = {"progress": False}

naive = CustomCost(lambda y, t: ((y - t) ** 4).sum(axis=1), lambda y, t: 4 * (y - t) ** 3)


def averaged_slopes(y: Array, t: Array) -> Array:
    error = y - t
    if error.shape == y.shape:
        return 2 * error / error[0].size  # type: ignore[no-any-return]
    return 2 * error.reshape(len(y), -1).mean(axis=1)[:, None] * np.ones_like(y)  # type: ignore[no-any-return]


averaging = CustomCost(lambda y, t: ((y - t) ** 2).reshape(len(y), -1).mean(axis=1), averaged_slopes)
careful = CustomCost(
    lambda y, t: (y[:, 0] - t.reshape(-1)) ** 2,
    lambda y, t: 2 * (y[:, :1] - t.reshape(-1, 1)) * (np.arange(y.shape[1]) == 0),
)


class Distance(Metric):
    """A mean distance, by whoever broadcasts."""

    better: ClassVar[str | None] = "lower"

    def measure(self, y: Array, target: Array) -> Array:
        distances = abs(y - target)
        return np.array([distances.sum(), distances.size], float)

    def value(self, total: Array) -> Any:
        return total[0] / total[1]


def network(outputs: int, cost: Any = "mean_squared", metrics: Any = None) -> Network:
    net = Network(seed=1).input((3,)).add(FullyConnectedLayer(outputs))
    return net.regression(cost=cost, metrics=metrics)


class Pairs(Generator):
    def __init__(self, labels: Array) -> None:
        super().__init__(mini_batch_size=6, workers=0)
        self.labels = labels

    def get_mini_batches(self, index: int) -> Any:
        return [(X[index].astype("float32"), self.labels[index])]

    def __len__(self) -> int:
        return len(X)


WAYS: dict[str, Callable[[Network, Array], Any]] = {
    "fit": lambda net, labels: net.fit(X, labels, mini_batch_size=5, **QUIET),
    "evaluate": lambda net, labels: net.evaluate(X, labels, **QUIET),
    "generator": lambda net, labels: net.fit(Pairs(labels), **QUIET),
    "evaluate a generator": lambda net, labels: net.evaluate(Pairs(labels), **QUIET),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("shape", [(), (1, 1), (3,), (1, 3)], ids=str)
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("cost", [naive, averaging], ids=["naive", "averaging"])
def test_a_cost_that_mixes_samples_up_is_refused(
    cost: CustomCost, outputs: int, shape: tuple[int, ...], way: Callable[[Network, Array], Any]
) -> None:
    net, labels = network(outputs, cost), RNG.normal(size=(12, *shape)).astype("float32")
    before = net.feedforward(X)
    if outputs == 3 and shape == (3,):
        way(net, labels)
        return
    if outputs == 1 and shape == (3,) and cost is averaging:
        way(net, labels)  # several answers for one output: strange, but each sample by itself
        return
    with pytest.raises((ShapeError, ValueError), match=r"CustomCost|broadcast"):
        way(net, labels)
    np.testing.assert_array_equal(net.feedforward(X), before)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("shape", [(), (1,), (1, 1)], ids=str)
def test_a_cost_that_knows_its_labels_is_not(shape: tuple[int, ...], way: Callable[[Network, Array], Any]) -> None:
    way(network(1, careful), RNG.normal(size=(12, *shape)).astype("float32"))


def test_the_refusal_says_what_to_do() -> None:
    with pytest.raises(ShapeError, match=r"one by one; NumPy broadcasts outputs \(N, 1\) and labels \(N,\)"):
        network(1, averaging).fit(X, X[:, 0], **QUIET)
    with pytest.raises(ShapeError, match="give labels of the outputs' shape"):
        network(1, naive).fit(X, X[:, 0], **QUIET)


def test_a_validation_set_is_looked_at_too() -> None:
    net = network(1, averaging)
    with pytest.raises(ShapeError, match="CustomCost must judge each sample by itself"):
        net.fit(X, X[:, :1], validation_set=(X, X[:, 0]), **QUIET)
    assert net.epoch == 0


@pytest.mark.parametrize("way", ["fit", "evaluate", "generator"])
def test_a_metric_that_mixes_samples_up_is_refused(way: str) -> None:
    labels = np.arange(12) % 3
    net = Network(seed=1).input((3,)).add(FullyConnectedLayer(3)).regression(cost=careful, metrics=[Distance()])
    with pytest.raises((ShapeError, ValueError), match=r"Distance must judge each sample by itself|broadcast"):
        WAYS[way](net, labels)
    assert WAYS["evaluate"](network(1, metrics=[Distance()]), X[:, 0])["distance"] > 0


# ---------------------------------------------------------------------------------------------- their figures


def figure_of(kind: Callable[[float], Any], **attributes: Any) -> Metric:
    """A metric whose value, the mean label, is of some type."""

    def measure(self: Any, y: Array, target: Array) -> Array:
        return np.array([target.sum(), target.size], float)

    def value(self: Any, total: Array) -> Any:
        return kind(float(total[0] / total[1]))

    return type("Figure", (Metric,), {"measure": measure, "value": value, **attributes})()


KINDS: dict[str, Callable[[float], Any]] = {
    "float": float,
    "int": lambda x: int(1000 * x),
    "float32": np.float32,
    "array without axes": np.array,
    "bool": lambda x: x > 1e9,
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("mode", ["min", "max"])
def test_early_stop_sees_any_number(kind: Callable[[float], Any], mode: str) -> None:
    net = Network().input((3,)).add(FullyConnectedLayer(1)).regression(cost=careful, metrics=[figure_of(kind)])
    stop = EarlyStopping("validation_figure", patience=1, mode=mode)  # it is always the same
    validation = (np.ones((3, 3)), np.ones((3, 1)))
    history = net.fit(X, X[:, :1], epochs=9, validation_set=validation, callbacks=[stop], **QUIET)
    assert len(history.epochs) == 3
    assert all(isinstance(value, float) for value in history["validation_figure"])
    assert "figure" in str(net.evaluate(*validation, **QUIET))


def test_a_metric_says_what_is_better() -> None:
    for name, better in (("LogLoss", "lower"), ("ErrorRate", "lower"), ("Gain", "higher")):
        metric = type(name, (Distance,), {"better": better})()
        net = network(1, metrics=[metric])
        stop = EarlyStopping(metric.name, patience=0)
        net.fit(X, X[:, 0], callbacks=[stop], **QUIET)
        assert stop._watched._sign == (1 if better == "lower" else -1)


@pytest.mark.parametrize("name", ["LogLoss", "ErrorRate", "Score"])
def test_nobody_guesses_what_is_better(name: str) -> None:
    metric = type(name, (Distance,), {"better": None})()
    net = network(1, metrics=[metric])
    with pytest.raises(ArgumentError, match=r"EarlyStopping mode for .* must be .*the metric does not say"):
        net.fit(X, X[:, 0], callbacks=[EarlyStopping(metric.name)], **QUIET)
    assert net.epoch == 0
    net.fit(X, X[:, 0], callbacks=[EarlyStopping(metric.name, mode="min")], **QUIET)


def test_a_matrix_is_nothing_to_stop_by() -> None:
    net = Network().input((3,)).add(FullyConnectedLayer(3)).regression(cost=careful, metrics=[ConfusionMatrix()])
    with pytest.raises(ArgumentError, match="EarlyStopping monitor must be one number"):
        net.fit(X, np.arange(12) % 3, callbacks=[EarlyStopping("confusion_matrix", mode="min")], **QUIET)


def test_names_and_directions_of_metrics_are_looked_at() -> None:
    with pytest.raises(ArgumentError, match="better must be 'lower', 'higher' or None, got 'up'"):
        network(1, metrics=[type("Odd", (Distance,), {"better": "up"})()])
    with pytest.raises(ArgumentError, match="metrics must have different names"):
        network(1, metrics=[type("Odd", (Distance,), {"name": 3})()])
    assert Accuracy.better == "higher"
