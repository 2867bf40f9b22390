"""The contract of a strategy."""

import contextlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gedanken.by_name import ByName, each
from gedanken.checks import is_masked_array, require, short, whole
from gedanken.costs.heads import OfHead
from gedanken.data.batches import Batch, Source
from gedanken.engine.learner import Learner, Sharing
from gedanken.engine.plan import Plan
from gedanken.engine.tuning import Tuning
from gedanken.errors import ArgumentError
from gedanken.hyperparameters import Hyperparameters
from gedanken.layers.base import Context
from gedanken.layers.border import guarded, sealed
from gedanken.metrics import Metric
from gedanken.metrics.heads import HeadCost, cost_of_heads
from gedanken.ops import Ops
from gedanken.optimizer_state import OptimizerState
from gedanken.optimizers import Optimizer
from gedanken.parallel.black_box import examined
from gedanken.parallel.counting import Mean, counts_of, cut_weight, of_entries
from gedanken.parallel.fault import Fault
from gedanken.processors import usable_processors
from gedanken.ranks.together import Together
from gedanken.state import State, Stateful, restore_parts, state_of
from gedanken.types import Array

MOST_WORKERS = 1024
RUN = 1 << 14  # samples of a run, where a model learns from several mini-batches in one go: they stay in the caches


class TrainState(NamedTuple):
    """What there is to train: the same for every strategy."""

    plan: Plan
    optimizer_state: OptimizerState
    metrics: Sequence[Metric]

    def retune(self, tuning: Tuning, afresh: bool = True) -> None:
        """Let other layers learn from now on; all that was learnt stays.

        Where some learn that did not before, the moving means of all start `afresh`: a rule counts its steps for all
        numbers alike, and corrects by that count what the means have not seen yet.
        """
        before, state = self.plan.tuning, self.optimizer_state
        if afresh and any(tuning.of_array(name) and not before.of_array(name) for name in self.plan.gradients()):
            state.start_afresh(state.updates)
        self.plan.retune(tuning)
        state.retune(self.plan.updated(state.optimizer))

    def measured(
        self, outputs: Any, target: Any, weight: Array | None = None, counted: Any = None
    ) -> tuple[Array, ...]:
        """Return the statistics of all metrics, which stay on the device.

        Args:
            outputs, target, weight: of samples, or of entries of samples; of heads by name.
            counted: the entries that count, as of Weighing: metrics see no others.
        """
        if not self.metrics:
            return ()
        if isinstance(outputs, ByName):
            return tuple(self._of_head(metric, outputs, target, weight, counted) for metric in self.metrics)
        if counted is not None:
            outputs, target, weight = of_entries(outputs, target, weight, counted)
        lent = self.plan.ops, *map(sealed, (outputs, target, *(() if weight is None else (weight,))))
        return tuple(measured(metric, *lent) for metric in self.metrics)

    def _of_head(self, metric: Any, outputs: ByName, target: ByName, weight: Array | None, counted: Any) -> Array:
        """Return the statistics of a HeadMetric or HeadCost."""
        part: OfHead = counted[metric.head]
        if isinstance(metric, HeadCost):
            return metric.measure(self.plan.ops, part.cost, part.samples)
        alone = self._replace(metrics=(metric.metric,))
        return alone.measured(outputs.parts[metric.head], target.parts[metric.head], weight, part.counted)[0]

    @property
    def nbytes(self) -> int:
        """Memory that a training takes beside the plan: the optimizer's slots and a copy of parameters and state."""
        vectors = (*self.optimizer_state.slots.values(), self.plan.params, self.plan.layer_state)
        return int(sum(vector.nbytes for vector in vectors))


class StepResult(NamedTuple):
    """What one step tells.

    Args:
        samples: of the mini-batch.
        share: of the epoch that is done with it, in (0, 1].
        cost: their cost, a number of the host or the device.
        statistics: of each metric, on the host or the device.
        fault: what of the step was not finite; None for a sound step. Nothing of a step with a fault is kept:
            parameters, optimizer and state stay as they were before it.
        batches: how many mini-batches it was, one update after the other; 1 but for workers, who tell of some at once.
        counts: the samples that the cost counts for, see `Weighing.samples`; None: all of them.
    """

    samples: int
    share: float
    cost: Any
    statistics: tuple[Array, ...]
    fault: Fault | None = None
    batches: int = 1
    counts: float | None = None

    def read(self, ops: Ops) -> "StepResult":
        """Return it with values of the host, which waits for a device that still computes."""
        if ops.xp is np:
            return self
        return self._replace(cost=float(self.cost), statistics=tuple(map(ops.to_host, self.statistics)))


Results: TypeAlias = Generator[StepResult, None, None]
# Takes what TrainState.measured takes of a mini-batch, and returns the statistics of metrics.
Measure: TypeAlias = Callable[[Any, Any, Array | None, Any], tuple[Array, ...]]


