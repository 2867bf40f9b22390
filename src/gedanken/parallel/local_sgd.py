"""Ranks that learn by themselves for some mini-batches, and then take the mean of their weights."""

import contextlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from gedanken.checks import whole
from gedanken.data.batches import ArraySource, Batch, Source
from gedanken.engine.select import Cpu
from gedanken.hyperparameters import Hyperparameters
from gedanken.parallel.base import Parallel, StepResult, Strategy, TrainState, gradients
from gedanken.parallel.counting import counts_of
from gedanken.parallel.over_ranks import of_ranks
from gedanken.parallel.recipe import Recipe
from gedanken.parallel.replica import Replica
from gedanken.parallel.single import Single
from gedanken.parallel.told import Told
from gedanken.processors import usable_processors
from gedanken.ranks.communicator import Communicator
from gedanken.ranks.joined import joined
from gedanken.types import Array

LONGEST = 1 << 20  # mini-batches between two means


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LocalSGD(Hyperparameters, Parallel):
    """Ranks that learn by themselves and meet from time to time, for `fit(parallel=...)`.

    Rank r of n learns from mini-batches r, r + n, r + 2 n ... of the epoch's order. After `period` of its own the
    weights of all ranks, and running means of layers, become their mean, sum_r(b_r * w_r) / sum_r(b_r), where rank r
    learnt from b_r mini-batches since the last time. It talks `period` times less than `DataParallel`, and the result
    is another one than the serial one. Moments of the optimizer are each rank's own within an epoch, and rank 0's after
    it. Schedules count the updates of a rank, so they pass n times slower. A script that was not launched as several
    ranks is trained serially. See docs/distributed.md.

    Args:
        period: mini-batches of each rank between two means, 1 to 1,048,576.

    Raises:
        ArgumentError: the argument breaks its rule.

    Source:
        Stich, "Local SGD converges fast and communicates little", 2019.
    """

    period: int = 16

    def __post_init__(self) -> None:
        whole("LocalSGD period", self.period, at_most=LONGEST)

    def strategy(self, recipe: Recipe) -> Strategy:
        """Return what trains a network in this way."""
        ranks = joined()
        if ranks.size == 1:
            return Single()
        threads = max(1, usable_processors() // ranks.local)
        if isinstance(recipe.engine, Cpu):
            recipe = recipe._replace(engine=replace(recipe.engine, threads=threads))
        return of_ranks(recipe, threads, ranks, partial(Rounds, period=self.period))


class Round(NamedTuple):
    """What a rank learns from between two means.

    Args:
        batches: its own mini-batches; none, where others have the last ones of an epoch.
        first: number in the epoch of the round's first mini-batch, of any rank.
        done: share of the epoch that is done with it, in (0, 1].
        span: mini-batches of the round, of all ranks.
        numbered: returns a mini-batch of the round by its number in the epoch.
    """

    batches: Sequence[Batch]
    first: int
    done: float
    span: int
    numbered: Callable[[int], Batch]


class Rounds(Replica):
    """A copy that goes its own way for a period.

    Args:
        train_state: what is trained.
        ranks: who has the other copies.
        period: mini-batches of each rank between two means.
    """

    def __init__(self, train_state: TrainState, ranks: Communicator, period: int) -> None:
        super().__init__(train_state, ranks)
        self._period = period
        self.told = f"which take the mean of their weights after {period} mini-batches of each"
        self._before, self._counted = list[Array](), np.empty(0)  # what learning changes, when the round began

    def pieces(self, source: Source, epoch: int, start: int) -> Generator[Round, None, None]:
        """Yield what this rank learns from between two means."""
        size, rank, length = self.ranks.size, self.ranks.rank, self._period * self.ranks.size
        if isinstance(source, ArraySource):
            numbered = partial(source.run, epoch, count=1)
            for first in range(start, source.steps, length):
                stop = min(first + length, source.steps)
                own = [numbered(number) for number in range(first + rank, stop, size)]
                done = min(stop * source.mini_batch_size / source.samples, 1.0)
                yield Round(own, first, done, stop - first, numbered)
            return
        with contextlib.closing(source.batches(epoch, start)) as batches:
            held, first = list[Batch](), start
            for batch in batches:
                held.append(batch)
                if len(held) == length:
                    yield Round(held[rank::size], first, batch.share, length, partial(_numbered, held, first))
                    held, first = [], first + length
            if held:
                yield Round(held[rank::size], first, held[-1].share, len(held), partial(_numbered, held, first))

    def tell(self, piece: Round, epoch: int) -> Told:
        """Learn from this rank's mini-batches, up to one of which something is not finite."""
        plan, optimizer_state = self.train_state.plan, self.train_state.optimizer_state
        vectors, self._counted = self._changing()
        self._before = [vector.copy() for vector in vectors]
        results, fault, place = list[StepResult](), "", 0
        for number, batch in enumerate(piece.batches):
            result = gradients(self.train_state, batch, epoch)
            fault = result.fault.what if result.fault else ""
            if fault := fault or optimizer_state.apply(plan.params, plan.grads, counts_of(result)):
                place = piece.first + self.ranks.rank + number * self.ranks.size
                break
            results.append(result)
        return Told(fault=fault, factor=optimizer_state.plateau.factor, place=place).of(self.as_one(results))

    def learn(self, piece: Round, every: Sequence[Told]) -> StepResult:
        """Take the mean of all ranks' weights, or go back to where the round began."""
        plan, optimizer_state = self.train_state.plan, self.train_state.optimizer_state
        result = self.together(every, piece.done)
        if result.fault:
            self.undo()
            return result
        share = every[self.ranks.rank].batches / sum(one.batches for one in every)
        for vector in (plan.params, plan.layer_state):
            vector[...] *= share
            self.ranks.add(vector)
        optimizer_state.plateau = optimizer_state.plateau._replace(factor=every[0].factor)
        self._before = []
        return result

    def undo(self) -> None:
        if self._before:
            for vector, before in zip(self._changing()[0], self._before, strict=True):
                vector[...] = before
            self._count_on(self._counted)
        self._before = []

    def seen(self, piece: Round) -> Batch:
        return piece.batches[0]

    def blamed(self, piece: Round, every: Sequence[Told]) -> Batch:
        return piece.numbered(next(one.place for one in every if one.fault))


def _numbered(held: Sequence[Batch], first: int, number: int) -> Batch:
    return held[number - first]
