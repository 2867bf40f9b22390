"""A copy of the network that may be trained and spoilt: what is measured of it."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from gedanken.by_name import ByName
from gedanken.checkup.report import LayerFigures
from gedanken.copies import held, rebuilt
from gedanken.data.batches import ArraySource, Batch
from gedanken.data.input_spec import InputSpec
from gedanken.engine.plan import Plan
from gedanken.layers import ReLU
from gedanken.layers.base import Context
from gedanken.layers.stages import ContainerStage, LayerStage, leaf_stages
from gedanken.metrics.heads import HeadCost
from gedanken.optimizer_state import OptimizerState
from gedanken.parallel.base import TrainState, gradients
from gedanken.parallel.black_box import examined
from gedanken.parallel.counting import counts_of
from gedanken.parallel.recipe import Recipe
from gedanken.parallel.single import Single
from gedanken.sparse import RowGradient
from gedanken.training.meter import Meter
from gedanken.types import Array

HEART = 32  # samples that are learnt by heart
STEPS, LEAST = 100, 8  # of it
FALLEN = 0.8  # of its first cost: no more time is needed to see that it falls
LATER = 3  # the step before which gradients are looked at once more
RATES = 1 << 12  # updates of a schedule of which the largest rate counts
TIMED = 40  # steps of which the time is taken, at most
LEAST_RATE = 1e-30  # in place of a schedule's 0
FIRED = 1024  # samples that may make a unit fire
AT_ONCE = 32  # of them


class Subject(NamedTuple):
    """A compiled network.

    Args:
        train_state: what it holds.
        recipe: what it is made from.
        spec: what data it takes.
        epoch: epochs trained so far.
    """

    train_state: TrainState
    recipe: Recipe
    spec: InputSpec
    epoch: int

    @property
    def trained(self) -> bool:
        """Whether its weights are no first ones."""
        return self.epoch > 0 or self.train_state.optimizer_state.updates > 0


class Course(NamedTuple):
    """How a mini-batch was learnt by heart.

    Args:
        costs: before each step.
        fault: what was not finite, or "".
        gradients, later: of each layer with weights, the length of its gradient over that of its weights, before the
            first step and some steps later.
        updates: the same of the first change.
    """

    costs: Sequence[float]
    fault: str = ""
    gradients: dict[str, float] = {}  # noqa: RUF012 - never written to
    later: dict[str, float] = {}  # noqa: RUF012
    updates: dict[str, float] = {}  # noqa: RUF012

    @property
    def begin(self) -> float:
        """The first cost."""
        return self.costs[0] if self.costs else math.nan

    @property
    def end(self) -> float:
        """The mean of the last costs: with dropout they differ."""
        return float(np.mean(self.costs[-3:])) if self.costs and not self.fault else math.inf


class Trial:
    """A copy of a network."""

    def __init__(self, subject: Subject) -> None:
        recipe = subject.recipe
        self._held = held(subject.train_state.plan, subject.train_state)
        parts = (recipe.layers, recipe.input_shape, recipe.seed, recipe.cost, recipe.engine)
        self.plan, copied = rebuilt(self._held, *parts)
        assert copied
        self.train_state, self._epoch = copied, subject.epoch
        self._mute = copied._replace(metrics=tuple(one for one in copied.metrics if isinstance(one, HeadCost)))

    def close(self) -> None:
        """End the threads of the copy's engine."""
        self.plan.engine.close()

    def _reset(self) -> None:
        self.plan.restore(self._held.state)

    # ------------------------------------------------------------------ before the first step

    def initial_cost(self, batches: Sequence[Batch], seconds: float) -> tuple[float, str]:
        """Return the mean cost of training passes over mini-batches, as many as there is time for, and what was not
        finite."""
        self._reset()
        ends, mean = time.monotonic() + seconds, Meter(self._mute.metrics, self.plan.ops)
        for batch in batches:
            result = gradients(self._mute, batch, self._epoch)
            if result.fault:
                rule = self.train_state.optimizer_state
                fault = examined(result.fault, self.plan, rule, batch, self._epoch)
                return math.nan, str(fault._replace(samples=(), sample=None))  # places among those looked at
            mean.add(result)
            if time.monotonic() > ends:
                break
        return mean.cost, ""

    def silent(self, x: Any, seconds: float) -> tuple[dict[str, float], int]:
        """Return for each ReLU the share of its units that never fired, and over how many samples.

        A unit is a feature, or a channel of a picture. The layers are run by their specification.
        """
        self._reset()
        fired = dict[str, Array]()

        def see(stage: LayerStage, y: Array) -> None:
            if isinstance(stage.layer, ReLU):
                active = (self.plan.ops.to_host(y) > 0).reshape(-1, y.shape[-1]).any(axis=0)
                fired[stage.path] = np.logical_or(fired.get(stage.path, False), active)

        if not any(isinstance(one.layer, ReLU) for one in leaf_stages(self.plan.layers)):
            return {}, 0
        ends, samples = time.monotonic() + seconds, 0
        for start in range(0, min(len(x), FIRED), AT_ONCE):
            part = x[start : start + AT_ONCE]
            if samples and len(part) == 1:  # which BatchNorm makes nothing of
                break
            ctx = self.plan.context(train=True, epoch=self._epoch, position=start)
            ctx = self.plan.told_of_lengths(ctx, part)
            _seen(self.plan.layers, ctx, self.plan.enter(part), see)
            samples += len(part)
            if time.monotonic() > ends:
                break
        return {path: 1 - float(active.mean()) for path, active in fired.items()}, samples

    # ------------------------------------------------------------------ learning

    def by_heart(self, batch: Batch, factor: float, seconds: float) -> Course:
        """Learn one mini-batch by heart, for so long, or up to three times as long where it goes badly.

        The rate is `factor` times the largest one of the schedule's next updates, always the same.
        """
        self._reset()
        plan, rule = self.plan, self._rule(factor)
        ends, costs, found = time.monotonic() + seconds, list[float](), dict[str, dict[str, float]]()
        for step in range(STEPS):
            result = gradients(self._mute, batch, self._epoch)
            if result.fault:
                return Course(costs, result.fault.what, **found)
            costs.append(float(result.cost))
            if step in (0, LATER):
                found["later" if step else "gradients"] = _lengths(plan)
            before = _kernels(plan) if step == 0 else {}
            if fault := rule.apply(plan.params, plan.grads, counts_of(result)):
                return Course(costs, fault, **found)
            if step == 0:
                found["updates"] = _changes(plan, before)
            late = time.monotonic() - ends
            if step + 1 >= LEAST and (late > 2 * seconds or (late > 0 and costs[-1] < FALLEN * costs[0])):
                break
        return Course(costs, "", **found)

    def _rule(self, factor: float) -> OptimizerState:
        own = self.train_state.optimizer_state
        rate = max(float(np.max(own.rates(RATES))), LEAST_RATE)
        return self.plan.optimizer_state(replace(own.optimizer, learning_rate=rate * factor, accumulate=1))

    def seconds_per_sample(self, source: ArraySource, seconds: float) -> float | None:
        """Return the time of training steps for one sample, on this machine; None where a step fails.

        The first ones, which make what the others use, do not count where there is time for more.
        """
        self._reset()
        strategy, times = Single(), list[float]()
        strategy.start(self.train_state)
        ends, epoch = time.monotonic() + seconds, self._epoch
        begun = time.perf_counter()
        try:
            while not times or (len(times) < TIMED and time.monotonic() < ends):
                for result in strategy.steps(source, epoch):
                    if result.fault:
                        return None
                    now = time.perf_counter()
                    times.append((now - begun) / result.samples)
                    begun = now
                    if len(times) >= TIMED or time.monotonic() > ends:
                        break
                epoch += 1
        finally:
            strategy.stop()
        return float(np.median(times[1:] or times))

    # ------------------------------------------------------------------ figures

    def figures(self, course: Course, silent: dict[str, float]) -> tuple[LayerFigures, ...]:
        """Return what was measured of each layer with weights or ReLU."""
        return tuple(
            LayerFigures(
                one.path,
                type(one.layer).__name__,
                course.gradients.get(one.path),
                course.updates.get(one.path),
                silent.get(one.path),
            )
            for one in leaf_stages(self.plan.layers)
            if one.path in silent or one.path in course.gradients or any(view.ndim > 1 for view in one.p.values())
        )


