"""Networks on rows of which most numbers are 0: data, layer, gradients and updates in the touched rows."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gedanken import (
    SGD,
    AdaGrad,
    Adam,
    ArgumentError,
    Branches,
    DataError,
    Embedding,
    FullyConnectedLayer,
    Momentum,
    Network,
    Optimizer,
    ReLU,
    Residual,
    ShapeError,
    SoftMax,
    SparseFullyConnectedLayer,
    SparseRows,
)
from gedanken.sparse import RowGradient

RNG = np.random.default_rng(0)
FEATURES = 50
DENSE = np.where(RNG.random((90, FEATURES)) < 0.1, RNG.normal(size=(90, FEATURES)), 0).astype("float32")
DENSE[3] = 0  # a row of nothing
LABELS = (DENSE @ RNG.normal(size=FEATURES) > 0).astype(int)
ROWS = SparseRows.of(DENSE)


class SciPyLike:
    """What a matrix of SciPy's has; others of its forms become this one by `tocsr`."""

    def __init__(self, dense: Any) -> None:
        rows, self.indices = np.nonzero(dense)
        self.indices = self.indices.astype(np.int32)
        self.indptr = np.searchsorted(rows, np.arange(len(dense) + 1)).astype(np.int32)
        self.data, self.shape, self.ndim = dense[dense != 0], dense.shape, 2

    def tocsr(self) -> "SciPyLike":
        return self


@st.composite
def csr(draw: st.DrawFn) -> tuple[SparseRows, Any]:
    """Return rows and the same as an array; columns may come twice and in any order."""
    features = draw(st.integers(1, 7))
    rows = draw(st.lists(st.lists(st.tuples(st.integers(0, features - 1), st.integers(-9, 9)), max_size=9), max_size=6))
    dense = np.zeros((len(rows), features))
    for place, row in enumerate(rows):
        for column, value in row:
            dense[place, column] += value
    starts = np.cumsum([0, *map(len, rows)])
    flat = [pair for row in rows for pair in row]
    made = SparseRows(starts, [column for column, _ in flat], [float(value) for _, value in flat], features)
    return made, dense


@given(csr(), st.data())
def test_rows_are_what_they_say(pair: tuple[SparseRows, Any], data: st.DataObject) -> None:
    rows, dense = pair
    assert (rows.shape, len(rows), rows.ndim) == (dense.shape, len(dense), 2)
    np.testing.assert_array_equal(rows.toarray(), dense)
    np.testing.assert_array_equal(SparseRows.of(dense).toarray(), dense)
    places = data.draw(st.lists(st.integers(-len(dense), len(dense) - 1), max_size=8)) if len(dense) else []
    picked = np.array(places, int)
    np.testing.assert_array_equal(rows[picked].toarray(), dense[picked])
    np.testing.assert_array_equal(rows[1:4][::-1].toarray(), dense[1:4][::-1])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(rows)).toarray(), dense)


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (([0, 2], [0], [1.0], 3), "starts must not fall, from 0 to the number of columns 1"),
        (([1, 1], [0], [1.0], 3), "starts must not fall"),
        (([0, 2, 1, 2], [0, 1], [1.0, 2], 3), "starts must not fall"),
        (([], [], [], 3), "starts must not fall"),
        (([0, 1], [3], [1.0], 3), r"columns must be in \[0, 3\), got 3"),
        (([0, 1], [-1], [1.0], 3), r"columns must be in \[0, 3\), got -1"),
        (([0, 1], [1.5], [1.0], 3), "columns must be a list of whole numbers"),
        (([0, 1], [[1]], [1.0], 3), "columns must be a list of whole numbers"),
        (([0, 1], [1], [1.0, 2.0], 3), "values must be as many as columns, got 2 for 1"),
        (([0, 1], [1], ["a"], 3), "values must be a list of real numbers"),
        (([0, 1], [1], np.ma.array([1.0], mask=[True]), 3), "values must have no masked entries, got 1 of 1"),
        (([0, 1], np.ma.array([1], mask=[True]), [1.0], 3), "columns must have no masked entries"),
        ((np.ma.array([0, 1], mask=[True, False]), [1], [1.0], 3), "starts must have no masked entries"),
        (([0, 1], [1], [1j], 3), "values must be a list of real numbers"),
        (([0.0, 1.0], [1], [1.0], 3), "starts must be a list of whole numbers"),
        (([0, 1], np.array([1 << 63], "uint64"), [1.0], 3), "below 2"),
    ],
)
def test_what_is_no_row_is_refused(arguments: Any, rule: str) -> None:
    with pytest.raises(DataError, match=rule):
        SparseRows(*arguments)


@pytest.mark.parametrize("places", [0, np.int64(1), [[0, 1]]], ids=repr)
def test_rows_are_taken_by_slices_and_lists(places: Any) -> None:
    with pytest.raises(DataError, match="rows are taken by a slice or a list of places"):
        SparseRows([0, 1, 1], [1], [1.0], 3)[places]


