"""What a run leaves in its folder, also where it is killed, and what the command line tells of it."""

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import Adam, Callback, Checkpoint, CheckpointError
from gedanken.cli.main import main
from gedanken.training.run_folder import read_run
from tests.data.programs import Program, run
from tests.training.chaos import X, Y, dense

HOW: dict[str, Any] = {"mini_batch_size": 16, "epochs": 3, "progress": False, "validation_set": (X[:40], Y[:40])}


def trained(folder: Path, rate: float = 0.01, **options: Any) -> Any:
    return dense(Adam(rate)).fit(X, Y, folder=folder, **{**HOW, **options})


class Costs(Callback):
    def __init__(self) -> None:
        self.told: list[float] = []

    def on_step(self, run: Any, record: Any) -> None:
        self.told.append(record.cost)


def test_a_folder_holds_what_the_run_is_and_said(tmp_path: Path) -> None:
    costs = Costs()
    history = trained(tmp_path / "run", callbacks=[costs], snapshot_step=1e-9)
    about, records, found = read_run(str(tmp_path / "run"))
    assert history.run
    assert about["run"] == json.loads(history.run.to_json())
    assert about["made of"]["optimizer"] == "Adam(learning_rate=0.01)"
    assert about["made of"]["data"].startswith("320 samples, digest ")
    np.testing.assert_array_equal(found, costs.told)
    told = [(record["kind"], record.get("epoch")) for record in records]
    assert told == [(kind, n) for n in (1, 2, 3) for kind in [*["snapshot"] * 20, "epoch"]] + [("end", None)]
    epochs = [{k: v for k, v in record.items() if k != "kind"} for record in records if record["kind"] == "epoch"]
    assert epochs == [json.loads(record.to_json()) for record in history.epochs]
    assert records[-1]["reason"] == "all epochs done"


def test_nothing_is_written_where_no_folder_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    dense(Adam(0.01)).fit(X, Y, **HOW)
    assert not list(tmp_path.iterdir())
    dense(Adam(0.01)).fit(X, Y, callbacks=[Checkpoint()], **HOW)
    (folder,) = (tmp_path / "runs").iterdir()
    assert {path.name for path in folder.iterdir()} == {
        ".lock",
        "checkpoints",
        "costs.bin",
        "records.jsonl",
        "run.json",
    }


KILLED = """
import os
import signal
from gedanken import Adam, Callback, Checkpoint
from tests.training.chaos import X, Y, dense

class Kills(Callback):
    shows = True

    def on_step(self, run, record):
        if (record.epoch, record.step) == (2, 9):
            os.kill(os.getpid(), signal.SIGKILL)

how = {"mini_batch_size": 16, "epochs": 3, "progress": False, "validation_set": (X[:40], Y[:40])}
dense(Adam(0.01)).fit(X, Y, folder="run", callbacks=[Checkpoint(4), Kills()], **how)
"""


def test_a_killed_run_leaves_its_records(tmp_path: Path) -> None:
    with Program(tmp_path, KILLED) as program:
        program.end(code=-signal.SIGKILL, says=None)
    _, records, costs = read_run(str(tmp_path / "run"))
    assert [record["kind"] for record in records] == ["epoch"]
    assert len(costs) in (28, 29)  # whoever is told of a step first writes it
    costs = Costs()
    trained(tmp_path / "whole", callbacks=[costs])
    trained(tmp_path / "run", callbacks=[Checkpoint(4)], resume=tmp_path / "run")
    _, records, found = read_run(str(tmp_path / "run"))
    np.testing.assert_array_equal(found, costs.told)
    assert [record["kind"] for record in records] == ["epoch"] * 3 + ["end"]


def test_what_is_refused_changes_no_record(tmp_path: Path) -> None:
    trained(tmp_path / "run", callbacks=[Checkpoint()])
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    with pytest.raises(CheckpointError):
        trained(tmp_path / "run", callbacks=[Checkpoint()], rate=0.02, resume=tmp_path / "run")
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()} == before


