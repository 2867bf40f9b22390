"""What is done before the first step: a dry run of cost and metrics on a few samples, and what takes time."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial, reduce
from typing import Any

import numpy as np

from gedanken.by_name import ByName, parts_of
from gedanken.costs import Cost
from gedanken.costs.heads import HeadsCost
from gedanken.data.batches import ArraySource, Source
from gedanken.errors import GedankenError, ShapeError
from gedanken.layers.shape import channels_first_shape, to_channels_last
from gedanken.layers.stages import own
from gedanken.metrics import Metric
from gedanken.metrics.base import HOST
from gedanken.metrics.heads import HeadMetric, judging
from gedanken.parallel.base import TrainState, measured
from gedanken.training.evaluation import evaluate
from gedanken.training.slope_check import check_slopes
from gedanken.types import Array

MEAN = "the mean over the samples is taken by the library"


def warm_up(train_state: TrainState, source: Source, validation: Source | None, epoch: int) -> None:
    """Do what can be done before the first step: cost and metrics see samples, so that they complain now.

    A Generator's workers start while the network's kernels are compiled for its mini-batches.
    """
    source.look_first(partial(dry_run, train_state))
    if validation is not None:
        validation.look_first(partial(dry_run_own, train_state))
    if source.start(epoch):
        train_state.plan.step_bytes(source.mini_batch_size)


def dry_run(train_state: TrainState, x: Array, target: Array) -> None:
    """Let cost and metrics see some samples, so that they complain before anything is trained.

    What is the user's own has to give the same for samples together and one by one. It does not where a mean over the
    samples is taken, or where NumPy broadcasts labels (N,) beside outputs (N, 1) to (N, N). And slopes of a cost have
    to be the derivatives of its values.

    Raises:
        ShapeError, GradientError: they are not.
    """
    if isinstance(target, ByName):
        evaluate(train_state, ArraySource(x[:1], target[:1], mini_batch_size=1))
        if _own(train_state):
            _compare_heads(train_state, x, target)
        return
    shapes = (channels_first_shape(train_state.plan.shapes[-1]), target.shape[1:])
    output, label = ("(" + ", ".join(map(str, ("N", *shape))) + ("" if shape else ",") + ")" for shape in shapes)
    hint = f"NumPy broadcasts outputs {output} and labels {label}: give labels of the outputs' shape"
    with _told_of_shapes(hint if _own(train_state) and shapes[0] != shapes[1] else ""):
        evaluate(train_state, ArraySource(x[:1], target[:1], mini_batch_size=1))
        if _own(train_state):
            _compare(train_state, x, target, hint if shapes[0] != shapes[1] else MEAN)
    cost, few = train_state.plan.cost, _different(target)
    if cost and own(cost):
        outputs = np.asarray(train_state.plan.predict(x[few]), "float64")
        check_slopes(cost, to_channels_last(outputs), to_channels_last(target[few]))


def _compare_heads(train_state: TrainState, x: Any, target: ByName) -> None:
    """Raise ShapeError where what is the user's own of a head does not give the same for samples together and apart."""
    few = _different(parts_of(target)[0])
    outputs, wanted = train_state.plan.predict(x[few]), target[few]
    for part, head in _own_of_heads(train_state):
        y, labels = outputs.parts[head], wanted.parts[head]
        if isinstance(part, Metric):
            together, apart = _figures(part, y, labels)
        else:
            together, apart = _slopes_of(part, to_channels_last(y), to_channels_last(labels))
        if not _alike(together, apart):
            what = f"{type(part).__name__} of the head {head!r} must judge each sample by itself, but gives {together}"
            raise ShapeError(f"{what} for some samples together and {apart} one by one", MEAN)
        if isinstance(part, Cost):
            check_slopes(part, to_channels_last(np.asarray(y, "float64")), to_channels_last(labels))


def _own_of_heads(train_state: TrainState) -> list[tuple[Cost | Metric, str]]:
    """Return the user's own among costs and metrics of heads, with the heads' names."""
    cost = train_state.plan.cost
    found: list[tuple[Cost | Metric, str]] = []
    if isinstance(cost, HeadsCost):
        found += [(one, head) for head, one in cost.costs.items()]
        found += [(judging(one), one.head) for one in train_state.metrics if isinstance(one, HeadMetric)]
    return [(part, head) for part, head in found if own(part)]