def test_features_are_counted() -> None:
    with pytest.raises(ArgumentError, match="features must be a whole number of at least 1"):
        SparseRows([0], [], [], 0)


def network(rule: Any = None, engine: Any = "cpu", layer: Any = None, dtype: str = "float32") -> Network:
    net = Network(seed=2).input((FEATURES,)).add(layer or SparseFullyConnectedLayer(4))
    net.add(ReLU()).add(FullyConnectedLayer(2)).add(SoftMax())
    return net.regression(rule or SGD(0.3), engine=engine, dtype=dtype)


def learnt(net: Network, x: Any = ROWS, **options: Any) -> Any:
    net.fit(x, LABELS, epochs=3, mini_batch_size=16, progress=False, **options)
    assert net._plan
    return net._plan.params.copy()


RULES: list[Optimizer] = [
    SGD(0.3),
    SGD(0.3, weight_decay=0.01),
    AdaGrad(0.1),
    Adam(0.01),
    Momentum(0.1),
    SGD(0.3, clip_norm=0.5),
    AdaGrad(0.1, clip_value=0.1),
    SGD(0.3, accumulate=2),
]


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize("engine", ["cpu", "numpy"])
def test_it_learns_as_a_layer_on_arrays_does(rule: Optimizer, engine: str) -> None:
    sparse, dense = network(rule, engine, dtype="float64"), network(rule, engine, FullyConnectedLayer(4), "float64")
    dense.regression(rule, engine=engine, dtype="float64")
    assert dense._plan
    assert sparse._plan
    for name, view in sparse._plan.arrays().items():
        view[...] = dense._plan.arrays()[name]
    learnt(sparse)
    learnt(dense, DENSE)
    decayed = bool(getattr(rule, "weight_decay", 0))  # the first kernel has none where it is sparse
    for name, view in sparse._plan.arrays().items():
        if not decayed or name == "2.bias":
            np.testing.assert_allclose(view, dense._plan.arrays()[name], rtol=0.1 if decayed else 1e-9, atol=1e-12)


@pytest.mark.parametrize("engine", ["cpu", "numpy"])
@pytest.mark.parametrize("rule", [SGD(0.3), AdaGrad(0.1)], ids=repr)
def test_touched_rows_alone_are_the_whole_update(rule: Optimizer, engine: str) -> None:
    class Looking(type(rule)):  # type: ignore[misc]
        """The same rule, which is not known to be lazy and so updates everything."""

    assert rule.lazy
    assert not Looking(rule.learning_rate).lazy
    one, other = learnt(network(rule, engine)), learnt(network(Looking(rule.learning_rate), engine))
    np.testing.assert_allclose(one, other, rtol=2e-6, atol=1e-7)


def test_any_form_of_the_data_gives_the_same() -> None:
    expected = learnt(network())
    for data in (DENSE, DENSE.astype("float64"), SciPyLike(DENSE), ROWS.astype("float64"), ROWS[np.arange(90)]):
        np.testing.assert_array_equal(learnt(network(), data), expected)


@pytest.mark.parametrize("engine", ["cpu", "numpy"])
def test_a_network_on_rows_is_an_ordinary_network(engine: str, tmp_path: Path) -> None:
    net = network(engine=engine)
    net.fit(ROWS, LABELS, epochs=60, validation_set=0.2, progress=False)
    assert net.evaluate(ROWS, LABELS, progress=False)["accuracy"] > 0.8
    np.testing.assert_allclose(net.feedforward(ROWS), net.feedforward(DENSE), rtol=1e-6)
    net.save(tmp_path / "rows.safetensors")
    loaded = Network.load(tmp_path / "rows.safetensors", engine=engine)
    np.testing.assert_array_equal(loaded.predict(SciPyLike(DENSE)), net.predict(ROWS))
    assert "SparseFullyConnectedLayer" in str(net.summary())


def test_both_engines_agree_on_the_penalty() -> None:
    layer = SparseFullyConnectedLayer(4, l2=0.05)
    one, other = (network(SGD(0.3), engine, layer, "float64") for engine in ("cpu", "numpy"))
    np.testing.assert_allclose(learnt(one), learnt(other), rtol=1e-9)
    assert one._plan
    assert other._plan
    np.testing.assert_array_equal(one._plan.layer_state, other._plan.layer_state)
    seen = one._plan.arrays()["0.seen"]
    np.testing.assert_array_equal(seen, 3 * np.array([*(DENSE != 0).sum(axis=0), 90]))


