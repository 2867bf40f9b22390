"""Fully connected layers with their activation, and SoftMax."""

from typing import NamedTuple

from gedanken.engine.cpu.kernels.dense import DEPTH, TOGETHER
from gedanken.engine.cpu.lowering import bf16
from gedanken.engine.cpu.lowering.base import PIECE, TASKS, Lowered, Lowering, cut
from gedanken.engine.cpu.lowering.pointwise import Curve
from gedanken.engine.cpu.program import Buffer
from gedanken.layers.stages import LayerStage
from gedanken.types import Array

BLOCKS = 32  # tasks of a product: enough to share evenly
HELD = 8  # panels that are packed at once: with DEPTH, a quarter of a second-level cache
FULL = 72  # rows of a block that are worth packing B for
READ = 0.25  # what reading a number costs, in units of packing one
LONG = 64 * DEPTH  # numbers that are added to one sum: longer sums lose digits
SHORT = 2048  # the same, where a right factor is read as it lies
FEW = 8  # rows: below, a right factor is read once and not worth packing


class Factor(NamedTuple):
    """What a dense product multiplies its input with, and adds.

    Args:
        kernel, bias: (features, units), in whatever shape, and (units,).
        sizes: rows of the input, features, units.
    """

    kernel: Array | Buffer
    bias: Array | Buffer
    sizes: tuple[int, int, int]


def dense(low: Lowering, step: LayerStage, x: Buffer, curve: Curve) -> Lowered:
    """Lower y = f(x @ kernel + bias)."""
    features, units = step.p["kernel"].shape
    rows = low.samples * (step.shape[0] if len(step.shape) == 2 else 1)
    factor = Factor(step.p["kernel"], step.p.get("bias", low.zeros(units)), (rows, features, units))
    return dense_product(low, step, x, factor, curve)


