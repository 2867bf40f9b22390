"""Each rank computes the gradient of its share of a mini-batch, and all make the same update by the sum."""

import contextlib
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from gedanken.checks import require
from gedanken.data.batches import ArraySource, Batch, Source
from gedanken.data.order import shared_out
from gedanken.layers.norm import BatchNorm
from gedanken.layers.stages import leaf_stages
from gedanken.parallel.base import StepResult, TrainState, gradients
from gedanken.parallel.fault import Fault
from gedanken.parallel.gradient_sums import GradientSums
from gedanken.parallel.replica import Replica
from gedanken.parallel.told import Told
from gedanken.ranks.beside import Readable
from gedanken.ranks.communicator import Communicator
from gedanken.ranks.together import Together
from gedanken.sparse import RowGradient

COMPARED_EVERY = 100  # steps after which weights are compared


class Share(NamedTuple):
    """One rank's share of a mini-batch.

    Args:
        part: its samples; None: it has none.
        whole: returns the mini-batch.
        samples: of the mini-batch.
        done: share of the epoch that is done with it, in (0, 1].
        span: mini-batches that it is of.
    """

    part: Batch | None
    whole: Callable[[], Batch]
    samples: int
    done: float
    span: int = 1


def _itself(batch: Batch) -> Batch:
    return batch


class SharedBatches(Replica):
    """A copy that learns what one process would from the same mini-batches.

    Args:
        train_state: what is trained.
        ranks: who has the other copies.
        readable: where gradients lie, if ranks of this machine may read them.

    Raises:
        ArgumentError: a layer has state, which would be that of a share of the mini-batch on each rank.
    """

    told = "which share each mini-batch"

    def __init__(self, train_state: TrainState, ranks: Communicator, readable: Readable | None = None) -> None:
        super().__init__(train_state, ranks)
        plan = train_state.plan
        own = (one.name for one in leaf_stages(plan.layers) if one.s and type(one.layer) is not BatchNorm)
        keeper = next(own, "")
        rule = f"be None with {keeper}: what it learns of a mini-batch it would learn of a rank's part of it; BatchNorm"
        require(not keeper, "parallel", f"{rule} learns it of all parts", "DataParallel() over ranks")
        self._sums = GradientSums(plan.grads, plan.decayed, ranks, readable)
        found = [g for one in plan.layers for g in one.g.values()]
        self._by_rows = [g for g in found if isinstance(g, RowGradient)]

    def pieces(self, source: Source, epoch: int, start: int) -> Generator[Share, None, None]:
        """Yield this rank's share of each mini-batch of an epoch."""
        place, count = self.ranks.rank, self.ranks.size
        if isinstance(source, ArraySource):
            for number in range(start, source.steps):
                whole = partial(source.run, epoch, number, 1)
                size = min(source.mini_batch_size, source.samples - number * source.mini_batch_size)
                yield Share(source.share(epoch, number, place, count), whole, size, (number + 1) / source.steps)
            return
        with contextlib.closing(source.batches(epoch, start)) as batches:
            for batch in batches:
                size = len(batch.x)
                begin, end = shared_out(size, place, count)
                own = batch.part(begin, end) if end > begin else None
                yield Share(own, partial(_itself, batch), size, batch.share)

    def tell(self, piece: Share, epoch: int) -> Told:
        """Compute the gradient of this rank's share of a mini-batch and add up all ranks'; return what came of it."""
        told = Told(factor=self.train_state.optimizer_state.plateau.factor)
        together = self._sums.begin(0 if piece.part is None else len(piece.part.x), piece.samples)
        part = piece.whole().part(0, 1) if piece.part is None else piece.part
        found = gradients(self.train_state, part, epoch, together=together)
        self._sums.finish()
        self._join_rows(together)
        if piece.part is None:
            return told
        fault = found.fault.what if found.fault else ""
        return told._replace(fault=fault).of(found._replace(batches=int(self.ranks.rank == 0)))

    def learn(self, piece: Share, every: Sequence[Told]) -> StepResult:
        """Update by the sum of all ranks' gradients."""
        plan, optimizer_state = self.train_state.plan, self.train_state.optimizer_state
        if optimizer_state.step % COMPARED_EVERY == 0:
            self.compare()
        result = self.together(every, piece.done)
        if result.fault:
            return result
        self._sums.complete()
        optimizer_state.plateau = optimizer_state.plateau._replace(factor=every[0].factor)
        refused = optimizer_state.apply(plan.params, plan.grads, float(result.counts or 0.0))
        return result._replace(fault=Fault(refused) if refused else None)

    def seen(self, piece: Share) -> Batch:
        return piece.part or piece.whole()

    def blamed(self, piece: Share, every: Sequence[Told]) -> Batch:
        return piece.whole()

    def go_on(self, left: Communicator) -> None:
        super().go_on(left)
        self._sums = self._sums.among(left)

    def close(self) -> None:
        self._sums.close()

    def _join_rows(self, together: Together) -> None:
        """Let the rows that a gradient touches be those of any rank's."""
        for gradient in self._by_rows:
            own = gradient.rows if together.counts else gradient.rows[:0]
            touched = [np.frombuffer(rows, np.int64) for rows in self.ranks.gather(own.tobytes())]
            gradient.touch(np.unique(np.concatenate(touched)))