def test_the_penalty_is_in_the_mean_that_of_the_whole_kernel() -> None:
    net = network(SGD(1e-9), "numpy", SparseFullyConnectedLayer(4, l2=0.5), "float64")
    net.fit(ROWS, LABELS, mini_batch_size=90, progress=False)
    plain = network(SGD(1e-9), "numpy", SparseFullyConnectedLayer(4), "float64")
    plain.fit(ROWS, LABELS, mini_batch_size=90, progress=False)
    assert net._plan
    assert plain._plan
    pull = net._plan.gradients()["0.kernel"] - plain._plan.gradients()["0.kernel"]
    has = (DENSE != 0).any(axis=0)
    np.testing.assert_allclose(pull[has], 0.5 * net._plan.arrays()["0.kernel"][has], rtol=1e-4)


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (ROWS[:0], "data must have at least one sample"),
        (SparseRows.of(DENSE[:, :7]), r"data must have shape \(N, 50\), got \(90, 7\)"),
        (DENSE[:, :7], r"data must have shape \(N, 50\), got \(90, 7\)"),
        (DENSE[0], r"data must have shape \(N, 50\), got \(50,\)"),
        (ROWS[:5], "labels must have one entry for each sample of data, got 90 for 5"),
        (SparseRows([0, 1] + [1] * 89, [2], [np.nan], FEATURES), "the numbers of data must be finite"),
        (SparseRows([0, 1] + [1] * 89, [2], [1e300], FEATURES), "the numbers of data must be in the range of float32"),
        ("rows", "data"),
        (None, "data"),
    ],
    ids=str,
)
def test_other_data_are_refused(data: Any, rule: str) -> None:
    net = network()
    before = net.feedforward(ROWS)
    with pytest.raises(DataError, match=rule):
        net.fit(data, LABELS, progress=False)
    np.testing.assert_array_equal(net.feedforward(ROWS), before)


@pytest.mark.parametrize("name", ["columns", "begins", "ends"])
def test_where_numbers_are_cannot_be_changed(name: str) -> None:
    for rows in (SparseRows.of(DENSE), SparseRows.of(DENSE)[3:9], SparseRows.of(DENSE)[[4, 2]]):
        with pytest.raises(ArgumentError, match=f"SparseRows must stay as they are made, got other {name}"):
            setattr(rows, name, np.array([10**6]))
        with pytest.raises(ValueError, match="read-only"):
            getattr(rows, name)[:] = 10**6


@pytest.mark.parametrize("data", [ROWS, SciPyLike(DENSE)], ids=["ours", "SciPy's"])
def test_a_network_on_arrays_says_that_it_takes_no_rows(data: Any) -> None:
    net = Network().input((FEATURES,)).add(FullyConnectedLayer(2)).add(SoftMax()).regression()
    with pytest.raises(DataError, match=r"got a sparse matrix .*or begin with SparseFullyConnectedLayer"):
        net.fit(data, LABELS, progress=False)


@pytest.mark.parametrize(
    "layers",
    [
        [FullyConnectedLayer(3), SparseFullyConnectedLayer(2)],
        [Branches(SparseFullyConnectedLayer(2), FullyConnectedLayer(2))],
        [Residual([FullyConnectedLayer(4), SparseFullyConnectedLayer(3)])],
    ],
    ids=str,
)
def test_it_can_only_be_the_first_layer(layers: Any) -> None:
    net = Network().input((3,))
    with pytest.raises(ShapeError, match="takes sparse rows"):  # noqa: PT012
        for layer in layers:
            net.add(layer)
        net.add(SoftMax()).regression()


@given(st.lists(st.integers(0, 9), max_size=30), st.lists(st.integers(0, 9), min_size=1, max_size=30))
def test_a_gradient_of_rows_is_zero_elsewhere(first: list[int], second: list[int]) -> None:
    gradient = RowGradient(np.zeros((10, 3)))
    for rows in (first, second):
        values = np.arange(3 * len(rows), dtype=float).reshape(-1, 3)
        gradient.set(np.array(rows, int), values)
        expected = np.zeros((10, 3))
        np.add.at(expected, np.array(rows, int), values)
        np.testing.assert_array_equal(gradient.array, expected)
        assert sorted(gradient.rows) == sorted({*rows})
        assert gradient.marks.sum() == len({*rows})


def test_an_embedding_learns_in_the_rows_of_its_tokens() -> None:
    tokens, classes = RNG.integers(0, 20, 40), RNG.integers(0, 2, 40)
    for rule in (SGD(0.5), AdaGrad(0.1)):
        found = []
        for engine in ("cpu", "numpy"):
            net = Network(seed=1).input(()).add(Embedding(1000, 2)).add(SoftMax()).regression(rule, engine=engine)
            assert net._plan
            before = net._plan.arrays()["0.table"].copy()
            net.fit(tokens, classes, mini_batch_size=8, progress=False)
            changed = np.flatnonzero((net._plan.arrays()["0.table"] != before).any(axis=1))
            assert sorted(changed) == sorted({*tokens.tolist()})
            found.append(net._plan.params.copy())
        np.testing.assert_allclose(*found, rtol=1e-5)
