"""Event files for TensorBoard. Its own reader reads them in parity/test_parity_tensorboard.py."""

import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import (
    SGD,
    Adam,
    ArgumentError,
    Callback,
    Calls,
    Checkpoint,
    CustomCost,
    FullyConnectedLayer,
    GedankenWarning,
    Hogwild,
    KeepBest,
    MovingAverage,
    Network,
    NonFiniteError,
    Numpy,
    TensorBoard,
)
from gedanken.training.event_file import event, events, header
from tests.training.chaos import X, Y, dense
from tests.training.test_resume import Breaks

HOW: dict[str, Any] = {"validation_set": (X[:40], Y[:40]), "epochs": 3, "mini_batch_size": 16, "progress": False}
Points = dict[str, list[tuple[int, float]]]


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if "tfevents" in path.name)


def points(folder: Path) -> Points:
    """Return step and value of all points by name."""
    found: Points = {}
    for file in files(folder):
        for _, step, values in events(file.read_bytes()):
            for name, value in values.items():
                found.setdefault(name, []).append((step, value))
    return found


def curves(folder: Path) -> Points:
    """Return all points but those that are times."""
    return {name: found for name, found in points(folder).items() if name != "epochs/seconds"}


def train(folder: Path, *callbacks: Callback, every: int = 5, place: Any = None, **how: Any) -> Any:
    listening = [Checkpoint(how.pop("checkpoint", 3), keep=99), TensorBoard(place, every=every), *callbacks]
    return dense(Adam(0.01)).fit(X, Y, callbacks=listening, **{"folder": folder, **HOW, **how})


# ---------------------------------------------------------------------- what is written


def test_the_bytes_are_those_of_tensorboards_own_writer() -> None:
    # Its RecordWriter with its own Event, version 2.21.
    assert header(1.5e9).hex() == (
        "1800000000000000a37f4b2209000000c00b5ad6411a0d627261696e2e4576656e743a324ca9a464"
        "0d000000000000003c37b83409000000c00b5ad6413a02080132e00391"
    )
    assert event(1.5e9 + 0.25, 300, {"epochs/cost": 0.1, "été": -2.0}).hex() == (
        "300000000000000095f5d05f09000010c00b5ad64110ac022a220a120a0b65706f6368732f636f737415cdcccc3d0a0c0a05c3a974c3"
        "a915000000c02e1557db"
    )


@pytest.mark.parametrize("step", [0, 1, 127, 128, 16383, 16384, 2**40])
@pytest.mark.parametrize("name", ["cost", "", "é" * 100, "a/b c\n"])
def test_what_is_written_is_read(step: int, name: str) -> None:
    record = event(1.0, step, {name: 0.5, f"{name}2": -math.inf})
    assert list(events(header(1.0) + record + record)) == [(record, step, {name: 0.5, f"{name}2": -math.inf})] * 2


def test_a_record_that_is_not_whole_ends_the_file() -> None:
    one, two = event(1.0, 1, {"cost": 1.0}), event(1.0, 2, {"cost": 2.0})
    for content in (one + two[:end] for end in range(len(two))):
        assert [step for _, step, _ in events(content)] == [1]
    for place in range(len(two)):
        spoilt = bytearray(two)
        spoilt[place] ^= 1
        assert [step for _, step, _ in events(one + spoilt)] == [1]


def test_numbers_of_any_size_are_written() -> None:
    values = {"large": 1e300, "small": 1e-300, "nan": math.nan, "inf": math.inf, "one": np.float32(0.1), "int": 3}
    ((_, _, found),) = events(event(1.0, 1, values))
    assert (found["large"], found["small"], found["inf"], found["int"]) == (math.inf, 0.0, math.inf, 3.0)
    assert math.isnan(found["nan"]) and found["one"] == np.float32(0.1)


def test_steps_and_epochs_become_points(tmp_path: Path) -> None:
    costs: list[float] = []
    calls = Calls(on_step=lambda run, record: costs.append(record.cost))
    history = train(tmp_path / "run", calls)
    found = points(tmp_path / "run")
    assert [step for step, _ in found["steps/cost"]] == list(range(5, 61, 5))
    np.testing.assert_allclose([value for _, value in found["steps/cost"]], costs[4::5], rtol=1e-6)
    assert [step for step, _ in found["steps/rate"]] == list(range(5, 61, 5))
    for name in ("cost", "accuracy", "validation_cost", "validation_roc_auc", "rate", "seconds", "epoch"):
        assert [step for step, _ in found[f"epochs/{name}"]] == [20, 40, 60]
        np.testing.assert_allclose([value for _, value in found[f"epochs/{name}"]], history[name], rtol=1e-6)
    assert "epochs/confusion_matrix" not in found


