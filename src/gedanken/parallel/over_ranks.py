"""A training of several ranks, each with a replica of the network: one leads, the others follow.

Rank 0, the leader, has the training: loop, callbacks, records, validation, files. The others follow its orders. At the
begin of an epoch, and after a step of which nothing was kept, they become what the leader is. In between all do the
same: each computes its piece, tells all others what came of it, and makes of everybody's news the same update. So
replicas stay the same to the last bit, and digests show whether they did. What a piece is, a Replica says.
"""

import contextlib
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

from gedanken.checks import short
from gedanken.data.batches import Source
from gedanken.errors import ArgumentError
from gedanken.parallel.base import Results, StepResult, TrainState
from gedanken.parallel.black_box import examined
from gedanken.parallel.recipe import Recipe
from gedanken.parallel.replica import Replica
from gedanken.parallel.shared import Shared
from gedanken.parallel.told import Told
from gedanken.ranks.communicator import Communicator, RankError
from gedanken.state import State

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
    """

    _begun = False

    def __init__(self, recipe: Recipe, threads: int, ranks: Communicator, kind: Kind) -> None:
        super().__init__(recipe, threads)
        self._ranks, self._kind = ranks, kind

    def start(self, train_state: TrainState) -> None:
        super().start(train_state)
        self._replica = self._kind(self.train_state, self._ranks)
        self._begun = True

    def _identity(self, source: Source) -> dict[str, str]:
        """Return what must be the same on all ranks, in words."""
        return {"layers": str(self._recipe.layers), **self._replica.identity(source)}


class Leader(OfRanks):
    """Rank 0."""

    _unlike = _met = False
    _within = False  # whether the others wait for what comes next in an epoch
    _apart = False  # whether nobody knows where the others are: then nothing more is said

    def steps(self, source: Source, epoch: int, start: int = 0) -> Results:
        try:
            first = None if self._met else {"source": source.state(), "identity": self._identity(source)}
            self._tell({"epoch": epoch, "start": start, "first": first})
            self._met = self._within = True
            with contextlib.closing(self._replica.pieces(source, epoch, start)) as pieces, self._refuge:
                for piece in pieces:
                    yield self._learn(piece, epoch)
        finally:
            within, self._within = self._within, False
            if within and not self._apart:
                with self._talk():
                    self._even_out()
                    self._replica.exchange(Told(goes_on=False))
                    self._replica.compare()

    def _tell(self, order: dict[str, Any]) -> None:
        """Give all others an order, which they begin as what this rank is."""
        with self._talk():
            self._replica.order(json.dumps(order).encode())
            self._replica.ready()
            self._replica.become_alike()

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
        with self._talk():
            self._even_out()
        if self._refuge.due:
            self.show()
        self._refuge.last = self._replica.seen(piece)
        state = self.train_state.plan.layer_state.copy()
        told = self._computed(piece, epoch)
        with self._talk():
            every = self._replica.exchange(told)
            if not any(one.fault for one in every):
                self._refuge.keep(state)
            result = self._replica.learn(piece, every)
        if not result.fault:
            return result
        self._unlike, batch = True, self._replica.blamed(piece, every)
        fault = examined(result.fault, self.train_state.plan, self.train_state.optimizer_state, batch, epoch)
        self._seek(batch, fault)
        return result._replace(fault=fault)

    def _computed(self, piece: Any, epoch: int) -> Told:
        """Return what came of this rank's part of a piece."""
        self._apart = self._replica.talks
        try:
            told = self._replica.tell(piece, epoch)
        except Exception as error:
            self._apart = isinstance(error, RankError)
            raise
        self._apart = False
        return told

    def show(self) -> None:
        if self._within and not self._unlike and not self._apart:
            with self._talk():
                self._replica.bring()

    def state(self) -> State:
        self.show()
        return super().state()

    def report(self) -> dict[str, Any]:
        count = self._ranks.size
        return {"workers": f"{count} rank{'s' if count > 1 else ''}, {self._replica.told}"}

    def end(self, ending: Ending) -> None:
        """Tell all others that the training is over, and how; called once, after all else."""
        if self._begun and not self._apart:
            self._tell({"ending": ending})


class Follower(OfRanks):
    """Any other rank."""

    def follow(self, source: Source) -> Ending:
        """Do what the leader says until the training is over.

        Raises:
            RankError: another rank failed.
        """
        while True:
            order = json.loads(self._replica.order())
            self._replica.ready(self._refusal(source, order.get("first")))
            self._replica.become_alike()
            if "ending" in order:
                return Ending(*order["ending"])
            self._epoch(source, order)

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
        try:
            unlike = False
            with contextlib.closing(self._replica.pieces(source, order["epoch"], order["start"])) as pieces:
                for piece in itertools.chain(pieces, [None]):
                    if unlike:
                        self._replica.become_alike()
                    told = self._replica.tell(piece, order["epoch"]) if piece else Told()
                    every = self._replica.exchange(told)
                    if not every[0].goes_on:
                        if piece:
                            self._replica.undo()
                        self._replica.compare()
                        return
                    if piece is None:
                        raise RankError(f"rank {self._ranks.rank} has no more mini-batches, rank 0 has")
                    unlike = self._replica.learn(piece, every).fault is not None
        except RankError:
            raise
        except Exception as error:
            self._replica.exchange(Told(error=f"{type(error).__name__}: {error}"))
            raise


def of_ranks(recipe: Recipe, threads: int, ranks: Communicator, kind: Kind) -> Leader | Follower:
    """Return this rank's strategy; the arguments are those of OfRanks."""
    return (Follower if ranks.rank else Leader)(recipe, threads, ranks, kind)
