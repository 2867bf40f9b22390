"""Where a row of layers is cut into stages, one for each rank of a pipeline."""

import time
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

from gedanken.checks import require
from gedanken.data.batches import Batch
from gedanken.engine.base import Placement
from gedanken.engine.plan import Plan
from gedanken.layers.base import Context
from gedanken.layers.stages import ContainerStage, Stage, back_through, through
from gedanken.parallel.pipeline_stage import context, wanted

TIMES = 3  # that each unit is run where its cost is measured


def position(layer: Placement) -> int:
    """Return the place of a layer in the network, counted from 0."""
    return int(layer.path.split(".", maxsplit=1)[0])


def units_of(body: Sequence[Placement]) -> list[list[Placement]]:
    """Return layers in groups, between which a row may be cut anywhere with the same numbers.

    Kernels do what stands between two products in one pass, so a group begins with a layer that multiplies by weights,
    or with a container. What comes in is one array.
    """
    groups: list[list[Placement]] = []
    for layer in body:
        multiplies = isinstance(layer, ContainerStage) or any(view.ndim > 1 for view in layer.p.values())
        begins = multiplies and not isinstance(layer.shape, Mapping)
        if groups and (not begins or not any(one.p for one in groups[-1])):
            groups[-1].append(layer)
        else:
            groups.append([layer])
    return groups


def rows_between(body: Sequence[Placement], cuts: Sequence[int]) -> list[list[Placement]]:
    """Return the rows of layers between cuts, see `Pipeline.stages`."""
    ends = [0, *cuts, 1 << 31]
    return [[one for one in body if start <= position(one) < end] for start, end in pairwise(ends)]


def check_cuts(plan: Plan, cuts: Sequence[int]) -> None:
    """Raise ArgumentError unless a network can be cut there."""
    last = len(plan.layers) - 1
    rule = f"name positions of layers from 1 to {last}, with which the second, third ... stage begins"
    require(all(1 <= one <= last for one in cuts), "Pipeline stages", rule, list(cuts))
    rows = rows_between(plan.body, cuts)
    rule = "leave each stage a layer beside an activation at the end, which is part of the cost"
    require(all(rows), "Pipeline stages", rule, list(cuts))
    named = [position(row[0]) for row in rows[1:] if isinstance(row[0].shape, Mapping)]
    require(not named, "Pipeline stages", "cut where one array goes from layer to layer, not several by name", named)


def balanced(costs: Sequence[float], parts: int) -> list[int]:
    """Return the numbers of the units with which the second, third ... part begins: the costliest part is cheapest.

    >>> balanced([1, 1, 1, 3, 3, 1], 3)
    [3, 4]

    Args:
        costs: of each unit, at least as many as parts.
        parts: how many contiguous ones there are to be.
    """
    ends = [0.0, *accumulate(costs)]
    count = len(costs)
    best = [(end, list[int]()) for end in ends]  # of the first so many units in one part
    for part in range(1, parts):
        before = best
        best = [
            min(
                ((max(before[cut][0], ends[end] - ends[cut]), [*before[cut][1], cut]) for cut in range(part, end)),
                default=(float("inf"), []),
            )
            for end in range(count + 1)
        ]
    return best[count][1]


def measured_cuts(plan: Plan, batch: Batch, epoch: int, parts: int) -> list[int]:
    """Return positions of layers with which the second, third ... stage begins, so that the slowest one is fastest."""
    units = units_of(plan.body)
    return [position(units[first][0]) for first in balanced(seconds_of(plan, batch, epoch), parts)]


def seconds_of(plan: Plan, batch: Batch, epoch: int) -> list[float]:
    """Return the time that each unit of a network takes for a micro-batch, forward and backward, in seconds.

    The plan's gradients become anything.
    """
    *rows, last = units_of(plan.body)
    state, ctx, x = plan.layer_state.copy(), context(plan, batch, epoch), plan.enter(batch.x)
    target, weight = wanted(plan, batch)
    found = []
    for number, row in enumerate(rows):
        stages = plan.engine.stages(row, number > 0)
        x, seconds = _timed(stages, ctx, x)
        found.append(seconds)
    ending = plan.ending(last, bool(rows))
    found.append(min(_seconds(lambda: plan.end(ending, ctx, x, target, weight)) for _ in range(TIMES)))
    plan.layer_state[...] = state
    return found


def _timed(stages: Sequence[Stage], ctx: Context, x: Any) -> tuple[Any, float]:
    """Return what comes out of stages, and the least time that a pass forward and back took."""
    made: list[Any] = []

    def work() -> None:
        y, tape = through(stages, ctx, x)
        made[:] = [y.copy()]
        back_through(stages, ctx, tape, made[0])

    seconds = min(_seconds(work) for _ in range(TIMES))
    return made[0], seconds


def _seconds(work: Any) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin
