"""Attention of the places of one input to those of another."""

from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from gedanken import (
    GRU,
    Adam,
    Branches,
    Cpu,
    CrossAttention,
    FromState,
    FullyConnectedLayer,
    GlobalAveragePool1DLayer,
    Heads,
    Layer,
    LayerNorm,
    MultiHeadAttention,
    Network,
    NonFiniteError,
    ReLU,
    Residual,
    RMSNorm,
    Sequences,
    SoftMax,
)
from gedanken.by_name import ByName, each, parts_of
from gedanken.engine import cuts
from gedanken.engine.cpu.engine import FusedLayers
from gedanken.engine.plan import Plan
from gedanken.engine.select import select_engine
from gedanken.layers.stages import back_through, through
from gedanken.types import Array
from tests.test_several import check_mistake

ENGINES = ["numpy", "cpu"]
CROSS: dict[str, Any] = {"queries": "target", "keys": "source"}


def planned(layer: CrossAttention, x: ByName, engine: str, dtype: str) -> Plan:
    """Return the layer compiled; what it gives by name goes out through branches that do nothing."""
    shapes = {name: one.shape[1:] for name, one in x.parts.items()}
    end = [Branches(**{name: [] for name in shapes}, merge="names")] if layer.names else []
    plan = Plan([layer, *end], shapes, select_engine(engine, dtype), 1)
    plan.initialise()
    return plan


def passes(layer: CrossAttention, x: ByName, engine: str, train: bool = True) -> dict[str, Array]:
    """Return all that a training pass gives, for random parameters and gradients of the output."""
    rng, values = np.random.default_rng(3), each(lambda one: one.values, x)
    dtype = str(parts_of(values)[0].dtype)
    plan = planned(layer, values, engine, dtype)
    plan.params[...] = 0.3 * rng.normal(size=plan.params.shape)
    stages = plan.engine.stages(plan.layers)
    assert engine == "numpy" or [type(stage) for stage in stages] == [FusedLayers]
    ctx = plan.told_of_lengths(plan.context(train, 1, 5), x)
    y, tape = through(stages, ctx, values)
    y = each(np.copy, y)
    dy = each(lambda one: rng.normal(size=one.shape).astype(dtype), y)
    lengths = {name: one.lengths for name, one in x.parts.items()}
    cut = plan.ops.real_places
    made = y.parts if isinstance(y, ByName) else {layer.queries: y}
    found = {f"y {name}": cut(one, lengths[name]) for name, one in made.items()}
    if train:
        dx = each(np.copy, back_through(stages, ctx, tape, dy))
        found |= {f"dx {name}": cut(one, lengths[name]) for name, one in dx.parts.items()}
    return {**found, **{f"d {name}": np.array(g) for name, g in plan.gradients().items()}, "p": plan.params.copy()}


@st.composite
def rows(draw: st.DrawFn) -> tuple[CrossAttention, ByName]:
    """Return a layer with any options and inputs of any sizes and lengths."""
    truth, size, rng = st.booleans(), st.sampled_from([None, 1, 5, 17]), np.random.default_rng(draw(st.integers(0, 99)))
    heads, places, seen, samples = draw(st.integers(1, 3)), *(draw(st.integers(1, n)) for n in (40, 50, 4))
    residual, values = draw(truth), draw(truth)
    mask = np.where(rng.random((heads, places, seen)) < 0.7, rng.normal(size=(heads, places, seen)), -np.inf)
    layer = CrossAttention(
        heads, draw(truth), draw(truth), keep=draw(st.sampled_from([1.0, 0.6])), learned_key=draw(truth), zero_key=True,
        attention_mask=draw(st.sampled_from([None, mask])), key_size=draw(size), value_size=draw(size),
        n_units=None if residual else draw(size), residual=residual, names=draw(truth) or values,
        values="value" if values else None, norm=draw(st.sampled_from([None, LayerNorm(), RMSNorm()])), **CROSS,
    )  # fmt: skip
    shapes = {"value": (seen, 3), "source": (seen, draw(st.integers(1, 9))), "target": (places, 4 * heads)}
    dtype, lengths = draw(st.sampled_from(["float32", "float64"])), rng.integers(1, seen + 1, samples)
    told = {"target": rng.integers(1, places + 1, samples), "source": lengths, "value": lengths}
    wanted = shapes if values else {name: shapes[name] for name in ("source", "target")}
    parts = {name: rng.normal(size=(samples, *shape)).astype(dtype) for name, shape in wanted.items()}
    return layer, ByName({name: Sequences(one, told[name]) for name, one in parts.items()})


