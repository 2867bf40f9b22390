"""A rank of a pipeline: it runs its stage for the micro-batches of each mini-batch, and updates its own layers.

Within an epoch a rank knows the newest weights of its own layers alone. Rank 0 has those of all where it asks for them
(`bring`), after a fault, and at the end of an epoch. All ranks have all mini-batches, so what travels is what goes from
layer to layer, and the gradients of that.
"""

import contextlib
import math
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gedanken.checks import require
from gedanken.data.batches import ArraySource, Batch, Source
from gedanken.data.order import shared_out
from gedanken.layers.stages import leaf_stages
from gedanken.parallel.base import StepResult, TrainState
from gedanken.parallel.cutting import check_cuts, measured_cuts, position, rows_between, units_of
from gedanken.parallel.fault import Fault
from gedanken.parallel.flow import Flow
from gedanken.parallel.own_layers import OwnLayers
from gedanken.parallel.pipeline_stage import Stage
from gedanken.parallel.replica import Replica
from gedanken.parallel.told import Told
from gedanken.ranks.communicator import Communicator, RankError
from gedanken.types import Array

STOP, GO, BRING = range(3)  # what rank 0 says before a mini-batch


class Whole(NamedTuple):
    """A mini-batch, of which each rank runs its layers.

    Args:
        samples: of it.
        done: share of the epoch that is done with it, in (0, 1].
        whole: returns it.
        part: returns share number `place` of `count` of it, see `shared_out`.
        span: mini-batches that it is.
    """

    samples: int
    done: float
    whole: Callable[[], Batch]
    part: Callable[[int, int], Any]
    span: int = 1


def _of_batch(batch: Batch) -> Whole:
    samples = len(batch.x)
    return Whole(samples, batch.share, lambda: batch, lambda place, of: batch.part(*shared_out(samples, place, of)))


