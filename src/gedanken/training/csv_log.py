"""The figures of epochs as a table for spreadsheets."""

import csv
import io
import numbers
import os
from dataclasses import dataclass
from typing import Any

from gedanken.checks import path as checked_path
from gedanken.checks import warn
from gedanken.files import at_home, replace_file
from gedanken.training.callbacks import Callback
from gedanken.training.records import Capture, EpochRecord, History, Run


@dataclass
class CSVLog(Callback):
    """Write a line of comma-separated values for each epoch, with a first line of names.

    The file is written anew with each epoch, whole or not at all; a run that goes on has the lines of the whole run.
    Values that are no numbers, such as a confusion matrix, are left out.

    Args:
        path: the file; None is `epochs.csv` in the run's folder. One that cannot be written is an error before the
            first step, and a warning later.

    Raises:
        ArgumentError: `path` is none.
        OSError: the file cannot be written (when `fit` begins).
    """

    shows = True

    path: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        if self.path is not None:
            checked_path("CSVLog path", self.path)
        self._rows: list[dict[str, Any]] = []

    def on_start(self, run: Run) -> Capture | None:
        given = os.path.join(run.folder, "epochs.csv") if self.path is None else os.fspath(self.path)
        self._file, self._rows = at_home(str(given)), []
        return None if run.resumed else Capture(lambda _: self._write())  # when nothing else has refused

    def on_resume(self, run: Run, history: History) -> None:
        self._rows = [_row(record) for record in history.epochs]
        self._write()

    def on_epoch(self, run: Run, record: EpochRecord) -> None:
        self._rows.append(_row(record))
        try:
            self._write()
        except OSError as error:
            warn(f"{self._file} could not be written, the training goes on: {error.strerror}")

    def _write(self) -> None:
        text = io.StringIO(newline="")
        names = dict.fromkeys(name for row in self._rows for name in row)
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        replace_file(self._file, text.getvalue().encode())


def _row(record: EpochRecord) -> dict[str, Any]:
    figures = record.to_dict().items()
    return {name: value for name, value in figures if value is None or isinstance(value, (numbers.Real, str))}
