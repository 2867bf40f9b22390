"""Ranks that share each mini-batch learn what one process learns, keep the same bits, and never wait for good."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gedanken import (
    LSTM,
    Adam,
    ArrayGenerator,
    BatchNorm,
    BinaryCrossEntropy,
    Callback,
    ConvolutionLayer,
    CrossEntropy,
    Dropout,
    EarlyStopping,
    Embedding,
    Flatten,
    FullyConnectedLayer,
    Heads,
    InstanceNorm,
    Momentum,
    Network,
    NonFiniteError,
    OnNonFinite,
    ReLU,
    Sequences,
    SetRate,
    Sigmoid,
    SoftMax,
    Stop,
    TanH,
)
from gedanken.errors import ArgumentError
from gedanken.parallel import gradient_sums
from gedanken.parallel.over_ranks import Follower, Leader, of_ranks
from gedanken.parallel.recipe import Recipe
from gedanken.parallel.shared_batches import SharedBatches
from gedanken.ranks.communicator import RankError
from gedanken.ranks.in_process import Fault, Threads, World
from tests.ranks.among import Among

RNG = np.random.default_rng(1)
X, Y = RNG.standard_normal((70, 6)).astype("f4"), RNG.integers(0, 3, 70)
QUIET: dict[str, Any] = {"progress": False}


def mlp(rule: Any = "sgd", *layers: Any, **more: Any) -> Network:
    net = Network(seed=3).input((6,)).add(FullyConnectedLayer(8)).add(ReLU())
    for layer in layers:
        net.add(layer)
    return net.add(FullyConnectedLayer(3)).add(SoftMax()).regression(rule, engine="cpu", **more)


def tokens() -> Network:
    net = Network(seed=3).input((5,)).add(Embedding(20, 4)).add(Flatten())
    return net.add(FullyConnectedLayer(3)).add(SoftMax()).regression("sgd", engine="cpu")


def sequences() -> Network:
    net = Network(seed=3).input((7, 2)).add(LSTM(4)).add(FullyConnectedLayer(3))
    return net.add(SoftMax()).regression("adam", engine="cpu", cost=CrossEntropy(ignore_label=2))


def pictures(*layers: Any) -> Network:
    net = Network(seed=3).input((1, 6, 6)).add(ConvolutionLayer(3, 3, 3, bias=not layers))
    for layer in (*layers, ReLU(), Dropout(0.3), Flatten()):
        net.add(layer)
    return net.add(FullyConnectedLayer(3)).add(SoftMax()).regression("adam", engine="cpu")


def normalised_sequences() -> Network:
    net = Network(seed=3).input((7, 2)).add(FullyConnectedLayer(4, bias=False)).add(BatchNorm()).add(TanH())
    return net.add(FullyConnectedLayer(3)).add(SoftMax()).regression("adam", engine="cpu")


def heads() -> Network:
    text = [LSTM(3, last=True), FullyConnectedLayer(1), Sigmoid()]
    net = Network(seed=3).input((7, 2)).add(LSTM(4))
    net.add(Heads(word=[FullyConnectedLayer(3), SoftMax()], text=text))
    costs = {"word": CrossEntropy(ignore_label=2), "text": BinaryCrossEntropy()}
    return net.regression("adam", engine="cpu", cost=costs)


def by_specification() -> Network:
    net = Network(seed=3).input((6,)).add(FullyConnectedLayer(8)).add(BatchNorm(momentum=None)).add(ReLU())
    return net.add(FullyConnectedLayer(3)).add(SoftMax()).regression("adam", engine="numpy", dtype="float64")


def labels_apart() -> Network:
    net = Network(seed=3).input((6,)).add(FullyConnectedLayer(2)).add(Sigmoid())
    return net.regression("sgd", engine="cpu", cost=BinaryCrossEntropy(reduction="sum"))


SEQUENCES = Sequences(RNG.standard_normal((70, 7, 2)).astype("f4"), RNG.integers(1, 8, 70))
LABELS, PICTURES = RNG.integers(0, 3, (70, 7)), RNG.random((70, 1, 6, 6)).astype("f4")
CASES: dict[str, tuple[Callable[[], Network], tuple[Any, ...], dict[str, Any]]] = {
    "mlp": (mlp, (X, Y), {}),
    "adam with a metric": (lambda: mlp("adam", metrics=["accuracy", "f1"]), (X, Y), {}),
    "weights": (mlp, (X, Y, RNG.random(70)), {}),
    "dropout": (lambda: mlp(Momentum(), Dropout(0.5)), (X, Y), {}),
    "gathered": (lambda: mlp(Adam(accumulate=3)), (X, Y), {}),
    "clipped": (lambda: mlp(Adam(clip_norm=0.01)), (X, Y), {}),
    "rows": (tokens, (RNG.integers(0, 20, (70, 5)), Y), {}),
    "lengths": (sequences, (SEQUENCES, LABELS), {}),
    "pictures": (pictures, (PICTURES, Y), {}),
    "normalised": (lambda: mlp("adam", BatchNorm()), (X, Y), {}),
    "normalised pictures": (lambda: pictures(BatchNorm(momentum=None)), (PICTURES, Y), {}),
    "normalised sequences": (normalised_sequences, (SEQUENCES, LABELS), {}),
    "heads that count differently": (heads, (SEQUENCES, {"word": LABELS, "text": RNG.integers(0, 2, 70)}), {}),
    "by specification": (by_specification, (X, Y), {}),
    "sums": (labels_apart, (X, RNG.integers(0, 2, (70, 2))), {}),
    "validated": (mlp, (X, Y), {"validation_set": 0.2}),
}


def trained(make: Callable[[], Network], data: tuple[Any, ...], **how: Any) -> tuple[dict[str, Any], Network, Any]:
    net = make()
    history = net.fit(*data, **{"mini_batch_size": 16, "epochs": 2, **QUIET, **how})
    return dict(net.arrays()), net, history


@pytest.mark.parametrize("apart", [False, True], ids=["beside each other", "apart"])
@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("name", CASES)
def test_the_result_is_that_of_one_process(
    name: str, size: int, apart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(gradient_sums, "BUCKET", 64)
    make, data, how = CASES[name]
    wanted, _, alone = trained(make, data, **how)
    done = World(size, apart=apart).run(lambda ranks: trained(make, data, parallel=Among(ranks), **how))
    for arrays, net, history in done:
        assert net.epoch == 2
        for key, value in wanted.items():
            np.testing.assert_allclose(arrays[key], value, rtol=1e-4, atol=1e-6, err_msg=key)
            assert np.array_equal(arrays[key], done[0][0][key]), "replicas are the same to the last bit"
        for figure in set(alone.keys()) & {"cost", "accuracy", "f1", "validation_cost"}:
            if None not in alone[figure]:
                np.testing.assert_allclose(history[figure], alone[figure], rtol=1e-5)


@settings(max_examples=15, deadline=None)
@given(samples=st.integers(1, 40), batch=st.integers(1, 50), size=st.integers(1, 6))
def test_parts_of_any_size_count_right(samples: int, batch: int, size: int) -> None:
    how = {"mini_batch_size": batch, "epochs": 1}
    wanted, _, _ = trained(mlp, (X[:samples], Y[:samples]), **how)
    done = World(size).run(lambda ranks: trained(mlp, (X[:samples], Y[:samples]), parallel=Among(ranks), **how))
    for arrays, _, _ in done:
        for key, value in wanted.items():
            np.testing.assert_allclose(arrays[key], value, rtol=1e-4, atol=1e-6)


def test_records_tell_what_each_rank_did() -> None:
    def work(ranks: Threads) -> Any:
        _, _, history = trained(mlp, (X, Y), parallel=Among(ranks))
        return history.epochs[-1].parallel

    told, *others = World(3).run(work)
    assert others == [told] * 2
    assert told["workers"] == "3 ranks, which share each mini-batch"
    assert (sum(told["samples"]), len(told["hosts"])) == (70, 3)
    assert all(0 <= share <= 1 for share in told["communication"])
    assert all(speed > 0 for speed in told["samples_per_second"])
    assert "samples/s" in told["course"]


def test_a_generator_is_shared_too() -> None:
    def work(ranks: Threads) -> Any:
        return trained(mlp, (ArrayGenerator(X, Y, mini_batch_size=16),), parallel=Among(ranks), mini_batch_size=None)

    wanted, _, _ = trained(mlp, (ArrayGenerator(X, Y, mini_batch_size=16),), mini_batch_size=None)
    for arrays, _, _ in World(3).run(work):
        for key, value in wanted.items():
            np.testing.assert_allclose(arrays[key], value, rtol=1e-4, atol=1e-6)


class Slower(Callback):
    """Halves the rate after each third step, and ends the training in the middle of the second epoch."""

    def on_step(self, run: Any, record: Any) -> Any:
        if record.epoch == 2 and record.step == 3:
            return Stop("enough")
        return SetRate(0.5) if record.step % 3 == 0 else None


def test_what_callbacks_of_rank_0_answer_holds_for_all() -> None:
    wanted, _, _ = trained(mlp, (X, Y), callbacks=[Slower()], epochs=4)

    def work(ranks: Threads) -> Any:
        return trained(mlp, (X, Y), callbacks=[Slower()], parallel=Among(ranks), epochs=4)

    for arrays, net, history in World(3).run(work):
        assert (history.reason, net.epoch, len(history.epochs)) == ("enough", 2, 2)
        assert history.answers
        for key, value in wanted.items():
            np.testing.assert_allclose(arrays[key], value, rtol=1e-4, atol=1e-6)


def test_the_best_weights_are_kept_on_all_ranks() -> None:
    def work(ranks: Threads) -> Any:
        stopping = EarlyStopping(monitor="validation_cost", patience=1)
        how = {"callbacks": [stopping], "epochs": 30, "validation_set": 0.3, "mini_batch_size": 8}
        return trained(lambda: mlp(Adam(0.1)), (X, Y), parallel=Among(ranks), **how)

    done = World(2).run(work)
    assert done[0][2].kept is not None
    assert done[0][2].kept == done[1][2].kept
    for key, value in done[0][0].items():
        assert np.array_equal(value, done[1][0][key])


@pytest.mark.parametrize("place", [0, 20, 69])
def test_a_number_that_is_not_finite_is_told_on_all_ranks(place: int) -> None:
    def work(ranks: Threads) -> Any:
        x = X.copy()
        x[place] = 3e38
        with pytest.raises(NonFiniteError) as raised:
            trained(mlp, (x, Y), parallel=Among(ranks), shuffle=False)
        return str(raised.value)

    done = World(3).run(work)
    assert len(set(map(str, done))) == 1
    assert str(place) in str(done[0])


def test_a_step_that_is_left_out_is_left_out_by_all() -> None:
    x = X.copy()
    x[20] = 3e38
    how = {"callbacks": [OnNonFinite("skip")], "shuffle": False}
    wanted, _, _ = trained(mlp, (x, Y), **how)

    def work(ranks: Threads) -> Any:
        return trained(mlp, (x, Y), parallel=Among(ranks), callbacks=[OnNonFinite("skip")], shuffle=False)

    for arrays, _, history in World(3).run(work):
        assert len(history.faults) == 2
        for key, value in wanted.items():
            np.testing.assert_allclose(arrays[key], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("call", [0, 1, 2, 3, 5, 8, 13, 21, 34])
@pytest.mark.parametrize("kind", ["kill", "freeze"])
@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_is_lost_ends_the_training_of_all_others(rank: int, kind: str, call: int) -> None:
    world = World(3, faults=[Fault(rank, call, kind)])
    done = world.run(lambda ranks: trained(mlp, (X, Y), parallel=Among(ranks)))
    for other, found in enumerate(done):
        assert found is None if other == rank else isinstance(found, RankError), done


class Breaks(Callback):
    def on_step(self, run: Any, record: Any) -> Any:
        if record.step == 3:
            raise OSError("no room")


def test_an_error_on_one_rank_is_told_on_all() -> None:
    def work(ranks: Threads) -> Any:
        return trained(mlp, (X, Y), parallel=Among(ranks), callbacks=[Breaks()])

    done = World(3).run(work)
    assert isinstance(done[0], OSError)
    assert [str(one) for one in done[1:]] == ["the training ended on rank 0: OSError: no room"] * 2


def test_data_that_differ_are_found_before_the_first_step() -> None:
    def work(ranks: Threads) -> Any:
        count = 60 if ranks.rank == 1 else 70
        return trained(mlp, (X[:count], Y[:count]), parallel=Among(ranks))

    done = World(2).run(work)
    assert [str(one) for one in done] == ["rank 1: samples must be as on rank 0, '70', got '60'"] * 2


def test_networks_that_differ_are_found_before_the_first_step() -> None:
    def work(ranks: Threads) -> Any:
        return trained(lambda: mlp("adam" if ranks.rank else "sgd"), (X, Y), parallel=Among(ranks))

    done = World(2).run(work)
    assert all(isinstance(one, ArgumentError) and "Adam" in str(one) for one in done), done


def test_samples_and_layers_that_differ_are_found_before_the_first_step() -> None:
    def of_other_samples(ranks: Threads) -> Any:
        return trained(mlp, (X + ranks.rank, Y), parallel=Among(ranks))

    def of_other_layers(ranks: Threads) -> Any:
        return trained(lambda: mlp("sgd", *[TanH()] * ranks.rank), (X, Y), parallel=Among(ranks))

    for work, told in ((of_other_samples, "a digest of some samples"), (of_other_layers, "layers")):
        done = World(2).run(work)
        assert all(str(one).startswith(f"rank 1: {told} must be as on rank 0") for one in done), done


def test_weights_that_drift_apart_are_found() -> None:
    def work(ranks: Threads) -> Any:
        class Drifts(Among):
            def strategy(self, recipe: Recipe) -> Leader | Follower:
                made = of_ranks(recipe, 1, ranks, SharedBatches)
                if ranks.rank == 1:
                    before, count = ranks.add, iter(range(1000))

                    def add(vector: Any) -> None:
                        before(vector)
                        vector[-1] += vector.size > 50 and next(count) == 50

                    ranks.add = add  # type: ignore[method-assign]
                return made

        return trained(mlp, (X, Y), parallel=Drifts(ranks), epochs=40)

    done = World(2).run(work)
    assert all(isinstance(one, RankError) and "2.bias" in str(one) for one in done), done


def test_layers_that_learn_from_a_whole_mini_batch_are_refused() -> None:
    def work(ranks: Threads) -> Any:
        with pytest.raises(ArgumentError, match="InstanceNorm"):
            trained(lambda: pictures(InstanceNorm(running=True)), (PICTURES, Y), parallel=Among(ranks))
        return "refused"

    assert World(2).run(work) == ["refused"] * 2


def test_a_step_that_is_left_out_leaves_running_means_as_they_were() -> None:
    x = X.copy()
    x[20] = 3e38

    def make() -> Network:
        return mlp("sgd", BatchNorm())

    how = {"callbacks": [OnNonFinite("skip")], "shuffle": False, "epochs": 1}
    wanted, _, _ = trained(make, (x, Y), **how)
    for arrays, _, _ in World(3).run(lambda ranks: trained(make, (x, Y), parallel=Among(ranks), **how)):
        for key, value in wanted.items():
            np.testing.assert_allclose(arrays[key], value, rtol=1e-4, atol=1e-6)
