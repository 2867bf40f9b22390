"""The picture of a training: cost and first metric over epochs."""

import contextlib
import math
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from gedanken.checks import require, warn
from gedanken.drawing import load_matplotlib, new_figure, plain_settings, png, window_figure
from gedanken.errors import ArgumentError
from gedanken.files import replace_file
from gedanken.metrics import Metric
from gedanken.training.callbacks import Callback
from gedanken.training.display import Display, notebook
from gedanken.training.meter import Meter
from gedanken.training.records import EpochRecord, History, Run, StepRecord

PAUSE = 20  # at least so many times as long as a drawing takes lies between two, except at the end of an epoch
POINTS = 512  # of a curve of steps
TRAINING, VALIDATION = "#3465a4", "#cc5500"


class Plot(Callback):
    """Draw the curves at snapshots and after each epoch, into `plot.png` of a folder and wherever a person looks.

    At snapshots it draws so seldom that it takes a twentieth of the time at most. In a notebook the picture appears at
    the end; where there is a screen a window shows it all the time. Whatever fails once the training has begun is a
    warning, and nothing more is drawn.

    Args:
        display: where the picture is shown and its path is told.
        metrics: of the training.

    The run's folder is made before the first step, and taken away again where nothing was saved in it.

    Raises:
        MissingPackageError: Matplotlib is not installed.
        ArgumentError: the folder cannot be made or written to (in `on_start`).
    """

    shows = True

    def __init__(self, display: Display, metrics: Sequence[Metric]) -> None:
        self._matplotlib = load_matplotlib("plot=True", "plot=False")
        self._display = display
        self._made: list[str] = []
        self._curve = _Curve(metrics)
        self._epochs: list[EpochRecord] = []
        self._figure: Any = None
        self._window: Any = None
        self._saved_at, self._drawing = 0.0, 0.0  # seconds of a clock, seconds long
        self.path = ""

    def on_start(self, run: Run) -> None:
        if self._matplotlib is None:
            return
        self.path = os.path.join(self._make_folder(run.folder), "plot.png")
        with self._guarded("begun"):
            self._figure, self._window = _new_figure(self._matplotlib)

    def on_resume(self, run: Run, history: History) -> None:
        self._epochs = list(history.epochs)
        self._curve.resume([(one.progress, {"cost": one.cost, **one.metrics}) for one in history.snapshots])

    def on_step(self, run: Run, record: StepRecord) -> None:
        self._curve.add(record)
        if record.snapshot and time.perf_counter() - self._saved_at > PAUSE * self._drawing:
            self._save(run)

    def on_epoch(self, run: Run, record: EpochRecord) -> None:
        self._epochs.append(record)
        self._save(run)

    def on_stop(self, run: Run, reason: str) -> None:
        if self._saved_at:
            if self._figure is not None:
                with self._guarded("shown"):
                    self._display.figure(png(self._matplotlib, self._figure))
            self._display.line(f"plot saved as {self.path}")
        for folder in reversed(self._made):
            with contextlib.suppress(OSError):  # something is in it
                os.rmdir(folder)

    # ------------------------------------------------------------------ the folder

    def _make_folder(self, folder: str) -> str:
        try:
            for path in reversed(list(_upwards(folder))):
                if not os.path.isdir(path):
                    self._make(path)
        except OSError as error:
            rule = f"be a folder that can be written to ({error.strerror})"
            raise ArgumentError(f"folder must {rule}, got {error.filename!r}") from error
        able = os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)
        require(able, "folder", "be a folder that can be written to", folder)
        return folder

    def _make(self, path: str) -> bool:
        """Make a folder; return False where there is something of this name, also if it came this moment."""
        try:
            os.mkdir(path)
        except FileExistsError:
            return False
        self._made.append(path)
        return True

    # ------------------------------------------------------------------ drawing

    @contextlib.contextmanager
    def _guarded(self, what: str) -> Iterator[None]:
        """Make an error a warning, after which nothing is drawn any more."""
        try:
            yield
        except Exception as error:
            self._figure = None
            with contextlib.suppress(Exception):  # warnings may be errors
                warn(f"the plot could not be {what}, the training goes on without it: {type(error).__name__}: {error}")

    def _save(self, run: Run) -> None:
        if self._figure is None:
            return
        began = time.perf_counter()
        with self._guarded("saved"):
            self._draw(run)
            replace_file(self.path, png(self._matplotlib, self._figure))
            self._saved_at = time.perf_counter()
            self._drawing = self._saved_at - began

    def _draw(self, run: Run) -> None:
        with plain_settings(self._matplotlib):
            self._figure.clear()
            known = self._epochs[-1].metrics if self._epochs else self._curve.figures
            names = ["cost", *(name for name, value in known.items() if isinstance(value, float))][:2]
            for axes, name in zip(self._figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
                self._curves(axes, name)
                axes.set_xlim(run.first_epoch - 1, max(run.first_epoch, self._curve.progress) * 1.005)
        if self._window:
            self._show()

    def _show(self) -> None:
        """Renew the window, which may be closed at any time."""
        try:
            if self._window.fignum_exists(self._figure.number):
                self._figure.canvas.draw_idle()
                self._figure.canvas.flush_events()
        except Exception:
            self._window = None

    def _curves(self, axes: Any, name: str) -> None:
        points = _finite((progress, figures[name]) for progress, figures in self._curve.points)
        if len(points) > 1:
            axes.plot(*_columns(points), color=TRAINING, alpha=0.35, linewidth=1, label="training, by steps")
        for label, key, color in (("training", name, TRAINING), ("validation", f"validation_{name}", VALIDATION)):
            points = _finite((record.epoch, record.flat().get(key)) for record in self._epochs)
            if points:
                axes.plot(*_columns(points), color=color, marker="o", markersize=4, label=label)
        axes.set_title(name.replace("_", " "))
        axes.set_xlabel("epochs")
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if axes.get_legend_handles_labels()[0]:
            axes.legend()


class _Curve:
    """Cost and metrics of steps, a point for each or, in longer trainings, for more and more of them together."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics
        self._meter = Meter(metrics)
        self._each, self._steps = 1, 0
        self.points: list[tuple[float, dict[str, Any]]] = []
        self.progress = 0.0

    @property
    def figures(self) -> dict[str, Any]:
        """The metrics of the last point."""
        return {name: value for name, value in self.points[-1][1].items() if name != "cost"} if self.points else {}

    def resume(self, points: list[tuple[float, dict[str, Any]]]) -> None:
        """Begin with points of steps before."""
        self.points = points[:: max(1, math.ceil(len(points) / POINTS))]
        self.progress = points[-1][0] if points else 0.0

    def add(self, record: StepRecord) -> None:
        self.progress = record.epoch - 1 + record.fraction
        self._meter.add(record)
        self._steps += 1
        if self._steps < self._each:
            return
        self.points.append((self.progress, self._meter.evaluation()))
        self._meter, self._steps = Meter(self._metrics), 0
        if len(self.points) > POINTS:
            del self.points[::2]
            self._each *= 2


def _finite(points: Iterable[tuple[float, Any]]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points if y is not None and math.isfinite(y)]


def _columns(points: list[tuple[float, Any]]) -> tuple[list[float], list[Any]]:
    return [x for x, _ in points], [y for _, y in points]


def _upwards(folder: str) -> Iterator[str]:
    """Yield a folder and those that it lies in."""
    yield folder
    above = os.path.dirname(folder)
    if above not in ("", folder):
        yield from _upwards(above)


def _new_figure(matplotlib: Any) -> tuple[Any, Any]:
    """Return a Figure, and pyplot where it stands in a window."""
    options = {"figsize": (10, 4), "layout": "constrained"}
    shown = window_figure(matplotlib, **options) if _may_have_window() else None
    return shown or (new_figure(**options), None)


def _may_have_window() -> bool:
    """Say whether windows are possible; before that Matplotlib is not asked, because it chooses a backend then."""
    screen = sys.platform in ("win32", "darwin") or {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()
    return bool(screen) and notebook() is None and threading.current_thread() is threading.main_thread()
