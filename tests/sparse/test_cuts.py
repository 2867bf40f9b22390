"""Graph cuts: each node gets a label, edge by edge, and the shares of labels stay shares whoever changes them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gedanken import (
    SGD,
    AdaGrad,
    Adam,
    ArgumentError,
    Cpu,
    DataError,
    ExponentialDecay,
    GraphCut,
    Hogwild,
    Momentum,
    Network,
    Numpy,
    Param,
    ShapeError,
    TanH,
    Zeros,
)
from gedanken.sparse import on_simplex

LABELS, SIDE = 3, 16
RNG = np.random.default_rng(0)
TRUE = np.zeros((SIDE, SIDE), int)
TRUE[3:12, 2:9], TRUE[5:14, 11:15] = 1, 2
SEEN = np.where(RNG.random(TRUE.shape) < 0.3, RNG.integers(0, LABELS, TRUE.shape), TRUE)


def grid() -> tuple[Any, Any]:
    """Return edges of a picture: between neighbours, and from each pixel to the label that it seems to have."""
    nodes = np.arange(SIDE * SIDE).reshape(SIDE, SIDE) + LABELS
    beside = [
        np.stack([nodes[:, :-1].ravel(), nodes[:, 1:].ravel()], 1),
        np.stack([nodes[:-1].ravel(), nodes[1:].ravel()], 1),
    ]
    edges = np.concatenate([*beside, np.stack([SEEN.ravel(), nodes.ravel()], 1)])
    return edges, np.where(edges[:, 0] < LABELS, 1.2, 1.0)


EDGES, WEIGHTS = grid()


def network(engine: Any = "cpu", rule: Any = None) -> Network:
    net = Network(seed=2).input((2,)).add(GraphCut(SIDE * SIDE, LABELS))
    return net.regression(
        rule or SGD(ExponentialDecay(0.3, len(EDGES), 0.8)), "weighted_mean", metrics=[], engine=engine
    )


def learnt(net: Network, **options: Any) -> Any:
    net.fit(EDGES, WEIGHTS, progress=False, **{"epochs": 2, "mini_batch_size": 1, **options})
    return shares(net)


def shares(net: Network) -> Any:
    assert net._plan
    return net._plan.params.reshape(-1, LABELS).copy()


def assert_shares(found: Any) -> None:
    assert found.min() >= 0
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


@given(st.integers(1, 6), st.integers(2, 7), st.integers(0, 1000), st.sampled_from([1e-3, 1.0, 100.0, 1e20]))
@settings(deadline=None, max_examples=50)
def test_the_nearest_shares(rows: int, labels: int, seed: int, scale: float) -> None:
    given_rows = np.random.default_rng(seed).normal(size=(rows, labels)) * scale
    found = on_simplex(given_rows)
    assert_shares(found)
    # Of the nearest point no share that is more than 0 can gain by moving to another one.
    gaps = found - given_rows
    for row, gap in zip(found, gaps, strict=True):
        np.testing.assert_allclose(gap[row > 0], gap.min(), atol=1e-9 * scale + 1e-12)
    np.testing.assert_allclose(on_simplex(found), found, atol=1e-12)


def test_a_run_is_what_its_steps_are() -> None:
    rule = SGD(0.05)
    one, other = (network(engine, rule) for engine in (Cpu(dtype="float64"), Numpy(dtype="float64")))
    # So few edges that no difference between two shares is decided by rounding.
    for net in (one, other):
        net.fit(EDGES[:60], WEIGHTS[:60], mini_batch_size=1, progress=False)
    np.testing.assert_allclose(shares(one), shares(other), atol=1e-12)
    assert_shares(shares(one))


RULES = [SGD(0.5), SGD(1e25), AdaGrad(0.2), Momentum(0.2), Adam(0.02), SGD(0.5, accumulate=3)]


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize("engine", ["cpu", "numpy"])
def test_any_rule_leaves_shares(rule: Any, engine: Any) -> None:
    net = network(engine, rule)
    assert_shares(shares(net))
    before = net.evaluate(EDGES, WEIGHTS, progress=False)["cost"]
    assert_shares(learnt(net, mini_batch_size=16))
    assert net.evaluate(EDGES, WEIGHTS, progress=False)["cost"] < before


def test_a_noisy_picture_becomes_whole(tmp_path: Path) -> None:
    net = network()
    assert (TRUE == SEEN).mean() < 0.85
    found = learnt(net, epochs=20).argmax(axis=1).reshape(TRUE.shape)
    assert (found == TRUE).mean() > 0.95
    # What a node has of a label is what the network says of it and the label's own node.
    apart = net.feedforward(np.stack([np.full(SIDE * SIDE, 1), np.arange(SIDE * SIDE) + LABELS], 1))[:, 0]
    np.testing.assert_allclose(1 - apart, shares(net)[:, 1], atol=1e-6)
    net.save(tmp_path / "cut.safetensors")
    loaded = Network.load(tmp_path / "cut.safetensors")
    np.testing.assert_array_equal(loaded.feedforward(EDGES), net.feedforward(EDGES))


@pytest.mark.parametrize("update", ["racy", "atomic", "locked", "per-coordinate", "round-robin"])
@pytest.mark.parametrize("backend", ["threads", "processes"])
def test_one_worker_is_the_serial_training(update: str, backend: str) -> None:
    expected = learnt(network(Cpu(threads=1)))
    found = learnt(network(Cpu(threads=1)), parallel=Hogwild(workers=1, update=update, backend=backend))
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("update", ["racy", "atomic", "locked", "per-coordinate", "round-robin"])
def test_several_workers_cut_as_well(update: str) -> None:
    net = network()
    found = learnt(net, epochs=20, parallel=Hogwild(workers=3, update=update))
    assert_shares(found)
    assert (found.argmax(axis=1).reshape(TRUE.shape) == TRUE).mean() > 0.95


def test_edges_within_a_label_or_a_node_change_nothing() -> None:
    net = network()
    before = shares(net)
    net.fit([[0, 2], [1, 1], [7, 7]], [1.0, 5.0, 2.0], mini_batch_size=1, progress=False)
    np.testing.assert_array_equal(shares(net), before)
    np.testing.assert_array_equal(net.feedforward(np.array([[0, 2], [1, 1], [7, 7]])), [[1], [0], [0]])


@pytest.mark.parametrize(
    ("edges", "rule"),
    [
        ([[SIDE * SIDE + LABELS, 0]], f"column 0 of data must be whole numbers from 0 to {SIDE * SIDE + LABELS - 1}"),
        ([[0, -1]], "column 1 of data must be whole numbers from 0"),
        ([[0.5, 1]], "column 0 of data must be whole numbers"),
        ([[1, 2, 3]], r"data must have shape \(N, 2\), got \(1, 3\)"),
    ],
    ids=str,
)
def test_nodes_outside_of_the_graph_are_refused(edges: Any, rule: str) -> None:
    with pytest.raises(DataError, match=rule):
        network().feedforward(np.array(edges))


def test_arguments_are_checked() -> None:
    with pytest.raises(ArgumentError, match=r"GraphCut n_labels must be .*, got 1"):
        GraphCut(3, 1)
    with pytest.raises(ArgumentError, match="GraphCut n_nodes"):
        GraphCut(0, 2)
    with pytest.raises(ShapeError, match="needs pairs of nodes"):
        Network().input((3,)).add(GraphCut(3, 2))


class Flat(TanH):
    def params(self, shape: Any) -> Any:
        return {"w": Param((4, 2), Zeros(), simplex=True)}


def test_only_matrices_of_touched_rows_are_kept_on_the_simplex() -> None:
    with pytest.raises(ArgumentError, match="must be a matrix with rows=True to have simplex=True"):
        Network().input((2,)).add(Flat()).regression("sgd", "mean_squared")
