"""Progress and plots are guests of a training: whatever becomes of the place where they go, it trains to its end."""

import gzip
import io
import os
import subprocess
import sys
import textwrap
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import Accuracy, ArgumentError, Callback, EarlyStopping, FullyConnectedLayer, Metric, Network, SoftMax
from gedanken.training.display import Display, cut, printable, width

X = np.random.default_rng(0).standard_normal((60, 4))
Y = X[:, :3].argmax(axis=1)
posix = pytest.mark.skipif(os.name != "posix", reason="needs pipes and files of POSIX")


def network(**options: Any) -> Network:
    return Network().input((4,)).add(FullyConnectedLayer(3)).add(SoftMax()).regression(**options)


class Bare:
    def write(self, text: str) -> None:
        """Take it and be no stream otherwise."""


class Broken:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


def closed() -> Any:
    stream = io.StringIO()
    stream.close()
    return stream


def detached() -> Any:
    stream = io.TextIOWrapper(io.BytesIO())
    stream.detach()
    return stream


STREAMS: dict[str, Any] = {
    "none": lambda: None,
    "only write": Bare,
    "nothing works": Broken,
    "no stream at all": object,
    "closed": closed,
    "detached": detached,
    "ascii": lambda: io.TextIOWrapper(io.BytesIO(), encoding="ascii"),
}


@pytest.mark.parametrize("progress", [True, False])
@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_any_stream_will_do(stream: Any, progress: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Umlaut(Accuracy):
        name = property(lambda self: "tr\u00e4fe")

    monkeypatch.setattr(sys, "stderr", stream())
    monkeypatch.setattr(sys, "stdout", stream())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert network(metrics=[Umlaut()]).fit(X, Y, epochs=3, progress=progress).reason == "all epochs done"


def test_a_stream_that_is_closed_meanwhile_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Close(Callback):
        def on_epoch(self, run: Any, record: Any) -> None:
            sys.stderr.close()

    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert network().fit(X, Y, epochs=3, callbacks=[Close()]).reason == "all epochs done"


def test_a_given_place_that_fails_is_told_once() -> None:
    display = Display(closed())
    with pytest.warns(UserWarning, match="progress is not shown any more: ValueError"):
        display.line("a line")
    display.line("a further line, which would raise if it were a warning")


def test_a_stream_that_packs_is_written_to_by_its_own_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with gzip.open(tmp_path / "log.gz", "wt") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        network().fit(X, Y, epochs=2)
    with gzip.open(tmp_path / "log.gz", "rt") as stream:
        assert [line[:9] for line in stream] == ["epoch 1/2", "epoch 2/2"]


PROGRAM = """
import numpy as np
from gedanken import *
X = np.random.default_rng(0).standard_normal((60, 4))
Y = X[:, :3].argmax(axis=1)
net = Network().input((4,)).add(FullyConnectedLayer(3)).add(SoftMax()).regression()
history = net.fit(X, Y, epochs=600, validation_set=0.2, snapshot_step=1e-9)
net.evaluate(X, Y)
open("done", "w").write(history.reason)
"""
SHELL = {
    "gone reader": '{python} -c "$PROGRAM" 2>&1 >&3 | head -1 >/dev/null; exit ${{PIPESTATUS[0]}}',
    "no files": '{python} -c "$PROGRAM" >&- 2>&-',
    "full disk": '{python} -c "$PROGRAM" 2>/dev/full',
    "full disk without buffer": '{python} -u -c "$PROGRAM" >/dev/full 2>/dev/full',
    "C": 'LC_ALL=C {python} -W error -c "$PROGRAM"',
}


@posix
@pytest.mark.parametrize("shell", SHELL.values(), ids=SHELL)
def test_a_program_ends_well_wherever_its_progress_goes(shell: str, tmp_path: Path) -> None:
    if "/dev/full" in shell and not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    command = ["bash", "-c", "exec 3>/dev/null; " + shell.format(python=sys.executable)]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PROGRAM": PROGRAM}, capture_output=True, timeout=100, check=False
    )
    assert (done.returncode, done.stdout) == (0, b""), done.stderr
    assert (tmp_path / "done").read_text() == "all epochs done"


@posix
def test_a_reader_that_reads_nothing_holds_nobody_up(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], cwd=tmp_path, stderr=subprocess.PIPE) as running:
        assert running.wait(timeout=100) == 0  # its pipe holds less than the 600 lines
        assert running.stderr is not None
        lines = running.stderr.read().decode().splitlines()
    assert (tmp_path / "done").exists()
    assert lines[0].startswith("epoch 1/600")


def test_names_from_elsewhere_do_not_steer_the_terminal() -> None:
    stream = io.StringIO()
    Display(stream).line("a\x1b[2J\nb\udcff", "\u6f22")
    assert stream.getvalue() == "a\\x1b[2J\\nb\\udcff  \u6f22\n"
    assert printable("plain") == "plain"


@pytest.mark.parametrize(
    ("text", "columns"), [("abc", 3), ("\u6f22\u5b57", 4), ("e\u0301", 1), ("", 0), ("\U0001f600", 2)]
)
def test_the_width_of_a_text(text: str, columns: int) -> None:
    assert width(text) == columns
    assert cut(text, columns) == text
    assert width(cut(text, columns - 1)) <= max(columns - 1, 0)


# ------------------------------------------------------------------ plots


