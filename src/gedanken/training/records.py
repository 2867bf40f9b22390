"""What a training tells about itself: plain values that callbacks, files and pages read.

Every record has `to_json`, one line without line breaks. A number that is not finite is null there, as JSON has none.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gedanken.checks import one_of
from gedanken.json_lines import json_object, line, plain
from gedanken.parallel.fault import Fault
from gedanken.texts import figure_text
from gedanken.types import Array


class Run(NamedTuple):
    """What is known before the first step.

    Args:
        first_epoch, last_epoch: numbers of the epochs, counted from 1 over all calls of `fit`.
        steps, samples: mini-batches and samples in an epoch; None where a Generator gives them, which does not know.
        validates: whether there is a validation set.
        metrics: names of the metrics.
        better: for each of them "higher", "lower", or None if the metric does not say which direction is better. ()
            where nothing was said: then the library's metrics are known by their names.
        id: name of this call of `fit`, unlike that of any other.
        folder: where files of the run are kept; it is made only when something is saved in it.
        started: seconds since 1970, UTC.
        config: what is trained and how, as texts and numbers: classes of the "layers", number of "parameters",
            "optimizer", "cost", "engine", "dtype", "seed", "mini_batch_size".
        resumed: the checkpoint that it goes on from; "" for one that begins.
    """

    first_epoch: int
    last_epoch: int
    steps: int | None
    samples: int | None
    validates: bool
    metrics: tuple[str, ...]
    better: tuple[str | None, ...] = ()
    id: str = ""
    folder: str = ""
    started: float = 0.0
    config: Mapping[str, Any] | None = None
    resumed: str = ""

    def to_json(self) -> str:
        """Return the record as one line of JSON."""
        return line(self._asdict())


class Snapshot(NamedTuple):
    """Cost and metrics of the steps since the last snapshot.

    Args:
        epoch: number of the running epoch, counted from 1.
        progress: epochs done, with a fraction.
        cost, metrics: means over these steps, weighted by their samples.
        rate: learning rate.
        samples_per_second: over these steps.
        seconds: since `fit` began.
    """

    epoch: int
    progress: float
    cost: float
    metrics: Mapping[str, Any]
    rate: float
    samples_per_second: float
    seconds: float

    def to_json(self) -> str:
        """Return the record as one line of JSON."""
        return line(self._asdict())


class StepRecord(NamedTuple):
    """One step.

    Args:
        epoch: number of the running epoch, counted from 1.
        step: number of the step in the epoch, counted from 1.
        fraction: of the epoch that is done, in (0, 1].
        samples: samples of its mini-batch.
        cost: of its mini-batch.
        rate: learning rate of the next update.
        seconds: since `fit` began.
        snapshot: a snapshot, where one was due after this step.
        statistics: of each metric for the mini-batch, as `Metric.measure` returns them.
        counts: the samples that the cost counts for, fewer where some count for less; None: all of them.
    """

    epoch: int
    step: int
    fraction: float
    samples: int
    cost: float
    rate: float
    seconds: float
    snapshot: Snapshot | None
    statistics: tuple[Array, ...] = ()
    counts: float | None = None

    @property
    def share(self) -> float:
        """The former name of `fraction`."""
        return self.fraction

    def to_json(self) -> str:
        """Return the record without its statistics as one line of JSON."""
        entries = {**self._asdict(), "snapshot": self.snapshot._asdict() if self.snapshot else None}
        del entries["statistics"]
        return line(entries)


class EpochRecord(NamedTuple):
    """One epoch.

    Args:
        epoch: its number, counted from 1 over all calls of `fit`.
        finished: whether all of its mini-batches were seen.
        samples: samples seen.
        cost, metrics: over the training steps as they were computed, weighted by their samples.
        validation_cost, validation_metrics: over the validation set after the epoch; None and empty without one.
        rate: learning rate at its end.
        seconds: length of its training steps.
        validation_seconds: length of its validation.
        waiting_seconds: how much of `seconds` was spent waiting for mini-batches of a Generator.
        generator: its `stats()` at the end of the epoch; None for arrays.
        parallel: how workers shared the epoch; None without `fit(parallel=...)`. See docs/hogwild.md.
    """

    epoch: int
    finished: bool
    samples: int
    cost: float
    metrics: Mapping[str, Any]
    validation_cost: float | None
    validation_metrics: Mapping[str, Any]
    rate: float
    seconds: float
    validation_seconds: float
    waiting_seconds: float = 0.0
    generator: Mapping[str, Any] | None = None
    parallel: Mapping[str, Any] | None = None

    def figures(self) -> dict[str, Any]:
        """Return `values`, which was called so formerly."""
        return self.values()

    def values(self) -> dict[str, Any]:
        """Return costs and metrics by name: "cost", "accuracy", "validation_cost", "validation_accuracy" ..."""
        figures = {"cost": self.cost, **self.metrics}
        if self.validation_cost is not None:
            figures["validation_cost"] = self.validation_cost
            figures |= {f"validation_{name}": value for name, value in self.validation_metrics.items()}
        return figures

    def flat(self) -> dict[str, Any]:
        """Return `values` and all other entries but the mappings."""
        entries = {**self._asdict(), **self.values()}
        del entries["metrics"], entries["validation_metrics"], entries["generator"], entries["parallel"]
        return entries

    def to_dict(self) -> dict[str, Any]:
        """Return `flat` in numbers, lists and strings of Python alone, as JSON takes them."""
        return {name: plain(value) for name, value in self.flat().items()}

    def to_json(self) -> str:
        """Return `flat` as one line of JSON."""
        return line(self.flat())


class Stop(NamedTuple):
    """A callback's answer: end the training, for this reason."""

    reason: str

    def to_json(self) -> str:
        """Return the record as one line of JSON."""
        return line({"stop": self.reason})


