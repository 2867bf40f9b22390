"""Learning rates that go from one value to another."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gedanken.checks import is_list, real, require, truth, whole
from gedanken.schedules.base import Schedule, rising
from gedanken.types import Array


@dataclass(frozen=True, eq=False, repr=False)
class StepDecay(Schedule):
    """Multiply the rate by `factor` after every `every` steps.

        rate(step) = rate * factor ** (step // every)

    Args:
        rate: learning rate of the first step, > 0.
        every: steps between two changes, at least 1.
        factor: what the rate is multiplied by, in (0, 1].
    """

    rate: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        real("StepDecay rate", self.rate, "(0, inf)")
        whole("StepDecay every", self.every)
        real("StepDecay factor", self.factor, "(0, 1]")

    def __call__(self, step: int) -> float:
        return float(self.rate * self.factor ** (step // self.every))

    def rates(self, first: int, count: int) -> Array:
        return self.rate * float(self.factor) ** (np.arange(first, first + count) // self.every)


@dataclass(frozen=True, eq=False, repr=False)
class ExponentialDecay(Schedule):
    """Let the rate fall smoothly, by `factor` in `steps` steps.

        rate(step) = rate * factor ** (step / steps)

    Args:
        rate: learning rate of the first step, > 0.
        steps: steps in which the rate falls by `factor`, at least 1.
        factor: in (0, 1].
    """

    rate: float
    steps: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        real("ExponentialDecay rate", self.rate, "(0, inf)")
        whole("ExponentialDecay steps", self.steps)
        real("ExponentialDecay factor", self.factor, "(0, 1]")

    def __call__(self, step: int) -> float:
        return float(self.rate * self.factor ** (step / self.steps))

    def rates(self, first: int, count: int) -> Array:
        return self.rate * float(self.factor) ** (np.arange(first, first + count) / self.steps)


@dataclass(frozen=True, eq=False, repr=False)
class InverseDecay(Schedule):
    """Let the rate fall as one over the steps that were made.

        rate(step) = rate / (1 + decay * step / steps)

    Args:
        rate: learning rate of the first step, > 0.
        steps: steps in which the divisor grows by `decay`, at least 1.
        decay: > 0; with 1 the rate is halved after `steps` steps.
        stairs: whether step / steps is rounded down, so that the rate stays the same for `steps` steps.

    Source:
        Robbins & Monro 1951, "A stochastic approximation method", section 4 (rates like 1 / step).
    """

    rate: float
    steps: int
    decay: float = 1.0
    stairs: bool = False

    def __post_init__(self) -> None:
        real("InverseDecay rate", self.rate, "(0, inf)")
        whole("InverseDecay steps", self.steps)
        real("InverseDecay decay", self.decay, "(0, inf)")
        truth("InverseDecay stairs", self.stairs)

    def __call__(self, step: int) -> float:
        grown = step // self.steps if self.stairs else step / self.steps
        return float(self.rate / (1 + self.decay * grown))


@dataclass(frozen=True, eq=False, repr=False)
class CosineDecay(Schedule):
    """Let the rate fall along half a cosine, then stay at `final`.

        rate(step) = final + (rate - final) * (1 + cos(pi * min(step / steps, 1))) / 2

    Args:
        rate: learning rate of the first step, > 0.
        steps: steps until `final` is reached, at least 1.
        final: last learning rate, >= 0.

    Source:
        Loshchilov & Hutter 2016, arXiv:1608.03983, equation 5, without restarts.
    """

    rate: float
    steps: int
    final: float = 0.0

    def __post_init__(self) -> None:
        real("CosineDecay rate", self.rate, "(0, inf)")
        whole("CosineDecay steps", self.steps)
        real("CosineDecay final", self.final, "[0, inf)")

    def __call__(self, step: int) -> float:
        done = min(step / self.steps, 1.0)
        return self.final + (self.rate - self.final) * (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True, eq=False, repr=False)
class LinearRate(Schedule):
    """Go in a straight line from one rate to another, then stay.

        rate(step) = first + (last - first) * min(step / steps, 1)

    Args:
        first: learning rate of the first step, >= 0.
        last: rate after `steps` steps, >= 0, and > 0 where `first` is 0.
        steps: at least 1.
    """

    first: float
    last: float
    steps: int

    def __post_init__(self) -> None:
        first = real("LinearRate first", self.first, "[0, inf)")
        real("LinearRate last", self.last, "[0, inf)" if first else "(0, inf)")
        whole("LinearRate steps", self.steps)

    def __call__(self, step: int) -> float:
        done = min(step / self.steps, 1.0)
        return float(self.first * (1 - done) + self.last * done)


@dataclass(frozen=True, eq=False, repr=False)
class PolynomialDecay(Schedule):
    """Let the rate fall as a power of the steps that are left, then stay at `final`.

        rate(step) = final + (rate - final) * (1 - min(step / steps, 1)) ** power

    Args:
        rate: learning rate of the first step, > 0.
        steps: steps until `final` is reached, at least 1.
        power: > 0; 1 falls in a straight line.
        final: last learning rate, >= 0.
        longer: whether, in place of staying, the rate jumps up to a fall that is longer by `steps`: of the smallest
            multiple of `steps` that is at least `step` and not 0.

    Source:
        Chen et al. 2016, arXiv:1606.00915, section 4.1 ("poly", with a power of 0.9).
    """

    rate: float
    steps: int
    power: float = 1.0
    final: float = 0.0
    longer: bool = False

    def __post_init__(self) -> None:
        truth("PolynomialDecay longer", self.longer)
        real("PolynomialDecay rate", self.rate, "(0, inf)")
        whole("PolynomialDecay steps", self.steps)
        real("PolynomialDecay power", self.power, "(0, inf)")
        real("PolynomialDecay final", self.final, "[0, inf)")

    def __call__(self, step: int) -> float:
        times = max(-(-step // self.steps), 1) if self.longer else 1
        left = 1 - min(step / (self.steps * times), 1.0)
        return float(self.final + (self.rate - self.final) * left**self.power)


@dataclass(frozen=True, eq=False, repr=False)
class MilestoneDecay(Schedule):
    """Multiply the rate by `factor` at each of some steps.

        rate(step) = rate * the factors of all milestones <= step

    Args:
        rate: learning rate of the first step, > 0.
        milestones: numbers of updates at which the rate changes, each at least 1, rising.
        factor: what the rate is multiplied by, > 0: a number, or a tuple with one for each milestone.

    Example:
        >>> rate = MilestoneDecay(0.1, (1000, 1500))
        >>> [rate(step) for step in (0, 999, 1000, 1500)]
        [0.1, 0.1, 0.01, 0.001]
    """

    rate: float
    milestones: Sequence[int]
    factor: float | Sequence[float] = 0.1

    def __post_init__(self) -> None:
        real("MilestoneDecay rate", self.rate, "(0, inf)")
        object.__setattr__(self, "milestones", rising("MilestoneDecay milestones", self.milestones))
        if is_list(self.factor):
            factors = tuple(real("MilestoneDecay factor", one, "(0, inf)") for one in self.factor)
            rule = f"have one number for each of the {len(self.milestones)} milestones"
            require(len(factors) == len(self.milestones), "MilestoneDecay factor", rule, self.factor)
            object.__setattr__(self, "factor", factors)
        else:
            real("MilestoneDecay factor", self.factor, "(0, inf)")
        finite = all(math.isfinite(self(step)) for step in self.milestones)
        require(finite, "MilestoneDecay factor", "leave the rate finite", self.factor)

    def __call__(self, step: int) -> float:
        passed = bisect_right(self.milestones, step)
        factors = self.factor[:passed] if isinstance(self.factor, tuple) else (self.factor,) * passed
        return float(math.prod(factors, start=self.rate))
