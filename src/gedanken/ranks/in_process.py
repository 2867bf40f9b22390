"""Ranks that are threads of this process, in a time of their own, with the faults that were asked for.

Nothing here waits for real seconds. A message arrives later than it was sent by the link's latency and its length; a
rank's clock goes on when it works (`Threads.work`) and when it takes a message. When all ranks wait for what nobody
will send, the one whose deadline comes first is told so, as it would be by a clock.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn, TypeAlias

import numpy as np

from gedanken.ranks.communicator import DEADLINE, Communicator, RankError, Window
from gedanken.types import Array

COLLECTIVE = -1  # the tag of messages that make up a collective call
Context: TypeAlias = tuple[int, ...]  # of a communicator: messages among others are not mixed with those among these


class Link(NamedTuple):
    """How long a message takes.

    Args:
        latency: seconds.
        bandwidth: bytes a second.
    """

    latency: float = 50e-6
    bandwidth: float = 1e9

    def seconds(self, nbytes: int) -> float:
        """Return how long so many bytes are on their way."""
        return self.latency + nbytes / self.bandwidth


class Fault(NamedTuple):
    """What happens to one rank, at a number of its calls.

    Args:
        rank: to whom.
        call: before which of its calls to send, receive or shrink, or to read or change a window, counted from 0; of a
            message, which one that it sends.
        kind: "kill" ends the rank, "freeze" lets it stand still for good; "drop" loses a message, "delay" makes it
            late.
        seconds: of a delay.
    """

    rank: int
    call: int
    kind: str
    seconds: float = 0.0


class _Killed(BaseException):
    """Ends a rank's thread, past all that catches exceptions."""


class _Message(NamedTuple):
    arrival: float
    content: bytes


@dataclass
class _Line:
    """Messages of one rank to another by one tag, by their numbers."""

    sent: int = 0
    taken: int = 0
    messages: dict[int, _Message] = field(default_factory=dict)

    @property
    def next(self) -> _Message | None:
        return self.messages.get(self.taken)


@dataclass
class _Meeting:
    """Where all ranks of a communicator come together that are left; what comes of it is the same for all.

    Args:
        members: numbers in the world of those of the communicator.
        well: what each that is here has said.
        left: who goes on, once it is decided.
    """

    members: list[int]
    well: dict[int, bool] = field(default_factory=dict)
    left: list[int] | None = None

    def over(self, ranks: "list[_Rank]") -> bool:
        """Decide when all are here that are alive; return whether it is decided."""
        if self.left is None and all(one in self.well or not ranks[one].alive for one in self.members):
            self.left = [one for one in self.members if ranks[one].alive]
        return self.left is not None

    @property
    def all_well(self) -> bool:
        return self.left == self.members and all(self.well.values())


@dataclass
class _Rank:
    """What the world knows of one rank."""

    clock: float = 0.0
    calls: int = 0
    sent: int = 0
    alive: bool = True
    waits_for: Callable[[], bool] | None = None  # says whether it is there, or will never be
    lost: bool = False
    frozen: bool = False
    expired: bool = False  # whether its deadline is the first of all
    result: Any = None
    error: BaseException | None = None

    @property
    def waits_in_vain(self) -> bool:
        """Whether it waits for what is not there, from one who is."""
        return self.waits_for is not None and not self.waits_for()


