"""Training, evaluating and using a network: what is computed, in what order, and what ends it."""

import copy
import os
import signal
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import (
    F1,
    R2,
    SGD,
    Accuracy,
    Adam,
    ArgumentError,
    BatchNorm,
    Callback,
    ConfusionMatrix,
    ConvolutionLayer,
    CrossEntropy,
    CustomCost,
    Dropout,
    EarlyStopping,
    EpochRecord,
    Flatten,
    FullyConnectedLayer,
    GedankenWarning,
    Heads,
    KeepWeights,
    Layer,
    LayerNorm,
    MaxPoolLayer,
    MeanAbsoluteError,
    Metric,
    Momentum,
    Network,
    OnPlateau,
    Precision,
    ReLU,
    Residual,
    Run,
    Sigmoid,
    SoftMax,
    Stop,
    TanH,
)
from gedanken.training.records import SNAPSHOTS_KEPT
from tests.explosions import history_of

RNG = np.random.default_rng(3)
X = RNG.standard_normal((50, 6)).astype(np.float32)
Y = (X[:, :3] + 0.1 * RNG.standard_normal((50, 3))).argmax(axis=1)
PICTURES = RNG.random((20, 1, 7, 7)).astype(np.float32)
DIGITS = np.arange(20) % 3
QUIET: dict[str, Any] = {"progress": False}


def dense(seed: int = 1, optimizer: Any = None, **options: Any) -> Network:
    net = Network(seed).input((6,)).add(FullyConnectedLayer(12)).add(BatchNorm()).add(ReLU()).add(Dropout(0.8))
    return net.add(FullyConnectedLayer(3)).add(SoftMax()).regression(optimizer or Adam(0.01), **options)


def plain(optimizer: Any = None, **options: Any) -> Network:
    """Return a network without anything that depends on the size or the order of a mini-batch."""
    net = Network(1).input((6,)).add(FullyConnectedLayer(12)).add(TanH()).add(FullyConnectedLayer(3)).add(SoftMax())
    return net.regression(optimizer or SGD(0.1), **options)


def conv(seed: int = 1) -> Network:
    net = Network(seed).input((1, 7, 7)).add(ConvolutionLayer(3, 3, 3)).add(BatchNorm()).add(ReLU())
    net.add(MaxPoolLayer(2, 2, 1)).add(Dropout(0.75)).add(Flatten()).add(FullyConnectedLayer(3)).add(SoftMax())
    return net.regression(Adam(0.01))


def line() -> Network:
    return Network(2).input((6,)).add(FullyConnectedLayer(1)).regression(SGD(0.01), cost="mean_squared")


def contents(net: Network, folder: Path) -> bytes:
    """Return all weights, running values and the epoch, as one comparable thing."""
    net.save(folder / "contents")
    return (folder / "contents").read_bytes()


class Listener(Callback):
    """Keeps all that it hears, and returns `stop` after so many steps."""

    def __init__(self, stop_after: int = 10**9) -> None:
        self.stop_after = stop_after
        self.run: Any = None
        self.steps: list[Any] = []
        self.epochs: list[Any] = []
        self.reasons: list[str] = []

    def on_start(self, run: Any) -> None:
        self.run = run

    def on_step(self, run: Any, record: Any) -> Stop | None:
        self.steps.append(record)
        return Stop("heard enough") if len(self.steps) >= self.stop_after else None

    def on_epoch(self, run: Any, record: Any) -> None:
        self.epochs.append(record)

    def on_stop(self, run: Any, reason: str) -> None:
        self.reasons.append(reason)


# ------------------------------------------------------------------ the same bits

NETWORKS = {"dense": (dense, X, Y), "convolution": (conv, PICTURES, DIGITS)}


@pytest.mark.parametrize(("build", "data", "labels"), NETWORKS.values(), ids=NETWORKS)
def test_one_seed_gives_one_result(build: Any, data: Any, labels: Any, tmp_path: Path) -> None:
    first, second, other = build(1), build(1), build(2)
    for net in (first, second, other):
        net.fit(data, labels, epochs=2, mini_batch_size=8, **QUIET)
    assert contents(first, tmp_path) == contents(second, tmp_path)
    assert not np.array_equal(first.feedforward(data), other.feedforward(data))


SPECTATORS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "validation pair": lambda _: {"validation_set": (X[:7], Y[:7])},
    "validation list": lambda _: {"validation_set": [X[:7].tolist(), Y[:7].tolist()]},
    "frequent snapshots": lambda _: {"snapshot_step": 1e-9},
    "rare snapshots": lambda _: {"snapshot_step": 1e9},
    "progress": lambda _: {"progress": True},
    "callbacks": lambda _: {"callbacks": [Listener(), EarlyStopping("cost", patience=99)]},
    "plot": lambda folder: {"plot": True, "folder": folder / "run"},
    "everything": lambda folder: {
        "plot": True, "folder": folder / "run", "progress": True, "snapshot_step": 1e-9, "callbacks": [Listener()],
        "validation_set": (X, Y),
    },
}  # fmt: skip