def plotted(body: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    pytest.importorskip("matplotlib")
    setup = PROGRAM.partition("history =")[0]
    cleaned = {key: value for key, value in os.environ.items() if key not in ("MPLBACKEND", "DISPLAY")}
    return subprocess.run(
        [sys.executable, "-c", setup + textwrap.dedent(body)], cwd=folder, env={**cleaned, **environment},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


FIT = 'history = net.fit(X, Y, epochs=2, plot=True, folder="run", progress=False); print(history.reason)'
BACKENDS = ["agg", "WebAgg", "TkAgg", "QtAgg", "nbagg", "module://nothing_of_this_name"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("screen", [{"DISPLAY": ":77"}], ids=["a screen that is not there"])
def test_no_backend_blocks_or_ends_a_training(backend: str, screen: dict[str, str], tmp_path: Path) -> None:
    done = plotted(FIT, tmp_path, MPLBACKEND=backend, **screen)
    assert (done.returncode, done.stdout) == (0, "all epochs done\n"), done.stderr
    assert (tmp_path / "run" / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_a_backend_that_does_not_exist_is_a_warning(tmp_path: Path) -> None:
    done = plotted(FIT, tmp_path, MPLBACKEND="nonsense")
    assert (done.returncode, done.stdout) == (0, "all epochs done\n"), done.stderr
    assert "nothing is plotted, because Matplotlib cannot be imported" in done.stderr


def test_settings_of_the_user_are_left_alone_and_cannot_break_the_plot(tmp_path: Path) -> None:
    done = plotted(
        f"""
        import matplotlib
        matplotlib.rcParams.update({{"text.usetex": True, "font.family": "No Such Font", "figure.dpi": 33}})
        before = dict(matplotlib.rcParams)
        class Odd(Accuracy):
            name = property(lambda self: "a$^$_\\u6f22")
        net.regression(metrics=[Odd()])
        {FIT}
        assert dict(matplotlib.rcParams) == before
        """,
        tmp_path,
    )
    assert (done.returncode, done.stdout) == (0, "all epochs done\n"), done.stderr
    assert "Warning" not in done.stderr
    assert (tmp_path / "run" / "plot.png").exists()


def test_a_plot_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")

    class Spoil(Callback):
        def on_start(self, run: Any) -> None:
            (tmp_path / "run" / "plot.png").mkdir()
            (tmp_path / "run" / "plot.png" / "x").touch()

    with pytest.warns(UserWarning, match="the plot could not be saved, the training goes on without it") as told:
        history = network().fit(X, Y, epochs=3, plot=True, folder=tmp_path / "run", callbacks=[Spoil()], progress=False)
    assert history.reason == "all epochs done"
    assert len(told) == 1


def test_runs_that_begin_in_one_second_have_folders_of_their_own(tmp_path: Path, monkeypatch: Any) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    nets = [network() for _ in range(4)]
    threads = [threading.Thread(target=net.fit, args=(X, Y), kwargs={"plot": True, "progress": False}) for net in nets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list((tmp_path / "runs").iterdir())) == len(list((tmp_path / "runs").rglob("plot.png"))) == 4


@pytest.mark.parametrize("folder", [None, "a/b"])
def test_a_refused_fit_leaves_no_folder(folder: str | None, tmp_path: Path, monkeypatch: Any) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArgumentError, match="EarlyStopping monitor"):
        network().fit(X, Y, plot=True, folder=folder, callbacks=[EarlyStopping("nonsense")], progress=False)
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------ figures


class Value(Metric):
    """A metric whose value comes in some type of number."""

    def __init__(self, kind: Any) -> None:
        object.__setattr__(self, "kind", kind)

    def measure(self, y: Any, target: Any) -> Any:
        return np.ones(1)

    def value(self, total: Any) -> Any:
        return self.kind(1)


@pytest.mark.parametrize("kind", [int, float, np.float32, np.int64, np.array, bool, np.bool_])
def test_a_value_of_any_type_of_number_can_stop_early(kind: Any) -> None:
    stop = EarlyStopping("value", patience=1, mode="max")
    history = network(metrics=[Value(kind)]).fit(X, Y, epochs=9, callbacks=[stop], progress=False)
    assert history.reason == "value has not improved on 1 for 2 epochs"
    assert history["value"] == [1.0] * 3


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_value_that_is_never_a_number_stops_early_and_is_called_so(mode: str) -> None:
    stop = EarlyStopping("value", patience=1, mode=mode)
    metrics = [Value(lambda _: float("nan"))]
    history = network(metrics=metrics).fit(X, Y, epochs=9, callbacks=[stop], progress=False)
    assert history.reason == "value has not become a finite number for 2 epochs"


@pytest.mark.parametrize("kind", [str, lambda _: None, lambda _: "0.5"])
def test_a_value_that_is_no_number_is_refused_before_the_training(kind: Any) -> None:
    with pytest.raises(ArgumentError, match="the value of the metric value must be a number or an array"):
        network(metrics=[Value(kind)]).fit(X, Y, progress=False)


def test_early_stop_does_not_guess_which_way_is_better() -> None:
    with pytest.raises(ArgumentError, match='be "min" or "max", because the metric does not say which'):
        network(metrics=[Value(float)]).fit(X, Y, callbacks=[EarlyStopping("value")], progress=False)


def test_early_stop_goes_by_what_the_metric_says() -> None:
    class LogLoss(Value):
        better = "lower"
        figures = iter([5, 4, 3, 2, 1, 0.5])

        def measure(self, y: Any, target: Any) -> Any:
            return np.zeros(1)

        def value(self, total: Any) -> Any:
            return next(self.figures)

    history = network(metrics=[LogLoss(float)]).fit(
        X, np.eye(3)[Y], epochs=4, callbacks=[EarlyStopping("log_loss", patience=0)], progress=False, snapshot_step=1e9
    )
    assert len(history.epochs) == 4