class SetRate(NamedTuple):
    """A callback's answer: multiply the learning rate of all further updates by a factor, > 0."""

    factor: float

    def to_json(self) -> str:
        """Return the record as one line of JSON."""
        return line({"set_rate": self.factor})


class Save(NamedTuple):
    """A callback's answer: save the network as `name`.safetensors in the run's folder."""

    name: str = "checkpoint"

    def to_json(self) -> str:
        """Return the record as one line of JSON."""
        return line({"checkpoint": self.name})


class KeepWeights(NamedTuple):
    """A callback's answer: remember the weights as they are now; the training ends with them, whatever ends it.

    Later ones of the same callback take the place of earlier ones; of several callbacks the last in the list counts.
    """

    def to_json(self) -> str:
        """Return the record as one line of JSON."""
        return line({"keep_weights": True})


class Unfreeze(NamedTuple):
    """A callback's answer to `on_epoch`: let frozen layers learn again from the next epoch on.

    Args:
        layers: their positions or names.
    """

    layers: tuple[int | str, ...]

    def to_json(self) -> str:
        """Return the record as one line of JSON."""
        return line({"unfreeze": self.layers})


class Skip(NamedTuple):
    """A callback's answer to a Fault: leave the step out, and go on with the next mini-batch."""

    def to_json(self) -> str:
        """Return the record as one line of JSON."""
        return line({"skip": True})


class RollBack(NamedTuple):
    """A callback's answer to a Fault: go back to the last copy of the weights, and on with the next mini-batch.

    The copy is at most 256 steps old, of weights that gave a finite cost. The optimizer's moving means begin anew.
    """

    def to_json(self) -> str:
        """Return the record as one line of JSON."""
        return line({"roll_back": True})


class AverageWeights(NamedTuple):
    """A callback's answer, to `on_start` alone: average the weights from now on, and end with their average.

    See MovingAverage for the formula, and for when the network has the average.

    Args:
        decay: what is left of the weight of older ones after each update, in [0, 1).
    """

    decay: float

    def to_json(self) -> str:
        """Return the record as one line of JSON."""
        return line({"average_weights": self.decay})


class Capture(NamedTuple):
    """A callback's answer: give all that the training has become to a function, when all other answers are followed.

    It is the one answer that changes nothing, so it is not in `History.answers`.

    Args:
        receive: is given a `Captured` (training/capture.py), whose arrays are copies.
    """

    receive: Callable[[Any], object]


Answer = Stop | SetRate | Save | KeepWeights | Unfreeze | Skip | RollBack
Answers = Answer | Capture | list[Answer | Capture] | None  # of a callback: one, several in this order, or none
Begun = Capture | AverageWeights | None  # of `on_start`


