"""A training of several ranks, each with a replica of the network: one leads, the others follow.

Rank 0, the leader, has the training: loop, callbacks, records, validation, files. The others follow its orders. At the
begin of an epoch, and after a step of which nothing was kept, they become what the leader is. In between all do the
same: each computes its piece, tells all others what came of it, and makes of everybody's news the same update. So
replicas stay the same to the last bit, and digests show whether they did. What a piece is, a Replica says.

Where ranks that are left can go on without one that is lost, rank 0 is the truth: what it has not learnt from a piece
wholly, it has not learnt at all. All shrink, the leader gives its order once more, from the mini-batch that comes next
for it, and the others become what it is. Without rank 0 nobody goes on.
"""

import contextlib
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

from gedanken.checks import short, warn
from gedanken.data.batches import Source
from gedanken.engine.plan import Plan
from gedanken.errors import ArgumentError
from gedanken.parallel.base import Results, StepResult, TrainState
from gedanken.parallel.black_box import examined
from gedanken.parallel.recipe import Recipe
from gedanken.parallel.replica import Replica
from gedanken.parallel.shared import Shared
from gedanken.ranks.beside import Readable
from gedanken.ranks.communicator import Communicator, RankError
from gedanken.ranks.joined import go_on
from gedanken.state import State
from gedanken.types import Array

Kind: TypeAlias = Callable[[TrainState, Communicator], Replica]


class Ending(NamedTuple):
    """How a training ended, for those who followed.

    Args:
        history: as `training.past.Past` writes it; "" where the training raised.
        reason: why it ended.
        diverged: whether by what is not finite.
        kept: see History.
        epoch: the network's.
    """

    history: str
    reason: str
    diverged: bool = False
    kept: int | None = None
    epoch: int = 0


class OfRanks(Shared):
    """One of several ranks that train together.

    Args:
        recipe, threads: of the network, and how many each rank computes with.
        ranks: who trains together.
        kind: makes a rank's replica.
        readable: memory for gradients which ranks of this machine may read; None: they do not.

    Attributes:
        ranks: who is left of them.
    """

    _begun = False

    def __init__(
        self, recipe: Recipe, threads: int, ranks: Communicator, kind: Kind, readable: Readable | None = None
    ) -> None:  # fmt: skip
        super().__init__(recipe, threads)
        self.ranks, self._kind, self._readable = ranks, kind, readable

    def start(self, train_state: TrainState) -> None:
        super().start(train_state)
        self._replica = self._kind(self.train_state, self.ranks)
        self._begun = True

    def _own_places(self, plan: Plan) -> dict[str, Array]:
        vector = self._readable.vector(plan.grads.size, plan.grads.dtype) if self._readable else None
        return {} if vector is None else {"grads": vector}

    def stop(self) -> None:
        if self._begun:
            self._replica.close()
        if self._readable:
            self._readable.close()
        super().stop()

    def _survive(self, error: RankError) -> None:
        """Go on with the ranks that are left, who all come here; raise the error where they cannot."""
        if not error.survivable:
            raise error
        self._take(self.ranks.shrink())

    def _over(self) -> bool:
        """Return whether all ranks have come to the end of the training; else go on with those that are left."""
        left = self.ranks.shrink(well=True) if self.ranks.survives else self.ranks
        if left is self.ranks:
            return True
        self._take(left)
        return False

    def _take(self, left: Communicator) -> None:
        """Be one of those that are left."""
        before, self.ranks = self.ranks, left
        go_on(left, before)
        self._replica.go_on(left)
        if left.numbers[0] != before.numbers[0]:
            raise RankError("rank 0 is lost, and with it the training", [0])

    def _identity(self, source: Source) -> dict[str, str]:
        """Return what must be the same on all ranks, in words."""
        return {"layers": str(self._recipe.layers), **self._replica.identity(source)}


