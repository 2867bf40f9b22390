"""Training without locks: what one worker does is the serial training, and what several do is all of it, once."""

import errno
import json
import os
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gedanken import (
    F1,
    ROCAUC,
    SGD,
    Accuracy,
    Adam,
    ArgumentError,
    BatchNorm,
    Callback,
    ConfusionMatrix,
    Cpu,
    EarlyStopping,
    EngineError,
    FullyConnectedLayer,
    GedankenWarning,
    History,
    Hogwild,
    Momentum,
    Network,
    Numpy,
    OnPlateau,
    Save,
    SetRate,
    SoftMax,
    StepDecay,
    Stop,
    WorkerError,
)
from tests.explosions import history_of
from tests.parallel.made import Acts, Counts, Dies, Made, Mortal, Numbered, Seen, arrays, flag, marked, network

QUIET = {"progress": False}
THREADS, PROCESSES = {"backend": "threads"}, {"backend": "processes"}
WAYS = [THREADS, PROCESSES]


def weights(net: Network) -> dict[str, Any]:
    assert net._plan
    return net._plan.state()


def same(one: Network, other: Network) -> bool:
    """Return whether two networks are the same, bit for bit."""
    return all(np.array_equal(a, b) for a, b in zip(weights(one).values(), weights(other).values(), strict=True))


# ---------------------------------------------------------------------- one worker


@pytest.mark.parametrize("engine", [Cpu(), Cpu(dtype="float64"), Numpy()], ids=str)
@pytest.mark.parametrize("update", ["racy", "atomic", "locked"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way["backend"])
def test_one_worker_is_the_serial_training(engine: Any, update: str, way: dict[str, Any]) -> None:
    x, y = arrays(90)
    serial, alone = network(engine, "adam"), network(engine, "adam")
    first = serial.fit(x, y, mini_batch_size=8, epochs=2, **QUIET)
    second = alone.fit(x, y, mini_batch_size=8, epochs=2, parallel=Hogwild(workers=1, update=update, **way), **QUIET)
    assert same(serial, alone)
    assert second["cost"] == pytest.approx(first["cost"], rel=1e-6)
    assert second["accuracy"] == first["accuracy"]
    # And what comes after it goes on as after a serial training.
    for net in (serial, alone):
        net.fit(x, y, mini_batch_size=8, **QUIET)
    assert same(serial, alone)


@pytest.mark.parametrize("classes", [3, 500])  # of many outputs few mini-batches are kept until metrics see them
def test_a_worker_s_metrics_are_the_serial_ones(classes: int) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((300, 5)), rng.integers(0, classes, 300)
    found = []
    for parallel in (None, Hogwild(workers=1, backend="threads")):
        net = Network(seed=1).input((5,)).add(FullyConnectedLayer(classes)).add(SoftMax())
        net.regression("sgd", metrics=[Accuracy(), ROCAUC(), ConfusionMatrix(), F1()])
        found.append(net.fit(x, y, mini_batch_size=64, parallel=parallel, **QUIET).epochs[0].metrics)
    for name, value in found[0].items():
        np.testing.assert_allclose(found[1][name], value, rtol=1e-12, err_msg=name)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    samples=st.integers(1, 70),
    size=st.integers(1, 20),
    optimizer=st.sampled_from(["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw", "lion"]),
    epochs=st.integers(1, 3),
    options=st.fixed_dictionaries({}, optional={"clip_norm": st.just(0.5), "accumulate": st.integers(1, 4)}),
    shuffle=st.booleans(),
)
def test_atomic_with_one_worker_is_the_serial_training(
    samples: int, size: int, optimizer: str, epochs: int, options: dict[str, Any], shuffle: bool
) -> None:
    from gedanken.named import OPTIMIZERS  # noqa: PLC0415

    x, y = arrays(samples)
    rule = OPTIMIZERS[optimizer](**options)
    serial, alone = network("cpu", rule, norm=False), network("cpu", rule, norm=False)
    how: dict[str, Any] = {"mini_batch_size": size, "epochs": epochs, "shuffle": shuffle, **QUIET}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GedankenWarning)
        serial.fit(x, y, **how)
        alone.fit(x, y, parallel=Hogwild(workers=1, update="atomic", backend="threads"), **how)
    assert same(serial, alone)


