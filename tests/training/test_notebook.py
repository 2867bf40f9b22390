"""A training in a real notebook."""

import importlib.util
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

nbclient = pytest.importorskip("nbclient", reason="needs nbclient and ipykernel")
nbformat = pytest.importorskip("nbformat", reason="needs nbclient and ipykernel")
pytest.importorskip("ipykernel", reason="needs nbclient and ipykernel")
pytest.importorskip("matplotlib", reason="needs Matplotlib")

SETUP = """
import os, signal, time
import numpy as np
from gedanken import *

class Slow(Callback):
    def on_step(self, run, record):
        time.sleep(0.05)

class Press(Callback):
    def on_epoch(self, run, record):
        if record.epoch == run.first_epoch + 1:
            os.kill(os.getpid(), signal.SIGINT)

X = np.random.default_rng(0).standard_normal((60, 4))
Y = X[:, :3].argmax(axis=1)
net = Network().input((4,)).add(FullyConnectedLayer(3)).add(SoftMax()).regression()
"""
CELLS = [
    "h = net.fit(X, Y, epochs=3, mini_batch_size=6, snapshot_step=0.2, callbacks=[Slow()], plot=True, folder='run')",
    "h = net.fit(X, Y, epochs=3, progress=False)",
    "h = net.fit(X, Y, epochs=9, progress=False, callbacks=[Press()]); h.reason, len(h.epochs), net.predict(X).shape",
    "net.evaluate(X, Y);",
    """
class Waits(Generator):
    def __len__(self):
        return 40

    def get_mini_batches(self, index):
        time.sleep(0.005)
        return [(X[index], Y[index])]

with Waits(mini_batch_size=8) as waits:
    h = net.fit(waits, epochs=2, progress=False)
f"{len(h.epochs)} epochs, {waits.stats()['workers']}"
""",
    """
try:
    list(Waits(mode="processes", workers=2))
except ArgumentError as error:
    print(error)
with Waits(mode="processes", workers=2, start_method="fork") as waits:
    print(sum(len(y) for x, y in waits))
""",
]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> list[list[Any]]:
    folder = tmp_path_factory.mktemp("notebook")
    cells = [nbformat.v4.new_code_cell(textwrap.dedent(cell)) for cell in (SETUP, *CELLS)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=100, resources={"metadata": {"path": str(folder)}}).execute()
    assert (folder / "run" / "plot.png").is_file()
    return [cell.outputs for cell in notebook.cells[1:]]


def texts(outputs: list[Any]) -> list[str]:
    """Return what stands below a cell: each output's text."""
    return [one.text if one.output_type == "stream" else one.data.get("text/plain", "") for one in outputs]


def test_one_text_is_updated_and_one_picture_is_shown(outputs: list[list[Any]]) -> None:
    pictures = [one for one in outputs[0] if one.output_type == "display_data" and "image/png" in one.data]
    assert len(pictures) == 1
    assert pictures[0].data["image/png"].startswith("iVBORw0KGgo")
    live = [one for one in outputs[0] if one.output_type == "display_data" and "image/png" not in one.data]
    assert len(live) <= 1, f"a leftover for every epoch: {[dict(one.data) for one in live]}"
    assert all(one.output_type in {"display_data", "stream"} for one in outputs[0])


def test_each_epoch_keeps_its_line_and_no_live_line_stays(outputs: list[list[Any]]) -> None:
    lines = "\n".join(texts(outputs[0])).split("\n")
    assert [line[:9] for line in lines if line.startswith("epoch ")] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert [line for line in lines if " left" in line] == []
    assert [line for line in lines if line.startswith("plot saved as ")] == [f"plot saved as {Path('run/plot.png')}"]


def test_no_progress_shows_nothing(outputs: list[list[Any]]) -> None:
    assert outputs[1] == []


def test_the_stop_button_ends_a_training(outputs: list[list[Any]]) -> None:
    assert texts(outputs[2]) == ["('Ctrl-C', 2, (60,))"]


def test_an_evaluation_is_one_line(outputs: list[list[Any]]) -> None:
    (text,) = texts(outputs[3])
    assert text.startswith("evaluation of 60 samples: cost ")
    assert text.count("\n") == 1


@pytest.mark.skipif(bool(importlib.util.find_spec("cloudpickle")), reason="with cloudpickle nothing is in the way")
def test_a_generator_that_is_written_in_a_notebook_has_threads_and_says_why(outputs: list[list[Any]]) -> None:
    (told,) = texts(outputs[4])
    assert re.fullmatch(r".2 epochs, \d+ threads?: a call takes .* written in an interactive session.*", told), told
    refused, count = "".join(texts(outputs[5])).strip().splitlines()
    assert refused.startswith(
        "Waits cannot be sent to worker processes: its class is written in an interactive session"
    )
    assert count == "40"
