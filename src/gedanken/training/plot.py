"""The picture of a training: cost and first metric over epochs. The only file that imports Matplotlib."""

import importlib
import io
import os
import time
from typing import Any

from gedanken.errors import ArgumentError, MissingPackageError
from gedanken.files import replace_file
from gedanken.training.callbacks import Callback
from gedanken.training.display import Display, notebook
from gedanken.training.records import EpochRecord, History, Run, StepRecord

PAUSE = 20  # at least so many times as long as a drawing takes lies between two, except at the end of an epoch
TRAINING, VALIDATION = "#3465a4", "#cc5500"


class Plot(Callback):
    """Draw the curves at snapshots and after each epoch, into `plot.png` of a folder and wherever a person looks.

    At snapshots it draws so seldom that it takes a twentieth of the time at most. In a notebook the picture appears at
    the end; where there is a screen a window shows it all the time.

    Args:
        folder: the run's folder; made before the first step.
        display: where the picture is shown and its path is told.

    Raises:
        MissingPackageError: Matplotlib is not installed.
        ArgumentError: the folder cannot be made (in `on_start`).
    """

    def __init__(self, folder: str, display: Display) -> None:
        self.path = os.path.join(folder, "plot.png")
        self._display = display
        self._figure, self._windows = _new_figure()
        self._seen = History()
        self._saved_at, self._drawing = 0.0, 0.0  # seconds of a clock, seconds long

    def on_start(self, run: Run) -> None:
        folder = os.path.dirname(self.path)
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise ArgumentError(f"folder must be a folder that can be written to, got {folder!r}: {error}") from error

    def on_step(self, run: Run, record: StepRecord) -> None:
        if record.snapshot:
            self._seen.keep(record.snapshot)
            if time.perf_counter() - self._saved_at > PAUSE * self._drawing:
                self._save(run)

    def on_epoch(self, run: Run, record: EpochRecord) -> None:
        self._seen.epochs.append(record)
        self._save(run)

    def on_stop(self, run: Run, reason: str) -> None:
        if self._saved_at:
            self._display.figure(self._png())
            self._display.line(f"plot saved as {self.path}")

    def _save(self, run: Run) -> None:
        began = time.perf_counter()
        self._draw(run)
        replace_file(self.path, self._png())
        self._saved_at = time.perf_counter()
        self._drawing = self._saved_at - began

    def _png(self) -> bytes:
        target = io.BytesIO()
        self._figure.savefig(target, format="png", dpi=120)
        return target.getvalue()

    def _draw(self, run: Run) -> None:
        self._figure.clear()
        known = (self._seen.epochs or self._seen.snapshots)[-1].metrics
        names = ["cost", *(name for name, value in known.items() if isinstance(value, float))][:2]
        for axes, name in zip(self._figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
            self._curves(axes, name)
            axes.set_xlim(run.first_epoch - 1, self._done(run) * 1.005)
        if self._windows and self._windows.fignum_exists(self._figure.number):  # it may be closed at any time
            self._figure.canvas.draw_idle()
            self._figure.canvas.flush_events()

    def _done(self, run: Run) -> float:
        """Return the epochs done, at least one more than there were."""
        started = self._seen.snapshots[-1].progress if self._seen.snapshots else 0.0
        return max(run.first_epoch, run.first_epoch - 1 + len(self._seen.epochs), started)

    def _curves(self, axes: Any, name: str) -> None:
        points = [(s.progress, s.cost if name == "cost" else s.metrics[name]) for s in self._seen.snapshots]
        if points:
            axes.plot(*_columns(points), color=TRAINING, alpha=0.35, linewidth=1, label="training, snapshots")
        for label, key, color in (("training", name, TRAINING), ("validation", f"validation_{name}", VALIDATION)):
            found = [(r.epoch, r.flat().get(key)) for r in self._seen.epochs]
            points = [(epoch, value) for epoch, value in found if value is not None]
            if points:
                axes.plot(*_columns(points), color=color, marker="o", markersize=4, label=label)
        axes.set_title(name.replace("_", " "))
        axes.set_xlabel("epochs")
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend()


def _columns(points: list[tuple[float, Any]]) -> tuple[list[float], list[Any]]:
    return [x for x, _ in points], [y for _, y in points]


def _new_figure() -> tuple[Any, Any]:
    """Return a Figure, and pyplot where it stands in a window."""
    try:
        matplotlib = importlib.import_module("matplotlib")
        figures = importlib.import_module("matplotlib.figure")
    except ImportError as error:
        raise MissingPackageError(
            "plot=True needs Matplotlib, which is not installed: pip install 'gedanken[plot]', or use plot=False"
        ) from error
    options = {"figsize": (10, 4), "layout": "constrained"}
    if notebook() is not None or not _has_window(matplotlib):
        return figures.Figure(**options), None
    pyplot = importlib.import_module("matplotlib.pyplot")
    figure = pyplot.figure(**options)
    pyplot.show(block=False)
    return figure, pyplot


def _has_window(matplotlib: Any) -> bool:
    """Say whether Matplotlib's backend, chosen by its own rules, opens windows."""
    registry = importlib.import_module("matplotlib.backends").backend_registry
    kinds = importlib.import_module("matplotlib.backends").BackendFilter
    return matplotlib.get_backend().lower() in registry.list_builtin(kinds.INTERACTIVE)
