"""Products of small matrices, of which one is in a fast cache: by the micro-kernel as they lie, with nothing packed."""

from gedanken.engine.cpu.kernels.blocks import rows_of_tile, scale_row, sum_of, tiles_in, zero_row
from gedanken.engine.cpu.kernels.dense import DEPTH
from gedanken.engine.cpu.language import (
    Int,
    Ints,
    Reals,
    Record,
    Tile,
    at,
    gemm_tile,
    lanes,
    local_reals,
    noinline,
    real,
    tile_columns,
)


class Factors(Record):
    """C = A B, or C += A B where not `new`; `*_row` are numbers between rows, `a_step` between a row's numbers of A.

    Rows of B are read in whole vectors; what lies between rows of C is free.
    """

    a: Reals
    a_row: Int
    a_step: Int
    b: Reals
    b_row: Int
    c: Reals
    c_row: Int
    rows: Int
    columns: Int
    depth: Int
    new: Int
    zero_offset: Ints


@noinline
def multiply(f: Factors):
    zeros = local_reals(tile_columns)
    zero_row(zeros, tile_columns)
    for begin in range(0, f.depth, DEPTH):
        depth = min(DEPTH, f.depth - begin)
        for first in range(0, f.columns, tile_columns):
            count = min(tile_columns, f.columns - first)
            parts = tiles_in(f.rows, rows_of_tile(count))
            for part in range(parts):
                row, last = part * f.rows // parts, (part + 1) * f.rows // parts
                place, starts = at(f.c, row * f.c_row + first), f.new == 1 and begin == 0
                tile = Tile(
                    a=at(f.a, row * f.a_row + begin * f.a_step), offsets=f.zero_offset,
                    b=at(f.b, begin * f.b_row + first), i=zeros if starts else place, c=place, sm=f.a_row, sk=f.a_step,
                    taps=1, depth=depth, ldb=f.b_row, sb=0, ldi=0 if starts else f.c_row, ldc=f.c_row, free=0,
                )  # fmt: skip
                gemm_tile(last - row, count, tile)


@noinline
def not_finite(x, rows, columns, row):
    """Return whether a number in some rows is infinite or NaN."""
    sums = local_reals(tile_columns)
    zero_row(sums, tile_columns)
    for first in range(0, columns, tile_columns):
        for i in range(rows):
            here = at(x, i * row + first)
            for j in lanes(min(tile_columns, columns - first)):
                sums[j] += here[j] * real(0)
    return sum_of(sums, tile_columns, real(1)) != real(0)


@noinline
def scale_rows(target, source, rows, columns, target_row, source_row, factor):
    for i in range(rows):
        scale_row(at(target, i * target_row), at(source, i * source_row), factor, columns)
