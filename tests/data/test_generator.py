"""The Generator as its user sees it: options, the choice of workers, training with one, statistics, random numbers."""

import json
import re
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gedanken import (
    ArgumentError,
    Callback,
    DataError,
    FullyConnectedLayer,
    Generator,
    Network,
    Samples,
    SoftMax,
    StateError,
    StepRecord,
)
from gedanken.data.transforms import MixUp

WORKERS = [{"mode": "serial"}, {"mode": "threads", "workers": 3}, {"mode": "processes", "workers": 2}]


class Points(Generator):
    """One sample a call: a point, and which of its coordinates is the largest."""

    def __init__(self, count: int = 50, seconds: float = 0.0, work: int = 0, large: int = 0, **options: Any) -> None:
        super().__init__(**{"mini_batch_size": 8, **options})
        self.x = np.random.default_rng(1).standard_normal((count, 3)).astype(np.float32)
        self.y = self.x.argmax(axis=1)
        self.seconds, self.work = seconds, work
        self.rest = np.zeros(large, np.float32)

    def __len__(self) -> int:
        return len(self.x)

    def get_mini_batches(self, index: int) -> list[Any]:
        time.sleep(self.seconds) if self.seconds else sum(range(self.work))
        return [(self.rest, index)] if len(self.rest) else [(self.x[index], self.y[index])]


class Draws(Points):
    """Samples that are random numbers."""

    def get_mini_batches(self, index: int) -> list[Any]:
        return [self.rng(index).random(2)]


class Changed(Points):
    """Whatever a function makes of an item."""

    def __init__(self, change: Callable[[int, Any, Any], Any], **options: Any) -> None:
        super().__init__(**options)
        self.change = change

    def get_mini_batches(self, index: int) -> list[Any]:
        (item,) = super().get_mini_batches(index)
        return self.change(index, *item)


def network(seed: int = 0) -> Network:
    return Network(seed).input((3,)).add(FullyConnectedLayer(3)).add(SoftMax()).regression(engine="numpy")


def bytes_of(generator: Generator) -> list[bytes]:
    return [b"".join(array.tobytes() for array in batch) for batch in generator]


# ---------------------------------------------------------------------------------------------- options

MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "size": ({"mini_batch_size": 0}, "mini_batch_size must be a whole number of at least 1, got 0"),
    "workers": ({"workers": -1}, "workers must be a whole number of at least 0, got -1"),
    "workers by name": ({"workers": "many"}, "workers must be a number or 'auto', got 'many'"),
    "threads": ({"threads": 0}, "threads must be a whole number of at least 1, got 0"),
    "buffer": ({"buffer": 0}, "buffer must be a whole number of at least 1, got 0"),
    "mode": ({"mode": "thread"}, "mode must be one of auto, processes, serial, threads, got 'thread'; did you mean"),
    "order": ({"order": "ready"}, "order must be one of as ready, exact, got 'ready'"),
    "method": ({"start_method": "vfork"}, "start_method must be one of fork, forkserver, spawn, got 'vfork'"),
    "limit": ({"time_limit": 0}, "time_limit must be a number in (0, inf), got 0"),
    "seed": ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
    "large seed": ({"seed": 2**64}, "seed must be below 2**64"),
    "transforms": ({"transforms": [3]}, "transforms must be a list of functions (rng, item) -> item, got [3]"),
}