def together(
    results: Sequence[StepResult], metrics: Sequence[Metric], statistics: tuple[Array, ...], sums: bool
) -> StepResult:
    """Return steps that were made one after the other as one, with these statistics of all.

    Args:
        results: what they tell.
        metrics: the network's.
        statistics: of each metric for all of them.
        sums: whether costs add up, see `Cost.sums`.
    """
    cost = Mean(sums)
    for result in results:
        cost.add(float(result.cost), counts_of(result))
    samples, batches = (sum(getattr(result, name) for result in results) for name in ("samples", "batches"))
    measured = zip(metrics, (partial(np.asarray, one) for one in statistics), strict=True)
    last, of_heads = results[-1], cost_of_heads(measured)
    mean = cost.value if of_heads is None else of_heads
    return StepResult(samples, last.share, mean, statistics, last.fault, batches, cost.counts)


def merged(metrics: Sequence[Metric], statistics: Sequence[tuple[Array, ...]]) -> tuple[Array, ...]:
    """Return statistics of metrics that were measured one after the other as one."""
    return tuple(
        reduce(metric.merge, parts) for metric, parts in zip(metrics, zip(*statistics, strict=True), strict=True)
    )


def gradients(
    train_state: TrainState,
    batch: Batch,
    epoch: int,
    measure: Measure | None = None,
    together: Together | None = None,
) -> StepResult:
    """Fill the plan's gradients with those of one mini-batch: the part of a step that every strategy has.

    Args:
        train_state: what learns.
        batch: the mini-batch, or a rank's share of it.
        epoch: epochs finished before.
        measure: in place of `TrainState.measured`.
        together: of a share, see Context: the gradients are this rank's part of the whole mini-batch's.
    """
    plan = train_state.plan
    ctx = plan.context(train=True, epoch=epoch, position=batch.position)
    ctx = replace(ctx, together=together) if together else ctx
    result = run_batch(train_state, batch, ctx, measure)
    # The cost is read here, since nothing may be learnt from a step whose cost is not finite.
    result = result._replace(cost=float(result.cost))
    if not math.isfinite(result.cost):
        return result._replace(fault=Fault(f"the cost became {result.cost}"))
    if plan.layer_state.size and not plan.ops.finite(plan.layer_state):
        finite = plan.ops.finite
        wrong = next((one.name for one in plan.layers if not all(map(finite, one.s.values()))), "the layers")
        return result._replace(fault=Fault(f"a running mean or variance of {wrong} was no longer finite"))
    return result


def run_batch(train_state: TrainState, batch: Batch, ctx: Context, measure: Measure | None = None) -> StepResult:
    """Run one mini-batch and return its cost and the statistics of its metrics, which stay on the device."""
    ops = train_state.plan.ops
    target = each(lambda one: ops.asarray(one, one.dtype), batch.target)
    weight = None if batch.weight is None else ops.asarray(batch.weight)
    x, target = train_state.plan.cut(batch.x, target)
    weight = cut_weight(weight, target)
    outputs, cost, weighing = train_state.plan.cost_and_gradients(ctx, x, target, weight)
    statistics = (measure or train_state.measured)(outputs, target, weight, weighing.counted)
    return StepResult(len(batch.x), batch.share, cost, statistics, counts=weighing.samples)


