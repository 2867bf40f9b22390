"""What a run leaves in its folder as it goes: what it is, its records, and the cost of each step.

| file | what |
| --- | --- |
| `run.json` | the Run, and what the training is made of (`Identity`), data as a digest |
| `records.jsonl` | a line of JSON for each snapshot and epoch, and one for the end |
| `costs.bin` | the cost of each step, float64, little-endian |
"""

import contextlib
import json
import math
import os
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

from gedanken.checks import warn
from gedanken.errors import ArgumentError, CheckpointError
from gedanken.files import at_home, open_regular, replace_file
from gedanken.parallel.fault import Fault
from gedanken.processes.uncut import start_thread
from gedanken.training.callbacks import Callback
from gedanken.training.checkpoint import FOLDER, checkpoints
from gedanken.training.records import EpochRecord, History, Run, StepRecord

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

ABOUT, RECORDS, COSTS, LOCK = "run.json", "records.jsonl", "costs.bin", ".lock"
NUMBER = np.dtype("<f8")
LOCK_SECONDS = 2.0  # that workers of a program that was killed may still be there
MOST_LOST = 1 << 20  # costs that a power cut has taken, and that are filled up with NaN


class RunFolder(Callback):
    """Writes down a run as it goes, so that one that is killed leaves what it was until then.

    It is told of the start last, so nothing is changed where something else refuses; and where the training goes on,
    nothing before all of that is restored. What cannot be written once the training has begun is a warning, and
    nothing more is written.

    Args:
        about: what the training is made of; it is asked for in a thread, as data are read for it.

    Raises:
        ArgumentError: the folder cannot be made or written to, has checkpoints of another run, or is in use (in
            `on_start`).
    """

    shows = True

    def __init__(self, about: Mapping[str, Any]) -> None:
        self._about = about
        self._lock: BinaryIO | None = None
        self._records: BinaryIO | None = None
        self._costs: BinaryIO | None = None
        self._thread: threading.Thread | None = None

    def on_start(self, run: Run) -> None:
        with _writable(run.folder):
            os.makedirs(run.folder, exist_ok=True)
            self._lock = open(os.path.join(run.folder, LOCK), "wb")  # noqa: SIM115 - closed at the end
        _take(self._lock, run.folder)
        found = checkpoints(os.path.join(run.folder, FOLDER))
        if found and not (run.resumed and os.path.realpath(run.folder) == os.path.realpath(run_of(run.resumed))):
            rule = f"be one without checkpoints of another run ({found[-1]}), or be given as resume= too"
            raise ArgumentError(f"folder must {rule}, got {run.folder!r}")
        self._folder = os.path.abspath(run.folder)  # wherever the program goes
        if not run.resumed:
            self._begin(run, b"", b"")

    def on_resume(self, run: Run, history: History) -> None:
        """Forget what came after the checkpoint: it comes again."""
        # An epoch's line comes after those of its snapshots.
        lines: list[tuple[float, float, bytes]] = [
            (one.epoch, math.inf, _line("epoch", one.to_json())) for one in history.epochs
        ]
        lines += [(one.progress, -1, _line("snapshot", one.to_json())) for one in history.snapshots]
        lines += [(one.epoch, one.step, _line("fault", one.to_json())) for one in history.faults]
        known = np.empty(0, NUMBER)
        with contextlib.suppress(OSError):
            known = np.fromfile(os.path.join(run_of(run.resumed), COSTS), NUMBER, history.steps)
        lost = min(history.steps - len(known), MOST_LOST)
        costs = np.concatenate([known, np.full(lost, np.nan, NUMBER)])
        self._begin(run, b"".join(line for _, _, line in sorted(lines)), costs.tobytes())

    def _begin(self, run: Run, records: bytes, costs: bytes) -> None:
        """Open the files, with what is to stand in them before."""
        with _writable(run.folder):
            self._records = _opened(os.path.join(self._folder, RECORDS), records)
            self._costs = _opened(os.path.join(self._folder, COSTS), costs)
        self._thread = threading.Thread(target=self._tell, args=(run,), name="gedanken run", daemon=True)
        try:
            start_thread(self._thread)
        except RuntimeError:  # the system starts no more threads
            self._thread = None
            self._tell(run)

    def _tell(self, run: Run) -> None:
        told = {"run": json.loads(run.to_json()), "made of": {k: v for k, v in self._about.items() if k != "run"}}
        with self._guarded():
            replace_file(os.path.join(self._folder, ABOUT), json.dumps(told, indent=1).encode())

    def on_step(self, run: Run, record: StepRecord) -> None:
        if self._costs is None or self._records is None:
            return
        with self._guarded():
            self._costs.write(np.float64(record.cost).astype(NUMBER).tobytes())
            if record.snapshot:
                self._records.write(_line("snapshot", record.snapshot.to_json()))

    def on_fault(self, run: Run, fault: Fault) -> None:
        self._write(_line("fault", fault.to_json()))

    def on_epoch(self, run: Run, record: EpochRecord) -> None:
        self._write(_line("epoch", record.to_json()))

    def on_stop(self, run: Run, reason: str) -> None:
        if self._thread:
            self._thread.join()
        self._write(_line("end", json.dumps({"reason": reason})))
        self._close()
        if self._lock:
            self._lock.close()

    def _write(self, line: bytes) -> None:
        with self._guarded():
            if self._records:
                self._records.write(line)

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
            told = self._records is None  # by another thread
            self._close()
            if not told:
                warn(f"the run's folder cannot be written to any more, the training goes on: {error}")