def _seen(stages: Sequence[Any], ctx: Context, x: Any, see: Callable[[LayerStage, Array], None]) -> Array:
    """Run layers by their specification, and let somebody see what each gives."""
    for stage in stages:
        if isinstance(stage, ContainerStage):
            ways = ((row, x.parts[name] if isinstance(x, ByName) else x) for name, row in stage.rows.items())
            x = stage.layer.join(ctx, [_seen(row, ctx, given, see) for row, given in ways])
        else:
            x, _ = stage.forward(ctx, x)
            see(stage, x)
    return x


def _kernels(plan: Plan) -> dict[str, list[Array]]:
    """Return copies of each layer's weights: what has two axes and more, no biases and scales."""
    learning = (one for one in leaf_stages(plan.layers) if not one.frozen)
    return {one.path: [np.array(w) for w, _ in _weights(plan, one)] for one in learning}


def _weights(plan: Plan, stage: LayerStage) -> Iterator[tuple[Array, Array]]:
    """Yield weights and gradients, on the host; of a matrix of which a step touches few rows those."""
    for name, view in stage.p.items():
        gradient: Any = stage.g[name]
        if view.ndim < 2:
            continue
        if isinstance(gradient, RowGradient):
            rows = gradient.rows
            yield plan.ops.to_host(view[rows]), plan.ops.to_host(gradient.array[rows])
        else:
            yield plan.ops.to_host(view), plan.ops.to_host(gradient)


def _lengths(plan: Plan) -> dict[str, float]:
    found = {}
    for one in leaf_stages(plan.layers):
        pairs = [] if one.frozen else list(_weights(plan, one))
        if size := _length([w for w, _ in pairs]):
            found[one.path] = _length([g for _, g in pairs]) / size
    return found


def _changes(plan: Plan, before: dict[str, list[Array]]) -> dict[str, float]:
    found = {}
    for path, now in _kernels(plan).items():
        if size := _length(before[path]):
            found[path] = _length([new - old for new, old in zip(now, before[path], strict=True)]) / size
    return found


def _length(arrays: Sequence[Array]) -> float:
    return math.sqrt(sum(float(np.square(array, dtype="float64").sum()) for array in arrays))