# ---------------------------------------------------------------------- several workers


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way["backend"])
@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("schedule", ["dynamic", "static"])
@pytest.mark.parametrize("source", ["arrays", "generator"])
def test_every_sample_is_learnt_from_once(way: dict[str, Any], workers: int, schedule: str, source: str) -> None:
    samples = 203
    data: Any = Numbered(samples, mini_batch_size=3, mode="threads", workers=2)
    pair = (data,) if source == "generator" else (data.x, data.y)
    net = Network(1).input((6,)).add(FullyConnectedLayer(1))
    net.regression(SGD(1e-9), "mean_squared", metrics=[Seen(samples)])
    how: dict[str, Any] = {} if source == "generator" else {"mini_batch_size": 3}
    history = net.fit(*pair, epochs=3, parallel=Hogwild(workers=workers, schedule=schedule, **way), **how, **QUIET)
    for record in history.epochs:
        assert record.metrics["seen"].tolist() == [1.0] * samples
        assert record.finished
        assert record.parallel
        assert sum(record.parallel["updates"]) == sum(record.parallel["staleness"]) == 68
        assert sum(record.parallel["samples"]) == samples
    assert net._train_state
    assert net._train_state.optimizer_state.updates == 3 * 68
    data.close()


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way["backend"])
@pytest.mark.parametrize("update", ["atomic", "locked"])
def test_no_update_is_lost(way: dict[str, Any], update: str) -> None:
    x, y = arrays(1500)
    net = network("numpy", SGD(1.0), Counts(), norm=False)
    net.fit(x, y, mini_batch_size=1, epochs=2, parallel=Hogwild(workers=4, update=update, **way), **QUIET)
    assert (weights(net)["0.w"] == 3000).all()


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way["backend"])
def test_racy_updates_are_counted_truly(way: dict[str, Any]) -> None:
    x, y = arrays(1500)
    net = network("numpy", SGD(1.0), Counts(), norm=False)
    net.fit(x, y, mini_batch_size=1, epochs=2, parallel=Hogwild(workers=4, **way), **QUIET)
    counted = weights(net)["0.w"]
    assert (counted == counted.round()).all()  # an addition may be lost; a number is never torn
    assert (counted <= 3000).all()
    assert counted.mean() > 1500


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way["backend"])
def test_several_workers_learn_as_well_as_one(way: dict[str, Any]) -> None:
    x, y = arrays(4000)
    held = arrays(1000, seed=5)
    rule = Momentum(StepDecay(0.05, every=750, factor=0.1))  # small last steps: not one of them is judged
    nets = {workers: network("cpu", rule) for workers in (0, 2, 3)}
    for workers, net in nets.items():
        parallel = Hogwild(workers=workers, **way) if workers else None
        net.fit(x, y, mini_batch_size=32, epochs=8, parallel=parallel, **QUIET)
    found = {workers: net.evaluate(*held, progress=False)["accuracy"] for workers, net in nets.items()}
    assert min(found.values()) > 0.93
    assert max(found.values()) - min(found.values()) < 0.05
    # Running means of BatchNorm end at what the weights that all have learnt together give.
    for net in nets.values():
        found = weights(net)
        values = x @ found["0.kernel"] + found["0.bias"]
        assert (abs(found["1.mean"] - values.mean(0)) < 0.3 * values.std(0)).all()
        np.testing.assert_allclose(found["1.var"], values.var(0), rtol=0.25)


def test_a_slow_worker_does_not_hold_the_others() -> None:
    x, y = marked(4000, 0)
    x[::16, 0] = 2.0  # whoever meets one of them is slow; each worker would, so one has most of the others
    net = network("numpy", "sgd", norm=False)
    history = net.fit(x, y, mini_batch_size=4, parallel=Hogwild(workers=3, backend="threads"), **QUIET)
    report = history.epochs[0].parallel
    assert report
    assert sum(report["updates"]) == 1000


# ---------------------------------------------------------------------- what a fit does besides


