"""How the micro-batches of one mini-batch go through a stage: forward, and back in the same order."""

from collections.abc import Callable, Sequence
from typing import Any

from gedanken.data.batches import Batch
from gedanken.parallel.pipeline_stage import Stage
from gedanken.ranks.communicator import Communicator
from gedanken.types import Array


class Flow:
    """One mini-batch's way through this rank's stage.

    A rank sends in the same call in which it takes what the neighbour sends meanwhile, so none of two that send to each
    other waits for the other to take.

    Args:
        stage: what this rank runs.
        ranks: in the order of their stages.
        sizes: how many samples each micro-batch has.
        batch: returns a micro-batch by its number.
        epoch: counted from 0.
    """

    def __init__(
        self, stage: Stage, ranks: Communicator, sizes: Sequence[int], batch: Callable[[int], Batch], epoch: int
    ) -> None:
        self._stage, self._ranks, self._sizes, self._batch, self._epoch = stage, ranks, sizes, batch, epoch
        self._before = ranks.rank - 1 if ranks.rank else None
        self._after = ranks.rank + 1 if ranks.rank + 1 < ranks.size else None

    def run(self, ahead: int) -> None:
        """Run all micro-batches; `ahead` of them go forward before the first one comes back."""
        count, ranks = len(self._sizes), self._ranks
        ahead = min(ahead, count)
        for number in range(ahead):
            self._to_next(self._forward(number, self._from_before(number)))
        x = self._from_before(ahead) if ahead < count else None
        for number in range(count - ahead):
            y = self._forward(ahead + number, x)
            dy = self._gradient(number)
            if self._after is not None and dy is not None:
                ranks.swap(y, self._after, dy)
            dx = self._backward(number, dy)
            x = self._input(ahead + number + 1)
            if self._before is not None and x is not None:
                ranks.swap(dx, self._before, x)
            else:
                self._to_before(dx)
            self._stage.add(number)
        for number in range(count - ahead, count):
            self._to_before(self._backward(number, self._from_next(number)))
            self._stage.add(number)

    # ------------------------------------------------------------------ neighbours

    def _from_before(self, number: int) -> Array | None:
        x = self._input(number)
        if self._before is not None and x is not None:
            self._ranks.receive(x, self._before)
        return x

    def _from_next(self, number: int) -> Array | None:
        dy = self._gradient(number)
        if self._after is not None and dy is not None:
            self._ranks.receive(dy, self._after)
        return dy

    def _to_next(self, y: Array) -> None:
        if self._after is not None:
            self._ranks.send(y, self._after)

    def _to_before(self, dx: Array) -> None:
        if self._before is not None:
            self._ranks.send(dx, self._before)

    def _input(self, number: int) -> Array | None:
        """Return room for what comes in; None in the first stage, and behind the last micro-batch."""
        if self._before is None or number >= len(self._sizes):
            return None
        return self._stage.room("x", number, self._sizes[number])

    def _gradient(self, number: int) -> Array | None:
        """Return room for the gradient that comes back; None in the last stage."""
        return None if self._after is None else self._stage.room("dy", number, self._sizes[number])

    # ------------------------------------------------------------------ work

    def _forward(self, number: int, x: Array | None) -> Any:
        return self._stage.forward(number, self._batch(number), self._epoch, x)

    def _backward(self, number: int, dy: Array | None) -> Any:
        given = self._stage.end(number, self._batch(number)) if self._after is None else dy
        return self._stage.backward(number, given)
