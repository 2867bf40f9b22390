"""What copies and pickles of a compiled network are made of: what plan and optimizer hold, no threads, no code."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gedanken.checks import warn
from gedanken.costs import Cost
from gedanken.engine.plan import Engine, Plan
from gedanken.engine.select import select_engine
from gedanken.errors import EngineError
from gedanken.layers import Layer
from gedanken.metrics import Metric
from gedanken.optimizers import Optimizer
from gedanken.parallel.base import Work
from gedanken.schedules import Plateau
from gedanken.types import Array, Shape

RunsOn = tuple[str, str, int | None, str]  # engine, dtype, threads and precision, as given to `regression`


class Learning(NamedTuple):
    """How a network learns, and the optimizer's memory; arrays on the host."""

    optimizer: Optimizer
    metrics: Sequence[Metric]
    before: int
    step: int
    plateau: Plateau
    slots: dict[str, Array]


class Held(NamedTuple):
    """What a compiled network holds: all parameters and state, and for one that can learn how it does."""

    values: dict[str, Array]
    learning: Learning | None


def held(plan: Plan, work: Work | None) -> Held:
    """Return copies of what a network holds."""
    if work is None:
        return Held(plan.values(), None)
    descent = work.descent
    times = (descent.before, descent.step)
    slots = {name: np.array(plan.ops.to_host(slot)) for name, slot in descent.slots.items()}
    return Held(plan.values(), Learning(descent.optimizer, work.metrics, *times, descent.plateau, slots))


def rebuilt(
    held: Held, layers: Sequence[Layer], input_shape: Shape, seed: int, cost: Cost | None, runs_on: RunsOn
) -> tuple[Plan, Work | None]:
    """Return a plan and what there is to train, made anew of what another one held."""
    plan = Plan(layers, input_shape, _engine(*runs_on), seed, cost)
    plan.assign(held.values)
    if held.learning is None:
        return plan, None
    optimizer, metrics, before, step, plateau, slots = held.learning
    descent = plan.descent(optimizer)
    descent.before, descent.step, descent.plateau = before, step, plateau
    for name, slot in descent.slots.items():
        slot[...] = plan.ops.asarray(slots[name])
    return plan, Work(plan, descent, metrics)


def _engine(name: str, dtype: str, threads: int | None, precision: str) -> Engine:
    """Return the engine that was asked for where the first network is or, with a warning, what `auto` chooses here."""
    try:
        return select_engine(name, dtype, threads, precision)
    except EngineError as error:
        warn(f'this copy of a network runs on the engine that "auto" chooses here: {error}')
        return select_engine("auto", dtype)
