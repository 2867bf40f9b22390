"""A first learning rate for a network and its data: steps with a rate that grows, and what the cost does meanwhile."""

import contextlib
import itertools
import math
import os
from collections.abc import Generator as Yields
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gedanken.checks import path as checked_path
from gedanken.checks import real, require, short, whole
from gedanken.data.batches import GeneratorSource, Source
from gedanken.drawing import load_matplotlib, new_figure, plain_settings, png
from gedanken.files import replace_file
from gedanken.parallel.base import TrainState
from gedanken.parallel.fault import Fault
from gedanken.parallel.single import Single
from gedanken.schedules import Schedule
from gedanken.training.dry_run import dry_run
from gedanken.training.meter import Meter

SMOOTHING = 0.9  # what is left of the part that older costs have, after each point
EXPLODED = 3.0  # how far above the lowest cost is the end, in the larger of the first and the lowest cost
BELOW = 10.0  # how far the suggestion lies below the rate of the lowest cost
LEAST, MOST = 10, 1_000_000  # steps
CURVE, SUGGESTED = "#3465a4", "#cc5500"


Updates: TypeAlias = Yields[tuple[float | None, float, Fault | None], None, None]


class RateSweep(NamedTuple):
    """The cost over a growing learning rate, and a rate to begin with; what `Network.find_learning_rate` returns.

    `str` of it says the rate in words, `plot` draws the curve.

    Args:
        rate: the suggestion, a tenth of the rate at which the smoothed cost was lowest, its first nine values left out;
            None where it did not fall by more than the costs of two updates in a row differ on average.
        rates: learning rate of each update.
        costs: mean cost of the mini-batches after it, up to the next update.
        smoothed: means of the costs up to each, with weights that fall by 0.9 from one to the one before.
        reason: why it ended there.
    """

    rate: float | None
    rates: tuple[float, ...]
    costs: tuple[float, ...]
    smoothed: tuple[float, ...]
    reason: str

    def __str__(self) -> str:
        if not self.rates:
            return f"no learning rate is suggested: {self.reason}"
        tried = f"{len(self.rates)} updates at {self.rates[0]:.3g} to {self.rates[-1]:.3g}, {self.reason}"
        if self.rate is None:
            advice = "try more steps, larger mini-batches or other rates"
            return f"no learning rate is suggested: the cost did not fall clearly in {tried}; {advice}"
        lowest = f"where the smoothed cost was lowest, {self.smoothed[_lowest(self.smoothed)]:.4g}"
        return f"learning rate {self.rate:.2g}: a tenth of {self.rate * BELOW:.2g}, {lowest}; {tried}"

    def __repr__(self) -> str:
        return f"RateSweep of {self}"

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw the cost over the learning rate, with the suggestion, into a PNG file.

        Args:
            path: the file.

        Raises:
            MissingPackageError: Matplotlib is not installed.
            ArgumentError: `path` is none.
            OSError: the file cannot be written.
        """
        file = os.fspath(checked_path("path", path))
        matplotlib = load_matplotlib("RateSweep.plot", "its rates and costs")
        if matplotlib is None:
            return
        figure = new_figure(figsize=(8, 4.5), layout="constrained")
        with plain_settings(matplotlib):
            self._draw(figure.subplots())
        replace_file(str(file), png(matplotlib, figure))

    def _draw(self, axes: Any) -> None:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda rate, _: f"{rate:g}")
        axes.plot(self.rates, self.costs, color=CURVE, alpha=0.3, linewidth=1, label="cost of each update")
        axes.plot(self.rates, self.smoothed, color=CURVE, linewidth=2, label="smoothed")
        if self.rate is not None:
            place = _lowest(self.smoothed)
            axes.plot(self.rates[place], self.smoothed[place], "o", color=CURVE, label="lowest")
            axes.axvline(self.rate, color=SUGGESTED, linestyle="--", label=f"suggestion, {self.rate:.2g}")
        if self.costs:  # what the explosion adds is of no interest
            low, first = min(*self.costs, *self.smoothed), max(self.costs[: max(1, len(self.costs) // 4)])
            room = (first - low) or abs(low) or 1.0
            axes.set_ylim(low - 0.1 * room, first + 0.4 * room)
            axes.legend()
        axes.set_xlabel("learning rate")
        axes.set_ylabel("cost")
        axes.grid(alpha=0.3)


class _Growing(Schedule):
    """A rate that grows by the same factor from update to update."""

    def __init__(self, lowest: float, highest: float, steps: int, first: int) -> None:
        self._begin, self._growth, self._first = math.log(lowest), math.log(highest / lowest) / (steps - 1), first
        self._highest = highest

    def __call__(self, step: int) -> float:
        return min(math.exp(self._begin + self._growth * (step - self._first)), self._highest)


def checked_range(lowest: object, highest: object, steps: object) -> tuple[float, float, int]:
    """Return the arguments of a sweep, or raise ArgumentError."""
    low, high = real("lowest", lowest, "(0, 1e6]"), real("highest", highest, "(0, 1e6]")
    require(low < high, "highest", f"be above lowest, {short(lowest)}", highest)
    require(low > 1e-30, "lowest", "be above 1e-30", lowest)
    return low, high, whole("steps", steps, LEAST, at_most=MOST)


def sweep(train_state: TrainState, source: Source, epoch: int, span: tuple[float, float, int]) -> RateSweep:
    """Learn with a growing rate until the cost explodes, and say what it did.

    Args:
        train_state: what learns; it is of no use afterwards.
        source: mini-batches, taken again and again; a Generator's first epoch, so that it stays where it is.
        epoch: number of the first one, counted from 0.
        span: lowest and highest rate, and number of updates.
    """
    if isinstance(source, GeneratorSource):
        source.fixed = True
    source.look_first(partial(dry_run, train_state))
    train_state.optimizer_state.follow(_Growing(*span, train_state.optimizer_state.updates))
    made, costs, smoothed, mean, reason = list[float](), list[float](), list[float](), 0.0, "all steps done"
    first, lowest = math.nan, math.inf
    # Numbers that overflow show in the cost, which is watched.
    with np.errstate(all="ignore"), contextlib.closing(_updates(train_state, source, epoch)) as updates:
        for before, cost, fault in itertools.islice(updates, span[2] + 1):
            if fault:
                reason = fault.what
                break
            if before is None:
                first = cost
                continue
            made.append(before)
            costs.append(cost)
            mean = SMOOTHING * mean + (1 - SMOOTHING) * cost
            smoothed.append(mean / (1 - SMOOTHING ** len(costs)))
            lowest = min(lowest, smoothed[-1])
            if smoothed[-1] - lowest > EXPLODED * max(abs(first), abs(lowest)):
                reason = f"where the cost exploded, from {lowest:.3g} to {smoothed[-1]:.3g}"
                break
    return RateSweep(_suggestion(made, costs, smoothed), tuple(made), tuple(costs), tuple(smoothed), reason)


def _updates(train_state: TrainState, source: Source, epoch: int) -> Updates:
    """Learn, and yield before each update: the rate of the one before, the mean cost since then, what was not finite.

    So a cost stands beside the rate that brought the network there, not beside the one that follows.
    """
    strategy, state = Single(), train_state.optimizer_state
    strategy.start(train_state)
    made, total = None, Meter(train_state.metrics, train_state.plan.ops)
    for number in itertools.count(epoch):
        with contextlib.closing(source.batches(number)) as batches:
            for batch in batches:
                rate, updates = state.rate, state.updates
                result = strategy.step(batch, number)
                total.add(result)
                if result.fault or state.updates > updates:
                    yield made, total.cost, result.fault
                    made, total = rate, Meter(train_state.metrics, train_state.plan.ops)


def _lowest(smoothed: Sequence[float]) -> int:
    """Return the place of the lowest smoothed cost; the first nine are means of too few."""
    return LEAST - 1 + int(np.argmin(smoothed[LEAST - 1 :]))


def _suggestion(rates: list[float], costs: list[float], smoothed: list[float]) -> float | None:
    """Return a tenth of the rate of the lowest smoothed cost, None where the cost did not fall.

    The place of the steepest descent, which is taken elsewhere, is that of the largest noise where the costs of
    mini-batches differ: among the lowest rates for a logistic regression, at the minimum for SGD on pictures.
    """
    if len(costs) < LEAST:
        return None
    place = _lowest(smoothed)
    begin, apart = np.mean(costs[: len(costs) // LEAST]), np.mean(np.abs(np.diff(costs[: place + 2])))
    return rates[place] / BELOW if begin - smoothed[place] > apart else None