@pytest.mark.parametrize(("options", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_wrong_option_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        Points(**options)
    assert str(caught.value).startswith(message)


def test_a_python_without_the_lock_has_threads_for_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    with Points(50, work=20_000) as points:
        list(points)
    assert re.fullmatch(
        r"\d+ threads?: a call takes .* ms and computes; this Python has no lock", str(points.stats()["workers"])
    )


def test_forgetting_to_call_init_is_told() -> None:
    class Forgetful(Points):
        def __init__(self) -> None:
            pass

    with pytest.raises(StateError, match=r"Forgetful.__init__ must call super\(\).__init__\(\*\*options\)"):
        list(Forgetful())


# ---------------------------------------------------------------------------------------------- the choice

CHOICES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "asked": ({}, {"mode": "threads", "workers": 3}, "3 threads: as asked"),
    "none": ({}, {"workers": 0}, "no workers: as asked"),
    "cheap": ({}, {}, "no workers: a call takes .* us, less than handing it over"),
    "waits": (
        {"seconds": 0.02},
        {},
        r"\d process(?:es)? of \d+ threads \(forkserver\): a call takes 2\d.* ms and mostly waits",
    ),
    "large": ({"large": 100_000}, {}, r"\d threads?: a call takes .* us, less than copying what it gives, .*"),
    "computes": ({"work": 100_000}, {}, r"\d process(?:es)? \(forkserver\): a call takes .* ms and computes"),
    "waits, threads": ({"seconds": 0.02}, {"mode": "threads"}, r"\d+ threads?: a call takes .* and mostly waits"),
    "computes, threads": ({"work": 100_000}, {"mode": "threads"}, r"\d threads?: a call takes .* ms and computes"),
    "number": ({"work": 100_000}, {"workers": 1, "mode": "processes"}, r"1 process \(forkserver\): as asked"),
}


@pytest.mark.parametrize(("calls", "options", "told"), CHOICES.values(), ids=CHOICES)
def test_workers_are_chosen_by_what_calls_do(calls: dict[str, Any], options: dict[str, Any], told: str) -> None:
    count = 10 if calls else 200
    with Points(count, **calls, **options) as points:
        assert points.stats()["workers"] == "not started"
        assert sum(len(x) for x, _ in points) == count
        assert re.fullmatch(told, points.stats()["workers"]), points.stats()["workers"]


# ---------------------------------------------------------------------------------------------- training

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "labels": ({"labels": [1]}, "labels must be left out, because Points gives them with the data, got [1]"),
    "size": ({"mini_batch_size": 4}, "mini_batch_size must be given to the Generator itself, got 4"),
    "shuffle": ({"shuffle": True}, "shuffle must be given to the Generator itself, got True"),
    "fraction": (
        {"validation_set": 0.1},
        "validation_set must be (data, labels), (data, labels, weights) or a Generator, got 0.1",
    ),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_fit_refuses_what_a_generator_knows_itself(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        network().fit(Points(), progress=False, **options)
    assert str(caught.value) == message


@pytest.mark.parametrize("workers", WORKERS, ids=lambda options: options["mode"])
def test_a_generator_trains_to_the_bit_like_the_arrays_that_it_gives(workers: dict[str, Any]) -> None:
    with Points(shuffle=True, seed=3, **workers) as points:
        net, same = network(seed=3), network(seed=3)
        history = net.fit(points, validation_set=points, epochs=2, progress=False)
        wanted = same.fit(
            points.x, points.y, validation_set=(points.x, points.y), epochs=2, mini_batch_size=8, progress=False
        )
        assert history["cost"] == wanted["cost"]
        assert net.evaluate(points, progress=False)["accuracy"] == same.evaluate(points.x, points.y)["accuracy"]
        assert history["validation_accuracy"] == wanted["validation_accuracy"]


def test_a_second_fit_goes_on_with_the_next_epoch_and_a_new_generator_with_the_networks() -> None:
    net, points = network(), Points(shuffle=True, mode="serial")
    net.fit(points, epochs=2, progress=False)
    assert points.epoch == 1
    net.fit(points, epochs=1, progress=False)
    assert points.epoch == 2
    other = Points(shuffle=True, mode="serial")
    net.fit(other, epochs=1, progress=False)
    assert other.epoch == 3


class Heard(Callback):
    """Keeps the records of steps, and stops after some."""

    def __init__(self) -> None:
        self.steps: list[StepRecord] = []

    def on_start(self, run: Any) -> None:
        self.run = run

    def on_step(self, run: Any, record: StepRecord) -> None:
        self.steps.append(record)


def test_records_tell_how_far_an_epoch_is_and_what_the_workers_did() -> None:
    heard = Heard()
    history = network().fit(Points(20, mode="serial"), epochs=2, callbacks=[heard], progress=False)
    assert (heard.run.steps, heard.run.samples) == (None, None)
    assert [round(record.fraction, 2) for record in heard.steps] == [0.4, 0.8, 1.0] * 2
    assert [record.samples for record in heard.steps] == [8, 8, 4] * 2
    assert history["finished"] == [True, True]
    assert history["samples"] == [20, 20]
    stats = history.epochs[-1].generator
    assert stats is not None
    assert stats["mini_batches"] == 6
    assert stats["each"][0]["calls"] == 40
    assert 0 <= history.epochs[-1].waiting_seconds <= history.epochs[-1].seconds


def test_a_network_that_waits_is_told_why(capsys: pytest.CaptureFixture[str]) -> None:
    with Points(24, seconds=0.01, mode="threads", workers=1) as points:
        network().fit(points, epochs=2)
    told = capsys.readouterr().err
    assert re.search(r"of it waiting for data; a call takes \d", told), told
    assert "the workers (1 thread: as asked) are busy" in told
    assert told.count("  data by 1 thread: as asked\n") == 1


ITEMS: dict[str, tuple[Callable[[int, Any, Any], Any], str]] = {
    "no pair": (lambda i, x, y: [x], "Changed must give items (input, label) or (input, label, weight) to train"),
    "four": (
        lambda i, x, y: [(x, y, 1.0, y)],
        "Changed must give items (input, label) or (input, label, weight) to train or evaluate with, got a tuple of 4",
    ),
    "weight": (lambda i, x, y: [(x, y, -1.0)], "weights of Changed must"),
    "shape": (lambda i, x, y: [(x[:2], y)], "data of Changed must have shape (N, 3), got (8, 2)"),
    "labels": (lambda i, x, y: [(x, y + 5)], "labels of Changed must be class numbers from 0 to 2, got "),
    "nan": (lambda i, x, y: [(x * np.float32(np.nan), y)], "data of Changed must be finite, got nan at index (0, 0)"),
    "nothing": (lambda i, x, y: [], "Changed must give at least one mini-batch in an epoch, got none from 50 calls"),
}


@pytest.mark.parametrize(("change", "message"), ITEMS.values(), ids=ITEMS)
def test_items_that_do_not_fit_the_network_are_told(change: Callable[..., Any], message: str) -> None:
    net = network()
    before = net.feedforward(np.eye(3))
    with pytest.raises(DataError) as caught:
        net.fit(Changed(change, mode="serial"), progress=False)
    assert str(caught.value).startswith(message)
    assert (net.feedforward(np.eye(3)) == before).all()


def test_progress_shows_the_share_of_an_epoch_of_unknown_length(capsys: pytest.CaptureFixture[str]) -> None:
    network().fit(Points(40, seconds=0.002, mode="serial"), epochs=1, snapshot_step=0.01)
    assert "epoch 1/1  40%" in capsys.readouterr().err.replace("epoch 1/1 40%", "epoch 1/1  40%")


# ---------------------------------------------------------------------------------------------- order and randomness


@pytest.mark.parametrize("workers", WORKERS, ids=lambda options: options["mode"])
def test_random_numbers_depend_on_seed_epoch_and_index_alone(workers: dict[str, Any]) -> None:
    with Draws(20, **workers) as draws:
        first, second = ([array for batch in draws for array in batch] for _ in range(2))
    assert not np.array_equal(first, second)
    with Draws(20, mode="serial", shuffle=True, mini_batch_size=20) as shuffled:
        next(iter(shuffled))
        (again,) = shuffled
    assert sorted(map(tuple, second)) == sorted(map(tuple, again))
    assert not np.array_equal(second, again)


def test_transforms_are_the_same_for_any_workers() -> None:
    def noisy(rng: np.random.Generator, item: Any) -> Any:
        return item[0] + rng.random(3), np.eye(3)[int(item[1])]

    streams = []
    for workers in (WORKERS[0], WORKERS[1]):
        with Points(transforms=[noisy, MixUp()], **workers) as points:
            streams.append(bytes_of(points) + bytes_of(points))
    assert streams[0] == streams[1]
    assert len(set(streams[0])) == len(streams[0])


def test_transforms_see_single_samples_of_several() -> None:
    seen = []

    def look(rng: np.random.Generator, item: Any) -> Any:
        seen.append((item["x"].shape, rng.random()))
        return item

    several = Changed(lambda i, x, y: [Samples({"x": np.stack([x, x]), "y": [y, y]})], mode="serial", transforms=[look])
    batches = list(several)
    assert [len(batch["y"]) for batch in batches] == [8] * 12 + [4]
    assert {shape for shape, _ in seen} == {(3,)}
    assert len({draw for _, draw in seen}) == 100


# ---------------------------------------------------------------------------------------------- position


def test_a_position_is_a_few_integers_and_fits_its_own_generator_only() -> None:
    points = Points(mode="serial", shuffle=True)
    stream = iter(points)
    next(stream)
    state = json.loads(json.dumps(points.state_dict()))
    assert state == {
        "epoch": 0,
        "mini_batches": 1,
        "samples": 8,
        "todo": [[8, 50, 0]],
        "calls": 50,
        "seed": 0,
        "shuffle": True,
        "mini_batch_size": 8,
    }
    rest = [array for x, y in stream for array in (x, y)]
    other = Points(mode="serial", shuffle=True)
    other.load_state_dict(state)
    assert all(map(np.array_equal, rest, [array for x, y in other for array in (x, y)]))
    assert other.state_dict()["epoch"] == 1
    for name, value in {"seed": 1, "shuffle": False, "mini_batch_size": 9, "calls": 49}.items():
        with pytest.raises(ArgumentError, match=rf"state\['{name}'\] must be"):
            other.load_state_dict({**state, name: value})
    with pytest.raises(ArgumentError, match="state must have the keys"):
        other.load_state_dict({})
    with pytest.raises(ArgumentError, match=r"state\['todo'\] must be spans of calls"):
        other.load_state_dict({**state, "todo": [[8, 51, 0]]})


HOSTILE: list[dict[str, Any]] = [
    *(
        {"todo": todo}
        for todo in ((1, 2, 3), None, "abc", [[8, 50]], [[8, 50, 0, 0]], ["abc"], [[8.0, 50, 0]], {8: 50})
    ),
    *({"todo": todo} for todo in ([[8, 20, 0], [10, 50, 0]], [[20, 50, 0], [8, 20, 0]], [[8, 8, 0]], [[9, 8, 0]])),
    *({"todo": todo} for todo in ([[8, 50, -1]], [[8, 50, 9]], [[8, 50, 2**40]], [[8, 50, True]], [[-1, 50, 0]])),
    *({"epoch": epoch} for epoch in (2**32, 2**70, -1, 0.0, "0", None, True)),
    *({"samples": samples} for samples in (7, 9, 2**70, None)),
    *({"mini_batches": number} for number in (0, 2, 2**70, [1])),
    *(
        {name: value}
        for name in ("seed", "mini_batch_size", "calls", "shuffle")
        for value in (np.zeros(2), [0], "x", None)
    ),
]


@pytest.mark.parametrize("change", HOSTILE, ids=str)
def test_a_state_that_is_none_is_refused_and_changes_nothing(change: dict[str, Any]) -> None:
    points = Points(mode="serial", shuffle=True)
    stream = iter(points)
    next(stream)
    state = points.state_dict()
    with pytest.raises(ArgumentError, match="state"):
        points.load_state_dict({**state, **change})
    assert points.state_dict() == state
    next(stream)  # the running iteration goes on
    points.load_state_dict(state)
    assert points.state_dict() == state


def test_training_goes_on_in_the_middle_of_an_epoch() -> None:
    whole, part, rest = Points(mode="serial", shuffle=True), Points(mode="serial", shuffle=True), Points(shuffle=True)
    heard = Heard()
    network().fit(whole, epochs=2, callbacks=[heard], progress=False)
    stream = iter(part)
    for _ in range(3):
        next(stream)
    rest.load_state_dict(part.state_dict())
    later = Heard()
    network().fit(rest, epochs=2, callbacks=[later], progress=False)
    assert [record.samples for record in later.steps] == [record.samples for record in heard.steps[3:]]
    assert later.steps[0].fraction == pytest.approx(heard.steps[3].fraction)
