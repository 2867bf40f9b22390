"""Recurrent layers on sequences of different length, and their first values."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gedanken import (
    GRU,
    LSTM,
    SGD,
    Adam,
    Bidirectional,
    Constant,
    FullyConnectedLayer,
    GlorotNormal,
    Hogwild,
    Layer,
    Network,
    Sequences,
    SimpleRNN,
)
from gedanken.engine.plan import Plan
from gedanken.engine.select import select_engine
from gedanken.types import Array

N, T, F, UNITS = 6, 7, 3, 4
LENGTHS = np.array([7, 1, 4, 2, 6, 7])
READERS: list[Any] = [
    SimpleRNN(UNITS),
    SimpleRNN(UNITS, activation="relu", reverse=True),
    LSTM(UNITS),
    LSTM(UNITS, reverse=True),
    LSTM(UNITS, projection=3),
    GRU(UNITS),
    GRU(UNITS, reset_after=False),
    GRU(UNITS, reset_after=False, reverse=True),
]
ROWS = [
    *READERS,
    *(replace(one, last=True) for one in READERS),
    Bidirectional(GRU(UNITS)),
    Bidirectional(LSTM(UNITS), "sum"),
    Bidirectional(LSTM(UNITS), "multiply"),
]
every_row = pytest.mark.parametrize("layer", ROWS, ids=str)
every_engine = pytest.mark.parametrize("engine", ["numpy", "cpu"])


def plan_of(layer: Layer, engine: str, places: int = T) -> Plan:
    plan = Plan([layer], (places, F), select_engine(engine, "float64"), seed=3)
    plan.initialise()
    plan.params += np.random.default_rng(1).normal(0, 0.5, plan.params.shape)
    return plan


def ran(plan: Plan, x: Array, lengths: Any, dy: Array | None = None) -> tuple[Array, Array]:
    """Return the output, and the gradients by parameters and input where `dy` is given."""
    given = Sequences(x, lengths)
    ctx = plan.told_of_lengths(plan.context(train=True), given)
    y, dx = x, x[:0]
    tape = []
    for stage in plan.engine.stages(plan.layers, dx=True):
        y, cache = stage.forward(ctx, y)
        tape.append((stage, cache))
    y = y.copy()
    if dy is not None:
        ((stage, cache),) = tape
        dx = stage.backward(ctx, cache, dy).copy()
    return y, np.concatenate([plan.grads.reshape(-1), dx.reshape(-1)])


def drawn(layer: Layer) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, T, F))
    return x, rng.normal(size=(N, *layer.output_shape((T, F))))


def padding() -> Array:
    return np.arange(T) >= LENGTHS[:, None]


@every_engine
@every_row
def test_what_stands_behind_the_end_changes_nothing(layer: Layer, engine: str) -> None:
    x, dy = drawn(layer)
    other, other_dy = x.copy(), dy.copy()
    other[padding()] = 1e3
    if dy.ndim == 3:
        other_dy[padding()] = 1e3
    plan = plan_of(layer, engine)
    y, slopes = ran(plan, x, LENGTHS, dy)
    y, slopes = y.copy(), slopes.copy()
    again, others = ran(plan, other, LENGTHS, other_dy)
    assert np.array_equal(y, again) and np.array_equal(slopes, others)
    assert (slopes[-x.size :].reshape(x.shape)[padding()] == 0).all()
    assert y.ndim == 2 or (y[padding()] == 0).all()


@every_engine
@every_row
def test_a_sequence_is_read_to_its_own_end(layer: Layer, engine: str) -> None:
    x, _ = drawn(layer)
    y, _ = ran(plan_of(layer, engine), x, LENGTHS)
    for row, length in enumerate(LENGTHS):
        alone, _ = ran(plan_of(layer, engine, length), x[row : row + 1, :length], [length])
        np.testing.assert_allclose(y[row] if y.ndim == 2 else y[row, :length], alone[0], rtol=1e-12, atol=1e-14)


@every_engine
@every_row
def test_gradients_of_padded_sequences_are_those_of_differences(layer: Layer, engine: str) -> None:
    x, dy = drawn(layer)
    plan, rng = plan_of(layer, engine), np.random.default_rng(2)
    slopes = ran(plan, x, LENGTHS, dy)[1].copy()
    params, step = plan.params.copy(), 1e-6
    for _ in range(2):
        by_p, by_x = rng.normal(size=params.shape), rng.normal(size=x.shape)
        values = []
        for sign in (1, -1):
            plan.params[...] = params + sign * step * by_p
            values.append((ran(plan, x + sign * step * by_x, LENGTHS)[0] * dy).sum())
        expected = slopes @ np.concatenate([by_p, by_x.reshape(-1)])
        assert abs((values[0] - values[1]) / (2 * step) - expected) < 1e-6 * max(1.0, abs(expected))


@pytest.mark.parametrize("layer", READERS, ids=str)
def test_reading_from_the_end_is_reading_what_is_turned(layer: Any) -> None:
    x, _ = drawn(layer)
    whole = np.full(N, T)
    y, _ = ran(plan_of(layer, "cpu"), x, whole)
    turned, _ = ran(plan_of(replace(layer, reverse=not layer.reverse), "cpu"), x[:, ::-1].copy(), whole)
    np.testing.assert_allclose(y, turned[:, ::-1], rtol=1e-12)


@every_engine
def test_a_deep_reader_learns_which_end_is_higher(engine: str) -> None:
    rng = np.random.default_rng(0)
    samples = [rng.normal(size=(length, 1)).astype("float32") for length in rng.integers(2, 9, 120)]
    wanted = np.array([one[0] - one[-1] for one in samples])
    net = Network(seed=2).input((8, 1)).add(Bidirectional(GRU(8))).add(LSTM(8, last=True)).add(FullyConnectedLayer(1))
    net.regression(Adam(0.02), "mean_squared", engine=engine)
    history = net.fit(Sequences.of(samples, 8), wanted, epochs=8, mini_batch_size=10, progress=False)
    assert history["cost"][-1] < 0.5 * history["cost"][0]


@pytest.mark.parametrize("backend", ["threads", "processes"])
def test_readers_learn_without_locks(backend: str) -> None:
    rng = np.random.default_rng(0)
    samples = [rng.normal(size=(length, 1)).astype("float32") for length in rng.integers(2, 6, 120)]
    wanted = np.array([one[0, 0] for one in samples])
    net = Network(seed=2).input((5, 1)).add(GRU(8, last=True)).add(FullyConnectedLayer(1))
    net.regression(SGD(0.1), "mean_squared", engine="cpu")
    way = Hogwild(workers=2, backend=backend)
    history = net.fit(Sequences.of(samples, 5), wanted, epochs=4, mini_batch_size=10, parallel=way, progress=False)
    assert history["cost"][-1] < history["cost"][0]


def test_each_gate_has_first_values_of_its_own() -> None:
    layer = LSTM(50, init=GlorotNormal(), bias_init=Constant(0.25), forget_bias=2.0)
    net = Network(seed=1).input((4, 30)).add(layer).regression(cost="mean_squared")
    values = net._plan.layers[0].p  # type: ignore[union-attr]
    assert values["bias"].reshape(4, 50).tolist() == [[0.25] * 50, [2.0] * 50, [0.25] * 50, [0.25] * 50]
    assert values["kernel"].std() == pytest.approx(np.sqrt(2 / 80), rel=0.05)  # that of one gate's fans
    gates = values["recurrent"].reshape(50, 4, 50).transpose(1, 0, 2)
    np.testing.assert_allclose(gates @ gates.transpose(0, 2, 1), np.tile(np.eye(50), (4, 1, 1)), atol=1e-5)
    assert len({gate.tobytes() for gate in gates}) == 4