@settings(max_examples=40)
@given(rows())
def test_kernels_agree_with_the_specification(row: tuple[CrossAttention, ByName]) -> None:
    layer, x = row
    for train in (True, False):
        told, got = (passes(layer, x, engine, train) for engine in ENGINES)
        tolerance = {"float32": 1e-5, "float64": 1e-12}[str(got["p"].dtype)]
        for name, expected in told.items():
            assert np.max(abs(got[name] - expected), initial=0) <= tolerance * max(1, np.max(abs(expected))), name


@settings(max_examples=15)
@given(rows())
def test_gradients_agree_with_finite_differences_and_padding_changes_nothing(
    row: tuple[CrossAttention, ByName],
) -> None:
    layer, x = row
    x, rng, step = (
        each(lambda one: Sequences(one.values.astype("float64"), one.lengths), x),
        np.random.default_rng(1),
        1e-6,
    )
    plan = planned(layer, each(lambda one: one.values, x), "numpy", "float64")
    ctx = plan.told_of_lengths(plan.context(train=True), x)
    filled = each(lambda one: np.where(one.real()[..., None], one.values, 7.0), x)
    y, tape = through(plan.stages, ctx, each(lambda one: one.padded(), x))
    ends = {layer.queries: x.parts[layer.queries].lengths} | {name: x.parts[name].lengths for name in x.parts}
    made = y if isinstance(y, ByName) else ByName({layer.queries: y})
    weights = ByName({n: plan.ops.real_places(rng.normal(size=one.shape), ends[n]) for n, one in made.parts.items()})

    def cost(given: ByName) -> float:
        found = through(plan.stages, ctx, given)[0]
        parts = found if isinstance(found, ByName) else ByName({layer.queries: found})
        return float(sum(parts_of(each(lambda one, w: (one * w).sum(), parts, weights))))

    assert cost(filled) == pytest.approx(cost(each(lambda one: one.padded(), x)), abs=1e-9)
    dx: Any = back_through(plan.stages, ctx, tape, weights if isinstance(y, ByName) else weights.parts[layer.queries])
    for name, one in x.parts.items():
        assert not dx.parts[name][~one.real()].any()
        way = rng.normal(size=one.values.shape)
        sides = [cost(ByName({**filled.parts, name: filled.parts[name] + sign * step * way})) for sign in (1, -1)]
        assert abs((sides[0] - sides[1]) / (2 * step) - (dx.parts[name] * way).sum()) < 1e-5
    for name, view in plan.arrays().items():
        way = rng.normal(size=view.shape)
        held, slope = view.copy(), float((plan.gradients()[name] * way).sum())
        sides = []
        for sign in (1, -1):
            view[...] = held + sign * step * way
            sides.append(cost(filled))
        view[...] = held
        assert abs((sides[0] - sides[1]) / (2 * step) - slope) < 1e-5


@pytest.mark.parametrize("engine", ENGINES)
def test_of_one_sequence_to_itself_it_is_multi_head_attention(engine: str) -> None:
    x, told = np.random.default_rng(0).normal(size=(5, 7, 6)), []
    both = {"target": x, "source": x}
    net = Network(1).input(target=(7, 6), source=(7, 6)).add(CrossAttention(2, True, **CROSS))
    net.regression(cost="mean_squared", engine=engine, dtype="float64")
    alone = (
        Network(1)
        .input((7, 6))
        .add(MultiHeadAttention(2, True))
        .regression(cost="mean_squared", engine=engine, dtype="float64")
    )
    p = dict(net._plan.arrays())  # type: ignore[union-attr]
    for name, view in alone._plan.arrays().items():  # type: ignore[union-attr]
        kind = name.rpartition("_")[2].rpartition(".")[2]
        parts = [f"0.{role}_{kind}" for role in (("output",) if "output" in name else ("query", "key", "value"))]
        view[...] = np.concatenate([p[part] for part in parts], axis=-1)
    told = [alone.feedforward(x), net.feedforward(both)]
    np.testing.assert_allclose(*told, rtol=1e-12)


