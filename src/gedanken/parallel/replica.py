"""What every rank does with its copy of a network: one part of each mini-batch, and the same update as all others."""

import contextlib
import zlib
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from gedanken.checks import require
from gedanken.data.batches import ArraySource, Batch, Source
from gedanken.data.order import shared_out
from gedanken.parallel.base import StepResult, TrainState, gradients, merged
from gedanken.parallel.counting import Mean, counts_of
from gedanken.parallel.fault import Fault
from gedanken.parallel.told import Told
from gedanken.ranks.communicator import Communicator, RankError
from gedanken.sparse import RowGradient

COMPARED_EVERY = 100  # steps after which weights are compared


class Share(NamedTuple):
    """One rank's share of a mini-batch.

    Args:
        part: its samples; None: it has none.
        whole: returns the mini-batch.
        done: share of the epoch that is done with it, in (0, 1].
    """

    part: Batch | None
    whole: Callable[[], Batch]
    done: float


def _itself(batch: Batch) -> Batch:
    return batch


class Replica:
    """A rank's copy of a network that is trained.

    Args:
        train_state: what is trained.
        ranks: who has the other copies.

    Raises:
        ArgumentError: a layer has state, which would be that of a part of the mini-batch on each rank.
    """

    def __init__(self, train_state: TrainState, ranks: Communicator) -> None:
        self.train_state, self.ranks = train_state, ranks
        plan = train_state.plan
        keeper = next((one.name for one in plan.layers if one.s), "")
        rule = f"be None with {keeper}: what it learns of a mini-batch it would learn of a rank's part of it; GroupNorm"
        require(not keeper, "parallel", f"{rule} and LayerNorm have no such state", "DataParallel() over ranks")
        found = [g for one in plan.layers for g in one.g.values()]
        self._by_rows = [g for g in found if isinstance(g, RowGradient)]

    def identity(self, source: Source) -> dict[str, str]:
        """Return what must be the same on all ranks, in words."""
        plan, optimizer_state = self.train_state.plan, self.train_state.optimizer_state
        return {
            "arrays": str({name: view.shape for name, view in plan.arrays().items()}),
            "cost": str(plan.cost),
            "optimizer": str(optimizer_state.optimizer),
            "metrics": str([metric.name for metric in self.train_state.metrics]),
            "number type": str(plan.ops.dtype),
            "seed": str(plan.seed),
            "samples": str(source.samples),
            "mini_batch_size": str(source.mini_batch_size),
        }

    def become_alike(self) -> None:
        """Let parameters and optimizer of all ranks be those of rank 0."""
        plan, progress = self.train_state.plan, self.train_state.optimizer_state.progress
        gathered = [] if progress.gathered is None else [progress.gathered]
        for vector in (plan.params, *progress.slots.values(), *gathered):
            self.ranks.broadcast(vector)
        numbers = np.array([progress.counts, progress.batches, progress.step, progress.before], np.float64)
        self.ranks.broadcast(numbers)
        progress.counts = float(numbers[0])
        progress.batches, progress.step, progress.before = map(int, numbers[1:])

    def shares(self, source: Source, epoch: int, start: int) -> Generator[Share, None, None]:
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

    def tell(self, part: Batch | None, epoch: int) -> Told:
        """Compute the gradient of this rank's share of a mini-batch, and return what came of it."""
        plan, optimizer_state = self.train_state.plan, self.train_state.optimizer_state
        told = Told(factor=optimizer_state.plateau.factor)
        if part is None:
            for rows in self._by_rows:
                rows.clear()
            plan.grads[...] = 0
            return told
        found = gradients(self.train_state, part, epoch)
        fault = found.fault.what if found.fault else ""
        return told._replace(
            samples=len(part.x), cost=found.cost, counts=counts_of(found), fault=fault, statistics=found.statistics
        )

    def ready(self, refusal: str = "") -> None:
        """Wait until all ranks are; RankError where one of them refuses."""
        for rank, content in enumerate(self.ranks.gather(refusal.encode())):
            if content:
                raise RankError(f"rank {rank}: {content.decode()}", [rank])

    def exchange(self, told: Told) -> list[Told]:
        """Return what all ranks tell; RankError where the code of another one raised."""
        every = [Told.unpacked(content) for content in self.ranks.gather(told.packed())]
        for rank, one in enumerate(every):
            if one.error and rank != self.ranks.rank:
                raise RankError(f"rank {rank}: {one.error}", [rank])
        return every

    def compare(self) -> None:
        """See that all ranks have the same weights.

        Raises:
            RankError: one has others; it names the first array that differs.
        """
        names = self.train_state.plan.arrays()
        own = np.array([zlib.crc32(np.ascontiguousarray(view).data) for view in names.values()], np.uint32)
        first, *others = (np.frombuffer(content, np.uint32) for content in self.ranks.gather(own.tobytes()))
        for rank, digests in enumerate(others, 1):
            if (differing := np.flatnonzero(digests != first)).size:
                where = [*names][differing[0]]
                raise RankError(f"rank {rank} no longer has the weights of rank 0: {where} differs first", [rank])

    def learn(self, every: Sequence[Told], share: float) -> StepResult:
        """Add up the gradients of all ranks, update by the sum, and return what the step tells."""
        plan, optimizer_state = self.train_state.plan, self.train_state.optimizer_state
        assert plan.cost
        if optimizer_state.step % COMPARED_EVERY == 0:
            self.compare()
        cost, parts = Mean(plan.cost.sums), [one for one in every if one.samples]
        for one in parts:
            cost.add(one.cost, one.counts)
        fault = next((one.fault for one in parts if one.fault), "")
        if not fault:
            if not plan.cost.sums:
                plan.grads *= every[self.ranks.rank].counts / (cost.counts or 1.0)
            self._add()
            optimizer_state.plateau = optimizer_state.plateau._replace(factor=every[0].factor)
            fault = optimizer_state.apply(plan.params, plan.grads, cost.counts)
        statistics = merged(self.train_state.metrics, [one.statistics for one in parts])
        samples = sum(one.samples for one in parts)
        return StepResult(samples, share, cost.value, statistics, Fault(fault) if fault else None, counts=cost.counts)

    def _add(self) -> None:
        """Make the gradients the sum of all ranks', and the rows that it touches those of any rank."""
        self.ranks.add(self.train_state.plan.grads)
        for gradient in self._by_rows:
            touched = [np.frombuffer(rows, np.int64) for rows in self.ranks.gather(gradient.rows.tobytes())]
            gradient.touch(np.unique(np.concatenate(touched)))
