"""Products in bf16 with sums in float32, on the tile unit: the micro-kernel, its operands, and dense products.

The left factor is bf16 whose rows are contiguous. The right one is packed in panels of TILE columns: rows in pairs,
[row // 2][column][row % 2], as many as make the depth a multiple of TILE, and zeros where there are none.
"""

from gedanken.engine.cpu.kernels.blocks import copy_row, copy_rows, tiles_in, transposed, zero_row
from gedanken.engine.cpu.kernels.conv import Transposed
from gedanken.engine.cpu.language import (
    Bf16s,
    Int,
    Ints,
    Reals,
    Record,
    at,
    inline,
    lanes,
    local_bf16s,
    local_reals,
    tile_dot,
    tile_load,
    tile_store,
)

SIDE = 16  # rows and columns of a tile of sums
TILE = 2 * SIDE  # rows and columns of the micro-kernel's block of sums, and the depth of one step
BLOCK = TILE * TILE
DEPTH = 512  # numbers that are summed at once: both factors' blocks stay in a second-level cache


@inline
def full_tiles(count):
    """Return a count rounded up to whole tiles."""
    return tiles_in(count, TILE) * TILE


@inline
def whole_block(target, source, pitch, rows, columns):
    """Copy a part of some rows, with zeros up to a whole tile."""
    for row in range(rows):
        copy_row(at(target, row * TILE), at(source, row * pitch), columns)
        zero_row(at(target, row * TILE + columns), TILE - columns)


@inline
def load_sums(i, pitch, tall, wide):
    tile_load(0, i, pitch)
    if wide:
        tile_load(1, at(i, SIDE), pitch)
    if tall:
        tile_load(2, at(i, SIDE * pitch), pitch)
        if wide:
            tile_load(3, at(i, SIDE * pitch + SIDE), pitch)


@inline
def store_sums(c, pitch, tall, wide):
    tile_store(0, c, pitch)
    if wide:
        tile_store(1, at(c, SIDE), pitch)
    if tall:
        tile_store(2, at(c, SIDE * pitch), pitch)
        if wide:
            tile_store(3, at(c, SIDE * pitch + SIDE), pitch)


class Operands(Record):
    """The factors of a tile: rows of A `pitch` apart, of taps that begin at `offsets`; B as `tile_product` reads it."""

    a: Bf16s
    pitch: Int
    offsets: Ints
    b: Bf16s
    taps: Int
    depth: Int
    deep: Int  # rows of B from one tap to the next


@inline
def tile_product(m, n, x, i, i_pitch, c, c_pitch):
    """C[m, n] = I[m, n] + sum over t, k of A[offsets[t] + m * pitch + k] * B[t * deep + k][n] for m, n up to TILE.

    16 or 32 rows of A are read, so there must be memory behind it. A part of a row that is no whole tile is copied
    beside zeros: a neighbour that is NaN or infinite must not be multiplied, not even by zero.
    """
    tall, wide, cut = m > SIDE, n > SIDE, m % SIDE + n % SIDE
    sums, ends = local_reals(BLOCK), local_bf16s(BLOCK)
    to, to_pitch = c, c_pitch
    if cut:
        copy_rows(sums, i, m, n, TILE, i_pitch)
        i, i_pitch, to, to_pitch = sums, TILE, sums, TILE
    load_sums(i, i_pitch, tall, wide)
    # Tiles 0 to 3 are the sums, 4 and 5 two halves of the left factor, 6 and 7 of the right one.
    for t in range(x.taps):
        for k in range(0, x.depth, TILE):
            left, left_pitch, right = at(x.a, x.offsets[t] + k), x.pitch, at(x.b, (t * x.deep + k) * TILE)
            if k + TILE > x.depth:
                whole_block(ends, left, left_pitch, m, x.depth - k)
                left, left_pitch = ends, TILE
            tile_load(4, left, left_pitch)
            tile_load(6, right, 2 * TILE)
            tile_dot(0, 4, 6)
            if wide:
                tile_load(7, at(right, TILE), 2 * TILE)
                tile_dot(1, 4, 7)
            if tall:
                tile_load(5, at(left, SIDE * left_pitch), left_pitch)
                tile_dot(2, 5, 6)
                if wide:
                    tile_dot(3, 5, 7)
    store_sums(to, to_pitch, tall, wide)
    if cut:
        copy_rows(c, sums, m, n, c_pitch, TILE)


@inline
def pack_pairs(packed, b, rows, columns, pitch):
    """Lay rows of B out in pairs; what is behind them is left as it is."""
    for k in range(0, rows - 1, 2):
        pair, first, second = at(packed, k * TILE), at(b, k * pitch), at(b, (k + 1) * pitch)
        for j in lanes(columns):
            pair[2 * j] = first[j]
            pair[2 * j + 1] = second[j]
    if rows % 2:
        pair, last = at(packed, (rows - 1) * TILE), at(b, (rows - 1) * pitch)
        for j in lanes(columns):
            pair[2 * j] = last[j]


