"""The same steps with real messages: ranks of a World in a time of their own, against which the formulas are held.

A rank that does two things at the same time, such as a backward pass and the sum of gradients, is two threads here.
What they say to each other is empty, and takes no time.
"""

from collections.abc import Callable, Iterator

import numpy as np
from rank_costs import FORWARD, Costs
from rank_models import (
    MOVED,
    TOLD,
    doubling,
    halving,
    micro,
    order_of,
    shared_step,
    stages_of,
)

from gedanken.ranks.in_process import Link, Threads, World

NOTHING = np.empty(0, np.float32)
SHORT = np.zeros(1, np.uint8)


class Wire(Link):
    """A Link on which messages of nothing take no time."""

    def seconds(self, nbytes: int) -> float:
        """Return how long so many bytes are on their way."""
        return super().seconds(nbytes) if nbytes else 0.0


def _add(ranks: Threads, rank: int, first: int, size: int, nbytes: int, adding: float, link: Link) -> None:
    """Add up an array over ranks first ... first + size - 1 of a World, of which this one is number `rank`."""
    if size == 1:
        return
    by_doubling = doubling(nbytes, size, link, adding) <= halving(nbytes, size, link, adding)
    numbers = max(-(-int(nbytes) // 4), 1)
    vector = np.full(numbers if by_doubling else -(-numbers // size) * size, rank + 1, np.float32)
    if by_doubling:
        for distance in _powers(size):
            found = _swapped(ranks, first + (rank ^ distance), vector, np.empty_like(vector))
            vector += found
            ranks.work(vector.nbytes / adding)
    else:
        begin, end = 0, len(vector)
        for distance in reversed([*_powers(size)]):
            middle = (begin + end) // 2
            upper = bool(rank & distance)
            given, kept = (slice(begin, middle), slice(middle, end))[:: 1 if upper else -1]
            found = _swapped(ranks, first + (rank ^ distance), vector[given], np.empty_like(vector[kept]))
            vector[kept] += found
            ranks.work(found.nbytes / adding)
            begin, end = kept.start, kept.stop
        for distance in _powers(size):
            length, upper = end - begin, bool(rank & distance)
            other = slice(begin - length, begin) if upper else slice(end, end + length)
            vector[other] = _swapped(ranks, first + (rank ^ distance), vector[begin:end], np.empty_like(vector[other]))
            begin, end = min(begin, other.start), max(end, other.stop)
    assert np.all(vector == size * (size + 1) / 2)


def _powers(size: int) -> Iterator[int]:
    distance = 1
    while distance < size:
        yield distance
        distance *= 2


def _swapped(ranks: Threads, other: int, given: np.ndarray, found: np.ndarray) -> np.ndarray:
    ranks.send(given, other)
    ranks.receive(found, other)
    return found


def _tell(ranks: Threads, rank: int, size: int) -> None:
    """Let all ranks know what each tells: twice as much with each step."""
    for distance in _powers(size):
        news = np.zeros(distance * TOLD, np.uint8)
        _swapped(ranks, rank ^ distance, news, np.empty_like(news))


def _latest(size: int, link: Link, work: Callable[[Threads], None]) -> float:
    """Return when the last of some ranks has done its work."""
    world = World(size, Wire(*link))
    for found in world.run(work):
        if isinstance(found, BaseException):
            raise found
    return max(one.clock for one in world.ranks)


def data_parallel(costs: Costs, size: int, link: Link) -> float:
    """Return the seconds of a step of DataParallel."""
    buckets = [int(amount) for kind, amount in shared_step(costs, size) if kind == "bucket"]

    def work(ranks: Threads) -> None:
        rank = ranks.rank % size
        if ranks.rank >= size:
            for nbytes in buckets:
                ranks.receive(NOTHING.copy(), rank)
                _add(ranks, rank, size, size, nbytes, costs.adding, link)
            ranks.send(NOTHING, rank)
            return
        for kind, amount in shared_step(costs, size):
            if kind == "work":
                ranks.work(amount)
            elif kind == "meet":
                _add(ranks, rank, 0, size, int(amount), costs.adding, link)
            else:
                ranks.send(NOTHING, size + rank)
        ranks.receive(NOTHING.copy(), size + rank)
        _tell(ranks, rank, size)
        ranks.work(costs.update)

    return _latest(2 * size, link, work)


def local_sgd(costs: Costs, size: int, link: Link, period: int) -> float:
    """Return the seconds of a round of LocalSGD."""

    def work(ranks: Threads) -> None:
        for _ in range(period):
            ranks.work(costs.seconds(costs.batch) + costs.update)
        _tell(ranks, ranks.rank, size)
        _add(ranks, ranks.rank, 0, size, costs.parameters, costs.adding, link)

    return _latest(size, link, work)


def server_step(costs: Costs, size: int, link: Link, push: int, fetch: int) -> float:
    """Return the seconds of a mini-batch of ParameterServer, of push * fetch of them in a row.

    Each pair of a shard and a rank that comes to it is a thread of the shard's.
    """
    shard = np.zeros(max(costs.parameters // size // 4, 1), np.float32)
    rounds = push * fetch
    trips = rounds // push * MOVED[0] + rounds // fetch * MOVED[1]

    def work(ranks: Threads) -> None:
        if ranks.rank >= size:
            owner, client = divmod(ranks.rank - size, size)
            for _ in range(trips if owner != client else 0):
                ranks.receive(SHORT.copy(), client)
                ranks.send(shard, client)
            return
        for number in range(1, rounds + 1):
            ranks.work(costs.seconds(costs.batch) + costs.update)
            for _ in range((number % push == 0) * MOVED[0] + (number % fetch == 0) * MOVED[1]):
                for owner in range(size):
                    if owner != ranks.rank:
                        ranks.send(SHORT, size + owner * size + ranks.rank)
                        ranks.receive(shard.copy(), size + owner * size + ranks.rank)

    return _latest(size + size * size, link, work) / rounds


def pipeline(costs: Costs, size: int, link: Link, micro_batches: int) -> float:
    """Return the seconds of a step of Pipeline."""
    stages, (samples, whole) = stages_of(costs, size), micro(costs, micro_batches)
    slowest = max(stage.parameters for stage in stages) / costs.parameters

    def work(ranks: Threads) -> None:
        rank = ranks.rank
        behind = np.zeros(samples * stages[rank].output, np.uint8)
        before = np.zeros(samples * stages[rank - 1].output if rank else 0, np.uint8)
        for kind, _ in order_of(rank, size, micro_batches):
            forward = kind == "F"
            source, to = (rank - 1, rank + 1) if forward else (rank + 1, rank - 1)
            if 0 <= source < size:
                ranks.receive(before if forward else behind, source)
            ranks.work((FORWARD if forward else 1 - FORWARD) * stages[rank].share * whole)
            if 0 <= to < size:
                ranks.send(behind if forward else before, to)
        _tell(ranks, rank, size)
        ranks.work(slowest * costs.update)

    return _latest(size, link, work)
