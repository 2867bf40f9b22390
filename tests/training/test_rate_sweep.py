"""Finding a learning rate: what is suggested is of use, and nothing of the user's is changed."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import (
    SGD,
    Adam,
    ArgumentError,
    ArrayGenerator,
    CosineDecay,
    Cpu,
    CustomCost,
    DataError,
    Dropout,
    FullyConnectedLayer,
    Generator,
    MissingPackageError,
    Momentum,
    Network,
    NonFiniteError,
    Numpy,
    OnPlateau,
    RateSweep,
    ReLU,
    Sigmoid,
    SoftMax,
    SparseFullyConnectedLayer,
    SparseRows,
    StateError,
    TanH,
)
from gedanken.datasets import load_drawn_digits
from tests.training.chaos import X, Y, conv, dense

RNG = np.random.default_rng(5)
Problem = Callable[[Any], tuple[Network, Any, Any]]
DIGITS, LABELS, *_ = load_drawn_digits(train=1000, test=1)
LINE = RNG.uniform(-2, 2, (800, 1))
SINE = np.sin(3 * LINE) + 0.1 * RNG.normal(size=LINE.shape)
POINTS = RNG.normal(size=(1000, 20))
SIDES = (POINTS @ RNG.normal(size=20) + RNG.normal(size=1000) > 0).astype(int)


def digits(rule: Any) -> tuple[Network, Any, Any]:
    net = Network(1).input((784,)).add(FullyConnectedLayer(32)).add(ReLU()).add(Dropout(0.9))
    return net.add(FullyConnectedLayer(10)).add(SoftMax()).regression(rule), DIGITS.reshape(1000, -1), LABELS


def sine(rule: Any) -> tuple[Network, Any, Any]:
    net = Network(1).input((1,)).add(FullyConnectedLayer(32)).add(TanH()).add(FullyConnectedLayer(1))
    return net.regression(rule, "mean_squared"), LINE, SINE


def sides(rule: Any) -> tuple[Network, Any, Any]:
    net = Network(1).input((20,)).add(FullyConnectedLayer(1)).add(Sigmoid())
    return net.regression(rule, "binary_cross_entropy"), POINTS, SIDES


def cost_after(problem: Problem, rule: Any) -> float:
    net, data, labels = problem(rule)
    try:
        net.fit(data, labels, epochs=3, mini_batch_size=32, progress=False)
    except NonFiniteError:
        return math.inf
    return float(net.evaluate(data, labels, progress=False)["cost"])


# ---------------------------------------------------------------------- what is suggested


@pytest.mark.parametrize("rule", [SGD, Momentum, Adam])
@pytest.mark.parametrize("problem", [digits, sine, sides])
def test_the_suggestion_is_nearly_as_good_as_the_best_of_many(problem: Problem, rule: Any) -> None:
    net, data, labels = problem(rule(0.123))
    found = net.find_learning_rate(data, labels, mini_batch_size=32)
    assert found.rate
    costs = [cost_after(problem, rule(10.0**k)) for k in range(-4, 2)]
    before = float(net.evaluate(data, labels, progress=False)["cost"])
    mine = cost_after(problem, rule(found.rate))
    assert mine < min(costs) + 0.35 * (before - min(costs))
    assert sorted([*costs, mine]).index(mine) <= 3


def test_it_is_a_tenth_of_the_rate_with_the_lowest_smoothed_cost() -> None:
    net, data, labels = digits(Adam())
    found = net.find_learning_rate(data, labels, lowest=1e-5, highest=1.0, steps=60, mini_batch_size=32)
    assert found.rate == pytest.approx(found.rates[9 + int(np.argmin(found.smoothed[9:]))] / 10)
    np.testing.assert_allclose(found.rates, np.geomspace(1e-5, 1.0, 60), rtol=1e-9)
    for k in (0, 1, 59):
        parts = 0.9 ** np.arange(k + 1)[::-1]
        assert found.smoothed[k] == pytest.approx(parts @ found.costs[: k + 1] / parts.sum())
    assert str(found).startswith(f"learning rate {found.rate:.2g}: a tenth of ")
    assert str(found).endswith("60 updates at 1e-05 to 1, all steps done")
    assert repr(found) == f"RateSweep of {found}"


def test_a_cost_stands_beside_the_rate_that_led_to_it() -> None:
    """One parameter, whose steps can be written down."""
    net = (
        Network()
        .input((1,))
        .add(FullyConnectedLayer(1, bias=False))
        .regression(SGD(1.0), "mean_squared", engine=Numpy(dtype="float64"))
    )
    weight = float(net.feedforward([[1.0]])[0, 0])
    found = net.find_learning_rate(np.ones((8, 1)), np.zeros((8, 1)), lowest=1e-3, highest=0.1, steps=12)
    for rate, cost in zip(found.rates, found.costs, strict=True):
        weight -= rate * 2 * weight
        assert cost == pytest.approx(weight**2)


def test_mini_batches_that_are_gathered_are_one_update() -> None:
    net, data, labels = digits(SGD(0.1, accumulate=3))
    found = net.find_learning_rate(data, labels, steps=30, mini_batch_size=32)
    np.testing.assert_allclose(found.rates, np.geomspace(1e-6, 10.0, 30)[: len(found.rates)])
    assert found.rate


def test_it_ends_where_the_cost_explodes() -> None:
    net, data, labels = sine(SGD(0.1))
    found = net.find_learning_rate(data, labels, mini_batch_size=32)
    lowest = min(found.smoothed)
    assert found.smoothed[-1] - lowest > 3 * max(lowest, 0.5) and len(found.rates) < 100
    assert all(one - lowest < 3 * 2 for one in found.smoothed[:-1])
    assert found.reason.startswith(f"where the cost exploded, from {lowest:.3g} to {found.smoothed[-1]:.3g}")
    assert found.reason in str(found)


def test_it_ends_where_the_cost_is_no_number_and_leaves_that_out() -> None:
    net = Network(1).input((12,)).add(FullyConnectedLayer(3)).regression(SGD(0.1), "mean_squared")
    data = X.copy()
    data[300:] *= 1e30
    found = net.find_learning_rate(data, np.eye(3)[Y], mini_batch_size=16)
    assert np.isfinite([*found.costs, *found.smoothed]).all()
    assert found.reason in ("the cost became inf", "the cost became nan")
    assert (found.rate is None) == str(found).startswith("no learning rate is suggested: ")


def test_costs_below_0_do_not_end_it() -> None:
    cost = CustomCost(lambda y, t: ((y - t) ** 2).sum(axis=1) - 5, lambda y, t: 2 * (y - t))
    net = Network(1).input((1,)).add(FullyConnectedLayer(16)).add(TanH()).add(FullyConnectedLayer(1))
    found = net.regression(Adam(), cost).find_learning_rate(LINE, SINE, highest=0.1, mini_batch_size=32)
    assert len(found.rates) == 100 and max(found.costs) < 0 and found.rate


def test_a_cost_that_does_not_fall_suggests_nothing() -> None:
    net, data, _ = sides(SGD(0.1))
    found = net.find_learning_rate(data, SIDES, lowest=1e-9, highest=1e-6, mini_batch_size=32)
    assert found.rate is None
    assert str(found).startswith("no learning rate is suggested: the cost did not fall clearly in 100 updates at 1e-09")
    assert "try more steps, larger mini-batches or other rates" in str(found)


# ---------------------------------------------------------------------- nothing is changed


def bits(net: Network) -> dict[str, Any]:
    state = net._train_state
    assert state
    found = {**state.plan.state(), **state.optimizer_state.state(), "rate": state.optimizer_state.rate}
    told = {"epoch": net.epoch, "size": net._mini_batch_size, "rule": str(state.optimizer_state.optimizer)}
    return {**told, **{name: np.asarray(value).tobytes() for name, value in found.items()}}


@pytest.mark.parametrize("trained", [0, 2])
@pytest.mark.parametrize(
    "rule", [Adam(CosineDecay(0.02, 100)), Momentum(OnPlateau(0.1, patience=0), accumulate=3)], ids=str
)
def test_network_and_optimizer_stay_as_they_are(rule: Any, trained: int) -> None:
    nets = [dense(rule) for _ in range(2)]
    how = {"mini_batch_size": 16, "progress": False}
    for net in nets:
        if trained:
            net.fit(X, Y, epochs=trained, **how)
    before, data, labels = bits(nets[0]), X.copy(), Y.copy()
    found = nets[0].find_learning_rate(X, Y)
    assert bits(nets[0]) == before
    np.testing.assert_array_equal(X, data)
    np.testing.assert_array_equal(Y, labels)
    assert nets[0].find_learning_rate(X, Y) == found, "the same again"
    histories = [net.fit(X, Y, epochs=2, **how) for net in nets]
    assert histories[0]["cost"] == histories[1]["cost"]
    assert bits(nets[0]) == bits(nets[1])


@pytest.mark.parametrize("mode", ["threads", "processes"])
@pytest.mark.parametrize("moment", ["new", "between epochs", "within an epoch"])
def test_a_generator_stays_where_it_is(moment: str, mode: str) -> None:
    seen = []
    for look in (False, True):
        with ArrayGenerator(X, Y, mini_batch_size=16, shuffle=True, mode=mode, workers=2) as data:
            net = dense(Adam(0.01))
            if moment != "new":
                net.fit(data, epochs=2, progress=False)
            places = iter(data)
            if moment == "within an epoch":
                next(places)
            before = data.state_dict()
            if look:
                net.find_learning_rate(data, steps=30)
                assert data.state_dict() == before
            history = net.fit(data, epochs=2, progress=False)
            seen.append((history["cost"], bits(net)))
    assert seen[0] == seen[1]


class Counts(Generator):
    """Counts its epochs."""

    def __len__(self) -> int:
        return 5

    def get_mini_batches(self, index: int) -> list[Any]:
        return [(X[index], Y[index])] * 20


@pytest.mark.parametrize("engine", ["cpu", Cpu(dtype="float64"), "numpy"], ids=str)
def test_passes_over_few_mini_batches_are_repeated(engine: Any) -> None:
    net = dense(Adam(), engine)
    assert len(net.find_learning_rate(X[:40], Y[:40], steps=50).rates) == 50
    with Counts(mini_batch_size=10, workers=0) as data:
        assert len(net.find_learning_rate(data, steps=50).rates) == 50
    net, data, labels = sides(SGD(0.1))
    assert len(net.find_learning_rate(data[:1], labels[:1], steps=10, highest=1e-3).rates) == 10


def test_other_networks_and_data() -> None:
    data = SparseRows(np.arange(0, 4001, 4), RNG.integers(0, 12, 4000), np.ones(4000), 12)
    net = (
        Network()
        .input((12,))
        .add(SparseFullyConnectedLayer(1))
        .add(Sigmoid())
        .regression(SGD(0.1), "binary_cross_entropy")
    )
    assert net.find_learning_rate(data, RNG.integers(0, 2, 1000), mini_batch_size=1).rates
    pictures = conv(Adam())
    assert pictures.find_learning_rate(RNG.random((160, 1, 8, 8)), RNG.integers(0, 3, 160)).rates


# ---------------------------------------------------------------------- the picture


def test_a_picture_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    net, data, labels = digits(Adam())
    found = net.find_learning_rate(data, labels)
    sizes = []
    for name, one in (
        ("found", found),
        ("none", found._replace(rate=None)),
        ("empty", RateSweep(None, (), (), (), "so")),
    ):
        one.plot(tmp_path / "new" / f"{name}.png")
        content = (tmp_path / "new" / f"{name}.png").read_bytes()
        assert content.startswith(b"\x89PNG")
        sizes.append(len(content))
    assert sizes[0] > sizes[1] > sizes[2]
    with pytest.raises(OSError, match="Is a directory"):
        found.plot(tmp_path)
    with pytest.raises(ArgumentError, match="path must be a path"):
        found.plot(3)  # type: ignore[arg-type]


def test_without_matplotlib_the_figures_are_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    net, data, labels = sides(Adam())
    found = net.find_learning_rate(data, labels)
    with pytest.raises(MissingPackageError, match=r"RateSweep\.plot needs Matplotlib.*or use its rates and costs"):
        found.plot(tmp_path / "plot.png")


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"lowest": 0}, r"lowest must be a number in \(0, 1e6\], got 0"),
        ({"lowest": 1e-40}, "lowest must be above 1e-30"),
        ({"lowest": "1e-6"}, "lowest must be a number"),
        ({"highest": math.inf}, "highest must be a number"),
        ({"highest": 1e-6}, "highest must be above lowest, 1e-06, got 1e-06"),
        ({"steps": 9}, "steps must be a whole number of at least 10, got 9"),
        ({"steps": 10**7}, "steps must be at most 1000000"),
        ({"steps": 20.0}, "steps must be a whole number"),
        ({"mini_batch_size": 0}, "mini_batch_size must be a whole number"),
        ({"labels": Y[:3]}, "labels"),
        (
            {"data": ArrayGenerator(X, Y), "labels": None, "mini_batch_size": 3},
            "mini_batch_size must be given to the Gen",
        ),
    ],
)
def test_arguments_are_looked_at(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises((ArgumentError, DataError), match=words):
        dense(Adam()).find_learning_rate(**{"data": X, "labels": Y, **arguments})


def test_a_network_that_does_not_learn_yet() -> None:
    with pytest.raises(StateError, match="find_learning_rate"):
        Network().input((12,)).add(FullyConnectedLayer(3)).find_learning_rate(X, Y)


def test_a_cost_that_mixes_samples_up_is_refused() -> None:
    cost = CustomCost(lambda y, t: len(y) * ((y - t) ** 2).sum(axis=1), lambda y, t: y - t)
    net = Network().input((12,)).add(FullyConnectedLayer(3)).regression(SGD(0.1), cost)
    with pytest.raises(ArgumentError, match="must judge each sample by itself"):
        net.find_learning_rate(X, np.eye(3)[Y])
