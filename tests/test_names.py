"""Names between layers: results that go on by name to a layer that takes them."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import (
    GRU,
    LSTM,
    Adam,
    BatchNorm,
    Branches,
    Cpu,
    Dropout,
    Embedding,
    Flatten,
    FullyConnectedLayer,
    GlobalAveragePool1DLayer,
    Heads,
    Layer,
    LayerNorm,
    MultiHeadAttention,
    Network,
    Reshape,
    Residual,
    Sequences,
    Sequential,
    SoftMax,
    TanH,
)
from tests.test_sequences import MeanOverTime
from tests.test_several import check_gradients, check_mistake

N, ENGINES = 24, ["numpy", "cpu"]
SHAPES = {"words": (5,), "series": (6, 2), "table": (4,)}
RNG = np.random.default_rng(0)
LENGTHS = RNG.integers(1, 6, N)
WORDS = np.where(np.arange(5) < LENGTHS[:, None], RNG.integers(1, 9, (N, 5)), 0)
SERIES = Sequences(RNG.normal(size=(N, 6, 2)).astype("float32"), RNG.integers(1, 7, N))
DATA = {"words": WORDS, "series": SERIES, "table": RNG.normal(size=(N, 4)).astype("float32")}
LABELS = (DATA["table"][:, 0] > 0).astype(int) + (LENGTHS > 2)


def trunk(*inner: Layer, dropout: float = 0.8) -> list[Layer]:
    """Three levels by name, each of its branches in another order, and names made and merged inside of a branch."""
    apart = [LSTM(4), Heads(p=[], q=[FullyConnectedLayer(4), *inner]), Branches(q=TanH(), p=[], merge="multiply")]
    return [
        Branches(table=[FullyConnectedLayer(4)], words=[Embedding(9, 3, mask=0), GRU(4)], series=[], merge="names"),
        Branches(words=[MultiHeadAttention(2), Dropout(dropout)], series=apart, table=[TanH()], merge="names"),
        Branches(series=[], table=[], words=[], merge="names"),
        Branches(
            series=GlobalAveragePool1DLayer(), words=[Residual(LayerNorm()), GRU(4, last=True)], table=BatchNorm()
        ),
    ]


def network(*layers: Layer, engine: Any = "cpu", shapes: Any = SHAPES, cost: Any = "cross_entropy") -> Network:
    net = Network(1).input(**shapes)
    for layer in layers or (*trunk(), FullyConnectedLayer(3), SoftMax()):
        net.add(layer)
    return net.regression(Adam(0.01), cost, engine=engine)


def trained(net: Network, labels: Any = LABELS, data: Any = DATA) -> list[float]:
    return net.fit(data, labels, epochs=3, mini_batch_size=7, progress=False)["cost"]


def test_names_go_through_the_middle_as_one_program() -> None:
    costs = [trained(net := network(engine=engine)) for engine in ENGINES]
    np.testing.assert_allclose(*costs, rtol=1e-4)
    assert net._plan is not None and net._plan.fused_step is not None and not net.summary().fallbacks
    assert "Branches (names)" in str(net.summary()) and "table (4,), words (5, 4), series (6, 2)" in str(net.summary())
    assert not [one for one in net.check(DATA, LABELS).findings if one.severity == "error"]
    assert len({tuple(trained(network(engine=Cpu(threads=threads)))) for threads in (1, 2, 3)}) == 1


def test_a_layer_of_ones_own_may_stand_between() -> None:
    own = [*trunk(), FullyConnectedLayer(3), SoftMax()]
    own[1] = Branches(words=[], table=[Reshape((4, 1)), MeanOverTime()], series=[], merge="names")
    costs = [trained(net := network(*own, engine=engine)) for engine in ENGINES]
    np.testing.assert_allclose(*costs, rtol=1e-4)
    assert ["MeanOverTime" in one for one in net.summary().fallbacks] == [True]


@pytest.mark.parametrize("engine", ENGINES)
def test_gradients_by_what_has_names_agree_with_finite_differences(engine: str) -> None:
    shapes = {"series": (6, 2), "table": (4,)}
    layers = [
        Branches(table=[FullyConnectedLayer(4)], series=[FullyConnectedLayer(2), TanH()], merge="names"),
        *(Branches(series=one[1:], table=TanH(), merge="names") for one in [[TanH(), LSTM(4)]]),
        Branches(series=[Heads(a=[], b=TanH()), Branches(b=[], a=[GRU(4)], merge="maximum"), Flatten()], table=[]),
        FullyConnectedLayer(3), SoftMax(),
    ]  # fmt: skip
    net = network(*layers, engine=Cpu(dtype="float64") if engine == "cpu" else "numpy", shapes=shapes)
    data = {name: RNG.normal(size=(5, *shape)) for name, shape in shapes.items()}
    check_gradients(net, data, RNG.integers(0, 3, 5), engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_pads_each_of_them_changes_nothing(engine: str) -> None:
    net = network(engine=engine)
    filled = {**DATA, "series": Sequences(np.where(SERIES.real()[..., None], SERIES.values, 99), SERIES.lengths)}
    assert np.array_equal(net.feedforward(DATA), net.feedforward(filled))
    assert not np.allclose(net.feedforward(DATA), net.feedforward({**DATA, "series": SERIES.values}))
    assert trained(net, data=filled) == trained(network(engine=engine))


@pytest.mark.parametrize("engine", ENGINES)
def test_what_has_names_at_the_end_are_outputs(engine: str) -> None:
    ends = {"b": [FullyConnectedLayer(1)], "a": [FullyConnectedLayer(3), SoftMax()]}
    cost = {"a": "cross_entropy", "b": ("mean_squared", 0.5)}
    data, labels = {"a": DATA["table"], "b": DATA["table"][:, 1:]}, {"a": LABELS, "b": DATA["table"][:, :1]}
    net = network(Branches(**ends, merge="names"), engine=engine, shapes={"a": (4,), "b": (3,)}, cost=cost)
    assert trained(net, labels, data)[-1] > 0
    assert net.predict(data)["a"].shape == (N,) and net.predict_proba(data)["a"].shape == (N, 3)
    alone = [network(*ends[n], engine=engine, shapes={"shape": (w,)}, cost=c) for n, w, c in
             (("a", 4, "cross_entropy"), ("b", 3, "mean_squared"))]  # fmt: skip
    for one, name in zip(alone, "ab", strict=True):
        state = {key.partition(f".{name}.")[2]: value for key, value in net._plan.state().items() if f".{name}." in key}  # type: ignore[union-attr]
        one._plan.restore(state)  # type: ignore[union-attr]
        np.testing.assert_allclose(one.feedforward(data[name]), net.feedforward(data)[name], rtol=1e-5)


def test_copies_files_and_frozen_layers(tmp_path: Path) -> None:
    net = network()
    trained(net)
    net.save(tmp_path / "net.safetensors")
    loaded = Network.load(tmp_path / "net.safetensors")
    assert loaded.layers == net.layers
    for other in (loaded, copy.deepcopy(net)):
        np.testing.assert_array_equal(other.feedforward(DATA), net.feedforward(DATA))
    told = []
    for engine in ENGINES:
        net = network(engine=engine).freeze(slice(0, 2))
        before = net._plan.state()  # type: ignore[union-attr]
        told.append(trained(net))
        after = net._plan.state()  # type: ignore[union-attr]
        same = {name: np.array_equal(before[name], after[name]) for name in before}
        assert all(equal == (name[0] in "01") for name, equal in same.items() if "kernel" in name)
    np.testing.assert_allclose(*told, rtol=1e-4)
    part = Network(1).input(**SHAPES).add(net.layers[0])
    part.add(Branches(words=GRU(2, last=True), series=Flatten(), table=[])).regression(cost="mean_squared")
    part.take(net, 0)
    assert part.feedforward({**DATA, "series": SERIES.values}).shape == (N, 18)


def added(*layers: Layer, **shapes: Any) -> Any:
    return lambda: network(*layers, shapes=shapes)


A, B = {"a": (3,)}, {"a": (3,), "b": (4,)}
WRONG = {
    "branches without names": (
        lambda: Branches([], merge="names"),
        "Branches merge must be another one for branches without names, got 'names'",
    ),
    "one input": (
        added(Branches(a=[], b=TanH(), merge="names"), TanH(), **B),
        ("layer 1 TanH() takes one input, but layer 0 Branches(a=(), b=(TanH(),), merge='names') gives 2 with names; "
        "go on with Branches(a=[...], b=[...])"),
    ),
    "a name that nobody takes": (
        added(Branches(a=[], b=[], merge="names"), Branches(a=[]), **B),
        ("layer 1 Branches(a=(), merge='concatenate') must have a branch for each input, and no branch takes the input "
        "'b'"),
    ),
    "a name that nobody gives": (
        added(Heads(a=[], b=[]), Branches(a=[], c=[]), shape=(3,)),
        "must have a branch for each input, and there is not the input 'c'; there are ['a', 'b']",
    ),
    "nothing by name": (
        added(TanH(), Branches(a=[]), shape=(3,)),
        ("layer 1 Branches(a=(), merge='concatenate') takes inputs by name, but layer 0 TanH() has none; begin with "
        "input(a=...), or have Heads(a=[...]) before it"),
    ),
    "the end of a branch": (
        added(Residual([Heads(a=[])]), shape=(3,)),
        "layer 0.layers.0 Heads(a=()) gives results by name at the end of a row of layer 0; have a layer behind it",
    ),
    "the end of a chain": (
        lambda: network(Sequential([Heads(a=[])]), shapes={"shape": (3,)}, cost="mean_squared"),
        "layer 0.0 Heads(a=()) gives results by name at the end of a network; end with Heads or Branches, in no other",
    ),
    "a name of records": (
        lambda: network(
            Branches(validation=[], merge="names"), shapes={"validation": (3,)}, cost={"validation": "mean_squared"}
        ),
        "Branches names must not begin with validation, as figures of a validation set do",
    ),
    "lengths that meet": (
        lambda: network(
            Branches(words=[Embedding(9, 2), GRU(2)], series=GRU(2), merge="names"),
            Branches(words=[], series=[], merge="sum"), Flatten(), FullyConnectedLayer(3), SoftMax(),
            shapes={"words": (6,), "series": (6, 2)},
        ).predict({"words": Sequences(np.zeros((N, 6), int), 7 - SERIES.lengths), "series": SERIES}),
        "layer 1 Branches(words=(), series=(), merge='sum') joins sequences of other lengths: sequence 0 has",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_mistakes_name_the_layer_and_the_rule(name: str) -> None:
    check_mistake(*WRONG[name])
