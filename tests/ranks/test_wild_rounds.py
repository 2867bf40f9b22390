"""Ranks in each of which several workers learn without locks, and which take the mean of their weights."""

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import (
    Adam,
    ArrayGenerator,
    BatchNorm,
    FullyConnectedLayer,
    Hogwild,
    LocalSGD,
    Network,
    NonFiniteError,
    ReLU,
    SoftMax,
)
from gedanken.errors import ArgumentError
from gedanken.parallel.base import Parallel
from gedanken.parallel.over_ranks import Follower, Leader, of_ranks
from gedanken.parallel.recipe import Recipe
from gedanken.parallel.wild_rounds import WildRounds
from gedanken.ranks.communicator import RankError
from gedanken.ranks.in_process import Fault, Threads, World
from tests.ranks.test_launch import HAS_MPI

RNG = np.random.default_rng(1)
X = RNG.standard_normal((400, 6)).astype("f4")
Y = (X @ RNG.standard_normal((6, 3))).argmax(1)


class Among(Parallel):
    def __init__(self, ranks: Threads, period: int, workers: int) -> None:
        self._ranks, self._period, self._workers = ranks, period, workers

    def strategy(self, recipe: Recipe) -> Leader | Follower:
        inside = Hogwild(workers=self._workers, backend="threads").strategy(recipe)
        return of_ranks(recipe, 1, self._ranks, partial(WildRounds, period=self._period, inside=inside))


def network() -> Network:
    net = Network(seed=3).input((6,)).add(FullyConnectedLayer(16)).add(BatchNorm()).add(ReLU())
    return net.add(FullyConnectedLayer(3)).add(SoftMax()).regression(Adam(0.01), engine="cpu", metrics=["accuracy"])


def trained(parallel: Any, data: Any = (X, Y), **how: Any) -> Any:
    net, size = network(), None if isinstance(data[0], ArrayGenerator) else 8
    history = net.fit(*data, parallel=parallel, **{"mini_batch_size": size, "progress": False, **how})
    return dict(net.arrays()), history


def test_of_one_worker_a_round_is_what_each_rank_learns_alone() -> None:
    alone = [trained(None, (X[rows], Y[rows]), shuffle=False)[0] for rows in (np.arange(16), np.arange(16, 32))]
    for found, _ in World(2).run(lambda ranks: trained(Among(ranks, 2, 1), (X[:32], Y[:32]), shuffle=False)):
        for name in found:
            np.testing.assert_allclose(found[name], (alone[0][name] + alone[1][name]) / 2, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("period", [1, 4, 100])
def test_ranks_with_several_workers_learn_and_end_alike(period: int) -> None:
    done = World(3).run(lambda ranks: trained(Among(ranks, period, 2), epochs=12))
    for found, history in done:
        assert history.epochs[-1].samples == len(X)
        assert history["accuracy"][-1] > 0.8
        for name in found:
            assert np.array_equal(found[name], done[0][0][name])


def test_a_number_that_is_not_finite_is_told_on_all_ranks() -> None:
    def work(ranks: Threads) -> str:
        x = X.copy()
        x[200:] = np.float32(3e38)
        with pytest.raises(NonFiniteError) as raised:
            trained(Among(ranks, 4, 2), (x, Y), shuffle=False)
        return str(raised.value)

    done = World(2).run(work)
    assert len(set(map(str, done))) == 1, done


@pytest.mark.parametrize("call", [0, 4, 9, 14])
def test_a_rank_that_is_lost_ends_the_training_of_all_others(call: int) -> None:
    done = World(3, faults=[Fault(1, call, "kill")]).run(lambda ranks: trained(Among(ranks, 4, 2)))
    assert done[1] is None
    assert all(isinstance(one, RankError) for one in (done[0], done[2])), done


def test_a_generator_is_refused() -> None:
    def work(ranks: Threads) -> Any:
        return trained(Among(ranks, 4, 2), (ArrayGenerator(X, Y, mini_batch_size=8),))

    done = World(2).run(work)
    assert all("without inside=" in str(one) for one in done), done


def test_what_stands_inside_is_hogwild() -> None:
    for wrong in (Hogwild, LocalSGD(), "hogwild", 2):
        with pytest.raises(ArgumentError, match="LocalSGD inside"):
            LocalSGD(inside=wrong)  # type: ignore[arg-type]


def test_a_script_that_nobody_launched_has_the_workers_alone() -> None:
    _, history = trained(LocalSGD(inside=Hogwild(workers=2, backend="threads")))
    assert history.epochs[-1].parallel["workers"].startswith("2 threads")


SCRIPT = """
import numpy as np
from gedanken import *

if __name__ == "__main__":
    x = np.random.default_rng(0).standard_normal((2000, 6)).astype("f4")
    y = (x @ np.random.default_rng(1).standard_normal((6, 3))).argmax(1)
    net = Network(seed=1).input((6,)).add(FullyConnectedLayer(16)).add(ReLU())
    net.add(FullyConnectedLayer(3)).add(SoftMax())
    net.regression("adam", engine="cpu")
    inside = Hogwild(workers=2, backend="processes")
    history = net.fit(x, y, mini_batch_size=16, epochs=4, parallel=LocalSGD(period=8, inside=inside), progress=False)
    print(history["accuracy"][-1] > 0.8, history.epochs[-1].parallel["workers"])
"""


@HAS_MPI
def test_ranks_of_mpi_have_processes_inside(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "gedanken", "launch", "-n", "2", "--restarts", "0", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("True 2 ranks, which take the mean of their weights after 8"), done.stdout
