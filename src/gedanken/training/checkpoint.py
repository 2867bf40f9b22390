"""Checkpoints: a training written down beside its steps, so that it can go on from there after whatever ends it."""

import contextlib
import math
import numbers
import os
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gedanken.checks import duration, require, truth, warn, whole
from gedanken.errors import ArgumentError
from gedanken.io.model_file import Model, write_model
from gedanken.processes.uncut import start_thread
from gedanken.state import State, check_state
from gedanken.training.callbacks import Callback
from gedanken.training.records import Capture, EpochRecord, Run, StepRecord
from gedanken.training.watched import Watched

FOLDER = "checkpoints"  # in the run's folder
NAME = re.compile(r"epoch-[0-9]{6}-step-[0-9]{9}\.safetensors")
MOST = 1_000_000  # checkpoints that are kept


@dataclass
class Checkpoint(Callback):
    """Write the training down, into the folder `checkpoints` of the run's folder; `fit(resume=...)` goes on from there.

    The first one is written before the first step, one when Ctrl-C ends the training, and one after the last epoch. A
    file appears whole or not at all, and the training does not wait for the disk: a checkpoint that is due while one is
    being written takes the place of one that waits. One that cannot be written is a warning; the older ones stay.
    `Network.load` reads them, too.

    Args:
        every: "epoch"; a number of steps, at least 1; or a time, such as "30 s", "10 min" or "2 h".
        keep: how many are kept, the newest, at least 1.
        best: whether that of the best epoch is kept too.
        monitor, mode: what the best epoch is, as for KeepBest.

    Raises:
        ArgumentError: an argument breaks its rule.
        OSError: the first one cannot be written; nothing was trained.
    """

    every: str | int = "epoch"
    keep: int = 3
    best: bool = True
    monitor: str | None = None
    mode: str | None = None

    def __post_init__(self) -> None:
        self._steps, self._seconds = _interval(self.every)
        whole("Checkpoint keep", self.keep, at_most=MOST)
        truth("Checkpoint best", self.best)
        self._watched = Watched("Checkpoint", self.monitor, self.mode)
        self._begin()

    def _begin(self) -> None:
        self._writer: _Writer | None = None
        self._count, self._last, self._best_name = 0, 0.0, ""
        self._is_best = self._aside = False

    def on_start(self, run: Run) -> Capture:
        if self._writer:
            raise ArgumentError("a Checkpoint must be given once, to one training at a time, got one that is in use")
        self._begin()
        self._run = run.id
        self._watched.begin(run)
        folder = os.path.abspath(os.path.join(run.folder, FOLDER))  # wherever the program goes
        self._aside = bool(run.resumed)
        self._writer, self._last = _Writer(folder, self.keep), time.monotonic()
        return Capture(self._first)

    def state(self) -> State:
        return {**self._watched.state(), "steps": self._count, "name": self._best_name}

    def restore(self, state: Mapping[str, Any]) -> None:
        check_state("Checkpoint", state, self.state())
        self._watched.restore({"best": state["best"]})
        self._count, self._best_name = state["steps"], state["name"]

    def on_step(self, run: Run, record: StepRecord) -> Capture | None:
        self._count += 1
        due = self._steps and self._count % self._steps == 0
        if self._seconds < math.inf:
            due = time.monotonic() - self._last >= self._seconds
        return Capture(self._take) if due else None

    def on_epoch(self, run: Run, record: EpochRecord) -> Capture | None:
        improved = self._watched.improved(record)
        if self.best and improved and record.finished:
            self._best_name, self._is_best = name_of(record.epoch + 1, 0), True
        due = not (self._steps or self._seconds < math.inf) or self._is_best or record.epoch == run.last_epoch
        return Capture(self._take) if due else None

    def on_interrupt(self, run: Run) -> Capture:
        return Capture(self._take)

    def on_stop(self, run: Run, reason: str) -> None:
        if self._writer and self._run == run.id:
            self._writer.close()
            self._writer = None

    def _first(self, model: Model) -> None:
        assert self._writer
        name, held = _name(model), self._writer.folder
        if not os.path.exists(os.path.join(held, name)):
            self._writer.write(name, model)
        for later in checkpoints(held) if self._aside else ():
            if later > name:  # of what is forgotten, and perhaps of another course
                os.replace(os.path.join(held, later), os.path.join(held, f"{later}.old"))

    def _take(self, model: Model) -> None:
        assert self._writer
        self._last = time.monotonic()
        self._writer.put(_name(model), model, self._best_name, self._is_best)
        self._is_best = False