def block(features: int) -> list[Layer]:
    """A decoder's block: places of the target see those before them, then all of the source."""
    inner = [FullyConnectedLayer(2 * features), ReLU(), FullyConnectedLayer(features)]
    return [
        Branches(source=[], target=[Residual(MultiHeadAttention(2, causal=True)), LayerNorm()], merge="names"),
        CrossAttention(2, residual=True, names=True, **CROSS),
        Branches(source=[], target=[LayerNorm(), Residual(inner), LayerNorm()], merge="names"),
    ]


def decoder(**options: Any) -> Network:
    net = Network(1).input(source=(6, 3), target=(5, 4))
    for layer in (
        *block(4),
        *block(4),
        CrossAttention(2, norm=LayerNorm(), **CROSS),
        FullyConnectedLayer(3),
        SoftMax(),
    ):
        net.add(layer)
    return net.regression(Adam(0.01), "cross_entropy", **options)


RNG = np.random.default_rng(2)
DATA = {
    "source": Sequences(RNG.normal(size=(20, 6, 3)).astype("float32"), RNG.integers(1, 7, 20)),
    "target": Sequences(RNG.normal(size=(20, 5, 4)).astype("float32"), RNG.integers(1, 6, 20)),
}
LABELS = (DATA["target"].values[..., 0] > 0).astype(int) + (DATA["source"].values[:, :1, 0] > 0)


def trained(net: Network, data: Any = DATA) -> list[float]:
    return net.fit(data, LABELS, epochs=3, mini_batch_size=6, progress=False)["cost"]


def test_a_decoder_is_one_program_on_any_number_of_threads(tmp_path: Path) -> None:
    costs = [trained(net := decoder(engine=engine)) for engine in ENGINES]
    np.testing.assert_allclose(*costs, rtol=1e-4)
    assert net._plan is not None and net._plan.fused_step is not None and not net.summary().fallbacks
    assert {tuple(trained(decoder(engine=Cpu(threads=threads)))) for threads in (1, 2, 3)} == {tuple(costs[1])}
    net.save(tmp_path / "net.safetensors")
    loaded = Network.load(tmp_path / "net.safetensors")
    assert loaded.layers == net.layers == eval(f"({repr(net.layers)[1:-1]})", vars(__import__("gedanken")))
    for name, outputs in zip(("loaded", "itself"), (loaded.feedforward(DATA), net.feedforward(DATA)), strict=True):
        assert np.array_equal(outputs, net.feedforward(DATA)), name
    assert [row.output_shape for row in net.summary().rows][1] == {"source": (6, 3), "target": (5, 4)}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_sample_does_not_depend_on_what_pads_it(engine: str) -> None:
    net = decoder(engine=engine)
    filled = {
        name: Sequences(np.where(one.real()[..., None], one.values, 50), one.lengths) for name, one in DATA.items()
    }
    assert np.array_equal(net.feedforward(DATA), net.feedforward(filled))
    assert trained(net) == trained(decoder(engine=engine), filled)
    whole = net.feedforward({name: one.values for name, one in DATA.items()})
    assert not np.allclose(whole, net.feedforward(DATA))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("options", [{}, {"keep": 0.8}, {"attention_mask": np.ones((24, 16), bool)}], ids=str)
