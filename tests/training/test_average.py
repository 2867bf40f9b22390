"""The moving average of the weights: what it is, when the network has it, and that a resume changes no bit of it."""

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import (
    SGD,
    Adam,
    ArgumentError,
    AverageWeights,
    Callback,
    Calls,
    Checkpoint,
    CheckpointError,
    Constant,
    DataParallel,
    EarlyStopping,
    FullyConnectedLayer,
    GedankenWarning,
    Hogwild,
    KeepBest,
    KeepWeights,
    Momentum,
    MovingAverage,
    Network,
    NonFiniteError,
    OnNonFinite,
    OnPlateau,
    Resume,
    Save,
    Sigmoid,
    SparseFullyConnectedLayer,
    SparseRows,
    Stop,
)
from gedanken.io.model_file import read_training
from gedanken.training.checkpoint import checkpoints
from tests.training.chaos import X, Y, dense, outcome
from tests.training.test_resume import Breaks

HELD = (X[:40], Y[:40])
HOW: dict[str, Any] = {"validation_set": HELD, "epochs": 3, "mini_batch_size": 16, "progress": False}
AWAY = {**HOW, "validation_set": (X, (Y + 1) % 3)}  # the better the training, the worse this gets


def arrays(net: Network) -> dict[str, Any]:
    assert net._plan
    return {name: np.array(array, "float64") for name, array in net._plan.state().items()}


def averaged(weights: list[dict[str, Any]], decay: float) -> dict[str, Any]:
    """The mean of weights that follow each other, by the definition."""
    parts = [decay ** (len(weights) - 1 - i) for i in range(len(weights))]
    return {name: sum(p * one[name] for p, one in zip(parts, weights, strict=True)) / sum(parts) for name in weights[0]}


def check(net: Network, expected: Mapping[str, Any]) -> None:
    for name, array in arrays(net).items():
        np.testing.assert_allclose(array, expected[name], rtol=2e-6, atol=1e-7, err_msg=name)


def seen(rule: Any, **how: Any) -> tuple[Network, list[dict[str, Any]], list[dict[str, Any]]]:
    """Train without an average; return the network, and its weights after each step and after each epoch."""
    net, steps, epochs = dense(rule), list[Any](), list[Any]()
    calls = Calls(
        on_step=lambda run, record: steps.append(arrays(net)), on_epoch=lambda run, record: epochs.append(arrays(net))
    )
    net.fit(X, Y, callbacks=[calls], **{**HOW, **how})
    return net, steps, epochs


# ---------------------------------------------------------------------- what it is


@pytest.mark.parametrize("decay", [0, 0.5, 0.99, 0.999999, np.float64(0.9)])
def test_it_is_the_weighted_mean_of_the_weights_after_each_update(decay: float) -> None:
    _, steps, _ = seen(Adam(0.01))
    net = dense(Adam(0.01))
    history = net.fit(X, Y, callbacks=[MovingAverage(decay)], **HOW)
    check(net, averaged(steps, float(decay)))
    assert [one.answer for one in history.answers] == [AverageWeights(float(decay))]
    assert (history.answers[0].epoch, history.answers[0].step, history.kept) == (0, 0, None)
    assert '"average_weights": ' in history.to_json()


def test_the_first_weights_have_no_greater_part_than_others() -> None:
    net = dense(Adam(0.01))
    net.fit(X, Y, callbacks=[MovingAverage(0.999999999)], **HOW)
    _, steps, _ = seen(Adam(0.01))
    check(net, {name: np.mean([one[name] for one in steps], axis=0) for name in steps[0]})


def test_mini_batches_that_are_gathered_are_one_update() -> None:
    rule = Momentum(0.05, accumulate=3)
    _, steps, epochs = seen(rule)  # 20 mini-batches, so that 2 are left for an update at the end of an epoch
    kept = [
        weights for epoch in range(3) for weights in [*[steps[20 * epoch + k] for k in range(2, 20, 3)], epochs[epoch]]
    ]
    net = dense(rule)
    net.fit(X, Y, callbacks=[MovingAverage(0.8)], **HOW)
    check(net, averaged(kept, 0.8))


