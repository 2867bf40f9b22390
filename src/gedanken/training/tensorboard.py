"""The figures of a training for TensorBoard."""

import contextlib
import errno
import numbers
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from gedanken.checks import path as checked_path
from gedanken.checks import warn, whole
from gedanken.errors import ArgumentError
from gedanken.files import at_home, open_regular, replace_file
from gedanken.training.callbacks import Callback
from gedanken.training.event_file import event, events, header
from gedanken.training.records import Capture, EpochRecord, History, Run, StepRecord

OWNER = "gedanken.run"  # beside event files: the id of the run whose they are
NAME = re.compile(r"events\.out\.tfevents\.([0-9]{10})\.gedanken")
OF_EPOCHS = "epochs/"


@dataclass
class TensorBoard(Callback):
    """Write the figures of the training into an event file, for `tensorboard --logdir runs`.

    | name | what | at |
    | --- | --- | --- |
    | `steps/cost` | mean cost of the step's mini-batch | every so many steps |
    | `steps/rate` | learning rate | every so many steps |
    | `epochs/cost`, `epochs/accuracy` ... | costs and metrics, as `EpochRecord.values` names them | each epoch |
    | `epochs/rate`, `epochs/seconds`, `epochs/epoch` | learning rate, length and number of the epoch | each epoch |

    The horizontal axis counts the steps of the run; workers of `Hogwild` tell of several mini-batches as one step.
    Metrics that are not one number, such as a confusion matrix, are left out. No other package is needed.

    Each point is in the file at once, so a run that is killed leaves all of its points. One that goes on (`resume=`)
    forgets those that come again: what came before is copied into a new file, the old one is emptied, and a TensorBoard
    that is running is told to forget what it has read. So a run that was stopped has the points of one that never was,
    none of them twice. That holds where it goes on in the same folder; in another one only what is new is written.

    Args:
        folder: where the event file is; None is the run's folder. TensorBoard takes all event files of a folder for one
            run, so each run needs its own.
        every: steps between two points of `steps/...`, at least 1.

    Raises:
        ArgumentError: an argument breaks its rule; when `fit` begins: the folder has event files of another run.
        OSError: the file cannot be written (when `fit` begins). Later that is a warning, and nothing more is written.
    """

    shows = True

    folder: str | os.PathLike[str] | None = None
    every: int = 10

    def __post_init__(self) -> None:
        if self.folder is not None:
            checked_path("TensorBoard folder", self.folder)
        whole("TensorBoard every", self.every)
        self._file: BinaryIO | None = None
        self._steps = 0

    def on_start(self, run: Run) -> Capture | None:
        given = at_home(run.folder if self.folder is None else str(os.fspath(self.folder)))
        self._folder, self._steps = os.path.abspath(given), 0  # wherever the program goes
        self._run = run.id
        if run.resumed:
            self._check_owner(given)
            return None
        empty = len(header(0.0))
        for name in _event_files(self._folder):
            if not NAME.fullmatch(name) or os.path.getsize(os.path.join(self._folder, name)) > empty:
                rule = f"TensorBoard folder must be one without events of another run ({name})"
                raise ArgumentError(f"{rule}, got {given!r}")
        return Capture(lambda _: self._begin(b""))  # when nothing else has refused

    def _check_owner(self, given: str) -> None:
        """Raise ArgumentError where the events that are there are another run's: they would be emptied."""
        try:
            with open_regular(os.path.join(self._folder, OWNER)) as file:
                owner = file.read().decode(errors="replace")
        except OSError:
            owner = ""
        if _event_files(self._folder) and owner != self._run:
            rule = "be one without events of another run than the one that goes on"
            raise ArgumentError(f"TensorBoard folder must {rule}, got {given!r}")

    def on_resume(self, run: Run, history: History) -> None:
        self._steps = history.steps
        epochs, kept = {record.epoch for record in history.epochs}, dict[tuple[str, float], bytes]()
        for name in _event_files(self._folder):
            if NAME.fullmatch(name):
                with open_regular(os.path.join(self._folder, name)) as file:
                    for record, step, values in events(file.read()):
                        number = values.get(f"{OF_EPOCHS}epoch")
                        if step <= history.steps and (number is None or number in epochs):
                            kept[("epoch", number) if number else ("step", step)] = record
        self._begin(b"".join(kept.values()))

    def on_step(self, run: Run, record: StepRecord) -> None:
        self._steps += 1
        if self._steps % self.every == 0:
            self._write({"steps/cost": record.cost, "steps/rate": record.rate})

    def on_epoch(self, run: Run, record: EpochRecord) -> None:
        told = {"epoch": record.epoch, **record.values(), "rate": record.rate, "seconds": record.seconds}
        self._write({f"{OF_EPOCHS}{name}": value for name, value in told.items() if isinstance(value, numbers.Real)})

    def on_stop(self, run: Run, reason: str) -> None:
        self._close()

    def _begin(self, kept: bytes) -> None:
        """Open a new file with these records, and empty the older ones that they are from.

        They stay there: a TensorBoard that is reading one would not find the way to the next.
        """
        older = [name for name in _event_files(self._folder) if NAME.fullmatch(name)]
        number = max((int(name.split(".")[3]) for name in older), default=0) + 1
        path = os.path.join(self._folder, f"events.out.tfevents.{number:010}.gedanken")
        replace_file(os.path.join(self._folder, OWNER), self._run.encode())
        replace_file(path, header(time.time()) + kept)
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 - what is written stays, whoever is killed
        for name in older:
            with contextlib.suppress(OSError):
                replace_file(os.path.join(self._folder, name), header(time.time()))

    def _write(self, values: Mapping[str, Any]) -> None:
        if self._file is None:
            return
        try:
            record = event(time.time(), self._steps, values)
            if self._file.write(record) < len(record):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._file.name)
        except OSError as error:
            self._close()
            warn(f"TensorBoard's events cannot be written any more, the training goes on: {error}")

    def _close(self) -> None:
        if self._file:
            with contextlib.suppress(OSError):
                self._file.close()
        self._file = None


def _event_files(folder: str) -> list[str]:
    """Return the names of the files in a folder that TensorBoard would read, in its order."""
    try:
        return sorted(name for name in os.listdir(folder) if "tfevents" in name)
    except (FileNotFoundError, NotADirectoryError):
        return []
