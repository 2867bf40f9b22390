"""Rounds of ranks in each of which several workers learn at once, without locks."""

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

from gedanken.checks import require
from gedanken.data.batches import ArraySource, Batch, Source
from gedanken.data.order import shared_out
from gedanken.parallel.asynchronous import Asynchronous
from gedanken.parallel.base import StepResult, TrainState
from gedanken.parallel.rounds import Rounds
from gedanken.parallel.told import Told
from gedanken.ranks.communicator import Communicator


class Stretch(NamedTuple):
    """What a rank learns from between two means: mini-batches `begin` to `end` - 1 of an epoch.

    Args:
        source, epoch: where they are.
        begin, end: their numbers; the same, where others have the last ones of an epoch.
        done: share of the epoch that is done with the round, in (0, 1].
        span: mini-batches of the round, of all ranks.
    """

    source: ArraySource
    epoch: int
    begin: int
    end: int
    done: float
    span: int


class WildRounds(Rounds):
    """A copy that workers of its own change for a period.

    Args:
        train_state: what is trained.
        ranks: who has the other copies.
        period: mini-batches of each rank between two means.
        inside: the workers.
    """

    def __init__(self, train_state: TrainState, ranks: Communicator, period: int, inside: Asynchronous) -> None:
        super().__init__(train_state, ranks, period)
        self.told += ", learnt by several workers at once"
        self._inside = inside
        inside.start(train_state)

    def identity(self, source: Source) -> dict[str, str]:
        rule = "be LocalSGD without inside= where a Generator gives the data: its workers are told of parts of arrays"
        require(isinstance(source, ArraySource), "parallel", rule, "LocalSGD(inside=Hogwild())")
        return super().identity(source)

    def pieces(self, source: Source, epoch: int, start: int) -> Generator[Any, None, None]:
        assert isinstance(source, ArraySource)
        size, length = self.ranks.size, self._period * self.ranks.size
        for first in range(start, source.steps, length):
            stop = min(first + length, source.steps)
            begin, end = shared_out(stop - first, self.ranks.rank, size)
            done = min(stop * source.mini_batch_size / source.samples, 1.0)
            yield Stretch(source, epoch, first + begin, first + end, done, stop - first)

    def tell(self, piece: Any, epoch: int) -> Told:
        """Let the workers learn from this rank's mini-batches."""
        self._remember()
        results, fault = list[StepResult](), ""
        if piece.end > piece.begin:
            self._inside.hand_out()
            for result in self._inside.steps(piece.source, epoch, piece.begin, piece.end):
                if result.fault:
                    fault = result.fault.what
                else:
                    results.append(result)
            self._inside.sync()
        factor = self.train_state.optimizer_state.plateau.factor
        return Told(fault=fault, factor=factor, place=piece.begin).of(self.as_one(results))

    def seen(self, piece: Any) -> Batch:
        return piece.source.run(piece.epoch, min(piece.begin, piece.source.steps - 1), 1)

    def blamed(self, piece: Any, every: Sequence[Told]) -> Batch:
        return piece.source.run(piece.epoch, next(one.place for one in every if one.fault), 1)

    def close(self) -> None:
        self._inside.stop()