def test_small_differences_of_large_weights_are_not_lost() -> None:
    layer = FullyConnectedLayer(1, bias=False, init=Constant(1000.0))
    net = Network().input((1,)).add(layer).regression(SGD(1e-3), "mean_squared", engine="cpu")
    weights: list[float] = []
    calls = Calls(on_step=lambda run, record: weights.append(float(net.feedforward([[1.0]])[0, 0])))
    x = np.ones((2000, 1))
    how = {"mini_batch_size": 1, "shuffle": False, "progress": False}
    net.fit(x, 1000.05 * x, callbacks=[calls, MovingAverage(0.99999)], **how)
    mean = float(net.feedforward([[1.0]])[0, 0])
    assert weights[-1] - weights[0] > 0.01
    assert mean == pytest.approx(np.mean(weights), abs=2e-4), "two steps of a float32 there"


def test_steps_of_several_mini_batches_count_as_many_updates() -> None:
    starts, columns = np.arange(0, 160001, 4), np.random.default_rng(1).integers(0, 12, 160000)
    data, labels = SparseRows(starts, columns, np.ones(160000), 12), (columns[::4] > 5).astype(int)

    def train(*callbacks: Callback) -> Network:
        net = Network(3).input((12,)).add(SparseFullyConnectedLayer(1)).add(Sigmoid())
        net.regression(SGD(0.1), "binary_cross_entropy", engine="cpu")
        told.clear()
        net.fit(data, labels, mini_batch_size=1, epochs=1, callbacks=[spy(net), *callbacks], progress=False)
        return net

    told: list[Any] = []

    def spy(net: Network) -> Calls:
        return Calls(on_step=lambda run, record: told.append((record.step, arrays(net))))

    net, decay = train(MovingAverage(0.9999)), 0.9999
    assert len(told) == 3
    counts, ends = np.diff([0, *(step for step, _ in told)]), told[-1][0]
    parts = [(1 - decay**n) * decay ** (ends - step) for n, (step, _) in zip(counts, told, strict=True)]
    expected = {k: sum(p * w[k] for p, (_, w) in zip(parts, told, strict=True)) / sum(parts) for k in told[0][1]}
    check(net, expected)


def test_the_training_itself_is_the_same(tmp_path: Path) -> None:
    plain, with_average = dense(Adam(0.01)), dense(Adam(0.01))
    one = plain.fit(X, Y, **{**HOW, "validation_set": None})
    other = with_average.fit(X, Y, callbacks=[MovingAverage(0.9)], **{**HOW, "validation_set": None})
    assert one["cost"] == other["cost"]
    state = [net._train_state.optimizer_state.state() for net in (plain, with_average)]  # type: ignore[union-attr]
    for name, value in state[0].items():
        np.testing.assert_array_equal(value, state[1][name])


def test_workers_that_share_mini_batches_do_not_change_it() -> None:
    nets = [dense(Adam(0.01)) for _ in range(2)]
    for net, parallel in zip(nets, (None, DataParallel(workers=2)), strict=True):
        net.fit(X, Y, callbacks=[MovingAverage(0.9)], parallel=parallel, **HOW)
    assert {k: v.tobytes() for k, v in arrays(nets[0]).items()} == {k: v.tobytes() for k, v in arrays(nets[1]).items()}


# ---------------------------------------------------------------------- when the network has it


def test_validation_and_what_goes_by_it_see_the_average(tmp_path: Path) -> None:
    net, raw, shown = dense(Adam(0.01)), list[Any](), list[Any]()

    def on_epoch(run: Any, record: Any) -> Save:
        shown.append((arrays(net), net.evaluate(*HELD, progress=False)["cost"]))
        return Save(f"epoch-{record.epoch}")

    calls = Calls(on_step=lambda run, record: raw.append(arrays(net)), on_epoch=on_epoch)
    history = net.fit(X, Y, callbacks=[calls, MovingAverage(0.9)], folder=tmp_path / "run", **HOW)
    _, steps, _ = seen(Adam(0.01))
    for mine, theirs in zip(raw, steps, strict=True):
        for name, array in theirs.items():
            np.testing.assert_array_equal(mine[name], array)
    for epoch, (weights, cost) in enumerate(shown, 1):
        wanted = averaged(steps[: 20 * epoch], 0.9)
        for name, array in wanted.items():
            np.testing.assert_allclose(weights[name], array, rtol=2e-6, atol=1e-7)
        assert history["validation_cost"][epoch - 1] == pytest.approx(cost, rel=1e-6)
        saved = Network.load(tmp_path / "run" / f"epoch-{epoch}.safetensors")
        check(saved, wanted)
    check(net, averaged(steps, 0.9))


