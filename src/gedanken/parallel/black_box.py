"""The black box: a step that went wrong is done once more, layer by layer, with a look at every array.

A sound step pays nothing for it. What is replayed is the specification, since kernels keep no results of single layers.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gedanken.by_name import ByName, parts_of
from gedanken.costs.heads import HeadsCost
from gedanken.data.batches import Batch
from gedanken.engine.plan import Plan
from gedanken.hyperparameters import class_name
from gedanken.layers.base import Context
from gedanken.layers.lengths import output_lengths
from gedanken.layers.stages import LayerStage, back_through, own, through, with_leaves
from gedanken.ops import Ops
from gedanken.optimizer_state import OptimizerState
from gedanken.parallel.fault import Fault, Figures
from gedanken.sequences import as_padded
from gedanken.sparse import RowGradient, SparseRows
from gedanken.types import Array

OUTLIER = 1e4  # a sample that is so many times as large as the others is suspected
GROWN = 1e3  # weights beyond it have grown: first ones are about 1
LARGE = 1e15  # inputs beyond it burst a layer that is sound


class _Found(Exception):  # noqa: N818 - no error: it ends the replay
    def __init__(self, place: str, name: str, given: Array, **more: Any) -> None:
        self.place, self.name, self.given = place, name, given
        self.result: Array | None = more.get("result")
        self.parameter, self.own = str(more.get("parameter", "")), bool(more.get("own", False))
        self.head = str(more.get("head", ""))  # whose cost it is


@dataclass(frozen=True)
class _Watched:
    """A layer whose results are looked at."""

    stage: LayerStage
    ops: Ops

    @property
    def name(self) -> str:
        return self.stage.name

    @property
    def path(self) -> str:
        return self.stage.path

    def forward(self, ctx: Context, x: Array) -> tuple[Array, Any]:
        y, cache = self.stage.forward(ctx, x)
        if not _finite(self.ops, y):
            raise _Found("forward", self.name, x, result=y, own=own(self.stage.layer))
        for name, array in self.stage.s.items():
            if not _finite(self.ops, array):
                raise _Found("forward", self.name, x, parameter=f"{self.path}.{name}", own=own(self.stage.layer))
        return y, cache

    def backward(self, ctx: Context, cache: Any, dy: Array) -> Array:
        dx = self.stage.backward(ctx, cache, dy)
        for name, g in self.stage.g.items():
            if not _finite(self.ops, g.array if isinstance(g, RowGradient) else g):
                parameter = f"{self.path}.{name}"
                raise _Found("backward", self.name, dy, parameter=parameter, own=own(self.stage.layer))
        if self.stage.layer.tokens is None and not self.stage.layer.sparse and not _finite(self.ops, dx):
            raise _Found("backward", self.name, dy, result=dx, own=own(self.stage.layer))
        return dx


def examined(fault: Fault, plan: Plan, optimizer_state: OptimizerState, batch: Batch, epoch: int) -> Fault:
    """Return a fault with what a replay of its mini-batch shows of where it came from; nothing is changed.

    Args:
        fault: of a step that was not kept.
        plan, optimizer_state: as they were before the step.
        batch: of the step.
        epoch: counted from 0.
    """
    held, fault = plan.layer_state.copy(), fault._replace(samples=batch.samples)
    try:
        with np.errstate(all="ignore"):
            _replay(plan, plan.context(train=True, epoch=epoch, position=batch.position), batch)
            found = _longest(plan)
    except _Found as seen:
        found = seen
    except Exception as error:  # code of the user's
        return fault._replace(cause=f"the second time the step raised {type(error).__name__}: {error}")
    finally:
        plan.layer_state[...] = held
    return _Account(fault, plan, optimizer_state, batch, found).told()


def _replay(plan: Plan, ctx: Context, batch: Batch) -> None:
    """Do the step's passes; _Found ends it at the first array that is not finite."""
    for name, view in plan.arrays().items():
        if not _finite(plan.ops, view):
            raise _Found("parameter", "", view, parameter=name)
    ctx, x = plan.told_of_lengths(ctx, batch.x), plan.enter(batch.x)
    for part in parts_of(x):
        if not _finite(plan.ops, part):
            raise _Found("input", "", part, result=part)
    stages = with_leaves(plan.body, lambda stage: _Watched(stage, plan.ops))
    y, tape = through(stages, ctx, x)
    outputs: Any = y
    found: Any = plan.judge(outputs, batch.target, batch.weight, output_lengths(ctx))
    if isinstance(plan.cost, HeadsCost):
        for head, cost in plan.cost.costs.items():
            made = found.weighing.counted[head].cost, found.dy.parts[head]
            _look_at_cost(plan, cost, outputs.parts[head], made, head)
    else:
        _look_at_cost(plan, plan.cost, y, found[:2])
    back_through(stages, ctx, tape, found.dy)


