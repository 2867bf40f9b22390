"""What every rank does with its copy of a network, whatever the ranks share."""

import json
import math
import platform
import time
import zlib
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

import numpy as np

from gedanken.data.batches import ArraySource, Batch, Source
from gedanken.errors import ArgumentError, StateError
from gedanken.parallel.base import StepResult, TrainState, merged, together
from gedanken.parallel.fault import Fault
from gedanken.parallel.told import Told
from gedanken.ranks.communicator import Communicator, RankError
from gedanken.ranks.joined import END
from gedanken.types import Array

LOOKED_AT = 64  # samples that are compared before the first step


def _digest(source: Source) -> str:
    """Return a digest of some of the samples, where they are one array."""
    some = source.some(LOOKED_AT) if isinstance(source, ArraySource) else None
    return str(zlib.crc32(np.ascontiguousarray(some).data)) if isinstance(some, np.ndarray) else ""


class Worked(NamedTuple):
    """What a rank did in an epoch: of how many samples, in how many seconds, and so many of these in communication."""

    host: str
    samples: int
    seconds: float
    talked: float


class Replica(ABC):
    """A rank's copy of a network that is trained.

    Args:
        train_state: what is trained.
        ranks: who has the other copies.

    Attributes:
        told: what the ranks do, for the record of an epoch.
    """

    told: str

    def __init__(self, train_state: TrainState, ranks: Communicator) -> None:
        self.train_state, self.ranks = train_state, ranks
        self._samples, self._begun, self._talked = 0, 0.0, 0.0  # of an epoch, and when it and its talk began
        self._worked: list[Worked] = []

    def go_on(self, left: Communicator) -> None:
        """Be one of the ranks that are left."""
        left.seconds, self.ranks = self.ranks.seconds, left

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
            "a digest of some samples": _digest(source),
            "parallel": self.told,
        }

    def become_alike(self) -> None:
        """Let parameters, state of layers and optimizer of all ranks be those of rank 0."""
        vectors, numbers = self._changing()
        for vector in (*vectors, numbers):
            self.ranks.broadcast(vector)
        self._count_on(numbers)

    def _changing(self) -> tuple[list[Array], Array]:
        """Return all that learning changes: the vectors themselves, and a copy of what the optimizer counts."""
        plan, progress = self.train_state.plan, self.train_state.optimizer_state.progress
        gathered = [] if progress.gathered is None else [progress.gathered]
        numbers = np.array([progress.counts, progress.batches, progress.step, progress.before], np.float64)
        return [plan.params, plan.layer_state, *progress.slots.values(), *gathered], numbers

    def _count_on(self, numbers: Array) -> None:
        """Let the optimizer count from here, as `_changing` gives it."""
        progress = self.train_state.optimizer_state.progress
        progress.counts = float(numbers[0])
        progress.batches, progress.step, progress.before = map(int, numbers[1:])

    def begin(self) -> None:
        """Begin to count what is done in an epoch."""
        self._samples, self._begun, self._talked = 0, time.perf_counter(), self.ranks.seconds

    def end(self) -> None:
        """Compare weights at the end of an epoch, and let all ranks know what each did."""
        self.compare()
        seconds, talked = time.perf_counter() - self._begun, self.ranks.seconds - self._talked
        own = Worked(platform.node(), self._samples, seconds, talked)
        self._worked = [Worked(*json.loads(content)) for content in self.ranks.gather(json.dumps(own).encode())]

    def report(self) -> dict[str, Any]:
        """Return what all ranks did in the last epoch; see `DataParallel`."""
        speeds = [one.samples / max(one.seconds, 1e-9) for one in self._worked]
        talked = [min(one.talked / max(one.seconds, 1e-9), 1.0) for one in self._worked]
        return {
            "workers": f"{self.ranks.size} rank{'s' * (self.ranks.size > 1)}, {self.told}",
            "course": f"{', '.join(f'{speed:,.0f}' for speed in speeds)} samples/s  "
            f"{', '.join(f'{share:.0%}' for share in talked)} of the time in communication",
            "hosts": [one.host for one in self._worked],
            "samples": [one.samples for one in self._worked],
            "samples_per_second": speeds,
            "communication": talked,
        }

    def order(self, given: bytes = b"") -> bytes:
        """Return the order that rank 0 gives; StateError where another rank is past its last one."""
        every = self.ranks.gather(given)
        for rank, said in enumerate(every):
            if said == END:
                raise StateError(f"rank {rank} is at the end of the script, and this one trains with it")
        return every[0]

    def ready(self, refusal: str = "") -> None:
        """Wait until all ranks are; ArgumentError where one of them refuses."""
        for rank, content in enumerate(self.ranks.gather(refusal.encode())):
            if content:
                raise ArgumentError(f"rank {rank}: {content.decode()}")

    def goes_on(self, so: bool = True) -> bool:
        """Return whether rank 0 goes on with one more exchange; `so` is its own answer."""
        answer = np.array([float(so) if self.ranks.rank == 0 else 0.0])
        self.ranks.add(answer)  # in place of a broadcast: nobody begins before all have ended the last piece
        return bool(answer[0])

    def exchange(self, told: Told) -> list[Told]:
        """Return what all ranks tell."""
        self._samples += told.samples
        return [Told.unpacked(content) for content in self.ranks.gather(told.packed())]

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

    @abstractmethod
    def pieces(self, source: Source, epoch: int, start: int) -> Generator[Any, None, None]:
        """Yield what this rank learns from in an epoch, one exchange after the other, from mini-batch `start` on.

        A piece's `span` is the number of mini-batches that all ranks learn from in it.
        """

    @abstractmethod
    def tell(self, piece: Any, epoch: int) -> Told:
        """Compute what this rank has to, and return what came of it."""

    @abstractmethod
    def learn(self, piece: Any, every: Sequence[Told]) -> StepResult:
        """Update the weights, to the same on all ranks, and return what was learnt; of a fault nothing is kept."""

    def undo(self) -> None:  # noqa: B027 - only one that changes weights in `tell` has something to undo
        """Become what it was before `tell`, if nothing was learnt from that piece yet."""

    def close(self) -> None:  # noqa: B027 - only one with a thread has something to end
        """Say nothing more."""

    def bring(self) -> None:  # noqa: B027 - most replicas hold it anyway
        """Let rank 0 hold all that was learnt; called by it, where the others are in `goes_on`."""

    def put_back(self, state: Array) -> None:
        """Let the state of layers be what rank 0 knew it to be before a piece of which nothing is kept."""
        self.train_state.plan.layer_state[...] = state

    @abstractmethod
    def seen(self, piece: Any) -> Batch:
        """Return some of what is learnt from, to see later whether the weights are of use."""

    @abstractmethod
    def blamed(self, piece: Any, every: Sequence[Told]) -> Batch:
        """Return the mini-batch of which something was not finite."""

    def together(self, every: Sequence[Told], done: float) -> StepResult:
        """Return as one what ranks tell of samples."""
        found = self.as_one([one.result(done) for one in every if one.samples])
        fault = next((one.fault for one in every if one.fault), "")
        found = found or StepResult(0, done, math.nan, ())
        return found._replace(share=done, fault=Fault(fault) if fault else None, batches=max(found.batches, 1))

    def as_one(self, results: Sequence[StepResult]) -> StepResult | None:
        """Return what was learnt as one; None of nothing."""
        if not results:
            return None
        metrics, cost = self.train_state.metrics, self.train_state.plan.cost
        assert cost
        return together(results, metrics, merged(metrics, [one.statistics for one in results]), cost.sums)
