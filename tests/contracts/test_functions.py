"""Layers and costs of which a user writes the forward pass alone."""

import copy
import pickle
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gedanken import (
    SGD,
    Adam,
    ArgumentError,
    Constant,
    Cost,
    CustomCost,
    FullyConnectedLayer,
    FunctionLayer,
    GedankenError,
    GradientError,
    Heads,
    Hogwild,
    Layer,
    MissingPackageError,
    Network,
    Param,
    Residual,
    Sequences,
    ShapeError,
    Sigmoid,
    SiLU,
)
from gedanken.engine.base import Engine
from gedanken.engine.plan import Plan
from gedanken.ops import Ops
from gedanken.types import Array
from tests.cases import ATTENDED, log_cosh, swish
from tests.standin_cupy import StandInCupy

RNG = np.random.default_rng(4)
X = RNG.normal(size=(60, 5))
Y = (X**2).sum(axis=1, keepdims=True)
SWISH = FunctionLayer(swish, {"beta": Param((5,), Constant(1.0))})


def network(*layers: Layer, cost: str | Cost = "mean_squared", **options: Any) -> Network:
    net = Network(seed=1).input((5,)).add(FullyConnectedLayer(5))
    for layer in (*layers, FullyConnectedLayer(1)):
        net.add(layer)
    return net.regression(SGD(0.05), cost, **options)


def beta(net: Network, path: str) -> Array:
    assert net._plan
    return net._plan.arrays()[f"{path}.beta"].copy()


# ------------------------------------------------------------------ what works


@pytest.mark.parametrize(("engine", "dtype"), [("cpu", "float32"), ("cpu", "float64"), ("numpy", "float64")])
def test_it_learns_as_the_same_layer_with_a_gradient_by_hand(engine: str, dtype: str) -> None:
    def written(xp: Any, x: Any) -> Any:
        return x / (1 + xp.exp(-x))

    def squares(y: Any, t: Any) -> Any:
        return ((y - t) ** 2)[:, 0]

    ours = network(FunctionLayer(written), cost=CustomCost(squares), engine=engine, dtype=dtype)
    theirs = network(SiLU(), engine=engine, dtype=dtype)
    costs = [net.fit(X, Y, epochs=3, mini_batch_size=7, progress=False)["cost"] for net in (ours, theirs)]
    np.testing.assert_allclose(*costs, rtol=1e-12 if dtype == "float64" else 1e-5)


def test_its_parameters_learn_and_the_summary_tells_of_the_check() -> None:
    net = network(Residual(SWISH), cost=CustomCost(log_cosh))
    before = beta(net, "1.layers.0")
    history = net.fit(X, Y, epochs=30, progress=False)
    assert history["cost"][-1] < 0.7 * history["cost"][0]
    assert not np.array_equal(beta(net, "1.layers.0"), before)
    assert "FunctionLayer(swish): gradient checked by differences" in str(net.summary())


def test_a_frozen_one_passes_gradients_on() -> None:
    net = network(SWISH)
    kept = beta(net, "1")
    net.freeze(1)
    costs = net.fit(X, Y, epochs=10, progress=False)["cost"]
    assert costs[-1] < costs[0]
    assert np.array_equal(beta(net, "1"), kept)


@pytest.mark.parametrize("backend", ["threads", "processes"])
def test_workers_have_it_too(backend: str) -> None:
    net = network(SWISH, cost=CustomCost(log_cosh))
    how = Hogwild(workers=2, backend=backend)
    costs = net.fit(X, Y, epochs=8, mini_batch_size=10, parallel=how, progress=False)["cost"]
    assert costs[-1] < costs[0]


def test_copies_and_pickles_go_on_by_themselves() -> None:
    net = network(SWISH, cost=CustomCost(log_cosh))
    net.fit(X, Y, progress=False)
    for again in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert np.array_equal(again.feedforward(X), net.feedforward(X))
        assert again.fit(X, Y, progress=False)["cost"] == copy.deepcopy(net).fit(X, Y, progress=False)["cost"]


