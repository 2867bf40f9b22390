"""Ranks that are left go on without one that is lost: what they learn, wherever it was lost, and that nobody waits."""

from functools import partial
from typing import Any

import numpy as np
import pytest

from gedanken import ArrayGenerator, BatchNorm, Callback, FullyConnectedLayer, Network, ReLU, SoftMax, Stop
from gedanken.errors import GedankenWarning
from gedanken.parallel.over_ranks import Kind
from gedanken.parallel.rounds import Rounds
from gedanken.parallel.shared_batches import SharedBatches
from gedanken.ranks.communicator import RankError
from gedanken.ranks.in_process import Fault, Threads, World
from tests.ranks.among import Among

RNG = np.random.default_rng(1)
X, Y = RNG.standard_normal((40, 6)).astype("f4"), RNG.integers(0, 3, 40)
pytestmark = pytest.mark.filterwarnings("ignore:ranks? .* lost.*:gedanken.GedankenWarning")


def network(rule: str, layer: Any) -> Network:
    net = Network(seed=3).input((6,)).add(FullyConnectedLayer(4)).add(layer)
    return net.add(FullyConnectedLayer(3)).add(SoftMax()).regression(rule, engine="cpu")


def trained(ranks: Threads | None, kind: Kind = SharedBatches, data: Any = (X, Y), net: Any = None, **how: Any) -> Any:
    net = net or network("adam", ReLU())
    parallel = Among(ranks, kind) if ranks else None
    size = None if isinstance(data[0], ArrayGenerator) else 16
    how = {"mini_batch_size": size, "epochs": 2, "progress": False, "validation_set": (X, Y), **how}
    history = net.fit(*data, parallel=parallel, **how)
    return dict(net.arrays()), history, parallel


def of_generator(ranks: Threads | None) -> Any:
    return trained(ranks, data=(ArrayGenerator(X, Y, mini_batch_size=16),))


def with_running_means(ranks: Threads | None) -> Any:
    return trained(ranks, net=network("sgd", BatchNorm()))


WORK = {"shared": trained, "generator": of_generator, "running means": with_running_means}


def calls(work: Any) -> int:
    """Return how many calls a rank of 3 makes where nobody is lost."""
    world = World(3, survives=True)
    world.run(work)
    return world.ranks[1].calls


def run(work: Any, *faults: Fault, size: int = 3) -> list[Any]:
    return World(size, faults=faults, survives=True).run(work)


def kill(rank: int, call: int) -> Fault:
    return Fault(rank, call, "kill")


def hold_the_result(done: list[Any], lost: set[int], wanted: dict[str, Any]) -> None:
    for rank, found in enumerate(done):
        if rank in lost:
            assert found is None
        elif 0 in lost:
            assert isinstance(found, RankError), done
        else:
            arrays, history, _ = found
            assert history["samples"] == [40, 40]
            for name, value in wanted.items():
                np.testing.assert_allclose(arrays[name], value, rtol=1e-4, atol=1e-6)
                assert np.array_equal(arrays[name], done[0][0][name]), "replicas are the same to the last bit"


@pytest.mark.parametrize("rank", [0, 1, 2])
@pytest.mark.parametrize(("name", "every"), [("shared", 1), ("generator", 3), ("running means", 3)])
def test_wherever_a_rank_is_lost_the_others_learn_what_one_process_does(name: str, every: int, rank: int) -> None:
    work = WORK[name]
    wanted = work(None)[0]
    for call in range(rank, calls(work), every):
        hold_the_result(run(work, kill(rank, call)), {rank}, wanted)


@pytest.mark.parametrize("begin", [0, 3, 10, 31, 90, 140])
def test_another_loss_at_the_same_time_or_while_the_others_recover(begin: int) -> None:
    wanted = trained(None)[0]
    for later in range(-2, 24):
        done = run(trained, kill(3, begin), kill(1, max(0, begin + later)), size=4)
        hold_the_result(done, {1, 3}, wanted)


