"""Going on with a training from a checkpoint: which one, and whether what comes of it will be the same."""

import hashlib
import importlib
import itertools
import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np

from gedanken.by_name import ByName
from gedanken.checks import path as checked_path
from gedanken.checks import require, truth, warn
from gedanken.code_digest import ADDRESS, code_digest, methods_of
from gedanken.data.batches import ArraySource, GeneratorSource, Source
from gedanken.errors import CheckpointError
from gedanken.files import at_home
from gedanken.hyperparameters import Hyperparameters
from gedanken.io.model_file import NewerVersionError, read_training
from gedanken.io.training_state import TrainingState
from gedanken.layers.stages import own
from gedanken.parallel.base import Strategy, TrainState
from gedanken.processors import usable_processors
from gedanken.sequences import Sequences
from gedanken.sparse import SparseRows
from gedanken.training.callbacks import Callback
from gedanken.training.checkpoint import FOLDER, Checkpoint, checkpoints
from gedanken.training.display import Display
from gedanken.training.records import Run
from gedanken.training.run_folder import run_of

SHOWN = 80  # characters of what differs
BLOCK = 1 << 24  # bytes of an array that are looked at together
# What has to be the same for a continuation to be the same training, and what for it to be the same to the last bit.
OF_NETWORK = (
    "layers", "frozen layers", "rates of layers", "cost", "optimizer", "metrics", "functions", "seed", "dtype"
)  # fmt: skip
# What older checkpoints call a cost and the activation before it.
FUSED = re.compile(r"\b(?:SoftMax|Sigmoid)((?:Binary)?CrossEntropy)\b")
DECIDING = (*OF_NETWORK, "callbacks", "mini-batches", "data", "validation set")
ROUNDING = ("engine", "processor", "library", "NumPy", "Python", "workers")
SAME = "the same to the bit as one that was never stopped"


@dataclass(frozen=True, eq=False, repr=False)
class Resume(Hyperparameters):
    """Where a training goes on, for `fit(resume=...)`, which also takes the path alone.

    Args:
        path: the folder of a run, in which the newest checkpoint that is whole is taken, or a checkpoint.
        anyway: whether it goes on though it is not the same training any more, as with other data or another rate; its
            parts have to fit all the same.

    Raises:
        ArgumentError: an argument breaks its rule.
    """

    path: str | os.PathLike[str]
    anyway: bool = False

    def __post_init__(self) -> None:
        checked_path("Resume path", self.path)
        truth("Resume anyway", self.anyway)


class Identity(Mapping[str, Any]):
    """What a training is made of, in texts, so that another one can be compared with it. Data are looked at when asked.

    Args:
        train_state: what is trained.
        layers: the network's.
        strategy: who trains.
        sources: mini-batches to train on, and to validate on.
        callbacks: that listen.
    """

    def __init__(
        self,
        train_state: TrainState,
        layers: Sequence[Any],
        strategy: Strategy,
        sources: tuple[Source, Source | None],
        callbacks: Sequence[Callback],
    ) -> None:
        self._train_state, self._layers, self._strategy = train_state, layers, strategy
        (self._source, self._validation), self._callbacks = sources, callbacks
        self.run: Run | None = None

    @cached_property
    def _found(self) -> dict[str, str]:
        plan, source = self._train_state.plan, self._source
        listeners = [callback for callback in self._callbacks if not callback.shows]
        told = {
            "layers": self._layers,
            "frozen layers": [*plan.tuning.frozen],
            "rates of layers": dict(plan.tuning.rates),
            "cost": plan.cost,
            "optimizer": self._train_state.optimizer_state.optimizer,
            "metrics": list(self._train_state.metrics),
            "callbacks": [_callback(callback) for callback in listeners],
            "seed": plan.seed,
            "dtype": plan.ops.dtype,
            "mini-batches": _mini_batches(source),
            "data": _data(source),
            "validation set": _data(self._validation),
            "functions": _functions([plan.cost, *self._layers, *self._train_state.metrics, *listeners]),
            "Python": ".".join(platform.python_version_tuple()[:2]),
            "engine": plan.engine.name,
            "processor": _processor(plan.engine.name),
            "library": importlib.import_module("gedanken").__version__,
            "NumPy": np.__version__,
            "workers": _free_order(self._strategy, source),
            "forgetful": ", ".join(type(one).__name__ for one in listeners if _forgets(one)),
        }
        return {name: ADDRESS.sub("", str(value)) for name, value in told.items()}

    def __getitem__(self, name: str) -> Any:
        if name == "run" and self.run:
            return {"id": self.run.id, "started": self.run.started, "first_epoch": self.run.first_epoch}
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter([*self._found, *(["run"] if self.run else [])])

    def __len__(self) -> int:
        return len(list(iter(self)))


