"""Ranks that learn from one set of parameters and wait for nobody: what is learnt, how stale, and what faults do.

At a rate that changes nothing each gradient is that of the first weights, whoever computes it and when: then the sums
of squares say exactly what was learnt from, and how often.
"""

import contextlib
import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import (
    LSTM,
    AdaGrad,
    Adam,
    ArrayGenerator,
    BatchNorm,
    BinaryCrossEntropy,
    Callback,
    Checkpoint,
    Cpu,
    CrossEntropy,
    Embedding,
    Flatten,
    FullyConnectedLayer,
    Heads,
    MovingAverage,
    Network,
    NonFiniteError,
    OnNonFinite,
    ParameterServer,
    ReLU,
    Sequences,
    SetRate,
    Sigmoid,
    SoftMax,
    Stop,
)
from gedanken.data.batches import ArraySource
from gedanken.datasets import load_drawn_digits
from gedanken.errors import ArgumentError
from gedanken.parallel.parameter_server import serving
from gedanken.parallel.served import Course, Served
from gedanken.parallel.shards import STOP
from gedanken.parallel.told import Told
from gedanken.ranks.communicator import RankError
from gedanken.ranks.in_process import Fault, Threads, World
from tests.ranks.among import Among
from tests.ranks.test_launch import HAS_MPI

RNG = np.random.default_rng(1)
X, Y = RNG.standard_normal((100, 6)).astype("f4"), RNG.integers(0, 3, 100)
STILL = 1e-30  # a rate that changes no weight


def among(ranks: Threads, push: int = 5, fetch: int = 5) -> Among:
    return Among(ranks, partial(Served, push=push, fetch=fetch), serving)


def network(rate: float = 0.05, *layers: Any, engine: Any = "cpu", **more: Any) -> Network:
    net = Network(seed=3).input((6,)).add(FullyConnectedLayer(8))
    for layer in layers:
        net.add(layer)
    rule = AdaGrad(rate, **more)
    return net.add(ReLU()).add(FullyConnectedLayer(3)).add(SoftMax()).regression(rule, engine=engine)


def trained(net: Network, parallel: Any = None, data: Any = (X, Y), **how: Any) -> tuple[Network, Any]:
    size = None if isinstance(data[0], ArrayGenerator) else 8
    return net, net.fit(*data, **{"mini_batch_size": size, "progress": False, "parallel": parallel, **how})


def squares(net: Network) -> Any:
    return net._train_state.optimizer_state.slots["squares"].copy()


def by_name(net: Network, vector: Any) -> dict[str, Any]:
    """Return the parts of a flat vector, of a network without running values."""
    sizes = {name: view.shape for name, view in net._train_state.plan.arrays().items()}
    ends = np.cumsum([np.prod(shape) for shape in sizes.values()])
    parts = np.split(vector, ends[:-1])
    return {name: part.reshape(shape) for part, (name, shape) in zip(parts, sizes.items(), strict=True)}


def same_everywhere(done: list[Any]) -> list[tuple[Network, Any]]:
    for one in done:
        assert isinstance(one, tuple), one
        for name, value in one[0].arrays().items():
            assert np.isfinite(value).all()
            assert np.array_equal(value, done[0][0].arrays()[name]), name
        assert np.array_equal(squares(one[0]), squares(done[0][0]))
        assert one[1]["cost"] == done[0][1]["cost"]
    return done


def tokens() -> Network:
    net = Network(seed=3).input((5,)).add(Embedding(20, 4)).add(Flatten())
    return net.add(FullyConnectedLayer(3)).add(SoftMax()).regression(AdaGrad(STILL), engine="cpu")


def sequences() -> Network:
    net = Network(seed=3).input((7, 2)).add(LSTM(4)).add(FullyConnectedLayer(3)).add(SoftMax())
    return net.regression(AdaGrad(STILL), engine="cpu", cost=CrossEntropy(ignore_label=2))


def heads() -> Network:
    rows = Heads(kind=[FullyConnectedLayer(3), SoftMax()], odd=[FullyConnectedLayer(1), Sigmoid()])
    net = Network(seed=3).input((6,)).add(FullyConnectedLayer(8)).add(ReLU()).add(rows)
    return net.regression(AdaGrad(STILL), engine="cpu", cost={"kind": CrossEntropy(), "odd": BinaryCrossEntropy()})


