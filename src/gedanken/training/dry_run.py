"""What is done before the first step: a dry run of cost and metrics on a few samples, and what takes time."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial, reduce
from typing import Any, NamedTuple

import numpy as np

from gedanken.by_name import ByName, parts_of
from gedanken.checks import short
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
from gedanken.sequences import lengths_of
from gedanken.training.evaluation import evaluate
from gedanken.training.mixing import alike, places_mixed, samples_mixed
from gedanken.training.slope_check import check_slopes
from gedanken.types import Array

MEAN = "the mean over the samples is taken by the library"
ENDS = "what a place costs may go by its own output and label alone, since others are padding"


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
    samples is taken, or where NumPy broadcasts labels (N,) beside outputs (N, 1) to (N, N). A cost of places has to
    give the same for any padding, where sequences have lengths. And slopes of a cost have to be the derivatives of its
    values.

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


def _compare_heads(train_state: TrainState, x: Any, target: ByName) -> None:
    """Look at what is the user's own of each head, as `dry_run` does."""
    few = _different(parts_of(target)[0])
    outputs, wanted, ends = train_state.plan.predict(x[few]), target[few], _ends(train_state, x[few])
    for part, head in _own_of_heads(train_state):
        seen = _Seen(outputs.parts[head], wanted.parts[head], head in (ends or {}))
        _check(part, f"{type(part).__name__} of the head {head!r}", seen, MEAN)


def _ends(train_state: TrainState, x: Any) -> Any:
    """Return the lengths of what comes out for some samples, of heads by name; None where there are none."""
    lengths = lengths_of(x)
    return None if lengths is None else train_state.plan.lengths_behind(lengths)


class _Seen(NamedTuple):
    """Outputs and targets of some samples, channels first, and whether the outputs are sequences with lengths."""

    y: Array
    target: Array
    ends: bool


def _check(part: Cost | Metric, who: str, seen: _Seen, hint: str) -> None:
    """Raise ShapeError unless it judges each sample by itself, and each place of sequences; check slopes of a cost."""
    if isinstance(part, Metric):
        _refuse_mixed(who, _figures(part, seen.y, seen.target), hint)
        return
    y, target = to_channels_last(np.asarray(seen.y, "float64")), to_channels_last(seen.target)
    _refuse_mixed(who, samples_mixed(part, y, target), hint)
    if seen.ends and (pair := places_mixed(part, y, target)):
        what = f"{who} must judge each place by itself where sequences have lengths, but gives {short(pair[0])}"
        raise ShapeError(f"{what} and, with another padding, {short(pair[1])} for the same places", ENDS)
    check_slopes(part, y, target)


def _refuse_mixed(who: str, pair: tuple[Any, Any] | None, hint: str) -> None:
    """Raise ShapeError where what there is for samples together is not what there is one by one."""
    if pair and not alike(*pair):
        what = f"{who} must judge each sample by itself, but gives {pair[0]} for some samples together"
        raise ShapeError(f"{what} and {pair[1]} one by one", hint)


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
    """Look at what is the user's own, as `dry_run` does."""
    few = _different(target)
    ends = _ends(train_state, x[few]) is not None
    for part in _own(train_state):
        who = type(part).__name__
        if isinstance(part, Cost):  # with all that a mini-batch goes through
            alone = (TrainState(train_state.plan, train_state.optimizer_state, ()), x[few], target[few])
            _refuse_mixed(who, (_cost(*alone, len(few)), _cost(*alone, 1)), hint)
        _check(part, who, _Seen(train_state.plan.predict(x[few]), target[few], ends), hint)


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


@np.errstate(all="ignore")
def _figures(metric: Metric, y: Array, target: Array) -> tuple[Any, Any]:
    """Return what tells of samples together, and of the same one by one: statistics, or else figures."""
    together = measured(metric, HOST, y, target)
    apart = reduce(metric.merge, (measured(metric, HOST, y[i : i + 1], target[i : i + 1]) for i in range(len(y))))
    return (together, apart) if alike(together, apart) else (metric.value(together), metric.value(apart))