def test_sequences_with_lengths_pass_by_place() -> None:
    by_place = FunctionLayer(lambda xp, x, p: xp.tanh(p["a"] * x), {"a": Param((), Constant(2.0))}, by_place=True)
    net = Network().input((4, 5)).add(by_place).regression(SGD(0.1), "mean_squared")
    values, lengths = RNG.normal(size=(6, 4, 5)), np.array([4, 1, 2, 3, 4, 2])
    expected = np.where((np.arange(4) < lengths[:, None])[:, :, None], np.tanh(2 * values), 0)
    np.testing.assert_allclose(net.feedforward(Sequences(values, lengths)), expected, rtol=1e-5, atol=1e-6)
    costs = net.fit(Sequences(values, lengths), expected / 2, epochs=5, progress=False)["cost"]
    assert costs[-1] < costs[0]


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (lambda xp, x: x - xp.mean(x, axis=1, keepdims=True), "must treat each place by itself with by_place=True"),
        (lambda xp, x: xp.cumsum(x, axis=1), "must treat each place by itself with by_place=True"),
        (lambda xp, x: x[:, ::2], r"must give as many places as it gets with by_place=True, it gives \(2, 5\)"),
    ],
)
def test_what_mixes_places_is_not_by_place(function: Callable[..., Any], told: str) -> None:
    with pytest.raises(ShapeError, match=told):
        Network().input((4, 5)).add(FunctionLayer(function, by_place=True))
    net = Network().input((4, 5)).add(FunctionLayer(function)).regression(cost="mean_squared")
    with pytest.raises(ShapeError, match="does not honour the lengths of sequences; say by_place=True"):
        net.feedforward(Sequences(RNG.normal(size=(2, 4, 5)), np.array([4, 2])))


def test_a_function_may_differentiate_inside() -> None:
    autograd = pytest.importorskip("autograd")

    def slope(xp: Any, x: Any) -> Any:
        return autograd.elementwise_grad(lambda z: z**3)(x)

    ours = network(FunctionLayer(slope), dtype="float64")
    theirs = network(FunctionLayer(lambda xp, x: 3 * x**2), dtype="float64")
    costs = [net.fit(X / 9, Y, epochs=2, progress=False)["cost"] for net in (ours, theirs)]
    np.testing.assert_allclose(*costs, rtol=1e-12)


