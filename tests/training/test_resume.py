"""A training that was stopped goes on from its checkpoints as if it never had been; what does not fit is told."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import (
    SGD,
    Adam,
    ArgumentError,
    ArrayGenerator,
    Callback,
    Calls,
    Checkpoint,
    CheckpointError,
    CustomCost,
    DataParallel,
    EarlyStopping,
    FullyConnectedLayer,
    GedankenWarning,
    Generator,
    Hogwild,
    KeepBest,
    Momentum,
    Network,
    Resume,
    SetRate,
    SoftMax,
    Stop,
)
from gedanken.cli.main import main
from gedanken.io.model_file import Model, read_training, write_model
from gedanken.io.safetensors import read_contents
from gedanken.io.training_state import TrainingState
from gedanken.training.checkpoint import checkpoints
from tests.data.programs import Program, run
from tests.explosions import history_of
from tests.training.chaos import CONFIGURATIONS, X, Y, dense, outcome

HELD = (X[:40], Y[:40])
HOW: dict[str, Any] = {"validation_set": HELD, "epochs": 4, "mini_batch_size": 16, "progress": False}


class Breaks(Callback):
    """Raises in a step, or the first after it: workers tell of several at once."""

    shows = True

    def __init__(self, step: tuple[int, int]) -> None:
        self.step = step

    def on_step(self, run: Any, record: Any) -> None:
        if (record.epoch, record.step) >= self.step:
            raise KeyError("broken off")


def begun(folder: Path, step: tuple[int, int] = (3, 5), every: Any = 4, **options: Any) -> Path:
    """Train until it is broken off, and return the run's folder."""
    callbacks = [Checkpoint(every), EarlyStopping(patience=3), Breaks(step)]
    with pytest.raises(KeyError):
        dense(Adam(0.01)).fit(X, Y, callbacks=callbacks, folder=folder, **{**HOW, **options})
    return folder


def gone_on(path: Any, **options: Any) -> tuple[Network, Any]:
    net = dense(options.pop("rule", Adam(0.01)))
    callbacks = options.pop("callbacks", [Checkpoint(4), EarlyStopping(patience=3)])
    data, labels = options.pop("data", (X, Y))
    return net, net.fit(data, labels, callbacks=callbacks, resume=path, **{**HOW, **options})


def unbroken(folder: Path) -> tuple[Network, Any]:
    net = dense(Adam(0.01))
    return net, net.fit(X, Y, callbacks=[Checkpoint(4), EarlyStopping(patience=3)], folder=folder, **HOW)


# ---------------------------------------------------------------------- the same to the bit


