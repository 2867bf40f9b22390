"""A mini-batch costs what its longest sequence asks for, and gives what it gives with all of its places."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import (
    GRU,
    LSTM,
    Adam,
    AdaptiveMaxPool1DLayer,
    AlphaDropout,
    ArrayGenerator,
    BatchNorm,
    Bidirectional,
    Branches,
    Checkpoint,
    Convolution1DLayer,
    Cpu,
    CroppingLayer,
    CrossEntropy,
    CustomCost,
    DataParallel,
    Dropout,
    Embedding,
    Flatten,
    FullyConnectedLayer,
    FunctionLayer,
    GaussianNoise,
    GlobalAveragePool1DLayer,
    GlobalMaxPool1DLayer,
    Heads,
    Layer,
    LayerNorm,
    LearnedPositions,
    LpPool1DLayer,
    MaxPool1DLayer,
    MultiHeadAttention,
    Network,
    PaddingLayer,
    ReLU,
    Residual,
    Sequences,
    SoftMax,
    SpatialDropout,
)
from gedanken.costs import COSTS
from gedanken.engine import cuts
from gedanken.engine.plan import Plan
from gedanken.engine.select import select_engine
from gedanken.types import Array
from tests.cases import LayerCase, name_of
from tests.contracts.test_lengths import OF_SEQUENCES

T, WORDS, N = 24, 9, 23
LENGTHS = np.array([9, 7, 8, 9, 6])
each_engine = pytest.mark.parametrize("engine", ["numpy", "cpu"])


def places_of(plan: Plan, x: Any) -> int:
    """Return how many places of a mini-batch are computed."""
    return plan.cut(x, np.zeros((len(x), *plan.shapes[-1])))[0].shape[1]


OF_ANY_LENGTH = [case for case in OF_SEQUENCES if getattr(case.layer, "attention_mask", None) is None]


@each_engine
@pytest.mark.parametrize("case", OF_ANY_LENGTH, ids=name_of)
def test_every_layer_gives_what_it_gives_uncut(case: LayerCase, engine: str) -> None:
    shape, rng = (T, case.shape[1]), np.random.default_rng(0)
    plan = Plan([case.layer], shape, select_engine(engine, "float64"), seed=3, cost=COSTS["mean_squared"]())
    plan.params[...] = rng.normal(size=plan.params.size) * 0.3
    long, target = rng.normal(size=(6, *shape)), rng.normal(size=(5, *plan.shapes[-1]))
    x = Sequences(long[:5], LENGTHS)
    assert places_of(plan, x) <= 12
    ctx = plan.context(train=True, epoch=2, position=7)
    found = plan.cost_and_gradients(ctx, *plan.cut(x, target))
    gradient = plan.grads.copy()
    expected = plan.cost_and_gradients(ctx, x, target)
    np.testing.assert_allclose(float(found.cost), float(expected.cost), rtol=1e-12)
    np.testing.assert_allclose(gradient, plan.grads, rtol=1e-9, atol=1e-12)
    assert found.weighing.samples == pytest.approx(expected.weighing.samples, rel=1e-12)
    beside_a_long_one = plan.predict(Sequences(long, np.array([*LENGTHS, T])))
    np.testing.assert_allclose(plan.predict(x), beside_a_long_one[:5], rtol=1e-9, atol=1e-12)


def test_what_has_a_mask_of_all_places_is_not_cut() -> None:
    layer = MultiHeadAttention(1, attention_mask=np.eye(T, k=5) < 1)
    plan = Plan([layer], (T, 3), select_engine("cpu", "float64"), seed=3, cost=COSTS["mean_squared"]())
    assert places_of(plan, Sequences(np.ones((5, T, 3)), LENGTHS)) == T


def transformer() -> list[Layer]:
    block = [Residual([LayerNorm(), MultiHeadAttention(2), Dropout(0.8)]), Residual([FullyConnectedLayer(8), ReLU()])]
    return [Embedding(WORDS, 8, mask=0), LearnedPositions(), GaussianNoise(0.1), *block, GlobalMaxPool1DLayer()]


def windows() -> list[Layer]:
    rows = Branches([Convolution1DLayer(6, 5, zero_padding="same"), BatchNorm(), ReLU(), Dropout(0.7)], [LSTM(6)])
    return [
        Embedding(WORDS, 8, mask=0),
        rows,
        MaxPool1DLayer(3, zero_padding="causal"),
        AlphaDropout(0.8),
        SpatialDropout(0.8),
    ]


def frames() -> list[Layer]:
    around = [PaddingLayer((1, 3), "replicate"), CroppingLayer((0, 1)), LpPool1DLayer(2, 1)]
    return [Embedding(WORDS, 8, mask=0), *around]


CLASSES = [FullyConnectedLayer(3), SoftMax()]
HEADS = Heads(whole=[GlobalAveragePool1DLayer(), *CLASSES], each=[Dropout(0.9), *CLASSES])
TWO = Branches(
    words=[Embedding(WORDS, 6, mask=0), GRU(6, last=True)],
    signal=[Bidirectional(LSTM(5)), GlobalAveragePool1DLayer()],
    table=[FullyConnectedLayer(4)],
)
ROWS: dict[str, tuple[list[Layer], Any]] = {
    "one output": ([*transformer(), *CLASSES], "cross_entropy"),
    "a size for all": ([*frames(), AdaptiveMaxPool1DLayer(4), Flatten(), *CLASSES], "cross_entropy"),
    "an output for each window": ([*windows(), *CLASSES], CrossEntropy(ignore_label=2, reduction="weighted_mean")),
    "a sum over places": ([Embedding(WORDS, 8, mask=0), GRU(6), *CLASSES], CrossEntropy(reduction="batch_mean")),
    "heads": ([Embedding(WORDS, 8, mask=0), LSTM(6), HEADS], {"whole": "cross_entropy", "each": "cross_entropy"}),
    "inputs": ([TWO, FullyConnectedLayer(3), SoftMax()], "cross_entropy"),
    "the first layers frozen": ([*transformer(), *CLASSES], "cross_entropy"),
    "one's own cost of whole sequences": (
        [*transformer(), *CLASSES],
        CustomCost(lambda y, t: ((y - t) ** 2).sum(axis=1), lambda y, t: 2 * (y - t)),
    ),
}


def data_of(name: str) -> tuple[Any, Any, Array]:
    """Return mini-batches, of 5 samples, of long and of short sequences, with labels and weights."""
    rng = np.random.default_rng(1)
    lengths = np.repeat([T, 5, 11, 2, 16], 5)[:N] - rng.integers(0, 2, N)
    words = rng.integers(1, WORDS, (N, T)) * (np.arange(T) < lengths[:, None])
    one, each = rng.integers(0, 3, N), rng.integers(0, 3, (N, T))
    found: dict[str, Any] = {"heads": {"whole": one, "each": each}, "a sum over places": each}
    found["an output for each window"] = each[:, : T // 3]
    found["one's own cost of whole sequences"] = np.eye(3)[one]
    if name != "inputs":
        return words, found.get(name, one), rng.uniform(0.5, 2, N)
    signal = Sequences(rng.normal(size=(N, 17, 3)), np.minimum(lengths, 17))
    return {"words": words, "signal": signal, "table": rng.normal(size=(N, 2))}, one, rng.uniform(0.5, 2, N)


def network(name: str, engine: Any) -> Network:
    layers, cost = ROWS[name]
    net = Network(seed=3)
    net.input((T,)) if name != "inputs" else net.input(words=(T,), signal=(17, 3), table=(2,))
    for layer in layers:
        net.add(layer)
    if name == "the first layers frozen":
        net.freeze(0, 1, 3)
    options = {"dtype": "float64"} if isinstance(engine, str) else {}
    return net.regression(Adam(0.01), cost, engine=engine, **options)


def trained(name: str, engine: Any, **options: Any) -> tuple[Network, list[float]]:
    net, (x, labels, weights) = network(name, engine), data_of(name)
    how = {"epochs": 2, "mini_batch_size": 5, "shuffle": False, "progress": False, **options}
    history = net.fit(x, labels, weights, **how)
    figures = [value for epoch in history.epochs for value in (epoch.cost, *epoch.metrics.values())]
    return net, [*figures, *net.evaluate(x, labels, mini_batch_size=5).values()]


@each_engine
@pytest.mark.parametrize("name", ROWS)
def test_a_training_is_the_one_of_uncut_sequences(name: str, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net, figures = trained(name, engine)
    x = data_of(name)[0]
    outputs = net.feedforward(x, mini_batch_size=5)
    monkeypatch.setattr(cuts, "LEVELS", 1)
    whole, expected = trained(name, engine)
    np.testing.assert_allclose(figures, expected, rtol=1e-9)
    for one, two in zip(net._plan.state().values(), whole._plan.state().values(), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-6, atol=1e-9)
    wanted = whole.feedforward(x, mini_batch_size=5)
    for head in wanted if isinstance(wanted, dict) else [...]:
        np.testing.assert_allclose(outputs[head], wanted[head], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["one output", "heads", "inputs", "a size for all"])
@pytest.mark.usefixtures("standin_cupy")
def test_on_a_device_it_gives_the_same(name: str) -> None:
    _, expected = trained(name, "numpy")
    _, figures = trained(name, "cuda")
    np.testing.assert_allclose(figures, expected, rtol=1e-9)


@each_engine
def test_an_output_for_each_place_has_all_places(engine: str) -> None:
    net = network("a sum over places", engine)
    words = data_of("a sum over places")[0]
    found = net.predict_proba(words[5:10])
    assert found.shape == (5, T, 3)
    assert np.array_equal(found.sum(axis=2) > 0, words[5:10] > 0)
    np.testing.assert_allclose(found, net.predict_proba(words)[5:10], atol=1e-6)


def parameters(name: str, threads: int, **options: Any) -> bytes:
    net, _ = trained(name, Cpu(threads=threads), **options)
    return b"".join(value.tobytes() for value in net._plan.state().values())


@pytest.mark.parametrize("name", ["one output", "an output for each window", "a size for all"])
def test_the_same_bits_for_any_number_of_threads_and_workers(name: str) -> None:
    expected = parameters(name, 1)
    assert parameters(name, 2) == parameters(name, 3) == expected
    assert parameters(name, 1, parallel=DataParallel(workers=1)) == expected
    assert parameters(name, 1, parallel=DataParallel(workers=3)) == expected


@each_engine
def test_a_resumed_training_has_the_bits_of_one_that_was_not_broken_off(tmp_path: Path, engine: str) -> None:
    def made() -> tuple[Network, Any, Any]:
        return network("heads", engine), *data_of("heads")[:2]

    how: dict[str, Any] = {"epochs": 3, "mini_batch_size": 5, "progress": False}
    whole, x, labels = made()
    whole.fit(x, labels, callbacks=[Checkpoint(2)], **how)
    broken, *_ = made()
    broken.fit(x, labels, callbacks=[Checkpoint(2)], folder=tmp_path / "run", **{**how, "epochs": 1})
    again, *_ = made()
    again.fit(x, labels, callbacks=[Checkpoint(2)], resume=tmp_path / "run", **how)
    for one, two in zip(whole._plan.state().values(), again._plan.state().values(), strict=True):
        assert np.array_equal(one, two)


@each_engine
def test_sequences_of_a_generator_are_cut_too(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words, labels, _ = data_of("one output")
    costs = []
    for levels in (8, 1):
        monkeypatch.setattr(cuts, "LEVELS", levels)
        net = network("one output", engine)
        costs.append(net.fit(ArrayGenerator(words, labels, mini_batch_size=5), epochs=1, progress=False).epochs[0].cost)
    assert math.isclose(*costs, rel_tol=1e-9)


class Doubled(LayerNorm):
    """A layer of a user's."""


def short_words() -> Sequences:
    return Sequences(np.ones((4, T), int), np.array([5, 3, 1, 4]))


@pytest.mark.parametrize(
    ("layers", "cost", "places"),
    [
        ([GRU(3, last=True)], "mean_squared", 6),
        ([AdaptiveMaxPool1DLayer(9), Flatten()], "mean_squared", 6),
        ([GRU(3, last=True), FullyConnectedLayer(2)], CustomCost(lambda y, t: y - t, lambda y, t: 1 + 0 * y), 6),
        ([Convolution1DLayer(2, 9), GlobalMaxPool1DLayer()], "mean_squared", 9),
        ([Doubled(), GRU(3, last=True)], "mean_squared", T),
        ([FunctionLayer(lambda xp, x: 2 * x, by_place=True), GRU(3, last=True)], "mean_squared", T),
        ([GRU(2)], CustomCost(lambda y, t: y - t, lambda y, t: 1 + 0 * y), T),
        ([MaxPool1DLayer(3, stride=2, zero_padding="same"), GRU(3)], "mean_squared", 6),
        ([Convolution1DLayer(2, 6, stride=5, zero_padding="same"), GRU(3)], "mean_squared", 9),
    ],
    ids=lambda part: re.sub(r" at 0x\w+", "", str(part)),
)
def test_what_is_cut(layers: list[Layer], cost: Any, places: int) -> None:
    cost = COSTS[cost]() if isinstance(cost, str) else cost
    plan = Plan([Embedding(WORDS, 4), *layers], (T,), select_engine("numpy", "float64"), seed=3, cost=cost)
    assert places_of(plan, short_words()) == places


def test_programs_for_all_lengths_share_memory() -> None:
    plan = network("one output", Cpu(threads=1))._plan
    target = np.zeros(4, int)
    for longest in (3, T, 9):
        x = Sequences(np.ones((4, T), int), np.full(4, longest))
        plan.cost_and_gradients(plan.context(train=True), *plan.cut(x, target))
    programs = [one.program for one in plan.fused_step._programs.held.values()]
    assert len(programs) == 3
    assert len({one.memory.ctypes.data for one in programs}) == 1
