"""The metrics that are reported where nothing else is asked for, and a check of those that are."""

from collections.abc import Sequence

from gedanken.checks import require, required_arguments
from gedanken.costs import Cost, CustomCost, GaussianNLL, Poisson, Quantile
from gedanken.metrics import Accuracy, MeanAbsoluteError, Metric
from gedanken.metrics.entries import channels_of
from gedanken.named import as_metric
from gedanken.training.records import EpochRecord
from gedanken.types import Shape


def checked_metrics(metrics: Sequence[str | Metric] | None, cost: Cost, output_shape: Shape) -> tuple[Metric, ...]:
    """Return the metrics that are reported beside the cost; None stands for what suits it."""
    if metrics is None:
        metrics = _default_metrics(cost, output_shape)
    listed = isinstance(metrics, (list, tuple))
    require(listed, "metrics", "be a list of Metric objects such as [Accuracy()]", metrics)
    chosen = tuple(as_metric(metric) for metric in metrics)
    names = [metric.name for metric in chosen]
    taken = {"samples", "finished", *EpochRecord._fields}
    for name in names:
        right = isinstance(name, str) and name not in taken and names.count(name) == 1
        require(right, "metrics", "have different names", name)
    for metric in chosen:
        better = metric.better
        require(better in (None, "lower", "higher"), f"{metric.name} better", "be 'lower', 'higher' or None", better)
        takes = required_arguments(metric.measure, "weight")
        rule = "take (y, target), NumPy arrays, or (ops, y, target), arrays of the device"
        require(takes in (2, 3), f"{type(metric).__name__}.measure", rule, f"{takes} arguments")
    several_answers = cost.yes_above is not None and channels_of((1, *output_shape)) > 1
    return tuple(metric.per_label() if several_answers else metric for metric in chosen)


def _default_metrics(cost: Cost, output_shape: Shape) -> tuple[Metric, ...]:
    if isinstance(cost, (CustomCost, GaussianNLL, Poisson, Quantile)):
        return ()  # targets may mean anything, or are no values that outputs should be near to
    if cost.yes_above is not None:
        several = None if output_shape == (1,) else True  # of pictures also with shares of yes as labels
        return (Accuracy(threshold=cost.yes_above, multi_label=several),)
    return (Accuracy(),) if cost.classifies else (MeanAbsoluteError(),)