class Taken(NamedTuple):
    """A checkpoint that was taken up.

    Args:
        path: of the file.
        training: what it holds.
    """

    path: str
    training: TrainingState

    def of(self, run: Run, folder: str | None) -> Run:
        """Return the run as the one that goes on, in its own folder or in another one."""
        told = self.training.about.get("run")
        known: dict[str, Any] = told if isinstance(told, dict) else {}
        first, name, started = known.get("first_epoch", 0), known.get("id", ""), known.get("started", 0)
        right = type(first) is int and 1 <= first < 1 << 31 and isinstance(name, str) and isinstance(started, float)
        if not right:
            raise CheckpointError(f"{self.path} does not say which run it is of")
        last = first + run.last_epoch - run.first_epoch
        own = run._replace(first_epoch=first, last_epoch=last, id=name, started=started)
        return own._replace(folder=folder or run_of(self.path), resumed=self.path)

    def compare(self, now: Identity, asked: Any) -> str:
        """Return in words how close the continuation will be.

        Raises:
            CheckpointError: it is another training, and was not asked for anyway.
        """
        before = dict(self.training.about)
        before["cost"] = FUSED.sub(r"\1", str(before.get("cost")))
        others = [name for name in DECIDING if before.get(name) != now[name]]
        if before.get("Python") != now["Python"]:  # which writes functions in other bytes
            others = [name for name in others if name != "functions"]
        if others:
            differences = "; ".join(f"its {name}: {_then(before.get(name), now[name])}" for name in others)
            if not (isinstance(asked, Resume) and asked.anyway):
                remedy = "give what it began with, or Resume(path, anyway=True)"
                raise CheckpointError(f"{self.path} is of another training, {differences}; {remedy}")
            return f"not comparable with one that was never stopped: {differences}"
        close = [name for name in ROUNDING if before.get(name) != now[name]]
        if close:
            differences = "; ".join(f"{name}: {_then(before.get(name), now[name])}" for name in close)
            return f"numerically close to one that was never stopped, not the same to the bit; {differences}"
        if now["workers"]:
            return f"close to one that was never stopped: workers {now['workers']}, so no two trainings are the same"
        if forgetful := now["forgetful"]:
            return f"{SAME}, if {forgetful} need nothing of what came before: they have no state()"
        return SAME


def taken_up(given: Any) -> Taken | None:
    """Return the checkpoint that `fit(resume=...)` asks for; None, with a warning, for a run that has none yet.

    Raises:
        ArgumentError: it is no path and no Resume.
        CheckpointError: there is no such checkpoint, or it is of a newer version, or none is whole.
    """
    if given is None:
        return None
    path = _path_of(given)
    if os.path.isfile(path):
        return Taken(path, read_training(path))
    if path.endswith(".safetensors"):
        raise CheckpointError(f"resume must be a run's folder or a checkpoint, and there is no {path!r}")
    held = path if os.path.basename(os.path.abspath(path)) == FOLDER else os.path.join(path, FOLDER)
    names = checkpoints(held)
    for name in reversed(names):
        file = os.path.join(held, name)
        try:
            return Taken(file, read_training(file))
        except NewerVersionError:
            raise
        except CheckpointError as error:
            if name == names[0]:
                raise
            warn(f"{error}; the one before it is taken")
    warn(f"{path} has no checkpoint yet; the training begins anew there")
    return None


def _path_of(given: Any) -> str:
    asked = given.path if isinstance(given, Resume) else given
    require(isinstance(asked, (str, os.PathLike)), "resume", "be a path or a Resume", given)
    path = at_home(checked_path("resume", asked))
    require("\0" not in path, "resume", "be a path or a Resume", path)
    return path


def folder_of(taken: Taken | None, resume: Any, folder: str | None) -> str | None:
    """Return the run's folder: the one that was given, or the one in which a run without a checkpoint begins anew."""
    if taken or folder is not None or resume is None:
        return folder
    return run_of(os.path.join(_path_of(resume), "checkpoint"))


def say(display: Display, progress: bool, run: Run, how: str) -> None:
    """Say from where a training goes on, and how close it will be to one that was never stopped."""
    told = f"goes on from {run.resumed}: {how}"
    if progress:
        display.line(told)
    elif how != SAME:
        warn(told)


