"""A checkup changes nothing, takes whatever `fit` takes, and is a value that can be read."""

import html
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gedanken import (
    SGD,
    Adam,
    ArgumentError,
    BatchNorm,
    Branches,
    Cost,
    CustomCost,
    DataError,
    Dropout,
    Embedding,
    Flatten,
    FullyConnectedLayer,
    Generator,
    GraphCut,
    Initializer,
    IterableGenerator,
    Layer,
    MatrixFactorisation,
    MeanSquared,
    Momentum,
    Network,
    Numpy,
    Param,
    ReLU,
    Residual,
    ShapeError,
    Sigmoid,
    SoftMax,
    SparseFullyConnectedLayer,
    SparseRows,
)
from gedanken.init import HeNormal
from tests.standin_cupy import StandInCupy

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 6)).astype("float32")
CLASSES = np.argmax(X[:, :3], axis=1)
NUMBERS = (X[:, 0] - X[:, 1])[:, None]


def network(engine: Any = "numpy", rule: Any = None) -> Network:
    net = Network(seed=1).input((6,)).add(FullyConnectedLayer(16)).add(BatchNorm()).add(ReLU()).add(Dropout(0.8))
    return net.add(FullyConnectedLayer(3)).add(SoftMax()).regression(rule or Adam(0.01), engine=engine)


def bits(net: Network, folder: Any) -> bytes:
    """Return all that a network is, its optimizer's memory included."""
    net.save(folder / "net", optimizer=True)
    return (folder / "net").read_bytes()


# ------------------------------------------------------------------ nothing is changed


@pytest.mark.parametrize("engine", ["numpy", "cpu"])
@pytest.mark.parametrize("epochs", [0, 2])
def test_network_optimizer_and_data_stay_as_they_are(engine: str, epochs: int, tmp_path: Any) -> None:
    net = network(engine, Momentum(0.01, accumulate=2))
    for _ in range(epochs):
        net.fit(X, CLASSES, mini_batch_size=32, progress=False)
    x, labels, held = X.copy(), CLASSES.copy(), (X[:50] + 1, CLASSES[:50])
    before = bits(net, tmp_path)
    assert net.check(x, labels, validation_set=held).figures.overfit_steps
    assert bits(net, tmp_path) == before
    assert np.array_equal(x, X)
    assert np.array_equal(labels, CLASSES)
    assert net.summary().samples == (32 if epochs else 128)


def test_a_training_is_the_same_after_it(tmp_path: Any) -> None:
    one, other = network(), network()
    one.check(X, CLASSES, validation_set=0.2)
    for net in (one, other):
        net.fit(X, CLASSES, epochs=2, validation_set=0.2, progress=False)
    assert bits(one, tmp_path) == bits(other, tmp_path)


class Rows(Generator):
    """Gives the samples, and notes which calls were made."""

    def __init__(self, **options: Any) -> None:
        super().__init__(workers=0, **options)
        self.calls: list[int] = []

    def __len__(self) -> int:
        return len(X)

    def get_mini_batches(self, index: int) -> Any:
        self.calls.append(index)
        return [(X[index], CLASSES[index])]


@pytest.mark.parametrize("begun", [0, 1, 3])
def test_a_generator_stays_where_it_is(begun: int) -> None:
    data, twin = (Rows(mini_batch_size=32, shuffle=True, seed=3) for _ in range(2))
    for one in (data, twin):
        for _ in zip(range(begun), one, strict=False):
            pass
    position = data.state_dict()
    found = network().check(data)
    assert (found.figures.looked_at, found.figures.samples, found.figures.mini_batch_size) == (300, 300, 32)
    assert data.state_dict() == position
    assert data.epoch == twin.epoch
    for mine, its in zip(data, twin, strict=True):
        assert np.array_equal(mine[0], its[0])


def test_of_a_long_generator_only_the_first_mini_batches_are_made() -> None:
    class Long(Rows):
        def __len__(self) -> int:
            return 1_000_000

        def get_mini_batches(self, index: int) -> Any:
            return super().get_mini_batches(index % 300)

    data = Long(mini_batch_size=500)
    found = network().check(data)
    assert len(data.calls) < 20_000
    assert found.figures.samples is None
    assert any("Generator" in text for text in found.left_out)
    assert found.figures.seconds_per_epoch == pytest.approx(2000 * found.figures.seconds_per_step, rel=0.01)


def test_a_generator_may_validate_and_an_iterable_be_both() -> None:
    pairs = list(zip(X, CLASSES, strict=True))
    found = network().check(IterableGenerator(pairs, workers=0), validation_set=Rows())
    assert found.figures.validation_looked_at == 300
    assert [one.code for one in found.findings if one.code == "leakage"]


