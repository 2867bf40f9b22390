"""What a training tells about itself: plain values that callbacks, files and pages read."""

import numbers
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from gedanken.checks import one_of, require
from gedanken.metrics import Metric
from gedanken.parallel.base import StepResult
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
    """

    first_epoch: int
    last_epoch: int
    steps: int | None
    samples: int | None
    validates: bool
    metrics: tuple[str, ...]
    better: tuple[str | None, ...] = ()


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


class StepRecord(NamedTuple):
    """One step.

    Args:
        epoch: number of the running epoch, counted from 1.
        step: number of the step in the epoch, counted from 1.
        share: of the epoch that is done, in (0, 1].
        samples: samples of its mini-batch.
        cost: mean cost of its mini-batch.
        rate: learning rate of the next update.
        seconds: since `fit` began.
        snapshot: a snapshot, where one was due after this step.
        statistics: of each metric for the mini-batch, as `Metric.measure` returns them.
    """

    epoch: int
    step: int
    share: float
    samples: int
    cost: float
    rate: float
    seconds: float
    snapshot: Snapshot | None
    statistics: tuple[Array, ...] = ()


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

    def figures(self) -> dict[str, Any]:
        """Return costs and metrics by name: "cost", "accuracy", "validation_cost", "validation_accuracy" ..."""
        figures = {"cost": self.cost, **self.metrics}
        if self.validation_cost is not None:
            figures["validation_cost"] = self.validation_cost
            figures |= {f"validation_{name}": value for name, value in self.validation_metrics.items()}
        return figures

    def flat(self) -> dict[str, Any]:
        """Return `figures` and all other entries but the mappings."""
        entries = {**self._asdict(), **self.figures()}
        del entries["metrics"], entries["validation_metrics"], entries["generator"]
        return entries

    def to_dict(self) -> dict[str, Any]:
        """Return `flat` in numbers, lists and strings of Python alone, as JSON takes them."""
        return {name: _plain(value) for name, value in self.flat().items()}


class Stop(NamedTuple):
    """What a callback returns to end the training, and why."""

    reason: str


@dataclass(repr=False)
class History:
    """What a training did; returned by `fit`.

    Args:
        epochs: a record of each epoch.
        snapshots: at most `SNAPSHOTS_KEPT`; beyond that every second one is dropped.
        reason: why the training ended.
        diverged: whether it ended because a cost, a gradient or a weight was no longer finite.
    """

    epochs: list[EpochRecord] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    reason: str = ""
    diverged: bool = False

    def __repr__(self) -> str:
        last = figures_text(self.epochs[-1].figures()) if self.epochs else ""
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

    def keep(self, snapshot: Snapshot) -> None:
        """Add a snapshot; a training of any length stays small."""
        self.snapshots.append(snapshot)
        if len(self.snapshots) > SNAPSHOTS_KEPT:
            del self.snapshots[::2]


SNAPSHOTS_KEPT = 4096


class Evaluation(dict[str, Any]):
    """Cost and metrics by name; prints as one line, and a table for each confusion matrix that `evaluate` found.

    Attributes:
        tables: the lines of these tables; they name the classes by `Network.class_names`.
    """

    tables: Sequence[str] = ()

    def __str__(self) -> str:
        return "\n".join([figures_text(self), *self.tables])


class Meter:
    """A running mean of cost and metrics, weighted by samples."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics
        self.samples = 0
        self._cost = 0.0
        self._gathered = [_Gathered(metric) for metric in metrics]

    def add(self, result: StepResult) -> None:
        """Take in one step."""
        self.samples += result.samples
        self._cost += result.cost * result.samples
        for gathered, part in zip(self._gathered, result.statistics, strict=False):
            gathered.add(part)

    @property
    def cost(self) -> float:
        """Mean cost so far."""
        return self._cost / self.samples

    @property
    def metrics(self) -> dict[str, Any]:
        """Value of each metric so far, a float or an array."""
        found = zip(self._metrics, self._gathered, strict=True)
        return {m.name: _figure(m, m.value(gathered.total)) for m, gathered in found}

    def evaluation(self) -> Evaluation:
        """Return cost and metrics by name."""
        return Evaluation(cost=self.cost, **self.metrics)


class _Gathered:
    """One metric's statistics, merged as a binary counter counts.

    A metric that keeps all samples copies each of them once for every doubling, not once for every step.
    """

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._parts: list[tuple[int, Array]] = []

    def add(self, part: Array) -> None:
        steps = 1
        while self._parts and self._parts[-1][0] == steps:
            part = self._metric.merge(self._parts.pop()[1], part)
            steps *= 2
        self._parts.append((steps, part))

    @property
    def total(self) -> Array:
        return reduce(self._metric.merge, (part for _, part in self._parts))


def _figure(metric: Metric, value: Any) -> Any:
    """Return a metric's value as a float where it is one number, whatever type of number it is."""
    if isinstance(value, (numbers.Real, np.bool_)) or (isinstance(value, np.ndarray) and value.shape == ()):
        return float(value)
    require(isinstance(value, np.ndarray), f"the value of the metric {metric.name}", "be a number or an array", value)
    return value


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def figures_text(figures: Mapping[str, Any]) -> str:
    """Return "cost 0.0312  accuracy 0.9896": the numbers among the figures in one line."""
    return "  ".join(figure_texts(figures))


def figure_texts(figures: Mapping[str, Any]) -> Iterator[str]:
    """Yield "cost 0.0312" and so on for each number among the figures."""
    for name, value in figures.items():
        if isinstance(value, float):
            yield f"{name} {value:.4f}" if 0.001 <= abs(value) <= 1 or value == 0 else f"{name} {value:.4g}"