@pytest.mark.parametrize("first", [True, False], ids=["average first", "average last"])
@pytest.mark.parametrize(
    "keeps", [KeepBest(), EarlyStopping(patience=9), EarlyStopping(patience=0)], ids=["KeepBest", "patience 9", "stops"]
)
def test_the_best_epoch_is_kept_as_its_average(keeps: Callback, first: bool) -> None:
    _, steps, _ = seen(Adam(0.01))
    net, average = dense(Adam(0.01)), MovingAverage(0.9)
    history = net.fit(X, Y, callbacks=[average, keeps] if first else [keeps, average], **AWAY)
    assert history.kept == 1
    check(net, averaged(steps[:20], 0.9))


def test_early_stopping_without_the_best_leaves_the_last_average() -> None:
    _, steps, _ = seen(Adam(0.01))
    net = dense(Adam(0.01))
    stop = EarlyStopping(patience=0, restore_best=False)
    history = net.fit(X, Y, callbacks=[stop, MovingAverage(0.9)], **AWAY)
    assert len(history.epochs) == 2
    check(net, averaged(steps[:40], 0.9))


def test_weights_kept_within_an_epoch_are_the_trainings_own() -> None:
    _, steps, _ = seen(Adam(0.01))
    net = dense(Adam(0.01))
    keeps = Calls(on_step=lambda run, record: KeepWeights() if (record.epoch, record.step) == (2, 5) else None)
    net.fit(X, Y, callbacks=[keeps, MovingAverage(0.9)], **HOW)
    check(net, steps[24])


def test_a_rate_that_falls_on_a_plateau_goes_by_the_average() -> None:
    histories = []
    for callbacks in ([], [MovingAverage(0.99)]):
        net = dense(Adam(OnPlateau(0.05, patience=0)))
        histories.append(net.fit(X, Y, callbacks=callbacks, **{**HOW, "epochs": 6}))
    rates, costs = histories[1]["rate"], histories[1]["validation_cost"]
    falls = [k for k in range(1, 6) if costs[k] >= min(costs[:k]) * (1 - 1e-4)]
    assert len(set(rates)) == len(falls) + 1 and rates != histories[0]["rate"]


@pytest.mark.parametrize("ends", ["stop", "error", "ctrl-c", "twice", "error after an epoch", "stop after an epoch"])
def test_whatever_ends_the_training_leaves_the_average(ends: str) -> None:
    _, steps, _ = seen(Adam(0.01))

    class Ends(Callback):
        def on_step(self, run: Any, record: Any) -> Stop | None:
            if (record.epoch, record.step) != (2, 7) or "epoch" in ends:
                return None
            if ends == "error":
                raise KeyError(ends)
            for _ in range({"ctrl-c": 1, "twice": 2}.get(ends, 0)):
                os.kill(os.getpid(), signal.SIGINT)
            return Stop(ends) if ends == "stop" else None

        def on_epoch(self, run: Any, record: Any) -> Stop | None:
            if ends == "error after an epoch":
                raise KeyError(ends)
            return Stop(ends) if ends == "stop after an epoch" else None

    net = dense(Adam(0.01))
    calls: Callable[[], Any] = lambda: net.fit(X, Y, callbacks=[Ends(), MovingAverage(0.9)], **HOW)  # noqa: E731
    if ends in ("error", "error after an epoch", "twice"):
        with pytest.raises(KeyboardInterrupt if ends == "twice" else KeyError):
            calls()
    else:
        calls()
    check(net, averaged(steps[: 20 if "epoch" in ends else 27], 0.9))


