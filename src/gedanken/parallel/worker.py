"""One worker of a parallel training without locks: it learns from the mini-batches of an order, and says what it did.

Threads and processes run the same code. The parameters are shared; gradients, the optimizer's memory and the running
means of layers are each worker's own, since moments that all of them change cost accuracy.
"""

import contextlib
import importlib
import os
import struct
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np

from gedanken.by_name import ByName
from gedanken.data.batches import Batch
from gedanken.engine.learner import Learner, Sharing
from gedanken.parallel.base import RUN, StepResult, TrainState, gradients, learn_run, learner_of, merged, together
from gedanken.parallel.black_box import examined
from gedanken.parallel.block import BEFORE, DONE, GENERATION, ORDER, STEP, UPDATES, WRITING, Block
from gedanken.parallel.counting import counts_of, of_entries
from gedanken.parallel.fault import Fault
from gedanken.parallel.feeds import Feed
from gedanken.parallel.recipe import Recipe
from gedanken.parallel.tally import Tally
from gedanken.processes.raised import Sent, pack_error
from gedanken.processes.uncut import UNCUT
from gedanken.schedules import Plateau
from gedanken.types import Array

ORDERS = struct.Struct("<QQQQQ")
COPIED = 1 << 18  # parameters up to which workers with runs have a copy each
MEETING = 1 << 12  # samples after which a copy is brought together with what all share
LOOKED_AT = 1 << 16  # samples that say how much each parameter is learnt from
UNMEASURED = 1 << 16  # numbers of outputs that are kept until metrics see them
SAMPLED = 256  # updates between two of which it is counted how many of their additions get lost
SAMPLED_RUNS = 64  # the same, in runs of many mini-batches


class Order(NamedTuple):
    """Mini-batches that a worker is to learn from.

    Args:
        generation: of the epoch; orders of older ones are dropped.
        number: counts all orders, from 1 on; 0 lets the worker end.
        epoch: counted from 0.
        first, length: which mini-batches, by numbers of the feed's.
    """

    generation: int
    number: int
    epoch: int
    first: int
    length: int

    def packed(self) -> bytes:
        """Return it as a record of `ORDERS.size` bytes."""
        return ORDERS.pack(*self)


class Work(NamedTuple):
    """What a worker did.

    Args:
        worker, order: numbers of the worker and of its order; an order of 0 says that it is ready, or failed to be.
        result: of its mini-batches together; None if it learnt from none.
        seconds: that it took.
        tally: how its updates met those of others.
        error: what was raised.
        warning: what the user's code warned of.
    """

    worker: int
    order: int
    result: StepResult | None = None
    seconds: float = 0.0
    tally: Tally | None = None
    error: Sent | None = None
    warning: Warning | None = None