def test_kills_at_any_instant_change_no_byte() -> None:
    command = [sys.executable, "-m", "tests.training.chaos", "--kills", "80", "--seed", "1"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert found.returncode == 0, found.stderr[-2000:]
    told = re.fullmatch(r"(\d+) kills, \d+ trainings of 6 kinds, all the same\n", found.stdout)
    assert told
    assert int(told[1]) >= 80
    assert len(CONFIGURATIONS) == 6


@pytest.mark.parametrize("step", [(1, 1), (2, 20), (4, 3)], ids=str)
def test_a_broken_training_goes_on(step: tuple[int, int], tmp_path: Path) -> None:
    expected = outcome(*unbroken(tmp_path / "whole"))
    folder = begun(tmp_path / "run", step)
    assert outcome(*gone_on(folder)) == expected
    assert outcome(*gone_on(str(folder))) == expected, "it is over, and says again what came of it"
    held = folder / "checkpoints"
    file = held / checkpoints(str(held))[0]
    assert outcome(*gone_on(file, folder=tmp_path / "other")) == expected
    assert outcome(*gone_on(held)) == expected


def test_ctrl_c_loses_nothing(tmp_path: Path) -> None:
    class Presses(Breaks):
        def on_step(self, run: Any, record: Any) -> None:
            if (record.epoch, record.step) == self.step:
                os.kill(os.getpid(), signal.SIGINT)

    expected = outcome(*unbroken(tmp_path / "whole"))
    callbacks = [Checkpoint("epoch"), EarlyStopping(patience=3), Presses((2, 7))]
    history = dense(Adam(0.01)).fit(X, Y, callbacks=callbacks, folder=tmp_path / "run", **HOW)
    assert history.reason == "Ctrl-C"
    assert checkpoints(str(tmp_path / "run" / "checkpoints"))[-1] == "epoch-000002-step-000000007.safetensors"
    assert outcome(*gone_on(tmp_path / "run")) == expected


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_and_workers_that_share_mini_batches_may_be_others(workers: int, tmp_path: Path) -> None:
    expected = outcome(*unbroken(tmp_path / "whole"))
    folder = begun(tmp_path / "run", parallel=DataParallel(workers=2))
    assert outcome(*gone_on(folder, parallel=DataParallel(workers=workers))) == expected


def test_what_shows_a_training_may_be_other(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    expected = outcome(*unbroken(tmp_path / "whole"))
    folder = begun(tmp_path / "run", progress=True, plot=True)
    assert outcome(*gone_on(folder, progress=True)) == expected
    shown = capfd.readouterr().err
    assert re.search(r"goes on from .*: the same to the bit as one that was never stopped", shown)


def test_a_stop_that_was_written_down_stays_one(tmp_path: Path) -> None:
    class Stops(Callback):
        def on_step(self, run: Any, record: Any) -> Stop | None:
            return Stop("enough") if (record.epoch, record.step) == (2, 6) else None

    callbacks: list[Callback] = [Checkpoint(1), Stops()]
    net = dense(Adam(0.01))
    expected = outcome(net, net.fit(X, Y, callbacks=callbacks, folder=tmp_path / "run", **HOW))
    held = tmp_path / "run" / "checkpoints"
    for name in checkpoints(str(held)):
        again, history = gone_on(held / name, callbacks=[Checkpoint(1), Stops()], folder=tmp_path / name)
        assert outcome(again, history) == expected, name


def test_workers_without_locks_go_on_nearly(tmp_path: Path) -> None:
    folder = begun(tmp_path / "run", every="epoch", parallel=Hogwild(workers=2, backend="threads"))
    with pytest.warns(GedankenWarning, match="close to one that was never stopped: workers wait for nobody"):
        net, history = gone_on(folder, parallel=Hogwild(workers=2, backend="threads"))
    assert [record.epoch for record in history.epochs] == [1, 2, 3, 4]
    assert net.epoch == 4


# ---------------------------------------------------------------------- what is kept


def test_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    away = (X, (Y + 1) % 3)  # the better the training, the worse this gets
    net = dense(Adam(0.01))
    how = {**HOW, "validation_set": away, "epochs": 6}
    net.fit(X, Y, callbacks=[Checkpoint(keep=2)], folder=tmp_path / "run", **how)
    names = checkpoints(str(tmp_path / "run" / "checkpoints"))
    assert names[0] == "epoch-000002-step-000000000.safetensors"
    assert names[-1] == "epoch-000007-step-000000000.safetensors"
    assert len(names) <= 3
    best = Network.load(tmp_path / "run" / "checkpoints" / names[0])
    other = dense(Adam(0.01))
    other.fit(X, Y, **{**how, "epochs": 1})
    np.testing.assert_array_equal(best.feedforward(X), other.feedforward(X))
    assert sorted(os.listdir(tmp_path / "run" / "checkpoints")) == names


@pytest.mark.parametrize("ends", ["all epochs", "stop", "error", "ctrl-c", "explosion"])
def test_the_best_weights_come_back_whatever_ends_it(ends: str, tmp_path: Path) -> None:
    class Ends(Callback):
        def on_step(self, run: Any, record: Any) -> Stop | None:
            if (record.epoch, record.step) != (4, 2):
                return None
            if ends == "error":
                raise KeyError(ends)
            if ends == "ctrl-c":
                os.kill(os.getpid(), signal.SIGINT)
            return Stop(ends) if ends == "stop" else None

    x = X.copy()
    net, best = dense(Adam(0.01)), dense(Adam(0.01))
    how = {**HOW, "validation_set": (X, (Y + 1) % 3)}
    best.fit(X, Y, **{**how, "epochs": 1})
    if ends == "explosion":

        class Spoils(Callback):
            def on_epoch(self, run: Any, record: Any) -> None:
                x[:] = np.inf if record.epoch == 2 else x

        with np.errstate(all="ignore"):
            history = history_of(net, x, Y, callbacks=[KeepBest(), Spoils()], **how)
        assert history.diverged
    elif ends == "error":
        with pytest.raises(KeyError):
            net.fit(X, Y, callbacks=[KeepBest(), Ends()], **how)
    else:
        history = net.fit(X, Y, callbacks=[KeepBest(), Ends()], **how)
        assert history.kept == 1
    np.testing.assert_array_equal(net.feedforward(X), best.feedforward(X))


def test_a_network_keeps_its_optimizer_where_it_is_asked(tmp_path: Path) -> None:
    whole, halves = dense(Momentum(0.05)), dense(Momentum(0.05))
    whole.fit(X, Y, epochs=2, shuffle=False, progress=False)
    halves.fit(X, Y, epochs=1, shuffle=False, progress=False)
    halves.save(tmp_path / "with", optimizer=True)
    halves.save(tmp_path / "without")
    found = {}
    for name in ("with", "without"):
        again = Network.load(tmp_path / name)
        again.fit(X, Y, epochs=1, shuffle=False, progress=False)
        found[name] = again.feedforward(X)
    np.testing.assert_array_equal(found["with"], whole.feedforward(X))
    assert not np.array_equal(found["without"], whole.feedforward(X))
    with pytest.raises(CheckpointError, match=r"holds a network and no training to go on with"):
        gone_on(tmp_path / "with")


def test_a_checkpoint_is_a_model_file(tmp_path: Path) -> None:
    folder = begun(tmp_path / "run") / "checkpoints"
    net = dense(Adam(0.01))
    net.class_names = ("a", "b", "c")
    net.save(tmp_path / "model")
    loaded = Network.load(folder / checkpoints(str(folder))[-1])
    assert (loaded.layers, loaded.seed, loaded.epoch) == (net.layers, net.seed, 3)
    assert loaded._train_state
    assert loaded._train_state.optimizer_state.step > 0
    with open(folder / checkpoints(str(folder))[-1], "rb") as file:
        metadata = read_contents(file).metadata
    assert metadata["version"] == "2"
    assert json.loads(metadata["architecture"])["learner"]["optimizer"]["type"] == "Adam"


# ---------------------------------------------------------------------- what does not fit


OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "data": ({"data": (X + 1, Y)}, "its data: then .* samples, digest"),
    "labels": ({"data": (X, (Y + 1) % 3)}, "its data"),
    "validation": ({"validation_set": (X[:41], Y[:41])}, "its validation set"),
    "no validation": (
        {"validation_set": None, "callbacks": [Checkpoint(), EarlyStopping("cost", 3)]},
        "its validation",
    ),
    "mini-batches": ({"mini_batch_size": 8}, "its mini-batches: then 'of 16"),
    "order": ({"shuffle": False}, "its mini-batches"),
    "optimizer": (
        {"rule": SGD(0.1)},
        r"its optimizer: then 'Adam\(learning_rate=0.01\)', now 'SGD\(learning_rate=0.1\)'",
    ),
    "rate": ({"rule": Adam(0.02)}, "its optimizer"),
    "callbacks": ({"callbacks": [Checkpoint()]}, r"its callbacks: then .*EarlyStopping"),
    "patience": ({"callbacks": [Checkpoint(4), EarlyStopping(patience=4)]}, r"its callbacks: then .*patience"),
    "best": (
        {"callbacks": [Checkpoint(4, monitor="cost"), EarlyStopping(patience=3)]},
        r"its callbacks: then .*monitor",
    ),
}


@pytest.mark.parametrize(("options", "rule"), OTHERS.values(), ids=OTHERS)
def test_another_training_is_refused(options: dict[str, Any], rule: str, tmp_path: Path) -> None:
    folder = begun(tmp_path / "run")
    held = folder / "checkpoints"
    before = {name: (held / name).read_bytes() for name in checkpoints(str(held))}
    with pytest.raises(CheckpointError, match=rf"is of another training, .*{rule}.*anyway=True"):
        gone_on(folder, **options)
    assert {name: (held / name).read_bytes() for name in checkpoints(str(held))} == before


def test_another_training_goes_on_anyway(tmp_path: Path) -> None:
    folder = begun(tmp_path / "run")
    with pytest.warns(GedankenWarning, match="not comparable with one that was never stopped: its data"):
        _, history = gone_on(Resume(folder, anyway=True), data=(X + 1, Y))
    assert len(history.epochs) == 4


@pytest.mark.parametrize("key", ["processor", "library", "NumPy", "engine"])
def test_another_machine_is_told_of(key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = begun(tmp_path / "run")
    place = {
        "processor": ("gedanken.training.resume._processor", lambda engine: "another"),
        "library": ("gedanken.__version__", "9.9"),
        "NumPy": ("numpy.__version__", "9.9"),
    }
    if key != "engine":
        monkeypatch.setattr(*place[key])
    net = dense(Adam(0.01), "numpy" if key == "engine" else "cpu")
    with pytest.warns(GedankenWarning, match=f"numerically close .*{key}: then"):
        net.fit(X, Y, callbacks=[Checkpoint(4), EarlyStopping(patience=3)], resume=folder, **HOW)


def test_another_network_is_refused(tmp_path: Path) -> None:
    folder = begun(tmp_path / "run")
    net = Network(3).input((12,)).add(FullyConnectedLayer(3)).add(SoftMax()).regression(Adam(0.01))
    callbacks = [Checkpoint(4), EarlyStopping(patience=3)]
    with pytest.raises(CheckpointError, match="its layers: then"):
        net.fit(X, Y, callbacks=callbacks, resume=folder, **HOW)
    before = net.feedforward(X)
    with pytest.raises(CheckpointError, match="must have the entries"), pytest.warns(GedankenWarning):
        net.fit(X, Y, callbacks=callbacks, resume=Resume(folder, anyway=True), **HOW)
    np.testing.assert_array_equal(net.feedforward(X), before)


def _shorter(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def _flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage", [_shorter, _flipped, lambda path: path.write_bytes(b"")], ids=["cut", "bit", "empty"]
)
def test_a_damaged_checkpoint_is_passed_over(damage: Callable[[Path], Any], tmp_path: Path) -> None:
    expected = outcome(*unbroken(tmp_path / "whole"))
    folder = begun(tmp_path / "run")
    held = folder / "checkpoints"
    names = checkpoints(str(held))
    damage(held / names[-1])
    with pytest.warns(GedankenWarning, match=f"{names[-1]}.*; the one before it is taken"):
        assert outcome(*gone_on(folder)) == expected
    folder = begun(tmp_path / "again")
    for name in checkpoints(str(folder / "checkpoints")):
        damage(folder / "checkpoints" / name)
    with pytest.raises(CheckpointError), pytest.warns(GedankenWarning):
        gone_on(folder)


def test_a_newer_version_is_an_error(tmp_path: Path) -> None:
    folder = begun(tmp_path / "run")
    file = folder / "checkpoints" / checkpoints(str(folder / "checkpoints"))[-1]
    file.write_bytes(file.read_bytes().replace(b'"version": "2"', b'"version": "3"'))
    with pytest.raises(CheckpointError, match="has version 3 of the format, this library reads up to 2: update it"):
        gone_on(folder)


def test_places_without_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="resume must be a run's folder or a checkpoint, and there is no"):
        gone_on(tmp_path / "none.safetensors")
    (tmp_path / "empty").mkdir()
    for name in ("empty", "none"):
        with pytest.warns(GedankenWarning, match=rf"{name} has no checkpoint yet; the training begins anew there"):
            first = outcome(*gone_on(tmp_path / name))
        assert outcome(*gone_on(tmp_path / name)) == first, "what it wrote is there, as a script expects"
    (tmp_path / "text").write_text("no checkpoint")
    with pytest.raises(CheckpointError, match="text: is not a model file"):
        gone_on(tmp_path / "text")
    for wrong in (3, b"x", ["a"], True):
        with pytest.raises((ArgumentError, CheckpointError), match="resume must be"):
            gone_on(wrong)


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    folder = begun(tmp_path / "run")
    net = dense(Adam(0.01))
    with pytest.raises(ArgumentError, match="folder must be one without checkpoints of another run"):
        net.fit(X, Y, callbacks=[Checkpoint()], folder=folder, **HOW)
    assert net.epoch == 0


ALONE = """
import sys
import time
from gedanken import Adam, ArgumentError, Callback, Checkpoint
from tests.training.chaos import X, Y, dense

class Waits(Callback):
    shows = True

    def on_step(self, run, record):
        print("trains", flush=True)
        time.sleep(60)

resume = None if sys.argv[1] == "first" else sys.argv[2]
how = {"folder": sys.argv[2], "resume": resume, "progress": False}
try:
    dense(Adam(0.01)).fit(X, Y, callbacks=[Checkpoint(), Waits()], **how)
except ArgumentError as error:
    print(error)
"""


def test_two_programs_do_not_go_on_with_the_same_run(tmp_path: Path) -> None:
    folder = str(tmp_path / "run")
    for name in ("first", "second", "third"):
        (tmp_path / name).mkdir()
    with Program(tmp_path / "first", ALONE, ["first", folder]) as program:
        program.wait_for("trains")
        rule = f"folder must be one in which no other training writes at this moment, got '{folder}'"
        assert rule in run(tmp_path / "second", ALONE, ["second", folder], says=None)
        program.send(signal.SIGKILL)
        program.end(code=-signal.SIGKILL, says=None)
    with Program(tmp_path / "third", ALONE, ["third", folder]) as program:
        program.wait_for("trains")


def test_what_explodes_does_so_again(tmp_path: Path) -> None:
    x = X.copy()
    x[100] = 1e30
    net, how = dense(SGD(0.1)), {**HOW, "shuffle": False, "validation_set": None}
    history = history_of(net, x, Y, callbacks=[Checkpoint(1), KeepBest()], folder=tmp_path / "run", **how)
    assert history.diverged
    again = dense(SGD(0.1))
    found = history_of(again, x, Y, callbacks=[Checkpoint(1), KeepBest()], resume=tmp_path / "run", **how)
    assert (found.diverged, found.reason) == (True, history.reason)
    assert outcome(again, found) == outcome(net, history)


# ---------------------------------------------------------------------- disks


FULL = """
import os
import resource
import signal
import sys
import warnings
from gedanken import Adam, Checkpoint
from tests.training.chaos import X, Y, dense

def free():
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
size = int(sys.argv[1])
net = dense(Adam(0.01))
how = {"mini_batch_size": 16, "epochs": 3, "progress": False, "folder": "run"}

class Fills(Checkpoint):
    def on_epoch(self, run, record):
        if record.epoch == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
        return super().on_epoch(run, record)

if size:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
try:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        history = net.fit(X, Y, callbacks=[Fills()], **how)
    free()
    print(history.reason, net.epoch, [str(one.message) for one in told])
except OSError as error:
    free()
    print("error", net.epoch, error.filename)
print(sorted(os.listdir("run/checkpoints")) if os.path.isdir("run/checkpoints") else "nothing")
"""


def test_a_full_disk_is_an_error_before_the_training(tmp_path: Path) -> None:
    found = run(tmp_path, FULL, ["100"])
    assert re.match(r"error 0 .*/run/checkpoints/epoch-000001-step-000000000.safetensors\n", found)
    assert found.endswith("nothing\n")


def test_a_disk_that_becomes_full_is_a_warning(tmp_path: Path) -> None:
    found = run(tmp_path, FULL, ["0"])
    assert "all epochs done 3" in found
    assert "a checkpoint could not be written, the training goes on and tries again: " in found
    assert "'epoch-000001-step-000000000.safetensors'" in found.splitlines()[-1]
    assert "epoch-000004-step-000000000.safetensors'" not in found.splitlines()[-1]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    net = dense(Adam(0.01))
    for name in (tmp_path / "file", tmp_path / "file" / "run", "nul\0"):
        with pytest.raises(ArgumentError, match="folder must be a folder that can be written to"):
            net.fit(X, Y, callbacks=[Checkpoint()], folder=name, **HOW)
    assert net.epoch == 0


@pytest.mark.parametrize("given", ["30", "s", "30 x", "-3 s", "0 s", "", "epochs", 0, -1, 1.5, True, None, [3]])
def test_how_often_is_looked_at(given: Any) -> None:
    with pytest.raises(ArgumentError, match="Checkpoint every must be"):
        Checkpoint(given)


@pytest.mark.parametrize("given", ["epoch", 1, np.int64(5), 10**9, "30 s", "30s", "0.5 min", "2 h", "1 d"])
def test_how_often(given: Any) -> None:
    Checkpoint(given)


# ---------------------------------------------------------------------- the command line


def test_the_command_line_goes_on_after_a_kill(tmp_path: Path) -> None:
    words = ["train", "drawn-digits", "--limit", "1000", "--network", "mlp", "--epochs", "36", "--early-stop", "40"]
    command = f"import sys; from gedanken.cli.main import main; sys.exit(main({words!r} + sys.argv[1:]))"
    whole = "import sys; from gedanken.cli.main import main; sys.exit(main(sys.argv[1:]))"
    with Program(tmp_path, command, ["--checkpoint-every", "3", "--folder", "run", "--output", "one"]) as program:
        while len(checkpoints(str(tmp_path / "run" / "checkpoints"))) < 2:
            assert program._process.poll() is None, program.err
            time.sleep(0.01)
        program.send(signal.SIGKILL)
        program.end(code=-signal.SIGKILL, says=None)
    run(tmp_path, whole, ["train", "--resume", "run"], says="goes on from run/checkpoints/")
    run(tmp_path, command, ["--output", "other", "--quiet"])
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


# ---------------------------------------------------------------------- what attackers found


class Told(Callback):
    """Its state is what it is told."""

    def __init__(self, *values: Any) -> None:
        self.values = list(values)

    def state(self) -> dict[str, Any]:
        return {"v": self.values[0] if len(self.values) == 1 else self.values.pop(0)}


@pytest.mark.parametrize(
    "value",
    [np.float64(1.5), np.int64(3), np.bool_(True), -1, float("nan"), float("-inf"), 1 << 70, True, "\u00e4\0", ""],
    ids=repr,
)
def test_a_state_that_is_written_is_read(value: Any, tmp_path: Path) -> None:
    dense(Adam(0.01)).fit(X, Y, callbacks=[Checkpoint(), Told(value)], folder=tmp_path, **{**HOW, "epochs": 1})
    history = gone_on(tmp_path, callbacks=[Checkpoint(), Told(value)], epochs=2)[1]
    assert len(history.epochs) == 2


def test_a_state_that_becomes_none_is_a_warning(tmp_path: Path) -> None:
    net = dense(Adam(0.01))
    with pytest.warns(GedankenWarning, match=r"could not be written down, it goes on: Told.state must return"):
        net.fit(X, Y, callbacks=[Checkpoint(), Told(1, None)], folder=tmp_path, **HOW)
    assert net.epoch == 4


def test_what_came_after_an_older_checkpoint_is_set_aside(tmp_path: Path) -> None:
    folder = begun(tmp_path / "run", (4, 20), "epoch")
    held = folder / "checkpoints"
    first = held / checkpoints(str(held))[0]
    with pytest.warns(GedankenWarning, match="not comparable"):
        gone_on(Resume(first, anyway=True), data=(X + 1, Y), epochs=2)
    assert checkpoints(str(held))[-1] == "epoch-000003-step-000000000.safetensors"
    assert any(name.endswith(".safetensors.old") for name in os.listdir(held))


def test_a_folder_in_the_user_s_own_and_one_that_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)

    class Leaves(Callback):
        def on_epoch(self, run: Any, record: Any) -> None:
            os.chdir(tmp_path / "elsewhere")

    dense(Adam(0.01)).fit(X, Y, callbacks=[Checkpoint(), Leaves()], folder="own", **HOW)
    assert len(checkpoints(str(tmp_path / "own" / "checkpoints"))) == 3
    assert not os.listdir(tmp_path / "elsewhere")
    dense(Adam(0.01)).fit(X, Y, callbacks=[Checkpoint()], folder="~/home", **HOW)
    assert len(checkpoints(str(tmp_path / "home" / "checkpoints"))) == 3
    assert gone_on("~/home", callbacks=[Checkpoint()])[1].reason == "all epochs done"


