"""The metrics that are reported where nothing else is asked for, and a check of those that are."""

from collections.abc import Mapping, Sequence
from typing import Any

from gedanken.checks import require, required_arguments
from gedanken.costs import CTC, Cost, CustomCost, GaussianNLL, Poisson, Quantile
from gedanken.costs.heads import HeadsCost, told_of_head
from gedanken.metrics import Accuracy, MeanAbsoluteError, Metric
from gedanken.metrics.entries import channels_of
from gedanken.metrics.heads import HeadCost, HeadMetric, judging, told_apart
from gedanken.named import METRICS, as_metric
from gedanken.training.records import EpochRecord
from gedanken.types import AnyShape, Shape


def checked_metrics(metrics: Any, cost: Cost, output_shape: AnyShape) -> tuple[Metric, ...]:
    """Return the metrics that are reported beside the cost; None stands for what suits it.

    Args:
        metrics, cost: as of `regression`.
        output_shape: of one sample, channels first; of heads by name.
    """
    if isinstance(cost, HeadsCost):
        return _of_heads(metrics, cost, output_shape)
    return _checked(metrics, cost, output_shape)


def _of_heads(metrics: Any, cost: HeadsCost, shapes: AnyShape) -> tuple[Metric, ...]:
    """Return the metrics of heads and, behind them, the cost of each."""
    names = [*cost.costs]
    given = isinstance(metrics, Mapping) and all(name in names for name in metrics)
    require(metrics is None or given, "metrics", f"be a dict of lists by names of the heads {names}", metrics)
    chosen: list[Metric] = []
    for name, one in cost.costs.items():
        with told_of_head(name):
            wanted = _checked(None if metrics is None else metrics.get(name, ()), one, shapes[name])
        chosen += (HeadMetric(name, metric) for metric in wanted)
    chosen += (HeadCost(name, weight, cost.sums) for name, weight in cost.weights.items())
    _check_figures([metric.name for metric in chosen])
    return tuple(chosen)


def _checked(metrics: Sequence[str | Metric] | None, cost: Cost, output_shape: Shape) -> tuple[Metric, ...]:
    if metrics is None:
        metrics = _default_metrics(cost, output_shape)
    listed = isinstance(metrics, (list, tuple))
    require(listed, "metrics", "be a list of Metric objects such as [Accuracy()]", metrics)
    chosen = tuple(as_metric(metric) for metric in metrics)
    if cost.aligns:
        _check_aligned(cost, chosen)
    for metric in chosen:
        better = metric.better
        require(better in (None, "lower", "higher"), f"{metric.name} better", "be 'lower', 'higher' or None", better)
        takes = required_arguments(metric.measure, "weight")
        rule = "take (y, target), NumPy arrays, or (ops, y, target), arrays of the device"
        require(takes in (2, 3), f"{type(metric).__name__}.measure", rule, f"{takes} arguments")
    several_answers = cost.yes_above is not None and channels_of((1, *output_shape)) > 1
    named = told_apart([metric.per_label() if several_answers else metric for metric in chosen])
    _check_figures([metric.name for metric in named])
    return tuple(named)


def _check_aligned(cost: Cost, metrics: Sequence[Metric]) -> None:
    """Raise ArgumentError for a metric of this package: each compares outputs with labels that have places."""
    for metric in metrics:
        own = type(judging(metric)) not in METRICS.values()
        name = type(cost).__name__
        rule = f"be left out with {name}, whose labels have no places; {name}.label_error_rate tells how many are wrong"
        require(own, "metrics", rule, metric)


def _check_figures(names: Sequence[Any]) -> None:
    """Raise ArgumentError unless these can be told apart from each other and from all else in records."""
    taken = {"samples", "finished", *EpochRecord._fields}
    for name in names:
        right = isinstance(name, str) and name not in taken and names.count(name) == 1
        require(right, "metrics", "have different names", name)


def _default_metrics(cost: Cost, output_shape: Shape) -> tuple[Metric, ...]:
    if isinstance(cost, (CTC, CustomCost, GaussianNLL, Poisson, Quantile)):
        return ()  # targets may mean anything, or are no values that outputs should be near to
    if cost.yes_above is not None:
        several = None if output_shape == (1,) else True  # of pictures also with shares of yes as labels
        return (Accuracy(threshold=cost.yes_above, multi_label=several),)
    return (Accuracy(),) if cost.classifies else (MeanAbsoluteError(),)