LENGTHS = RNG.integers(1, 8, 100)
CASES: dict[str, tuple[Callable[[], Network], tuple[Any, ...]]] = {
    "mlp": (lambda: network(STILL), (X, Y)),
    "float64": (lambda: network(STILL, engine=Cpu(dtype="float64")), (X, Y)),
    "numpy": (lambda: network(STILL, engine="numpy"), (X, Y)),
    "weights": (lambda: network(STILL), (X, Y, RNG.random(100))),
    "clipped": (lambda: network(STILL, clip_norm=0.01), (X, Y)),
    "decay": (lambda: network(STILL, weight_decay=0.1), (X, Y)),
    "frozen": (lambda: network(STILL).freeze(0), (X, Y)),
    "heads": (heads, (X, {"kind": Y, "odd": Y % 2})),
    "rows": (tokens, (RNG.integers(0, 20, (100, 5)), Y)),
    "lengths": (
        sequences,
        (Sequences(RNG.standard_normal((100, 7, 2)).astype("f4"), LENGTHS), RNG.integers(0, 3, (100, 7))),
    ),
}


class Steps(Callback):
    """Remembers epoch and number of each step."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def on_step(self, run: Any, record: Any) -> None:
        self.seen.append((record.epoch, record.step))


@pytest.mark.parametrize(("push", "fetch"), [(1, 1), (5, 5), (2, 3), (3, 2), (1000, 1), (1, 1000)])
@pytest.mark.parametrize("size", [2, 3])
def test_each_mini_batch_is_learnt_from_once(size: int, push: int, fetch: int) -> None:
    """100 samples are 13 mini-batches: no number of ranks divides them, and no push more than one comes out even."""
    net, alone = trained(network(STILL), epochs=2)
    steps = Steps()
    done = World(size).run(
        lambda ranks: trained(network(STILL), among(ranks, push, fetch), epochs=2, callbacks=[steps])
    )
    assert steps.seen == sorted(steps.seen)
    assert [max(step for epoch, step in steps.seen if epoch == one) for one in (1, 2)] == [13, 13]
    for served, history in same_everywhere(done):
        np.testing.assert_allclose(squares(served), squares(net), rtol=1e-4)
        assert history["cost"] == pytest.approx(alone["cost"], rel=1e-5)
        assert history["accuracy"] == pytest.approx(alone["accuracy"])
        told = history.epochs[-1].parallel
        own = [len(range(rank, 13, size)) for rank in range(size)]
        assert told["pushes"] == [-(-count // push) for count in own]
        assert sum(told["samples"]) == history.epochs[-1].samples == 100
        assert served._train_state.optimizer_state.step == 26


@pytest.mark.parametrize("name", CASES)
def test_all_that_a_network_may_be_is_learnt_from_once(name: str) -> None:
    make, data = CASES[name]
    net, _ = trained(make(), None, data)
    for served, _ in same_everywhere(World(2).run(lambda ranks: trained(make(), among(ranks, 2, 2), data))):
        np.testing.assert_allclose(squares(served), squares(net), rtol=1e-3, atol=1e-9)


def test_a_generator_is_shared_too() -> None:
    def work(ranks: Threads) -> Any:
        data = ArrayGenerator(X, Y, mini_batch_size=8, shuffle=False, workers=0)
        return trained(network(STILL), among(ranks), (data,))

    net, _ = trained(network(STILL), shuffle=False)
    for served, _ in same_everywhere(World(3).run(work)):
        np.testing.assert_allclose(squares(served), squares(net), rtol=1e-4)


@pytest.mark.parametrize(("samples", "size"), [(100, 90), (8, 3), (1, 2), (20, 4)])
def test_more_ranks_than_mini_batches_or_parameters(samples: int, size: int) -> None:
    """The network has 83 parameters."""
    data = X[:samples], Y[:samples]
    net, _ = trained(network(STILL), None, data)
    for served, history in same_everywhere(World(size).run(lambda ranks: trained(network(STILL), among(ranks), data))):
        np.testing.assert_allclose(squares(served), squares(net), rtol=1e-4)
        assert history.epochs[0].samples == samples
        assert history.epochs[0].finished


def test_one_rank_learns_what_is_learnt_serially() -> None:
    wanted, alone = trained(network(), epochs=3)
    ((found, history),) = World(1).run(lambda ranks: trained(network(), among(ranks), epochs=3))
    for name, value in wanted.arrays().items():
        np.testing.assert_allclose(found.arrays()[name], value, rtol=1e-4, atol=1e-6)
    assert history["cost"] == pytest.approx(alone["cost"], rel=1e-5)
    assert history.epochs[-1].parallel["max_staleness"] == 0
    exactly, _ = trained(network(), ParameterServer(), epochs=3)
    assert all(np.array_equal(value, wanted.arrays()[name]) for name, value in exactly.arrays().items())


def test_it_learns_as_well_as_one_process() -> None:
    x, y, x_test, y_test = load_drawn_digits(train=1500, test=500)

    def accuracy(ranks: Threads | None) -> float:
        net = Network(seed=1).input((784,)).add(FullyConnectedLayer(64)).add(ReLU())
        net.add(FullyConnectedLayer(10)).add(SoftMax()).regression(AdaGrad(0.02), engine="cpu")
        parallel = None if ranks is None else among(ranks)
        net.fit(x.reshape(-1, 784), y, mini_batch_size=16, epochs=6, progress=False, parallel=parallel)
        return float(net.evaluate(x_test.reshape(-1, 784), y_test)["accuracy"])

    alone = accuracy(None)
    assert alone > 0.8
    assert World(2).run(accuracy)[0] > alone - 0.04


class Held(ArrayGenerator):
    """Gives its mini-batches from number `after` on when somebody says so."""

    def __init__(self, *arrays: Any, go: threading.Event, after: int = 1) -> None:
        super().__init__(*arrays, mini_batch_size=8, shuffle=False, workers=0)
        self.go, self.after = go, after

    def get_mini_batches(self, index: int) -> Any:
        assert index < self.after or self.go.wait(60)
        return super().get_mini_batches(index)


class Says(Callback):
    """Lets another rank go on after a number of rank 0's own steps, and answers something after one of them."""

    def __init__(self, go: threading.Event, step: int, answer: Any = None, when: int = 0) -> None:
        self.go, self.step, self.answer, self.when, self.steps = go, step, answer, when, 0

    def on_step(self, run: Any, record: Any) -> Any:
        self.steps += 1
        if self.steps == self.step:
            self.go.set()
        return self.answer if self.steps == self.when else None