def test_a_folder_of_a_run_with_checkpoints_is_nobody_else_s(tmp_path: Path) -> None:
    folder, other = begun(tmp_path / "run"), begun(tmp_path / "other")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ArgumentError, match="folder must be one without checkpoints of another run"):
        dense(Adam(0.01)).fit(X, Y, folder=folder, **HOW)
    with pytest.raises(ArgumentError, match="folder must be one without checkpoints of another run"):
        gone_on(folder, folder=other)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    again = gone_on(folder, folder=tmp_path / "third")[1]
    assert (tmp_path / "third" / "costs.bin").stat().st_size == 8 * again.steps
    assert np.isfinite(np.fromfile(tmp_path / "third" / "costs.bin")).all()


def test_a_refused_state_changes_no_file(tmp_path: Path) -> None:
    how = {**HOW, "epochs": 1}
    dense(Adam(0.01)).fit(X, Y, callbacks=[Checkpoint(), Told(1)], folder=tmp_path / "run", **how)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(CheckpointError, match="Told: v must be of type str, got 1"):
        gone_on(tmp_path / "run", callbacks=[Checkpoint(), Told("x")], epochs=2)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_one_checkpoint_serves_one_training(tmp_path: Path) -> None:
    one = Checkpoint()
    with pytest.raises(ArgumentError, match="a Checkpoint must be given once, to one training at a time"):
        dense(Adam(0.01)).fit(X, Y, callbacks=[one, one], folder=tmp_path / "a", **HOW)
    for name in "bc":
        dense(Adam(0.01)).fit(X, Y, callbacks=[one], folder=tmp_path / name, **HOW)
        assert checkpoints(str(tmp_path / name / "checkpoints"))


