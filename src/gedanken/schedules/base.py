"""The base class of schedules, and numbers as schedules."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from gedanken.checks import is_list, real, require, whole
from gedanken.hyperparameters import Hyperparameters
from gedanken.types import Array


class Schedule(Hyperparameters, ABC):
    """A learning rate that depends on `step`, the number of updates made before this one."""

    @abstractmethod
    def __call__(self, step: int) -> float:
        """Return the learning rate of update number `step`, counted from 0."""

    def rates(self, first: int, count: int) -> Array:
        """Return the learning rates of `count` updates from number `first` on: `self` of each, up to rounding."""
        return np.array([self(first + place) for place in range(count)], np.float64)


@dataclass(frozen=True, eq=False, repr=False)
class ConstantRate(Schedule):
    """The same rate at every step.

    Args:
        rate: learning rate, > 0.
    """

    rate: float

    def __post_init__(self) -> None:
        real("learning rate", self.rate, "(0, inf)")

    def __call__(self, step: int) -> float:
        return self.rate

    def rates(self, first: int, count: int) -> Array:
        return np.full(count, self.rate, np.float64)


def as_schedule(rate: float | Schedule) -> Schedule:
    """Return `rate` as a Schedule; a number becomes a constant one."""
    return rate if isinstance(rate, Schedule) else ConstantRate(rate)


def rising(argument: str, steps: object) -> tuple[int, ...]:
    """Return a list of numbers of updates as a tuple; each must be at least 1 and more than the one before."""
    require(is_list(steps) and len(steps) > 0, argument, "be a list of at least one number of updates", steps)
    found = tuple(whole(argument, step) for step in steps)  # type: ignore[attr-defined]
    require(all(one < other for one, other in pairwise(found)), argument, "rise", steps)
    return found
