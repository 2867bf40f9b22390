"""Records as lines of JSON, and what callbacks can answer."""

import json
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import (
    Adam,
    ArgumentError,
    Callback,
    EarlyStopping,
    EpochRecord,
    GedankenWarning,
    Network,
    Run,
    Save,
    SetRate,
    StepRecord,
    Stop,
)
from tests.training.test_one_at_a_time import QUIET, X, Y, network


def test_every_record_is_a_line_of_json(tmp_path: Path) -> None:
    lines: list[str] = []

    class Lines(Callback):
        def on_start(self, run: Run) -> None:
            lines.append(run.to_json())

        def on_step(self, run: Run, record: StepRecord) -> None:
            lines.append(record.to_json())

        def on_epoch(self, run: Run, record: EpochRecord) -> Stop | None:
            lines.append(record.to_json())
            return Stop("enough") if record.epoch == 2 else None

    net = network(metrics=["accuracy", "confusion_matrix"])
    options = {"callbacks": [Lines()], "snapshot_step": 1e-9, "folder": str(tmp_path)}
    history = net.fit(X, Y, epochs=3, validation_set=0.25, **options, **QUIET)
    lines += [history.to_json(), net.evaluate(X, Y, progress=False).to_json()]
    lines.append(history.epochs[0]._replace(cost=math.nan, validation_cost=math.inf).to_json())
    found = [json.loads(line, parse_constant=pytest.fail) for line in lines]
    assert not any("\n" in line for line in lines)
    run, told, evaluation, odd = found[0], found[-3], found[-2], found[-1]
    assert (run["folder"], run["config"]["optimizer"]) == (
        str(tmp_path),
        repr(net._train_state.optimizer_state.optimizer),
    )  # type: ignore[union-attr]
    assert abs(run["started"] - time.time()) < 600
    assert told["run"] == run
    assert told["answers"] == [{"epoch": 2, "step": 0, "callback": "Lines", "answer": {"stop": "enough"}}]
    assert [record["epoch"] for record in told["epochs"]] == [1, 2]
    assert len(told["epochs"][0]["confusion_matrix"]) == 3
    assert set(evaluation) == {"cost", "accuracy", "confusion_matrix"}
    assert odd["cost"] is None and odd["validation_cost"] is None


def test_runs_have_names_of_their_own() -> None:
    net = network()
    runs = [net.fit(X, Y, **QUIET).run for _ in range(3)]
    assert len({run.id for run in runs if run}) == 3
    assert all(run and run.folder == os.path.join("runs", run.id) for run in runs)


class Answers(Callback):
    """Answers after given epochs."""

    def __init__(self, answers: dict[int, Any]) -> None:
        self.answers = answers

    def on_epoch(self, run: Run, record: EpochRecord) -> Any:
        return self.answers.get(record.epoch)


def test_a_callback_can_set_the_rate() -> None:
    net = network().regression(Adam(0.01))
    history = net.fit(X, Y, epochs=4, callbacks=[Answers({1: SetRate(0.5), 3: SetRate(4)})], **QUIET)
    first = history["rate"][0]
    np.testing.assert_allclose(history["rate"], [first, first / 2, first / 2, first * 2])
    assert [(told.epoch, told.answer) for told in history.answers] == [(1, SetRate(0.5)), (3, SetRate(4))]


@pytest.mark.parametrize("factor", [0, -1.0, math.nan, math.inf, "half"])
def test_a_rate_that_is_none_is_refused(factor: Any) -> None:
    with pytest.raises(ArgumentError, match="Answers: SetRate factor must be"):
        network().fit(X, Y, epochs=2, callbacks=[Answers({1: SetRate(factor)})], **QUIET)


def test_a_callback_can_ask_for_a_checkpoint(tmp_path: Path) -> None:
    net, answers = network(), Answers({1: Save("first"), 2: Save()})
    net.fit(X, Y, epochs=3, callbacks=[answers], folder=str(tmp_path / "new" / "run"), **QUIET)
    saved = {path.stem: Network.load(path) for path in (tmp_path / "new" / "run").glob("*.safetensors")}
    assert {name: one.epoch for name, one in saved.items()} == {"first": 1, "checkpoint": 2}


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../up", "/tmp/far", "a\0b", None, 3])
def test_a_checkpoint_stays_in_the_folder_of_its_run(name: Any, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="Answers: Save name must be a file's name without folders"):
        network().fit(X, Y, epochs=2, callbacks=[Answers({1: Save(name)})], folder=str(tmp_path / "run"), **QUIET)
    assert list(tmp_path.rglob("*.safetensors")) == []


@pytest.mark.parametrize("reason", [None, 5, b"enough"])
def test_a_reason_to_stop_is_a_text(reason: Any) -> None:
    with pytest.raises(ArgumentError, match="Answers: Stop reason must be a text"):
        network().fit(X, Y, epochs=2, callbacks=[Answers({1: Stop(reason)})], **QUIET)


def test_a_checkpoint_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.safetensors").mkdir()
    net = network()
    with pytest.warns(GedankenWarning, match="the network could not be saved as .*, the training goes on"):
        history = net.fit(X, Y, epochs=2, callbacks=[Answers({1: Save()})], folder=tmp_path, **QUIET)
    assert len(history.epochs) == 2


@pytest.mark.parametrize(
    ("hook", "ours"),
    [("on_epoch_end", "on_epoch"), ("on_train_begin", "on_start"), ("on_train_batch_end", "on_step")],
)
def test_hooks_of_other_libraries_are_refused(hook: str, ours: str) -> None:
    kind = type("Theirs", (Callback,), {hook: lambda self, *_: None})
    with pytest.raises(ArgumentError, match=rf"Theirs.{hook} would never be called; here it is {ours}\(run"):
        network().fit(X, Y, callbacks=[kind()], **QUIET)


def test_an_answer_before_the_first_step_is_refused() -> None:
    class Eager(Callback):
        def on_start(self, run: Run) -> Any:
            return Stop("too early")

    net = network()
    with pytest.raises(ArgumentError, match="on_start must return nothing"):
        net.fit(X, Y, callbacks=[Eager()], **QUIET)
    assert net.epoch == 0


def test_the_name_of_a_checkpoint_may_have_its_ending(tmp_path: Path) -> None:
    class Keeps(Callback):
        def on_epoch(self, run: Run, record: EpochRecord) -> Save:
            return Save("best.safetensors")

    network().fit(X, Y, callbacks=[Keeps()], folder=tmp_path, **QUIET)
    assert [path.name for path in tmp_path.glob("*.safetensors")] == ["best.safetensors"]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("val_loss", "validation_cost"), ("val_accuracy", "validation_accuracy"), ("loss", "cost"), ("acc", "accuracy")],
)
def test_values_are_known_by_other_names(theirs: str, ours: str) -> None:
    with pytest.raises(ArgumentError, match=f"got '{theirs}'; did you mean '{ours}'"):
        network().fit(X, Y, validation_set=(X, Y), callbacks=[EarlyStopping(theirs)], **QUIET)


@pytest.mark.parametrize(("theirs", "ours"), [("lower", "min"), ("higher", "max")])
def test_former_directions_are_told_the_new_ones(theirs: str, ours: str) -> None:
    with pytest.raises(ArgumentError, match=f"""mode must be "min" or "max", here '{ours}', got '{theirs}'"""):
        EarlyStopping(mode=theirs)
