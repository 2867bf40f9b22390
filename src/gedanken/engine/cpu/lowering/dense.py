"""Fully connected layers with their activation."""

from typing import NamedTuple

from gedanken.engine.cpu.kernels.blocks import Rows
from gedanken.engine.cpu.kernels.dense import DEPTH
from gedanken.engine.cpu.kernels.rows import Activation
from gedanken.engine.cpu.lowering.base import PIECE, TASKS, Lowered, Lowering, Matrix, cut
from gedanken.engine.cpu.program import Buffer
from gedanken.layers.stages import LayerStage
from gedanken.types import Array

LONG = 64 * DEPTH  # numbers that are added to one sum: longer sums lose digits
SHORT = 2048  # the same, where a right factor is read as it lies
DEEP = 256  # rows of both factors of a kernel's gradient that are worth a piece of the sum


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
    low.products.multiply(low, given, kernel, factor.bias, summed, (rows, units, features), pieces)
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
        product(low, given.transposed(), Matrix(d, units, 1), stage.g["kernel"], (features, units, rows))
        if not wanted:
            return None
        dx = low.buffer((low.samples, *stage.shape))
        product(low, Matrix(d, units, 1), kernel.transposed(), dx, (rows, features, units))
        return dx

    return y, backward


def product(
    low: Lowering, a: Matrix, b: Matrix, c: Buffer | Array, sizes: tuple[int, int, int],
    bias: Array | Buffer | None = None,
) -> None:  # fmt: skip
    """Emit C = A B + bias; see `Products.multiply`. What is long to sum is summed in pieces."""
    rows, columns, inner = sizes
    # As one row of C nothing has to be packed.
    if bias is None and columns == 1 and a.down == 1 and inner <= SHORT and low.products.reads_in_place:
        a, b = Matrix(b.numbers, inner, b.down), Matrix(a.numbers, a.right, a.down)
        rows, columns = 1, rows
        sizes = (rows, columns, inner)
    pieces = max(cut(inner, LONG), _pieces(low, a, sizes))
    to = low.buffer((pieces, rows, columns)) if pieces > 1 else c
    low.products.multiply(low, a, b, low.zeros(columns) if bias is None else bias, to, sizes, pieces)
    if pieces > 1:
        low.add_up(to, c, pieces)


def _pieces(low: Lowering, a: Matrix, sizes: tuple[int, int, int]) -> int:
    """Return in how many pieces a sum is made so that each of them can be a task.

    A transposed left factor is copied for every block of columns, and such a block of the right one leaps from row to
    row of memory; a piece reads whole rows, once. That is worth it where the sum is long enough for full pieces, and
    they are together no larger than the factors.
    """
    rows, columns, inner = sizes
    copied = low.products.reads_in_place and a.down == 1 and a.right > 1
    long = inner >= TASKS * DEEP and TASKS * rows * columns <= inner * (rows + columns)
    return TASKS if copied and long else 1
