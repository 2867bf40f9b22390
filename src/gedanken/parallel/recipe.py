"""What a network is made from, for workers that need a plan of their own."""

from dataclasses import replace
from typing import NamedTuple

from gedanken.costs import Cost
from gedanken.engine.plan import Plan
from gedanken.engine.select import Cpu, EngineChoice
from gedanken.engine.tuning import ALIKE, Tuning
from gedanken.engine.vectors import Memory
from gedanken.layers import Layer
from gedanken.metrics import Metric
from gedanken.optimizer_state import Progress
from gedanken.optimizers import Optimizer
from gedanken.parallel.base import TrainState
from gedanken.types import AnyShape


class Recipe(NamedTuple):
    """Everything that `regression` was told, and the network's layers.

    Args:
        layers, input_shape, seed: of the network.
        cost, optimizer, metrics, engine: as `regression` took them.
        tuning: which layers learn, and how fast.
    """

    layers: tuple[Layer, ...]
    input_shape: AnyShape
    seed: int
    cost: Cost
    optimizer: Optimizer
    metrics: tuple[Metric, ...]
    engine: EngineChoice
    tuning: Tuning = ALIKE

    def for_worker(self) -> "Recipe":
        """Return it for one of several workers, which computes in one thread."""
        return self.with_threads(1)

    def with_threads(self, threads: int) -> "Recipe":
        """Return it with so many threads, where the engine has such."""
        engine = replace(self.engine, threads=threads) if isinstance(self.engine, Cpu) else self.engine
        return self._replace(engine=engine)

    def train_state(self, memory: Memory | None = None, progress: Progress | None = None) -> TrainState:
        """Return what there is to train, in this memory, as it is there; None is memory of its own, of zeros.

        Args:
            memory: as of Plan.
            progress: of another optimizer at work on the same parameters, which it is to be shared with.
        """
        plan = Plan(self.layers, self.input_shape, self.engine.start(), self.seed, self.cost, memory, self.tuning)
        return TrainState(plan, plan.optimizer_state(self.optimizer, progress), self.metrics)