def _interval(every: object) -> tuple[int, float]:
    """Return steps and seconds between two checkpoints; 0 and infinity for epochs."""
    if isinstance(every, str) and every == "epoch":
        return 0, math.inf
    rule = 'be "epoch", a number of steps or a time such as "30 s"'
    if isinstance(every, str):
        return 0, duration("Checkpoint every", every, rule)
    require(isinstance(every, numbers.Integral) and not isinstance(every, bool), "Checkpoint every", rule, every)
    return whole("Checkpoint every", every), math.inf


def name_of(epoch: int, step: int) -> str:
    """Return the name of the file of a training that has done so many steps of an epoch, counted from 1."""
    return f"epoch-{epoch:06}-step-{step:09}.safetensors"


def _name(model: Model) -> str:
    assert model.training
    return name_of(model.training.state["place.epoch"], model.training.state["place.step"])


def checkpoints(folder: str) -> list[str]:
    """Return the names of the checkpoints in a folder, the newest last; none where there is no such folder."""
    try:
        return sorted(name for name in os.listdir(folder) if NAME.fullmatch(name))
    except (FileNotFoundError, NotADirectoryError):
        return []


class _Writer:
    """Writes checkpoints in a thread of its own, the newest that waits, and removes those that are not kept.

    Args:
        folder: where they are.
        keep: how many are kept.
    """

    def __init__(self, folder: str, keep: int) -> None:
        self.folder, self._keep = folder, keep
        self._changed = threading.Condition()
        self._waiting: list[tuple[str, Model, str, bool]] = []
        self._over = False
        self._thread: threading.Thread | None = None
        self._faults: list[str] = []
        self._warned = False  # of one that failed, since the last that did not

    def put(self, name: str, model: Model, best: str, is_best: bool) -> None:
        """Let a checkpoint be written, and tell of those that could not be."""
        with self._changed:
            self._waiting = [one for one in self._waiting if one[3]]  # the best one is written whatever comes after it
            self._waiting.append((name, model, best, is_best))
            self._changed.notify()
        if not self._thread:
            self._thread = threading.Thread(target=self._run, name="gedanken checkpoints", daemon=True)
            try:
                start_thread(self._thread)
            except RuntimeError:  # the system starts no more threads
                self._thread = None
                self._write_next()
        self._tell()

    def close(self) -> None:
        """Wait until all are written."""
        with self._changed:
            self._over = True
            self._changed.notify()
        if self._thread:
            self._thread.join()
        self._tell()

    def _tell(self) -> None:
        with self._changed:
            faults, self._faults = self._faults, []
        if faults and not self._warned:
            warn(f"a checkpoint could not be written, the training goes on and tries again: {faults[0]}")
            self._warned = True

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._over)
                if not self._waiting:
                    return
            self._write_next()

    def _write_next(self) -> None:
        with self._changed:
            name, model, best, _ = self._waiting.pop(0)
        try:
            self.write(name, model)
            self._remove(best)
            self._warned = False
        except Exception as error:  # of a user's own values too; the next one may be fine
            with self._changed:
                self._faults.append(str(error) or repr(error))

    def write(self, name: str, model: Model) -> None:
        """Write a checkpoint, whole or not at all."""
        write_model(os.path.join(self.folder, name), model)

    def _remove(self, best: str) -> None:
        for name in checkpoints(self.folder)[: -self._keep]:
            if name != best:
                with contextlib.suppress(FileNotFoundError):  # somebody else has tidied up
                    os.remove(os.path.join(self.folder, name))
