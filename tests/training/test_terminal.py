"""What a person sees of a training: one live line on a terminal, few lines elsewhere."""

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import textwrap
from typing import Any

import pytest

from gedanken import EpochRecord, Run, Snapshot, StepRecord
from gedanken.training.display import Display
from gedanken.training.progress import Progress

PROGRAM = """
import time
import numpy as np
from gedanken import *

class Slow(Callback):
    def on_step(self, run, record):
        time.sleep(0.02)

X = np.random.default_rng(0).standard_normal((60, 4))
Y = X[:, :3].argmax(axis=1)
net = Network().input((4,)).add(FullyConnectedLayer(3)).add(SoftMax()).regression()
net.fit(X, Y, epochs=3, mini_batch_size=2, validation_set=0.2, snapshot_step=0.2, callbacks=[Slow()])
net.evaluate(X, Y)
"""
CLEAR = "\x1b[K"


def on_terminal(source: str, columns: int = 80) -> str:
    """Return all that a program writes to a terminal of its own."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"} | {"PYTHONIOENCODING": "ascii"}
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", source], stdout=theirs, stderr=theirs, stdin=theirs, env=environment
    ) as running:
        os.close(theirs)
        parts = []
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # Linux says so when the last writer has closed
                break
            if not part:
                break
            parts.append(part)
    os.close(ours)
    assert running.returncode == 0, b"".join(parts).decode()
    return b"".join(parts).decode()


def screen(written: str) -> list[str]:
    """Return the lines that stand on the terminal in the end."""
    return [_line(line) for line in written.replace("\r\n", "\n").split("\n")]


def _line(written: str) -> str:
    shown = ""
    for part in written.split("\r"):
        place = 0
        for number, text in enumerate(part.split(CLEAR)):
            shown = shown[:place] if number else shown
            shown = shown[:place] + text + shown[place + len(text) :]
            place += len(text)
    return shown


EPOCH = r"epoch {0}/3  cost \d\.\d+  accuracy \d\.\d+  validation_cost \d\.\d+  validation_accuracy \d\.\d+  \d+\.\d s"


@pytest.fixture(scope="module")
def written() -> str:
    return on_terminal(PROGRAM, columns=120)


def test_a_terminal_ends_with_one_line_for_each_epoch(written: str) -> None:
    *epochs, evaluation, last = screen(written)
    assert len(epochs) == 3
    for number, line in enumerate(epochs, start=1):
        assert re.fullmatch(EPOCH.format(number), line), line
    assert re.fullmatch(r"evaluation of 60 samples: cost \d\.\d+  accuracy \d\.\d+", evaluation)
    assert last == ""


def test_a_terminal_shows_one_live_line_that_is_written_over(written: str) -> None:
    live = re.findall(r"\r(epoch [^\r\n]*)" + re.escape(CLEAR), written)
    # 72 steps of 0.02 seconds or more: a line every 0.2 seconds, not one for every step
    assert 3 <= len(live) <= 36
    for line in live:
        assert re.match(r"epoch [123]/3 +\d+%  cost \d\.\d+  .*\d+:\d\d left$", line), line
    assert any(re.search(r"  accuracy \d\.\d+  [\d,]+ samples/s  0:\d\d left$", line) for line in live)
    assert written.count("\n") == 4


def test_a_live_line_is_cut_to_the_terminal() -> None:
    live = re.findall(r"\r(epoch [^\r\n]*)" + re.escape(CLEAR), on_terminal(PROGRAM, columns=30))
    assert live
    assert {len(line) for line in live} == {29}


@pytest.mark.parametrize("columns", [20, 60, 80])
def test_lines_with_many_metrics_fit_the_terminal(columns: int) -> None:
    names = '["accuracy", "f1", "precision", "recall", "matthews_correlation", "roc_auc"]'
    source = PROGRAM.replace("regression()", f"regression(metrics={names})").replace("0.02", "0.001")
    lines = screen(on_terminal(source, columns))
    assert len([line for line in lines if line.startswith("epoch ")]) == 3
    widest = "validation_matthews_correlation -0.0000"  # a part is not broken
    assert all(len(line) < columns or len(line.strip()) <= len(widest) for line in lines)
    assert sum("validation_roc_auc" in line for line in lines) == 3


def test_short_epochs_that_wait_for_data_have_one_line_each() -> None:
    stream, told = io.StringIO(), {"workers": "1 thread", "bottleneck": "a call takes long"}
    progress = Progress(Display(stream))
    for epoch in range(1, 101):
        record = EpochRecord(epoch, True, 8, 0.25, {}, None, {}, 0.1, 0.1, 0.0, 0.05, told)
        progress.on_epoch(Run(1, 100, None, None, False, ()), record)
    lines = stream.getvalue().splitlines()
    assert [line for line in lines if not line.startswith("epoch ")][:2] == [
        "  data by 1 thread",
        "  50% of it waiting for data; a call takes long",
    ]
    assert len(lines) <= 100 + 1 + 5


def test_a_shorter_live_line_leaves_nothing_of_a_longer_one() -> None:
    source = """
        from gedanken.training.display import Display
        display = Display()
        display.live("a long line", ["cost 1"], "1:00 left")
        display.live("short", [], "left")
        display.line("that stays")
        display.live("gone", [], "left")
        display.line("the end")
    """
    assert screen(on_terminal(textwrap.dedent(source))) == ["that stays", "the end", ""]


def test_redirected_output_is_plain_lines() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert "\r" not in done.stderr
    assert "\x1b" not in done.stderr
    lines = done.stderr.splitlines()
    assert [line for line in lines if re.fullmatch(EPOCH.format("[123]"), line)] != []
    assert len([line for line in lines if " left" not in line]) == 4
    assert len(lines) <= 4 + 15
    assert done.stdout == "", "a program's output is its own"


def test_nothing_is_written_where_no_progress_is_asked_for() -> None:
    source = PROGRAM.replace("snapshot_step=0.2", "snapshot_step=1e-9, progress=False").replace("0.02", "0")
    source = source.replace("Y)\n", "Y, progress=False)\n")
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


# ------------------------------------------------------------------ long trainings, without waiting for them

STEPS = 1000


def told(seconds: int, epochs: int, snapshot_step: int) -> list[str]:
    """Return the plain lines of a training of so many seconds, with a step a second."""
    stream = io.StringIO()
    progress, run = Progress(Display(stream)), Run(1, epochs, STEPS, 8 * STEPS, False, ("accuracy",))
    progress.on_start(run)
    for second in range(1, seconds + 1):
        epoch, step = (second - 1) // STEPS + 1, (second - 1) % STEPS + 1
        snapshot = None
        if second % snapshot_step == 0:
            snapshot = Snapshot(epoch, second / STEPS, 0.5, {"accuracy": 0.9}, 0.1, 8.0, float(second))
        progress.on_step(run, StepRecord(epoch, step, step / STEPS, 8, 0.5, 0.1, float(second), snapshot))
    progress.on_stop(run, "all epochs done")
    return stream.getvalue().splitlines()


def test_plain_lines_grow_with_the_logarithm_of_the_time() -> None:
    hour, ten_hours, hundred_hours = (len(told(3600 * n, 360 * n // 100 + 1, 10)) for n in (1, 10, 100))
    assert 10 <= hour <= 120
    assert 0 < ten_hours - hour <= 60
    assert hundred_hours - ten_hours == pytest.approx(ten_hours - hour, abs=3)


def test_a_plain_line_comes_with_the_first_snapshot_and_tells_what_is_left() -> None:
    lines = told(100, 1, 10)
    assert lines[0] == "epoch 1/1   1%  cost 0.5000  accuracy 0.9000  8 samples/s  16:30 left"
    assert lines[-1] == "epoch 1/1  10%  cost 0.5000  accuracy 0.9000  8 samples/s  15:00 left"
    assert told(9, 1, 10) == []


def test_hours_are_told_as_hours() -> None:
    assert told(10, 100, 10)[0].endswith("  27:46:30 left")


FIGURES: list[tuple[dict[str, Any], str]] = [
    ({}, "epoch 2/5  cost 0.2500  accuracy 0.5000  1.5 s"),
    ({"finished": False}, "epoch 2/5 (not finished)  cost 0.2500  accuracy 0.5000  1.5 s"),
    ({"cost": 12345.678}, "epoch 2/5  cost 1.235e+04  accuracy 0.5000  1.5 s"),
    ({"cost": float("nan")}, "epoch 2/5  cost nan  accuracy 0.5000  1.5 s"),
    ({"cost": 0.000012}, "epoch 2/5  cost 1.2e-05  accuracy 0.5000  1.5 s"),
    ({"metrics": {"confusion_matrix": [[1]], "f1": 0.25}}, "epoch 2/5  cost 0.2500  f1 0.2500  1.5 s"),
    (
        {"validation_cost": 0.5, "validation_metrics": {"accuracy": 1.0}},
        "epoch 2/5  cost 0.2500  accuracy 0.5000  validation_cost 0.5000  validation_accuracy 1.0000  1.5 s",
    ),
]


@pytest.mark.parametrize(("changes", "line"), FIGURES)
def test_the_line_of_an_epoch(changes: dict[str, Any], line: str) -> None:
    stream = io.StringIO()
    record = EpochRecord(2, True, 8, 0.25, {"accuracy": 0.5}, None, {}, 0.1, 1.5, 0.0)._replace(**changes)
    Progress(Display(stream)).on_epoch(Run(1, 5, 1, 8, False, ("accuracy",)), record)
    assert stream.getvalue() == line + "\n"


def test_the_reason_of_an_early_end_is_told() -> None:
    stream = io.StringIO()
    progress, run = Progress(Display(stream)), Run(1, 5, 1, 8, False, ())
    progress.on_stop(run, "all epochs done")
    progress.on_stop(run, "Ctrl-C")
    assert stream.getvalue() == "training ended: Ctrl-C\n"
