"""What a rank learns by itself between two means of all ranks' weights."""

import contextlib
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from gedanken.data.batches import ArraySource, Batch, Source
from gedanken.parallel.base import StepResult, TrainState, gradients
from gedanken.parallel.counting import counts_of
from gedanken.parallel.replica import Replica
from gedanken.parallel.told import Told
from gedanken.ranks.communicator import Communicator
from gedanken.types import Array


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
        self._remember()
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

    def _remember(self) -> None:
        """Keep what learning changes as it is when a round begins."""
        vectors, self._counted = self._changing()
        self._before = [vector.copy() for vector in vectors]

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
