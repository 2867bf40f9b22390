"""Kernels of recurrent layers against their specification: random shapes and lengths, any number of threads."""

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from gedanken import GRU, LSTM, Adam, Bidirectional, FullyConnectedLayer, Layer, Network, Sequences, SimpleRNN
from gedanken.engine.cpu.engine import CpuEngine, FusedLayers
from gedanken.engine.plan import Engine, Plan
from gedanken.engine.select import select_engine
from gedanken.types import Array
from tests.cpu.agree import TOLERANCE, distance
from tests.cpu.test_bf16 import EMULATED, on
from tests.cpu.test_compiler import TILES, machine_like

DTYPES = ("float32", "float64")
KINDS: list[Any] = [
    SimpleRNN,
    lambda units, **more: SimpleRNN(units, activation="relu", **more),
    LSTM,
    lambda units, **more: LSTM(units, projection=units % 7 + 1, **more),
    GRU,
    lambda units, **more: GRU(units, reset_after=False, **more),
]


@st.composite
def readers(draw: st.DrawFn) -> Layer:
    layer = draw(st.sampled_from(KINDS))(
        draw(st.integers(1, 40)), last=draw(st.booleans()), reverse=draw(st.booleans()), bias=draw(st.booleans())
    )
    merge = draw(st.sampled_from(["concatenate", "sum", "average", "multiply"]))
    return Bidirectional(layer, merge) if draw(st.integers(0, 4)) == 0 else layer


def passes(engine: Engine, layers: list[Layer], x: Array, lengths: Array | None) -> dict[str, Array]:
    """Return what a training step and a prediction give."""
    plan = Plan(layers, x.shape[1:], engine, 7)
    plan.initialise()
    rng = np.random.default_rng(1)
    plan.params += rng.uniform(-0.1, 0.1, plan.params.shape).astype(plan.params.dtype)
    stages = engine.stages(plan.layers, dx=True)
    assert not isinstance(engine, CpuEngine) or all(isinstance(stage, FusedLayers) for stage in stages)
    data: Any = x if lengths is None else Sequences(x, lengths)
    ctx, y, tape = plan.told_of_lengths(plan.context(train=True), data), x, []
    for stage in stages:
        y, cache = stage.forward(ctx, y)
        tape.append((stage, cache))
    found = {"y": y.copy()}
    dx = rng.normal(size=y.shape).astype(y.dtype)
    for stage, cache in reversed(tape):
        dx = stage.backward(ctx, cache, dx)
    return found | {"dx": dx.copy(), "grads": plan.grads.copy(), "prediction": plan.predict(data)}


def check(layers: list[Layer], x: Array, lengths: Array | None, engine: Engine | None = None) -> None:
    dtype = str(x.dtype)
    expected = passes(select_engine("numpy", dtype), layers, x, lengths)
    found = passes(engine or select_engine("cpu", dtype), layers, x, lengths)
    for name, value in expected.items():
        assert distance(value, found[name]) < TOLERANCE[dtype], name


@settings(max_examples=60)
@given(readers(), st.integers(1, 35), st.integers(1, 9), st.integers(1, 40), st.booleans(), st.sampled_from(DTYPES))
def test_any_shape_and_lengths(layer: Layer, samples: int, places: int, features: int, whole: bool, dtype: str) -> None:
    rng = np.random.default_rng(samples)
    x = rng.normal(size=(samples, places, features)).astype(dtype)
    check([layer], x, None if whole else rng.integers(1, places + 1, samples))


@pytest.mark.parametrize("kind", KINDS[1:], ids=range(1, len(KINDS)))
def test_more_units_than_a_product_sums_at_once(kind: Any) -> None:
    rng = np.random.default_rng(0)
    check([kind(300)], rng.normal(size=(17, 2, 5)).astype("float32"), rng.integers(1, 3, 17))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS[2:], ids=range(2, len(KINDS)))
def test_kernel_gradients_over_many_places(kind: Any, dtype: str) -> None:
    rng = np.random.default_rng(0)
    check([kind(9)], rng.normal(size=(60, 40, 37)).astype(dtype), rng.integers(1, 41, 60))


@pytest.mark.parametrize("unit", TILES)
def test_other_processors_tiles_compute_the_same(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = machine_like(unit)
    monkeypatch.setattr("gedanken.engine.cpu.engine.this_machine", lambda: machine)
    x, lengths = np.random.default_rng(0).normal(size=(19, 3, 5)).astype("float32"), np.arange(19) % 3 + 1
    layers = [LSTM(13), LSTM(5, projection=21), GRU(9), GRU(7, reset_after=False), SimpleRNN(11, last=True)]
    check(layers, x, lengths, CpuEngine("test", "float32", threads=2))


def test_any_number_of_threads_gives_the_same_bits() -> None:
    rng, found = np.random.default_rng(0), []
    data = Sequences(rng.normal(size=(70, 6, 5)).astype("float32"), rng.integers(1, 7, 70))
    for threads in (1, 2, 3):
        net = (
            Network(seed=3)
            .input((6, 5))
            .add(Bidirectional(LSTM(20)))
            .add(LSTM(17, projection=5))
            .add(GRU(19))
            .add(GRU(9, reset_after=False))
        )
        net.add(SimpleRNN(7, last=True)).add(FullyConnectedLayer(1))
        net.regression(Adam(0.01), "mean_squared", engine="cpu", threads=threads)
        net.fit(data, rng.permutation(70) * 0 + 1.0, epochs=2, mini_batch_size=33, progress=False)
        found.append(np.concatenate([value.reshape(-1) for value in net._plan.state().values()]))  # type: ignore[union-attr]
        assert not net.summary().fallbacks
    assert np.isfinite(found[0]).all()
    assert all(one.tobytes() == found[0].tobytes() for one in found[1:])


def test_in_bf16_only_the_products_of_all_places_are_rounded() -> None:
    x = np.random.default_rng(0).normal(size=(20, 4, 6)).astype("float32")
    engine = on(EMULATED, 2)
    for layers in ([LSTM(11, last=True)], [GRU(7, reset_after=False)]):
        expected, found = (passes(one, layers, x, None) for one in (select_engine("numpy", "float32"), engine))
        for name, value in expected.items():
            assert 1e-7 < distance(value, found[name]) < 0.03, name
