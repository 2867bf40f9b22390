"""Learning rates that rise and fall, once or again and again."""

import math
from dataclasses import dataclass

from gedanken.checks import real, require, truth, whole
from gedanken.schedules.base import Schedule


@dataclass(frozen=True, eq=False, repr=False)
class OneCycle(Schedule):
    """Rise to `peak` along half a cosine, then fall far below the start along another.

        start = peak / start_factor,  end = start / end_factor
        rate(step) = half cosine from start to peak   until step = rise * (steps - 1)
        rate(step) = half cosine from peak to end     until step = steps - 1, then end

    Args:
        peak: highest learning rate, > 0.
        steps: length of the whole cycle, at least 2.
        rise: fraction of the steps that rise, in (0, 1); at most 1/2 with three_phases.
        start_factor: peak / first rate, >= 1.
        end_factor: first rate / last rate, >= 1.
        linear: whether straight lines stand in place of the cosines.
        three_phases: whether the rate falls to `start` first, in as many steps as it rose, and then to `end`.

    Source:
        Smith & Topin 2017, arXiv:1708.07120, which has straight lines and three phases. Differs: by default cosines and
        two, as in PyTorch and as most users run it.
    """

    peak: float
    steps: int
    rise: float = 0.3
    start_factor: float = 25.0
    end_factor: float = 1e4
    linear: bool = False
    three_phases: bool = False

    def __post_init__(self) -> None:
        real("OneCycle peak", self.peak, "(0, inf)")
        whole("OneCycle steps", self.steps, at_least=2)
        truth("OneCycle linear", self.linear)
        real("OneCycle rise", self.rise, "(0, 0.5]" if truth("OneCycle three_phases", self.three_phases) else "(0, 1)")
        real("OneCycle start_factor", self.start_factor, "[1, inf)")
        real("OneCycle end_factor", self.end_factor, "[1, inf)")

    def __call__(self, step: int) -> float:
        between = _line if self.linear else _half_cosine
        (begin, first), *ends = self._corners()
        for end, last in ends:
            if step < end:
                return between(first, last, (step - begin) / (end - begin))
            begin, first = end, last
        return first

    def _corners(self) -> list[tuple[float, float]]:
        """Return where the phases meet, each with the rate there; the first is at step 0."""
        start, top = self.peak / self.start_factor, self.rise * (self.steps - 1)
        corners = [(0.0, start), (top, self.peak)]
        if self.three_phases:
            corners.append((2 * top, start))
        return [*corners, (self.steps - 1.0, start / self.end_factor)]


def _line(first: float, last: float, share: float) -> float:
    return first + (last - first) * share


def _half_cosine(first: float, last: float, share: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2


@dataclass(frozen=True, eq=False, repr=False)
class CosineRestarts(Schedule):
    """Let the rate fall along half a cosine, again and again, each time for longer.

        rate(step) = final + (rate - final) * factor**i * (1 + cos(pi * share)) / 2

    where i is the number of the cycle, counted from 0, and share what is over of its steps * growth**i steps.

    Args:
        rate: learning rate at the start of the first cycle, > 0.
        steps: length of the first cycle, at least 1.
        growth: what a cycle's length is multiplied by for the next one, in [1, 1000].
        factor: what its height above `final` is multiplied by for the next one, in (0, 1].
        final: learning rate that each cycle falls to, >= 0.

    Source:
        Loshchilov & Hutter 2016, arXiv:1608.03983, equation 5. Differs: `factor`, as in Keras.
    """

    rate: float
    steps: int
    growth: float = 1
    factor: float = 1.0
    final: float = 0.0

    def __post_init__(self) -> None:
        real("CosineRestarts rate", self.rate, "(0, inf)")
        whole("CosineRestarts steps", self.steps)
        real("CosineRestarts growth", self.growth, "[1, 1000]")
        real("CosineRestarts factor", self.factor, "(0, 1]")
        real("CosineRestarts final", self.final, "[0, inf)")

    def __call__(self, step: int) -> float:
        cycle = self._cycle(step)
        share = (step - self._start(cycle)) / (self.steps * self.growth**cycle)
        return _half_cosine(self.final + (self.rate - self.final) * self.factor**cycle, self.final, share)

    def _cycle(self, step: int) -> int:
        """Return the number of the cycle that a step belongs to."""
        grown = self.growth - 1
        cycle = int(math.log1p(step / self.steps * grown) / math.log1p(grown)) if grown else step // self.steps
        while self._start(cycle + 1) <= step:  # the logarithm may be off by a rounding
            cycle += 1
        while self._start(cycle) > step:
            cycle -= 1
        return cycle

    def _start(self, cycle: int) -> float:
        """Return the step at which a cycle begins, the sum of the lengths before."""
        if self.growth == 1:
            return self.steps * cycle
        return self.steps * (self.growth**cycle - 1) / (self.growth - 1)


@dataclass(frozen=True, eq=False, repr=False)
class CyclicRate(Schedule):
    """Rise from `low` to `high` in a straight line and fall back, again and again.

        rate(step) = low + (high - low) * height * cycle_factor**i * step_factor**step

    where height goes from 0 to 1 in `rise` steps and back to 0 in `fall`, and i is the number of the cycle, from 0.

    Args:
        low: learning rate at the start of a cycle, >= 0.
        high: that at its top, > 0 and at least `low`.
        rise: steps from `low` to `high`, at least 1.
        fall: steps from `high` to `low`, at least 1; None: as many as `rise`.
        cycle_factor: what the height is multiplied by after each cycle, in (0, 1]; 0.5 is the paper's "triangular2".
        step_factor: what it is multiplied by at each step, in (0, 1]; less than 1 is the paper's "exp_range".

    Source:
        Smith 2015, arXiv:1506.01186, section 3.2. Differs: in "exp_range" the lower bound stays where it is.
    """

    low: float
    high: float
    rise: int
    fall: int | None = None
    cycle_factor: float = 1.0
    step_factor: float = 1.0

    def __post_init__(self) -> None:
        low = real("CyclicRate low", self.low, "[0, inf)")
        high = real("CyclicRate high", self.high, "(0, inf)")
        require(high >= low, "CyclicRate high", f"be at least low={self.low}", self.high)
        whole("CyclicRate rise", self.rise)
        if self.fall is not None:
            whole("CyclicRate fall", self.fall)
        real("CyclicRate cycle_factor", self.cycle_factor, "(0, 1]")
        real("CyclicRate step_factor", self.step_factor, "(0, 1]")

    def __call__(self, step: int) -> float:
        fall = self.rise if self.fall is None else self.fall
        cycle, place = divmod(step, self.rise + fall)
        height = place / self.rise if place <= self.rise else (self.rise + fall - place) / fall
        return float(self.low + (self.high - self.low) * height * self.cycle_factor**cycle * self.step_factor**step)