@pytest.mark.parametrize("begin", [0, 10, 90])
def test_rank_0_learns_to_the_end_when_all_others_are_lost(begin: int) -> None:
    wanted = trained(None)[0]
    for later in range(0, 50, 5):
        hold_the_result(run(trained, kill(1, begin), kill(2, begin + later)), {1, 2}, wanted)


def test_the_round_in_which_a_rank_is_lost_is_made_again_by_the_others() -> None:
    """Two rounds in each of two epochs: a loss counts from one of them on, or in none."""

    def work(ranks: Threads) -> Any:
        return trained(ranks, partial(Rounds, period=1), mini_batch_size=8)

    ends = set()
    for call in range(calls(work)):
        done = run(work, kill(2, call))
        hold_the_result(done, {2}, {})
        ends.add(b"".join(value.tobytes() for value in done[0][0].values()))
        assert all(np.array_equal(value, done[1][0][name]) for name, value in done[0][0].items())
    assert len(ends) == 5


def test_a_loss_is_told() -> None:
    def work(ranks: Threads) -> Any:
        if ranks.rank == 0:
            with pytest.warns(GedankenWarning, match=r"^rank 1 of 3 lost: the training goes on with 2$"):
                return trained(ranks)
        return trained(ranks)

    for rank in (0, 2):
        told = [record.parallel for record in run(work, kill(1, 30))[rank][1].epochs]
        assert [one["losses"] for one in told] == [["rank 1 lost, 2 left"], []]
        assert all(0 <= share <= 1 for one in told for share in one["communication"])
        assert told[0]["course"].endswith("; rank 1 lost, 2 left")
        assert told[1]["workers"] == "2 ranks, which share each mini-batch"
        assert len(told[0]["samples"]) == len(told[1]["samples"]) == 2


def test_those_that_are_left_train_again() -> None:
    def work(ranks: Threads) -> Any:
        left = trained(ranks)[-1].made.ranks
        return left.size, trained(left)[0]

    wanted, done = trained(None)[0], run(work, kill(1, 50))
    for size, arrays in (done[0], done[2]):
        assert size == 2
        assert all(np.allclose(arrays[name], value, rtol=1e-4, atol=1e-6) for name, value in wanted.items())


class Stops(Callback):
    """Ends the training in the middle of the second epoch."""

    def on_step(self, run: Any, record: Any) -> Any:
        return Stop("enough") if record.epoch == 2 and record.step == 2 else None


def test_a_loss_while_the_leader_breaks_off_an_epoch() -> None:
    def work(ranks: Threads | None) -> Any:
        return trained(ranks, callbacks=[Stops()])

    wanted = work(None)[0]
    for call in range(60, calls(work)):
        for arrays, history, _ in filter(None, run(work, kill(2, call))):
            assert history.reason == "enough"
            assert all(np.allclose(arrays[name], value, rtol=1e-4, atol=1e-6) for name, value in wanted.items())


@pytest.mark.parametrize("call", [0, 9, 40])
def test_a_message_that_was_lost_costs_a_step_and_no_rank(call: int) -> None:
    done = run(trained, Fault(1, call, "drop"))
    hold_the_result(done, set(), trained(None)[0])


@pytest.mark.parametrize("call", [0, 9, 40])
def test_a_rank_that_stands_still_is_not_gone_round(call: int) -> None:
    done = run(trained, Fault(1, call, "freeze"))
    assert [isinstance(one, RankError) for one in done] == [True, False, True]


def test_all_shrink_to_the_same_ranks_or_say_that_all_is_well() -> None:
    def work(ranks: Threads) -> Any:
        assert ranks.shrink(well=True) is ranks
        left = ranks.shrink(well=ranks.rank != 2)
        return left.numbers, left.rank, left.shrink(well=True) is left

    assert run(work, kill(1, 1), size=4) == [((0, 2, 3), 0, True), None, ((0, 2, 3), 1, True), ((0, 2, 3), 2, True)]
    assert run(work, kill(1, 9), size=2) == [((0, 1), 0, True), ((0, 1), 1, True)]