@pytest.mark.parametrize("spectators", SPECTATORS.values(), ids=SPECTATORS)
def test_who_watches_changes_nothing(spectators: Callable[[Path], dict[str, Any]], tmp_path: Path) -> None:
    if "plot" in spectators(tmp_path):
        pytest.importorskip("matplotlib")
    alone, watched = dense(), dense()
    alone.fit(X, Y, epochs=2, mini_batch_size=8, **QUIET)
    watched.fit(X, Y, epochs=2, mini_batch_size=8, **{**QUIET, **spectators(tmp_path)})
    assert contents(watched, tmp_path) == contents(alone, tmp_path)


def test_evaluate_and_predict_between_two_fits_change_nothing(tmp_path: Path) -> None:
    alone, used = dense(), dense()
    for net in (alone, used):
        net.fit(X, Y, mini_batch_size=8, **QUIET)
        if net is used:
            net.evaluate(X, Y, **QUIET)
            net.predict(X)
            net.summary()
        net.fit(X, Y, mini_batch_size=8, **QUIET)
    assert contents(used, tmp_path) == contents(alone, tmp_path)


def test_a_share_held_out_is_a_pair_of_its_own_and_never_trained_on() -> None:
    net, seen = line(), Listener()
    history = net.fit(X, X[:, 0], validation_set=0.2, epochs=2, callbacks=[seen], mini_batch_size=7, **QUIET)
    assert seen.run.validates
    assert [record.samples for record in history.epochs] == [40, 40]
    # A sample that is held out is known by its effect: a wild target of it raises the validation cost alone.
    usual = line().fit(X, X[:, 0], validation_set=0.2, **QUIET)
    trained_costs = []
    for row in range(len(X)):
        wild = X[:, 0].copy()
        wild[row] += 100
        history = line().fit(X, wild, validation_set=0.2, **QUIET)
        if history["validation_cost"][0] > usual["validation_cost"][0] + 500:
            trained_costs.append(history["cost"])
    assert trained_costs == [usual["cost"]] * 10


PASTS: dict[str, Callable[[Any], Any]] = {
    "lists": lambda x: x.tolist(),
    "float64": lambda x: x.astype(np.float64),
    "big-endian": lambda x: x.astype(">f4"),
    "Fortran order": np.asfortranarray,
    "every second row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "backwards and back": lambda x: x[::-1].copy()[::-1],
    "read-only": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
}


@pytest.mark.parametrize("past", PASTS.values(), ids=PASTS)
@pytest.mark.parametrize(("build", "data", "labels"), NETWORKS.values(), ids=NETWORKS)
def test_how_the_data_lie_in_memory_changes_nothing(
    past: Callable[[Any], Any], build: Any, data: Any, labels: Any, tmp_path: Path
) -> None:
    given, usual = build(), build()
    usual.fit(data, labels, mini_batch_size=8, **QUIET)
    given.fit(past(data), past(labels), mini_batch_size=8, **QUIET)
    assert contents(given, tmp_path) == contents(usual, tmp_path)
    assert np.array_equal(given.feedforward(past(data)), usual.feedforward(data))
    assert given.evaluate(past(data), past(labels), **QUIET) == usual.evaluate(data, labels, **QUIET)


@pytest.mark.parametrize("kind", [np.int8, np.int64, np.uint16, np.bool_, np.float16])
def test_numbers_of_any_type_are_the_same_numbers(kind: Any, tmp_path: Path) -> None:
    bits = (X > 0).astype(np.float32)
    given, usual = dense(), dense()
    usual.fit(bits, Y, **QUIET)
    given.fit(bits.astype(kind), Y.astype(np.int8), **QUIET)
    assert contents(given, tmp_path) == contents(usual, tmp_path)


def test_one_hot_rows_are_class_numbers() -> None:
    numbers, rows = dense(), dense()
    first = numbers.fit(X, Y, **QUIET)
    second = rows.fit(X, np.eye(3)[Y], **QUIET)
    assert first["cost"] == second["cost"]
    assert first["accuracy"] == second["accuracy"]
    assert np.array_equal(numbers.feedforward(X), rows.feedforward(X))


def test_the_data_given_are_never_written_to() -> None:
    data, labels = X.copy(), Y.copy()
    dense().fit(data, labels, epochs=2, mini_batch_size=7, validation_set=0.3, **QUIET)
    assert np.array_equal(data, X)
    assert np.array_equal(labels, Y)