def test_callbacks_validation_and_early_stop() -> None:
    x, y = arrays(300)
    heard: list[int] = []

    class Listener(Callback):
        def on_step(self, run: Any, record: Any) -> None:
            heard.append(record.samples)

        def on_epoch(self, run: Any, record: Any) -> Any:
            return Stop("enough") if record.epoch == 2 else None

    net = network()
    how: dict[str, Any] = {"validation_set": 0.2, "epochs": 9, "mini_batch_size": 8, **QUIET}
    history = net.fit(x, y, callbacks=[Listener()], parallel=Hogwild(workers=2, **THREADS), **how)
    assert (len(history.epochs), history.reason) == (2, "enough")
    assert sum(heard) == 2 * 240
    assert all(record.validation_cost is not None for record in history.epochs)
    stopping = EarlyStopping("validation_cost", patience=0, threshold=1e9)
    history = net.fit(x, y, callbacks=[stopping], parallel=Hogwild(workers=2, **THREADS), **how)
    assert len(history.epochs) == 2


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way["backend"])
def test_a_rate_that_is_set_reaches_the_workers(way: dict[str, Any]) -> None:
    x, y = arrays(300)

    class Freezes(Callback):
        def on_epoch(self, run: Any, record: Any) -> Any:
            seen.append(weights(net)["0.kernel"])
            return SetRate(1e-30)

    seen: list[Any] = []
    net = network("cpu", SGD(0.1), norm=False)
    net.fit(x, y, epochs=2, mini_batch_size=8, callbacks=[Freezes()], parallel=Hogwild(workers=2, **way), **QUIET)
    assert np.array_equal(*seen)


def test_a_plateau_lowers_the_rate_of_workers() -> None:
    x, y = arrays(300)
    net = network("cpu", SGD(OnPlateau(1e-9, patience=0, factor=0.5)), norm=False)
    history = net.fit(x, y, epochs=4, mini_batch_size=8, parallel=Hogwild(workers=2, **THREADS), **QUIET)
    assert history["rate"][-1] < 1e-9


def test_a_callback_stops_within_an_epoch() -> None:
    class Stops(Callback):
        def on_step(self, run: Any, record: Any) -> Any:
            return Stop("seen enough") if record.step > 20 else None

    x, y = arrays(20000)
    net = network()
    before = weights(net)
    history = net.fit(x, y, mini_batch_size=4, callbacks=[Stops()], parallel=Hogwild(workers=2, **THREADS), **QUIET)
    (record,) = history.epochs
    assert not record.finished
    assert history.reason == "seen enough"
    assert record.samples < 20000
    assert not np.array_equal(before["0.kernel"], weights(net)["0.kernel"])


def test_a_checkpoint_within_an_epoch_has_the_weights_of_the_moment(tmp_path: Path) -> None:
    class Keeps(Callback):
        def on_step(self, run: Any, record: Any) -> Any:
            return Save(f"step {record.step > 50}")

    x, y = arrays(2000)
    net = network("cpu", SGD(0.1), norm=False)
    first = weights(net)
    parallel = Hogwild(workers=2, **THREADS)
    net.fit(x, y, mini_batch_size=8, callbacks=[Keeps()], folder=tmp_path, parallel=parallel, **QUIET)
    early, late = (weights(Network.load(tmp_path / f"step {when}.safetensors")) for when in (False, True))
    assert not np.array_equal(early["0.kernel"], first["0.kernel"])
    assert not np.array_equal(early["0.kernel"], late["0.kernel"])


def test_a_description_serves_many_trainings_at_once() -> None:
    parallel, x, y = Hogwild(workers=2, backend="threads"), *arrays(200)
    nets = [network(seed=seed) for seed in (1, 2)]
    how: dict[str, Any] = {"parallel": parallel, "mini_batch_size": 8, **QUIET}
    threads = [threading.Thread(target=net.fit, args=(x, y), kwargs=how) for net in nets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [net.epoch for net in nets] == [1, 1]


def test_many_runs_leave_nothing() -> None:
    x, y = arrays(60)
    net = network()

    def left() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    for way in WAYS:
        net.fit(x, y, mini_batch_size=8, parallel=Hogwild(workers=2, **way), **QUIET)
        before = left()
        for _ in range(10):
            net.fit(x, y, mini_batch_size=8, parallel=Hogwild(workers=2, **way), **QUIET)
        assert all(now <= then for now, then in zip(left(), before, strict=True))


# ---------------------------------------------------------------------- refusals and losses


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"workers": 0}, "workers must"),
        ({"workers": 2000}, "workers must"),
        ({"workers": "two"}, 'workers must be a whole number from 1 to 1,024, or "auto"'),
        ({"workers": True}, "workers must"),
        ({"backend": "mpi"}, "backend must be one of"),
        ({"update": "fast"}, "update must be one of"),
        ({"schedule": 3}, "schedule must be one of"),
        ({"on_worker_loss": None}, "on_worker_loss must be one of"),
        ({"start_method": "vfork"}, "start_method must be one of"),
        ({"time_limit": 0}, "time_limit must"),
        ({"threads": 2}, "no argument 'threads'"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], rule: str) -> None:
    with pytest.raises(ArgumentError, match=rule):
        Hogwild(**options)