HOSTILE: dict[str, tuple[str, Any]] = {
    "steps of text": ("history.text", ("steps", "x")),
    "too many steps": ("history.text", ("steps", 10**18)),
    "negative steps": ("history.text", ("steps", -5)),
    "no epochs": ("history.text", ("epochs", [{"epoch": 1}])),
    "answers of nobody's": ("history.text", ("answers", [[1, 2, "x", "Exec", []]])),
    "an epoch beyond": ("place.epoch", 2**40),
    "an epoch of text": ("place.epoch", "3"),
    "a source that is none": ("source", "{"),
}


@pytest.mark.parametrize(("name", "value"), HOSTILE.values(), ids=HOSTILE)
def test_a_checkpoint_that_somebody_made_up_is_refused(name: str, value: Any, tmp_path: Path) -> None:
    folder = begun(tmp_path / "run")
    file = folder / "checkpoints" / checkpoints(str(folder / "checkpoints"))[-1]
    training = read_training(str(file))
    state = dict(training.state)
    if isinstance(value, tuple):
        value = json.dumps({**json.loads(state[name]), value[0]: value[1]})
    state[name] = value
    values = Network.load(file)._plan.state()  # type: ignore[union-attr]
    architecture = Network.load(file).architecture()
    write_model(str(file), Model(architecture, values, TrainingState(state, training.about)))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(CheckpointError):
        gone_on(file)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_mini_batches_as_they_are_ready_are_not_the_same(tmp_path: Path) -> None:
    def train(epochs: int, **options: Any) -> Any:
        with ArrayGenerator(X, Y, mini_batch_size=16, order="as ready", mode="threads", workers=2) as data:
            return dense(Adam(0.01)).fit(data, callbacks=[Checkpoint()], epochs=epochs, progress=False, **options)

    train(1, folder=tmp_path)
    with pytest.warns(GedankenWarning, match=r"close to one that was never stopped: workers give mini-batches as they"):
        history = train(2, resume=tmp_path)
    assert [record.samples for record in history.epochs] == [320, 320]


