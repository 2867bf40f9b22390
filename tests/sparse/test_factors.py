"""Matrix factorisation: an ordinary network, learnt entry by entry, alone and by workers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import (
    SGD,
    AdaGrad,
    Cpu,
    DataError,
    Embedding,
    FullyConnectedLayer,
    Hogwild,
    MatrixFactorisation,
    Network,
    ShapeError,
    Sigmoid,
)

RNG = np.random.default_rng(0)
ROWS, COLUMNS, RANK, ENTRIES = 40, 30, 3, 2000
WHOLE = RNG.normal(size=(ROWS, RANK)) @ RNG.normal(size=(RANK, COLUMNS)) / np.sqrt(RANK) + 1.5
PAIRS = np.stack([RNG.integers(0, ROWS, ENTRIES), RNG.integers(0, COLUMNS, ENTRIES)], axis=1)
VALUES = WHOLE[PAIRS[:, 0], PAIRS[:, 1]]


def network(engine: Any = "cpu", rule: Any = None, **options: Any) -> Network:
    net = Network(seed=4).input((2,)).add(MatrixFactorisation(ROWS, COLUMNS, RANK, **options))
    return net.regression(rule or SGD(0.02), "mean_squared", engine=engine)


def learnt(net: Network, entries: int = ENTRIES, **options: Any) -> Any:
    how = {"epochs": 2, "mini_batch_size": 1, "progress": False, **options}
    net.fit(PAIRS[:entries], VALUES[:entries], **how)
    assert net._plan
    return net._plan.params.copy()


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"l2": 0.1}, {"l2": 0.1, "bias": False}], ids=str)
def test_a_run_is_what_its_steps_are(options: Any) -> None:
    np.testing.assert_allclose(
        learnt(network("cpu", **options), 150), learnt(network("numpy", **options), 150), rtol=2e-3, atol=2e-5
    )


@pytest.mark.parametrize("rule", [SGD(0.1), AdaGrad(0.1)], ids=repr)
def test_mini_batches_give_the_same_on_both_engines(rule: Any) -> None:
    one, other = (learnt(network(engine, rule), mini_batch_size=32) for engine in ("cpu", "numpy"))
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


def test_the_matrix_comes_back(tmp_path: Path) -> None:
    net = network(rule=SGD(0.05))
    learnt(net, epochs=60)
    everywhere = np.stack(np.meshgrid(np.arange(ROWS), np.arange(COLUMNS), indexing="ij"), axis=-1).reshape(-1, 2)
    error = net.feedforward(everywhere).reshape(ROWS, COLUMNS) - WHOLE
    assert float(np.sqrt((error**2).mean())) < 0.05
    net.save(tmp_path / "factors.safetensors")
    np.testing.assert_array_equal(
        Network.load(tmp_path / "factors.safetensors").feedforward(PAIRS), net.feedforward(PAIRS)
    )


@pytest.mark.parametrize("update", ["racy", "atomic", "locked", "per-coordinate", "round-robin"])
@pytest.mark.parametrize("backend", ["threads", "processes"])
def test_one_worker_is_the_serial_training(update: str, backend: str) -> None:
    expected = learnt(network(Cpu(threads=1), l2=0.01))
    found = learnt(network(Cpu(threads=1), l2=0.01), parallel=Hogwild(workers=1, update=update, backend=backend))
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("update", ["racy", "atomic", "locked", "per-coordinate", "round-robin"])
def test_several_workers_learn_as_much(update: str) -> None:
    alone, together = network(), network()
    learnt(alone, epochs=10)
    learnt(together, epochs=10, parallel=Hogwild(workers=2, update=update))
    one, other = (net.evaluate(PAIRS, VALUES, progress=False)["cost"] for net in (alone, together))
    assert other == pytest.approx(one, rel=0.3, abs=0.02)


def test_a_yes_or_no_matrix_is_learnt_too() -> None:
    net = Network(seed=4).input((2,)).add(MatrixFactorisation(ROWS, COLUMNS, RANK)).add(Sigmoid())
    net.regression(SGD(0.2), "binary_cross_entropy")
    answers = (VALUES > 1.5).astype(int)
    net.fit(PAIRS, answers, epochs=30, mini_batch_size=1, progress=False)
    assert net.evaluate(PAIRS, answers, progress=False)["accuracy"] > 0.9


@pytest.mark.parametrize(
    ("pairs", "rule"),
    [
        ([[ROWS, 0]], f"column 0 of data must be whole numbers from 0 to {ROWS - 1}"),
        ([[0, COLUMNS]], f"column 1 of data must be whole numbers from 0 to {COLUMNS - 1}"),
        ([[0, -1]], "column 1 of data must be whole numbers from 0"),
        ([[0.5, 1]], "column 0 of data must be whole numbers"),
        ([[1, 2, 3]], r"data must have shape \(N, 2\), got \(1, 3\)"),
        ([3], r"data must have shape \(N, 2\)"),
    ],
    ids=str,
)
def test_places_outside_of_the_matrix_are_refused(pairs: Any, rule: str) -> None:
    with pytest.raises(DataError, match=rule):
        network().feedforward(np.array(pairs))


def test_it_takes_pairs_and_comes_first() -> None:
    with pytest.raises(ShapeError, match="needs pairs of a row and a column"):
        Network().input((3,)).add(MatrixFactorisation(3, 3, 2))
    with pytest.raises(ShapeError, match="it can only be the first layer"):
        Network().input((2,)).add(FullyConnectedLayer(2)).add(MatrixFactorisation(3, 3, 2))
    with pytest.raises(ShapeError):
        Network().input(()).add(Embedding(3, 2)).add(MatrixFactorisation(3, 3, 2))
