"""Where a Generator is: what of an epoch was delivered, and which of its calls are still to come."""

import bisect
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gedanken.data.workers.tasks import Span


class Record(NamedTuple):
    """Of the calls from `first` to `rest.stop`, this is left."""

    first: int
    rest: Span


class Mark(NamedTuple):
    """What was delivered: records of the last mini-batch, and the mark before it where that still says something."""

    before: "Mark | None"
    records: list[Record]


class Position(NamedTuple):
    """Where a Generator is: the epoch, what of it was delivered, and what is still to come.

    Args:
        epoch: its number, from 0.
        calls: how many it has.
        mini_batches, samples: delivered.
        todo: calls that are not.
        mark: what the scheduler delivered of them since; set together with the numbers, so that they always agree.
    """

    epoch: int
    calls: int
    mini_batches: int
    samples: int
    todo: list[Span]
    mark: Mark | None = None

    @classmethod
    def start(cls, epoch: int, calls: int) -> "Position":
        """Return the beginning of an epoch."""
        return cls(epoch, calls, 0, 0, [Span(0, calls, 0)] if calls else [])


def rest_of(plan: Sequence[Span], mark: Mark | None) -> list[Span]:
    """Return what of a plan was not delivered when `mark` was the last one, in order.

    It depends on nothing that an interrupt may have left half changed.
    """
    left: dict[int, Span] = {}
    while mark:
        for record in mark.records:
            left.setdefault(record.first, record.rest)  # the newest record of a task holds
        mark = mark.before
    merged: list[Span] = []
    for span in _spans(plan, left):
        if merged and merged[-1].stop == span.first and not merged[-1].skip and not span.skip:
            merged[-1] = merged[-1]._replace(stop=span.stop)
        elif span.first < span.stop:
            merged.append(span)
    return merged


def _spans(plan: Sequence[Span], left: dict[int, Span]) -> Iterator[Span]:
    """Yield the calls of a plan in order, those that have a record as that says."""
    starts, place = sorted(left), 0
    for first, stop, skip in plan:
        place = max(place, first)  # a record may reach over several spans
        while place < stop:
            if place in left:
                yield left[place]
                place = left[place].stop
                continue
            following = bisect.bisect(starts, place)
            end = min(stop, starts[following]) if following < len(starts) else stop
            yield Span(place, end, skip if place == first else 0)
            place = end
