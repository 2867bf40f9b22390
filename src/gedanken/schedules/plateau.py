"""A learning rate that falls when the cost does not."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from gedanken.checks import real, require, truth, whole
from gedanken.schedules.base import Schedule, as_schedule


class Plateau(NamedTuple):
    """What OnPlateau remembers between epochs; a few numbers that a checkpoint can hold."""

    factor: float = 1.0
    best: float = math.inf
    waited: int = 0
    resting: int = 0


@dataclass(frozen=True, eq=False, repr=False)
class OnPlateau(Schedule):
    """Multiply another schedule's rate by `factor` whenever the cost has stopped falling.

    The cost looked at is the validation cost where there is a validation set, else the training cost, once an
    epoch. After more than `patience` epochs without a new best cost the rate is cut and the count starts again.

    Args:
        rate: schedule, or a number for a constant rate; no other OnPlateau.
        factor: what the rate is multiplied by, in (0, 1).
        patience: epochs without progress that are accepted, >= 0.
        threshold: fraction by which a cost must be lower to count as progress, in [0, 1).
        lowest: the product of cuts is never below this, in [0, 1].
        cooldown: epochs after a cut that do not count as waited, >= 0.
        absolute: whether `threshold` is a difference of costs, in [0, inf), instead of a fraction.
    """

    rate: float | Schedule
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    lowest: float = 0.0
    cooldown: int = 0
    absolute: bool = False

    def __post_init__(self) -> None:
        rule = "be a number or a schedule that watches no costs: one OnPlateau cuts the rate as often as it is needed"
        require(not isinstance(self.rate, OnPlateau), "OnPlateau rate", rule, self.rate)
        as_schedule(self.rate)
        real("OnPlateau factor", self.factor, "(0, 1)")
        whole("OnPlateau patience", self.patience, at_least=0)
        truth("OnPlateau absolute", self.absolute)
        real("OnPlateau threshold", self.threshold, "[0, inf)" if self.absolute else "[0, 1)")
        real("OnPlateau lowest", self.lowest, "[0, 1]")
        whole("OnPlateau cooldown", self.cooldown, at_least=0)

    def __call__(self, step: int) -> float:
        return as_schedule(self.rate)(step)

    def watch(self, memory: Plateau, cost: float) -> Plateau:
        """Return the memory after an epoch that ended with `cost`; its factor scales the rate."""
        resting = max(memory.resting - 1, 0)
        if cost < memory.best - self._needed(memory.best):
            return Plateau(memory.factor, cost, 0, resting)
        waited = 0 if memory.resting else memory.waited + 1
        if waited <= self.patience:
            return memory._replace(waited=waited, resting=resting)
        factor = max(memory.factor * self.factor, self.lowest)
        return Plateau(factor, memory.best, 0, self.cooldown)

    def _needed(self, best: float) -> float:
        """Return how much less than the best cost so far counts as progress."""
        if self.absolute or not math.isfinite(best):
            return self.threshold
        return self.threshold * abs(best)