def test_a_gradient_goes_back_twice_along_one_tape() -> None:
    plan = Plan([ATTENDED], (4, 5), Engine("numpy", Ops(dtype="float64"), "test"), seed=0)
    plan.initialise()
    (stage,) = plan.layers
    x, dy = RNG.normal(size=(3, 4, 5)), RNG.normal(size=(3, 5))
    _, cache = stage.forward(plan.context(train=True), x)
    first, again = (stage.backward(plan.context(train=True), cache, dy) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_the_forward_pass_is_run_once_in_a_step() -> None:
    calls = []

    def counted(xp: Any, x: Any) -> Any:
        calls.append(len(x))
        return xp.tanh(x)

    net = network(FunctionLayer(counted))
    net.fit(X, Y, mini_batch_size=30, progress=False)
    calls.clear()
    net.fit(X, Y, mini_batch_size=30, epochs=3, progress=False)
    assert calls.count(30) == 2 * 3


def test_on_a_gpu_derivatives_come_by_way_of_the_host(standin_cupy: StandInCupy) -> None:
    plan = Plan([SWISH], (5,), Engine("cuda", Ops(standin_cupy, "float64"), "test"), seed=0)
    assert plan.fallbacks == ["layer 0 FunctionLayer(swish) (derivatives on the host)"]
    plan.minimise(CustomCost(lambda y, t: ((y - t) ** 2).sum(axis=1)))
    assert plan.fallbacks[1:] == ["cost CustomCost (derivatives on the host)"]


# ------------------------------------------------------------------ what is refused


def filled(xp: Any, x: Any) -> Any:
    y = xp.zeros(x.shape)
    y[:, 0] = x[:, 0]
    return y


def added(xp: Any, x: Any) -> Any:
    y = xp.zeros(x.shape)
    y += x
    return y


def overwritten(xp: Any, x: Any) -> Any:
    x[:, 0] = 0
    return x


def hidden(xp: Any, x: Any) -> Any:
    return x * getattr(x, "_value", x)


NO_DERIVATIVE = r"layer 1 FunctionLayer\(.*\) has no derivative.*"
NOT_FOUND = r"layer 1 FunctionLayer\(.*\) must have a function whose derivative autograd finds, but dx at .*"
REFUSED: dict[str, tuple[Callable[..., Any], type[GedankenError], str]] = {
    "np": (lambda xp, x: np.where(x > 0, x, 0), GradientError, NO_DERIVATIVE + "use the functions of xp"),
    "joined": (lambda xp, x: np.concatenate([x, x], axis=1), GradientError, NO_DERIVATIVE + "use the functions of xp"),
    "filled": (filled, GradientError, NO_DERIVATIVE + "build another array"),
    "added": (added, GradientError, NO_DERIVATIVE + "build another array"),
    "overwritten": (overwritten, ShapeError, "must not change x and p in place"),
    "a number": (lambda xp, x: xp.tanh(x) + 0 * float(xp.sum(x)), GradientError, NO_DERIVATIVE + "use the functions"),
    "unknown": (lambda xp, x: xp.cbrt(x), GradientError, NO_DERIVATIVE + "VJP of cbrt.*write it with other"),
    "sorted": (lambda xp, x: xp.sort(x, axis=1), GradientError, NO_DERIVATIVE + "write it with other functions"),
    "padded": (lambda xp, x: xp.pad(x, ((0, 0), (1, 1))), GradientError, NO_DERIVATIVE + "give xp.pad its mode"),
    "hidden": (hidden, GradientError, NOT_FOUND + "xp must see all"),
    "root": (
        lambda xp, x: xp.where(x > 0, xp.sqrt(x), 0),
        GradientError,
        NOT_FOUND + "is nan.*let it choose what goes",
    ),
    "mixed": (lambda xp, x: x - xp.mean(x, axis=0), ShapeError, "must treat each sample by itself"),
    "random": (lambda xp, x: x * np.random.default_rng().random(x.shape), ShapeError, "the same for the same input"),
    "no axis": (lambda xp, x: xp.sum(x, axis=1), ShapeError, r"gives \(2,\) of float64.*keepdims=True"),
    "nothing": (lambda xp, x: None, ShapeError, "gives a NoneType"),
    "complex": (lambda xp, x: x * 1j, ShapeError, "complex128"),
    "shapes": (lambda xp, x: x @ xp.ones((4, 2)), ShapeError, "raised ValueError: matmul"),
    "no such": (lambda xp, x: xp.wave(x), ShapeError, "raised AttributeError"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_function_that_has_no_derivative_is_an_error_before_training(name: str) -> None:
    function, kind, told = REFUSED[name]
    with pytest.raises(kind, match=f"(?s){told}"):
        network(FunctionLayer(function))


SOUND: dict[str, Callable[..., Any]] = {
    "a guarded root": lambda xp, x: xp.where(x > 0, xp.sqrt(xp.where(x > 0, x, 1)), 0),
    "ufuncs of np": lambda xp, x: np.tanh(x) * np.maximum(x, 0.1),
    "integer powers": lambda xp, x: x**3 - x**2 + 2**x,
    "largest of each": lambda xp, x: xp.max(x, axis=1, keepdims=True),
    "a step": lambda xp, x: xp.floor(x),
    "constant": lambda xp, x: xp.ones((len(x), 3)),
    "itself": lambda xp, x: x,
    "picked": lambda xp, x: x[:, [0, 0, 3]],
}


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_function_is_taken(name: str) -> None:
    net = network(FunctionLayer(SOUND[name]))
    assert np.isfinite(net.fit(X, Y, progress=False)["cost"]).all()


def broadcast(xp: Any, y: Any, t: Any) -> Any:
    return xp.sum((y - t[:, 0]) ** 2, axis=1)


FINDS = "CustomCost must have a function whose derivative autograd finds, but dy at .*"
COSTS: dict[str, tuple[Callable[..., Any], type[GedankenError], str]] = {
    "np": (lambda y, t: np.where(y > t, y - t, 0)[:, 0], GradientError, "CustomCost function has no derivative.*xp"),
    "hidden": (lambda xp, y, t: ((getattr(y, "_value", y) - t) * y)[:, 0], GradientError, FINDS + "quotient"),
    "root": (lambda xp, y, t: xp.where(y > t, xp.sqrt(y - t), 0)[:, 0], GradientError, FINDS + "is nan"),
    "mean": (lambda xp, y, t: xp.mean((y - t) ** 2), ShapeError, r"must give costs of shape \(1,\)"),
    "values": (lambda xp, y, t: (y - t) ** 2, ShapeError, r"must give costs of shape \(1,\)"),
    "mixed": (lambda xp, y, t: ((y - xp.mean(y)) ** 2)[:, 0], ShapeError, "must judge each sample by itself"),
    "broadcast": (broadcast, ShapeError, "must judge each sample by itself"),
    "complex": (lambda xp, y, t: ((y - t) * 1j)[:, 0], ArgumentError, "must give real numbers"),
}


@pytest.mark.parametrize("name", COSTS)
@pytest.mark.filterwarnings("ignore:.*complex")
def test_a_cost_whose_derivative_is_not_found_is_an_error_before_training(name: str) -> None:
    function, kind, told = COSTS[name]
    net = network(cost=CustomCost(function))
    before = net.feedforward(X)
    with pytest.raises(kind, match=f"(?s){told}"):
        net.fit(X, Y, progress=False)
    assert np.array_equal(net.feedforward(X), before)


class Entries(Cost):
    def entries(self, ops: Any, y: Any, target: Any) -> Any:
        return (y - target) ** 2, self.slopes(y - target)

    def slopes(self, error: Any) -> Any:
        return 2 * error


class OfOthers(Cost):
    """Entries whose costs and slopes go by the mean of the labels."""

    def entries(self, ops: Any, y: Any, target: Any) -> Any:
        error = y - target
        return error**2 / target.size, 2 * error / target.size


class Shifted(Cost):
    """Costs, and not slopes, that go by other samples."""

    def entries(self, ops: Any, y: Any, target: Any) -> Any:
        return (y - target) ** 2 + target.mean(), 2 * (y - target)


SAMPLES_MIXED: dict[str, Cost] = {
    "normalised": CustomCost(lambda xp, y, t: ((y - xp.mean(y, axis=0) - t) ** 2)[:, 0]),
    "outputs that are alike": CustomCost(lambda xp, y, t: ((y - xp.mean(y, axis=0)) ** 2)[:, 0] + 0 * t[:, 0]),
    "number of entries": OfOthers(),
    "costs alone": Shifted(),
}


@pytest.mark.parametrize("heads", [False, True])
@pytest.mark.parametrize("which", SAMPLES_MIXED)
def test_a_cost_that_mixes_samples_is_an_error_before_training(which: str, heads: bool) -> None:
    cost = SAMPLES_MIXED[which]
    last = FullyConnectedLayer(1)
    net = Network(1).input((5,)).add(Heads(a=[last], b=[]) if heads else last)
    net.regression(SGD(0.1), {"a": cost, "b": "mean_squared"} if heads else cost, metrics={} if heads else ())
    net.set_arrays({name: 0 * array for name, array in net.arrays().items()})  # outputs are all the same
    who = f"{type(cost).__name__} of the head 'a'" if heads else type(cost).__name__
    for call in (net.fit, net.evaluate, net.check):
        with pytest.raises(ShapeError, match=f"{who} must judge each sample by itself, but gives"):
            call(X, {"a": Y, "b": X} if heads else Y)


def before(xp: Any, y: Any) -> Any:
    return xp.concatenate([0 * y[:, :1], y[:, :-1]], axis=1)


class OfPlaces(Cost):
    """A value of each place beside the largest of the sequence; its slopes are those of values by themselves."""

    exact_gradient = False

    def entries(self, ops: Any, y: Any, target: Any) -> Any:
        return y - y.max(axis=1, keepdims=True) - target, 0 * y + 1


PLACES_MIXED: dict[str, Cost] = {
    "mean": CustomCost(lambda xp, y, t: ((y - xp.mean(y, axis=1, keepdims=True) - t) ** 2)[:, :, 0]),
    "the place before": CustomCost(lambda xp, y, t: ((y - before(xp, y) - t) ** 2)[:, :, 0]),
    "labels of others": CustomCost(lambda xp, y, t: ((y - t) ** 2)[:, :, 0] / xp.sum(abs(t), axis=(1, 2))[:, None]),
    "values": OfPlaces(),
}
PLACES_APART: dict[str, Cost] = {
    "squares": CustomCost(lambda xp, y, t: xp.sum((y - t) ** 2, axis=2)),
    "by its place": CustomCost(lambda xp, y, t: ((y - t) ** 2)[:, :, 0] * np.arange(y.shape[1])),
    "logarithm": CustomCost(lambda xp, y, t: (xp.log(1 + xp.exp(y)) - t * y)[:, :, 0]),
    "entries": Entries(),
}


@pytest.mark.parametrize("heads", [False, True])
@pytest.mark.parametrize("which", [*PLACES_MIXED, *PLACES_APART])
def test_a_cost_of_places_with_lengths_goes_by_each_alone(which: str, heads: bool) -> None:
    cost = {**PLACES_MIXED, **PLACES_APART}[which]
    net = Network(1).input((6, 2)).add(FullyConnectedLayer(1))
    if heads:
        net.add(Heads(a=[], b=[]))
    net.regression(SGD(0.001), {"a": cost, "b": "mean_squared"} if heads else cost, metrics={} if heads else ())
    rng = np.random.default_rng(0)
    values, labels, lengths = rng.normal(size=(9, 6, 2)), rng.normal(size=(9, 6, 1)), rng.integers(1, 7, 9)
    targets = {"a": labels, "b": labels} if heads else labels
    assert np.isfinite(net.fit(values, targets, progress=False)["cost"]).all()  # without lengths all places count
    if which in PLACES_MIXED:
        start = net.arrays()
        for call in (net.fit, net.evaluate):
            with pytest.raises(ShapeError, match=f"{type(cost).__name__}.* must judge each place by itself where"):
                call(Sequences(values, lengths), targets)
        assert all(np.array_equal(array, start[name]) for name, array in net.arrays().items())
    else:
        one, other = (
            net.evaluate(Sequences(values, lengths), each_padded(targets, lengths, fill), progress=False)
            for fill in (0, 99)
        )
        assert one == other
        net.fit(Sequences(values, lengths), targets, progress=False)


def each_padded(targets: Any, lengths: Any, fill: float) -> Any:
    if isinstance(targets, dict):
        return {name: each_padded(one, lengths, fill) for name, one in targets.items()}
    return np.where(np.arange(6)[:, None] < lengths[:, None, None], targets, fill)


KINKS: dict[str, Callable[..., Any]] = {
    "absolute": lambda xp, y, t: xp.abs(y - t)[:, 0],
    "quantile": lambda xp, y, t: xp.maximum(0.9 * (t - y), 0.1 * (y - t))[:, 0],
    "logarithm": lambda xp, y, t: (xp.log(1 + xp.exp(y)) - t * y)[:, 0],
    "guarded root": lambda xp, y, t: xp.sqrt(xp.maximum(y - t, 0.01))[:, 0],
}


@pytest.mark.parametrize("name", KINKS)
def test_a_cost_with_kinks_is_taken(name: str) -> None:
    net = network(cost=CustomCost(KINKS[name]))
    assert np.isfinite(net.fit(X, Y, progress=False)["cost"]).all()


class WrongEntries(Entries):
    def slopes(self, error: Any) -> Any:
        return np.where(error < 0, -1, 2) * error


class Meant(WrongEntries):
    exact_gradient = False


class Whole(Cost):
    def __call__(self, ops: Any, y: Any, target: Any) -> Any:  # type: ignore[override]
        return ((y - target) ** 2).mean(), 2 * (y - target) / y.size


class WrongWhole(Cost):
    def __call__(self, ops: Any, y: Any, target: Any) -> Any:  # type: ignore[override]
        return ((y - target) ** 2).mean(), (y - target) / y.size


class Single(Cost):
    """A cost that computes in single precision, whatever it is given: differences are rough."""

    def entries(self, ops: Any, y: Any, target: Any) -> Any:
        error = y.astype("float32") - target
        return error**2, 2 * error


def _own(function: Callable[..., Any], derivative: Callable[..., Any]) -> Cost:
    return CustomCost(lambda y, t: function(y, t)[:, 0], derivative)


WRONG_SLOPES: dict[str, Cost] = {
    "another sign": _own(lambda y, t: (y - t) ** 2, lambda y, t: -2 * (y - t)),
    "another factor": _own(lambda y, t: (y - t) ** 2, lambda y, t: y - t),
    "nothing": _own(lambda y, t: (y - t) ** 2, lambda y, t: 0 * y),
    "a mean": _own(lambda y, t: (y - t) ** 2, lambda y, t: 2 * (y - t) / 100),
    "a step, smoothed": _own(lambda y, t: np.floor(y) - t, lambda y, t: 1 + 0 * y),
    "one side of entries": WrongEntries(),
    "a call of its own": WrongWhole(),
}


@pytest.mark.parametrize("heads", [False, True])
@pytest.mark.parametrize("which", WRONG_SLOPES)
def test_wrong_slopes_of_a_cost_are_an_error_before_training(which: str, heads: bool) -> None:
    cost = WRONG_SLOPES[which]
    net = Network(1).input((5,)).add(Heads(a=[FullyConnectedLayer(1)], b=[]) if heads else FullyConnectedLayer(1))
    net.regression(SGD(0.1), {"a": cost, "b": "mean_squared"} if heads else cost, metrics={} if heads else ())
    labels = {"a": Y, "b": X} if heads else Y
    before = net.arrays()
    told = (
        rf"{type(cost).__name__} must give as slopes the derivatives of its costs, but dy at \(\d, 0\) is .*, the diff"
    )
    for call in (net.fit, net.check, net.find_learning_rate):
        with pytest.raises(GradientError, match=told + ".*exact_gradient = False"):
            call(X, labels)
    assert all(np.array_equal(array, before[name]) for name, array in net.arrays().items())


SOUND_SLOPES: dict[str, Cost] = {
    "entries": Entries(),
    "a call of its own": Whole(),
    "meant to be others": Meant(),
    "in single precision": Single(),
    "absolute": _own(lambda y, t: abs(y - t), lambda y, t: np.sign(y - t)),
    "quantile": _own(lambda y, t: np.maximum(0.9 * (t - y), 0.1 * (y - t)), lambda y, t: np.where(y > t, 0.1, -0.9)),
    "logarithm": _own(lambda y, t: y - t * np.log(abs(y)), lambda y, t: 1 - t / y),
    "fine corners": _own(
        lambda y, t: abs((1e4 * y) % 1 - 0.5), lambda y, t: 1e4 * np.sign((1e4 * y) % 1 - 0.5)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SOUND_SLOPES)
def test_sound_slopes_of_a_cost_are_taken(name: str) -> None:
    net = network(cost=SOUND_SLOPES[name])
    net.fit(X, abs(Y) + 1, progress=False)


def test_probabilities_of_0_and_1_are_no_false_alarm() -> None:
    def inside(y: Any) -> Any:
        return np.clip(y, 1e-7, 1 - 1e-7)

    cost = CustomCost(
        lambda y, t: -(t * np.log(inside(y)) + (1 - t) * np.log(1 - inside(y)))[:, 0],
        lambda y, t: (inside(y) - t) / (inside(y) * (1 - inside(y))),
    )
    net = Network(1).input((5,)).add(FullyConnectedLayer(1)).add(Sigmoid()).regression(SGD(1e-9), cost, metrics=())
    net.set_arrays({"0.kernel": 100 * np.eye(5, 1)})
    assert {0.0, 1.0} <= set(net.feedforward(X)[:, 0].tolist())
    net.fit(X, X[:, :1] > 0, progress=False)


def test_many_outputs_beside_kinks_are_no_false_alarm() -> None:
    cost = CustomCost(lambda y, t: abs(y - t).sum(axis=1), lambda y, t: np.sign(y - t))
    net = Network(1).input((5,)).add(FullyConnectedLayer(20_000)).regression(SGD(1e-9), cost, metrics=())
    targets = net.feedforward(X[:4])
    assert np.isfinite(net.fit(X[:4], targets, progress=False)["cost"]).all()


def test_without_autograd_it_predicts_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network(SWISH)
    expected = net.feedforward(X)
    for name in ("autograd", "autograd.numpy", "autograd.core", "autograd.tracer"):
        monkeypatch.setitem(sys.modules, name, None)
    assert np.array_equal(net.feedforward(X), expected)
    told = r"needs autograd for its derivatives: pip install 'gedanken\[autograd\]'"
    with pytest.raises(MissingPackageError, match=told):
        network(SWISH)
    with pytest.raises(MissingPackageError, match=f"CustomCost function {told}"):
        network(cost=CustomCost(log_cosh)).fit(X, Y, progress=False)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: FunctionLayer(3), "FunctionLayer function must be callable, got 3"),
        (lambda: FunctionLayer(lambda x: x), r"FunctionLayer function must take \(xp, x\) or \(xp, x, p\), got"),
        (lambda: FunctionLayer(lambda xp, x: x, {"w": (3,)}), r"must take \(xp, x, p\), got"),
        (lambda: FunctionLayer(swish, 5), "FunctionLayer params must be a dict of a Param or a shape by name, got 5"),
        (lambda: FunctionLayer(swish, {"be.ta": (3,)}), "params must have names such as 'scale', got 'be.ta'"),
        (
            lambda: FunctionLayer(swish, {"beta": 3}),
            r"params\['beta'\] must be a Param, or a shape such as \(3,\), got 3",
        ),
        (lambda: FunctionLayer(swish, {"beta": (0,)}), r"params\['beta'\] must be a Param, or a shape"),
        (
            lambda: FunctionLayer(swish, {"beta": Param((3, 2), Constant(1.0), rows=True)}),
            r"params\['beta'\] must have no rows and no simplex",
        ),
        (lambda: CustomCost(lambda y: y), r"CustomCost function must take \(y, t\) or \(xp, y, t\), got"),
    ],
)
def test_wrong_arguments_are_named(make: Callable[[], Any], told: str) -> None:
    with pytest.raises(ArgumentError, match=told):
        make()


def test_gradients_of_float32_are_float32() -> None:
    def f(xp: Any, x: Array, p: Any) -> Any:
        return x * p["beta"] * np.float64(2)

    net = network(FunctionLayer(f, {"beta": (5,)}), cost=CustomCost(log_cosh))
    assert net.regression(Adam(), CustomCost(log_cosh)).fit(X, Y, progress=False)["cost"][0] > 0
    assert net.feedforward(X).dtype == np.float32