@pytest.mark.parametrize("given", [Hogwild, "hogwild", 2, {}])
def test_what_is_no_description_is_refused(given: Any) -> None:
    with pytest.raises(ArgumentError, match="parallel must be an object"):
        network().fit(*arrays(), parallel=given, **QUIET)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way["backend"])
def test_an_error_of_a_layer_comes_as_it_is(way: dict[str, Any]) -> None:
    net = network("cpu", "sgd", Acts("raise"))
    with pytest.raises(KeyError, match="no such sample") as caught:
        net.fit(*marked(), mini_batch_size=4, parallel=Hogwild(workers=2, **way), **QUIET)
    assert "worker" in caught.value.__notes__[-1]
    x, y = arrays()  # and the network can be used on
    net.fit(x, y, mini_batch_size=4, parallel=Hogwild(workers=2, **way), **QUIET)


def test_the_end_of_the_program_in_a_layer_is_an_error() -> None:
    net = network("cpu", "sgd", Acts("exit"))
    with pytest.raises(WorkerError, match=r"raised SystemExit\(5\)"):
        net.fit(*marked(), mini_batch_size=8, parallel=Hogwild(workers=2, **PROCESSES), **QUIET)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way["backend"])
def test_what_is_not_finite_stays_out_of_the_parameters(way: dict[str, Any]) -> None:
    x, y = arrays(103)  # the last mini-batch has seven samples
    net = network("cpu", "sgd", Acts("nan"), FullyConnectedLayer(5), Acts("nan"), norm=False)
    history = history_of(net, x, y, mini_batch_size=8, epochs=2, parallel=Hogwild(workers=2, **way))
    assert history.diverged
    assert all(np.isfinite(array).all() for array in weights(net).values())
    assert "the gradient of 1.kernel" in history.reason
    assert "in worker" in history.reason
    assert len(history.faults[-1].samples) == 7


@pytest.mark.parametrize("way", [None, *WAYS], ids=str)
def test_the_layer_is_named_that_first_gave_what_is_not_finite(way: dict[str, Any] | None) -> None:
    net = network("cpu", "sgd", Acts("blank"))
    parallel = Hogwild(workers=2, **way) if way else None
    reason = history_of(net, *marked(), mini_batch_size=8, epochs=2, parallel=parallel).reason
    assert reason.startswith("the cost became nan")
    assert "the first values that were not finite are the output of layer 0 Acts(" in reason
    assert ("in worker" in reason) is (way is not None)
    x, y = arrays()
    normed = Network(1).input((6,)).add(FullyConnectedLayer(3)).add(BatchNorm()).add(SoftMax()).regression("sgd")
    reason = history_of(normed, 1e25 * x, y, mini_batch_size=8, parallel=parallel).reason
    assert "a running mean or variance of layer 1 BatchNorm" in reason


def test_a_cost_that_overflows_ends_the_training() -> None:
    x, y = arrays(200)
    net = Network(1).input((6,)).add(FullyConnectedLayer(3)).regression(SGD(1e30), "mean_squared")
    history = history_of(
        net, x, np.eye(3)[y] * 1e6, mini_batch_size=4, epochs=5, parallel=Hogwild(workers=2, **THREADS)
    )
    assert history.diverged
    assert np.isfinite(net.feedforward(x)).all()


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
@pytest.mark.parametrize("act", ["kill", "_exit"])
def test_the_loss_of_a_worker_is_an_error(method: str, act: str) -> None:
    how = "was killed by SIGKILL" if act == "kill" else "exited with code 3"
    net = network("cpu", "sgd", Acts(act))
    with pytest.raises(WorkerError, match=how):
        net.fit(*marked(), mini_batch_size=4, parallel=Hogwild(workers=2, start_method=method, **PROCESSES), **QUIET)
    assert all(np.isfinite(array).all() for array in weights(net).values())


