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
    Bidirectional,
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
MERGES = ["concatenate", "sum", "average", "multiply"]


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
    reader = replace(draw(st.sampled_from(READERS)), last=draw(st.booleans()), reverse=draw(st.booleans()))
    merge = draw(st.sampled_from([None, *MERGES]))
    layer, units = (Bidirectional(reader, merge), 2 * reader.n_units) if merge else (reader, reader.n_units)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    samples, places = draw(st.integers(1, 20)), draw(st.integers(1, 7))
    has_cell, names = isinstance(reader, LSTM) and draw(st.booleans()), draw(st.booleans())
    shapes = {"h": (units,), "text": (places, 3)} | ({"c": (units,)} if has_cell else {})
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
    other = replace(layer, last=True, reverse=True)
    for own in (layer, other, *(Bidirectional(one, merge) for one in (layer, other) for merge in MERGES)):
        units = layer.n_units * (1 + isinstance(own, Bidirectional))
        shapes = {"text": (5, 3), "h": (units,), **({"c": (units,)} if cell else {})}
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


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("merge", MERGES)
@pytest.mark.parametrize("layer", READERS, ids=str)
def test_both_directions_have_a_state_of_their_own(layer: Any, merge: str, engine: str) -> None:
    """It is the two layers alone, each from its half; from zeros it is Bidirectional itself, with the same names."""
    rng, units = np.random.default_rng(0), layer.n_units
    x, h = rng.normal(size=(7, 6, 3)).astype("float32"), rng.normal(size=(7, 2 * units)).astype("float32")

    def network(one: Any, width: int) -> Network:
        made = Network(1).input(text=(6, 3), h=(width,)).add(FromState(one, "text", "h"))
        return made.regression(cost="mean_squared", engine=engine)

    both, alone = network(Bidirectional(layer, merge), 2 * units), Network(1).input((6, 3))
    alone.add(Bidirectional(layer, merge)).regression(cost="mean_squared", engine=engine)
    assert both.arrays().keys() == alone.arrays().keys()
    alone.set_arrays(both.arrays())
    np.testing.assert_allclose(both.feedforward({"text": x, "h": 0 * h}), alone.feedforward(x), rtol=1e-5, atol=1e-6)
    halves = []
    for number, name in enumerate(("forwards", "backwards")):
        half = network(replace(layer, reverse=number == 1), units)
        own = {f"0.{key.split('.')[-1]}": one for key, one in both.arrays().items() if f".{name}." in key}
        half.set_arrays(own)
        halves.append(half.feedforward({"text": x, "h": h[:, number * units : (number + 1) * units]}))
    joined = {
        "concatenate": np.concatenate(halves, axis=-1), "sum": halves[0] + halves[1],
        "average": (halves[0] + halves[1]) / 2, "multiply": halves[0] * halves[1],
    }  # fmt: skip
    np.testing.assert_allclose(both.feedforward({"text": x, "h": h}), joined[merge], rtol=1e-4, atol=1e-6)


def translator(**options: Any) -> Network:
    net = Network(1).input(source=(6, 3), text=(5, 2), more=(4,))
    more = [FullyConnectedLayer(8), TanH()]
    net.add(Branches(source=Bidirectional(GRU(4, last=True)), text=[FullyConnectedLayer(4)], more=more, merge="names"))
    net.add(FromState(Bidirectional(GRU(4)), "text", "source", names=True)).add(
        FromState(Bidirectional(LSTM(4)), "text", "more")
    )
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


READER = "a SimpleRNN, a GRU, or an LSTM without projection, or a Bidirectional of one"
WRONG = {
    "layer": (
        lambda: FromState(TanH(), "text", "h"),  # type: ignore[arg-type]
        f"FromState layer must be {READER}, got TanH()",
    ),
    "a projection": (
        lambda: FromState(Bidirectional(LSTM(4, projection=2)), "text", "h"),
        f"FromState layer must be {READER}, got Bidirectional(",
    ),
    "a cell of two": (
        lambda: FromState(Bidirectional(GRU(3)), "text", "h", "c"),
        "FromState first_cell must be None for Bidirect",
    ),
    "units of two": (made(FromState(Bidirectional(GRU(3)), "text", "h")), "takes states (6,), and 'h' is (3,)"),
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