class Leader(OfRanks):
    """Rank 0."""

    _unlike = False
    _met = False  # whether all others follow the order that was given last
    _within = False  # whether all others wait for what comes next in an epoch
    _apart = False  # whether nobody knows where the others are: then nothing more is said
    _losses: tuple[str, ...] = ()  # of the epoch
    _fresh = True  # whether nobody has begun with the epoch

    def steps(self, source: Source, epoch: int, start: int = 0) -> Results:
        self._next, self._losses, self._fresh = start, (), True
        try:
            while True:
                self._drawn = source.state()
                try:
                    self._begin(source, epoch)
                    yield from self._rest(source, epoch)
                    return
                except RankError as error:
                    self._survive(error)
                    source.restore(self._drawn)
        finally:
            self._within = False
            if self._met and not self._apart:
                self._end_epoch(source, epoch)

    def _begin(self, source: Source, epoch: int) -> None:
        """Let all others begin with the mini-batch that comes next."""
        first = None if self._met else {"source": source.state(), "identity": self._identity(source)}
        self._tell({"epoch": epoch, "start": self._next, "first": first, "fresh": self._fresh})
        self._met, self._unlike, self._fresh, self._within = True, False, False, True

    def _rest(self, source: Source, epoch: int) -> Results:
        """Learn from the rest of an epoch."""
        with contextlib.closing(self._replica.pieces(source, epoch, self._next)) as pieces, self._refuge:
            for piece in pieces:
                result = self._learn(piece, epoch)
                self._next += piece.span
                yield result
                if self.ranks.survives:
                    self._drawn = source.state()

    def _end_epoch(self, source: Source, epoch: int) -> None:
        """Let all others wait for the next order."""
        over = False
        while not over:
            try:
                if not self._met:
                    self._begin(source, epoch)
                with self._talk():
                    self._even_out()
                    self._replica.goes_on(so=False)
                    self._replica.end()
                over = True
            except RankError as error:
                self._survive(error)

    def _tell(self, order: dict[str, Any]) -> None:
        """Give all others an order, which they begin as what this rank is."""
        with self._talk():
            self._replica.order(json.dumps(order).encode())
            self._replica.ready()
            self._replica.become_alike()
            if order.get("fresh"):
                self._replica.begin()

    @contextlib.contextmanager
    def _talk(self) -> Iterator[None]:
        """Say what others answer: where that is broken off, by an error or Ctrl-C, the ranks are apart."""
        self._apart = True
        yield
        self._apart = False

    def _even_out(self) -> None:
        if self._unlike:
            self._replica.become_alike()
            self._unlike = False

    def _learn(self, piece: Any, epoch: int) -> StepResult:
        """Learn from a piece with all ranks, or leave everything as it was."""
        if self._refuge.due:
            self.show()
        self._refuge.last = self._replica.seen(piece)
        plan = self.train_state.plan
        state = plan.layer_state.copy()
        with self._talk():
            self._even_out()
            self._replica.goes_on()
        try:
            with self._talk():
                every = self._replica.exchange(self._replica.tell(piece, epoch))
                if not any(one.fault for one in every):
                    self._refuge.keep(state)
                result = self._replica.learn(piece, every)
        except BaseException:
            self._replica.undo()
            self._replica.put_back(state)
            raise
        if not result.fault:
            return result
        self._replica.put_back(state)
        self._unlike, batch = True, self._replica.blamed(piece, every)
        fault = examined(result.fault, self.train_state.plan, self.train_state.optimizer_state, batch, epoch)
        self._seek(batch, fault)
        return result._replace(fault=fault)

    def show(self) -> None:
        if self._within and not self._unlike and not self._apart:
            with self._talk():
                self._replica.bring()

    def state(self) -> State:
        self.show()
        return super().state()

    def _survive(self, error: RankError) -> None:
        with self._talk():
            super()._survive(error)

    def _take(self, left: Communicator) -> None:
        lost = sorted({*self.ranks.numbers} - {*left.numbers})
        super()._take(left)
        self._met = self._within = self._apart = False
        if lost:
            who = f"rank{'s' * (len(lost) > 1)} {', '.join(map(str, lost))}"
            self._losses += (f"{who} lost, {left.size} left",)
            warn(f"{who} of {left.size + len(lost)} lost: the training goes on with {left.size}")

    def report(self) -> dict[str, Any]:
        told = self._replica.report()
        course = [told["course"], *self._losses]
        return {**told, "course": "; ".join(course), "losses": [*self._losses]}

    def end(self, ending: Ending) -> None:
        """Tell all others that the training is over, and how; called once, after all else."""
        over = not self._begun or self._apart
        while not over:
            try:
                self._tell({"ending": ending})
                over = self._over()
            except RankError as error:
                self._survive(error)


class Follower(OfRanks):
    """Any other rank."""

    def follow(self, source: Source) -> Ending:
        """Do what the leader says until the training is over.

        Raises:
            RankError: another rank failed.
        """
        while True:
            try:
                order = json.loads(self._replica.order())
                self._replica.ready(self._refusal(source, order.get("first")))
                self._replica.become_alike()
                if order.get("fresh"):
                    self._replica.begin()
                if "ending" not in order:
                    self._epoch(source, order)
                elif self._over():
                    return Ending(*order["ending"])
            except RankError as error:
                self._survive(error)

    def _refusal(self, source: Source, first: dict[str, Any] | None) -> str:
        """Begin where the leader does; return why this rank cannot, or ""."""
        if first is None:
            return ""
        own = self._identity(source)
        for name, wanted in first["identity"].items():
            if own[name] != wanted:
                return f"{name} must be as on rank 0, {short(wanted)}, got {short(own[name])}"
        try:
            source.restore(first["source"])
        except ArgumentError as error:
            return str(error)
        return ""

    def _epoch(self, source: Source, order: dict[str, Any]) -> None:
        """Learn from the rest of an epoch, up to where the leader ends it."""
        unlike = False
        with contextlib.closing(self._replica.pieces(source, order["epoch"], order["start"])) as pieces:
            for piece in itertools.chain(pieces, [None]):
                if unlike:
                    self._replica.become_alike()
                if not self._replica.goes_on():
                    self._replica.end()
                    return
                if piece is None:
                    raise RankError(f"rank {self.ranks.rank} has no more mini-batches, rank 0 has")
                every = self._replica.exchange(self._replica.tell(piece, order["epoch"]))
                unlike = self._replica.learn(piece, every).fault is not None


def of_ranks(
    recipe: Recipe, threads: int, ranks: Communicator, kind: Kind, readable: Readable | None = None
) -> Leader | Follower:  # fmt: skip
    """Return this rank's strategy; the arguments are those of OfRanks."""
    return (Follower if ranks.rank else Leader)(recipe, threads, ranks, kind, readable)
