"""Learning rates as functions of the number of updates made so far."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gedanken.checks import real, require, whole
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
class OneCycle(Schedule):
    """Rise to `peak` along half a cosine, then fall far below the start along another.

        start = peak / start_factor,  end = start / end_factor
        rate(step) = half cosine from start to peak   until step = rise * (steps - 1)
        rate(step) = half cosine from peak to end     until step = steps - 1, then end

    Args:
        peak: highest learning rate, > 0.
        steps: length of the whole cycle, at least 2.
        rise: fraction of the steps that rise, in (0, 1).
        start_factor: peak / first rate, >= 1.
        end_factor: first rate / last rate, >= 1.

    Source:
        Smith & Topin 2017, arXiv:1708.07120. Differs: cosines instead of straight lines, as most users run it.
    """

    peak: float
    steps: int
    rise: float = 0.3
    start_factor: float = 25.0
    end_factor: float = 1e4

    def __post_init__(self) -> None:
        real("OneCycle peak", self.peak, "(0, inf)")
        whole("OneCycle steps", self.steps, at_least=2)
        real("OneCycle rise", self.rise, "(0, 1)")
        real("OneCycle start_factor", self.start_factor, "[1, inf)")
        real("OneCycle end_factor", self.end_factor, "[1, inf)")

    def __call__(self, step: int) -> float:
        start = self.peak / self.start_factor
        top = self.rise * (self.steps - 1)
        if step <= top:
            return _half_cosine(start, self.peak, step / top)
        fallen = (step - top) / (self.steps - 1 - top)
        return _half_cosine(self.peak, start / self.end_factor, min(fallen, 1.0))


def _half_cosine(first: float, last: float, share: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2


class Plateau(NamedTuple):
    """What OnPlateau remembers between epochs; a few numbers that a checkpoint can hold."""

    factor: float = 1.0
    best: float = math.inf
    waited: int = 0


@dataclass(frozen=True, eq=False, repr=False)
class OnPlateau(Schedule):
    """Multiply another schedule's rate by `factor` whenever the cost has stopped falling.

    The cost looked at is the validation cost where there is a validation set, else the training cost, once an
    epoch. After more than `patience` epochs without a new best cost the rate is cut and the count starts again.

    Args:
        rate: schedule, or a number for a constant rate.
        factor: what the rate is multiplied by, in (0, 1).
        patience: epochs without progress that are accepted, >= 0.
        threshold: fraction by which a cost must be lower to count as progress, in [0, 1).
        lowest: the product of cuts is never below this, in [0, 1].
    """

    rate: float | Schedule
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    lowest: float = 0.0

    def __post_init__(self) -> None:
        as_schedule(self.rate)
        real("OnPlateau factor", self.factor, "(0, 1)")
        whole("OnPlateau patience", self.patience, at_least=0)
        real("OnPlateau threshold", self.threshold, "[0, 1)")
        real("OnPlateau lowest", self.lowest, "[0, 1]")

    def __call__(self, step: int) -> float:
        return as_schedule(self.rate)(step)

    def watch(self, memory: Plateau, cost: float) -> Plateau:
        """Return the memory after an epoch that ended with `cost`; its factor scales the rate."""
        if cost < memory.best - self.threshold * abs(memory.best if math.isfinite(memory.best) else 0):
            return Plateau(memory.factor, cost, 0)
        if memory.waited < self.patience:
            return memory._replace(waited=memory.waited + 1)
        return memory._replace(factor=max(memory.factor * self.factor, self.lowest), waited=0)


def as_schedule(rate: float | Schedule) -> Schedule:
    """Return `rate` as a Schedule; a number becomes a constant one."""
    return rate if isinstance(rate, Schedule) else ConstantRate(rate)