def test_classes_one_after_the_other_are_found() -> None:
    class Sorted(Rows):
        def __len__(self) -> int:
            return 6000

        def get_mini_batches(self, index: int) -> Any:
            return [(X[index % 300], 0 if index < 5000 else 1)]

    (found,) = [one for one in network().check(Sorted()).findings if one.code == "labels-constant"]
    assert found.severity == "warning"
    assert "shuffle" in found.text


# ------------------------------------------------------------------ whatever can be trained can be checked


class Doubled(Layer):
    """A layer of a user's own, with a weight."""

    def output_shape(self, shape: Any) -> Any:
        return shape

    def params(self, shape: Any) -> Any:
        return {"w": Param((shape[-1], shape[-1]), HeNormal())}

    def forward(self, ctx: Any, p: Any, s: Any, x: Any) -> Any:
        return x @ p["w"], x

    def backward(self, ctx: Any, p: Any, g: Any, cache: Any, dy: Any) -> Any:
        g["w"][...] = cache.T @ dy
        return dy @ p["w"].T


class Absolute(Cost):
    """A cost of a user's own."""

    def __call__(self, ops: Any, y: Any, target: Any) -> Any:
        error = y - target
        return abs(error).mean(), ops.xp.sign(error) / y.size


TOKENS = RNG.integers(0, 9, (300, 4))
PAIRS = RNG.integers(0, 20, (300, 2))
SPARSE = SparseRows.of(np.where(RNG.random((300, 40)) < 0.1, 1.0, 0.0))
KINDS: dict[str, Callable[[], tuple[list[Any], tuple[int, ...], Any, Any, Any]]] = {
    "own layer": lambda: ([Doubled(), FullyConnectedLayer(3), SoftMax()], (6,), X, CLASSES, "cross_entropy"),
    "own cost": lambda: ([FullyConnectedLayer(1)], (6,), X, NUMBERS, Absolute()),
    "custom cost": lambda: (
        [FullyConnectedLayer(1)], (6,), X, NUMBERS,
        CustomCost(lambda y, t: ((y - t) ** 2)[:, 0], lambda y, t: 2 * (y - t)),
    ),
    "containers": lambda: (
        [Residual([FullyConnectedLayer(6), ReLU()]), Branches([FullyConnectedLayer(3)], [FullyConnectedLayer(4)]),
         FullyConnectedLayer(3), SoftMax()], (6,), X, CLASSES, "cross_entropy",
    ),
    "tokens": lambda: (
        [Embedding(9, 4), Flatten(), FullyConnectedLayer(1), Sigmoid()], (4,), TOKENS, TOKENS[:, 0] > 4,
        "binary_cross_entropy",
    ),
    "matrix": lambda: ([MatrixFactorisation(20, 20, rank=2)], (2,), PAIRS, RNG.normal(size=300), "mean_squared"),
    "graph": lambda: ([GraphCut(20, 2)], (2,), PAIRS, np.ones(300), "weighted_mean"),
    "sparse": lambda: (
        [SparseFullyConnectedLayer(2), SoftMax()], (40,), SPARSE,
        (SPARSE.toarray()[:, :20].sum(axis=1) > 2).astype(int), "cross_entropy",
    ),
    "hinge": lambda: ([FullyConnectedLayer(1)], (6,), X, CLASSES > 0, "hinge"),
    "one sample": lambda: ([FullyConnectedLayer(3), SoftMax()], (6,), X[:1], CLASSES[:1], "cross_entropy"),
}  # fmt: skip


@pytest.mark.parametrize("engine", ["numpy", "auto"])
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_can_be_trained_can_be_checked(kind: str, engine: str) -> None:
    layers, shape, data, labels, cost = KINDS[kind]()
    net = Network(seed=1).input(shape)
    for layer in layers:
        net.add(layer)
    found = net.regression(Adam(0.01), cost, engine=engine).check(data, labels)
    assert not [one for one in found.findings if one.severity != "note" and one.code != "missing-class"], found
    assert found.figures.seconds_per_step > 0
    assert any(text.startswith("labels and the first cost") for text in found.left_out) == (
        kind in ("own cost", "custom cost", "graph")
    )


def test_on_a_device(standin_cupy: StandInCupy) -> None:
    found, host = (network(engine).check(X, CLASSES) for engine in ("cuda", "numpy"))
    assert found.ok
    assert found.figures.initial_cost == pytest.approx(host.figures.initial_cost, rel=1e-3)
    assert [one.path for one in found.figures.layers] == ["0", "2", "4"]


def test_what_fit_would_refuse_is_refused() -> None:
    wrong = CustomCost(lambda y, t: (y - t) ** 2, lambda y, t: 2 * (y - t))
    net = Network().input((6,)).add(FullyConnectedLayer(1)).regression(cost=wrong, engine="numpy")
    with pytest.raises(ShapeError, match="CustomCost must give costs of shape"):
        net.check(X, NUMBERS)
    with pytest.raises(ArgumentError, match="labels must be left out"):
        network().check(Rows(), CLASSES)
    with pytest.raises(DataError, match="validation_set data must have shape"):
        network().check(X, CLASSES, validation_set=(X[:, :5], CLASSES))


