"""What the instructions of one program share."""

from collections.abc import Callable

import numpy as np

from gedanken.engine.cpu.kernels.bf16 import TILE
from gedanken.engine.cpu.program import Buffer, Program
from gedanken.geometry import Geometry
from gedanken.layers.stages import LayerStage
from gedanken.types import Array, Shape

# Emits the backward instructions: (gradient by the output, whether one by the input is wanted) -> gradient by the
# input.
Backward = Callable[[Buffer, bool], Buffer | None]
Lowered = tuple[Buffer, Backward]

PIECE = 1 << 13  # numbers in one task of a pass over memory
TASKS = 8  # so many tasks are worth having, however few samples there are
CACHED = 160 << 10  # bytes of images that a task works on at once, well inside a second-level cache
SUMS = 4 << 20  # bytes for all slots of a kernel's gradient together


class Lowering:
    """One program in the making.

    Args:
        program: where instructions go.
        samples: mini-batch size.
        train: whether it is a training pass.
        seed: of the network.
    """

    def __init__(self, program: Program, samples: int, train: bool, seed: int) -> None:
        self.program, self.samples, self.train, self.seed = program, samples, train, seed
        machine = program.library.machine
        self.real = np.dtype(program.library.dtype)
        self.bf16 = program.library.precision == "bf16"
        self.tile_rows = TILE if self.bf16 else machine.rows
        self.lanes = machine.lanes(self.real.itemsize)
        self.tile_columns = TILE if self.bf16 else machine.vectors * self.lanes
        self.draws: list[Array] = []  # tables of the dropouts; places 2 and 3 are epoch and position
        self.nought = np.zeros(1, np.int64)

    def buffer(self, shape: Shape, dtype: str = "") -> Buffer:
        return self.program.buffer(shape, dtype or None)

    def zeros(self, count: int) -> Array:
        return np.zeros(count, self.real)

    def panels(self, columns: int) -> int:
        """Return how many panels of a packed matrix so many columns fill."""
        return cut(columns, self.tile_columns)

    def add_up(self, partial: Array | Buffer, target: Array | Buffer, slots: int) -> None:
        """Add up the slots of a sum, each of the target's size."""
        size = target.nbytes // self.real.itemsize
        self.program.add(
            "blocks.add_slots", cut(size, PIECE), 2 * PIECE, partial=partial, target=target, size=size, slots=slots,
            piece=PIECE,
        )  # fmt: skip


def window_table(step: LayerStage, geometry: Geometry) -> Array:
    """Return the shape table of `kernels/window.py`."""
    (top, _), (left, _) = geometry.padding
    numbers = (*step.shape, *step.output_shape[:2], *geometry.size, *geometry.stride, top, left, *geometry.dilation)
    return np.array(numbers, np.int64)


def cut(count: int, size: int) -> int:
    """Return in how many parts of at most `size` a count falls."""
    return -(-count // size)