def _functions(parts: Sequence[Any]) -> str:
    """Return a digest of what is a user's own in objects: functions that they hold, and their classes' methods."""
    held = [one for part in parts for one in getattr(part, "__dict__", {}).values() if isinstance(one, FunctionType)]
    held += [method for part in parts for method in methods_of(type(part))]
    return code_digest(held) if held else ""


def _mini_batches(source: Source) -> str:
    if isinstance(source, ArraySource):
        return f"of {source.mini_batch_size}, {'in an order of their own in each epoch' * source.shuffle or 'in order'}"
    return f"of {source.mini_batch_size}"


def _callback(callback: Callback) -> str:
    """Return a callback with what it goes by; of a user's own nobody knows what that is."""
    if isinstance(callback, Checkpoint):  # when it writes, and how many it keeps, is no matter
        return f"Checkpoint(monitor={callback.monitor!r}, mode={callback.mode!r})"
    return type(callback).__qualname__ if own(callback) else str(callback)


def _forgets(callback: Callback) -> bool:
    """Say whether a callback of a user's holds something and says nothing of it."""
    return own(callback) and type(callback).state is Callback.state and bool(vars(callback))


def _free_order(strategy: Strategy, source: Source) -> str:
    """Return why no two such trainings are the same, or nothing."""
    if not strategy.exact:
        return "wait for nobody"
    free = isinstance(source, GeneratorSource) and source.generator.order != "exact"
    return "give mini-batches as they are ready" if free else ""


def _data(source: Source | None) -> str:
    """Return who the data are: of arrays a digest, of a Generator its class and what its order depends on."""
    if source is None:
        return "none"
    if isinstance(source, GeneratorSource):
        told = ", ".join(f"{key} {value}" for key, value in source.identity().items())
        arrays = list(_arrays_in(vars(source.generator)))
        return f"{told}, arrays {_digest_of(arrays)}" if arrays else told
    assert isinstance(source, ArraySource)
    return f"{source.samples} samples, digest {_digest_of([source.x, source.target, source.rows, source.weight])}"


def _arrays_in(held: Any) -> Iterator[Any]:
    """Yield the arrays that an object holds in its attributes, and in their lists and dicts."""
    if isinstance(held, (np.ndarray, Sequences, SparseRows)):
        yield held
    elif isinstance(held, (dict, list, tuple)):
        for one in held.values() if isinstance(held, dict) else held:
            yield from _arrays_in(one)


def _digest_of(arrays: Sequence[Any]) -> str:
    found = hashlib.blake2b(digest_size=16)
    for array in arrays:
        if array is not None:
            _digest(found, array)
    return found.hexdigest()


def _digest(found: Any, array: Any) -> None:
    if isinstance(array, SparseRows):
        lengths = array.ends - array.begins
        starts = np.concatenate([[0], np.cumsum(lengths)])
        picked = np.arange(starts[-1]) - np.repeat(starts[:-1] - array.begins, lengths)
        for part in (starts, array.columns[picked], array.values[picked]):
            _digest(found, part)
        return
    if isinstance(array, ByName):
        for name, part in array.parts.items():
            found.update(name.encode())
            _digest(found, part)
        return
    if isinstance(array, Sequences):
        _digest(found, array.values)
        _digest(found, array.lengths)
        return
    found.update(f"{array.dtype.str} {array.shape}".encode())
    step = max(1, BLOCK // max(array[:1].nbytes, 1))
    for first in range(0, len(array), step):
        found.update(np.ascontiguousarray(array[first : first + step]).reshape(-1).view(np.uint8).data)


def _processor(engine: str) -> str:
    """Return what the order of additions depends on."""
    if engine == "cpu":
        machine = importlib.import_module("gedanken.engine.cpu.machine").this_machine()
        return f"{machine.cpu}, {machine.unit}"
    return f"{platform.machine()} of {usable_processors()}" if engine == "numpy" else ""


def _then(before: Any, now: Any) -> str:
    one, other = apart(before, now)
    return f"then {one}, now {other}"


def apart(before: Any, now: Any) -> tuple[str, str]:
    """Return two texts, from where they differ on."""
    one, other = str(before), str(now)
    alike = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    begin = max(0, len(list(alike)) - 20) if max(len(one), len(other)) > SHOWN else 0
    dots = "..." if begin else ""
    return f"{dots}{one[begin : begin + SHOWN]!r}", f"{dots}{other[begin : begin + SHOWN]!r}"
