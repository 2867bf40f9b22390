"""What one rank of a pipeline computes: a row of layers, for several micro-batches that are under way at once."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gedanken.by_name import each
from gedanken.data.batches import Batch
from gedanken.engine.base import Placement
from gedanken.engine.plan import Passed, Plan
from gedanken.layers.base import Context
from gedanken.layers.stages import back_through, leaf_stages, through
from gedanken.parallel.base import StepResult, TrainState
from gedanken.parallel.counting import cut_weight
from gedanken.sparse import RowGradient
from gedanken.types import Array


def context(plan: Plan, batch: Batch, epoch: int) -> Context:
    """Return the context of a micro-batch's pass."""
    return plan.told_of_lengths(plan.context(train=True, epoch=epoch, position=batch.position), batch.x)


def wanted(plan: Plan, batch: Batch) -> tuple[Any, Array | None]:
    """Return the targets and weights of a micro-batch on the device."""
    target = each(lambda one: plan.ops.asarray(one, one.dtype), batch.target)
    return target, None if batch.weight is None else cut_weight(plan.ops.asarray(batch.weight), target)


class GradientSum:
    """The sum of the gradients of some layers over micro-batches.

    Args:
        layers: whose; the gradients of a micro-batch stand where the plan has them.
        xp: the array module.
    """

    def __init__(self, layers: Sequence[Placement], xp: Any) -> None:
        found = [g for one in leaf_stages(layers) for g in one.g.values()]
        self._xp = xp
        self._arrays = [(g, xp.zeros_like(g)) for g in found if not isinstance(g, RowGradient)]
        self._by_rows = [(g, xp.zeros_like(g.array)) for g in found if isinstance(g, RowGradient)]
        self._rows: list[list[Array]] = [[] for _ in self._by_rows]

    def add(self, first: bool, factor: float = 1.0) -> None:
        """Take in `factor` times the gradients of a micro-batch; with the `first` one a new sum begins."""
        xp = self._xp
        for g, total in self._arrays:
            scaled = g if factor == 1 else xp.multiply(g, factor, out=g)
            if first:
                total[...] = scaled
            else:
                xp.add(total, scaled, out=total)
        for (rows_of, total), seen in zip(self._by_rows, self._rows, strict=True):
            if first:
                for old in seen:
                    total[old] = 0
                seen.clear()
            rows = rows_of.rows.copy()
            total[rows] += factor * rows_of.array[rows]
            seen.append(rows)

    def give(self, divisor: float) -> None:
        """Put the sum, divided, where the plan has its gradients."""
        for g, total in self._arrays:
            self._xp.divide(total, divisor, out=g)
        for (rows_of, total), seen in zip(self._by_rows, self._rows, strict=True):
            rows = self._xp.unique(self._xp.concatenate(seen))
            rows_of.clear()
            rows_of.array[rows] = total[rows] / divisor
            rows_of.touch(rows)


class _UnderWay(NamedTuple):
    """A micro-batch that went forward and has not come back.

    Args:
        ctx: its pass.
        y: what came out of the layers, of the last stage of those before its ending.
        tape: for the way back.
    """

    ctx: Context
    y: Any
    tape: list[Any]


class _Ended(NamedTuple):
    """What came of a micro-batch, not measured yet.

    Args:
        passed: its outputs and cost.
        target, weight: of its samples, on the device.
        share: of the epoch that is done with it.
    """

    passed: Passed
    target: Any
    weight: Array | None
    share: float