def pack(
    task: Int, scratch: Reals, weights: Reals, packed: Bf16s, taps: Int, depth: Int, columns: Int, groups: Int
):  # fmt: skip
    """Pack the columns of each group; a task is a panel.

    weights: (taps * depth) x (groups * columns).   packed: [group][panel][tap][depth in pairs]
    """
    panels, pitch = tiles_in(columns, TILE), groups * columns
    group, first = task // panels, task % panels * TILE
    size = full_tiles(depth) * TILE
    place = at(packed, task * taps * size)
    zero_row(place, taps * size)
    for tap in range(taps):
        source = at(weights, tap * depth * pitch + group * columns + first)
        pack_pairs(at(place, tap * size), source, depth, min(TILE, columns - first), pitch)


def pack_transposed(task: Int, scratch: Reals, weights: Reals, packed: Bf16s, depth: Int, kernel: Transposed):
    """As `pack`, for the input gradient: outputs are summed over, inputs are columns; a task is a panel of one group of
    one phase.

    weights: [tap][input][group * outputs].   packed, where a phase starts: [group][panel][run][depth in pairs]; its
    taps with their outputs, in a row, are cut into runs of `depth`.
    """
    inputs, outputs = kernel.inputs, kernel.outputs
    panels = tiles_in(inputs, TILE)
    phase, part = task // (kernel.groups * panels), task % (kernel.groups * panels)
    group, first = part // panels, part % panels * TILE
    taps, n_taps = at(kernel.taps, kernel.ends[phase]), kernel.ends[phase + 1] - kernel.ends[phase]
    deep = full_tiles(depth)
    size = n_taps * outputs // depth * deep * TILE
    place = at(packed, kernel.starts[phase] + part * size)
    zero_row(place, size)
    for number in range(n_taps):
        run, k0 = number * outputs // depth, number * outputs % depth
        for j in range(min(TILE, inputs - first)):
            source = at(weights, (taps[number] * inputs + first + j) * kernel.groups * outputs + group * outputs)
            for i in range(outputs):
                k = run * deep + k0 + i
                place[k // 2 * 2 * TILE + 2 * j + k % 2] = source[i]


def left_factor(task: Int, scratch: Reals, a: Reals, rounded: Bf16s, rows: Int, inner: Int, trans: Int, piece: Int):
    """Round the left factor of a dense product; a task is a piece of its rows.

    a: (rows, inner), or (inner, rows) where `trans` is set.   rounded: [row][inner in whole tiles], zeros at the end
    """
    deep, begin = full_tiles(inner), task * piece
    end = min(rows, begin + piece)
    for row in range(begin, end):
        zero_row(at(rounded, row * deep + inner), deep - inner)
        if not trans:
            copy_row(at(rounded, row * deep), at(a, row * inner), inner)
    if trans:
        transposed(at(a, begin), at(rounded, begin * deep), inner, end - begin, rows, deep)


class Blocks(Record):
    """The shape of C = A B, the pieces of its inner axis, and the blocks of C; a task is a block of a piece."""

    rows: Int
    columns: Int
    inner: Int
    pieces: Int
    row_blocks: Int
    column_blocks: Int
    zero_bias: Reals  # zeros, as many as columns
    zero_offset: Ints


def multiply(task: Int, scratch: Reals, left: Bf16s, right: Bf16s, bias: Reals, c: Reals, s: Blocks):
    """Compute one block of C = A B + bias, summed over one piece of the inner axis.

    left, right: as left_factor and pack leave them.   C: [piece][rows][columns]; the bias is added in the first piece.
    """
    piece, block = task // (s.row_blocks * s.column_blocks), task % (s.row_blocks * s.column_blocks)
    row_block, column_block = block // s.column_blocks, block % s.column_blocks
    row_tiles, panels, deep = tiles_in(s.rows, TILE), tiles_in(s.columns, TILE), full_tiles(s.inner)
    begin, end = piece * deep // TILE // s.pieces * TILE, (piece + 1) * deep // TILE // s.pieces * TILE
    first_row = row_block * row_tiles // s.row_blocks * TILE
    last_row = min(s.rows, (row_block + 1) * row_tiles // s.row_blocks * TILE)
    first = column_block * panels // s.column_blocks * TILE
    last = min(s.columns, (column_block + 1) * panels // s.column_blocks * TILE)
    for k in range(begin, end, DEPTH):
        for column in range(first, last, TILE):
            for row in range(first_row, last_row, TILE):
                place = at(c, (piece * s.rows + row) * s.columns + column)
                start = at(bias if piece == 0 else s.zero_bias, column)
                factors = Operands(
                    a=at(left, row * deep + k), pitch=deep, offsets=s.zero_offset,
                    b=at(right, column * deep + k * TILE),
                    taps=1, depth=min(DEPTH, end - k), deep=0,
                )  # fmt: skip
                tile_product(
                    min(TILE, s.rows - row), min(TILE, s.columns - column), factors, start if k == begin else place,
                    0 if k == begin else s.columns, place, s.columns,
                )  # fmt: skip
