"""Schedules that are made of other ones."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gedanken.checks import is_list, require, whole
from gedanken.schedules.base import Schedule, as_schedule, rising
from gedanken.schedules.plateau import OnPlateau


@dataclass(frozen=True, eq=False, repr=False)
class WarmUp(Schedule):
    """Raise the rate in a straight line for `steps` steps, then follow another schedule.

        rate(step) = then(0) * (step + 1) / steps     for step < steps
        rate(step) = then(step - steps)               afterwards

    Args:
        then: schedule, or a number for a constant rate.
        steps: length of the rise, at least 1.

    Source:
        Goyal et al. 2017, arXiv:1706.02677, section 2.2 (gradual warm-up).
    """

    then: float | Schedule
    steps: int

    def __post_init__(self) -> None:
        as_schedule(self.then)
        inside = isinstance(self.then, OnPlateau)
        require(not inside, "WarmUp then", "not be OnPlateau: write OnPlateau(WarmUp(...)) instead", self.then)
        whole("WarmUp steps", self.steps)

    def __call__(self, step: int) -> float:
        then = as_schedule(self.then)
        if step < self.steps:
            return then(0) * (step + 1) / self.steps
        return then(step - self.steps)


@dataclass(frozen=True, eq=False, repr=False)
class RateSequence(Schedule):
    """Follow several schedules, one after the other; each begins at its own step 0.

        rate(step) = schedules[i](step - milestones[i - 1])     for milestones[i - 1] <= step < milestones[i]

    Args:
        schedules: a list of schedules, or numbers for constant rates, at least two.
        milestones: the updates at which the next one begins, each at least 1, rising; one fewer than schedules.

    Example:
        >>> rate = RateSequence([LinearRate(0.01, 0.1, 100), 0.1, CosineDecay(0.1, 300)], [100, 500])
        >>> [round(rate(step), 4) for step in (0, 50, 300, 650, 800)]
        [0.01, 0.055, 0.1, 0.05, 0.0]
    """

    schedules: Sequence[float | Schedule]
    milestones: Sequence[int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "schedules", _parts("RateSequence", self.schedules))
        object.__setattr__(self, "milestones", rising("RateSequence milestones", self.milestones))
        rule = f"be one fewer than the {len(self.schedules)} schedules"
        require(len(self.milestones) == len(self.schedules) - 1, "RateSequence milestones", rule, self.milestones)

    def __call__(self, step: int) -> float:
        part = bisect_right(self.milestones, step)
        return as_schedule(self.schedules[part])(step - (self.milestones[part - 1] if part else 0))


@dataclass(frozen=True, eq=False, repr=False)
class RateProduct(Schedule):
    """Multiply several schedules: one is the rate, the others are factors of it.

        rate(step) = schedules[0](step) * schedules[1](step) * ...

    Args:
        schedules: a list of schedules, or numbers for constant ones, at least two.

    Example:
        >>> rate = RateProduct([StepDecay(0.1, every=100), LinearRate(0.5, 1.0, 10)])
        >>> [round(rate(step), 4) for step in (0, 5, 10, 100)]
        [0.05, 0.075, 0.1, 0.01]
    """

    schedules: Sequence[float | Schedule]

    def __post_init__(self) -> None:
        object.__setattr__(self, "schedules", _parts("RateProduct", self.schedules))

    def __call__(self, step: int) -> float:
        return math.prod(as_schedule(part)(step) for part in self.schedules)


def _parts(owner: str, schedules: Any) -> tuple[float | Schedule, ...]:
    """Return the schedules that another one is made of; OnPlateau, which watches costs, may not be inside."""
    argument = f"{owner} schedules"
    require(is_list(schedules) and len(schedules) > 1, argument, "be a list of at least two schedules", schedules)
    for one in schedules:
        as_schedule(one)
        require(not isinstance(one, OnPlateau), argument, f"not have OnPlateau inside: it takes {owner}(...)", one)
    return tuple(schedules)