class Answered(NamedTuple):
    """An answer that was followed.

    Args:
        epoch, step: after which step it came, both counted from 1; the step is 0 for an answer after an epoch or
            before the first step.
        callback: class of who gave it.
        answer: a Stop, SetRate, Save, KeepWeights, AverageWeights, Skip or RollBack.
    """

    epoch: int
    step: int
    callback: str
    answer: Answer | AverageWeights

    def to_json(self) -> str:
        """Return the record as one line of JSON."""
        told = {name: line(value) for name, value in self._asdict().items() if name != "answer"}
        return json_object(**told, answer=self.answer.to_json())


@dataclass(repr=False)
class History:
    """What a training did; returned by `fit`.

    Args:
        epochs: a record of each epoch.
        snapshots: at most `SNAPSHOTS_KEPT`; beyond that every second one is dropped.
        reason: why the training ended.
        diverged: whether it ended because a cost, a gradient or a weight was no longer finite.
        faults: steps, at most 1,024 of the first ones, of which nothing was kept because something was not
            finite.
        answers: what callbacks answered, in order.
        run: what was known before the first step.
        steps: how many were told of; workers tell of several mini-batches as one.
        kept: the epoch after which a callback kept the weights that the network has now; None where it has the last.
    """

    epochs: list[EpochRecord] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    reason: str = ""
    diverged: bool = False
    answers: list[Answered] = field(default_factory=list)
    run: Run | None = None
    steps: int = 0
    kept: int | None = None
    faults: list[Fault] = field(default_factory=list)

    def __repr__(self) -> str:
        last = figures_text(self.epochs[-1].values()) if self.epochs else ""
        return f"History of {len(self.epochs)} epochs ({self.reason})  {last}".rstrip()

    def __getitem__(self, name: str) -> list[Any]:
        """Return one figure of every epoch, None where it is missing: history["validation_accuracy"]."""
        if not self.epochs:
            return []
        one_of("figure", name, self.keys())
        return [record.flat().get(name) for record in self.epochs]

    def keys(self) -> list[str]:
        """Return the names of all figures, in the order of the records."""
        return list(dict.fromkeys(name for record in self.epochs for name in record.flat()))

    def to_dict(self) -> dict[str, list[Any]]:
        """Return every figure's list by name, in plain numbers and lists: pandas.DataFrame(history.to_dict())."""
        records = [record.to_dict() for record in self.epochs]
        return {name: [record.get(name) for record in records] for name in self.keys()}

    def to_json(self) -> str:
        """Return run, epochs, snapshots, answers, faults and reason as one line of JSON."""
        parts: dict[str, Any] = {"epochs": self.epochs, "snapshots": self.snapshots, "answers": self.answers}
        parts["faults"] = self.faults
        listed = {name: f"[{', '.join(record.to_json() for record in records)}]" for name, records in parts.items()}
        run = self.run.to_json() if self.run else "null"
        return json_object(run=run, **listed, reason=line(self.reason), diverged=line(self.diverged))

    def add_fault(self, fault: Fault) -> None:
        """Add a fault, up to so many."""
        if len(self.faults) < FAULTS_KEPT:
            self.faults.append(fault)

    def keep(self, snapshot: Snapshot) -> None:
        """Add a snapshot; a training of any length stays small."""
        self.snapshots.append(snapshot)
        if len(self.snapshots) > SNAPSHOTS_KEPT:
            del self.snapshots[::2]


SNAPSHOTS_KEPT = 4096
FAULTS_KEPT = 1024


class Evaluation(dict[str, Any]):
    """Cost and metrics by name; prints as one line, and tables of what is an array among that which `evaluate` found.

    Attributes:
        tables: the lines of these tables; they name the classes by `Network.class_names`.
    """

    tables: Sequence[str] = ()

    def __str__(self) -> str:
        return "\n".join([figures_text(self), *self.tables])

    def to_json(self) -> str:
        """Return the record as one line of JSON."""
        return line(self)


def figures_text(figures: Mapping[str, Any]) -> str:
    """Return "cost 0.0312  accuracy 0.9896": the numbers among the figures in one line."""
    return "  ".join(figure_texts(figures))


def figure_texts(figures: Mapping[str, Any]) -> Iterator[str]:
    """Yield "cost 0.0312" and so on for each number among the figures."""
    for name, value in figures.items():
        if isinstance(value, float):
            yield f"{name} {figure_text(value)}"