def held(ranks: Threads, go: threading.Event, data: Any = (X, Y), after: int = 1) -> tuple[Held]:
    """Return mini-batches that rank 1 has to wait for."""
    return (Held(*data, go=go, after=after if ranks.rank else len(data[0])),)


def test_nobody_waits_and_staleness_is_counted() -> None:
    """Rank 1 gets its first mini-batch when rank 0 has learnt from all its 7: its gradient is 7 pushes stale."""
    go = threading.Event()

    def work(ranks: Threads) -> Any:
        return trained(network(), among(ranks, 1, 1), held(ranks, go), callbacks=[Says(go, 7)])

    for _, history in same_everywhere(World(2).run(work)):
        told = history.epochs[0].parallel
        assert told["pushes"] == [7, 6]
        assert (told["max_staleness"], told["mean_staleness"]) == (7, 7 / 13)
        assert "0.54 pushes stale, 7 at most" in told["course"]


def in_turn(push: int, fetch: int, count: int) -> list[tuple[Network, list[Course]]]:
    """Let two ranks learn from so many mini-batches each, one after the other."""
    turns = [threading.Semaphore(1), threading.Semaphore(0)]

    def work(ranks: Threads) -> Any:
        net = network()
        served = Served(net._train_state, ranks, push, fetch)
        served.open()
        for batch in itertools.islice(served.pieces(ArraySource(X, Y, 8), 0, 0), count):
            assert turns[ranks.rank].acquire(timeout=60)
            served.tell(batch, 0)
            turns[1 - ranks.rank].release()
        served.finish(Told())
        return net, served.courses

    return World(2).run(work)


