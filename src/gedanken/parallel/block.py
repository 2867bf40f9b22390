"""The memory that workers share: the parameters, counters, and what each worker keeps there for its owner to see."""

from typing import Any, NamedTuple

import numpy as np

from gedanken.processes.memory import CACHE_LINE, Descriptor, mapped, rounded_up
from gedanken.types import Array, Arrays

CELLS = 16  # integers of each worker and of the head: two cache lines, since processors fetch pairs of them
# Of the head: orders that still count; the rate's factor; updates made before; the first of three for kernels' locks.
GENERATION, FACTOR, BEFORE, LOCK = 0, 1, 2, 8
# Of a worker: updates of this training; its order, and mini-batches of it that are done; whether it writes; updates
# made with its slots.
UPDATES, ORDER, DONE, WRITING, STEP = 0, 1, 2, 3, 4


class Layout(NamedTuple):
    """What lies in the block.

    Args:
        workers: how many.
        dtype: of all vectors.
        params, layer_state: lengths of these vectors.
        slots: names of the optimizer's vectors, each as long as the parameters.
        rows: that have a lock each.
    """

    workers: int
    dtype: str
    params: int
    layer_state: int
    slots: tuple[str, ...]
    rows: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes of the block."""
        each = self._room(self.layer_state) + len(self.slots) * self._room(self.params)
        locks = rounded_up(self.rows * 8, CACHE_LINE)
        return (1 + self.workers) * CELLS * 8 + locks + self._room(self.params) + self.workers * each

    def _room(self, size: int) -> int:
        """Return the bytes of a vector with what follows it up to the next cache line, at least one."""
        return rounded_up(max(size * np.dtype(self.dtype).itemsize, 1), CACHE_LINE)


class Block:
    """The block as arrays.

    All vectors begin on cache lines, so no number of theirs is ever stored in two parts.

    Args:
        layout: what lies in it.
        memory: of `layout.nbytes` bytes.

    Attributes:
        params: the parameters that all workers read and write.
        layer_states, slots: of each worker; nobody else reads them while it works.
        head, cells: integers of the owner, and of each worker.
        lock, each: what kernels lock with, see Sharing; workers are counted from 1 on.
    """

    def __init__(self, layout: Layout, memory: Descriptor) -> None:
        self.layout, buffer = layout, mapped(memory)
        integers = memoryview(buffer)[: (1 + layout.workers) * CELLS * 8].cast("q")
        self.head, *self.cells = [integers[at : at + CELLS] for at in range(0, len(integers), CELLS)]
        self.lock: Array = np.ndarray((3,), np.int64, buffer, LOCK * 8)
        self._factor = memoryview(buffer)[FACTOR * 8 : (FACTOR + 1) * 8].cast("d")
        self.each: Array = np.ndarray((layout.rows,), np.int64, buffer, len(integers) * 8)
        self._at = len(integers) * 8 + rounded_up(layout.rows * 8, CACHE_LINE)
        self.params = self._vector(buffer, layout.params)
        self.layer_states: list[Array] = []
        self.slots: list[Arrays] = []
        for _ in range(layout.workers):
            self.layer_states.append(self._vector(buffer, layout.layer_state))
            self.slots.append({name: self._vector(buffer, layout.params) for name in layout.slots})

    def _vector(self, buffer: Any, size: int) -> Array:
        found: Array = np.ndarray((size,), self.layout.dtype, buffer, self._at)
        self._at += self.layout._room(size)
        return found

    def unlock(self, worker: int) -> None:
        """Free the kernels' locks that a worker which was lost holds."""
        for locks in (self.lock[:1], self.each):
            locks[locks == worker + 1] = 0

    @property
    def factor(self) -> float:
        """What learning rates are multiplied by, as the owner's plateau and callbacks say."""
        return self._factor[0]

    @factor.setter
    def factor(self, value: float) -> None:
        self._factor[0] = value

    def others(self, worker: int) -> tuple[int, bool]:
        """Return how many updates the other workers have made, and whether one of them is writing."""
        made, writing = 0, 0
        for number, cells in enumerate(self.cells):
            if number != worker:
                made += cells[UPDATES]
                writing |= cells[WRITING]
        return made, bool(writing)