def test_each_point_is_there_at_once(tmp_path: Path) -> None:
    def looks(run: Any, record: Any) -> None:
        assert points(Path(run.folder))["steps/cost"][-1][0] == record.step + 20 * (record.epoch - 1)

    callbacks = [TensorBoard(every=1), Calls(on_step=looks)]
    dense(Adam(0.01)).fit(X, Y, callbacks=callbacks, folder=tmp_path / "run", **HOW)


def test_workers_without_locks_are_followed(tmp_path: Path) -> None:
    history = train(tmp_path / "run", parallel=Hogwild(workers=2, backend="threads"), checkpoint="epoch")
    found = points(tmp_path / "run")
    assert [step for step, _ in found["epochs/cost"]][-1] == history.steps <= 60
    np.testing.assert_allclose([value for _, value in found["epochs/cost"]], history["cost"], rtol=1e-6)


def test_what_explodes_is_written_down(tmp_path: Path) -> None:
    net = Network(1).input((12,)).add(FullyConnectedLayer(3)).regression(SGD(1e4), "mean_squared")
    with pytest.raises(NonFiniteError):
        net.fit(X, np.eye(3)[Y], mini_batch_size=16, callbacks=[TensorBoard(tmp_path, 1)], progress=False)
    assert not math.isfinite(points(tmp_path)["steps/cost"][-1][1])


class Free(CustomCost):
    """Its slopes need not be derivatives."""

    exact_gradient = False


def test_costs_beyond_float32_are_infinite_there(tmp_path: Path) -> None:
    cost = Free(lambda y, t: 1e200 * ((y - t) ** 2).sum(axis=1), lambda y, t: 0 * y)
    net = Network(1).input((12,)).add(FullyConnectedLayer(3)).regression(SGD(1.0), cost, engine=Numpy(dtype="float64"))
    net.fit(X, np.eye(3)[Y], callbacks=[TensorBoard(tmp_path, 1)], progress=False)
    assert points(tmp_path)["steps/cost"][0][1] == math.inf


# ---------------------------------------------------------------------- going on


@pytest.mark.parametrize("step", [(1, 2), (1, 20), (2, 1), (2, 20), (3, 11)], ids=str)
@pytest.mark.parametrize("checkpoint", [1, 7, 20, "epoch"])
def test_a_run_that_goes_on_has_the_points_of_an_unbroken_one(
    step: tuple[int, int], checkpoint: Any, tmp_path: Path
) -> None:
    class BreaksAfter(Breaks):
        """Raises after the epoch, if there is one."""

        def on_epoch(self, run: Any, record: Any) -> None:
            if (record.epoch, 20) == self.step:
                raise KeyError

        def on_step(self, run: Any, record: Any) -> None:
            if record.step < 20:
                super().on_step(run, record)

    train(tmp_path / "whole", checkpoint=checkpoint)
    with pytest.raises(KeyError):
        train(tmp_path / "run", BreaksAfter(step), checkpoint=checkpoint)
    train(tmp_path / "run", checkpoint=checkpoint, resume=tmp_path / "run")
    assert curves(tmp_path / "run") == curves(tmp_path / "whole")


def test_it_goes_on_from_an_older_checkpoint_and_from_each_of_them(tmp_path: Path) -> None:
    train(tmp_path / "whole", KeepBest(), MovingAverage(0.9))
    held = tmp_path / "run" / "checkpoints"
    train(tmp_path / "run", KeepBest(), MovingAverage(0.9), epochs=2)
    for name in sorted(os.listdir(held), reverse=True)[::4]:
        train(tmp_path / "run", KeepBest(), MovingAverage(0.9), resume=held / name)
        assert curves(tmp_path / "run") == curves(tmp_path / "whole"), name


def test_a_file_that_a_kill_left_over_doubles_nothing(tmp_path: Path) -> None:
    train(tmp_path / "whole")
    train(tmp_path / "run", epochs=2)
    (older,) = files(tmp_path / "run")
    content = older.read_bytes()
    train(tmp_path / "run", epochs=2, resume=tmp_path / "run")
    older.write_bytes(content + content[-30:-7])  # also cut off in the middle of a record
    train(tmp_path / "run", resume=tmp_path / "run")
    assert curves(tmp_path / "run") == curves(tmp_path / "whole")