@pytest.mark.parametrize(
    "change",
    [{"data": 5}, {"network": {}}, {"optimizer": 5}, {"checkpoint_every": 5}, {"command": "x"}, [], "{"],
    ids=repr,
)
def test_arguments_that_somebody_made_up_are_refused(
    change: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "run")
    words = ["train", "drawn-digits", "--limit", "200", "--network", "mlp", "--checkpoint-every", "epoch", "--quiet"]
    assert main([*words, "--folder", folder]) == 0
    file = tmp_path / "run" / "arguments.json"
    known = json.loads(file.read_text())
    file.write_text(change if isinstance(change, str) else json.dumps({**known, **change} if change else change))
    assert main(["train", "--resume", folder]) == 2
    assert "arguments.json" in capsys.readouterr().err


def test_a_generator_that_was_looked_into_begins_anew(tmp_path: Path) -> None:
    def data() -> ArrayGenerator:
        made = ArrayGenerator(X, Y, mini_batch_size=16, shuffle=True, workers=0)
        next(iter(made))  # as one looks at a mini-batch
        return made

    def train(*callbacks: Callback, **options: Any) -> tuple[Network, Any]:
        net = dense(Adam(0.01))
        return net, net.fit(data(), callbacks=[Checkpoint(), *callbacks], epochs=2, progress=False, **options)

    expected = outcome(*train(folder=tmp_path / "whole"))
    with pytest.raises(KeyError):
        train(Breaks((1, 5)), folder=tmp_path / "run")
    assert outcome(*train(resume=tmp_path / "run")) == expected


