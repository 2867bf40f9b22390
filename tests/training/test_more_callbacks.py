"""A time that is over, a table for spreadsheets, and functions as callbacks."""

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import (
    Adam,
    ArgumentError,
    Budget,
    Calls,
    Checkpoint,
    CSVLog,
    GedankenWarning,
    Run,
    SetRate,
    StepRecord,
    Stop,
)
from tests.training.chaos import X, Y, dense

HOW: dict[str, Any] = {"mini_batch_size": 16, "epochs": 3, "progress": False, "validation_set": (X[:40], Y[:40])}
RUN = Run(1, 9, 10, 100, False, ())


def step(seconds: float) -> StepRecord:
    return StepRecord(1, 1, 0.1, 10, 1.0, 0.1, seconds, None)


# ---------------------------------------------------------------------- a budget


@pytest.mark.parametrize("tail", [0.0, 0.2, 1.0])
def test_the_rate_comes_down_within_the_time(tail: float) -> None:
    budget, rate, rates = Budget("10 s", tail), 1.0, {}
    budget.on_start(RUN)
    for tenth in range(1, 100):
        answer = budget.on_step(RUN, step(tenth / 10))
        if answer:
            assert isinstance(answer, SetRate)
            rate *= answer.factor
        rates[tenth / 10] = rate
    assert rates[10 * (1 - tail) - 0.1 if tail < 1 else 0.1] == 1.0
    assert 0.01 < rates[9.9] < 0.06 if tail else rates[9.9] == 1.0
    assert list(rates.values()) == sorted(rates.values(), reverse=True)
    assert budget.on_step(RUN, step(10.0)) == Stop("its time of 10 s is over")


def test_a_training_ends_when_its_time_is_over() -> None:
    history = dense(Adam(0.01)).fit(X, Y, callbacks=[Budget("0.3 s")], **{**HOW, "epochs": 10**6})
    assert history.reason == "its time of 0.3 s is over"
    assert all(isinstance(one.answer, (SetRate, Stop)) for one in history.answers)


def test_a_budget_is_that_of_the_whole_run(tmp_path: Path) -> None:
    def breaks(run: Any, record: Any) -> None:
        if record.seconds > 0.2:
            raise KeyError

    def calls() -> list[Any]:
        return [Checkpoint(1), Budget("0.4 s", tail=1.0)]

    net, how = dense(Adam(0.01)), {**HOW, "epochs": 10**6}
    late = Calls(on_step=breaks)
    late.shows = True  # type: ignore[misc]
    with pytest.raises(KeyError):
        net.fit(X, Y, callbacks=[*calls(), late], folder=tmp_path / "run", **how)
    seen = []
    early = Calls(on_step=lambda run, record: seen.append(record.seconds))
    early.shows = True  # type: ignore[misc]
    history = dense(Adam(0.01)).fit(X, Y, callbacks=[*calls(), early], resume=tmp_path / "run", **how)
    assert history.reason == "its time of 0.4 s is over"
    assert min(seen) > 0.1
    factors = [one.answer.factor for one in history.answers if isinstance(one.answer, SetRate)]
    assert np.prod(factors) >= (1 + math.cos(math.pi * 20 / 21)) / 2 - 1e-12


@pytest.mark.parametrize("time", ["", "10", "0 s", "-1 s", "ten min", 10, None, "1e3 s"])
def test_a_time_is_looked_at(time: Any) -> None:
    with pytest.raises(ArgumentError, match="Budget time must be a time such as"):
        Budget(time)


@pytest.mark.parametrize("tail", [-0.1, 1.1, "0.2", math.nan])
def test_a_tail_is_looked_at(tail: Any) -> None:
    with pytest.raises(ArgumentError, match="Budget tail must be"):
        Budget("1 s", tail)


# ---------------------------------------------------------------------- a table


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_epochs_become_lines(tmp_path: Path) -> None:
    history = dense(Adam(0.01)).fit(X, Y, callbacks=[CSVLog()], folder=tmp_path / "run", **HOW)
    rows = table(tmp_path / "run" / "epochs.csv")
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3]
    for name in ("cost", "accuracy", "validation_cost", "validation_roc_auc"):
        assert [float(row[name]) for row in rows] == history[name]
    assert "confusion_matrix" not in rows[0]


def test_a_run_that_goes_on_has_all_lines(tmp_path: Path) -> None:
    def train(epochs: int, **options: Any) -> None:
        callbacks = [Checkpoint(), CSVLog(tmp_path / "own.csv")]
        dense(Adam(0.01)).fit(X, Y, callbacks=callbacks, **{**HOW, **options, "epochs": epochs})

    train(2, folder=tmp_path / "run")
    (tmp_path / "own.csv").write_text("spoilt")
    train(4, resume=tmp_path / "run")
    assert [row["epoch"] for row in table(tmp_path / "own.csv")] == ["1", "2", "3", "4"]


def test_a_table_that_cannot_be_written(tmp_path: Path) -> None:
    net = dense(Adam(0.01))
    with pytest.raises(OSError, match="Is a directory"):
        net.fit(X, Y, callbacks=[CSVLog(tmp_path)], **HOW)
    assert net.epoch == 0
    file = tmp_path / "log.csv"

    def spoils(run: Any, record: Any) -> None:
        if record.epoch == 1:
            file.unlink()
            file.mkdir()

    with pytest.warns(GedankenWarning, match=r"log.csv could not be written, the training goes on"):
        net.fit(X, Y, callbacks=[Calls(on_epoch=spoils), CSVLog(file)], **HOW)
    assert net.epoch == 3
    with pytest.raises(ArgumentError, match="CSVLog path must be a path"):
        CSVLog(3)  # type: ignore[arg-type]


# ---------------------------------------------------------------------- functions


def test_functions_are_called_and_answer() -> None:
    seen: list[Any] = []

    def on_epoch(run: Any, record: Any) -> Stop | None:
        return Stop("enough") if record.epoch == 2 else None

    calls = Calls(on_step=lambda run, record: seen.append((record.epoch, record.step)), on_epoch=on_epoch)
    history = dense(Adam(0.01)).fit(X, Y, callbacks=[calls], **HOW)
    assert history.reason == "enough"
    assert seen == [(epoch, number) for epoch in (1, 2) for number in range(1, 21)]
    with pytest.raises(ArgumentError, match="Calls on_step must be a function or None"):
        Calls(on_step=3)  # type: ignore[arg-type]