def test_networks_in_two_threads_do_not_meet(tmp_path: Path) -> None:
    nets = [dense(seed) for seed in (1, 2)] + [dense(seed) for seed in (1, 2)]
    for net in nets[:2]:
        net.fit(X, Y, epochs=5, mini_batch_size=4, **QUIET)
    threads = [
        threading.Thread(target=net.fit, args=(X, Y), kwargs={"epochs": 5, "mini_batch_size": 4, **QUIET})
        for net in nets[2:]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for alone, beside in zip(nets[:2], nets[2:], strict=True):
        assert contents(beside, tmp_path) == contents(alone, tmp_path)


# ------------------------------------------------------------------ epochs and mini-batches


def order_of(net: Network, **options: Any) -> list[list[int]]:
    """Return the samples of each epoch in the order they were trained on, one a step, told by their costs."""
    targets = 1000.0 * np.arange(12)
    seen = Listener()
    net.fit(np.zeros((12, 6)), targets, mini_batch_size=1, callbacks=[seen], **QUIET, **options)
    rows = [round(record.cost / 1000) for record in seen.steps]
    return [rows[start : start + 12] for start in range(0, len(rows), 12)]


def still() -> Network:
    """Return a network that gives 0 for zeros and does not learn to speak of."""
    net = Network(5).input((6,)).add(FullyConnectedLayer(1, bias=False))
    return net.regression(SGD(1e-12), cost="mean_absolute")


def test_each_epoch_has_every_sample_once_in_an_order_of_its_own() -> None:
    epochs = order_of(still(), epochs=3)
    assert [sorted(rows) for rows in epochs] == [list(range(12))] * 3
    assert len({tuple(rows) for rows in [*epochs, range(12)]}) == 4


def test_without_shuffle_the_order_is_that_of_the_data() -> None:
    assert order_of(still(), epochs=2, shuffle=False) == [list(range(12))] * 2


def test_a_further_fit_goes_on_with_the_orders() -> None:
    net = still()
    assert order_of(net, epochs=1) + order_of(net, epochs=2) == order_of(still(), epochs=3)


def test_the_last_mini_batch_may_be_smaller_and_counts_by_its_size() -> None:
    targets = np.arange(10.0) ** 2
    seen = Listener()
    history = still().fit(
        np.zeros((10, 6)), targets, mini_batch_size=4, shuffle=False, callbacks=[seen],
        validation_set=(np.zeros((7, 6)), targets[:7]), **QUIET,
    )  # fmt: skip
    assert [record.samples for record in seen.steps] == [4, 4, 2]
    assert [record.cost for record in seen.steps] == pytest.approx([14 / 4, 126 / 4, 145 / 2])
    assert history["cost"] == pytest.approx([targets.mean()])
    assert history["validation_cost"] == pytest.approx([targets[:7].mean()])
    assert history["mean_absolute_error"] == pytest.approx([targets.mean()])
    assert (seen.run.steps, seen.run.samples) == (3, 10)


@pytest.mark.parametrize("size", [1, 3, 49, 50, 51, 10_000])
def test_any_size_of_mini_batch_sees_all_samples(size: int) -> None:
    seen = Listener()
    history = plain().fit(X, Y, mini_batch_size=size, callbacks=[seen], epochs=2, **QUIET)
    assert [record.samples for record in history.epochs] == [50, 50]
    assert len(seen.steps) == 2 * -(-50 // size)


def test_a_further_fit_is_the_same_as_one_longer_fit(tmp_path: Path) -> None:
    optimizer = Adam(OnPlateau(0.05, patience=0, threshold=0.5))
    whole, parts = dense(optimizer=optimizer), dense(optimizer=optimizer)
    history = whole.fit(X, Y, epochs=5, mini_batch_size=8, **QUIET)
    first = parts.fit(X, Y, epochs=2, mini_batch_size=8, **QUIET)
    second = parts.fit(X, Y, epochs=3, mini_batch_size=8, **QUIET)
    assert first["epoch"] + second["epoch"] == history["epoch"] == [1, 2, 3, 4, 5]
    assert first["cost"] + second["cost"] == history["cost"]
    assert first["rate"] + second["rate"] == history["rate"]
    assert contents(parts, tmp_path) == contents(whole, tmp_path)
    assert whole.epoch == parts.epoch == 5


def test_regression_again_keeps_the_weights_and_starts_the_optimizer_afresh() -> None:
    net = plain(Momentum(0.1))
    net.fit(X, Y, epochs=3, **QUIET)
    before = net.feedforward(X)
    net.regression(Momentum(0.1), metrics=[MeanAbsoluteError()], cost="mean_squared")
    assert np.array_equal(net.feedforward(X), before)
    assert net.epoch == 3
    history = net.fit(X, np.eye(3)[Y], **QUIET)
    assert (history["epoch"], list(history.epochs[0].metrics)) == ([4], ["mean_absolute_error"])
    exact = net.regression(dtype="float64").feedforward(X)
    assert exact.dtype == np.float64
    np.testing.assert_allclose(exact, net.regression(dtype="float32").feedforward(X), atol=1e-6)


def test_gathered_mini_batches_make_the_step_of_one_large_one() -> None:
    options = {"dtype": "float64"}
    large, small = plain(SGD(0.1), **options), plain(SGD(0.1, accumulate=4), **options)
    large.fit(X, Y, mini_batch_size=24, epochs=3, **QUIET)
    small.fit(X, Y, mini_batch_size=6, epochs=3, **QUIET)
    start = plain(**options).feedforward(X)
    assert abs(large.feedforward(X) - start).max() > 0.01
    np.testing.assert_allclose(small.feedforward(X), large.feedforward(X), rtol=0, atol=1e-12)


def test_on_plateau_lowers_the_rate_by_the_validation_cost() -> None:
    away = (X, (Y + 1) % 3)  # the better the training, the worse this gets
    net = plain(SGD(OnPlateau(0.5, factor=0.1, patience=1)))
    history = net.fit(X, Y, validation_set=away, epochs=6, **QUIET)
    assert history["cost"] == sorted(history["cost"], reverse=True)
    assert history["rate"] == pytest.approx([0.5, 0.5, 0.05, 0.05, 0.005, 0.005])


# ------------------------------------------------------------------ figures


def test_history_holds_what_a_hand_computes() -> None:
    net = plain(metrics=[Accuracy(), ConfusionMatrix()])
    history = net.fit(X, Y, epochs=2, validation_set=(X[:20], Y[:20]), mini_batch_size=64, **QUIET)
    y = net.feedforward(X[:20])
    right = y.argmax(axis=1) == Y[:20]
    assert history["validation_accuracy"][-1] == right.mean()
    assert history["validation_confusion_matrix"][-1].trace() == right.sum()
    cost = -np.log(y[np.arange(20), Y[:20]]).mean()
    assert history["validation_cost"][-1] == pytest.approx(cost, rel=1e-5)
    assert history["finished"] == [True, True]
    assert history.reason == "all epochs done"
    assert len(history["seconds"]) == 2


@pytest.mark.parametrize("size", [2, 7, 300])
def test_validation_is_what_evaluate_says(size: int) -> None:
    x, net = np.random.default_rng(0).random((600, 6), np.float32), dense()
    y = x[:, :3].argmax(axis=1)
    history = net.fit(x, y, validation_set=(x, y), mini_batch_size=size, **QUIET)
    assert history["validation_cost"][-1] == net.evaluate(x, y, mini_batch_size=max(size, 256), progress=False)["cost"]


def test_the_training_cost_is_that_of_the_steps_before_they_are_taken() -> None:
    net = plain()
    first = net.evaluate(X, Y, **QUIET)
    history = net.fit(X, Y, mini_batch_size=50, shuffle=False, **QUIET)
    assert history["cost"][0] == pytest.approx(first["cost"], rel=1e-6)
    assert history["accuracy"][0] == first["accuracy"]


@pytest.mark.parametrize("size", [1, 7, 50, 999])
@pytest.mark.parametrize("cost", [CrossEntropy(), CrossEntropy(0.1), CrossEntropy(class_weights=(1, 4, 9))], ids=repr)
def test_the_size_of_the_mini_batch_does_not_change_an_evaluation(size: int, cost: CrossEntropy) -> None:
    net = plain(cost=cost)
    net.fit(X, Y, **QUIET)
    found, usual = net.evaluate(X, Y, mini_batch_size=size, **QUIET), net.evaluate(X, Y, **QUIET)
    assert found["cost"] == pytest.approx(usual["cost"], rel=1e-5)
    assert found["accuracy"] == usual["accuracy"]
    np.testing.assert_allclose(net.feedforward(X, mini_batch_size=size), net.feedforward(X), rtol=1e-5, atol=1e-6)


def test_evaluate_shows_its_result_unless_it_is_told_not_to(capsys: pytest.CaptureFixture[str]) -> None:
    net = plain()
    found = net.evaluate(X, Y)
    out, shown = capsys.readouterr()
    assert (out, shown) == ("", f"evaluation of 50 samples: {found}\n")
    assert f"cost {found['cost']:.3f}"[:-1] in shown
    net.evaluate(X, Y, progress=False)
    assert capsys.readouterr() == ("", "")


def test_the_default_metric_suits_the_cost() -> None:
    assert list(plain().evaluate(X, Y, **QUIET)) == ["cost", "accuracy"]
    assert list(line().evaluate(X, X[:, 0], **QUIET)) == ["cost", "mean_absolute_error"]
    rated = line().regression(cost="huber", metrics=[R2()])
    assert list(rated.evaluate(X, X[:, 0], **QUIET)) == ["cost", "r2"]


def test_predict_gives_classes_of_many_and_of_two() -> None:
    net = plain()
    assert np.array_equal(net.predict(X), net.feedforward(X).argmax(axis=1))
    assert net.predict(X).dtype == np.int64
    two = Network().input((6,)).add(FullyConnectedLayer(1)).add(Sigmoid()).regression(cost="binary_cross_entropy")
    outputs = two.feedforward(X)
    assert outputs.shape == (50, 1)
    assert two.predict(X).tolist() == [int(y > 0.5) for y in outputs[:, 0]]
    assert 0 < two.predict(X).sum() < 50


def test_outputs_that_are_pictures_are_channels_first() -> None:
    net = Network().input((2, 5, 7)).add(ConvolutionLayer(3, 2, 4)).regression(cost="mean_squared")
    assert net.feedforward(RNG.random((4, 2, 5, 7))).shape == (4, 3, 2, 6)


@pytest.mark.parametrize("cost", ["mean_squared", "mean_absolute", "huber", "binary_cross_entropy"])
@pytest.mark.parametrize("shape", [(2, 3, 4), (3, 3, 3)])
def test_targets_that_are_pictures_are_channels_first_too(shape: Any, cost: str) -> None:
    net = Network(1).input(shape).add(ConvolutionLayer(shape[0], 1, 1)).add(Sigmoid())
    net.regression(Adam(0.05), cost, metrics=[MeanAbsoluteError()])
    data = RNG.random((8, *shape))
    assert net.evaluate(data, net.feedforward(data), **QUIET)["mean_absolute_error"] == 0
    target = (data[:, ::-1] > 0.5).astype(np.float32)  # the channels the other way round
    history = net.fit(data, target, epochs=400, **QUIET)
    assert history["cost"][-1] < history["cost"][0] / 2
    y = net.feedforward(data)
    each = {"mean_squared": (y - target) ** 2, "mean_absolute": abs(y - target)}
    if cost in each:
        assert net.evaluate(data, target, **QUIET)["cost"] == pytest.approx(each[cost].mean(), rel=1e-5)


def test_pictures_of_yes_or_no_have_a_metric_that_suits_them() -> None:
    net = Network(1).input((1, 4, 5)).add(ConvolutionLayer(2, 1, 1)).add(Sigmoid())
    net.regression(cost="binary_cross_entropy")
    data = RNG.random((8, 1, 4, 5))
    assert len(net.fit(data, np.repeat(data > 0.5, 2, axis=1), **QUIET).epochs) == 1


def test_it_learns() -> None:
    net = plain(Adam(0.02))
    history = net.fit(X, Y, epochs=60, mini_batch_size=16, **QUIET)
    assert history["accuracy"][-1] > 0.95 > history["accuracy"][0]
    assert net.evaluate(X, Y, **QUIET)["accuracy"] > 0.95


def test_snapshots_come_every_so_many_seconds_and_their_number_is_bounded() -> None:
    samples, steps = np.zeros((5000, 6)), Listener()
    history = still().fit(samples, np.zeros(5000), mini_batch_size=1, snapshot_step=1e-9, callbacks=[steps], **QUIET)
    assert sum(record.snapshot is not None for record in steps.steps) == 5000
    assert SNAPSHOTS_KEPT // 2 <= len(history.snapshots) <= SNAPSHOTS_KEPT
    progress = [snapshot.progress for snapshot in history.snapshots]
    assert progress == sorted(progress)
    assert progress[0] < 0.01
    assert progress[-1] == 1
    assert still().fit(samples[:10], np.zeros(10), snapshot_step=1e9, **QUIET).snapshots == []


# ------------------------------------------------------------------ what ends a training


def test_a_callback_can_end_it() -> None:
    net, seen, other = dense(), Listener(stop_after=9), Listener()
    history = net.fit(X, Y, epochs=5, mini_batch_size=8, callbacks=[other, seen], **QUIET)
    assert history.reason == "heard enough"
    assert len(seen.steps) == len(other.steps) == 9
    assert history["finished"] == [True, False]
    assert history["samples"] == [50, 16]
    assert seen.reasons == other.reasons == ["heard enough"]
    assert net.epoch == 2
    assert net.fit(X, Y, **QUIET)["epoch"] == [3]


def test_figures_of_an_epoch_that_was_broken_off_are_none() -> None:
    history = dense().fit(
        X, Y, epochs=5, mini_batch_size=8, validation_set=0.2, callbacks=[Listener(stop_after=7)], **QUIET
    )
    assert history["finished"] == [True, False]
    assert history["validation_cost"][1] is None
    assert history["validation_accuracy"][1] is None
    assert history["validation_accuracy"][0] is not None


def test_early_stop_waits_for_its_patience() -> None:
    away = (X, (Y + 1) % 3)
    history = plain().fit(X, Y, epochs=20, validation_set=away, callbacks=[EarlyStopping(patience=2)], **QUIET)
    costs = history["validation_cost"]
    best = min(costs)
    assert costs.index(best) == len(costs) - 1 - 3
    assert history.reason == f"validation_cost has not improved on {best:.4g} for 3 epochs"


def test_early_stop_ends_with_the_best_weights_unless_told_not_to() -> None:
    away = (X, (Y + 1) % 3)  # the better the training, the worse this gets
    for restore_best, epochs in ((True, 1), (False, 4)):
        stop, stopped, other = EarlyStopping(patience=2, restore_best=restore_best), plain(), plain()
        history = stopped.fit(X, Y, epochs=20, validation_set=away, callbacks=[stop], **QUIET)
        assert (len(history.epochs), history.kept) == (4, 1 if restore_best else None)
        other.fit(X, Y, epochs=epochs, **QUIET)
        np.testing.assert_array_equal(stopped.feedforward(X), other.feedforward(X))


def test_early_stop_can_ask_for_more_and_by_how_much() -> None:
    stop = EarlyStopping("accuracy", patience=0, mode="max", threshold=2.0)
    history = plain().fit(X, Y, epochs=20, callbacks=[stop], **QUIET)
    assert len(history.epochs) == 2
    again = plain().fit(X, Y, epochs=20, callbacks=[stop], **QUIET)
    assert len(again.epochs) == 2, "it starts afresh with each fit"


class Breaks(Callback):
    """Raises where it is told to."""

    def __init__(self, place: str) -> None:
        self.place = place

    def _at(self, place: str) -> None:
        if place == self.place:
            raise ZeroDivisionError(place)

    def on_start(self, run: Any) -> None:
        self._at("on_start")

    def on_step(self, run: Any, record: Any) -> None:
        self._at("on_step")

    def on_epoch(self, run: Any, record: Any) -> None:
        self._at("on_epoch")

    def on_stop(self, run: Any, reason: str) -> None:
        self._at("on_stop")


@pytest.mark.parametrize("place", ["on_start", "on_step", "on_epoch", "on_stop"])
@pytest.mark.parametrize("first", [True, False], ids=["told before", "told after"])
def test_an_error_in_a_callback_comes_out_and_all_are_told_that_it_ended(place: str, first: bool) -> None:
    net, seen = dense(), Listener()
    with pytest.raises(ZeroDivisionError, match=place):
        net.fit(X, Y, callbacks=[seen, Breaks(place)] if first else [Breaks(place), seen], **QUIET)
    if seen.run is not None:
        assert len(seen.reasons) == 1
    assert net.fit(X, Y, **QUIET).reason == "all epochs done"


def test_a_cost_that_is_no_number_ends_it_and_says_why() -> None:
    seen = Listener()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        net = line().regression(SGD(1e30), cost="mean_squared")
        history = history_of(net, X, X[:, 0], epochs=9, mini_batch_size=10, validation_set=0.2, callbacks=[seen])
    assert history.reason.startswith(f"the cost became {seen.steps[-1].cost}")
    assert f" in step {len(seen.steps)} of epoch 1" in history.reason
    assert "lower learning rate" in history.reason
    assert len(history.epochs) == 1
    assert not np.isfinite(seen.steps[-1].cost)
    assert all(np.isfinite(record.cost) for record in seen.steps[:-1])


def test_a_mini_batch_of_classes_that_weigh_nothing_teaches_nothing() -> None:
    history = plain(cost=CrossEntropy(class_weights=(1, 1, 0))).fit(X, Y, mini_batch_size=1, **QUIET)
    assert history.reason == "all epochs done"


def test_saving_while_it_trains(tmp_path: Path) -> None:
    net = dense()

    class Saver(Callback):
        def on_epoch(self, run: Any, record: Any) -> None:
            net.save(tmp_path / f"{record.epoch}")

    net.fit(X, Y, epochs=3, callbacks=[Saver()], **QUIET)
    shorter = dense()
    shorter.fit(X, Y, epochs=2, **QUIET)
    assert np.array_equal(Network.load(tmp_path / "2").feedforward(X), shorter.feedforward(X))
    assert np.array_equal(Network.load(tmp_path / "3").feedforward(X), net.feedforward(X))


def test_fit_runs_outside_the_main_thread(tmp_path: Path) -> None:
    usual, aside = dense(), dense()
    usual.fit(X, Y, epochs=2, **QUIET)
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(aside.fit(X, Y, epochs=2, **QUIET)))
    thread.start()
    thread.join()
    assert found[0].reason == "all epochs done"
    assert contents(aside, tmp_path) == contents(usual, tmp_path)


# ------------------------------------------------------------------ Ctrl-C, in a program of its own

PROGRAM = """
import os, signal, sys
import numpy as np
from gedanken import *

X = np.random.default_rng(0).standard_normal((64, 6)).astype("f4")
Y = X[:, :3].argmax(axis=1)
net = Network(1).input((6,)).add(FullyConnectedLayer(3)).add(SoftMax()).regression(SGD(0.1))
reasons = []

class Press(Callback):
    '''Presses Ctrl-C, once or twice, in the tenth step.'''
    steps = 0

    def on_step(self, run, record):
        self.steps += 1
        if self.steps == 10:
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGINT)

    def on_stop(self, run, reason):
        reasons.append(reason)

press = Press()
def fit(**options):
    return net.fit(X, Y, epochs=10**6, mini_batch_size=16, callbacks=[press], progress=False, **options)
"""


def program(body: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    source = PROGRAM + textwrap.dedent(body)
    return subprocess.run([sys.executable, "-W", "error", "-c", source], capture_output=True, text=True, timeout=100,
                          check=False, **options)  # fmt: skip


def test_ctrl_c_ends_the_training_after_the_step() -> None:
    done = program("""
        times = 1
        history = fit(validation_set=(X, Y))
        assert history.reason == "Ctrl-C", history.reason
        assert reasons == ["Ctrl-C"]
        assert press.steps == 10 and history["samples"] == [64, 64, 32]
        assert history["finished"] == [True, True, False]
        assert net.predict(X).shape == (64,)
        assert net.evaluate(X, Y, progress=False)["cost"] > 0
        times, press.steps = 0, 0
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert net.fit(X, Y, progress=False).reason == "all epochs done"
    """)
    assert done.returncode == 0, done.stderr


def test_ctrl_c_twice_ends_it_at_once() -> None:
    done = program("""
        times = 2
        try:
            fit()
        except KeyboardInterrupt:
            print("interrupted", press.steps, len(reasons), net.predict(X).shape)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    """)
    assert (done.returncode, done.stdout) == (0, "interrupted 10 1 (64,)\n"), done.stderr


def test_ctrl_c_during_the_validation_ends_it_too() -> None:
    done = program("""
        class Late(Accuracy):
            def measure(self, y, target):
                if len(y) == 37:
                    os.kill(os.getpid(), signal.SIGINT)
                return super().measure(y, target)

        times = 0
        net.regression(metrics=[Late()])
        history = fit(validation_set=(X[:37], Y[:37]))
        assert history.reason == "Ctrl-C"
        assert history["finished"] == [True] and press.steps == 4
    """)
    assert done.returncode == 0, done.stderr


def test_a_handler_of_ones_own_is_kept() -> None:
    done = program("""
        pressed = []
        def mine(number, frame):
            pressed.append(number)
        signal.signal(signal.SIGINT, mine)
        times = 2
        class Ten(Callback):
            def on_epoch(self, run, record):
                return Stop("ten") if record.epoch == 10 else None
        history = net.fit(X, Y, epochs=99, mini_batch_size=16, callbacks=[press, Ten()], progress=False)
        assert (history.reason, len(pressed)) == ("ten", 2)
        assert signal.getsignal(signal.SIGINT) is mine
    """)
    assert done.returncode == 0, done.stderr


def test_a_handler_that_was_set_during_the_training_is_kept() -> None:
    done = program("""
        pressed = []
        class Wraps(Callback):
            def on_epoch(self, run, record):
                if record.epoch == 3:
                    before = signal.getsignal(signal.SIGINT)
                    def mine(number, frame):
                        pressed.append(number)
                        before(number, frame)
                    signal.signal(signal.SIGINT, mine)
        times = 1
        press.steps = -10  # after the handler was set
        history = net.fit(X, Y, epochs=99, mini_batch_size=16, callbacks=[Wraps(), press], progress=False)
        assert (history.reason, len(pressed)) == ("Ctrl-C", 1)
        try:
            os.kill(os.getpid(), signal.SIGINT)
            signal.getsignal(signal.SIGINT)
        except KeyboardInterrupt:
            print("as ever", len(pressed))
    """)
    assert (done.returncode, done.stdout) == (0, "as ever 2\n"), done.stderr


def test_ctrl_c_asks_a_training_within_a_training_and_the_one_around_it() -> None:
    done = program("""
        inner = Network(2).input((6,)).add(FullyConnectedLayer(3)).add(SoftMax()).regression(SGD(0.1))
        found = []
        class Inside(Callback):
            def on_epoch(self, run, record):
                found.append(inner.fit(X, Y, epochs=10**6, callbacks=[press], progress=False).reason)
        times = 1
        history = net.fit(X, Y, epochs=99, mini_batch_size=16, callbacks=[Inside()], progress=False)
        assert (found, history.reason) == (["Ctrl-C"], "Ctrl-C")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    """)
    assert done.returncode == 0, done.stderr


def test_ctrl_c_from_outside_reaches_a_training() -> None:
    body = """
        times = 0
        class Ready(Callback):
            def on_epoch(self, run, record):
                if record.epoch == 1:
                    print("ready", flush=True)
        history = net.fit(X, Y, epochs=10**7, callbacks=[Ready()], progress=False)
        print(history.reason, net.predict(X).shape)
    """
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM + textwrap.dedent(body)], stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        os.kill(running.pid, signal.SIGINT)
        assert running.stdout.read() == "Ctrl-C (64,)\n"
    assert running.returncode == 0


def test_a_last_mini_batch_of_one_leaves_the_running_variance_alone() -> None:
    rng = np.random.default_rng(0)
    data, labels = 3 * rng.standard_normal((33, 4)), rng.integers(0, 2, 33)
    net = Network().input((4,)).add(BatchNorm()).add(FullyConnectedLayer(2)).add(SoftMax()).regression(SGD(1e-9))
    with pytest.warns(GedankenWarning, match="a mini-batch of one sample teaches nothing") as told:
        net.fit(data, labels, epochs=60, mini_batch_size=32, progress=False)
    assert len(told) == 1
    assert net._plan is not None
    variance = net._plan.arrays()["0.var"]
    np.testing.assert_allclose(variance, data.var(axis=0), rtol=0.3)


@pytest.mark.parametrize("engine", ["numpy", "cpu"])
@pytest.mark.parametrize(
    ("layers", "shape", "size", "told"),
    [
        ([BatchNorm()], (4,), 1, "layer 0 BatchNorm()"),
        ([Residual([ReLU(), BatchNorm()])], (4,), 1, "layer 0.layers.1 BatchNorm()"),
        ([BatchNorm(), Flatten()], (4, 1, 1), 1, "layer 0 BatchNorm()"),
        ([BatchNorm(), Flatten()], (4, 1, 1), 2, "layer 0 BatchNorm()"),
        ([BatchNorm(), Flatten()], (4, 1, 2), 1, ""),
        ([BatchNorm(), Flatten()], (2, 4), 1, ""),
        ([BatchNorm()], (4,), 3, ""),
        ([LayerNorm()], (4,), 1, ""),
    ],
)
def test_batch_norm_of_a_single_value_is_told_once(
    layers: list[Layer], shape: tuple[int, ...], size: int, told: str, engine: str
) -> None:
    net = Network().input(shape)
    for layer in [*layers, FullyConnectedLayer(2), SoftMax()]:
        net.add(layer)
    net.regression(engine=engine)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            net.fit(
                np.random.default_rng(0).normal(size=(9, *shape)), [0, 1, 0] * 3, mini_batch_size=size, progress=False
            )
        net.evaluate(np.ones((1, *shape)), [0], progress=False)
    assert [told in str(warning.message) for warning in caught] == [True] * bool(told)


def test_early_stop_knows_which_way_is_better() -> None:
    figures = iter([0.3, 0.4, 0.5, 0.5, 0.5])
    stop = EarlyStopping("validation_accuracy", patience=1)
    run = Run(1, 9, 1, 1, True, ("accuracy",))
    stop.on_start(run)
    records = [
        EpochRecord(n, True, 1, 1.0, {}, 1.0, {"accuracy": figure}, 0.1, 1.0, 1.0)
        for n, figure in enumerate(figures, 1)
    ]
    assert [stop.on_epoch(run, record) for record in records[:4]] == [*[KeepWeights()] * 3, None]
    assert stop.on_epoch(run, records[4]) == Stop("validation_accuracy has not improved on 0.5 for 2 epochs")


class Named(Accuracy):
    """A metric with a name that is taken."""

    name = property(lambda self: "cost")


@pytest.mark.parametrize("metrics", [[Accuracy(), Accuracy(threshold=0.5)], [Named()]], ids=["twice", "cost"])
def test_metrics_need_names_of_their_own(metrics: list[Metric]) -> None:
    net = Network().input((4,)).add(FullyConnectedLayer(2)).add(SoftMax())
    with pytest.raises(ArgumentError, match="metrics must have different names, got"):
        net.regression(metrics=metrics)


APART: list[tuple[list[Metric], list[str]]] = [
    ([F1(threshold=0.3), F1(threshold=0.7)], ["f1_threshold_0.3", "f1_threshold_0.7"]),
    ([F1(threshold=0.3000001), F1(threshold=0.3)], ["f1_threshold_0.3000001", "f1_threshold_0.3"]),
    ([F1(threshold=0.3), F1(), Accuracy()], ["f1_threshold_0.3", "f1", "accuracy"]),
    ([F1(threshold=0.3), Precision(threshold=0.3)], ["f1", "precision"]),
    ([F1("micro", threshold=0.3), F1("micro"), F1(threshold=0.3)], ["f1_micro_threshold_0.3", "f1_micro", "f1"]),
]


@pytest.mark.parametrize(
    ("metrics", "names"), APART, ids=lambda one: "" if isinstance(one[0], Metric) else ",".join(one)
)
def test_options_tell_metrics_of_one_kind_apart(metrics: list[Metric], names: list[str], tmp_path: Path) -> None:
    data, yes = X, (X[:, 0] > 0).astype(int)
    net = Network().input((6,)).add(FullyConnectedLayer(1)).add(Sigmoid())
    net.regression(cost="binary_cross_entropy", metrics=metrics)
    stop = EarlyStopping(f"validation_{names[0]}", patience=5)
    history = net.fit(data, yes, epochs=2, validation_set=(data, yes), callbacks=[stop], progress=False)
    found = net.evaluate(data, yes, progress=False)
    y = net.feedforward(data)
    for name, metric in zip(names, metrics, strict=True):
        expected = metric.value(metric.measure(y, yes))
        assert found[name] == history[f"validation_{name}"][-1] == pytest.approx(expected)
    assert list(found) == ["cost", *names]
    net.save(tmp_path / "net.safetensors")
    assert Network.load(tmp_path / "net.safetensors").evaluate(data, yes, progress=False) == found
    assert copy.deepcopy(net).evaluate(data, yes, progress=False) == found


def test_options_tell_metrics_of_heads_apart(capsys: pytest.CaptureFixture[str]) -> None:
    yes = (X[:, 0] > 0).astype(int)
    net = Network().input((6,)).add(Heads(one=[FullyConnectedLayer(1), Sigmoid()]))
    metrics = {"one": [F1(threshold=0.3), F1(threshold=0.7)]}
    net.regression(cost={"one": "binary_cross_entropy"}, metrics=metrics)
    found = net.evaluate(X, {"one": yes})
    assert list(found) == ["cost", "one_f1_threshold_0.3", "one_f1_threshold_0.7", "one_cost"]
    assert "one_f1_threshold_0.7" in capsys.readouterr().err


def test_a_users_cost_is_reported_alone_and_may_take_class_numbers() -> None:
    data, yes = X, (X[:, 0] > 0).astype(int)
    hinge = CustomCost(
        lambda y, t: np.maximum(0, 1 - y[:, 0] * (2 * t - 1)),
        lambda y, t: np.where((y[:, 0] * (2 * t - 1) < 1), -(2.0 * t - 1), 0)[:, None],
    )
    net = Network().input((6,)).add(FullyConnectedLayer(1)).regression(SGD(0.1), hinge)
    history = net.fit(data, yes, epochs=30, progress=False)
    assert history["cost"][-1] < 0.5 * history["cost"][0]
    assert history.epochs[-1].metrics == {}


def test_prediction_is_the_same_after_loading_whatever_the_cost(tmp_path: Path) -> None:
    cost = CustomCost(lambda y, t: ((y - t) ** 2).sum(axis=1), lambda y, t: 2 * (y - t))
    net = Network().input((6,)).add(FullyConnectedLayer(3)).add(SoftMax()).regression(SGD(), cost)
    net.save(tmp_path / "net.safetensors")
    assert (Network.load(tmp_path / "net.safetensors").predict(X) == net.predict(X)).all()


@pytest.mark.parametrize("keep", [1e-6, 0.1, 0.9, 0.999999])
def test_dropout_keeps_the_mean_for_any_keep(keep: float) -> None:
    net = Network(seed=1).input((4000,)).add(Dropout(keep)).regression(cost="mean_squared")
    plan = net._plan
    assert plan is not None
    total = np.mean([plan.forward(plan.context(True, epoch), np.ones((50, 4000)))[0].mean() for epoch in range(20)])
    assert total == pytest.approx(1, abs=0.3 if keep < 0.01 else 0.01)


def test_a_history_prints_as_one_line() -> None:
    text = repr(plain().fit(X, Y, epochs=2, validation_set=0.2, **QUIET))
    assert text.startswith("History of 2 epochs (all epochs done)  cost ")
    assert "validation_accuracy" in text
    assert "\n" not in text
    assert len(text) < 200