class Stage:
    """Some layers of a network, which run micro-batches forward and, later, backward.

    Kernels keep the activations of one micro-batch in memory of their own, so there is a set of steps for each that may
    be under way.

    Args:
        train_state: what is trained.
        rows: the layers, in rows that do not share kernels.
        ending: the last layers of the network, which run together with the cost; none but in the last stage.
        first: whether the network begins with these layers.
        slots: how many micro-batches may be under way.

    Attributes:
        layers: all of them.
        kept: the most micro-batches that were under way at once.
    """

    def __init__(
        self,
        train_state: TrainState,
        rows: Sequence[Sequence[Placement]],
        ending: Sequence[Placement],
        first: bool,
        slots: int,
    ) -> None:
        plan = train_state.plan
        self._train_state, self._first, self.kept = train_state, first, 0
        self._rooms: dict[tuple[str, int, int], Array] = {}
        rows = [row for row in rows if row]
        self._slots = [
            [step for place, row in enumerate(rows) for step in plan.engine.stages(row, not first or place > 0)]
            for _ in range(slots)
        ]
        before = [one for row in rows for one in row]
        self.layers = [*before, *ending]
        self._ending = plan.ending(ending, bool(before) or not first) if ending else None
        self._sums = [GradientSum(before, plan.ops.xp), GradientSum(ending, plan.ops.xp)]
        self._under_way: dict[int, _UnderWay] = {}
        self._ended: list[_Ended] = []
        self._unit, self._factor = 1, 1.0

    def room(self, kind: str, number: int, samples: int) -> Array:
        """Return memory of the host for what comes in for a micro-batch, "x", or the gradient "dy" of what goes out.

        A gradient is used up before the next one comes.
        """
        key = kind, number % len(self._slots) if kind == "x" else 0, samples
        if key not in self._rooms:
            shape = self.layers[0].shape if kind == "x" else self.layers[-1].output_shape
            self._rooms[key] = np.empty((samples, *shape), self._train_state.plan.ops.dtype)
        return self._rooms[key]

    def forward(self, number: int, batch: Batch, epoch: int, x: Array | None) -> Any:
        """Run micro-batch `number` of a mini-batch; return what goes on to the next stage.

        Args:
            number: counted from 0.
            batch: the micro-batch.
            epoch: counted from 0.
            x: what comes from the stage before, None in the first one; untouched until it goes back.
        """
        plan = self._train_state.plan
        if not number:  # also of what a mini-batch that failed has left
            self._under_way.clear()
            self._ended.clear()
            self._unit = len(batch.x)
        ctx = context(plan, batch, epoch)
        given = plan.enter(batch.x) if x is None else plan.ops.asarray(x)
        y, tape = through(self._slots[number % len(self._slots)], ctx, given)
        self._under_way[number] = _UnderWay(ctx, y, tape)
        self.kept = max(self.kept, len(self._under_way))
        return y if self._ending else self._sent(y)

    def _sent(self, array: Array) -> Array:
        return np.ascontiguousarray(self._train_state.plan.ops.to_host(array))

    def end(self, number: int, batch: Batch) -> Any:
        """Run the last layers and the cost; return the gradient for `backward`.

        All gradients of a micro-batch are times c_k / n_0, where it counts for c_k samples, and the first one has n_0.
        """
        plan, under_way = self._train_state.plan, self._under_way[number]
        assert plan.cost and self._ending
        target, weight = wanted(plan, batch)
        passed, dy = plan.end(self._ending, under_way.ctx, under_way.y, target, weight)
        if not self._ending.fused_step:  # they may lie where those of the next one will
            passed = passed._replace(outputs=each(lambda one: one.copy(), passed.outputs))
        self._ended.append(_Ended(passed, target, weight, batch.share))
        self._factor = 1.0 if plan.cost.sums else passed.weighing.samples / self._unit
        if self._factor != 1 and isinstance(dy, np.ndarray | plan.ops.xp.ndarray):
            dy = dy * plan.ops.dtype.type(self._factor)
        return dy

    def backward(self, number: int, dy: Any) -> Any:
        """Run a micro-batch back; return what goes on to the stage before."""
        ctx, _, tape = self._under_way.pop(number)
        dx = back_through(self._slots[number % len(self._slots)], ctx, tape, dy)
        return dx if self._first else self._sent(dx)

    def add(self, number: int) -> None:
        """Add the gradients of a micro-batch that came back to those before; called before the next one comes."""
        before, ending = self._sums
        before.add(number == 0)
        ending.add(number == 0, self._factor)

    def results(self) -> list[StepResult]:
        """Return what came of the micro-batches, in the last stage.

        Metrics measure here, behind the last micro-batch, when other stages still work and this one does not.
        """
        found = []
        for passed, target, weight, share in self._ended:
            statistics = self._train_state.measured(passed.outputs, target, weight, passed.weighing.counted)
            cost, counts = float(passed.cost), passed.weighing.samples
            found.append(StepResult(len(passed.outputs), share, cost, statistics, counts=counts))
        self._ended.clear()
        return found

    def give(self, counts: float) -> None:
        """Put the mean gradient of micro-batches that count for so many samples where the plan has its gradients."""
        cost = self._train_state.plan.cost
        divisor = 1.0 if cost is None or cost.sums else counts / self._unit or 1.0
        for one in self._sums:
            one.give(divisor)