# ------------------------------------------------------------------ what is known is right


def test_the_first_cost_is_set_beside_that_of_a_network_that_knows_nothing() -> None:
    net = Network().input((6,)).add(FullyConnectedLayer(1)).regression(SGD(0.01), "mean_squared", engine="numpy")
    figures = net.check(X, 2 + 3 * NUMBERS).figures
    assert figures.expected_initial_cost == pytest.approx(float((3 * NUMBERS).var()), rel=1e-4)
    assert figures.initial_cost == pytest.approx(net.evaluate(X, 2 + 3 * NUMBERS, progress=False)["cost"], rel=1e-4)
    assert network().check(X, CLASSES).figures.expected_initial_cost == pytest.approx(np.log(3))
    one = Network().input((6,)).add(FullyConnectedLayer(1)).add(Sigmoid()).regression(cost="binary_cross_entropy")
    assert one.check(X, CLASSES > 0).figures.expected_initial_cost == pytest.approx(np.log(2))
    one = Network().input((6,)).add(FullyConnectedLayer(1)).regression(cost="mean_absolute")
    wanted = abs(NUMBERS - np.median(NUMBERS)).mean()
    assert one.check(X, NUMBERS).figures.expected_initial_cost == pytest.approx(wanted, rel=1e-4)


def test_gradient_and_update_are_told_as_parts_of_the_weights() -> None:
    first = np.arange(1, 7).reshape(6, 1) / 10

    class First(Initializer):
        def __call__(self, rng: Any, shape: Any, fan_in: int, fan_out: int) -> Any:
            return first

    net = Network().input((6,)).add(FullyConnectedLayer(1, init=First()))
    (layer,) = net.regression(SGD(0.25), "mean_squared").check(X[:20], NUMBERS[:20]).figures.layers
    slope = 2 * X[:20].T @ (X[:20] @ first - NUMBERS[:20]) / 20
    ratio = np.sqrt((slope**2).sum() / (first**2).sum())
    assert layer.gradient_to_weight == pytest.approx(ratio, rel=1e-4)
    assert layer.update_to_weight == pytest.approx(0.25 * ratio, rel=1e-4)


def test_a_symptom_beside_its_cause_is_a_note() -> None:
    net = (
        Network(seed=1).input((6,)).add(FullyConnectedLayer(16)).add(ReLU()).add(FullyConnectedLayer(3)).add(SoftMax())
    )
    found = net.regression(SGD(0.01), engine="numpy").check(300 * X, CLASSES)
    worse, notes = ([one for one in found.findings if (one.severity == "note") is note] for note in (False, True))
    assert [one.code for one in worse] == ["unscaled-input"]
    assert [one for one in notes if one.code == "initial-cost" and "may well come from unscaled-input" in one.text]


def test_after_a_training_units_are_those_of_the_trained_network() -> None:
    net = network(rule=SGD(0.05))
    net.fit(X, CLASSES, epochs=3, progress=False)
    found = net.check(X, CLASSES)
    assert found.ok
    assert "the first cost: the network was trained before" in found.left_out


def test_the_report_says_all_that_the_value_holds() -> None:
    net = network(Numpy())
    found = net.check(X, CLASSES, validation_set=(X, CLASSES))
    text = str(found)
    assert text.startswith("Do not train it like this: 1 error, 1 note.\n\nerror: leakage\n")
    for one in found.findings:
        assert f"{one.severity}: {one.code}" in text
        assert one.page in text
    joined = " ".join(text.split())
    assert all(one.text in joined for one in found.findings)
    assert f"{found.figures.initial_cost:.4g}" in text
    assert html.escape(text.splitlines()[0]) in found._repr_html_()
    assert repr(found) == text
    assert network().check(X, CLASSES).ok
    assert re.match(r"Ready to train", str(network().check(X, CLASSES)))


# ------------------------------------------------------------------ no false alarms


@pytest.mark.parametrize("rule", [Adam(), SGD(0.01), SGD(0.3), Momentum(0.01)], ids=repr)
def test_a_small_network_on_scaled_data_is_sound(rule: Any) -> None:
    net = Network(seed=4).input((6,))
    for layer in (FullyConnectedLayer(32), ReLU(), FullyConnectedLayer(3), SoftMax()):
        net.add(layer)
    assert net.regression(rule).check(X, CLASSES, validation_set=0.2).ok


@pytest.mark.parametrize("cost", ["mean_squared", "mean_absolute", "huber", MeanSquared()], ids=str)
def test_a_regression_of_scaled_targets_is_sound(cost: Any) -> None:
    net = Network(seed=4).input((6,))
    for layer in (FullyConnectedLayer(32), ReLU(), FullyConnectedLayer(1)):
        net.add(layer)
    assert net.regression(Adam(), cost).check(X, NUMBERS, validation_set=0.2).ok
