"""Recurrent layers that begin with a state that is an input."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from gedanken import (
    GRU,
    LSTM,
    Adam,
    Branches,
    Cpu,
    FromState,
    FullyConnectedLayer,
    Network,
    Sequences,
    SimpleRNN,
    SoftMax,
    TanH,
)
from gedanken.by_name import ByName, each
from gedanken.engine.cpu.engine import FusedLayers
from gedanken.engine.plan import Plan
from gedanken.engine.select import select_engine
from gedanken.layers.stages import back_through, through
from gedanken.types import Array
from tests.test_several import check_mistake

ENGINES = ["numpy", "cpu"]
READERS: list[Any] = [
    SimpleRNN(5), SimpleRNN(3, activation="relu"), LSTM(4), GRU(6), GRU(17, reset_after=False), LSTM(19, bias=False),
]  # fmt: skip


def passes(layer: FromState, x: ByName, lengths: Array, engine: str) -> dict[str, Array]:
    """Return what a training pass gives for random parameters, and a gradient of the output that is random too."""
    rng, dtype = np.random.default_rng(3), str(x.parts["text"].dtype)
    shapes = {name: one.shape[1:] for name, one in x.parts.items()}
    end = [Branches(**{name: [] for name in ("text", "more")}, merge="names")] if layer.names else []
    plan = Plan([layer, *end], shapes, select_engine(engine, dtype), 1)
    plan.initialise()
    plan.params[...] = 0.4 * rng.normal(size=plan.params.shape)
    stages = plan.engine.stages(plan.layers)
    assert engine == "numpy" or [type(stage) for stage in stages] == [FusedLayers]
    data = ByName({**x.parts, "text": Sequences(x.parts["text"], lengths)})
    y, tape = through(stages, plan.told_of_lengths(plan.context(train=True), data), x)
    y = each(np.copy, y)
    dy: Any = each(lambda one: rng.normal(size=one.shape).astype(dtype), y)
    dx: Any = back_through(stages, plan.told_of_lengths(plan.context(train=True), data), tape, dy)
    made = y.parts if isinstance(y, ByName) else {"text": y}
    found = {f"y {name}": one for name, one in made.items()}
    found |= {f"dx {name}": np.array(one) for name, one in dx.parts.items()}
    return {**found, **{f"d {name}": np.array(g) for name, g in plan.gradients().items()}, "dy": dy, "p": plan.params}


@st.composite
def rows(draw: st.DrawFn) -> tuple[FromState, ByName, Array]:
    """Return a layer with any options, its inputs and lengths."""
    layer = replace(draw(st.sampled_from(READERS)), last=draw(st.booleans()), reverse=draw(st.booleans()))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    samples, places = draw(st.integers(1, 20)), draw(st.integers(1, 7))
    has_cell, names = isinstance(layer, LSTM) and draw(st.booleans()), draw(st.booleans())
    shapes = {"h": (layer.n_units,), "text": (places, 3)} | ({"c": (layer.n_units,)} if has_cell else {})
    shapes |= {"more": (2,)} if names else {}
    dtype = draw(st.sampled_from(["float32", "float64"]))
    x = ByName({name: rng.normal(size=(samples, *shape)).astype(dtype) for name, shape in shapes.items()})
    row = FromState(layer, "text", "h", "c" if has_cell else None, names)
    return row, x, rng.integers(1, places + 1, samples)


@settings(max_examples=40)
@given(rows())
def test_kernels_agree_with_the_specification(row: tuple[FromState, ByName, Array]) -> None:
    told, got = (passes(*row, engine) for engine in ENGINES)
    tolerance = {"float32": 1e-5, "float64": 1e-12}[str(got["p"].dtype)]
    for name in told.keys() - {"dy"}:
        assert np.max(abs(got[name] - told[name])) <= tolerance * max(1, np.max(abs(told[name]))), name


@pytest.mark.parametrize("layer", READERS, ids=str)
def test_gradients_by_the_states_agree_with_finite_differences(layer: Any) -> None:
    rng, step, cell = np.random.default_rng(1), 1e-6, "c" if isinstance(layer, LSTM) else None
    for own in (layer, replace(layer, last=True, reverse=True)):
        shapes = {"text": (5, 3), "h": (own.n_units,), **({"c": (own.n_units,)} if cell else {})}
        x, lengths = {name: rng.normal(size=(4, *shape)) for name, shape in shapes.items()}, np.array([1, 5, 3, 4])
        row = FromState(own, "text", "h", cell)
        found = passes(row, ByName(x), lengths, "numpy")
        for name, value in x.items():
            way, sides = rng.normal(size=value.shape), []
            for sign in (1, -1):
                moved = passes(row, ByName({**x, name: value + sign * step * way}), lengths, "numpy")
                sides.append((moved["y text"] * found["dy"]).sum())
            assert abs((sides[0] - sides[1]) / (2 * step) - (found[f"dx {name}"] * way).sum()) < 1e-6


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("layer", [*READERS, GRU(6, reverse=True, last=True)], ids=str)
def test_a_sequence_in_two_parts_is_read_as_one(layer: Any, engine: str) -> None:
    """The second part begins with the state behind the first; with zeros it is the layer alone."""
    x, zero = np.random.default_rng(0).normal(size=(7, 6, 3)).astype("float32"), np.zeros((7, layer.n_units), "float32")
    whole = Network(1).input((6, 3)).add(replace(layer, last=True)).regression(cost="mean_squared", engine=engine)

    def read(text: Array, h: Array) -> Array:
        net = (
            Network(1).input(text=text.shape[1:], h=h.shape[1:]).add(FromState(replace(layer, last=True), "text", "h"))
        )
        net.regression(cost="mean_squared", engine=engine)
        net._plan.restore(whole._plan.state())  # type: ignore[union-attr]
        found: Array = net.feedforward({"text": text, "h": h})
        return found

    np.testing.assert_allclose(read(x, zero), whole.feedforward(x), rtol=1e-5, atol=1e-6)
    if len(layer.sizes) == 1:
        first, second = (x[:, 2:], x[:, :2]) if layer.reverse else (x[:, :2], x[:, 2:])
        np.testing.assert_allclose(read(second, read(first, zero)), whole.feedforward(x), rtol=1e-5, atol=1e-6)


def translator(**options: Any) -> Network:
    net = Network(1).input(source=(6, 3), text=(5, 2), more=(4,))
    more = [FullyConnectedLayer(8), TanH()]
    net.add(Branches(source=GRU(8, last=True), text=[FullyConnectedLayer(4)], more=more, merge="names"))
    net.add(FromState(GRU(8), "text", "source", names=True)).add(FromState(LSTM(8), "text", "more"))
    return net.add(FullyConnectedLayer(3)).add(SoftMax()).regression(Adam(0.01), "cross_entropy", **options)


def test_what_reads_and_what_writes_are_one_program(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = {
        "source": Sequences(rng.normal(size=(20, 6, 3)), rng.integers(1, 7, 20)),
        "text": Sequences(rng.normal(size=(20, 5, 2)), rng.integers(1, 6, 20)),
        "more": rng.normal(size=(20, 4)),
    }
    labels = (data["text"].values[..., 0] > 0).astype(int) + (data["source"].values[:, :1, 0] > 0)
    costs = []
    for engine in ("numpy", *(Cpu(threads=threads) for threads in (1, 2, 3))):
        net = translator(engine=engine)
        costs.append(net.fit(data, labels, epochs=3, mini_batch_size=6, progress=False)["cost"])
    np.testing.assert_allclose(costs[0], costs[1], rtol=1e-4)
    assert costs[1] == costs[2] == costs[3]
    assert net._plan is not None and net._plan.fused_step is not None and not net.summary().fallbacks
    net.save(tmp_path / "net.safetensors")
    assert np.array_equal(Network.load(tmp_path / "net.safetensors").feedforward(data), net.feedforward(data))


def made(layer: FromState, **shapes: Any) -> Any:
    return lambda: Network().input(**{"text": (5, 4), "h": (3,), **shapes}).add(layer)


WRONG = {
    "layer": (
        lambda: FromState(TanH(), "text", "h"),  # type: ignore[arg-type]
        "FromState layer must be a SimpleRNN, a GRU, or an LSTM without projection, got TanH()",
    ),
    "a name": (lambda: FromState(GRU(3), "text", "a b"), "FromState first_state must be a name that is a word such as"),
    "a cell": (lambda: FromState(GRU(3), "text", "h", "c"), "FromState first_cell must be None for GRU(n_units=3)"),
    "the same": (lambda: FromState(GRU(3), "h", "h"), "FromState first_state must be another input, got 'h'"),
    "units": (made(FromState(GRU(2), "text", "h")), "takes states (2,), and 'h' is (3,)"),
    "no sequence": (made(FromState(GRU(3), "h", "text")), "needs sequences (T, F) of 'h'"),
    "aside": (made(FromState(GRU(3), "text", "h"), more=(2,)), "leaves the input 'more' aside"),
    "missing": (made(FromState(GRU(3), "text", "x")), "takes 'text' and 'x', and there is not the input 'x'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_mistakes_name_the_layer_and_the_rule(name: str) -> None:
    check_mistake(*WRONG[name])
