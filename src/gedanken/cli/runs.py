"""`gedanken runs`."""

import os
import time
from argparse import Namespace
from typing import Any

from gedanken.checks import printable
from gedanken.cli.output import note, show
from gedanken.errors import CheckpointError
from gedanken.files import at_home
from gedanken.training.records import figures_text
from gedanken.training.run_folder import ABOUT, read_run

HEAD = ("run", "started", "epochs", "last epoch", "end")
LEFT_OUT = ("seconds", "validation_seconds", "waiting_seconds", "rate")


def run(arguments: Namespace) -> int:
    """Print a line for each run in some folders, and return the exit status: 1 where one of them cannot be read."""
    rows, status = [HEAD], 0
    folders = arguments.folders or ["runs"]
    for folder in folders:
        for path in _runs(folder):
            try:
                rows.append((path, *_row(path)))
            except CheckpointError as error:
                note(f"gedanken: warning: {error}")
                status = 1
    if len(rows) == 1 and not status:
        raise CheckpointError(f"there is no run in {', '.join(folders)}")
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = ("  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    show("\n".join(map(printable, lines)))
    return status


def _runs(folder: str) -> list[str]:
    """Return a run's folder itself, or those in it."""
    place = at_home(folder)
    if os.path.exists(os.path.join(place, ABOUT)):
        return [folder]
    try:
        names = sorted(os.listdir(place))
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be read: {error.strerror}") from error
    return [os.path.join(folder, name) for name in names if os.path.exists(os.path.join(place, name, ABOUT))]


def _row(path: str) -> tuple[str, str, str, str]:
    about, records, _ = read_run(path)
    told, epochs, ends = about["run"], of_kind("epoch", records), of_kind("end", records)
    started = told.get("started")
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(started)) if isinstance(started, float) else "?"
    last = epochs[-1] if epochs else {}
    done = f"{last.get('epoch', (told.get('first_epoch') or 1) - 1)}/{told.get('last_epoch')}"
    return when, done, figures(last), str(ends[-1].get("reason")) if ends else "not ended: it runs, or was killed"


def of_kind(kind: str, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the records of a kind, in order."""
    return [record for record in records if record.get("kind") == kind]


def figures(record: dict[str, Any]) -> str:
    """Return costs and metrics of a record in a line."""
    return figures_text({name: value for name, value in record.items() if name not in LEFT_OUT})
