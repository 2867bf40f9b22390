"""By what a training is judged beside its cost, and a first try of it."""

from collections.abc import Sequence

from gedanken.checks import require
from gedanken.costs import BinaryCrossEntropy, Cost, UserCost
from gedanken.data.source import ArraySource
from gedanken.metrics import Accuracy, MeanAbsoluteError, Metric
from gedanken.named import as_metric
from gedanken.parallel.base import Work
from gedanken.training.loop import evaluate
from gedanken.training.records import EpochRecord
from gedanken.types import Array, Shape


def checked_metrics(metrics: Sequence[str | Metric] | None, cost: Cost, output_shape: Shape) -> tuple[Metric, ...]:
    """Return the metrics that are reported beside the cost; None stands for what suits it."""
    if metrics is None:
        return _default_metrics(cost, output_shape)
    listed = isinstance(metrics, (list, tuple))
    require(listed, "metrics", "be a list of Metric objects such as [Accuracy()]", metrics)
    chosen = tuple(as_metric(metric) for metric in metrics)
    names = [metric.name for metric in chosen]
    taken = {"samples", "finished", *EpochRecord._fields}
    for name in names:
        require(name not in taken and names.count(name) == 1, "metrics", "have names of their own", name)
    return chosen


def _default_metrics(cost: Cost, output_shape: Shape) -> tuple[Metric, ...]:
    if isinstance(cost, UserCost):
        return ()  # its targets may mean anything
    several_answers = isinstance(cost, BinaryCrossEntropy) and output_shape != (1,)
    return (Accuracy(),) if cost.classifies and not several_answers else (MeanAbsoluteError(),)


def rehearse(work: Work, samples: tuple[Array, Array]) -> None:
    """Let cost and metrics see one sample, so that they complain before anything is trained."""
    evaluate(work, ArraySource(samples[0][:1], samples[1][:1], mini_batch_size=1))
