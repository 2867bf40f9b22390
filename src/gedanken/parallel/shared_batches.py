"""Each rank computes the gradient of its share of a mini-batch, and all make the same update by the sum."""

import contextlib
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from gedanken.checks import require
from gedanken.data.batches import ArraySource, Batch, Source
from gedanken.data.order import shared_out
from gedanken.parallel.base import StepResult, TrainState, gradients
from gedanken.parallel.fault import Fault
from gedanken.parallel.replica import Replica
from gedanken.parallel.told import Told
from gedanken.ranks.communicator import Communicator
from gedanken.sparse import RowGradient

COMPARED_EVERY = 100  # steps after which weights are compared


class Share(NamedTuple):
    """One rank's share of a mini-batch.

    Args:
        part: its samples; None: it has none.
        whole: returns the mini-batch.
        done: share of the epoch that is done with it, in (0, 1].
        span: mini-batches that it is of.
    """

    part: Batch | None
    whole: Callable[[], Batch]
    done: float
    span: int = 1


def _itself(batch: Batch) -> Batch:
    return batch


class SharedBatches(Replica):
    """A copy that learns what one process would from the same mini-batches.

    Args:
        train_state: what is trained.
        ranks: who has the other copies.

    Raises:
        ArgumentError: a layer has state, which would be that of a share of the mini-batch on each rank.
    """

    told = "which share each mini-batch"

    def __init__(self, train_state: TrainState, ranks: Communicator) -> None:
        super().__init__(train_state, ranks)
        plan = train_state.plan
        keeper = next((one.name for one in plan.layers if one.s), "")
        rule = f"be None with {keeper}: what it learns of a mini-batch it would learn of a rank's part of it; GroupNorm"
        require(not keeper, "parallel", f"{rule} and LayerNorm have no such state", "DataParallel() over ranks")
        found = [g for one in plan.layers for g in one.g.values()]
        self._by_rows = [g for g in found if isinstance(g, RowGradient)]

    def pieces(self, source: Source, epoch: int, start: int) -> Generator[Share, None, None]:
        """Yield this rank's share of each mini-batch of an epoch."""
        place, count = self.ranks.rank, self.ranks.size
        if isinstance(source, ArraySource):
            for number in range(start, source.steps):
                whole = partial(source.run, epoch, number, 1)
                yield Share(source.share(epoch, number, place, count), whole, (number + 1) / source.steps)
            return
        with contextlib.closing(source.batches(epoch, start)) as batches:
            for batch in batches:
                begin, end = shared_out(len(batch.x), place, count)
                yield Share(batch.part(begin, end) if end > begin else None, partial(_itself, batch), batch.share)

    def tell(self, piece: Share, epoch: int) -> Told:
        """Compute the gradient of this rank's share of a mini-batch, and return what came of it."""
        plan, optimizer_state = self.train_state.plan, self.train_state.optimizer_state
        told = Told(factor=optimizer_state.plateau.factor)
        part = piece.part
        if part is None:
            for rows in self._by_rows:
                rows.clear()
            plan.grads[...] = 0
            return told
        found = gradients(self.train_state, part, epoch)
        fault = found.fault.what if found.fault else ""
        return told._replace(fault=fault).of(found._replace(batches=int(self.ranks.rank == 0)))

    def learn(self, piece: Share, every: Sequence[Told]) -> StepResult:
        """Add up the gradients of all ranks, and update by the sum."""
        plan, optimizer_state = self.train_state.plan, self.train_state.optimizer_state
        if optimizer_state.step % COMPARED_EVERY == 0:
            self.compare()
        result = self.together(every, piece.done)
        if result.fault:
            return result
        assert plan.cost
        counts = float(result.counts or 0.0)
        if not plan.cost.sums:
            plan.grads *= every[self.ranks.rank].counts / (counts or 1.0)
        self._add()
        optimizer_state.plateau = optimizer_state.plateau._replace(factor=every[0].factor)
        refused = optimizer_state.apply(plan.params, plan.grads, counts)
        return result._replace(fault=Fault(refused) if refused else None)

    def seen(self, piece: Share) -> Batch:
        return piece.part or piece.whole()

    def blamed(self, piece: Share, every: Sequence[Told]) -> Batch:
        return piece.whole()

    def _add(self) -> None:
        """Make the gradients the sum of all ranks', and the rows that it touches those of any rank."""
        self.ranks.add(self.train_state.plan.grads)
        for gradient in self._by_rows:
            touched = [np.frombuffer(rows, np.int64) for rows in self.ranks.gather(gradient.rows.tobytes())]
            gradient.touch(np.unique(np.concatenate(touched)))