@dataclass
class World:
    """Some ranks, each a thread.

    Args:
        size: how many.
        link: between any two of them.
        faults: what happens to them.
        deadline: seconds for which a rank waits for a message.
        apart: whether each rank is a machine of its own.
        survives: whether ranks that are left can go on without one that is lost.

    Attributes:
        ranks: what became of each.
    """

    size: int
    link: Link = Link()
    faults: Iterable[Fault] = ()
    deadline: float = DEADLINE
    apart: bool = False
    survives: bool = False
    ranks: list[_Rank] = field(init=False)

    def __post_init__(self) -> None:
        self.ranks = [_Rank() for _ in range(self.size)]
        self.changed = threading.Condition()
        self.lines: dict[tuple[int, int, Context, int], _Line] = defaultdict(_Line)
        self.left: set[Context] = set()  # those where somebody has found a loss: nobody talks there any more
        self.meetings: dict[Context, _Meeting] = {}
        self.windows: dict[tuple[Context, int], list[Array]] = {}
        self._faults = {(fault.rank, fault.call, fault.kind): fault for fault in self.faults}
        self._ended = False

    def run(self, work: Callable[["Threads"], Any]) -> list[Any]:
        """Let every rank do this work; return what each gave or raised, None of one that was killed or stands still."""
        threads = [threading.Thread(target=self._life, args=(work, rank), daemon=True) for rank in range(self.size)]
        for thread in threads:
            thread.start()
        with self.changed:
            self.changed.wait_for(lambda: not any(one.alive and not one.frozen for one in self.ranks))
            self._ended = True
            self.changed.notify_all()
        for thread in threads:
            thread.join()
        return [one.error or one.result for one in self.ranks]

    def _life(self, work: Callable[["Threads"], Any], rank: int) -> None:
        own = self.ranks[rank]
        try:
            own.result = work(Threads(self, list(range(self.size)), rank))
        except _Killed:
            own.lost = True
        except BaseException as error:
            own.error, own.lost = error, True
        with self.changed:
            own.alive = False
            self._look()

    def count_call(self, rank: int) -> None:
        """Count a call of a rank, and do to it what was asked for."""
        own = self.ranks[rank]
        own.calls += 1
        own.lost = own.lost or (rank, own.calls - 1, "kill") in self._faults
        if own.lost:  # also where it goes on after the first time, in a `finally`
            raise _Killed
        if (rank, own.calls - 1, "freeze") in self._faults:
            with self.changed:
                own.frozen = True
                self._look()
                self.changed.wait_for(lambda: self._ended)
            own.lost = True
            raise _Killed

    def put(self, source: int, to: int, context: Context, tag: int, content: bytes) -> None:
        """Send a message."""
        self.count_call(source)
        own = self.ranks[source]
        late = self._faults.get((source, own.sent, "delay"))
        with self.changed:
            self._require_here(context)
            line = self.lines[source, to, context, tag]
            if (source, own.sent, "drop") not in self._faults:
                arrival = own.clock + (late.seconds if late else 0.0) + self.link.seconds(len(content))
                line.messages[line.sent] = _Message(arrival, content)
            line.sent += 1
            own.sent += 1
            self._look()

    def take(self, source: int, to: int, context: Context, tag: int) -> bytes:
        """Return the next message, or say why none comes."""
        self.count_call(to)
        own, other = self.ranks[to], self.ranks[source]
        with self.changed:
            line = self.lines[source, to, context, tag]
            self._wait(own, lambda: line.next is not None or not other.alive or context in self.left)
            self._require_here(context)
            message, until = line.next, own.clock + self.deadline
            if message and message.arrival <= until:
                line.taken += 1
                del line.messages[line.taken - 1]
                own.clock = max(own.clock, message.arrival)
                return message.content
            if not message and not other.alive:
                own.clock = max(own.clock, other.clock + self.link.latency)
                raise RankError(f"rank {source} is lost", [source], self.survives)
            own.clock, own.expired = until, False
            self._look()
        raise RankError(f"rank {source} was silent for {self.deadline:g} s", [source], self.survives)

    def meet(self, rank: int, context: Context, members: list[int], well: bool) -> _Meeting:
        """Come together with all that are left."""
        self.count_call(rank)
        own = self.ranks[rank]
        with self.changed:
            if not well:
                self.left.add(context[:-1])
            meeting = self.meetings.setdefault(context, _Meeting(members))
            meeting.well[rank] = well
            self._wait(own, lambda: meeting.over(self.ranks))
            if meeting.left is not None:
                own.clock = max(own.clock, *(self.ranks[one].clock for one in meeting.left)) + self.link.latency
                return meeting
            own.clock, own.expired = own.clock + self.deadline, False
            absent = [one for one in members if one not in meeting.well and self.ranks[one].alive]
            self._look()
        raise RankError(f"rank {absent[0]} was silent for {self.deadline:g} s", absent)

    def _wait(self, own: _Rank, there: Callable[[], bool]) -> None:
        """Wait until something is there, or it is this rank whose deadline comes first."""
        own.waits_for = there
        self._look()
        self.changed.wait_for(lambda: there() or own.expired)
        own.waits_for = None

    def _require_here(self, context: Context) -> None:
        """Raise RankError where somebody has left a communicator because of a loss."""
        if context in self.left:
            lost = [number for number, one in enumerate(self.ranks) if one.lost]
            raise RankError("another rank has found a loss", lost, self.survives)

    def _look(self) -> None:
        """Where all that are left wait for what is not there, tell the one whose deadline comes first."""
        self.changed.notify_all()
        left = [one for one in self.ranks if one.alive and not one.frozen]
        if left and all(one.waits_in_vain for one in left) and not any(one.expired for one in left):
            min(left, key=lambda one: one.clock).expired = True