class Presses(Generator):
    """Ctrl-C comes while a call is made, once."""

    def __init__(self, call: int, **options: Any) -> None:
        super().__init__(**options)
        self.left = call

    def __len__(self) -> int:
        return 40

    def get_mini_batches(self, index: int) -> list[Any]:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return list(zip(X[2 * index : 2 * index + 2], Y[2 * index : 2 * index + 2], strict=True))


@pytest.mark.parametrize("call", [1, 2, 8, 21, 40, 41, 44, 79, 100, 118])
def test_ctrl_c_while_data_are_waited_for_loses_nothing(call: int, tmp_path: Path) -> None:
    def train(call: int, **options: Any) -> tuple[Network, Any]:
        net, data = dense(Adam(0.01)), Presses(call, mini_batch_size=8, workers=0, shuffle=True)
        return net, net.fit(data, callbacks=[Checkpoint()], epochs=3, progress=False, **options)

    expected = outcome(*train(-1, folder=tmp_path / "whole"))
    assert train(call, folder=tmp_path / "run")[1].reason == "Ctrl-C"
    assert outcome(*train(-1, resume=tmp_path / "run")) == expected


@pytest.mark.parametrize("call", [1, 2, 9, 20, 40, 41, 60, 81, 119])
def test_ctrl_c_while_a_validation_is_waited_for(call: int) -> None:
    net, validation = dense(Adam(0.01)), Presses(call, mini_batch_size=8, workers=0)
    history = net.fit(X, Y, validation_set=validation, callbacks=[KeepBest()], epochs=3, progress=False)
    assert history.reason == "Ctrl-C"
    whole = dense(Adam(0.01)).fit(
        X, Y, validation_set=Presses(-1, mini_batch_size=8, workers=0), epochs=3, progress=False
    )
    found = [one for one in history["validation_cost"] if one is not None]
    assert found == whole["validation_cost"][: len(found)]


