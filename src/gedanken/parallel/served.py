"""What a rank does that learns from shards: its copy of the weights, what it gathers, pushes and fetches."""

import contextlib
import json
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple

import numpy as np

from gedanken.data.batches import ArraySource, Batch, Source
from gedanken.optimizers import AdaGrad
from gedanken.parallel.base import StepResult, TrainState, gradients
from gedanken.parallel.black_box import examined
from gedanken.parallel.counting import counts_of
from gedanken.parallel.fault import Fault, Figures
from gedanken.parallel.replica import Replica
from gedanken.parallel.shards import PARAMS, SQUARES, Shards
from gedanken.parallel.told import Told
from gedanken.ranks.communicator import Communicator
from gedanken.types import Array


class Course(NamedTuple):
    """What one rank did in an epoch.

    Args:
        batches: mini-batches that it learnt from.
        pushes: how often it pushed.
        stale: how many pushes of others came between a reading of the weights and the push of what was learnt from
            them, added up over its pushes.
        stalest: and the most of them.
    """

    batches: int = 0
    pushes: int = 0
    stale: int = 0
    stalest: int = 0


class Served(Replica):
    """A copy that learns by itself, and the part of the parameters that this rank has for all.

    Args:
        train_state: what is trained.
        ranks: who has the other copies.
        push, fetch: as of ParameterServer.

    Attributes:
        shards: where the parameters are during an epoch; else None, and the plan has them.
        fault: what was not finite in the epoch.
        courses: what each rank did in the last epoch.
        others: mini-batches of other ranks that are in the parameters, as far as this one knows.
        keep: is given the state of layers as it was before a pass whose cost was finite.
    """

    shards: Shards | None = None
    fault: Fault | None = None
    keep: Callable[[Array], None] | None = None

    def __init__(self, train_state: TrainState, ranks: Communicator, push: int, fetch: int) -> None:
        super().__init__(train_state, ranks)
        self._push_every, self._fetch_every = push, fetch
        self.told = f"which push after {push} mini-batches of each and fetch after {fetch}"
        self.courses = list[Course]()
        optimizer_state = train_state.optimizer_state
        assert isinstance(optimizer_state.optimizer, AdaGrad)
        self._rule = optimizer_state.optimizer
        self._vectors = {SQUARES: optimizer_state.slots["squares"], PARAMS: train_state.plan.params}

    def open(self) -> None:
        """Hand the weights out, which are the same on all ranks; every rank calls it."""
        optimizer_state = self.train_state.optimizer_state
        if self.ranks.rank:
            optimizer_state.discard()  # what rank 0 has gathered is not learnt from by others too
        self.shards = Shards(self.ranks, self._vectors, optimizer_state.plateau.factor)
        self._held = {kind: vector.copy() for kind, vector in self._vectors.items()}  # as the shards had it
        self.fault, self._course = None, Course()
        self._base = self._counted = optimizer_state.step  # updates before the epoch, and with those that were pushed
        self._pushed = 0  # mini-batches
        self.others = self._seen = 0  # mini-batches of others, and their pushes in the weights that are here

    def pieces(self, source: Source, epoch: int, start: int) -> Generator[Batch, None, None]:
        """Yield this rank's mini-batches."""
        rank, size = self.ranks.rank, self.ranks.size
        if isinstance(source, ArraySource):
            for number in range(start + rank, source.steps, size):
                yield source.run(epoch, number, 1)
            return
        with contextlib.closing(source.batches(epoch, start)) as batches:
            for number, batch in enumerate(batches):
                if number % size == rank:
                    yield batch

    def tell(self, piece: Batch, epoch: int) -> Told:
        """Learn from a mini-batch, and push and fetch where it is time; of what is not finite nothing is learnt."""
        plan, optimizer_state = self.train_state.plan, self.train_state.optimizer_state
        before = plan.layer_state.copy()
        result = gradients(self.train_state, piece, epoch)
        fault = result.fault
        if not fault:
            if self.keep:
                self.keep(before)
            refused = optimizer_state.apply(plan.params, plan.grads, counts_of(result))
            fault = Fault(refused) if refused else None
        if fault:
            plan.layer_state[...] = before
            self.fault = examined(fault, plan, optimizer_state, piece, epoch)
            return Told(fault=fault.what)
        self._samples += result.samples
        self._course = self._course._replace(batches=self._course.batches + 1)
        pushes, fetches = (self._course.batches % every == 0 for every in (self._push_every, self._fetch_every))
        if pushes:
            self.push()
        if fetches:
            self.fetch(PARAMS if pushes else None)
        return Told().of(result)

    def push(self) -> None:
        """Add to the shards what this rank has changed since its last push.

        Its steps were divided by roots of the sums that it knew; they become as short as those of all make them now.
        """
        assert self.shards
        params, squares = self._vectors[PARAMS], self._vectors[SQUARES]
        new, known = squares - self._held[SQUARES], self._root(squares)
        self.shards.read(SQUARES, self._held[SQUARES])
        self._held[SQUARES] += new
        squares[...] = self._held[SQUARES]
        change = (params - self._held[PARAMS]) * (known / self._root(squares))
        self._held[PARAMS] += change
        params[...] = self._held[PARAMS]
        self.shards.add(SQUARES, new)
        self.shards.add(PARAMS, change)
        step, done = self.train_state.optimizer_state.step, self._course
        before = self.shards.count(step - self._counted, done.batches - self._pushed)
        self._counted, self._pushed = step, done.batches
        stale = before - done.pushes - self._seen
        worst = max(done.stalest, stale)
        self._course = done._replace(pushes=done.pushes + 1, stale=done.stale + stale, stalest=worst)

    def _root(self, squares: Array) -> Array:
        """Return what AdaGrad divides by."""
        root: Array = np.sqrt(squares + self._rule.start) + self._rule.epsilon
        return root

    def fetch(self, only: int | None = None) -> None:
        """Become what the shards have, and what this rank has changed since its last push.

        Args:
            only: which vector is read; None: both. A push has just read SQUARES.
        """
        optimizer_state = self.train_state.optimizer_state
        assert self.shards
        head = self.shards.head
        for kind, vector in self._vectors.items():
            if only is None or kind == only:
                own = vector - self._held[kind]
                self.shards.read(kind, self._held[kind])
                vector[...] = self._held[kind] + own
        new, self._counted = optimizer_state.step - self._counted, self._base + head.updates
        optimizer_state.step = self._counted + new
        if self.ranks.rank:
            optimizer_state.plateau = optimizer_state.plateau._replace(factor=head.factor)
        self._seen, self.others = head.version - self._course.pushes, head.batches - self._pushed

    def stop(self) -> None:
        """Ask all ranks to end the epoch."""
        if self.shards:
            self.shards.stop()

    def finish(self, told: Told) -> list[Told]:
        """Push the rest and, when all ranks have, bring everything home; return what each tells of its mini-batches."""
        optimizer_state = self.train_state.optimizer_state
        refused = optimizer_state.flush(self.train_state.plan.params)
        self.fault = self.fault or (Fault(refused) if refused else None)
        if optimizer_state.step > self._counted or self._course.batches > self._pushed:
            self.push()
        if self.fault:
            self.stop()
        every = [Told.unpacked(content) for content in self.ranks.gather(told.packed())]
        given = json.dumps([self._course, self.fault and self.fault._asdict()]).encode()
        accounts = [json.loads(one) for one in self.ranks.gather(given)]
        self.courses = [Course(*one) for one, _ in accounts]
        self.fault = next((_fault(entries) for _, entries in accounts if entries), None)
        self.learn(None, every)
        return every

    def learn(self, piece: Batch | None, every: Sequence[Told]) -> StepResult:
        """Become what all have learnt, at the end of an epoch; return what ranks other than 0 tell."""
        plan, optimizer_state = self.train_state.plan, self.train_state.optimizer_state
        assert self.shards
        self.fetch()
        self.shards.close()
        self.shards = None
        for kind, vector in self._vectors.items():
            vector[...] = self._held[kind]  # the same bits on all ranks
        optimizer_state.keep_simplexes(plan.params)  # the additions of several may lead away from it
        if total := sum(one.batches for one in self.courses):
            plan.layer_state *= self._course.batches / total
            self.ranks.add(plan.layer_state)
        self.end()
        return self.together(every[1:], 1.0)

    def go_on(self, left: Communicator) -> None:
        super().go_on(left)
        self.shards = None  # those of one who is lost are lost

    def report(self) -> dict[str, Any]:
        """Return what all ranks did in the last epoch; see docs/distributed.md."""
        pushes = [one.pushes for one in self.courses]
        stalest = max((one.stalest for one in self.courses), default=0)
        mean, told = sum(one.stale for one in self.courses) / max(sum(pushes), 1), super().report()
        course = f"{told['course']}  {mean:.2g} pushes stale, {stalest} at most"
        return {**told, "course": course, "pushes": pushes, "mean_staleness": mean, "max_staleness": stalest}

    def seen(self, piece: Batch) -> Batch:
        return piece

    def blamed(self, piece: Batch, every: Sequence[Told]) -> Batch:
        return piece


def _fault(entries: dict[str, Any]) -> Fault:
    """Return a fault that was sent."""
    given = entries["input"]
    return Fault(**{**entries, "samples": tuple(entries["samples"]), "input": given and Figures(*given)})