@pytest.mark.parametrize("policy", ["continue", "respawn"])
@pytest.mark.parametrize("act", ["kill", "_exit", "stop"])
@pytest.mark.parametrize("schedule", ["dynamic", "static"])
def test_a_training_goes_on_without_a_worker(policy: str, act: str, schedule: str, tmp_path: Path) -> None:
    x, y = marked(400, 100)
    net = network("cpu", "sgd", Acts(act, flag(tmp_path)))
    limit = 2.0 if act == "stop" else 60.0  # a busy machine may leave a healthy worker waiting for a second
    options: dict[str, Any] = {"on_worker_loss": policy, "schedule": schedule, "time_limit": limit, **PROCESSES}
    wanted = 3 if policy == "respawn" else 2

    class Waits(Callback):
        def on_epoch(self, run: Any, record: Any) -> Any:
            done = record.epoch > 1 and sum(count > 0 for count in record.parallel["updates"]) == wanted
            return Stop("all are there") if done else None

    parallel = Hogwild(workers=3, **options)
    how = {"kill": "was killed by SIGKILL", "_exit": "exited with code 3", "stop": "did not answer for 2 s"}[act]
    with pytest.warns(GedankenWarning, match=f"{how}.*the training goes on"):
        history = net.fit(x, y, mini_batch_size=4, epochs=2000, callbacks=[Waits()], parallel=parallel, **QUIET)
    first, *others = history.epochs
    assert first.parallel
    assert len(first.parallel["losses"]) == 1
    assert 400 - 4 * 40 <= first.samples <= 400  # what it learnt from before it died is not told
    assert all(record.samples == 400 and not (record.parallel or {})["losses"] for record in others)
    assert history.reason == "all are there"


def test_what_a_lost_worker_had_learnt_from_a_generator_frees_its_slots(tmp_path: Path) -> None:
    class Again(Callback):
        def on_epoch(self, run: Any, record: Any) -> None:
            flag(tmp_path)

    net = network("cpu", "sgd", seed=1)
    net.regression("sgd", metrics=[Dies(flag(tmp_path), os.getpid())], engine="cpu")
    parallel = Hogwild(workers=1, on_worker_loss="respawn", **PROCESSES)
    with pytest.warns(GedankenWarning, match="what it had learnt from 1 mini-batch before is not counted"):
        history = net.fit(Made(mini_batch_size=8), epochs=5, callbacks=[Again()], parallel=parallel, **QUIET)
    assert [record.samples for record in history.epochs] == [96 - 8] * 5


def test_an_error_of_a_thread_is_raised_soon_and_leaves_nothing() -> None:
    def descriptors() -> int:
        return len(os.listdir("/dev/fd"))

    calls = []

    class Slow(Acts):
        def forward(self, ctx: Any, p: Any, s: Any, x: Any) -> Any:
            if ctx.train:
                calls.append(len(x))
                time.sleep(0.2)
            return super().forward(ctx, p, s, x)

    net = network("cpu", "sgd", Slow("raise"))
    before = descriptors()
    calls.clear()
    with pytest.raises(KeyError, match="no such sample"):
        net.fit(*marked(400, 0), shuffle=False, mini_batch_size=4, parallel=Hogwild(workers=4, **THREADS), **QUIET)
    assert len(calls) < 12  # of the 16 orders that were given out ahead most are not wanted any more
    assert descriptors() <= before


def test_the_last_worker_is_missed() -> None:
    net = network("cpu", "sgd", Acts("kill"))
    options: dict[str, Any] = {"on_worker_loss": "continue", **PROCESSES}
    with pytest.warns(GedankenWarning), pytest.raises(WorkerError, match="no worker is left"):
        net.fit(*marked(), mini_batch_size=4, parallel=Hogwild(workers=2, **options), **QUIET)


def test_a_worker_that_always_dies_is_not_started_for_ever() -> None:
    net = network("cpu", "sgd", Acts("kill"))
    options: dict[str, Any] = {"on_worker_loss": "respawn", **PROCESSES}
    with pytest.warns(GedankenWarning), pytest.raises(WorkerError, match="was killed by SIGKILL"):
        net.fit(*marked(8, 0), mini_batch_size=8, parallel=Hogwild(workers=1, **options), **QUIET)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of Python, from 3.12 on: it has threads
@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_a_worker_that_dies_while_it_starts_is_met_like_any_other(method: str, tmp_path: Path) -> None:
    class Waits(Callback):  # the other one may have learnt much before the first has even started
        lost = 0

        def on_epoch(self, run: Any, record: Any) -> Any:
            self.lost += len(record.parallel["losses"])
            return Stop("it died") if self.lost and record.epoch > 1 else None

    def train(once: str, policy: str, workers: int) -> History:
        parallel = Hogwild(workers=workers, on_worker_loss=policy, start_method=method, **PROCESSES)
        net, how = network("cpu", "sgd", Mortal(once, os.getpid())), {"mini_batch_size": 4, "epochs": 100_000, **QUIET}
        return net.fit(*arrays(200), parallel=parallel, callbacks=[Waits()], **how)

    with pytest.warns(GedankenWarning, match="was killed by SIGKILL.*with another in its place"):
        history = train(flag(tmp_path), "respawn", 1)
    assert {record.samples for record in history.epochs} == {200}
    with pytest.warns(GedankenWarning, match="was killed by SIGKILL.*without it"):
        history = train(flag(tmp_path), "continue", 2)
    assert {record.samples for record in history.epochs} == {200}
    with pytest.raises(WorkerError, match="was killed by SIGKILL"):
        train(flag(tmp_path), "raise", 2)
    with pytest.warns(GedankenWarning), pytest.raises(WorkerError, match="was killed by SIGKILL"):
        train("", "respawn", 2)