def _look_at_cost(plan: Plan, cost: Any, y: Array, made: tuple[Any, Array], head: str = "") -> None:
    """Raise _Found where what a cost made of outputs, its number and its gradient, is not finite."""
    number, dy = made
    if not math.isfinite(float(number)) or not _finite(plan.ops, dy):
        name = f"the cost {class_name(cost)}" + (f" of the head {head!r}" if head else "")
        raise _Found("cost", name, y, result=dy, own=own(cost), head=head)


def _longest(plan: Plan) -> _Found:
    """Return the gradient that is the longest, where all numbers of a step were finite."""
    gradients = {name: np.asarray(plan.ops.to_host(g), "float64") for name, g in plan.gradients().items()}
    longest = max(gradients, key=lambda name: float(abs(gradients[name]).max(initial=0)))
    named = {f"{one.path}.{name}": one.name for one in plan.layers for name in one.g}
    return _Found("update", named.get(longest, longest), gradients[longest], parameter=longest)


def _finite(ops: Ops, array: Any) -> bool:
    if isinstance(array, ByName):
        return all(_finite(ops, part) for part in parts_of(array))
    numbers = array.values if isinstance(array, SparseRows) else array
    return numbers.dtype.kind != "f" or bool(ops.xp.isfinite(numbers).all())


def _of_host(ops: Ops, found: Any) -> Array:
    """Return an array on the host; of several by name the numbers of each sample beside each other."""
    if not isinstance(found, ByName):
        return ops.to_host(found)
    return np.hstack([ops.to_host(part).reshape(len(part), -1) for part in parts_of(found)])


class _Account:
    """What can be said of an array that is not finite.

    Args:
        fault, plan, optimizer_state, batch: as of `examined`.
        found: where it was.
    """

    def __init__(self, fault: Fault, plan: Plan, optimizer_state: OptimizerState, batch: Batch, found: _Found) -> None:
        self.fault, self.plan, self.optimizer_state, self.batch, self.found = fault, plan, optimizer_state, batch, found
        self.given = _kept(found.given) if isinstance(found.given, SparseRows) else _of_host(plan.ops, found.given)
        self.figures = Figures.of(self.given)
        parameters = plan.ops.to_host(plan.params)
        self.weights = float(abs(parameters[np.isfinite(parameters)]).max(initial=0))
        self.reach = _reach(batch.x)
        self.outlier = _outlier(self.reach)

    def told(self) -> Fault:
        """Return the fault with all of it."""
        place = self._place()
        cause = next((text for rule in CAUSES if (text := rule(self, place))), "")
        return self.fault._replace(
            sample=None if place is None else self.batch.samples[place],
            layer=self.found.name,
            place=self.found.place,
            parameter=self.found.parameter,
            input=self.figures,
            cause=cause,
        )

    def _place(self) -> int | None:
        """Return the place in the mini-batch of the sample that it comes from; None where that is not seen."""
        if self.found.place == "cost":
            return self._costly()
        rows = self.found.result
        if rows is not None and not isinstance(rows, SparseRows) and len(rows) == len(self.batch.x):
            host = _of_host(self.plan.ops, rows)
            wrong = np.flatnonzero(~np.isfinite(host.reshape(len(host), -1)).all(axis=1))
            if 0 < len(wrong) < len(host) or len(host) == 1:
                return int(wrong[0])
        return self.outlier

    def _costly(self) -> int | None:
        """Return the first sample whose own cost is not finite."""
        plan, y = self.plan, self.found.given
        for place in range(len(y)):
            try:
                one = self.batch.part(place, place + 1)
                ctx = plan.told_of_lengths(plan.context(train=True), one.x)
                head, lengths = self.found.head, output_lengths(ctx)
                target, own = (one.target.parts[head], (lengths or {}).get(head)) if head else (one.target, lengths)
                cost, dy, _ = plan.judge(y[place : place + 1], target, one.weight, own, head)
            except Exception:  # a cost of the user's that takes no single sample
                return self.outlier
            if not math.isfinite(float(cost)) or not _finite(plan.ops, dy):
                return place
        return self.outlier

    # ------------------------------------------------------------------ likely causes, the first that applies

    def of_input(self, place: int | None) -> str:
        """Numbers that came with the data."""
        if self.found.place != "input":
            return ""
        return "numbers of the data that are not finite; look where they are made, or leave the sample out"

    def of_parameter(self, place: int | None) -> str:
        """Parameters that somebody else wrote, or a rule of the user's."""
        if self.found.place != "parameter":
            return ""
        rule, state = self.optimizer_state.optimizer, self.optimizer_state
        if own(rule) and state.updates:
            return f"{type(rule).__name__}.update wrote them"
        if state.updates:
            return f"the update before it, at a learning rate of {state.highest_rate:.3g}; try a lower learning rate"
        return "they were set or loaded like that; load other weights"

    def of_label(self, place: int | None) -> str:
        """Labels that are not finite or beyond measure."""
        if self.found.place != "cost":
            return ""
        target = self.batch.target.parts[self.found.head] if self.found.head else self.batch.target
        if target.dtype.kind != "f":
            return ""
        labels = Figures.of(target if place is None else target[place])
        size = max(abs(labels.smallest), abs(labels.largest))
        if labels.not_finite or size > LARGE:
            return f"its label, {labels}" if labels.not_finite else f"its label reaches {size:.3g}: scale the labels"
        return ""

    def of_own_cost(self, place: int | None) -> str:
        """A cost of the user's that has no value for such outputs."""
        if self.found.place != "cost" or not self.found.own or self.figures.not_finite:
            return ""
        seen = Figures.of(self.given if place is None else self.given[place])
        if seen.smallest == 0 or seen.largest in (0, 1):
            edge = 0 if 0 in (seen.smallest, seen.largest) else 1
            return f"a logarithm of zero or a division by zero in {self.found.name}, for an output of exactly {edge}"
        if max(abs(seen.smallest), abs(seen.largest)) < LARGE:
            how = "a division by zero, a logarithm or root of what is not positive, or exp of a large number"
            return f"{self.found.name} itself, for outputs {seen}: look for {how}"
        return ""

    def of_own_layer(self, place: int | None) -> str:
        """A layer of the user's that makes it of sound numbers."""
        if self.found.place not in ("forward", "backward") or not self.found.own:
            return ""
        if max(abs(self.figures.smallest), abs(self.figures.largest)) > LARGE:
            return ""
        how = "a division by zero, a logarithm or root of what is not positive, or exp of a large number"
        return f"the {self.found.place} of {self.found.name} itself: look for {how}"

    def of_sample(self, place: int | None) -> str:
        """A sample that is far larger than the others."""
        if self.outlier is None or place != self.outlier:
            return ""
        others = np.delete(self.reach, self.outlier)
        against = f", the others of the mini-batch {float(np.median(others)):.3g} at most" if len(others) else ""
        return f"sample {self.batch.samples[self.outlier]} has values up to {self.reach[self.outlier]:.3g}{against}"

    def of_high_rate(self, place: int | None) -> str:
        """A rate that is too high for anything."""
        if self.optimizer_state.highest_rate <= 1:
            return ""
        if self.found.place == "update":
            rate = self.optimizer_state.highest_rate
            return f"the learning rate, {rate:.3g}, is too high for such a gradient; try a lower learning rate"
        return self.of_rate(place)

    def of_rate(self, place: int | None) -> str:
        """Weights that have grown beyond measure."""
        rate, updates = self.optimizer_state.highest_rate, self.optimizer_state.updates
        if not updates or self.weights < GROWN:
            return ""
        grown = f"weights have grown to {self.weights:.3g} in {updates:,} update{'s' * (updates > 1)}"
        return f"the learning rate, {rate:.3g}, is too high: {grown}; try a lower learning rate"

    def of_scale(self, place: int | None) -> str:
        """Data beyond measure."""
        largest = float(self.reach.max(initial=0))
        if largest < GROWN:
            return ""
        return f"data of values up to {largest:.3g}: scale them to about 1"

    def of_target_scale(self, place: int | None) -> str:
        """Targets beyond measure."""
        floats = [target for target in parts_of(self.batch.target) if target.dtype.kind == "f"]
        largest = max((float(abs(target).max(initial=0)) for target in floats), default=0.0)
        return f"targets of values up to {largest:.3g}: scale them to about 1" if largest > GROWN else ""

    def of_first_step(self, place: int | None) -> str:
        """Nothing was learnt yet, so the rate has no part in it."""
        if self.optimizer_state.updates:
            return "not known; try a lower learning rate"
        return "no update was made yet, so look at the data and the first weights"