def dense_product(low: Lowering, step: LayerStage, x: Buffer, factor: Factor, curve: Curve) -> Lowered:
    """Lower f(x @ kernel + bias) of a layer that amounts to it."""
    rows, features, units = factor.sizes
    pieces = max(1, min(2 * TASKS, features // (4 * DEPTH)), cut(features, LONG))
    y = low.buffer((low.samples, *step.output_shape))
    summed = low.buffer((pieces, rows, units))
    _multiply(low, x, factor.kernel, factor.bias, summed, (rows, units, features), (features, 1), (units, 1), pieces)
    low.program.add(
        "dense.finish", cut(rows * units, PIECE), PIECE, partial=summed, y=y, size=rows * units, pieces=pieces,
        piece=PIECE, kind=curve.kind, slope=curve.slope,
    )  # fmt: skip

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        d = low.buffer((rows, units))
        piece = cut(rows, cut(rows * units, PIECE))
        slots = cut(rows, piece)
        sums = low.buffer((slots, units))
        low.program.add(
            "dense.slopes", slots, y=y, dy=dy, d=d, rows=rows, columns=units, kind=curve.kind, slope=curve.slope,
            partial=sums, piece=piece,
        )  # fmt: skip
        if "bias" in step.g:
            low.add_up(sums, step.g["bias"], slots)
        _product(low, x, d, step.g["kernel"], (features, units, rows), (1, features), (units, 1))
        if not wanted:
            return None
        dx = low.buffer((low.samples, *step.shape))
        _product(low, d, factor.kernel, dx, (rows, features, units), (units, 1), (1, units))
        return dx

    return y, backward


def _product(
    low: Lowering,
    a: Buffer | Array,
    b: Buffer | Array,
    c: Buffer | Array,
    sizes: tuple[int, int, int],
    a_steps: tuple[int, int],
    b_steps: tuple[int, int],
) -> None:
    """Emit C = A B; see `_multiply`. What is long to sum is summed in pieces."""
    rows, columns, inner = sizes
    pieces = cut(inner, LONG)
    if columns == 1 and a_steps[0] == 1 and inner <= SHORT and not low.bf16:  # one row of C: nothing has to be packed
        a, b, a_steps, b_steps = b, a, (inner, b_steps[0]), (a_steps[1], a_steps[0])
        rows, columns = 1, rows
        sizes = (rows, columns, inner)
    to = low.buffer((pieces, rows, columns)) if pieces > 1 else c
    _multiply(low, a, b, low.zeros(columns), to, sizes, a_steps, b_steps, pieces)
    if pieces > 1:
        low.add_up(to, c, pieces)


def _multiply(
    low: Lowering,
    a: Buffer | Array,
    b: Buffer | Array,
    bias: Array | Buffer,
    c: Buffer | Array,
    sizes: tuple[int, int, int],
    a_steps: tuple[int, int],
    b_steps: tuple[int, int],
    pieces: int,
) -> None:
    """Emit C = A B + bias; sizes are (rows, columns, inner), the steps those of A and B along their two axes."""
    if low.bf16:
        bf16.multiply(low, a, b, bias, c, sizes, a_steps, b_steps, pieces)
        return
    rows, columns, inner = sizes
    if columns == 1 and rows > FEW and (a_steps[1], b_steps[0]) == (1, 1):
        blocks = min(rows, max(1, cut(TASKS, pieces)))
        low.program.add(
            "dense.dots",
            pieces * blocks,
            a=a,
            b=b,
            bias=bias,
            c=c,
            rows=rows,
            inner=inner,
            pieces=pieces,
            blocks=blocks,
        )
        return
    turned = a_steps[0] == 1 and a_steps[1] > 1
    direct = rows <= FEW and a_steps[1] == b_steps[1] == 1
    row_blocks, column_blocks = _blocks(low, sizes, pieces, turned)
    if direct and pieces >= TASKS:
        column_blocks = 1  # whole rows of B, one after the other
    held = min(cut(low.panels(columns), column_blocks), HELD) if b_steps[1] == 1 else 1
    scratch = 2 * columns if direct else DEPTH * (held * low.tile_columns + (TOGETHER if turned else 0))
    low.program.add(
        "dense.multiply", pieces * row_blocks * column_blocks, scratch,
        a=a, b=b, bias=bias, c=c, rows=rows, columns=columns, inner=inner, a_row=a_steps[0], a_inner=a_steps[1],
        b_inner=b_steps[0], b_column=b_steps[1], pieces=pieces, row_blocks=row_blocks, column_blocks=column_blocks,
        direct=int(direct), held=held, nought=low.nought,
    )  # fmt: skip


def _blocks(low: Lowering, sizes: tuple[int, int, int], pieces: int, turned: bool) -> tuple[int, int]:
    """Return in how many blocks of rows and of columns a product falls.

    Every block of rows packs B anew, and every block of columns reads A anew and copies it where it is turned; of all
    ways to make enough tasks, take the one that moves the fewest numbers.
    """
    rows, columns, inner = sizes
    wanted = cut(max(TASKS, min(BLOCKS, rows * columns * inner >> 20)), pieces)
    ways = [(n, min(low.panels(columns), cut(wanted, n))) for n in range(1, min(cut(rows, FULL), wanted) + 1)]
    return min(ways, key=lambda way: way[0] * columns + way[1] * rows * (1.0 if turned else READ))


def softmax(low: Lowering, step: LayerStage, x: Buffer) -> Lowered:
    """Lower a SoftMax that is not part of the cost."""
    columns = step.shape[-1]
    rows = x.nbytes // low.real.itemsize // columns
    piece = cut(PIECE, columns)
    y = low.buffer(x.shape)
    low.program.add("cost.softmax", cut(rows, piece), x=x, y=y, rows=rows, columns=columns, piece=piece)

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        if not wanted:
            return None
        dx = low.buffer(x.shape)
        low.program.add(
            "cost.softmax_slopes", cut(rows, piece), y=y, dy=dy, dx=dx, rows=rows, columns=columns, piece=piece
        )
        return dx

    return y, backward