def test_what_is_pushed_is_divided_by_the_sums_of_all() -> None:
    """Both ranks know the first weights alone; the second one's step is by h = g0**2 + g1**2."""
    before, steps, sums = network().arrays(), [], []
    for first in (0, 8):
        net, _ = trained(network(), None, (X[first : first + 8], Y[first : first + 8]), shuffle=False)
        steps.append({name: value - before[name] for name, value in net.arrays().items()})
        sums.append(by_name(net, squares(net)))
    for net, _ in in_turn(1, 1, 1):
        for name, value in net.arrays().items():
            h = [one[name] for one in sums]
            shorter = np.sqrt(h[1]) / np.sqrt(np.maximum(h[0] + h[1], 1e-30))
            wanted = before[name] + steps[0][name] + steps[1][name] * shorter
            np.testing.assert_allclose(value, wanted, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("push", "fetch", "stale", "stalest"), [(1, 1, [3, 4], 1), (2, 2, [1, 2], 1), (1, 4, [6, 10], 4), (4, 1, [0, 1], 1)]
)
def test_staleness_is_counted_from_the_last_fetch(push: int, fetch: int, stale: list[int], stalest: int) -> None:
    for _, courses in in_turn(push, fetch, 4):
        assert [one.stale for one in courses] == stale
        assert max(one.stalest for one in courses) == stalest
        assert [one.pushes for one in courses] == [4 // push] * 2


def test_what_callbacks_answer_reaches_all() -> None:
    """Rank 0 makes the rate nearly 0 after two mini-batches; rank 1 begins then, and hears of it when it fetches."""
    go, first, many = threading.Event(), network().arrays(), tuple(np.concatenate([one] * 50) for one in (X, Y))

    def work(ranks: Threads, answer: Any) -> Any:
        data = held(ranks, go, many)
        return trained(network(), among(ranks, 1, 1), data, callbacks=[Says(go, 4, answer, when=2)])

    for answer, few in ((SetRate(1e-6), True), (None, False)):
        go.clear()
        for net, _ in same_everywhere(World(2).run(partial(work, answer=answer))):
            moved = max(float(abs(value - first[name]).max()) for name, value in net.arrays().items())
            assert (moved < 3.01 * 0.05) == few, "of rank 0 two updates, of rank 1 one: each of the rate at most"


def test_a_training_that_is_stopped_within_an_epoch_ends_for_all() -> None:
    """Rank 1 has learnt from few of its mini-batches when rank 0 ends the epoch, and hears of it."""
    go, many = threading.Event(), tuple(np.concatenate([one] * 50) for one in (X, Y))

    def work(ranks: Threads) -> Any:
        stop = Says(go, 30, Stop("enough"), when=30)
        return trained(network(), among(ranks), held(ranks, go, many, after=100), callbacks=[stop], epochs=3)

    for net, history in same_everywhere(World(2).run(work)):
        assert (history.reason, net.epoch, len(history.epochs)) == ("enough", 1, 1)
        told = history.epochs[0].parallel
        assert told["samples"][0] == 240
        assert told["samples"][1] < 2400, "it had 312 mini-batches"
        assert not history.epochs[0].finished
        assert net._train_state.optimizer_state.step == sum(told["samples"]) / 8


def test_running_means_are_averaged() -> None:
    """Of rank 0 with mini-batches 0, 2 ... 12, and rank 1 with 1, 3 ... 11."""

    def work(ranks: Threads) -> Any:
        return trained(network(STILL, BatchNorm()), among(ranks), shuffle=False)

    net, _ = same_everywhere(World(2).run(work))[0]
    dealt = [np.flatnonzero(np.arange(100) // 8 % 2 == rank) for rank in range(2)]
    alone = [trained(network(STILL, BatchNorm()), None, (X[own], Y[own]), shuffle=False)[0].arrays() for own in dealt]
    for name in ("1.mean", "1.var"):
        wanted = (7 * alone[0][name] + 6 * alone[1][name]) / 13
        np.testing.assert_allclose(net.arrays()[name], wanted, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("layers", [(), (BatchNorm(),)], ids=["plain", "running means"])
@pytest.mark.parametrize("place", [0, 12, 97])
def test_nothing_of_a_mini_batch_that_is_not_finite_is_learnt(place: int, layers: Any) -> None:
    """Samples 0 and 97 are rank 0's of two, sample 12 is rank 1's."""
    x, own = X.copy(), int(place == 12)
    x[place] = 3e38

    def work(ranks: Threads) -> Any:
        net = network(0.05, *layers)
        with pytest.raises(NonFiniteError) as raised:
            trained(net, among(ranks, 2, 2), (x, Y), shuffle=False)
        return net, raised.value

    done = World(2).run(work)
    for net, error in done:
        assert f"sample {place}" in str(error) or layers
        assert str(error) == str(done[0][1])
        for name, value in net.arrays().items():
            assert np.isfinite(value).all()
            assert np.array_equal(value, done[0][0].arrays()[name])
        assert len(error.history.faults) == 1
        assert error.history.epochs[0].parallel["samples"][own] == (48 if place == 97 else 0)


def test_others_hear_of_a_fault_within_the_epoch() -> None:
    """They get their last mini-batches when they were asked to end the epoch, and learn from none of them."""
    world = World(3)

    class Waits(ArrayGenerator):
        def __init__(self, rank: int) -> None:
            x = np.concatenate([X] * 20)
            x[8] = np.float32(3e38)
            super().__init__(x, np.concatenate([Y] * 20), mini_batch_size=8, shuffle=False, workers=0)
            self.rank = rank

        def get_mini_batches(self, index: int) -> Any:
            if index > 100 and self.rank != 1:
                heads = next(parts for parts in world.windows.values() if parts[0].size == STOP + 1)
                until = time.monotonic() + 60
                while not heads[self.rank][STOP]:
                    assert time.monotonic() < until, f"rank {self.rank} hears nothing"
                    time.sleep(0.001)
            return super().get_mini_batches(index)

    def work(ranks: Threads) -> Any:
        with pytest.raises(NonFiniteError) as raised:
            trained(network(), among(ranks), (Waits(ranks.rank),))
        return raised.value

    for error in world.run(work):
        assert "sample 8" in str(error)
        samples = error.history.epochs[0].parallel["samples"]
        assert samples[1] == 0
        assert max(samples) < 8 * 60


class Breaks(ArrayGenerator):
    def get_mini_batches(self, index: int) -> Any:
        if index == 7:
            raise OSError("no room")
        return super().get_mini_batches(index)


@pytest.mark.parametrize("who", [0, 1])
def test_an_error_on_one_rank_is_told_on_all(who: int) -> None:
    def work(ranks: Threads) -> Any:
        kind = Breaks if ranks.rank == who else ArrayGenerator
        return trained(network(), among(ranks), (kind(X, Y, mini_batch_size=8, workers=0),))

    done = World(3).run(work)
    for rank, found in enumerate(done):
        assert isinstance(found, OSError if rank == who else RankError), done
        assert "no room" in str(found) or "is lost" in str(found)


@pytest.mark.parametrize("call", [3, 17, 30, 45, 60, 90])
@pytest.mark.parametrize("kind", ["kill", "freeze"])
@pytest.mark.parametrize("who", [0, 1])
def test_a_rank_that_is_lost_ends_the_training_of_all_others(who: int, kind: str, call: int) -> None:
    world = World(3, faults=[Fault(who, call, kind)])
    done = world.run(lambda ranks: trained(network(), among(ranks, 1, 1), epochs=2))
    for rank, found in enumerate(done):
        if rank == who:
            assert found is None
        else:
            assert isinstance(found, RankError), done
    assert any(who in getattr(found, "lost", ()) for found in done), done
    assert max(rank.clock for rank in world.ranks) < 4 * world.deadline


@pytest.mark.parametrize("call", [20, 40, 60, 80, 120])
def test_ranks_that_are_left_go_on(call: int) -> None:
    world = World(3, faults=[Fault(1, call, "kill")], survives=True)
    with pytest.warns(UserWarning, match="rank 1 of 3 lost: the training goes on with 2"):
        done = world.run(lambda ranks: trained(network(), among(ranks, 1, 1), epochs=4))
    assert done.pop(1) is None
    for _, history in same_everywhere(done):
        assert len(history.epochs) == 4
        assert history.epochs[-1].parallel["pushes"] == [7, 6]
        assert sum("rank 1 lost, 2 left" in str(record.parallel["losses"]) for record in history.epochs) == 1


def test_a_training_goes_on_from_a_checkpoint_with_another_number_of_ranks(tmp_path: Path) -> None:
    """At the end the sums of squares are those of all 8 epochs."""

    def work(ranks: Threads, epochs: int) -> Any:
        where: dict[str, Any] = {"resume": tmp_path} if epochs > 2 else {"folder": tmp_path}
        return trained(network(STILL), among(ranks), callbacks=[Checkpoint("epoch")], epochs=epochs, **where)

    for size, epochs in ((2, 2), (3, 5), (1, 6), (2, 8)):
        with pytest.warns(UserWarning, match="wait for nobody") if epochs > 2 else contextlib.nullcontext():
            done = same_everywhere(World(size).run(partial(work, epochs=epochs)))
    net, _ = trained(network(STILL), epochs=8)
    for served, history in done:
        np.testing.assert_allclose(squares(served), squares(net), rtol=1e-4)
        assert len(history.epochs) == 8
        assert served._train_state.optimizer_state.step == 8 * 13


class Dies(Callback):
    """Ends the training by an error in the second epoch."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, run: Any, record: Any) -> None:
        if (record.epoch, record.step) == (2, self.step):
            raise OSError("no room")


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_training_goes_on_within_an_epoch(tmp_path: Path, size: int) -> None:
    """One rank learns from 9 mini-batches of the second epoch, of which it has pushed 8; others from those behind."""

    def work(ranks: Threads, step: int, **where: Any) -> Any:
        how = {"callbacks": [Checkpoint(1), Dies(step)], "epochs": 2, **where}
        return trained(network(STILL), among(ranks, 2, 2), **how)

    (died,) = World(1).run(lambda ranks: work(ranks, 10, folder=tmp_path))
    assert isinstance(died, OSError), died
    with pytest.warns(UserWarning, match="wait for nobody"):
        done = World(size).run(lambda ranks: work(ranks, 0, resume=tmp_path))
    net, _ = trained(network(STILL), epochs=2)
    for served, history in same_everywhere(done):
        np.testing.assert_allclose(squares(served), squares(net), rtol=1e-4)
        assert history.epochs[-1].samples == 100


def test_what_all_have_pushed_is_in_a_checkpoint_within_an_epoch() -> None:
    """Rank 0 fetches nothing by itself, and begins its fourth mini-batch when rank 1 has pushed all its 6."""
    pushed, own = threading.Event(), list[Any]()

    class Asks(Callback):
        def on_step(self, run: Any, record: Any) -> None:
            if record.step == 3:
                assert pushed.wait(60)
                own.append(leaders[0].state()["optimizer.step"])

    leaders = list[Any]()

    def made(recipe: Any, threads: int, ranks: Any, kind: Any) -> Any:
        strategy = serving(recipe, threads, ranks, kind)
        if not ranks.rank:
            leaders.append(strategy)
        else:
            before = Served.finish

            def finish(served: Served, told: Told) -> Any:
                if served.ranks.rank:
                    pushed.set()
                return before(served, told)

            patch.setattr(Served, "finish", finish)
        return strategy

    with pytest.MonkeyPatch.context() as patch:
        done = World(2).run(
            lambda ranks: trained(
                network(), Among(ranks, partial(Served, push=1, fetch=1000), made), callbacks=[Asks()]
            )
        )
    same_everywhere(done)
    assert own == [3 + 6]


def test_what_is_gathered_before_an_epoch_is_learnt_from_once() -> None:
    def work(ranks: Threads) -> Any:
        net = network(accumulate=2)
        state = net._train_state
        state.optimizer_state.apply(state.plan.params, np.ones_like(state.plan.grads), 8)
        served = Served(state, ranks, 5, 5)
        served.open()
        return state.optimizer_state.progress.batches

    assert World(3).run(work) == [1, 0, 0]


@pytest.mark.parametrize("value", [0, -1, 1.5, "often", None, True, 1 << 21])
@pytest.mark.parametrize("name", ["push", "fetch"])
def test_numbers_that_are_none_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ArgumentError, match=f"^ParameterServer {name} must be (a whole number|at most)"):
        ParameterServer(**{name: value})


def test_an_optimizer_whose_memory_does_not_add_up_is_refused() -> None:
    net = network().regression(Adam(), engine="cpu")
    with pytest.raises(ArgumentError, match=r"^optimizer must be AdaGrad with ParameterServer: .*, got Adam\("):
        trained(net, ParameterServer())


@pytest.mark.parametrize("callback", [OnNonFinite("skip"), OnNonFinite("rollback"), MovingAverage()], ids=repr)
def test_what_needs_each_update_of_all_is_refused(callback: Any) -> None:
    def work(ranks: Threads) -> Any:
        return trained(network(), among(ranks), callbacks=[callback])

    first, second = World(2).run(work)
    assert isinstance(first, ArgumentError), first
    assert isinstance(second, ArgumentError | RankError), second


SCRIPT = """
import os, signal, sys, zlib
import numpy as np
from gedanken import *
from gedanken.ranks.joined import joined

where, kind = sys.argv[1:]
x, y = np.random.default_rng(0).random((1000, 6)).astype("f4"), np.arange(1000) % 3
net = Network(seed=1).input((6,)).add(FullyConnectedLayer(16)).add(ReLU()).add(FullyConnectedLayer(3)).add(SoftMax())
net.regression(AdaGrad(1e-30), engine="cpu")

class Dies(ArrayGenerator):
    def get_mini_batches(self, index):
        begun = os.path.exists(where + "/checkpoints") and not os.path.exists(where + "/died")
        if kind != "none" and index == 60 and joined().rank == 1 and begun:
            open(where + "/died", "w").close()
            os.kill(os.getpid(), getattr(signal, kind))
        return super().get_mini_batches(index)

data = Dies(x, y, mini_batch_size=8, shuffle=False, workers=0)
how = {"callbacks": [Checkpoint("epoch")], "resume": where, "progress": False}
history = net.fit(data, epochs=4, parallel=ParameterServer(push=2, fetch=3), **how)
told, rank = history.epochs[-1].parallel, joined().rank
digest = zlib.crc32(b"".join(value.tobytes() for value in net.arrays().values()))
sys.stderr.write(f"rank {rank} has {digest}\\n")
if rank == 0:
    squares = net._train_state.optimizer_state.slots["squares"]
    print(len(history.epochs), sum(told["samples"]), sum(told["pushes"]), told["max_staleness"] <= sum(told["pushes"]))
    np.save(where + "/squares", squares)
"""


def launched(folder: Path, count: int, kind: str) -> "subprocess.CompletedProcess[str]":
    script = folder / "train.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "gedanken", "launch", "-n", str(count), "--deadline", "2", str(script)]
    return subprocess.run([*command, str(folder), kind], capture_output=True, text=True, timeout=300, check=False)


@HAS_MPI
@pytest.mark.parametrize(("count", "kind"), [(2, "none"), (4, "none"), (2, "SIGKILL"), (2, "SIGSTOP")])
def test_processes_learn_from_each_mini_batch_once(tmp_path: Path, count: int, kind: str) -> None:
    """Also where one is lost within an epoch: all begin again with the weights and sums of the checkpoint."""
    done = launched(tmp_path, count, kind)
    assert done.returncode == 0, done.stderr
    digests = {line.split()[-1] for line in done.stderr.splitlines() if line.startswith("rank ") and " has " in line}
    assert len(digests) == 1, "the ranks have the same bits"
    pushes = sum(-(-len(range(rank, 125, count)) // 2) for rank in range(count))
    assert done.stdout.splitlines()[-1] == f"4 1000 {pushes} True"
    assert (tmp_path / "died").exists() == (kind != "none") == ("are started again" in done.stderr)
    x, y = np.random.default_rng(0).random((1000, 6)).astype("f4"), np.arange(1000) % 3
    net = Network(seed=1).input((6,)).add(FullyConnectedLayer(16)).add(ReLU()).add(FullyConnectedLayer(3))
    net.add(SoftMax()).regression(AdaGrad(STILL), engine="cpu")
    net.fit(x, y, mini_batch_size=8, shuffle=False, epochs=4, progress=False)
    np.testing.assert_allclose(np.load(tmp_path / "squares.npy"), squares(net), rtol=1e-3)