def test_an_explosion_leaves_the_weights_that_it_went_back_to() -> None:
    nets = [dense(SGD(0.1)) for _ in range(3)]
    for net, callbacks in zip(nets, ([], [MovingAverage(0.9)], [KeepBest(), MovingAverage(0.9)]), strict=True):
        x = X.copy()

        class Spoils(Callback):
            def on_epoch(self, run: Any, record: Any, x: Any = x) -> None:
                x[:] = np.inf if record.epoch == 2 else x

        with pytest.raises(NonFiniteError) as caught:
            net.fit(x, Y, callbacks=[Spoils(), *callbacks], **{**HOW, "validation_set": HELD})
    for name, array in arrays(nets[0]).items():
        np.testing.assert_array_equal(arrays(nets[1])[name], array)
    assert caught.value.history.kept in (1, 2)
    assert np.isfinite(nets[2].evaluate(*HELD, progress=False)["cost"])


def test_a_rate_that_is_too_high_leaves_a_network_of_use() -> None:
    net = Network(1).input((12,)).add(FullyConnectedLayer(3)).regression(SGD(1e3), "mean_squared", engine="cpu")
    with pytest.raises(NonFiniteError):
        net.fit(X, np.eye(3)[Y], callbacks=[MovingAverage(0.999)], epochs=9, mini_batch_size=16, progress=False)
    assert np.isfinite(net.feedforward(X)).all()


class Spoils(Callback):
    """Makes the parameters useless once, as a step that is too large does."""

    def __init__(self, net: Network) -> None:
        self.net, self.steps = net, list[Any]()

    def on_step(self, run: Any, record: Any) -> None:
        assert self.net._plan
        self.steps.append(arrays(self.net))
        if (record.epoch, record.step) == (2, 5):
            self.net._plan.params[...] = 1e38


@pytest.mark.parametrize("action", ["skip", "rollback"])
def test_where_a_training_goes_back_and_on_the_average_begins_anew(action: str) -> None:
    net = dense(Adam(0.01))
    spoils = Spoils(net)
    history = net.fit(X, Y, callbacks=[OnNonFinite(action), spoils, MovingAverage(0.9)], **HOW)
    assert [(fault.epoch, fault.step) for fault in history.faults] == [(2, 6)]
    check(net, averaged(spoils.steps[26:], 0.9))


def test_a_mini_batch_that_is_left_out_is_no_update() -> None:
    x = X.copy()
    net, seen_weights = dense(Adam(0.01)), list[Any]()

    def spoils(run: Any, record: Any) -> None:
        x[:5] = np.inf

    calls = Calls(on_step=lambda run, record: seen_weights.append(arrays(net)), on_epoch=spoils)
    history = net.fit(x, Y, callbacks=[OnNonFinite("skip"), calls, MovingAverage(0.9)], **{**HOW, "epochs": 2})
    skipped = {20 * (fault.epoch - 1) + fault.step - 1 for fault in history.faults}
    assert skipped
    check(net, averaged([one for k, one in enumerate(seen_weights) if k not in skipped], 0.9))


def test_a_further_fit_begins_with_the_average() -> None:
    one, two = dense(Adam(0.01)), dense(Adam(0.01))
    one.fit(X, Y, callbacks=[MovingAverage(0.9)], **HOW)
    _, steps, _ = seen(Adam(0.01))
    check(one, averaged(steps, 0.9))
    two.fit(X, Y, callbacks=[MovingAverage(0.9)], **HOW)
    one.fit(X, Y, callbacks=[MovingAverage(0.0)], **{**HOW, "epochs": 1})
    two.fit(X, Y, **{**HOW, "epochs": 1})
    check(one, arrays(two))


# ---------------------------------------------------------------------- going on


def train(folder: Path, *more: Callback, decay: float = 0.95, **how: Any) -> tuple[Network, Any]:
    net = dense(Adam(0.01))
    callbacks = [Checkpoint(how.pop("every", 3), keep=99), EarlyStopping(patience=2), MovingAverage(decay), *more]
    return net, net.fit(X, Y, callbacks=callbacks, **{"folder": folder, **HOW, **how})


@pytest.mark.parametrize("step", [(1, 1), (1, 20), (2, 8), (3, 1), (3, 20)], ids=str)
def test_a_broken_training_goes_on_with_the_same_average(step: tuple[int, int], tmp_path: Path) -> None:
    expected = outcome(*train(tmp_path / "whole"))
    with pytest.raises(KeyError):
        train(tmp_path / "run", Breaks(step))
    assert outcome(*train(tmp_path / "run", resume=tmp_path / "run")) == expected
    assert outcome(*train(tmp_path / "run", resume=tmp_path / "run")) == expected, "it is over, and says it again"