CAUSES: Sequence[Callable[[_Account, int | None], str]] = (
    _Account.of_input,
    _Account.of_label,
    _Account.of_own_cost,
    _Account.of_own_layer,
    _Account.of_sample,
    _Account.of_parameter,
    _Account.of_high_rate,
    _Account.of_scale,
    _Account.of_target_scale,
    _Account.of_rate,
    _Account.of_first_step,
)


def _kept(rows: SparseRows) -> Array:
    """Return the numbers of sparse rows that are kept."""
    parts = [rows.values[begin:end] for begin, end in zip(rows.begins, rows.ends, strict=True)]
    return np.concatenate([np.zeros(0, rows.dtype), *parts])


def _reach(x: Any) -> Array:
    """Return for each sample the largest |number| of it that is finite."""
    if isinstance(x, ByName):
        return np.max([_reach(part) for part in parts_of(x)], axis=0)
    if isinstance(x, SparseRows):
        return np.array([_reach(_kept(x[place : place + 1])[None])[0] for place in range(len(x))])
    numbers = np.abs(np.asarray(as_padded(x), "float64").reshape(len(x), -1))
    return np.where(np.isfinite(numbers), numbers, 0).max(axis=1, initial=0)


def _outlier(reach: Array) -> int | None:
    """Return the sample that is far larger than the others of a mini-batch, if one is."""
    if len(reach) < 2:
        return None
    largest = int(reach.argmax())
    usual = float(np.median(np.delete(reach, largest)))
    return largest if reach[largest] > OUTLIER * max(usual, 1e-30) and reach[largest] > OUTLIER else None
