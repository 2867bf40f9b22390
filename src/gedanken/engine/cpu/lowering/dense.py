"""Fully connected layers with their activation, and SoftMax."""

from typing import NamedTuple

from gedanken.engine.cpu.kernels.blocks import Rows
from gedanken.engine.cpu.kernels.dense import DEPTH, TOGETHER, Product
from gedanken.engine.cpu.kernels.rows import Activation
from gedanken.engine.cpu.lowering import bf16
from gedanken.engine.cpu.lowering.base import PIECE, TASKS, Lowered, Lowering, Matrix, cut
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


def dense(low: Lowering, stage: LayerStage, x: Buffer, activation: Activation) -> Lowered:
    """Lower y = f(x @ kernel + bias)."""
    features, units = stage.p["kernel"].shape
    rows = low.samples * (stage.shape[0] if len(stage.shape) == 2 else 1)
    factor = Factor(stage.p["kernel"], stage.p.get("bias", low.zeros(units)), (rows, features, units))
    return dense_product(low, stage, x, factor, activation)


def dense_product(low: Lowering, stage: LayerStage, x: Buffer, factor: Factor, activation: Activation) -> Lowered:
    """Lower f(x @ kernel + bias) of a layer that amounts to it."""
    rows, features, units = factor.sizes
    pieces = max(1, min(2 * TASKS, features // (4 * DEPTH)), cut(features, LONG))
    y = low.buffer((low.samples, *stage.output_shape))
    summed = low.buffer((pieces, rows, units))
    given, kernel = Matrix(x, features, 1), Matrix(factor.kernel, units, 1)
    _multiply(low, given, kernel, factor.bias, summed, (rows, units, features), pieces)
    low.program.add(
        "dense.finish", cut(rows * units, PIECE), PIECE, partial=summed, y=y, size=rows * units, pieces=pieces,
        piece=PIECE, activation=activation,
    )  # fmt: skip

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        d = low.buffer((rows, units))
        piece = cut(rows, cut(rows * units, PIECE))
        slots = cut(rows, piece)
        sums = low.buffer((slots, units))
        low.program.add(
            "dense.gradients", slots, y=y, dy=dy, d=d, partial=sums, m=Rows(rows=rows, columns=units, piece=piece),
            activation=activation,
        )  # fmt: skip
        if "bias" in stage.g:
            low.add_up(sums, stage.g["bias"], slots)
        _product(low, given.transposed(), Matrix(d, units, 1), stage.g["kernel"], (features, units, rows))
        if not wanted:
            return None
        dx = low.buffer((low.samples, *stage.shape))
        _product(low, Matrix(d, units, 1), kernel.transposed(), dx, (rows, features, units))
        return dx

    return y, backward


def _product(low: Lowering, a: Matrix, b: Matrix, c: Buffer | Array, sizes: tuple[int, int, int]) -> None:
    """Emit C = A B; see `_multiply`. What is long to sum is summed in pieces."""
    rows, columns, inner = sizes
    pieces = cut(inner, LONG)
    if columns == 1 and a.down == 1 and inner <= SHORT and not low.bf16:  # one row of C: nothing has to be packed
        a, b = Matrix(b.numbers, inner, b.down), Matrix(a.numbers, a.right, a.down)
        rows, columns = 1, rows
        sizes = (rows, columns, inner)
    to = low.buffer((pieces, rows, columns)) if pieces > 1 else c
    _multiply(low, a, b, low.zeros(columns), to, sizes, pieces)
    if pieces > 1:
        low.add_up(to, c, pieces)


def _multiply(
    low: Lowering,
    a: Matrix,
    b: Matrix,
    bias: Array | Buffer,
    c: Buffer | Array,
    sizes: tuple[int, int, int],
    pieces: int,
) -> None:
    """Emit C = A B + bias; sizes are (rows, columns, inner)."""
    if low.bf16:
        bf16.multiply(low, a, b, bias, c, sizes, pieces)
        return
    rows, columns, inner = sizes
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


def _blocks(low: Lowering, sizes: tuple[int, int, int], pieces: int, transposed: bool) -> tuple[int, int]:
    """Return in how many blocks of rows and of columns a product falls.

    Every block of rows packs B anew, and every block of columns reads A anew and copies it where it is transposed; of
    all ways to make enough tasks, take the one that moves the fewest numbers.
    """
    rows, columns, inner = sizes
    wanted = cut(max(TASKS, min(BLOCKS, rows * columns * inner >> 20)), pieces)
    ways = [(n, min(low.panels(columns), cut(wanted, n))) for n in range(1, min(cut(rows, FULL), wanted) + 1)]
    return min(ways, key=lambda way: way[0] * columns + way[1] * rows * (1.0 if transposed else READ))


def softmax(low: Lowering, stage: LayerStage, x: Buffer) -> Lowered:
    """Lower a SoftMax that is not part of the cost."""
    columns = stage.shape[-1]
    rows = x.nbytes // low.real.itemsize // columns
    piece = cut(PIECE, columns)
    y = low.buffer(x.shape)
    matrix = Rows(rows=rows, columns=columns, piece=piece)
    low.program.add("cost.softmax", cut(rows, piece), x=x, y=y, m=matrix)

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        if not wanted:
            return None
        dx = low.buffer(x.shape)
        low.program.add("cost.softmax_gradient", cut(rows, piece), y=y, dy=dy, dx=dx, m=matrix)
        return dx

    return y, backward
