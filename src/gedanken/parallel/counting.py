"""What counts of mini-batches, and how much: means over several of them, and what metrics see."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

import numpy as np

from gedanken.by_name import ByName
from gedanken.checks import require
from gedanken.costs import Cost
from gedanken.costs.alignment import CTC
from gedanken.costs.heads import HeadsCost
from gedanken.costs.labels import places_of
from gedanken.costs.likeness import Overlap
from gedanken.data.batches import Source
from gedanken.engine.plan import Plan
from gedanken.hyperparameters import class_name
from gedanken.layers.shape import channels_first_shape, each_shape, to_channels_last
from gedanken.metrics import Metric
from gedanken.metrics.base import takes_weights
from gedanken.metrics.heads import judging
from gedanken.types import AnyShape, Array, Shape

AT_ONCE = 256  # samples whose labels are looked at together


class Mean:
    """A running mean of costs, each of which counts for some samples; or, where costs are sums, their sum.

    Args:
        sums: whether the costs of mini-batches add up, see `Cost.sums`.

    Attributes:
        total: the costs times what they count for.
        counts: what the mean counts for itself.
    """

    def __init__(self, sums: bool) -> None:
        self._sums = sums
        self.total, self.counts = 0.0, 0.0

    def add(self, cost: float, counts: float) -> None:
        """Take in the cost of a mini-batch."""
        self.total += cost * counts
        self.counts = counts if self._sums else self.counts + counts

    @property
    def value(self) -> float:
        """The mean so far; 0 where nothing counts."""
        return self.total / self.counts if self.counts else self.total


class _Counts(Protocol):
    @property
    def samples(self) -> int: ...

    @property
    def counts(self) -> float | None: ...


def counts_of(result: _Counts) -> float:
    """Return the samples that a step's cost counts for."""
    return result.samples if result.counts is None else result.counts


def unweighted(cost: Cost | None, metrics: Sequence[Metric]) -> str:
    """Return why samples can have no weights; "" where they can."""
    if cost and not cost.by_entries:
        return cost.refusal("weights")
    wrong = next((type(metric).__name__ for metric in map(judging, metrics) if not takes_weights(metric)), "")
    return f"the metric {wrong} knows no weights, its measure has no argument weight" if wrong else ""


def places_weighed(cost: Cost | None, shape: AnyShape) -> Shape | None:
    """Return the places of an output of a shape, channels first, which may have a weight each; None where none may."""
    if cost is None or isinstance(cost, (CTC, HeadsCost, Overlap)) or isinstance(shape, Mapping):
        return None
    return places_of(shape) if len(shape) > 1 else ()


def ignores(cost: Cost) -> bool:
    """Return whether there is a label that a cost ignores."""
    return any(getattr(one, "ignore_label", None) is not None for one in _each(cost).values())


def ignored_alone(cost: Cost, target: Any, weight: Array | None, lengths: Any, rows: Array | None) -> str:
    """Return which label to ignore, of heads which of each, all targets are that would count; "" where some are not.

    Args:
        cost: the cost, which ignores one.
        target: (N, ...), as the cost takes it, on the host and channels first; or ByName.
        weight: (N,) or (N, places...), or None for 1 each.
        lengths: of the sequences that come out, (N,); of heads by name; None where all places are real.
        rows: places of the samples that are meant; None is all.
    """
    places = np.arange(len(target)) if rows is None else rows
    for first in range(0, len(places), AT_ONCE):  # most often the first few have one
        own = places[first : first + AT_ONCE]
        own = own if weight is None else own[weight[own].reshape(len(own), -1).any(axis=1)]
        for name, one in _each(cost).items():
            there = one.labelled((target.parts[name] if name else target)[own])
            if there is not None and weight is not None and weight.ndim > 1:
                there = there & (weight[own] > 0).reshape(there.shape)
            behind = lengths.get(name) if name and lengths else lengths
            if there is None or _at_real_places(there, None if behind is None else behind[own]).any():
                return ""
    labels = {name: getattr(one, "ignore_label", None) for name, one in _each(cost).items()}
    return str(labels.get("", labels))


def _at_real_places(marks: Array, lengths: Array | None) -> Array:
    """Return marks (N, ...) of real places alone, one after the other; of none of a sequence it is all."""
    return marks if lengths is None else marks[np.arange(marks.shape[1]) < lengths[:, None]]


def _each(cost: Cost) -> dict[str, Cost]:
    """Return costs by the names of their heads; of one without heads the name is empty."""
    return cost.costs if isinstance(cost, HeadsCost) else {"": cost}


def settled(cost: Cost, source: Source, plan: Plan) -> Cost:
    """Return a cost with what it takes from the labels to train on, as class_weights="balanced" does.

    Args:
        cost: the cost.
        source: of the labels.
        plan: of the network.
    """
    if not cost.unresolved:
        return cost
    given = source.trained_on()
    rule = "be numbers where a Generator other than ArrayGenerator gives the labels: they are not known before training"
    require(given is not None, f"class_weights of {class_name(cost)}", rule, "balanced")
    target, lengths = cast(tuple[Any, Any], given)
    return cost.resolved(*real_places(target, each_shape(channels_first_shape, plan.shapes[-1]), plan, lengths))


def real_places(target: Any, shape: AnyShape, plan: Plan, lengths: Any) -> tuple[Any, AnyShape]:
    """Return the targets of real places one after the other, as if each were a sample, and the shape of its output.

    Those that are sequences of their own length, see `Cost.aligned`, stay as they are.

    Args:
        target: (N, ...), as the cost takes it, or ByName.
        shape: of one output, channels first.
        plan: of the network.
        lengths: of the sequences that go in, see `lengths_of`.
    """
    behind = None if lengths is None else plan.lengths_behind(lengths)
    aligned = plan.cost.aligned if plan.cost else frozenset()
    if not isinstance(shape, Mapping):
        return _real_places(target, shape, None if aligned else behind)
    by_place = {name: one for name, one in (behind or {}).items() if name not in aligned}
    found = {name: _real_places(target.parts[name], own, by_place.get(name)) for name, own in shape.items()}
    return ByName({name: part for name, (part, _) in found.items()}), {name: own for name, (_, own) in found.items()}


def _real_places(target: Array, shape: Shape, lengths: Array | None) -> tuple[Array, Shape]:
    if lengths is None:
        return target, shape
    return target[np.arange(shape[0]) < lengths[:, None]], shape[1:]


def cut_weight(weight: Array | None, target: Any) -> Array | None:
    """Return the weights of samples or, where places of sequences have some, those of places that targets have."""
    return weight if weight is None or weight.ndim != 2 else weight[:, : target.shape[1]]


def of_entries(
    outputs: Array, target: Array, weight: Array | None, counted: Array
) -> tuple[Array, Array, Array | None]:
    """Return outputs, targets and weights of the entries that count, one after the other.

    Shapes:
        outputs: (N, ...), channels first.   target: likewise, or class numbers of each entry.
        weight: (N,) or (N, places...).
        counted: (N,), (N, places...) or, of one output, (N, places..., 1), True or False.
        results: (M, C), (M, C) or (M,), and (M,).
    """
    if counted.ndim == outputs.ndim:
        counted = counted[..., 0]
    wanted = target if target.ndim == counted.ndim else to_channels_last(target)
    if weight is not None:
        apart = weight.reshape(weight.shape + (1,) * (counted.ndim - weight.ndim))
        weight = (apart + 0 * counted)[counted]
    return to_channels_last(outputs)[counted], wanted[counted], weight
