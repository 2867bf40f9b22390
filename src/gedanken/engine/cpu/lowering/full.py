"""Products in the number type of the network, on the micro-kernel."""

import numpy as np

from gedanken.engine.cpu.kernels.dense import DEPTH, TOGETHER, Product
from gedanken.engine.cpu.lowering import winograd
from gedanken.engine.cpu.lowering.base import TASKS, Lowering, Matrix, Products, cut, pack_phases, slot_count
from gedanken.engine.cpu.lowering.conv_gradient import by_kernel
from gedanken.engine.cpu.lowering.plan import Plan
from gedanken.engine.cpu.machine import Machine
from gedanken.engine.cpu.program import Buffer
from gedanken.geometry import Geometry
from gedanken.layers.stages import LayerStage
from gedanken.types import Array

PACKED = 128  # rows of weights that a task packs
BLOCKS = 32  # tasks of a product: enough to share evenly
HELD = 8  # panels that are packed at once: with DEPTH, a quarter of a second-level cache
FULL = 72  # rows of a block that are worth packing B for
READ = 0.25  # what reading a number costs, in units of packing one
FEW = 8  # rows: below, a right factor is read once and not worth packing


class Full(Products):
    """Products of a machine in the number type of the network, of so many bytes a number."""

    correlate, spread, speed = "conv.correlate", "spread.spread", 1
    reads_in_place, spreads_forward, other_basis = True, True, True

    def __init__(self, machine: Machine, itemsize: int) -> None:
        self.tile = (machine.rows, machine.vectors * machine.lanes(itemsize))

    def tile_cost(self, rows: Array) -> Array:
        return np.maximum(rows, 4)  # with fewer, a vector's sum waits for the one before

    def band_scratch(self, size: int, pitch: int, border: bool) -> int:
        return size if border else 0

    def strip_scratch(self, pixels: int, channels: int, products: int) -> int:
        return products

    def pack(self, low: Lowering, kernel: Array | Buffer, sizes: tuple[int, int, int], groups: int = 1) -> Buffer:
        taps, depth, columns = sizes
        rows = taps * depth
        packed = low.buffer((groups * low.panels(columns), rows, low.tile_columns))
        low.program.add(
            "conv.pack", cut(rows, PACKED), weights=kernel, packed=packed, rows=rows, columns=columns, groups=groups,
            block=PACKED,
        )  # fmt: skip
        return packed

    def pack_transposed(
        self, low: Lowering, kernel: Array | Buffer, taps: list[list[int]], depth: int, sizes: tuple[int, int, int]
    ) -> tuple[Buffer, list[int]]:
        lengths = [len(listed) * sizes[1] * low.tile_columns for listed in taps]
        return pack_phases(low, "conv.pack_transposed", kernel, taps, lengths, sizes)

    def multiply(
        self, low: Lowering, a: Matrix, b: Matrix, bias: Array | Buffer, c: Buffer | Array,
        sizes: tuple[int, int, int], pieces: int,
    ) -> None:  # fmt: skip
        rows, columns, inner = sizes
        # One column of B is dot products, and few rows read B once: neither is worth packing for.
        alone = columns == 1 and rows > FEW and (a.right, b.down) == (1, 1)
        transposed = a.down == 1 and a.right > 1
        direct = rows <= FEW and a.right == b.right == 1
        row_blocks, column_blocks = _blocks(low, sizes, pieces, transposed)
        if direct and pieces >= TASKS:
            column_blocks = 1  # whole rows of B, one after the other
        if alone:
            row_blocks, column_blocks = min(rows, max(1, cut(TASKS, pieces))), 1
        held = min(cut(low.panels(columns), column_blocks), HELD) if b.right == 1 else 1
        product = Product(
            rows=rows, columns=columns, inner=inner, a_row=a.down, a_inner=a.right, b_inner=b.down, b_column=b.right,
            pieces=pieces, row_blocks=row_blocks, column_blocks=column_blocks, direct=int(direct), held=held,
            zero_offset=low.zero_offset,
        )  # fmt: skip
        scratch = 2 * columns if direct else DEPTH * (held * low.tile_columns + (TOGETHER if transposed else 0))
        low.program.add(
            "dense.dots" if alone else "dense.multiply", pieces * row_blocks * column_blocks, 0 if alone else scratch,
            a=a.numbers, b=b.numbers, bias=bias, c=c, p=product,
        )  # fmt: skip

    def kernel_gradient(
        self, low: Lowering, stage: LayerStage, plan: Plan, geometry: Geometry, x: Buffer, dy: Buffer
    ) -> None:
        there = winograd.Slid(plan.source, plan.target, plan.before, geometry.size)
        if winograd.is_worth(low, geometry, there, slot_count(low, stage)):
            winograd.kernel_gradient(low, stage, there, x, dy)
        else:
            by_kernel(low, stage, plan, geometry, x, dy)


def _blocks(low: Lowering, sizes: tuple[int, int, int], pieces: int, transposed: bool) -> tuple[int, int]:
    """Return in how many blocks of rows and of columns a product falls.

    Every block of rows packs B anew, and every block of columns reads A anew and copies it where it is transposed; of
    all ways to make enough tasks, take the one that moves the fewest numbers.
    """
    rows, columns, inner = sizes
    if transposed and pieces >= TASKS:
        return 1, cut(low.panels(columns), HELD)  # what packs `held` panels copies A anyway
    wanted = cut(max(TASKS, min(BLOCKS, rows * columns * inner >> 20)), pieces)
    ways = [(n, min(low.panels(columns), cut(wanted, n))) for n in range(1, min(cut(rows, FULL), wanted) + 1)]
    return min(ways, key=lambda way: way[0] * columns + way[1] * rows * (1.0 if transposed else READ))