class Worker:
    """One worker.

    Args:
        number: its place among the workers.
        recipe: of the network.
        block: the shared memory.
        feed: where the mini-batches are.
        update: as of Hogwild.
        lock: for "locked".
    """

    def __init__(
        self,
        number: int,
        recipe: Recipe,
        block: Block,
        feed: Feed,
        update: str,
        lock: AbstractContextManager[Any],
    ) -> None:
        self.number, self._block, self._feed = number, block, feed
        self._lock = lock if update == "locked" else contextlib.nullcontext()
        self._cells = block.cells[number]
        places = {"layer_state": block.layer_states[number]}
        if update != "atomic":
            places["params"] = block.params
        self._train_state = recipe.train_state(lambda name, _: places.get(name))
        self._learner = learner_of(self._train_state.plan, recipe.optimizer, feed.mini_batch_size, feed.weighted)
        several, small = block.layout.workers > 1, block.params.size <= COPIED
        racy = self._learner is not None and update == "racy" and several
        curvature = self._learner.curvature(feed.some(LOOKED_AT)) if self._learner and racy and small else None
        self._meets = curvature is not None
        self._samples_runs = racy and not self._meets
        if self._learner and (update == "atomic" or self._meets):
            places = {"layer_state": block.layer_states[number]}
            if not self._meets:  # its kernel adds to what all share
                places["params"] = block.params
            self._train_state = recipe.train_state(lambda name, _: places.get(name))
            self._learner = self._train_state.plan.learner(recipe.optimizer)
        self._optimizer = self._train_state.optimizer_state
        self._optimizer.slots = dict(block.slots[number])
        self._merger = merger(str(block.params.dtype))
        self._atomic, self._update, self._runs = update == "atomic", update, 0
        self._seen = block.params.copy()  # the parameters as they were read
        if self._meets:
            self._train_state.plan.params[...] = self._seen
        if curvature is not None:
            self._weights = _Weights(curvature, block.layout.workers, block.params.dtype)
        self._tally = Tally()
        self._sums = recipe.cost.sums

    def prepare(self) -> None:
        """Get ready, in the thread that will compute, kernels included: they may have to be compiled."""
        if not self._learner:
            self._train_state.plan.step_bytes(self._feed.most)
        if self._merger:
            self._merger.flush_denormals()

    def do(self, order: Order) -> Work:
        """Learn from the mini-batches of an order, as long as it is wanted."""
        began = time.perf_counter()
        self._cells[DONE], self._cells[ORDER] = 0, order.number
        self._optimizer.step = self._cells[STEP]
        self._optimizer.plateau = Plateau(factor=self._block.factor)
        with np.errstate(all="ignore"):
            result = self._learn_runs(order, self._learner) if self._learner else self._learn_each(order)
            if result and not result.fault:
                refused = self._write(self._optimizer.flush)
                result = result._replace(fault=Fault(refused) if refused else None)
        self._cells[ORDER] = 0
        tally, self._tally = self._tally, Tally()
        return Work(self.number, order.number, result, time.perf_counter() - began, tally)

    def _learn_each(self, order: Order) -> StepResult | None:
        """Learn from one mini-batch after the other."""
        results, unmeasured = list[StepResult](), _Unmeasured(self._train_state)
        for batch in self._feed.batches(order.epoch, order.first, order.length):
            if self._block.head[GENERATION] != order.generation:
                break
            results.append(self._learn(batch, order.epoch, unmeasured))
            self._cells[DONE] = len(results)
            if results[-1].fault:
                break
        if not results:
            return None
        return together(results, self._train_state.metrics, unmeasured.statistics(), self._sums)

    def _learn_runs(self, order: Order, learner: Learner) -> StepResult | None:
        """Learn from many mini-batches in one go."""
        results, most = list[StepResult](), max(1, RUN // self._feed.mini_batch_size)
        if self._meets:
            self._meet(0)
        for done in range(0, order.length, most):
            if self._block.head[GENERATION] != order.generation:
                break
            count = min(most, order.length - done)
            batch = self._feed.run(order.epoch, order.first + done, count)
            results.append(self._learn_run(batch, learner))
            self._cells[DONE] = done + count
            if results[-1].fault:
                break
        if not results:
            return None
        metrics = self._train_state.metrics
        return together(results, metrics, merged(metrics, [one.statistics for one in results]), self._sums)

    def _learn_run(self, batch: Batch, learner: Learner) -> StepResult:
        """Learn from the mini-batches of a run; every 64th run shows how many additions get lost."""
        block, cells, size = self._block, self._cells, self._feed.mini_batch_size
        sampled = self._samples_runs and self._runs % SAMPLED_RUNS == 0
        self._runs += 1
        sharing = Sharing("atomic" if sampled else self._update, self.number + 1, block.lock, block.each)
        read, _ = block.others(self.number)
        self._optimizer.before = block.head[BEFORE] + read + cells[UPDATES] - self._optimizer.step
        cells[WRITING] = 1
        meeting = (max(1, MEETING // size) * size, self._meet) if self._meets else None
        result, collisions = learn_run(self._train_state, learner, batch, size, sharing, meeting)
        cells[WRITING] = 0
        made, _ = block.others(self.number)
        learnt = self._optimizer.step - cells[STEP]
        cells[UPDATES] += learnt
        cells[STEP] = self._optimizer.step
        self._tally.stale(round((made - read) / max(learnt, 1)), learnt)
        self._tally.conflicts += learnt if made != read else 0
        if sampled:
            self._tally.sampled += learner.written(batch.x)
            self._tally.lost += collisions
        return self._in_here(result)

    def _meet(self, updates: int) -> None:
        """Bring this worker's copy of the parameters together with what all share, after so many updates of its own."""
        weights = self._weights.at(self._optimizer.rate, updates)
        self._merger.meet(self._block.params, self._train_state.plan.params, self._seen, weights)

    def _learn(self, batch: Batch, epoch: int, unmeasured: "_Unmeasured") -> StepResult:
        """Learn from one mini-batch, or leave everything as it was."""
        plan, block = self._train_state.plan, self._block
        if self._atomic:
            self._seen[...] = block.params
            plan.params[...] = self._seen
        read, _ = block.others(self.number)
        before = plan.layer_state.copy()
        result = gradients(self._train_state, batch, epoch, unmeasured.add)
        fault = result.fault
        refused = "" if fault else self._fault_of_gradients()
        if not (fault or refused):
            made, _ = block.others(self.number)
            self._tally.stale(made - read)
            self._optimizer.before = block.head[BEFORE] + made + self._cells[UPDATES] - self._optimizer.step
            refused = self._write(lambda p: self._optimizer.apply(p, plan.grads, counts_of(result)))
        if not (fault or refused):
            return result
        plan.layer_state[...] = before
        fault = examined(fault or Fault(refused), plan, self._optimizer, batch, epoch)
        return self._in_here(result._replace(fault=fault))

    def _in_here(self, result: StepResult) -> StepResult:
        """Return what a step tells with who made it, where it was wrong."""
        fault = result.fault
        return result._replace(fault=fault._replace(what=f"{fault.what} in worker {self.number}")) if fault else result

    def _write(self, update: Callable[[Array], str]) -> str:
        """Let the optimizer change the shared parameters; return what it says is wrong."""
        block, cells, steps = self._block, self._cells, self._optimizer.step
        with self._lock:
            made, busy = block.others(self.number)
            cells[WRITING] = 1
            if self._atomic:
                fault = update(self._train_state.plan.params)
                if self._optimizer.step != steps:
                    self._merger.add(block.params, self._seen, self._train_state.plan.params)
            elif self._merger and cells[UPDATES] % SAMPLED == SAMPLED - 1:
                fault = self._sampled(update)
            else:
                fault = update(block.params)
            cells[WRITING] = 0
            now, still = block.others(self.number)
        if self._optimizer.step != steps:
            cells[UPDATES] += 1
            cells[STEP] = self._optimizer.step
            self._tally.conflicts += busy or still or now != made
        return fault

    def _sampled(self, update: Callable[[Array], str]) -> str:
        """Write in a way that shows how many additions get lost, several times slower."""
        self._seen[...] = self._block.params
        after, steps = self._seen.copy(), self._optimizer.step
        fault = update(after)
        if self._optimizer.step != steps:
            self._tally.sampled += after.size
            self._tally.lost += self._merger.collisions(self._block.params, self._seen, after)
        return fault

    def _fault_of_gradients(self) -> str:
        """Say which layer's gradient is not finite, if any is: it must not come into parameters that all share."""
        plan = self._train_state.plan
        if self._optimizer.finite(plan.grads):
            return ""
        wrong = next((name for name, g in plan.gradients().items() if not np.isfinite(g).all()), "the layers")
        return f"the gradient of {wrong} became not finite"


class _Unmeasured:
    """Outputs of mini-batches that metrics have not seen: many together take a metric hardly longer than one."""

    def __init__(self, train_state: TrainState) -> None:
        self._train_state = train_state
        self._held, self._size = list[tuple[Array, Array, Array | None]](), 0
        self._statistics: list[tuple[Array, ...]] = []

    def add(self, outputs: Any, target: Any, weight: Array | None, counted: Any) -> tuple[()]:
        """Keep those of a mini-batch; targets and weights have to stay what they are."""
        if isinstance(outputs, ByName):
            self._statistics.append(self._train_state.measured(outputs, target, weight, counted))
            return ()
        if self._train_state.metrics:
            taken = (outputs, target, weight) if counted is None else of_entries(outputs, target, weight, counted)
            self._held.append((taken[0].copy(), *taken[1:]))
            self._size += outputs.size
        if self._size > UNMEASURED:
            self._measure()
        return ()

    def statistics(self) -> tuple[Array, ...]:
        """Return the metrics' statistics of all that were added."""
        if self._held:
            self._measure()
        return merged(self._train_state.metrics, self._statistics)

    def _measure(self) -> None:
        outputs, targets, given = zip(*self._held, strict=True)
        weights = None if given[0] is None else np.concatenate(given)
        self._held, self._size = [], 0
        self._statistics.append(self._train_state.measured(np.concatenate(outputs), np.concatenate(targets), weights))


class _Weights:
    """What a change of a worker's copy counts when it meets those of others.

    From the same start, with a cost of curvature h, a worker's m updates at a rate r cover the share 1 - exp(-c) of the
    way to where its samples pull a parameter, c = r m h, and all n workers together should cover 1 - exp(-n c). So of
    each change counts

        (1 - exp(-n c)) / (n (1 - exp(-c)))

    which is 1 for what few samples have, and 1 / n for what each worker has learnt to the end by itself.
    """

    def __init__(self, curvature: Array, workers: int, dtype: Any) -> None:
        self._curvature, self._workers, self._dtype = curvature, workers, dtype
        self._found: dict[int, tuple[float, Array]] = {}  # by the number of updates, a power of two

    def at(self, rate: float, updates: int) -> Array:
        """Return the weights for changes by so many updates, about: they depend little on rate and number."""
        near = 1 << max(0, updates - 1).bit_length()
        known, weights = self._found.get(near, (0.0, None))
        if weights is None or not 0.8 * rate < known < 1.25 * rate:
            covered = np.maximum(rate * near * self._curvature, 1e-9)
            exact = np.expm1(-self._workers * covered) / (self._workers * np.expm1(-covered))
            weights = exact.astype(self._dtype)
            self._found[near] = rate, weights
        return weights


def merger(dtype: str) -> Any:
    """Return a Merger, or None where there are no kernels."""
    try:
        with UNCUT:  # a fork during an import would leave the module locked
            return importlib.import_module("gedanken.engine.cpu.merging").Merger(dtype)
    except (ImportError, OSError):
        return None


def serve(worker: Worker, orders: int, send: Callable[[Work], None]) -> None:
    """Do orders, one after the other, until there are no more."""
    while record := os.read(orders, ORDERS.size):
        order = Order._make(ORDERS.unpack(record))
        if not order.number:
            return
        try:
            work = worker.do(order)
        except BaseException as error:
            work = Work(worker.number, order.number, error=pack_error(error))
        send(work)
