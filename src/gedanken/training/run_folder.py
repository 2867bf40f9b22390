"""What a run leaves in its folder as it goes: what it is, its records, and the cost of each step.

| file | what |
| --- | --- |
| `run.json` | the Run, and what the training is made of (`Identity`), data as a digest |
| `records.jsonl` | a line of JSON for each snapshot and epoch, and one for the end |
| `costs.bin` | the cost of each step, float64, little-endian |
"""

import contextlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

from gedanken.checks import warn
from gedanken.errors import CheckpointError
from gedanken.files import at_home, open_regular, replace_file
from gedanken.processes.uncut import start_thread
from gedanken.training.callbacks import Callback
from gedanken.training.records import EpochRecord, History, Run, StepRecord

ABOUT, RECORDS, COSTS = "run.json", "records.jsonl", "costs.bin"
NUMBER = np.dtype("<f8")


class RunFolder(Callback):
    """Writes down a run as it goes, so that one that is killed leaves what it was until then.

    What cannot be written once the training has begun is a warning, and nothing more is written.

    Args:
        about: what the training is made of; it is asked for in a thread, as data are read for it.

    Raises:
        OSError: the folder cannot be written to (in `on_start`).
    """

    shows = True

    def __init__(self, about: Mapping[str, Any]) -> None:
        self._about = about
        self._records: BinaryIO | None = None
        self._costs: BinaryIO | None = None
        self._thread: threading.Thread | None = None

    def on_start(self, run: Run) -> None:
        folder = at_home(run.folder)
        os.makedirs(folder, exist_ok=True)
        self._records, self._costs = (
            _opened(os.path.join(folder, name), bool(run.resumed)) for name in (RECORDS, COSTS)
        )
        self._thread = threading.Thread(target=self._tell, args=(folder, run), name="gedanken run", daemon=True)
        try:
            start_thread(self._thread)
        except RuntimeError:  # the system starts no more threads
            self._thread = None
            self._tell(folder, run)

    def _tell(self, folder: str, run: Run) -> None:
        told = {"run": json.loads(run.to_json()), "made of": {k: v for k, v in self._about.items() if k != "run"}}
        with self._guarded():
            replace_file(os.path.join(folder, ABOUT), json.dumps(told, indent=1).encode())

    def on_resume(self, run: Run, history: History) -> None:
        """Forget what came after the checkpoint: it comes again."""
        # An epoch's line comes after those of its snapshots.
        lines: list[tuple[float, int, str, str]] = [(one.epoch, 1, "epoch", one.to_json()) for one in history.epochs]
        lines += [(one.progress, 0, "snapshot", one.to_json()) for one in history.snapshots]
        assert self._records
        assert self._costs
        with self._guarded():
            self._records.truncate(0)
            for _, _, kind, line in sorted(lines):
                self._line(kind, line)
            there = os.fstat(self._costs.fileno()).st_size // NUMBER.itemsize
            self._costs.truncate(min(history.steps, there) * NUMBER.itemsize)
            self._costs.seek(0, os.SEEK_END)
            self._costs.write(np.full(max(0, history.steps - there), np.nan, NUMBER).tobytes())  # lost in a power cut

    def on_step(self, run: Run, record: StepRecord) -> None:
        if self._costs is None:
            return
        with self._guarded():
            self._costs.write(np.float64(record.cost).astype(NUMBER).tobytes())
            if record.snapshot:
                self._line("snapshot", record.snapshot.to_json())

    def on_epoch(self, run: Run, record: EpochRecord) -> None:
        with self._guarded():
            self._line("epoch", record.to_json())

    def on_stop(self, run: Run, reason: str) -> None:
        if self._thread:
            self._thread.join()
        with self._guarded():
            self._line("end", json.dumps({"reason": reason}))
        self._close()

    def _line(self, kind: str, content: str) -> None:
        if self._records:
            self._records.write(f'{{"kind": "{kind}", {content.removeprefix("{")}\n'.encode())

    def _close(self) -> None:
        for file in (self._records, self._costs):
            if file:
                file.close()
        self._records = self._costs = None

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._close()
            warn(f"the run's folder cannot be written to any more, the training goes on: {error}")


def _opened(path: str, goes_on: bool) -> BinaryIO:
    """Open a file for writing, without a buffer: what is written stays, whoever kills the program."""
    return open(path, "r+b" if goes_on and os.path.exists(path) else "wb", buffering=0)


def read_run(folder: str) -> tuple[dict[str, Any], list[dict[str, Any]], Any]:
    """Return what a run's folder says: what it is, its records in order, and the costs of its steps.

    A line that a killed program did not end is left out.

    Raises:
        CheckpointError: it is no run's folder, or was not written by `RunFolder`.
    """
    place = at_home(folder)
    try:
        with open_regular(os.path.join(place, ABOUT)) as file:
            about = json.loads(file.read())
        with open_regular(os.path.join(place, RECORDS)) as file:
            lines = file.read().split(b"\n")[:-1]
        with open_regular(os.path.join(place, COSTS)) as file:
            costs = file.read()
        records = [json.loads(line) for line in lines]
    except FileNotFoundError as error:
        raise CheckpointError(f"{folder} is not the folder of a run: there is no {error.filename}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{folder} cannot be read as the folder of a run: {error}") from error
    right = isinstance(about, dict) and all(isinstance(about.get(key), dict) for key in ("run", "made of"))
    if not right or not all(isinstance(record, dict) for record in records):
        raise CheckpointError(f"{folder} cannot be read as the folder of a run: its files do not say what they should")
    return about, records, np.frombuffer(costs[: len(costs) // NUMBER.itemsize * NUMBER.itemsize], NUMBER)