def test_a_thread_that_hangs_is_an_error() -> None:
    net = network("cpu", "sgd", Acts("sleep"))
    with pytest.raises(WorkerError, match="does not answer"):
        net.fit(*marked(), mini_batch_size=4, parallel=Hogwild(workers=2, time_limit=0.5, **THREADS), **QUIET)


def test_warnings_of_a_worker_are_given_to_its_owner() -> None:
    net = network("cpu", "sgd", Acts("warn"))
    with pytest.warns(UserWarning, match="of the layer's own"):
        net.fit(*marked(), mini_batch_size=4, parallel=Hogwild(workers=2, **PROCESSES), **QUIET)


def test_what_cannot_be_sent_runs_in_threads() -> None:
    layer = Acts("nothing")
    object.__setattr__(layer, "held", threading.Lock())
    net = network("cpu", "sgd", layer)
    history = net.fit(*arrays(), mini_batch_size=8, parallel=Hogwild(workers=2), **QUIET)
    assert history.epochs[0].parallel
    assert history.epochs[0].parallel["workers"].startswith("2 threads: no processes:")
    with pytest.raises(ArgumentError, match="backend must be 'threads' here, got 'processes'"):
        net.fit(*arrays(), mini_batch_size=8, parallel=Hogwild(workers=2, **PROCESSES), **QUIET)


def test_few_mini_batches_for_many_workers_are_warned_of() -> None:
    with pytest.warns(GedankenWarning, match="an epoch of 3 mini-batches is short for 8 workers"):
        network().fit(*arrays(24), mini_batch_size=8, parallel=Hogwild(workers=8, **THREADS), **QUIET)


def test_progress_tells_of_the_workers(capfd: pytest.CaptureFixture[str]) -> None:
    history = network().fit(*arrays(400), mini_batch_size=8, epochs=2, parallel=Hogwild(workers=2, **THREADS))
    shown = capfd.readouterr().err
    assert "by 2 threads: as asked" in shown
    assert shown.count("updates stale") == 2
    assert json.loads(history.to_json())["epochs"]


@pytest.mark.parametrize("rule", [Momentum(0.01, 0.99), Adam(beta1=0.96)], ids=repr)
def test_high_momentum_is_warned_of(rule: Any) -> None:
    with pytest.warns(GedankenWarning, match=r"a momentum of 0\.9. with 2 workers may learn worse"):
        network("cpu", rule).fit(*arrays(), mini_batch_size=8, parallel=Hogwild(workers=2, **THREADS), **QUIET)


def test_a_network_on_a_device_is_refused() -> None:
    net = network(Numpy())
    net._engine = type("Device", (Numpy,), {"name": "cuda"})()
    with pytest.raises(ArgumentError, match="workers share memory"):
        net.fit(*arrays(), parallel=Hogwild(), **QUIET)


def test_an_engine_error_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gedanken.parallel.hogwild.merger", lambda dtype: None)
    with pytest.raises(EngineError, match='update="atomic" needs llvmlite'):
        network("numpy").fit(*arrays(), parallel=Hogwild(update="atomic"), **QUIET)


def test_a_system_that_starts_no_more_processes_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses() -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr("os.fork", refuses)
    with pytest.raises(WorkerError, match=r"worker 0 of 2 could not start: there may be no more .*ulimit -u"):
        network().fit(
            *arrays(), mini_batch_size=8, parallel=Hogwild(workers=2, start_method="fork", **PROCESSES), **QUIET
        )


def test_a_layer_of_the_users_in_a_generator_s_training() -> None:
    with Made(200, mini_batch_size=7, shuffle=True, mode="processes", workers=1) as data:
        net = network("cpu", Adam(0.01))
        history = net.fit(data, epochs=3, parallel=Hogwild(workers=2, **PROCESSES), **QUIET)
    assert [record.samples for record in history.epochs] == [200] * 3
    with pytest.raises(ArgumentError):
        SoftMax(1)  # type: ignore[call-arg]
