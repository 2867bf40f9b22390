"""The picture of a training: where it lands, what is on it, and what happens without Matplotlib."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import Accuracy, ArgumentError, Callback, ConfusionMatrix, FullyConnectedLayer, Network, SoftMax, Stop

X = np.random.default_rng(0).standard_normal((60, 4))
Y = X[:, :3].argmax(axis=1)


def network(**options: Any) -> Network:
    return Network().input((4,)).add(FullyConnectedLayer(3)).add(SoftMax()).regression(**options)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def drawn(path: Path) -> np.ndarray:
    """Return the pixels of a picture, which must be a good one."""
    images = pytest.importorskip("PIL.Image", reason="needs Pillow")
    with images.open(path) as image:
        assert image.format == "PNG"
        assert image.width >= 800
        assert image.height >= 300
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert (pixels == 255).all(axis=2).mean() > 0.5, "a white page"
    return pixels


def has(pixels: np.ndarray, colour: str) -> bool:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return bool((abs(pixels - (red, green, blue)).max(axis=2) < 20).sum() > 50)


TRAINING, VALIDATION = "#3465a4", "#cc5500"


def test_the_picture_shows_training_and_validation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    net = network()
    net.fit(X, Y, epochs=3, plot=True, folder=tmp_path / "a", progress=False, snapshot_step=1e-9)
    assert capsys.readouterr() == ("", "")
    alone = drawn(tmp_path / "a" / "plot.png")
    assert has(alone, TRAINING)
    assert not has(alone, VALIDATION)
    net.fit(X, Y, epochs=3, plot=True, folder=str(tmp_path / "b"), progress=False, validation_set=0.2)
    both = drawn(tmp_path / "b" / "plot.png")
    assert has(both, TRAINING)
    assert has(both, VALIDATION)
    left, right = np.array_split(both, 2, axis=1)
    assert all(has(half, colour) for half in (left, right) for colour in (TRAINING, VALIDATION))


def test_the_run_folder_is_named_after_the_time_and_never_one_that_exists(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    net = network()
    for _ in range(3):
        net.fit(X, Y, plot=True, progress=False)
    folders = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert len(folders) == 3
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_[0-9a-f]{6}", name) for name in folders)
    assert [path.name for path in (tmp_path / "runs").rglob("*.png")] == ["plot.png"] * 3


def test_no_folder_is_made_without_a_plot(tmp_path: Path) -> None:
    network().fit(X, Y, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_the_picture_is_new_after_each_epoch(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    seen = []

    class Look(Callback):
        def on_epoch(self, run: Any, record: Any) -> None:
            seen.append((tmp_path / "plot.png").read_bytes())

    network().fit(X, Y, epochs=3, plot=True, folder=tmp_path, progress=False, callbacks=[Look()])
    assert len(set(seen)) == 3


@pytest.mark.parametrize("metrics", [[], [ConfusionMatrix()], [ConfusionMatrix(), Accuracy()], None], ids=str)
def test_any_metrics_can_be_drawn(metrics: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    history = network(metrics=metrics).fit(
        X, Y, epochs=2, plot=True, folder=tmp_path, progress=False, snapshot_step=1e-9, validation_set=0.2
    )
    assert len(history.epochs) == 2
    drawn(tmp_path / "plot.png")


def test_a_training_that_was_broken_off_is_drawn_too(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")

    class Early(Callback):
        def on_step(self, run: Any, record: Any) -> Stop | None:
            return Stop("early") if record.step == 3 and record.epoch == 2 else None

    network().fit(X, Y, epochs=5, mini_batch_size=10, plot=True, folder=tmp_path, progress=False,
                  validation_set=0.2, callbacks=[Early()])  # fmt: skip
    pixels = drawn(tmp_path / "plot.png")
    assert has(pixels, TRAINING)
    assert has(pixels, VALIDATION)


def run(body: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    setup = """
        import os, signal, sys
        import numpy as np
        from gedanken import *
        X = np.random.default_rng(0).standard_normal((60, 4))
        Y = X[:, :3].argmax(axis=1)
        net = Network().input((4,)).add(FullyConnectedLayer(3)).add(SoftMax()).regression()
    """
    source = textwrap.dedent(setup) + textwrap.dedent(body)
    environment = {key: value for key, value in os.environ.items() if key != "MPLBACKEND"}
    return subprocess.run([sys.executable, "-W", "error", "-c", source], capture_output=True, text=True, cwd=folder,
                          env=environment, check=False, timeout=100)  # fmt: skip


def test_the_picture_is_there_after_ctrl_c(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = run("""
        class Press(Callback):
            def on_step(self, run, record):
                if record.epoch == 3:
                    os.kill(os.getpid(), signal.SIGINT)
        history = net.fit(X, Y, epochs=99, plot=True, folder="run", callbacks=[Press()])
        assert history.reason == "Ctrl-C", history.reason
    """, tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-2:] == ["training ended: Ctrl-C", f"plot saved as {Path('run/plot.png')}"]
    assert has(drawn(tmp_path / "run" / "plot.png"), TRAINING)


def test_without_matplotlib_it_says_so_before_anything_is_trained(tmp_path: Path) -> None:
    done = run("""
        class Block:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] == "matplotlib":
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        sys.meta_path.insert(0, Block())
        before = net.feedforward(X)
        try:
            net.fit(X, Y, plot=True)
        except MissingPackageError as error:
            print(error)
        assert np.array_equal(net.feedforward(X), before) and net.epoch == 0
        net.fit(X, Y, progress=False)
    """, tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "plot=True needs Matplotlib, which is not installed: pip install 'gedanken[plot]', or use plot=False\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_matplotlib_is_not_imported_unless_a_plot_is_asked_for(tmp_path: Path) -> None:
    done = run("net.fit(X, Y, progress=False); assert 'matplotlib' not in sys.modules", tmp_path)
    assert done.returncode == 0, done.stderr


def test_plotting_without_a_screen_opens_no_window_and_no_pyplot_figure(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = run("""
        os.environ.pop("DISPLAY", None), os.environ.pop("WAYLAND_DISPLAY", None)
        net.fit(X, Y, plot=True, progress=False)
        import matplotlib.pyplot as plt
        assert plt.get_fignums() == []
    """, tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_folder_that_cannot_be_made_is_found_before_the_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "file").write_text("text")
    net = network()
    before = net.feedforward(X)
    with pytest.raises(ArgumentError, match=r"folder must be a folder that can be written to, got .*file"):
        net.fit(X, Y, plot=True, folder=tmp_path / "file", progress=False)
    assert "plot saved" not in capsys.readouterr().out
    assert np.array_equal(net.feedforward(X), before)
    assert net.epoch == 0