@pytest.mark.parametrize("first", [None, Hogwild(workers=1, backend="threads")], ids=["one process", "workers"])
def test_workers_may_come_and_go(first: Hogwild | None, tmp_path: Path) -> None:
    second = Hogwild(workers=1, backend="threads") if first is None else None
    folder = begun(tmp_path / "run", every="epoch", parallel=first)
    with pytest.warns(GedankenWarning, match="numerically close to one that was never stopped"):
        _, history = gone_on(folder, parallel=second)
    assert [record.samples for record in history.epochs] == [320] * 4


def test_the_command_line_keeps_its_hands_off_a_run_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["train", "drawn-digits", "--limit", "200", "--network", "mlp", "--quiet"]
    assert main([*words, "--checkpoint-every", "epoch", "--folder", "run"]) == 0
    before = (tmp_path / "run" / "arguments.json").read_bytes()
    lock = "import fcntl, time; file = open('run/.lock', 'wb'); fcntl.flock(file, fcntl.LOCK_EX); "
    with Program(tmp_path, lock + "print('held', flush=True); time.sleep(60)") as program:
        program.wait_for("held")
        assert main(["train", "--resume", "run", "--epochs", "9"]) == 2
        assert "in which no other training writes at this moment" in capsys.readouterr().err
    assert (tmp_path / "run" / "arguments.json").read_bytes() == before
    monkeypatch.chdir(tmp_path / "run" / "checkpoints")
    for name in (".", checkpoints(".")[-1]):
        assert main(["train", "--resume", name, "--epochs", "2"]) == 0


