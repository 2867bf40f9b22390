"""What copies and pickles of a compiled network are made of: what plan and optimizer hold, no threads, no code."""

from collections.abc import Sequence
from typing import NamedTuple

from gedanken.checks import warn
from gedanken.costs import Cost
from gedanken.engine.base import Engine
from gedanken.engine.plan import Plan
from gedanken.engine.select import Auto, EngineChoice
from gedanken.engine.tuning import Tuning
from gedanken.errors import EngineError
from gedanken.layers import Layer
from gedanken.metrics import Metric
from gedanken.optimizers import Optimizer
from gedanken.parallel.base import TrainState
from gedanken.state import State
from gedanken.types import AnyShape


class Learning(NamedTuple):
    """How a network learns, and what its optimizer has become."""

    optimizer: Optimizer
    metrics: Sequence[Metric]
    state: State


class Held(NamedTuple):
    """What a compiled network holds: all parameters and state, and for one that can learn how it does."""

    state: State
    learning: Learning | None
    tuning: Tuning


def held(plan: Plan, train_state: TrainState | None) -> Held:
    """Return copies of what a network holds."""
    learning = train_state and Learning(
        train_state.optimizer_state.optimizer, train_state.metrics, train_state.optimizer_state.state()
    )
    return Held(plan.state(), learning, plan.tuning)


def rebuilt(
    held: Held, layers: Sequence[Layer], input_shape: AnyShape, seed: int, cost: Cost | None, choice: EngineChoice
) -> tuple[Plan, TrainState | None]:
    """Return a plan and what there is to train, made anew of what another one held."""
    plan = Plan(layers, input_shape, _engine(choice), seed, cost, tuning=held.tuning)
    plan.restore(held.state)
    if held.learning is None:
        return plan, None
    optimizer_state = plan.optimizer_state(held.learning.optimizer)
    optimizer_state.restore(held.learning.state)
    return plan, TrainState(plan, optimizer_state, held.learning.metrics)


def _engine(choice: EngineChoice) -> Engine:
    """Return the engine that was asked for where the first network is or, with a warning, what `Auto` chooses here."""
    try:
        return choice.start()
    except EngineError as error:
        warn(f'this copy of a network runs on the engine that "auto" chooses here: {error}')
        return Auto(dtype=choice.dtype).start()
