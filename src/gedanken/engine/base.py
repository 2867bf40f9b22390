"""The contract of an engine: what runs a plan."""

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np

from gedanken.costs import Cost, CustomCost
from gedanken.costs.base import Weighing
from gedanken.costs.heads import HeadsCost
from gedanken.engine.learner import Learner
from gedanken.layers.base import Context
from gedanken.layers.function import FunctionLayer
from gedanken.layers.stages import ContainerStage, LayerStage, Stage, leaf_stages
from gedanken.ops import Ops
from gedanken.optimizer_state import Updated, Updater
from gedanken.optimizers import Optimizer
from gedanken.types import Array


class FusedStep(Protocol):
    """All layers up to the cost, and the cost itself."""

    def run(self, ctx: Context, x: Any, target: Any, weight: Array | None) -> tuple[Any, Any, Weighing, Any]:
        """Return the network's outputs, their cost and how it was made; in training also write the gradients.

        The last result is the gradient with respect to x; None, or an empty array, where nobody reads it.
        """

    def step_bytes(self, samples: int) -> int:
        """Return the memory that a training pass of so many samples takes."""


Placement: TypeAlias = LayerStage | ContainerStage


class Engine:
    """How plans are run: an Ops, and the choice of steps.

    This one runs each layer by its own forward and backward, and containers by what is in them. A faster one overrides
    `stages`.

    Args:
        name: what `regression(engine=...)` calls it.
        ops: the device's primitives.
        reason: why it was chosen, in one sentence.

    Attributes:
        threads: how many share a step, the caller's included.
    """

    threads = 1

    def __init__(self, name: str, ops: Ops, reason: str) -> None:
        self.name = name
        self.ops = ops
        self.reason = reason

    def stages(self, layers: Sequence[Placement], dx: bool = True, beside: Sequence[Stage] = ()) -> Sequence[Stage]:
        """Return the steps that do the work of these layers in a row.

        Args:
            layers: the layers.
            dx: whether the input gradient is read.
            beside: steps of the same layers for uncut sequences, or none; both never work at once.
        """
        return layers

    def fused_step(
        self, layers: Sequence[Placement], cost: Cost, beside: "FusedStep | None" = None, dx: bool = False
    ) -> "FusedStep | None":
        """Return what runs layers and cost as one program, or None if the engine cannot fuse them.

        Args:
            layers, cost: the layers and the cost.
            beside: as of `stages`.
            dx: whether the input gradient is read.
        """
        return None

    def learner(self, layers: Sequence[Placement], cost: Cost, rule: Optimizer) -> Learner | None:
        """Return what learns from many mini-batches in one go, or None: then each is a step of its own."""
        return None

    def updater(self, rule: Optimizer, updated: Updated) -> Updater | None:
        """Return what does an optimizer's update and its clipping in one go, or None where the rule does it."""
        return None

    def fallbacks(self, layers: Sequence[Placement]) -> list[str]:
        """Return which of these layers do not run as the others do, and why."""
        if self.ops.xp is np:
            return []
        functions = [stage for stage in leaf_stages(layers) if isinstance(stage.layer, FunctionLayer)]
        return [f"{stage.name} (derivatives on the host)" for stage in functions]

    def cost_fallbacks(self, cost: Cost) -> list[str]:
        """Return which costs, of heads each by itself, do not run as layers and other costs do, and why."""
        each = cost.costs if isinstance(cost, HeadsCost) else {"": cost}
        slow = {name: why for name, one in each.items() if (why := self.why_slow(one))}
        of_head = {name: f" of head {name!r}" if name else "" for name in slow}
        return [f"cost {type(each[name]).__name__}{of_head[name]} ({why})" for name, why in slow.items()]

    def why_slow(self, cost: Cost) -> str:
        """Return why one cost does not run as others do, or nothing."""
        alone = isinstance(cost, CustomCost) and cost.derivative is None
        return "derivatives on the host" if alone and self.ops.xp is not np else ""

    def step_bytes(self, stages: Sequence[Stage], samples: int) -> int | None:
        """Return the memory that a training pass of so many samples takes, or None where it is not known before."""
        return None

    def close(self) -> None:
        """End the threads that are the engine's own; what runs after it runs in one."""