def test_a_folder_of_its_own_and_a_run_that_goes_on_elsewhere(tmp_path: Path) -> None:
    train(tmp_path / "whole", place=tmp_path / "events")
    assert files(tmp_path / "whole") == []
    train(tmp_path / "run", epochs=2, place=tmp_path / "events" / "one")
    train(tmp_path / "run", place=str(tmp_path / "events" / "one"), resume=tmp_path / "run")
    assert curves(tmp_path / "events" / "one") == curves(tmp_path / "events")
    train(
        tmp_path / "other",
        epochs=4,
        resume=tmp_path / "run" / "checkpoints" / "epoch-000003-step-000000000.safetensors",
    )
    assert [step for step, _ in points(tmp_path / "other")["epochs/cost"]] == [60, 80]


def test_a_run_that_was_killed_has_its_points(tmp_path: Path) -> None:
    code = """
import os, signal
from gedanken import Calls, TensorBoard
from tests.training.test_tensorboard import *
def kills(run, record):
    if (record.epoch, record.step) == (2, 13):
        os.kill(os.getpid(), signal.SIGKILL)
late = Calls(on_step=kills)
late.shows = True
train(Path("run"), late)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    found = points(tmp_path / "run")
    assert [step for step, _ in found["steps/cost"]] == [5, 10, 15, 20, 25, 30]
    assert [step for step, _ in found["epochs/cost"]] == [20]
    train(tmp_path / "run", resume=tmp_path / "run")
    train(tmp_path / "whole")
    assert curves(tmp_path / "run") == curves(tmp_path / "whole")


def test_it_is_no_part_of_the_training(tmp_path: Path) -> None:
    train(tmp_path / "run", epochs=1)
    history = dense(Adam(0.01)).fit(X, Y, callbacks=[Checkpoint(3)], resume=tmp_path / "run", **{**HOW, "epochs": 2})
    assert len(history.epochs) == 2
    assert train(tmp_path / "run", resume=tmp_path / "run", every=2)["cost"][:2] == history["cost"]


# ---------------------------------------------------------------------- what cannot be


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"every": 0}, "TensorBoard every must be a whole number of at least 1, got 0"),
        ({"every": "epoch"}, "TensorBoard every must be a whole number"),
        ({"every": 1.5}, "TensorBoard every must be a whole number"),
        ({"folder": 3}, "TensorBoard folder must be a path"),
    ],
)
def test_arguments_are_looked_at(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        TensorBoard(**arguments)


@pytest.mark.parametrize("name", ["events.out.tfevents.0000000001.gedanken", "events.out.tfevents.1700000000.host"])
def test_two_runs_are_not_mixed(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(header(1.0) + event(1.0, 1, {"cost": 1.0}))
    before, net = (tmp_path / name).read_bytes(), dense(Adam(0.01))
    with pytest.raises(
        ArgumentError, match=rf"TensorBoard folder must be one without events of another run \({name}\)"
    ):
        net.fit(X, Y, callbacks=[TensorBoard(tmp_path)], **HOW)
    assert net.epoch == 0 and (tmp_path / name).read_bytes() == before


def test_a_run_that_ended_before_its_first_point_is_no_other_run(tmp_path: Path) -> None:
    callbacks = [TensorBoard(tmp_path), Breaks((1, 1))]
    for _ in range(2):
        with pytest.raises(KeyError):
            dense(Adam(0.01)).fit(X, Y, callbacks=callbacks, **HOW)
        assert points(tmp_path) == {}


def test_what_refuses_a_training_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError):
        dense(Adam(0.01)).fit(X, Y, callbacks=[TensorBoard(tmp_path / "new"), MovingAverage(), MovingAverage()], **HOW)
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_written_to_is_an_error_before_the_first_step(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    net = dense(Adam(0.01))
    for resumed in (False, True):
        if resumed:
            train(tmp_path / "run", epochs=1)
        how = {**HOW, "epochs": 2, "resume": tmp_path / "run" if resumed else None}
        with pytest.raises(OSError, match=r"Not a directory|File exists"):
            net.fit(X, Y, callbacks=[Checkpoint(3), TensorBoard(tmp_path / "file")], **how)
        assert net.epoch == resumed


def test_a_disk_that_is_full_later_is_a_warning(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    taken: list[int] = []

    def fills(run: Any, record: Any) -> None:
        if (record.epoch, record.step) == (2, 1):
            taken.append(files(tmp_path)[0].stat().st_size + 20)
            resource.setrlimit(resource.RLIMIT_FSIZE, (taken[0], before[1]))

    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.warns(
            GedankenWarning, match="TensorBoard's events cannot be written any more, the training goes on"
        ):
            history = dense(Adam(0.01)).fit(
                X, Y, callbacks=[Calls(on_step=fills), TensorBoard(tmp_path, 1)], **{**HOW, "epochs": 3}
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert len(history.epochs) == 3
    found = points(tmp_path)
    assert [step for step, _ in found["steps/cost"]] == list(range(1, 21))