class Threads(Communicator):
    """One rank of a World.

    Args:
        world: where it lives.
        members: the numbers in the world of those who talk here.
        rank: which of them this is.
        context: of this communicator.
    """

    def __init__(self, world: World, members: list[int], rank: int, context: Context = ()) -> None:
        self._world, self._members, self._context = world, members, context
        self.rank, self.size, self.local = rank, len(members), 1 if world.apart else len(members)
        self.survives, self.numbers = world.survives, tuple(members)
        self._windows = self._meetings = 0

    @property
    def clock(self) -> float:
        """The rank's time, in seconds since the begin of the world."""
        return self._world.ranks[self._members[self.rank]].clock

    def work(self, seconds: float) -> None:
        """Let time go by."""
        self._world.ranks[self._members[self.rank]].clock += seconds

    def send(self, vector: Array, to: int, tag: int = 0) -> None:
        self._put(vector.tobytes(), to, tag)

    def receive(self, vector: Array, source: int, tag: int = 0) -> None:
        content = self._take(source, tag)
        vector[...] = np.frombuffer(content, vector.dtype).reshape(vector.shape)

    def swap(self, vector: Array, other: int, into: Array) -> None:
        self.send(vector, other)
        self.receive(into, other)

    def add(self, vector: Array) -> None:
        for number, content in enumerate(self.gather(vector.tobytes())):
            part = np.frombuffer(content, vector.dtype).reshape(vector.shape)
            vector[...] = part if number == 0 else vector + part

    def broadcast(self, vector: Array, root: int = 0) -> None:
        content = self.gather(vector.tobytes() if self.rank == root else b"")[root]
        vector[...] = np.frombuffer(content, vector.dtype).reshape(vector.shape)

    def gather(self, value: bytes) -> list[bytes]:
        others = [rank for rank in range(self.size) if rank != self.rank]
        for rank in others:
            self._put(value, rank, COLLECTIVE)
        return [value if rank == self.rank else self._take(rank, COLLECTIVE) for rank in range(self.size)]

    def window(self, values: Array) -> Window:
        parts = [np.frombuffer(content, values.dtype).copy() for content in self.gather(values.tobytes())]
        self._windows += 1
        with self._world.changed:
            shared = self._world.windows.setdefault((self._context, self._windows), parts)
        return _Shared(self._world, shared, self._members[self.rank])

    def barrier(self) -> None:
        self.gather(b"")

    def failed(self) -> frozenset[int]:
        ranks = self._world.ranks
        return frozenset(rank for rank, member in enumerate(self._members) if ranks[member].lost)

    def shrink(self, well: bool = False) -> Communicator:
        self._meetings += 1
        own, context = self._members[self.rank], (*self._context, self._meetings)
        meeting = self._world.meet(own, context, self._members, well)
        if meeting.all_well:
            return self
        assert meeting.left
        return Threads(self._world, meeting.left, meeting.left.index(own), context)

    def abort(self, reason: str) -> NoReturn:
        raise RankError(reason)

    def _put(self, content: bytes, to: int, tag: int) -> None:
        self._world.put(self._members[self.rank], self._members[to], self._context, tag, content)

    def _take(self, source: int, tag: int) -> bytes:
        begun = self.clock
        try:
            return self._world.take(self._members[source], self._members[self.rank], self._context, tag)
        finally:
            self.seconds += self.clock - begun


class _Shared(Window):
    """One rank's side of the numbers of all.

    Args:
        world: where it lives.
        parts: the numbers of each rank.
        owner: the rank's number in the world; what it does here counts as its calls.
    """

    def __init__(self, world: World, parts: list[Array], owner: int) -> None:
        self._world, self._parts, self._owner = world, parts, owner

    def add(self, rank: int, start: int, values: Array) -> None:
        self._world.count_call(self._owner)
        with self._world.changed:
            self._parts[rank][start : start + len(values)] += values

    def get(self, rank: int, start: int, out: Array) -> None:
        self._world.count_call(self._owner)
        with self._world.changed:
            out[...] = self._parts[rank][start : start + len(out)]

    def advance(self, rank: int, place: int, by: float) -> float:
        self._world.count_call(self._owner)
        with self._world.changed:
            before = float(self._parts[rank][place])
            self._parts[rank][place] += by
        return before

    def close(self) -> None:
        pass
