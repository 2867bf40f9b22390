"""Optimizers and activations of a user's own: what would be wrong without a word is right, or an error."""

import copy
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import (
    Activation,
    ArgumentError,
    BatchNorm,
    Callback,
    FullyConnectedLayer,
    GedankenWarning,
    Layer,
    LayerNorm,
    MeanSquared,
    Metric,
    Momentum,
    Network,
    NonFiniteError,
    Optimizer,
    Param,
    ReLU,
    Residual,
    SetRate,
    ShapeError,
    StateValue,
    Stop,
    Zeros,
)
from gedanken.engine.select import EngineChoice

X = np.random.default_rng(0).random((40, 3))
Y = np.random.default_rng(1).random((40, 1))


def rule(update: Any, slots: Any = ("m",)) -> Any:
    """Return a class of optimizers."""
    return dataclass(frozen=True)(type("Own", (Optimizer,), {"slots": lambda self: slots, "update": update}))


def trained(optimizer: Any) -> Any:
    net = Network(1).input((3,)).add(FullyConnectedLayer(1)).regression(optimizer, "mean_squared", engine="numpy")
    net.fit(X, Y, mini_batch_size=8, epochs=2, progress=False)
    assert net._plan
    return net._plan.params


def in_place(self: Any, ops: Any, rate: float, step: int, p: Any, g: Any, slots: Any) -> None:
    slots["m"][...] = 0.9 * slots["m"] + g
    p -= rate * slots["m"]


def put_in_place(self: Any, ops: Any, rate: float, step: int, p: Any, g: Any, slots: Any) -> None:
    slots["m"] = 0.9 * slots["m"] + g
    p -= rate * slots["m"]


def returning(self: Any, ops: Any, rate: float, step: int, p: Any, g: Any, slots: Any) -> Any:
    return p - rate * g


def of_another_shape(self: Any, ops: Any, rate: float, step: int, p: Any, g: Any, slots: Any) -> None:
    slots["m"] = 0.0


def test_a_slot_may_be_put_in_place_of_the_former() -> None:
    assert np.array_equal(trained(rule(put_in_place)(0.1)), trained(rule(in_place)(0.1)))