def run_of(checkpoint: str) -> str:
    """Return the folder of the run that a checkpoint is of."""
    above = os.path.dirname(checkpoint) or "."
    held = os.path.basename(os.path.abspath(above)) == FOLDER
    return os.path.normpath(os.path.join(above, os.pardir)) if held else above


@contextlib.contextmanager
def _writable(folder: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: of a name that can be none
        rule = f"be a folder that can be written to ({getattr(error, 'strerror', None) or error})"
        raise ArgumentError(f"folder must {rule}, got {folder!r}") from error


def _take(lock: BinaryIO, folder: str) -> None:
    """Keep other trainings out of a folder, or raise ArgumentError.

    The system gives it back for a program that is killed, as soon as its worker processes are gone, too.
    """
    limit = time.monotonic() + LOCK_SECONDS
    while fcntl is not None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > limit:
                lock.close()
                rule = "be one in which no other training writes at this moment"
                raise ArgumentError(f"folder must {rule}, got {folder!r}") from error
            time.sleep(0.05)
        except OSError:  # a file system without locks
            return
        else:
            return


def _opened(path: str, content: bytes) -> BinaryIO:
    """Open a file that has this content, to write on: without a buffer, so what is written stays, whoever is killed."""
    replace_file(path, content)
    return open(path, "ab", buffering=0)


def _line(kind: str, content: str) -> bytes:
    return f'{{"kind": "{kind}", {content.removeprefix("{")}\n'.encode()


def read_run(folder: str) -> tuple[dict[str, Any], list[dict[str, Any]], Any]:
    """Return what a run's folder says: what it is, its records in order, and the costs of its steps.

    A line that a killed program did not end is left out.

    Raises:
        CheckpointError: it is no run's folder, or was not written by `RunFolder`.
    """
    place = at_home(folder)
    try:
        told, lines, costs = (_content(os.path.join(place, name)) for name in (ABOUT, RECORDS, COSTS))
        about, records = json.loads(told), [json.loads(line) for line in lines.split(b"\n")[:-1]]
    except FileNotFoundError as error:
        raise CheckpointError(f"{folder} is not the folder of a run: there is no {error.filename}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{folder} cannot be read as the folder of a run: {error}") from error
    right = isinstance(about, dict) and all(isinstance(about.get(key), dict) for key in ("run", "made of"))
    if not right or not _is_run(about["run"]) or not all(isinstance(record, dict) for record in records):
        raise CheckpointError(f"{folder} cannot be read as the folder of a run: its files do not say what they should")
    return about, records, np.frombuffer(costs[: len(costs) // NUMBER.itemsize * NUMBER.itemsize], NUMBER)


def _content(path: str) -> bytes:
    with open_regular(path) as file:
        return file.read()


def _is_run(told: Mapping[str, Any]) -> bool:
    """Say whether the entries that are counted with are what a Run's are."""
    counts = [told.get("first_epoch"), told.get("last_epoch"), *filter(None, [told.get("steps")])]
    started = told.get("started")
    return all(type(n) is int and 0 < n < 1 << 48 for n in counts) and type(started) is float and 0 <= started < 1e11