@contextmanager
def _told_of_shapes(hint: str) -> Iterator[None]:
    """Turn NumPy's error of shapes that do not go together into a ShapeError with this hint, if there is one."""
    try:
        yield
    except ValueError as error:
        if not hint or isinstance(error, GedankenError) or "broadcast" not in str(error):
            raise
        raise ShapeError(f"cost and metrics must judge the outputs by the labels, got {error}", hint) from error


def _compare(train_state: TrainState, x: Array, target: Array, hint: str) -> None:
    """Raise ShapeError where what is the user's own does not give the same for samples together and one by one."""
    few = _different(target)
    for part in _own(train_state):
        if isinstance(part, Metric):
            together, apart = _figures(part, train_state.plan.predict(x[few]), target[few])
        else:
            alone = (TrainState(train_state.plan, train_state.optimizer_state, ()), x[few], target[few])
            together, apart = (_cost(*alone, size) for size in (len(few), 1))
            if _alike(together, apart):
                together, apart = _slopes(train_state, x[few], target[few])
        if not _alike(together, apart):
            what = f"{type(part).__name__} must judge each sample by itself, but gives {together} for some"
            raise ShapeError(f"{what} samples together and {apart} one by one", hint)


def dry_run_own(train_state: TrainState, x: Array, target: Array) -> None:
    """Do a dry run if there is something of the user's own."""
    if _own(train_state):
        dry_run(train_state, x, target)


def _own(train_state: TrainState) -> list[Cost | Metric]:
    """Return the user's own among cost and metrics."""
    assert train_state.plan.cost
    parts: list[Cost | Metric] = [train_state.plan.cost, *map(judging, train_state.metrics)]
    alone = [p for p in parts if own(p)]
    return alone or [part for part, _ in _own_of_heads(train_state)]


def _different(target: Array) -> list[int]:
    """Return the places of up to three samples, the second with another target than the first if there is one."""
    others = (target.reshape(len(target), -1) != target[0].reshape(1, -1)).any(axis=1)
    first = [0, int(np.argmax(others))] if others.any() else [0]
    return [*first, *(place for place in range(1, min(len(target), 4)) if place not in first)][:3]


def _cost(train_state: TrainState, x: Array, target: Array, size: int) -> float:
    return float(evaluate(train_state, ArraySource(x, target, mini_batch_size=size))["cost"])


def _slopes(train_state: TrainState, x: Array, target: Array) -> tuple[Array, Array]:
    """Return the cost's gradients with respect to the outputs of samples together, and of the same one by one."""
    cost, y = train_state.plan.cost, to_channels_last(train_state.plan.predict(x))
    assert cost
    return _slopes_of(cost, y, to_channels_last(target))


@np.errstate(all="ignore")
def _slopes_of(cost: Cost, y: Array, wanted: Array) -> tuple[Array, Array]:
    if cost.by_entries:
        each = [cost.entries(HOST, y[i : i + 1], wanted[i : i + 1])[1] for i in range(len(y))]
        return cost.entries(HOST, y, wanted)[1], np.concatenate(each)
    together = cost(HOST, y, wanted)[1]
    if getattr(together, "shape", None) != y.shape:
        return y, y  # the first step says what is wrong with it
    return together * len(y), np.concatenate([cost(HOST, y[i : i + 1], wanted[i : i + 1])[1] for i in range(len(y))])


@np.errstate(all="ignore")
def _figures(metric: Metric, y: Array, target: Array) -> tuple[Any, Any]:
    """Return what tells of samples together, and of the same one by one: statistics, or else figures."""
    together = measured(metric, HOST, y, target)
    apart = reduce(metric.merge, (measured(metric, HOST, y[i : i + 1], target[i : i + 1]) for i in range(len(y))))
    return (together, apart) if _alike(together, apart) else (metric.value(together), metric.value(apart))


def _alike(one: Any, other: Any) -> bool:
    """Return whether these are the same up to rounding, or are no numbers."""
    try:
        one, other = np.asarray(one, float), np.asarray(other, float)
    except (TypeError, ValueError):
        return True
    return bool(one.shape == other.shape and np.allclose(one, other, rtol=1e-4, atol=1e-7, equal_nan=True))
