"""The contract of a strategy."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from gedanken.data.source import Batch
from gedanken.engine.plan import Plan
from gedanken.layers.base import Context
from gedanken.metrics import Metric
from gedanken.optimizers import Descent
from gedanken.types import Array


class Work(NamedTuple):
    """What there is to train: the same for every strategy."""

    plan: Plan
    descent: Descent
    metrics: Sequence[Metric]


class StepResult(NamedTuple):
    """What one step tells: its samples, their mean cost, and each metric's statistics."""

    samples: int
    cost: float
    statistics: tuple[Array, ...]


def gradients(work: Work, batch: Batch, epoch: int) -> StepResult:
    """Fill the plan's gradients with those of one mini-batch: the part of a step that every strategy has."""
    return judged(work, batch, work.plan.context(train=True, epoch=epoch, position=batch.position))


def judged(work: Work, batch: Batch, ctx: Context) -> StepResult:
    """Return what is told of a mini-batch after a pass of this kind."""
    outputs, cost = work.plan.judge(ctx, batch.x, batch.target)
    statistics = tuple(metric.measure(outputs, batch.target) for metric in work.metrics)
    return StepResult(len(batch.x), cost, statistics)


class Strategy(ABC):
    """How steps are computed. After `sync` the plan holds the parameters reached, wherever they were computed."""

    @abstractmethod
    def start(self, work: Work) -> None:
        """Get ready; called once before the first step."""

    @abstractmethod
    def step(self, batch: Batch, epoch: int) -> StepResult:
        """Learn from one mini-batch."""

    @abstractmethod
    def sync(self) -> None:
        """Bring all that was learnt into the plan; called at the end of each epoch."""

    @abstractmethod
    def stop(self) -> None:
        """Free whatever `start` took; called once, also after an error."""