@pytest.mark.parametrize(
    ("update", "slots", "text"),
    [
        (returning, ("m",), "Own.update must change p in place and return nothing"),
        (of_another_shape, ("m",), r"Own.update must leave slots\['m'\] of shape"),
        (in_place, "mean", "Own.slots must return names that are all different"),
        (in_place, ("m", "m"), "Own.slots must return names that are all different"),
        (in_place, None, "Own.slots must return names that are all different"),
    ],
)
def test_a_rule_that_would_learn_nothing_is_an_error(update: Any, slots: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        trained(rule(update, slots)(0.1))


@dataclass(frozen=True)
class Squares(Activation):
    """x**2, with what goes wrong in the derivative."""

    wrong: Any

    def function(self, ops: Any, x: Any) -> Any:
        return x * x

    def derivative(self, ops: Any, x: Any, y: Any) -> Any:
        return self.wrong(2 * x)


@pytest.mark.parametrize("wrong", [lambda d: d.mean(axis=0), lambda d: d[:, 0], lambda d: d[:1]])
@pytest.mark.parametrize("engine", ["cpu", "numpy"])
def test_a_derivative_of_another_shape_is_an_error(wrong: Any, engine: str) -> None:
    net = Network(1).input((3,)).add(FullyConnectedLayer(4)).add(Squares(wrong)).add(FullyConnectedLayer(1))
    net.regression("sgd", "mean_squared", engine=engine)
    with pytest.raises(ShapeError, match="must give a derivative of the shape of x"):
        net.fit(X, Y, progress=False)


@pytest.mark.parametrize("kind", [LayerNorm, BatchNorm])
def test_what_other_libraries_take_by_place_is_refused(kind: Any) -> None:
    with pytest.raises(ArgumentError, match="takes no arguments by place, got 1"):
        kind(16)


def test_the_second_number_of_momentum_is_its_momentum() -> None:
    assert Momentum(0.1, 0.8).momentum == 0.8


class Cuts(Residual):
    def join(self, ctx: Any, ys: Any) -> Any:
        return (ys[0] + ys[1])[:, :2]


class Halves(Residual):
    def split(self, ctx: Any, dy: Any, widths: Any) -> Any:
        return [dy * 0.5, dy]


class One(Residual):
    def split(self, ctx: Any, dy: Any, widths: Any) -> Any:
        return [dy]


class Writes(Residual):
    def split(self, ctx: Any, dy: Any, widths: Any) -> Any:
        dy *= 0.5
        return [dy, dy]


def with_container(kind: Any, engine: str) -> Network:
    net = Network(1).input((3,)).add(FullyConnectedLayer(4)).add(kind([FullyConnectedLayer(4)])).add(ReLU())
    return net.add(FullyConnectedLayer(1)).regression("sgd", "mean_squared", engine=engine)


@pytest.mark.parametrize("engine", ["cpu", "numpy"])
@pytest.mark.parametrize(
    ("kind", "text"),
    [(Cuts, "must return the declared shape"), (One, "must return gradients of"), (Writes, "read-only")],
)
def test_a_container_of_ones_own_is_looked_at(kind: Any, text: str, engine: str) -> None:
    net = with_container(kind, engine)
    with pytest.raises(ValueError, match=text):
        net.fit(X, Y, progress=False)


def test_a_split_of_ones_own_is_used_on_every_engine() -> None:
    nets = [with_container(Halves, engine) for engine in ("cpu", "numpy")]
    for net in nets:
        net.fit(X, Y, mini_batch_size=8, progress=False)
    first, second = (net.feedforward(X) for net in nets)
    np.testing.assert_allclose(first, second, rtol=1e-4)


def test_one_name_for_a_parameter_and_a_state_is_refused() -> None:
    class Twice(Layer):
        def params(self, shape: Any) -> Any:
            return {"w": Param(shape, Zeros())}

        def state(self, shape: Any) -> Any:
            return {"w": StateValue(shape, 0.0)}

        def output_shape(self, shape: Any) -> Any:
            return shape

        def forward(self, ctx: Any, p: Any, s: Any, x: Any) -> Any:
            return x.copy(), None

        def backward(self, ctx: Any, p: Any, g: Any, cache: Any, dy: Any) -> Any:
            return dy

    net = Network(1).input((3,)).add(Twice()).add(FullyConnectedLayer(1))
    with pytest.raises(ArgumentError, match="different names for parameters and state, got 'w' twice"):
        net.regression("sgd", "mean_squared")


def test_a_rate_that_was_raised_comes_back_from_a_file(tmp_path: Path) -> None:
    class Doubles(Callback):
        def on_epoch(self, run: Any, record: Any) -> Any:
            return SetRate(2.0)

    net = Network(1).input((3,)).add(FullyConnectedLayer(1)).regression("sgd", "mean_squared")
    net.fit(X, Y, callbacks=[Doubles()], progress=False)
    net.save(tmp_path / "raised.safetensors")
    loaded = Network.load(tmp_path / "raised.safetensors")
    assert loaded._train_state
    assert loaded._train_state.optimizer_state.rate == 2 * 0.01


class Lies(np.ndarray):
    """An array that says another shape than it has."""

    @property
    def shape(self) -> Any:  # type: ignore[override]
        return (*super().shape[:-1], 4)


@pytest.mark.parametrize("engine", ["cpu", "numpy"])
@pytest.mark.parametrize("container", [True, False])
def test_an_array_that_lies_about_its_shape_is_measured(container: bool, engine: str) -> None:
    class Joins(Residual):
        def join(self, ctx: Any, ys: Any) -> Any:
            return (ys[0] + ys[1])[:, :2].copy().view(Lies)

    class Gives(Activation):
        def function(self, ops: Any, x: Any) -> Any:
            return x[:, :2].copy().view(Lies)

        def derivative(self, ops: Any, x: Any, y: Any) -> Any:
            return np.ones_like(x)

    layer = Joins([FullyConnectedLayer(4)]) if container else Gives()
    net = Network(1).input((3,)).add(FullyConnectedLayer(4)).add(layer).add(ReLU()).add(FullyConnectedLayer(1))
    net.regression("sgd", "mean_squared", engine=engine)
    with pytest.raises(
        ShapeError, match=r"must return the declared shape \(\d, 4\) from (join|forward), got \(\d, 2\)"
    ):
        net.fit(X, Y, progress=False)


@pytest.mark.parametrize(
    "answer", [None, 1.0, (None, 1), (1j, 1), ("3", 1), (np.ones(2), 1), [1.0, 1], (1.0, None), (1.0, "dy")], ids=repr
)
def test_a_cost_of_ones_own_gives_a_number_and_a_gradient(answer: Any) -> None:
    class Own(MeanSquared):
        def __call__(self, ops: Any, y: Any, target: Any) -> Any:
            dy = super().__call__(ops, y, target)[1]
            return (answer[0], dy) if isinstance(answer, tuple) and answer[1] == 1 else answer

    net = Network(1).input((3,)).add(FullyConnectedLayer(1)).regression("sgd", Own(), engine="numpy")
    with pytest.raises(ArgumentError, match=r"Own\(\)"):
        net.fit(X, Y, progress=False)


@pytest.mark.parametrize(
    "answer", [None, 1j, "many", [1, "x"], {"a": 1}, np.array([1j]), np.ma.masked_equal(np.ones(2), 1)], ids=repr
)
def test_a_metric_of_ones_own_measures_numbers(answer: Any) -> None:
    class Own(Metric):
        def measure(self, y: Any, target: Any) -> Any:  # type: ignore[override]
            return answer

        def value(self, total: Any) -> Any:
            return 1.0

    net = Network(1).input((3,)).add(FullyConnectedLayer(1)).regression("sgd", "mean_squared", metrics=[Own()])
    with pytest.raises(ArgumentError, match=r"Own\.measure must return an array or numbers, real ones, got"):
        net.fit(X, Y, progress=False)


@pytest.mark.parametrize("factor", [1e200, 1e-200])
def test_a_rate_stays_a_number(factor: float) -> None:
    class Scales(Callback):
        def on_step(self, run: Any, record: Any) -> Any:
            return SetRate(factor)

    net = Network(1).input((3,)).add(FullyConnectedLayer(1)).regression("sgd", "mean_squared")
    with pytest.raises(ArgumentError, match=r"SetRate factor must leave a rate in \(0, inf\)"):
        net.fit(X, Y, mini_batch_size=8, callbacks=[Scales()], progress=False)


def test_an_answer_after_the_last_step_is_told() -> None:
    class Late(Callback):
        def on_stop(self, run: Any, reason: str) -> Any:
            return SetRate(0.5)

    net = Network(1).input((3,)).add(FullyConnectedLayer(1)).regression("sgd", "mean_squared")
    with pytest.warns(GedankenWarning, match="Late.on_stop must return nothing, the training is over"):
        history = net.fit(X, Y, callbacks=[Late()], progress=False)
    assert len(history.epochs) == 1


def test_an_error_that_cannot_be_read_is_passed_on() -> None:
    class Silent(ValueError):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    class Raises(Activation):
        def function(self, ops: Any, x: Any) -> Any:
            raise Silent

        def derivative(self, ops: Any, x: Any, y: Any) -> Any:
            return x

    net = Network(1).input((3,)).add(Raises()).add(FullyConnectedLayer(1)).regression("sgd", "mean_squared")
    assert "it raised Silent for random numbers" in str(net.summary())
    with pytest.raises(Silent):
        net.fit(X, Y, progress=False)


def test_what_may_be_nested_can_be_copied_and_kept(tmp_path: Path) -> None:
    layer: Any = FullyConnectedLayer(3)
    for _ in range(50):
        layer = Residual([layer])
    net = Network(1).input((3,)).add(layer).add(FullyConnectedLayer(1)).regression("sgd", "mean_squared")
    net.fit(X, Y, progress=False)
    net.save(tmp_path / "deep.safetensors")
    expected = net.feedforward(X)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), Network.load(tmp_path / "deep.safetensors")):
        np.testing.assert_array_equal(other.feedforward(X), expected)