def test_each_checkpoint_has_the_weights_of_the_training_and_the_average_beside_them(tmp_path: Path) -> None:
    expected = outcome(*train(tmp_path / "run", every=1))
    _, steps, _ = seen(Adam(0.01))
    held = tmp_path / "run" / "checkpoints"
    names = checkpoints(str(held))
    for name in names[1:]:
        done = read_training(str(held / name)).state["average.updates"]
        check(Network.load(held / name), steps[done - 1])
    assert done == 60
    for name in names[::3]:
        again = tmp_path / name
        assert outcome(*train(again, resume=held / name)) == expected, name


def test_a_checkpoint_of_ctrl_c_after_an_epoch_has_the_trainings_own_weights(tmp_path: Path) -> None:
    class Presses(Callback):
        shows = True

        def on_epoch(self, run: Any, record: Any) -> None:
            if record.epoch == 2 and not run.resumed:
                os.kill(os.getpid(), signal.SIGINT)

    expected = outcome(*train(tmp_path / "whole", every="epoch"))
    _, history = train(tmp_path / "run", Presses(), every="epoch")
    assert history.reason == "Ctrl-C"
    assert outcome(*train(tmp_path / "run", every="epoch", resume=tmp_path / "run")) == expected


def test_another_average_is_another_training(tmp_path: Path) -> None:
    train(tmp_path / "run", epochs=2)
    with pytest.raises(CheckpointError, match=r"is of another training, its callbacks: .*0\.95.*0\.5"):
        train(tmp_path / "run", resume=tmp_path / "run", decay=0.5)
    anyway = Resume(tmp_path / "run", anyway=True)
    with pytest.warns(GedankenWarning, match="not comparable with one that was never stopped"):
        train(tmp_path / "run", resume=anyway, decay=0.5)
    with (
        pytest.warns(GedankenWarning, match="not comparable"),
        pytest.raises(CheckpointError, match=r"the average of the weights must have the entries of its state"),
    ):
        dense(Adam(0.01)).fit(X, Y, callbacks=[Checkpoint(), EarlyStopping()], resume=anyway, **{**HOW, "epochs": 4})


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("decay", [1, 1.0, -0.1, float("nan"), "0.9", None, True, 10**400])
def test_a_decay_is_looked_at(decay: Any) -> None:
    with pytest.raises(ArgumentError, match="MovingAverage decay must be a number in"):
        MovingAverage(decay)


class Answers(Callback):
    """Answers what it is told."""

    def __init__(self, answer: Any, hook: str = "on_start") -> None:
        setattr(self, hook, lambda *told: answer)


@pytest.mark.parametrize(
    ("callbacks", "options", "words"),
    [
        (
            [MovingAverage(), MovingAverage(0.5)],
            {},
            "callbacks must average the weights once, got .*second average, of",
        ),
        (
            [MovingAverage()],
            {"parallel": Hogwild(workers=2, backend="threads")},
            "parallel must be one where the network",
        ),
        ([Answers(AverageWeights(1.5))], {}, r"Answers: AverageWeights decay must be a number in \[0, 1\), got 1\.5"),
        ([Answers([AverageWeights(0.5)])], {}, "Answers.on_start must return nothing, a Capture or AverageWeights"),
    ],
)
def test_what_cannot_be_averaged_is_an_error_before_the_first_step(
    callbacks: list[Callback], options: dict[str, Any], words: str
) -> None:
    net = dense(Adam(0.01))
    before = arrays(net)
    with pytest.raises(ArgumentError, match=words):
        net.fit(X, Y, callbacks=callbacks, **options, **HOW)
    assert net.epoch == 0
    for name, array in arrays(net).items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("hook", ["on_step", "on_epoch"])
def test_an_average_is_asked_for_before_the_first_step(hook: str) -> None:
    with pytest.raises(ArgumentError, match=rf"Answers\.{hook} must return a Stop, SetRate"):
        dense(Adam(0.01)).fit(X, Y, callbacks=[Answers(AverageWeights(0.5), hook)], **HOW)
