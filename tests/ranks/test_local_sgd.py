"""Ranks that take the mean of their weights from time to time: what is learnt, by whom, and what becomes of faults."""

from functools import partial
from typing import Any

import numpy as np
import pytest

from gedanken import (
    Adam,
    ArrayGenerator,
    BatchNorm,
    FullyConnectedLayer,
    LocalSGD,
    Network,
    NonFiniteError,
    OnNonFinite,
    ReLU,
    SoftMax,
)
from gedanken.datasets import load_drawn_digits
from gedanken.errors import ArgumentError
from gedanken.parallel.rounds import Rounds
from gedanken.ranks.communicator import RankError
from gedanken.ranks.in_process import Fault, Threads, World
from tests.ranks.among import Among

RNG = np.random.default_rng(1)
X, Y = RNG.standard_normal((100, 6)).astype("f4"), RNG.integers(0, 3, 100)


def among(ranks: Threads, period: int) -> Among:
    return Among(ranks, partial(Rounds, period=period))


def network(rule: Any = "sgd", *layers: Any) -> Network:
    net = Network(seed=3).input((6,)).add(FullyConnectedLayer(8))
    for layer in layers:
        net.add(layer)
    return net.add(ReLU()).add(FullyConnectedLayer(3)).add(SoftMax()).regression(rule, engine="cpu")


def trained(ranks: Threads | None, period: int = 2, data: Any = (X, Y), rule: Any = "sgd", **how: Any) -> Any:
    net = network(rule)
    parallel = None if ranks is None else among(ranks, period)
    size = None if isinstance(data[0], ArrayGenerator) else 8
    how = {"mini_batch_size": size, "shuffle": False, "progress": False, **how}
    return dict(net.arrays()), net.fit(*data, parallel=parallel, **how), dict(net.arrays())


def test_one_mini_batch_each_with_plain_sgd_is_the_mean_of_their_updates() -> None:
    """One round of two ranks: w - rate * (g0 + g1) / 2, which is the serial step of both mini-batches."""
    wanted = trained(None, data=(X[:16], Y[:16]), mini_batch_size=16)[-1]
    for *_, found in World(2).run(lambda ranks: trained(ranks, 1, (X[:16], Y[:16]))):
        for name, value in wanted.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_a_round_is_what_each_rank_learns_alone(rule: str) -> None:
    """Rank 0 has mini-batches 0 and 2, rank 1 has 1 and 3."""
    dealt = [np.concatenate([np.arange(8 * one, 8 * one + 8) for one in own]) for own in ((0, 2), (1, 3))]
    alone = [trained(None, data=(X[rows], Y[rows]), rule=rule)[-1] for rows in dealt]
    for *_, found in World(2).run(lambda ranks: trained(ranks, 2, (X[:32], Y[:32]), rule)):
        for name in found:
            np.testing.assert_allclose(found[name], (alone[0][name] + alone[1][name]) / 2, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("period", [1, 3, 100])
def test_all_samples_are_learnt_from_and_all_ranks_end_alike(size: int, period: int) -> None:
    done = World(size).run(lambda ranks: trained(ranks, period, epochs=2, rule=Adam()))
    for _, history, found in done:
        assert [record.samples for record in history.epochs] == [100, 100]
        assert history["cost"] == done[0][1]["cost"]
        for name, value in found.items():
            assert np.array_equal(value, done[0][2][name])


def test_a_generator_gives_what_arrays_give() -> None:
    def of_generator(ranks: Threads) -> Any:
        return trained(ranks, 2, (ArrayGenerator(X, Y, mini_batch_size=8, shuffle=False),), shuffle=None)

    wanted = World(3).run(lambda ranks: trained(ranks, 2))
    for one, other in zip(World(3).run(of_generator), wanted, strict=True):
        for name, value in other[-1].items():
            assert np.array_equal(one[-1][name], value)


def test_running_means_are_averaged() -> None:
    def work(ranks: Threads) -> Any:
        net = network("sgd", BatchNorm())
        net.fit(X, Y, mini_batch_size=8, progress=False, parallel=among(ranks, 3))
        return dict(net.arrays())

    one, other = World(2).run(work)
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert not np.array_equal(one["1.mean"], np.zeros(8))


def test_it_learns_as_well_as_one_process() -> None:
    x, y, x_test, y_test = load_drawn_digits(train=1500, test=500)

    def accuracy(ranks: Threads | None) -> float:
        net = Network(seed=1).input((784,)).add(FullyConnectedLayer(64)).add(ReLU())
        net.add(FullyConnectedLayer(10)).add(SoftMax()).regression("adam", engine="cpu")
        parallel = None if ranks is None else among(ranks, 4)
        net.fit(x.reshape(-1, 784), y, mini_batch_size=32, epochs=6, progress=False, parallel=parallel)
        return float(net.evaluate(x_test.reshape(-1, 784), y_test)["accuracy"])

    alone = accuracy(None)
    assert alone > 0.8
    assert World(2).run(accuracy)[0] > alone - 0.06


@pytest.mark.parametrize("place", [3, 20, 97])
def test_of_a_round_with_a_fault_nothing_is_kept(place: int) -> None:
    x = X.copy()
    x[place] = 3e38

    def work(ranks: Threads) -> Any:
        with pytest.raises(NonFiniteError) as raised:
            trained(ranks, 2, (x, Y))
        return str(raised.value)

    told = set(World(2).run(work))
    assert len(told) == 1
    assert f"sample {place}" in told.pop()
    for _, history, found in World(2).run(lambda ranks: trained(ranks, 2, (x, Y), callbacks=[OnNonFinite("skip")])):
        assert len(history.faults) == 1
        assert all(np.isfinite(value).all() for value in found.values())


@pytest.mark.parametrize("call", [0, 3, 7, 12])
@pytest.mark.parametrize("kind", ["kill", "freeze"])
def test_a_rank_that_is_lost_ends_the_training_of_all_others(kind: str, call: int) -> None:
    done = World(3, faults=[Fault(1, call, kind)]).run(lambda ranks: trained(ranks, 2))
    assert [type(one) for one in done] == [RankError, type(None), RankError]


def test_a_script_that_nobody_launched_trains_serially() -> None:
    wanted = trained(None)[-1]
    net = network()
    net.fit(X, Y, mini_batch_size=8, shuffle=False, progress=False, parallel=LocalSGD(period=4))
    assert all(np.array_equal(value, wanted[name]) for name, value in net.arrays().items())


@pytest.mark.parametrize("period", [0, -1, 1.5, "often", None, True])
def test_a_period_that_is_none_is_refused(period: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^LocalSGD period must be a whole number"):
        LocalSGD(period=period)