def test_a_checkpoint_has_the_arrays_of_its_moment(tmp_path: Path) -> None:
    class Sums(Callback):
        def __init__(self) -> None:
            self.sums, self.steps = np.zeros(200_000), 0

        def on_step(self, run: Any, record: Any) -> None:
            self.steps += 1
            self.sums += 1

        def state(self) -> dict[str, Any]:
            return {"sums": self.sums, "steps": self.steps}

    dense(Adam(0.01)).fit(X, Y, callbacks=[Checkpoint(3, keep=99), Sums()], folder=tmp_path, **HOW)
    held = tmp_path / "checkpoints"
    for name in checkpoints(str(held)):
        state = read_training(str(held / name)).state
        assert (state["callbacks.1.sums"] == state["callbacks.1.steps"]).all(), name


def test_functions_of_a_cost_are_compared(tmp_path: Path) -> None:
    calls = [0]

    def cost(k: float) -> Any:
        def within(y: Any, target: Any, deep: bool = True) -> Any:
            calls[0] += 1  # what changes is not looked at
            inner = lambda: k * ((y - target) ** 2).mean(1)  # noqa: E731
            return within(y, target, False) if deep and k in {1.0, 2.0, 3.0} else inner()

        return CustomCost(within, lambda y, target: 2 * k * (y - target) / 3)

    def net(k: float) -> Network:
        return Network(3).input((12,)).add(FullyConnectedLayer(3)).regression(Adam(0.01), cost(k))

    wanted = np.eye(3, dtype="float32")[Y]
    how = {"epochs": 1, "mini_batch_size": 16, "progress": False}
    net(1.0).fit(X, wanted, callbacks=[Checkpoint()], folder=tmp_path / "run", **how)
    with pytest.raises(CheckpointError, match=r"is of another training, its functions: then"):
        net(100.0).fit(X, wanted, callbacks=[Checkpoint()], resume=tmp_path / "run", **{**how, "epochs": 2})
    history = net(1.0).fit(X, wanted, callbacks=[Checkpoint()], resume=tmp_path / "run", **{**how, "epochs": 2})
    assert len(history.epochs) == 2


class Remembers(Callback):
    """Halves the rate in every fifth step, and says nothing of how many there were."""

    def __init__(self) -> None:
        self.steps = 0

    def on_step(self, run: Any, record: Any) -> SetRate | None:
        self.steps += 1
        return SetRate(0.5) if self.steps % 5 == 0 else None


def test_a_callback_that_says_nothing_of_itself_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    how = {**HOW, "callbacks": [Checkpoint(), Remembers()]}
    dense(Adam(0.01)).fit(X, Y, **how, folder=tmp_path)
    dense(Adam(0.01)).fit(X, Y, **{**how, "progress": True, "epochs": 4}, resume=tmp_path)
    assert "if Remembers need nothing of what came before: they have no state()" in capsys.readouterr().err


def test_a_generator_of_other_data_is_another_one(tmp_path: Path) -> None:
    def run(x: Any, **how: Any) -> Any:
        with ArrayGenerator(x, Y, mini_batch_size=16, shuffle=True, seed=1, mode="serial") as generator:
            given = {name: value for name, value in HOW.items() if name not in ("mini_batch_size", "shuffle")}
            return dense(Adam(0.01)).fit(
                generator, callbacks=[Checkpoint()], **{**given, "validation_set": None, **how}
            )

    run(X, folder=tmp_path)
    with pytest.raises(CheckpointError, match=r"its data: then .* arrays"):
        run(X + 1, resume=tmp_path, epochs=4)
    run(X, resume=tmp_path, epochs=4)


def test_other_functions_of_a_callback_make_another_training(tmp_path: Path) -> None:
    def run(factor: float, **how: Any) -> None:
        calls = Calls(on_epoch=lambda run, record: SetRate(factor))
        dense(Adam(0.01)).fit(X, Y, callbacks=[Checkpoint(), calls], **{**HOW, **how})

    run(0.5, folder=tmp_path)
    with pytest.raises(CheckpointError, match="its functions"):
        run(0.25, resume=tmp_path, epochs=4)
    run(0.5, resume=tmp_path, epochs=4)
