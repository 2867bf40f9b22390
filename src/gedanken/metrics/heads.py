"""Metrics by other names: of single outputs, where a network has several, and of one kind with several options."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gedanken.checks import is_list, require
from gedanken.hyperparameters import changed_fields
from gedanken.metrics.base import Metric, numbers
from gedanken.ops import Ops
from gedanken.types import Array


class Wrapping(Metric):
    """A metric that is another one by a name of its own; a subclass has that one as its field `metric`."""

    metric: Metric

    @property
    def better(self) -> Any:  # type: ignore[override]
        return self.metric.better

    def measure(self, ops: Ops, y: Array, target: Array, weight: Array | None = None) -> Array:
        return self.metric.measure(ops, y, target) if weight is None else self.metric.measure(ops, y, target, weight)

    def merge(self, total: Array, part: Array) -> Array:
        return self.metric.merge(total, part)

    def value(self, total: Array) -> float | Array:
        return self.metric.value(total)


@dataclass(frozen=True)
class HeadMetric(Wrapping):
    """A metric of one head, called "head_metric" in records.

    Args:
        head: its name.
        metric: what is measured of its outputs and targets.
    """

    head: str
    metric: Metric

    @property
    def name(self) -> str:
        return f"{self.head}_{self.metric.name}"


@dataclass(frozen=True)
class NamedMetric(Wrapping):
    """A metric with another name in records: its own and those of its options that tell it from others beside it.

    Args:
        label: the name.
        metric: what is measured.
    """

    label: str
    metric: Metric

    def __post_init__(self) -> None:
        require(isinstance(self.label, str), "NamedMetric label", "be a name", self.label)
        require(isinstance(self.metric, Metric), "NamedMetric metric", "be a Metric", self.metric)

    @property
    def name(self) -> str:
        return self.label


@dataclass(frozen=True)
class HeadCost(Metric):
    """The cost of one head, without its weight, called "head_cost" in records.

    Args:
        head: its name.
        weight: what it counts in the cost of all heads.
        sums: whether costs of mini-batches add up, see `Cost.sums`.
    """

    better = "lower"

    head: str
    weight: float = 1.0
    sums: bool = False

    @property
    def name(self) -> str:
        return f"{self.head}_cost"

    def measure(self, ops: Ops, y: Any, target: Any, weight: Array | None = None) -> Array:
        """Return the statistics of a mini-batch: y is what it costs the head, `target` for how many samples."""
        return numbers(ops, y * target, target)

    def value(self, total: Array) -> float | Array:
        cost, counts = total
        return float(cost if self.sums or not counts else cost / counts)


def cost_of_heads(measured: Iterable[tuple[Metric, Callable[[], Array]]]) -> float | None:
    """Return the cost of all heads over some mini-batches, the weighted sum of that of each; None without heads.

    No mean of the mini-batches' costs is that, since each head may count other samples and places of them. Where costs
    of mini-batches add up it is their sum, and None as well.

    Args:
        measured: the metrics of a network, and what gives the statistics of each over the mini-batches.
    """
    costs = [one.weight * one.value(found()) for one, found in measured if isinstance(one, HeadCost) and not one.sums]
    return float(sum(costs)) if costs else None


def judging(metric: Metric) -> Metric:
    """Return what measures outputs: of a head's metric, or one with another name, the metric in it."""
    return judging(metric.metric) if isinstance(metric, Wrapping) else metric


def told_apart(metrics: Sequence[Metric]) -> list[Metric]:
    """Return metrics with names of their own, where options tell apart those of one name: "f1_threshold_0.3".

    Named are the options in which those of one name differ, without those that are at their defaults.
    """
    found = list[Metric]()
    for metric in metrics:
        alike = [one for one in metrics if one.name == metric.name and type(one) is type(metric)]
        given = changed_fields(metric)
        differ = {name for name in given if any(repr(getattr(one, name)) != repr(given[name]) for one in alike)}
        parts = [f"{name}_{_shown(given[name])}" for name in given if name in differ]
        found.append(NamedMetric("_".join([metric.name, *parts]), metric) if parts else metric)
    return found


def _shown(value: Any) -> str:
    if isinstance(value, float):
        few = f"{value:g}"
        return few if float(few) == value else repr(value)
    return "_".join(map(str, value)) if is_list(value) else str(value)