FULL = """
import resource
import signal
import sys
import warnings
from gedanken import Adam, Callback
from tests.training.chaos import X, Y, dense

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

class Fills(Callback):
    def on_step(self, run, record):
        if record.epoch == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))

net = dense(Adam(0.01))
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    net.fit(X, Y, folder="run", callbacks=[Fills()], mini_batch_size=16, epochs=3, progress=False)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(net.epoch, len(told), told[0].message)
"""


def test_a_disk_that_becomes_full_is_one_warning(tmp_path: Path) -> None:
    assert "3 1 the run's folder cannot be written to any more, the training goes on" in run(tmp_path, FULL)


@pytest.mark.parametrize(
    "damage", ["run.json", "records.jsonl", "costs.bin", "text", "list", '"first_epoch": "x"', '"started": 1e300']
)
def test_what_is_no_run_is_refused(damage: str, tmp_path: Path) -> None:
    trained(tmp_path / "run")
    if ":" in damage:
        about = json.loads((tmp_path / "run" / "run.json").read_text())
        about["run"] |= json.loads(f"{{{damage}}}")
        (tmp_path / "run" / "run.json").write_text(json.dumps(about))
    elif damage in ("text", "list"):
        (tmp_path / "run" / "run.json").write_text("{" if damage == "text" else "[]")
    else:
        (tmp_path / "run" / damage).unlink()
    with pytest.raises(CheckpointError, match=r"is not the folder of a run|cannot be read as the folder of a run"):
        read_run(str(tmp_path / "run"))


# ---------------------------------------------------------------------- the command line


def test_runs_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    trained(Path("runs/one"))
    trained(Path("runs/two"), epochs=1)
    Path("runs/other").mkdir()
    assert main(["runs"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split("  ")[0] == "run"
    assert [row.split()[0] for row in rows] == ["runs/one", "runs/two"]
    assert "3/3" in rows[0]
    assert "validation_accuracy" in rows[0]
    assert rows[0].endswith("all epochs done")
    records = Path("runs/two/records.jsonl")
    records.write_bytes(records.read_bytes().split(b"\n")[0] + b'\n{"kind": "ep')  # as a kill may leave it
    assert main(["runs", "runs/two"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("not ended: it runs, or was killed")
    Path("runs/two/run.json").write_text("?")
    assert main(["runs"]) == 1
    told = capsys.readouterr()
    assert "runs/one" in told.out
    assert "runs/two cannot be read as the folder of a run" in told.err
    for words, rule in ((["runs", "none"], "none cannot be read"), (["runs", "runs/other"], "there is no run in")):
        assert main(words) == 2
        assert rule in capsys.readouterr().err


def test_runs_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    trained(Path("one"))
    trained(Path("same"))
    trained(Path("rate"), rate=0.02)
    trained(Path("short"), epochs=1)
    x = X.copy()
    x[-1] += 1
    dense(Adam(0.01)).fit(x, Y, folder="data", shuffle=False, **HOW)
    dense(Adam(0.01)).fit(X, Y, folder="order", shuffle=False, **HOW)

    def said(one: str, other: str, status: int) -> str:
        assert main(["compare", one, other]) == status
        return capsys.readouterr().out

    told = said("one", "same", 0)
    assert told.startswith("made of the same\nthe costs of all 60 steps are the same to the bit\n")
    assert told.count("epoch 3  cost ") == 2
    told = said("one", "rate", 1)
    assert "optimizer: 'Adam(learning_rate=0.01)' and 'Adam(learning_rate=0.02)'\n" in told
    assert "the costs part at step 2 of epoch 1: " in told
    told = said("one", "short", 1)
    assert told.startswith("last epoch: '3' and '1'\nthe costs are the same to the bit for 20 steps, where one of them")
    told = said("order", "data", 1)
    assert "data: '320 samples, digest " in told or "data: ...'" in told
    assert "the costs part at step 20 of epoch 1: " in told
    assert main(["compare", "one", "none"]) == 2
    assert "none is not the folder of a run" in capsys.readouterr().err
