"""Memory for mini-batches that is used again and again.

The first touch of new memory costs three times as much as copying into warm memory, so a Generator has a fixed
number of slots, each as large as a mini-batch, and workers write samples into their rows. A mini-batch is handed out
as views of a slot; when the last of them dies the slot is free.
"""

import mmap
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gedanken.data.workers.items import ItemSpec
from gedanken.processes.memory import CACHE_LINE, rounded_up
from gedanken.types import Array

LENT = 2  # slots that the caller may hold: the mini-batch in use, and the next one when it is handed over


class Arena:
    """Slots of `rows` samples each.

    Args:
        spec: what a sample consists of.
        rows: samples of a slot.
        slots: number of them.
        memory: a writable buffer of `size(...)` bytes; None allocates it.
        reserve: called with (start, bytes) of a slot before it is first used.
    """

    def __init__(
        self,
        spec: ItemSpec,
        rows: int,
        slots: int,
        memory: Any = None,
        reserve: Callable[[int, int], None] | None = None,
    ) -> None:
        self.spec, self.rows, self.slots, self._reserve = spec, rows, slots, reserve
        if memory is None:
            memory = np.empty(self.size(spec, rows, slots), np.uint8)
        self._step = self.size(spec, rows, 1)
        self._arrays = [self._slot(memory, slot * self._step) for slot in range(slots)]

    @staticmethod
    def size(spec: ItemSpec, rows: int, slots: int) -> int:
        """Return how many bytes so many slots take."""
        slot = sum(rounded_up(array.size * rows, CACHE_LINE) for array in spec.arrays)
        return slots * rounded_up(max(slot, 1), mmap.PAGESIZE)

    def _slot(self, memory: Any, at: int) -> list[Array]:
        arrays = []
        for array in self.spec.arrays:
            arrays.append(np.ndarray((self.rows, *array.shape), array.dtype, memory, at))
            at += rounded_up(array.size * self.rows, CACHE_LINE)
        return arrays

    def __getitem__(self, slot: int) -> list[Array]:
        """Return the arrays of a slot, each (rows, *shape)."""
        return self._arrays[slot]

    def reserve(self, slot: int) -> None:
        """Make sure that the memory of a slot is there."""
        if self._reserve:
            self._reserve(slot * self._step, self._step)

    def lend(self, slot: int, samples: int, returned: "deque[int]") -> list[Array]:
        """Return views of a slot's first rows; when all are gone the slot's number is put into `returned`."""
        lease = _Lease(slot, returned)
        return [np.asarray(_Lent(array[:samples], lease)) for array in self._arrays[slot]]


class Slots:
    """Who uses which slot of an arena: tasks that write to it, a mini-batch in the making, a mini-batch lent out."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self._free = list(range(arena.slots))  # the one freed last is taken first: its memory is warm
        self._fresh = set(self._free)
        self._users = [0] * arena.slots
        self._lent = 0
        self._returned: deque[int] = deque()

    def free(self) -> int:
        """Return how many slots are free."""
        while self._returned:
            self._lent -= 1
            self.release(self._returned.popleft())
        return len(self._free)

    def take(self) -> int:
        """Return a free slot, with one user. There must be one."""
        slot = self._free.pop()
        if slot in self._fresh:
            self._fresh.discard(slot)
            self.arena.reserve(slot)
        self._users[slot] = 1
        return slot

    def hold(self, slot: int) -> None:
        """Add a user."""
        self._users[slot] += 1

    def release(self, slot: int) -> None:
        """Take a user away; without any the slot is free."""
        self._users[slot] -= 1
        if not self._users[slot]:
            self._free.append(slot)

    def lend(self, slot: int, samples: int) -> list[Array]:
        """Give away the first rows of a slot and one user of it.

        The caller gets views, or copies where he holds two already: there are slots left for the workers then,
        though he keeps all mini-batches for ever.
        """
        self.free()
        if self._lent < LENT:
            self._lent += 1
            return self.arena.lend(slot, samples, self._returned)
        copies = [array[:samples].copy() for array in self.arena[slot]]
        self.release(slot)
        return copies


class _Lease:
    """Dies with the last view of a slot. `deque.append` may be called from any thread at any time."""

    __slots__ = ("returned", "slot")

    def __init__(self, slot: int, returned: "deque[int]") -> None:
        self.slot, self.returned = slot, returned

    def __del__(self) -> None:
        if hasattr(self, "returned"):  # else Ctrl-C came before it was made
            self.returned.append(self.slot)


class _Lent:
    """One array of a slot; NumPy keeps it as the base of every view."""

    __slots__ = ("__array_interface__", "array", "lease")

    def __init__(self, array: Array, lease: _Lease) -> None:
        self.array, self.lease = array, lease
        self.__array_interface__ = array.__array_interface__


class RowWriter:
    """Rows of an arena that a task may fill, one after the other, over several slots.

    Args:
        arena: where.
        slots: the slots in order; the first is entered at `row`.
        row: the next row in the current slot.
        room: how many rows.
    """

    def __init__(self, arena: Arena, slots: Sequence[int], row: int, room: int) -> None:
        self._arena, self._slots, self._room = arena, iter(slots), room
        self._left = room  # rows of the slots behind the current one
        self._opened = arena.spec.opened
        self._enter(row)

    def _enter(self, row: int) -> None:
        self._arrays = self._arena[next(self._slots)]
        self.row, self._stop = row, min(self._arena.rows, row + self._left)
        self._left -= self._stop - row
        specs = self._arena.spec.arrays
        self._columns = [(a, s.dtype, s.shape, s.plain, s.scalar) for a, s in zip(self._arrays, specs, strict=True)]

    def written(self) -> int:
        """Return how many rows were written."""
        return self._room - self._left - (self._stop - self.row)

    def _room_here(self) -> int:
        """Return how many rows are left in the current slot; where none is, go on to the next."""
        if self.row == self._stop and self._left:
            self._enter(0)
        return self._stop - self.row

    def put_plain(self, items: Sequence[Any]) -> int:
        """Write items while they have just the right arrays and there is room; return how many.

        This is the way of nearly all samples, so it is written for speed: no call, no search for errors. What it does
        not take, for whatever reason, is left to `put` after a look at all that it may be.
        """
        done, opened = 0, self._opened
        for item in items:
            if self.row == self._stop and not self._room_here():
                break
            row, columns = self.row, self._columns
            values = opened(item) if opened else item
            if type(values) is not tuple or len(values) != len(columns):
                break
            try:
                for value, (array, dtype, shape, plain, scalar) in zip(values, columns):  # noqa: B905 - lengths are equal
                    kind = type(value)
                    if kind is np.ndarray:
                        # Usually one dtype object serves all arrays, and `is` is faster than `!=`.
                        if (value.dtype is not dtype and value.dtype != dtype) or value.shape != shape:
                            return done
                    elif kind is not plain and kind is not scalar:
                        return done
                    array[row] = value
            except OverflowError:  # a whole number that is too large
                return done
            self.row = row + 1  # only now: a row that was left in the middle is written again
            done += 1
        return done

    def put(self, arrays: Sequence[Array]) -> int:
        """Write as many samples as there is room for, and return how many.

        Args:
            arrays: one for each array of a sample, checked, each with a first axis of samples.
        """
        done, count = 0, len(arrays[0])
        while part := min(count - done, self._room_here()):
            for target, array in zip(self._arrays, arrays, strict=True):
                target[self.row : self.row + part] = array if part == count else array[done : done + part]
            self.row += part
            done += part
        return done