def test_short_sequences_are_cut_and_nothing_else_changes(
    options: Any, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that take names are cut where they may be, and learn what they learn uncut."""
    rng, told, computed = np.random.default_rng(4), [], []
    data = {
        "source": Sequences(rng.normal(size=(9, 16, 3)), rng.integers(3, 5, 9)),
        "target": Sequences(rng.normal(size=(9, 24, 4)), rng.integers(2, 7, 9)),
        "state": rng.normal(size=(9, 6)),
    }
    for levels in (8, 1):
        monkeypatch.setattr(cuts, "LEVELS", levels)
        net = Network(1).input(source=(16, 3), target=(24, 4), state=(6,))
        net.add(CrossAttention(2, residual=True, names=True, **CROSS, **options))
        net.add(Branches(target=[MultiHeadAttention(2)], source=GRU(2, last=True), state=[], merge="names"))
        net.add(FromState(GRU(6), "target", "state", names=True)).add(Branches(target=GRU(3, last=True), source=[]))
        net.add(FullyConnectedLayer(3)).add(SoftMax()).regression(Adam(0.01), engine=engine, dtype="float64")
        told.append(net.fit(data, np.arange(9) % 3, epochs=2, mini_batch_size=4, progress=False)["cost"])
        cut, _ = net._plan.cut(ByName(data), np.zeros(9))  # type: ignore[union-attr]
        computed.append(cut.parts["source"].shape[1])
    np.testing.assert_allclose(*told, rtol=1e-9)
    assert computed == [16 if options else 4, 16]


def test_a_fault_names_the_layer() -> None:
    net = decoder(engine="cpu")
    net._plan.arrays()["4.output_kernel"][...] = 3e38  # type: ignore[union-attr]
    with pytest.raises(NonFiniteError, match=r"layer 4 CrossAttention"):
        trained(net)


def test_it_may_stand_in_a_row_and_look_at_two() -> None:
    inner = [Heads(target=LayerNorm(), source=[FullyConnectedLayer(5)]), CrossAttention(2, **CROSS)]
    told = []
    for engine in ENGINES:
        net = Network(1).input(target=(5, 4), a=(6, 3), b=(6, 2))
        net.add(CrossAttention(2, queries="target", keys="a", values="b", residual=True))
        net.add(Residual(inner)).add(GlobalAveragePool1DLayer()).add(FullyConnectedLayer(1))
        net.regression(Adam(0.01), "mean_squared", engine=engine)
        data = {name: np.random.default_rng(3).normal(size=(12, *shape)) for name, shape in net.input_shape.items()}
        told.append(net.fit(data, np.ones(12), epochs=2, progress=False)["cost"])
    np.testing.assert_allclose(*told, rtol=1e-4)
    assert not net.summary().fallbacks


def made(layer: CrossAttention, **shapes: Any) -> Any:
    return lambda: Network().input(**{"target": (5, 4), "source": (6, 3), **shapes}).add(layer)


WRONG = {
    "a name": (lambda: CrossAttention(2, queries="a b", keys="b"), "queries must be a name that is a word such as"),
    "no name": (lambda: CrossAttention(2, queries="a", keys=None), "keys must be a name that is a word such as"),  # type: ignore[arg-type]
    "names": (lambda: CrossAttention(2, **CROSS, names=1), "CrossAttention names must be True or False, got 1"),  # type: ignore[arg-type]
    "a norm": (lambda: CrossAttention(2, norm=ReLU(), **CROSS), "norm must be a LayerNorm or RMSNorm without axes"),
    "axes of a norm": (
        lambda: CrossAttention(2, norm=LayerNorm(axes=1), **CROSS),
        "norm must be a LayerNorm or RMSNorm without axes, or None, got LayerNorm(axes=1)",
    ),
    "one input": (
        lambda: Network().input((5, 4)).add(CrossAttention(2, **CROSS)),
        ("layer 0 CrossAttention(n_heads=2, queries='target', keys='source') takes inputs by name, but the input has "
        "none; begin with input(target=...), or have Heads(target=[...]) before it"),
    ),
    "not there": (
        made(CrossAttention(2, queries="target", keys="other")),
        "takes 'target' and 'other', and there is not the input 'other'; there are ['source', 'target']",
    ),
    "left aside": (made(CrossAttention(2, **CROSS), more=(3,)), "leaves the input 'more' aside"),
    "no sequence": (made(CrossAttention(2, **CROSS), source=(3,)), "needs sequences (T, F) of 'source'"),
    "heads": (made(CrossAttention(3, **CROSS)), "has n_heads=3, which must divide the 4 features"),
    "residual": (
        made(CrossAttention(2, **CROSS, n_units=3, residual=True)),
        "makes 3 features, which residual=True adds to the 4 of 'target'",
    ),
    "values": (
        made(CrossAttention(2, **CROSS, values="v"), v=(4, 2)), "has 6 places of keys 'source' and 4 of values 'v'",
    ),
    "a mask": (
        made(CrossAttention(2, **CROSS, attention_mask=np.eye(5) > 0)),
        "has an attention_mask of 5 x 5 places, which must be 5 x 6",
    ),
    "names at the end": (
        lambda: made(CrossAttention(2, **CROSS, names=True))().regression(cost="mean_squared"),
        "gives results by name at the end of a network; end with Heads or Branches",
    ),
    "other lengths": (
        lambda: made(CrossAttention(2, **CROSS, values="v"), v=(6, 2))().regression(cost="mean_squared").feedforward(
            {"target": np.ones((1, 5, 4)), "source": [np.ones((3, 3))], "v": [np.ones((4, 2))]}
        ),
        "takes keys 'source' and values 'v' of other lengths of sequences",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_mistakes_name_the_layer_and_the_rule(name: str) -> None:
    check_mistake(*WRONG[name])