class Staged(Replica):
    """A rank that has some of the layers.

    Args:
        train_state: what is trained.
        ranks: who has the other layers.
        cuts: positions of the layers with which the second, third ... stage begins; None: as measured.
        micro_batches: of each mini-batch.
        schedule: "1f1b" or "gpipe".

    Attributes:
        stage: what this rank runs, from the first mini-batch on.

    Raises:
        ArgumentError: the network cannot be cut so, or learns in a way that stages do not know.
    """

    def __init__(
        self,
        train_state: TrainState,
        ranks: Communicator,
        cuts: Sequence[int] | None,
        micro_batches: int,
        schedule: str,
    ) -> None:
        super().__init__(train_state, ranks)
        self._cuts, self._micro_batches, self._schedule = cuts, micro_batches, schedule
        self._check()
        self.stage: Stage | None = None
        self._own: OwnLayers | None = None
        self._changed = False  # whether ranks have learnt what others do not know
        self._before = train_state.plan.layer_state.copy()
        self.told = f"stages of a pipeline, {micro_batches} micro-batches, {schedule}"

    def _check(self) -> None:
        plan, rule = self.train_state.plan, self.train_state.optimizer_state.optimizer
        frozen = [one.name for one in leaf_stages(plan.layers) if one.frozen]
        require(not frozen, "parallel", f"be None with frozen layers, {', '.join(frozen[:1])}", "Pipeline()")
        why = "be 1 with Pipeline, whose micro_batches gather gradients"
        require(rule.accumulate == 1, f"{type(rule).__name__} accumulate", why, rule.accumulate)
        if self._cuts is not None:
            check_cuts(plan, self._cuts)
            return
        count = len(units_of(plan.body))
        most = f"be at most {count}, the layers that a stage can begin with: those that multiply by weights"
        require(self.ranks.size <= count, "the ranks of Pipeline, -n,", most, self.ranks.size)

    def identity(self, source: Source) -> dict[str, str]:
        rule = f"be at most the samples of a mini-batch, {source.mini_batch_size}"
        require(self._micro_batches <= source.mini_batch_size, "Pipeline micro_batches", rule, self._micro_batches)
        return super().identity(source)

    # ------------------------------------------------------------------ what is said

    def goes_on(self, so: bool = True) -> bool:
        answer = np.array([GO if so else STOP])
        while True:
            self.ranks.broadcast(answer)
            if answer[0] != BRING:
                return bool(answer[0] == GO)
            self._share()

    def bring(self) -> None:
        if self._changed:
            self.ranks.broadcast(np.array([BRING]))
            self._share()

    def compare(self) -> None:
        """Let all ranks have all weights: nobody else has those of a stage to compare them with."""
        self._share()

    def become_alike(self) -> None:
        super().become_alike()
        self._changed = False

    def go_on(self, left: Communicator) -> None:
        """Raise RankError: the newest weights of a stage are lost with its rank."""
        lost = sorted({*self.ranks.numbers} - {*left.numbers})
        raise RankError(f"the layers of rank {', '.join(map(str, lost))} are lost, and with them the training", lost)

    def _share(self) -> None:
        if self._changed and self._own:
            self._own.share()
        self._changed = False

    # ------------------------------------------------------------------ learning

    def pieces(self, source: Source, epoch: int, start: int) -> Generator[Whole, None, None]:
        """Yield the mini-batches of an epoch."""
        if isinstance(source, ArraySource):
            size, feeds = source.mini_batch_size, self.ranks.rank == 0 and self.ranks.size > 1
            for number in range(start, source.steps):
                whole, part = partial(source.run, epoch, number, 1), partial(source.share, epoch, number)
                done = min((number + 1) * size, source.samples)
                # Who begins draws on the way, so that the others need not wait; they draw while they wait for it.
                yield Whole(done - number * size, done / source.samples, whole, part) if feeds else _of_batch(whole())
            return
        with contextlib.closing(source.batches(epoch, start)) as batches:
            yield from map(_of_batch, batches)

    def tell(self, piece: Whole, epoch: int) -> Told:
        """Run this rank's stage for all micro-batches, and return what came of them."""
        self._before = self.train_state.plan.layer_state.copy()
        count = self._count(piece)
        sizes = [end - begin for begin, end in (shared_out(piece.samples, place, count) for place in range(count))]
        with np.errstate(all="ignore"):
            stage = self.stage or self._made(piece.part(0, count), epoch)
            Flow(stage, self.ranks, sizes, lambda place: piece.part(place, count), epoch).run(self._ahead)
            told = self._told(stage.results())
        self._samples += piece.samples - told.samples  # the last rank alone tells of samples, and all work on them
        return told

    def _told(self, results: Sequence[StepResult]) -> Told:
        """Return what came of the micro-batches, of which the last stage alone knows."""
        plan, optimizer_state = self.train_state.plan, self.train_state.optimizer_state
        told = Told(factor=optimizer_state.plateau.factor)
        if plan.layer_state.size and not plan.ops.finite(plan.layer_state):
            told = told._replace(fault="a running mean or variance was no longer finite")
        wrong = next((place for place, one in enumerate(results) if not math.isfinite(one.cost)), None)
        if wrong is not None:
            told = told._replace(fault=f"the cost became {results[wrong].cost}", place=wrong + 1)
        found = self.as_one(results)
        return told.of(found and found._replace(batches=1))

    @property
    def _ahead(self) -> int:
        """How many micro-batches go forward before the first one comes back."""
        behind = self.ranks.size - 1 - self.ranks.rank
        return self._micro_batches if self._schedule == "gpipe" and self.ranks.size > 1 else behind

    def _made(self, batch: Batch, epoch: int) -> Stage:
        """Cut the network, and return this rank's stage of it."""
        plan, rank, size = self.train_state.plan, self.ranks.rank, self.ranks.size
        cuts = self._measured(batch, epoch) if self._cuts is None else self._cuts
        rows = rows_between(plan.body, cuts)
        own = [rows[rank]] if size > 1 else rows
        ending = units_of(own[-1])[-1] if rank == size - 1 else []
        before = [*own[:-1], own[-1][: len(own[-1]) - len(ending)]]
        slots = min(self._ahead + 1, self._micro_batches)
        held = rows if size > 1 else [plan.body]
        self._own = OwnLayers(self.train_state, self.ranks, [set(map(position, row)) for row in held])
        self.stage = Stage(self.train_state, before, ending, rank == 0, slots)
        if size > 1:
            self.told = f"{self.told}, which begin with layers {', '.join(map(str, [0, *cuts]))}"
        return self.stage

    def _measured(self, batch: Batch, epoch: int) -> list[int]:
        """Return where the stages begin, as rank 0 has measured it."""
        cuts = np.empty(self.ranks.size - 1, np.int64)
        if self.ranks.rank == 0 and len(cuts):
            cuts[:] = measured_cuts(self.train_state.plan, batch, epoch, self.ranks.size)
        self.ranks.broadcast(cuts)
        return [int(one) for one in cuts]

    def learn(self, piece: Whole, every: Sequence[Told]) -> StepResult:
        """Update this rank's layers by the mean gradient of all micro-batches."""
        optimizer_state = self.train_state.optimizer_state
        result = self.together(every, piece.done)
        if not result.fault and self.stage and self._own:
            with np.errstate(all="ignore"):
                self.stage.give(float(result.counts or 0.0))
            optimizer_state.plateau = optimizer_state.plateau._replace(factor=every[0].factor)
            refused = self._own.update()
            result = result._replace(fault=Fault(refused) if refused else None)
        if result.fault:
            self.undo()
            self._share()
        else:
            self._changed = True
        return result

    def undo(self) -> None:
        self.train_state.plan.layer_state[...] = self._before

    def put_back(self, state: Array) -> None:
        """Leave what all ranks have undone, and told each other."""

    def seen(self, piece: Whole) -> Batch:
        batch: Batch = piece.part(0, self._count(piece))
        return batch

    def blamed(self, piece: Whole, every: Sequence[Told]) -> Batch:
        place = next((one.place for one in every if one.fault), 0)
        batch: Batch = piece.part(place - 1, self._count(piece)) if place else piece.whole()
        return batch

    def _count(self, piece: Whole) -> int:
        """Return how many micro-batches a mini-batch has."""
        return min(self._micro_batches, piece.samples)
