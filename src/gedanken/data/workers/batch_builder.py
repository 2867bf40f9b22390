"""One mini-batch in the making."""

from collections.abc import Sequence

from gedanken.data.workers.arena import Slots
from gedanken.types import Array


class BatchBuilder:
    """Takes samples until the mini-batch is full: in place while they lie where they belong, else copied together.

    Args:
        slots: where samples come from.
    """

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self.samples = 0
        self._slot = -1  # the mini-batch is the first rows of this one
        self._copies: list[Array] | None = None

    def take_rows(self, slot: int, row: int, count: int) -> None:
        """Add rows of a slot."""
        if self.samples == 0 and row == 0:
            self._slots.hold(slot)
            self._slot = slot
        elif slot != self._slot or row != self.samples:
            self.take([array[row : row + count] for array in self._slots.arena[slot]])
            return
        self.samples += count

    def take(self, arrays: Sequence[Array]) -> None:
        """Add samples that lie anywhere."""
        count = len(arrays[0])
        for target, array in zip(self._copied(), arrays, strict=True):
            target[self.samples : self.samples + count] = array
        self.samples += count

    def _copied(self) -> list[Array]:
        if self._copies is None:
            arena = self._slots.arena
            self._copies = arena.spec.empty(arena.rows)
            if self._slot >= 0:
                for target, array in zip(self._copies, arena[self._slot], strict=True):
                    target[: self.samples] = array[: self.samples]
                self.drop()
        return self._copies

    def move_out(self) -> None:
        """Leave the slot, with what is in it."""
        self._copied()

    def finish(self) -> list[Array]:
        """Return the mini-batch; the caller owns it."""
        if self._copies is not None:
            return [array[: self.samples] for array in self._copies]
        slot, self._slot = self._slot, -1
        return self._slots.lend(slot, self.samples)

    def drop(self) -> None:
        """Leave the slot."""
        if self._slot >= 0:
            self._slots.release(self._slot)
            self._slot = -1
