"""The strategy of workers that share parameters and wait for nobody: what they start from, and what comes of it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from gedanken.checks import warn
from gedanken.data.batches import Source
from gedanken.engine.learner import OF_RUNS
from gedanken.errors import ArgumentError
from gedanken.parallel.base import Results, Strategy, TrainState, learner_of
from gedanken.parallel.block import BEFORE, STEP, UPDATES, Block, Layout
from gedanken.parallel.crew import Crew, Job, ProcessCrew, ThreadCrew
from gedanken.parallel.feeds import Feed, Orders, orders_of
from gedanken.parallel.manager import Care, Manager
from gedanken.parallel.recipe import Recipe
from gedanken.parallel.refuge import Refuge
from gedanken.parallel.tally import Tally
from gedanken.parallel.worker import Work
from gedanken.processes.memory import Descriptor, reserved_memory
from gedanken.processes.pickling import Pickled, pickle_for_workers
from gedanken.processes.possible import default_method, lock_free, no_socket, processes_possible
from gedanken.processes.refused import granted
from gedanken.state import State, Stateful


class Options(NamedTuple):
    """What the strategy is told; see Hogwild."""

    workers: int
    backend: str
    update: str
    schedule: str
    on_worker_loss: str
    start_method: str
    time_limit: float | None


class Asynchronous(Strategy):
    """One training: the owner of the workers.

    Args:
        options: as of Hogwild.
        recipe: of the network.
    """

    exact = in_plan = False
    forgives = False

    def __init__(self, options: Options, recipe: Recipe) -> None:
        self._options, self._recipe, self._workers = options, recipe.for_worker(), options.workers
        self._lines = options.workers if options.schedule == "static" else 1
        self._crew: Crew | None = None
        self._orders: Orders | None = None
        self._memory: Descriptor | None = None
        self._synced = True

    def start(self, train_state: TrainState) -> None:
        self.train_state, plan = train_state, train_state.plan
        train_state.optimizer_state.discard()
        self._refuge = Refuge(train_state)
        slots = tuple(train_state.optimizer_state.slots)
        sizes = plan.params.size, plan.layer_state.size
        learner = plan.learner(self._recipe.optimizer)
        rows = learner.rows + 1 if learner and self._options.update == "per-coordinate" else 0
        layout = Layout(self._workers, str(plan.ops.dtype), *sizes, slots, rows)
        self._memory = reserved_memory(layout.nbytes, f"the parameters and {self._workers} workers")
        self._block = Block(layout, self._memory)
        self.hand_out()

    def steps(self, source: Source, epoch: int, start: int = 0, stop: int | None = None) -> Results:
        orders = self._orders = self._orders or orders_of(source, self._workers, self._unit, self._sparse)
        orders.begin(epoch, start, stop)
        self._check_runs(orders)
        self._block.factor = self.train_state.optimizer_state.plateau.factor
        manager = self._manager_of(source, orders)
        self._begin_report(manager)
        self._synced = False
        try:
            for work in manager.epoch(orders, epoch):
                self._count(work)
                assert work.result
                if work.result.fault:
                    self._retreat(manager, orders)
                yield work.result._replace(share=self._share(source, work, orders.over and not manager.busy))
                self._require_owner()
                if work.result.fault:
                    return
                self._block.factor = self.train_state.optimizer_state.plateau.factor
        except GeneratorExit:  # the epoch is broken off; after an error, or Ctrl-C pressed twice, nobody waits
            self._break_off(manager, orders)
            raise
        finally:
            orders.end()

    def _break_off(self, manager: Manager, orders: Orders) -> None:
        for work in manager.break_off(orders):
            self._count(work)

    def _require_owner(self) -> None:
        """Raise WorkerError in a fork: it would take what workers answer to another process."""
        if self._crew:
            self._crew.require_owner()

    def _check_runs(self, orders: Orders) -> None:
        """Raise ArgumentError where only a Learner knows how to share, and there is none."""
        if self._options.update in OF_RUNS and not self._learns_in_runs(orders.feed):
            rule = "update must be 'racy', 'atomic' or 'locked' for this network"
            others = "only sparse models that learn in runs have the others (see docs/sparse.md)"
            raise ArgumentError(f"{rule}, got {self._options.update!r}; {others}")

    def _learns_in_runs(self, feed: Feed) -> bool:
        rule, size = self._recipe.optimizer, feed.mini_batch_size
        return learner_of(self.train_state.plan, rule, size, feed.weighted) is not None

    @property
    def _sparse(self) -> bool:
        return self.train_state.plan.takes_sparse

    @property
    def _unit(self) -> int:
        return self.train_state.optimizer_state.optimizer.accumulate

    # ------------------------------------------------------------------ workers

    def _manager_of(self, source: Source, orders: Orders) -> Manager:
        if self._crew is None:
            if source.steps is not None and source.steps < 2 * self._workers:
                epoch = f"an epoch of {source.steps} mini-batch{'es' if source.steps > 1 else ''}"
                warn(
                    f"{epoch} is short for {self._workers} workers: each learns from what the others knew long before; "
                    "choose fewer workers or a smaller mini_batch_size"
                )
            with granted(f"{self._workers} workers could not start"):
                self._crew = self._crew_for(Job(self._recipe, orders.feed, self._options.update))
            care = Care(self._options.on_worker_loss, self._options.time_limit)
            self._manager = Manager(self._crew, self._block, self._lines, care)
            for number in range(self._workers):
                self._crew.start(number)
            self.train_state.plan.step_bytes(source.mini_batch_size)  # kernels that workers then find on disk
        return self._manager

    def _crew_for(self, job: Job) -> Crew:
        method = default_method() if self._options.start_method == "auto" else self._options.start_method
        backend, reason, pickled = self._backend_for(job, method)
        kind = {"processes": ("process", "processes"), "threads": ("thread", "threads")}[backend][self._workers > 1]
        self._who = f"{self._workers} {kind}{f' ({method})' if backend == 'processes' else ''}: {reason}"
        if backend == "threads":
            return ThreadCrew(self._workers, self._lines, job, self._block)
        assert self._memory
        return ProcessCrew(self._workers, self._lines, job, pickled, self._block.layout, self._memory, method)

    def _backend_for(self, job: Job, method: str) -> tuple[str, str, Pickled | None]:
        """Return who works and why, and the job as processes are sent it."""
        asked = self._options.backend
        if asked == "threads":
            return asked, "as asked", None
        if asked == "auto" and lock_free():
            return "threads", "this Python has no lock", None
        pickled, obstacle = _sendable(job, method)
        if obstacle and asked == "processes":
            raise ArgumentError(f"backend must be 'threads' here, got 'processes'; {obstacle}")
        if obstacle:
            return "threads", f"no processes: {obstacle}", None
        return "processes", "as asked" if asked == "processes" else "Python runs one thread at a time", pickled

    # ------------------------------------------------------------------ what workers start from, and what comes of it

    def hand_out(self) -> None:
        """Let workers begin with what the network is now; none is at work."""
        block, optimizer = self._block, self.train_state.optimizer_state
        block.params[...] = self.train_state.plan.params
        block.factor, block.head[BEFORE] = optimizer.plateau.factor, optimizer.updates
        for cells, state, slots in zip(block.cells, block.layer_states, block.slots, strict=True):
            cells[UPDATES], cells[STEP] = 0, optimizer.step
            state[...] = self.train_state.plan.layer_state
            for name, slot in slots.items():
                slot[...] = optimizer.slots[name]
        self._counted = [0] * self._workers  # updates of each worker that are in the network's running means

    def _gather(self) -> None:
        """Bring what workers have learnt into the network.

        The parameters are all theirs; running means of layers become the mean over the workers, each weighted by its
        updates since the last time, and workers go on from that mean; the optimizer's slots the mean weighted by all.
        """
        block, plan, optimizer = self._block, self.train_state.plan, self.train_state.optimizer_state
        made = [cells[UPDATES] for cells in block.cells]
        plan.params[...] = block.params
        if not sum(made):
            return
        if self._workers > 1:  # the additions of several may lead away from it
            optimizer.keep_simplexes(plan.params)
        new = [now - before for now, before in zip(made, self._counted, strict=True)]
        if sum(new):
            plan.layer_state[...] = _mean(block.layer_states, new)
            for state in block.layer_states:
                state[...] = plan.layer_state
        for name, slot in optimizer.slots.items():
            slot[...] = _mean([slots[name] for slots in block.slots], made)
        optimizer.step = max(cells[STEP] for cells in block.cells)
        optimizer.before = block.head[BEFORE] + sum(made) - optimizer.step
        self._counted = made

    def state(self) -> State:
        if self._orders:  # what workers have done by now; they go on meanwhile
            self._gather()
        return super().state()

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        self.hand_out()

    def _parts(self) -> dict[str, Stateful]:
        return {**super()._parts(), "refuge": self._refuge}

    def show(self) -> None:
        self.train_state.plan.params[...] = self._block.params

    def sync(self) -> str:
        self._require_owner()
        self._gather()
        self._synced = True
        assert self._orders
        self._refuge.last = self._orders.sample()
        if self._refuge.useful(self._refuge.last):
            self._refuge.renew(self.train_state.plan.layer_state)
        return ""

    def settle(self) -> str:
        return self._refuge.settle()

    def useful(self) -> bool:
        return self._refuge.useful_now()

    def _retreat(self, manager: Manager, orders: Orders) -> None:
        """Go back to parameters of use, if those that are there are not: what was not finite is not in them."""
        self._break_off(manager, orders)
        self._gather()
        self._refuge.seek(orders.sample())
        self.hand_out()

    def stop(self) -> None:
        try:
            if not self._synced and self._crew and self._crew.owned:
                self._gather()
        finally:
            if self._crew:
                self._crew.close()
            for memory in (self._orders and self._orders.memory, self._memory):
                if memory:
                    memory.close()
            # What is mapped goes with the last array of it.
            self._crew = self._orders = self._memory = None
            self.__dict__.pop("_block", None)
            self.__dict__.pop("_manager", None)

    # ------------------------------------------------------------------ what is told

    def _begin_report(self, manager: Manager) -> None:
        self._seen = 0
        self._tallies = [Tally() for _ in range(self._workers)]
        self._samples, self._busy = [0] * self._workers, [0.0] * self._workers
        self._losses = len(manager.losses)

    def _count(self, work: Work) -> None:
        if work.tally and work.result:
            self._tallies[work.worker].add(work.tally)
            self._samples[work.worker] += work.result.samples
            self._busy[work.worker] += work.seconds
            self._seen += work.result.samples
            self.train_state.optimizer_state.step += work.tally.updates

    def _share(self, source: Source, work: Work, over: bool) -> float:
        """Return which part of the epoch is done with what a worker did."""
        assert work.result
        if over:
            return 1.0
        done = self._seen / source.samples if source.samples else work.result.share
        return min(done, 1 - 1e-9)

    def report(self) -> Mapping[str, Any]:
        """Return how the last epoch was shared; see `Hogwild`."""
        whole = Tally()
        for tally in self._tallies:
            whole.add(tally)
        updates = max(whole.updates, 1)
        speeds = [n / max(s, 1e-9) for n, s in zip(self._samples, self._busy, strict=True)]
        stale = sum(n * count for n, count in enumerate(whole.staleness)) / updates
        lost = whole.lost / whole.sampled if whole.sampled else None
        told = "" if lost is None else f"  {lost:.1g} of the additions lost"
        worked = [speed for speed, samples in zip(speeds, self._samples, strict=True) if samples]
        some = "" if len(worked) == self._workers else f" by {len(worked)} of {self._workers} workers"
        course = f"{', '.join(f'{speed:,.0f}' for speed in worked)} samples/s{some}"
        return {
            "workers": self._who,
            "course": f"{course}  {stale:.2g} updates stale{told}",
            "updates": [tally.updates for tally in self._tallies],
            "samples": list(self._samples),
            "samples_per_second": speeds,
            "staleness": whole.staleness,
            "mean_staleness": stale,
            "conflicts": whole.conflicts / updates,
            "lost": lost,
            "losses": self._manager.losses[self._losses :],
        }


def _mean(vectors: list[Any], weights: list[int]) -> Any:
    """Return the mean of vectors in their number type."""
    total = np.zeros(vectors[0].shape)
    for vector, weight in zip(vectors, weights, strict=True):
        if weight:
            total += vector * (weight / sum(weights))
    return total.astype(vectors[0].dtype)


def _sendable(job: Job, method: str) -> tuple[Pickled | None, str]:
    """Return the job as it is sent to processes, None where a fork inherits it, and why there can be no processes."""
    if obstacle := job.feed.obstacle or processes_possible() or (no_socket() if method == "forkserver" else ""):
        return None, obstacle
    try:
        return pickle_for_workers(job), ""
    except ArgumentError as error:
        return None, "" if method == "fork" else str(error)
