"""What `gedanken train` was told, kept in the run's folder, so that `--resume RUN` need not be told again."""

import json
import os
from argparse import Namespace
from types import NoneType
from typing import Any

from gedanken.errors import CheckpointError
from gedanken.files import at_home, open_regular, replace_file
from gedanken.training.callbacks import Callback
from gedanken.training.checkpoint import FOLDER
from gedanken.training.records import Capture, Run

FILE = "arguments.json"
NOT_KEPT = ("command", "debug", "resume", "anyway", "folder", "quiet")
PATHS = ("data", "network", "output")
TEXTS = (*PATHS, "optimizer", "cost", "engine", "dtype", "precision", "parallel", "checkpoint_every")
LARGEST = 1 << 20  # bytes of the file


class Remember(Callback):
    """Writes the arguments into the run's folder before the first step.

    Args:
        arguments: of `gedanken train`.
    """

    shows = True

    def __init__(self, arguments: Namespace) -> None:
        kept = {name: value for name, value in vars(arguments).items() if name not in NOT_KEPT}
        for name in PATHS:
            if isinstance(kept[name], str) and (name == "output" or os.path.exists(kept[name])):
                kept[name] = os.path.abspath(kept[name])
        self._text = json.dumps(kept, indent=1)

    def on_start(self, run: Run) -> Capture:
        file = os.path.abspath(os.path.join(run.folder, FILE))
        return Capture(lambda _: replace_file(file, self._text.encode()))  # when the folder is this run's own


def remembered(run: str, known: set[str]) -> dict[str, Any]:
    """Return the arguments that a run began with; nothing where it remembers none.

    Args:
        run: its folder, or a checkpoint.
        known: names of arguments.

    Raises:
        CheckpointError: there is no such run, or the file was not written by `Remember`.
    """
    path = os.path.abspath(at_home(run))
    folder = os.path.dirname(path) if os.path.isfile(path) else path
    folder = os.path.dirname(folder) or "." if os.path.basename(folder) == FOLDER else folder
    if not os.path.isdir(folder):
        raise CheckpointError(f"--resume must be a run's folder or a checkpoint, and there is no {run!r}")
    file = os.path.join(folder, FILE)
    try:
        with open_regular(file) as opened:
            found = json.loads(opened.read(LARGEST))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{file} cannot be read: {error}") from error
    right = isinstance(found, dict) and found.keys() <= known - set(NOT_KEPT)
    if not (right and all(isinstance(found.get(name), (str, NoneType)) for name in TEXTS)):
        raise CheckpointError(f"{file} does not hold the arguments of a training")
    return found
