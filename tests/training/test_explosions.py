"""What is left of a network whose training explodes: weights from before it, and a word about it."""

import math
from typing import Any

import numpy as np
import pytest

from gedanken import (
    SGD,
    Adam,
    BatchNorm,
    Callback,
    Context,
    CustomCost,
    FullyConnectedLayer,
    Layer,
    Momentum,
    Network,
    Optimizer,
    ReLU,
    Sigmoid,
    SoftMax,
    StateError,
)
from tests.explosions import history_of

RNG = np.random.default_rng(0)
X = RNG.standard_normal((64, 6)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)
ENGINES = pytest.mark.parametrize("engine", ["cpu", "numpy"])


class NaNRule(Optimizer):
    """A rule that is right twice and then gives nan."""

    def update(self, ops: Any, rate: float, step: int, p: Any, g: Any, slots: Any) -> None:
        p -= rate * g if step < 2 else np.nan


def network(optimizer: Any, cost: Any = "cross_entropy", *more: Layer, **options: Any) -> Network:
    net = Network(1).input((6,)).add(FullyConnectedLayer(12)).add(BatchNorm()).add(ReLU())
    for layer in more:
        net.add(layer)
    net.add(FullyConnectedLayer(3 if cost == "cross_entropy" else 1))
    return (net.add(SoftMax()) if cost == "cross_entropy" else net).regression(optimizer, cost, **options)


def memory(net: Network) -> list[Any]:
    """Return copies of all that a step changes."""
    assert net._train_state is not None
    plan, optimizer_state = net._train_state.plan, net._train_state.optimizer_state
    return [
        plan.params.copy(),
        plan.layer_state.copy(),
        optimizer_state.updates,
        *(slot.copy() for slot in optimizer_state.slots.values()),
    ]


def same(first: list[Any], second: list[Any]) -> bool:
    return all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


EXPLOSIONS = [SGD(1e30), SGD(3e38), Momentum(1e20), Adam(1e30), Adam(1e38), SGD(1e30, accumulate=3), NaNRule(0.1)]


@ENGINES
@pytest.mark.parametrize("size", [8, 64], ids=["several steps", "one step"])
@pytest.mark.parametrize("cost", ["cross_entropy", "mean_squared"])
@pytest.mark.parametrize("optimizer", EXPLOSIONS, ids=repr)
def test_after_an_explosion_the_network_is_of_use(optimizer: Any, cost: str, size: int, engine: str) -> None:
    net = network(optimizer, cost, engine=engine)
    history = history_of(net, X, Y, epochs=1 if size == 64 else 4, mini_batch_size=size, progress=False)
    if not (size == 64 and isinstance(optimizer, NaNRule)):
        assert history.diverged
        told = "NaNRule.update wrote them" if isinstance(optimizer, NaNRule) else "try a lower learning rate"
        assert told in history.reason or "try a lower learning rate" in history.reason
    assert all(np.isfinite(part).all() for part in memory(net))
    assert np.isfinite(net.feedforward(X)).all()
    assert np.isfinite(net.evaluate(X, Y, progress=False)["cost"])
    again = net.regression(SGD(0.01), cost, engine=engine).fit(X, Y, mini_batch_size=size, progress=False)
    assert not again.diverged


class Remember(Callback):
    """Keeps what a step changes, as it was before the last step."""

    def __init__(self, net: Network) -> None:
        self.net, self.states = net, [memory(net)]

    def on_step(self, run: Any, record: Any) -> None:
        self.states.append(memory(self.net))


class Poison(Layer):
    """Hands its input on, and at the fifth gradient one value of another kind."""

    exact_gradient = False

    def __init__(self, value: float, forward: bool) -> None:
        object.__setattr__(self, "seen", [])
        object.__setattr__(self, "value", value)
        object.__setattr__(self, "on_the_way", forward)

    def output_shape(self, shape: Any) -> Any:
        return shape

    def forward(self, ctx: Context, p: Any, s: Any, x: Any) -> tuple[Any, Any]:
        return self._changed(x) if ctx.train and self.on_the_way else x, None

    def backward(self, ctx: Context, p: Any, g: Any, cache: Any, dy: Any) -> Any:
        return dy if self.on_the_way else self._changed(dy)

    def _changed(self, x: Any) -> Any:
        self.seen.append(1)
        changed = x.copy()
        if len(self.seen) == 5:
            changed[0, 0] = self.value
        return changed