def test_a_callback_may_answer_several_things() -> None:
    class Two(Callback):
        def on_epoch(self, run: Any, record: Any) -> Any:
            return [SetRate(0.5), Stop("enough")]

    net = Network(1).input((3,)).add(FullyConnectedLayer(1)).regression("sgd", "mean_squared")
    history = net.fit(X, Y, epochs=3, callbacks=[Two()], progress=False)
    assert [answered.answer for answered in history.answers] == [SetRate(0.5), Stop("enough")]
    assert (len(history.epochs), history.reason) == (1, "enough")


@pytest.mark.parametrize("answer", [(SetRate(0.5),), [None], [SetRate(0.5), 3], "stop", 0], ids=repr)
def test_other_answers_are_refused(answer: Any) -> None:
    class Odd(Callback):
        def on_epoch(self, run: Any, record: Any) -> Any:
            return answer

    net = Network(1).input((3,)).add(FullyConnectedLayer(1)).regression("sgd", "mean_squared")
    with pytest.raises(
        ArgumentError,
        match=r"Odd\.on_epoch must return a Stop, SetRate, Save, KeepWeights, Capture, Unfreeze, a list of them",
    ):
        net.fit(X, Y, callbacks=[Odd()], progress=False)


def test_a_first_step_that_is_not_finite_is_not_blamed_on_the_rate() -> None:
    net = Network(1).input((3,)).add(FullyConnectedLayer(1)).regression("sgd", "mean_squared")
    with pytest.raises(NonFiniteError, match=r"data of values up to 3e\+38: scale them") as caught:
        net.fit(np.full((8, 3), 3e38), np.ones((8, 1)), progress=False)
    assert "learning rate" not in str(caught.value)


@pytest.mark.parametrize("tokens", ["x", 0, 2.5, True])
def test_a_layer_says_of_how_many_tokens_it_knows(tokens: Any) -> None:
    class Looks(Activation):
        @property
        def tokens(self) -> Any:
            return tokens

        def function(self, ops: Any, x: Any) -> Any:
            return x

        def derivative(self, ops: Any, x: Any, y: Any) -> Any:
            return x

    with pytest.raises(ArgumentError, match=r"tokens must be a whole number of at least 1"):
        Network(1).input((3,)).add(Looks())


def test_an_engine_of_ones_own_is_started() -> None:
    class Nothing(EngineChoice):
        name = "nothing"

        def start(self) -> Any:
            return None

    net = Network(1).input((3,)).add(FullyConnectedLayer(1))
    with pytest.raises(ArgumentError, match=r"Nothing\.start must return an Engine, got None"):
        net.regression("sgd", "mean_squared", engine=Nothing())