def learn_run(
    train_state: TrainState,
    learner: Learner,
    batch: Batch,
    size: int,
    sharing: Sharing | None = None,
    meeting: tuple[int, Callable[[int], None]] | None = None,
) -> tuple[StepResult, int]:
    """Learn from mini-batches of `size` samples that are given as one, up to one whose cost is not finite.

    Args:
        train_state, learner: what learns.
        batch: all samples.
        size: samples of a mini-batch; the last one may have fewer.
        sharing: with other workers.
        meeting: a number of samples, whole mini-batches, and what is done after each so many; it is told how many
            mini-batches were learnt from.

    Returns:
        what they tell, and how many numbers met another worker's.
    """
    optimizer_state, plan = train_state.optimizer_state, train_state.plan
    count = math.ceil(len(batch.x) / size)
    rates, every = optimizer_state.rates(count), meeting[0] if meeting else count * size
    scores, done, collisions = list[Array](), 0, 0
    for first in range(0, len(batch.x), every):
        part, own = slice(first, first + every), rates[first // size : (first + every) // size]
        learnt = learner.learn(batch.x[part], batch.target[part], size, own, sharing)
        scores.append(learnt.scores[: learnt.batches * size])
        done, collisions = done + learnt.batches, collisions + learnt.collisions
        if meeting:
            meeting[1](learnt.batches)
        if learnt.batches < len(own):
            break
    optimizer_state.step += done
    samples = min(done * size, len(batch.x))
    fault = None
    if done < count:
        wrong = batch.part(max(done - 1, 0) * size, (done + 1) * size)  # or the one before it wrote what is not finite
        fault = examined(Fault("the cost became not finite"), plan, optimizer_state, wrong, epoch=0)
    if not samples:
        return run_batch(train_state, batch.part(0, size), plan.context(train=False))._replace(fault=fault), collisions
    target = batch.target[:samples]
    outputs, cost, weighing = plan.judged(np.concatenate(scores), target)
    statistics = train_state.measured(outputs, target)
    return StepResult(samples, batch.share, float(cost), statistics, fault, done, weighing.samples), collisions


def learner_of(plan: Plan, optimizer: Optimizer, mini_batch_size: int, weighted: bool) -> Learner | None:
    """Return what learns from many mini-batches of this size in one go, or None; of a size 0 nothing does.

    None of them knows samples that are `weighted`.
    """
    learner = None if weighted else plan.learner(optimizer)
    return learner if learner and mini_batch_size and learner.takes(mini_batch_size) else None


def measured(metric: Metric, *lent: Any) -> Array:
    """Return a metric's statistics of a mini-batch as an array: lists would be joined where arrays are added."""
    found: Any = guarded(metric.name, "outputs and labels", metric.measure, *lent)
    with contextlib.suppress(TypeError, ValueError):  # ValueError: of lists that are no array
        array = found if hasattr(found, "dtype") else np.asarray(found)
        if array.dtype.kind in "biuf" and not is_masked_array(array):
            return array if hasattr(found, "dtype") else array.astype("float64")
    rule = "must return an array or numbers, real ones"
    raise ArgumentError(f"{type(metric).__name__}.measure {rule}, got {short(found)}")


class Parallel(ABC):
    """What `fit(parallel=...)` takes: the description of a strategy, which may be used again."""

    @abstractmethod
    def strategy(self, recipe: Any) -> "Strategy":
        """Return what trains a network in this way, once.

        Args:
            recipe: a Recipe.
        """


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ByWorkers(Hyperparameters, Parallel):
    """A description with a number of workers.

    Args:
        workers: how many, 1 to 1,024; "auto" is one for each processor that this process may use.
    """

    workers: int | str = "auto"

    def __post_init__(self) -> None:
        if not (isinstance(self.workers, str) and self.workers == "auto"):
            rule = f'be a whole number from 1 to {MOST_WORKERS:,}, or "auto"'
            require(not isinstance(self.workers, str), "workers", rule, self.workers)
            whole("workers", self.workers, at_most=MOST_WORKERS)

    @property
    def count(self) -> int:
        """How many workers there will be."""
        return usable_processors() if isinstance(self.workers, str) else self.workers


class Strategy(ABC):
    """How steps are computed. After `sync` the plan holds the parameters reached, wherever they were computed.

    It draws mini-batches itself, since those who compute may be several. The training loop only sees results, in any
    order, and ends an epoch early by closing the iterator.
    """

    train_state: TrainState  # what is trained, from `start` on
    exact = True  # whether the same training gives the same bytes
    forgives = True  # whether it can go on after a step with a fault
    in_plan = True  # whether the plan holds parameters and state after each step, not only after `show` or `sync`

    @abstractmethod
    def start(self, train_state: TrainState) -> None:
        """Get ready; called once before the first step."""

    @abstractmethod
    def steps(self, source: Source, epoch: int, start: int = 0) -> Results:
        """Learn from the mini-batches of epoch number `epoch`, counted from 0, and yield what each step tells.

        The first `start` mini-batches are left out: they were learnt from before.

        Nothing is learnt from a mini-batch where something is not finite: see StepResult.
        """

    def show(self) -> None:  # noqa: B027 - one process has nothing to bring
        """Let the plan hold the parameters that are reached now, to be saved; called between two steps."""

    @abstractmethod
    def sync(self) -> str:
        """Bring all that was learnt into the plan; called at the end of each epoch.

        Returns:
            what was not finite and so was left out, as Fault.what; or "".
        """

    @abstractmethod
    def settle(self) -> str:
        """See after the last step, and the last `sync`, whether what was learnt is of use; a fault is undone.

        Returns:
            what was wrong, as Fault.what; or "".
        """

    def useful(self) -> bool:
        """Say whether the weights that the plan has now give a finite cost; called after a step with a fault."""
        return True

    def roll_back(self) -> None:  # noqa: B027 - only one that forgives is asked
        """Go back to the last copy of the weights that is known to be of use; called after a step with a fault."""

    def report(self) -> Mapping[str, Any] | None:
        """Return how the work of the last epoch was shared, or None where nobody shared it.

        The entry `workers` is a text, who shared it, which is shown once; `course`, which may be missing, one that is
        shown after each epoch. All others are the strategy's own.
        """
        return None

    def state(self) -> State:
        """Return what a training needs to go on from here; asked between two steps, after `start`.

        A strategy whose workers hold parts of it brings them together.
        """
        return state_of(self._parts())

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where another training was, after `start`; a CheckpointError changes nothing."""
        restore_parts("the strategy", self._parts(), state)

    def _parts(self) -> dict[str, Stateful]:
        return {"plan": self.train_state.plan, "optimizer": self.train_state.optimizer_state}

    @abstractmethod
    def stop(self) -> None:
        """Free whatever `start` took; called once, also after an error."""