@ENGINES
@pytest.mark.parametrize("forward", [True, False], ids=["cost", "gradient"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("accumulate", [1, 4])
def test_a_step_that_is_not_finite_changes_nothing(value: float, forward: bool, accumulate: int, engine: str) -> None:
    net = network(Adam(0.01, accumulate=accumulate), "cross_entropy", Poison(value, forward), engine=engine)
    seen = Remember(net)
    history = history_of(net, X, Y, epochs=9, mini_batch_size=8, callbacks=[seen], progress=False)
    assert history.diverged
    assert " in step 5 of epoch 1" in history.reason
    seen_in = "the cost became" if forward and math.isnan(value) else "the gradient's length became"
    assert seen_in in history.reason  # the cost of a score that is infinite is finite
    assert len(seen.states) == 6
    assert same(seen.states[5], seen.states[4])
    assert not same(seen.states[4], seen.states[3])


def test_a_cost_of_ones_own_that_gives_nan_once_costs_no_step() -> None:
    calls = []

    def each(y: Any, target: Any) -> Any:
        calls.extend([1] * (len(y) == 8))  # a dry run before has fewer samples
        return ((y - target) ** 2).mean(axis=1) * (math.nan if len(calls) == 5 and len(y) == 8 else 1)

    net = network(SGD(0.01), CustomCost(each, lambda y, target: 2 * (y - target)))
    seen = Remember(net)
    history = history_of(
        net, X, Y[:, None].astype(float), epochs=9, mini_batch_size=8, callbacks=[seen], progress=False
    )
    assert history.diverged
    assert same(memory(net), seen.states[-2])


@ENGINES
def test_an_input_that_bursts_a_running_variance_leaves_it_alone(engine: str) -> None:
    wild = X.copy()
    wild[20, 3] = 3e37
    net = Network(1).input((6,)).add(BatchNorm()).add(FullyConnectedLayer(3)).add(SoftMax()).regression(engine=engine)
    history = history_of(net, wild, Y, epochs=2, mini_batch_size=8, shuffle=False, progress=False)
    if history.diverged:
        assert " in step 3 of epoch 1" in history.reason
    assert np.isfinite(net.feedforward(X)).all()


@ENGINES
def test_a_step_that_raises_leaves_running_values_alone(engine: str) -> None:
    class Raises(Poison):
        def backward(self, ctx: Context, p: Any, g: Any, cache: Any, dy: Any) -> Any:
            raise ZeroDivisionError

    net = network(SGD(0.01), "cross_entropy", Raises(0.0, False), engine=engine)
    before = memory(net)
    with pytest.raises(ZeroDivisionError):
        net.fit(X, Y, progress=False)
    assert same(memory(net), before)


def test_the_same_explosion_leaves_the_same_weights() -> None:
    nets = [network(SGD(30.0), "mean_squared") for _ in range(2)]
    for net in nets:
        assert history_of(net, X, Y * 1e6, epochs=99, mini_batch_size=4, progress=False).diverged
    assert same(*map(memory, nets))


def test_large_gradients_are_taken_where_they_are_clipped() -> None:
    net = network(SGD(0.01, clip_norm=1.0), "mean_squared", dtype="float32")
    assert not net.fit(X, Y * 1e15, mini_batch_size=8, progress=False).diverged


@pytest.mark.parametrize("last", [SoftMax(), Sigmoid(), ReLU()], ids=repr)
def test_predictions_that_are_no_numbers_are_refused(last: Layer) -> None:
    cost = {"SoftMax()": "cross_entropy", "Sigmoid()": "binary_cross_entropy"}.get(repr(last), "mean_squared")
    net = Network().input((6,)).add(FullyConnectedLayer(3)).add(last).regression(cost=cost)
    assert net._plan is not None
    net._plan.params[:] = np.nan
    if not np.isnan(net.feedforward(X[:1])).any():
        pytest.skip("this layer makes a number of it")
    with pytest.raises(StateError, match="the outputs of 64 of 64 samples are NaN, first of sample 0"):
        net.predict(X)


@ENGINES
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_large_network_comes_back_from_a_gradient_that_is_not_finite(value: float, engine: str) -> None:
    net = Network(1).input((6,)).add(FullyConnectedLayer(3000)).add(ReLU()).add(Poison(value, False))
    net.add(FullyConnectedLayer(3)).add(SoftMax()).regression(Adam(0.001), engine=engine)
    history = history_of(net, X, Y, epochs=9, mini_batch_size=8, progress=False)
    assert history.diverged
    assert all(np.isfinite(part).all() for part in memory(net))
    assert np.isfinite(net.evaluate(X, Y, progress=False)["cost"])
