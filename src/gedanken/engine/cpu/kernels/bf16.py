"""Products in bf16 with sums in float32, on the tile unit: the micro-kernel, its operands, and dense products.

The left factor is bf16 whose rows are contiguous. The right one is packed in panels of TILE columns: rows in pairs,
[row // 2][column][row % 2], as many as make the depth a multiple of TILE, and zeros where there are none.
"""

from gedanken.engine.cpu.kernels.blocks import copy_row, tiles_in, turned, zero_row
from gedanken.engine.cpu.language import (
    Bf16s,
    Int,
    Ints,
    Reals,
    at,
    helper,
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


@helper
def full_tiles(count):
    """Return a count rounded up to whole tiles."""
    return tiles_in(count, TILE) * TILE


@helper
def copy_block(target, target_pitch, source, source_pitch, rows, columns):
    for row in range(rows):
        copy_row(at(target, row * target_pitch), at(source, row * source_pitch), columns)


@helper
def whole_block(target, source, pitch, rows, columns):
    """Copy a part of some rows, with zeros up to a whole tile."""
    for row in range(rows):
        copy_row(at(target, row * TILE), at(source, row * pitch), columns)
        zero_row(at(target, row * TILE + columns), TILE - columns)


@helper
def load_sums(i, pitch, tall, wide):
    tile_load(0, i, pitch)
    if wide:
        tile_load(1, at(i, SIDE), pitch)
    if tall:
        tile_load(2, at(i, SIDE * pitch), pitch)
        if wide:
            tile_load(3, at(i, SIDE * pitch + SIDE), pitch)


@helper
def store_sums(c, pitch, tall, wide):
    tile_store(0, c, pitch)
    if wide:
        tile_store(1, at(c, SIDE), pitch)
    if tall:
        tile_store(2, at(c, SIDE * pitch), pitch)
        if wide:
            tile_store(3, at(c, SIDE * pitch + SIDE), pitch)


@helper
def tile_product(m, n, a, offsets, b, i, c, pitch, taps, depth, deep, i_pitch, c_pitch):
    """C[m, n] = I[m, n] + sum over t, k of A[offsets[t] + m * pitch + k] * B[t * deep + k][n] for m, n up to TILE.

    16 or 32 rows of A are read, so there must be memory behind it. A part of a row that is no whole tile is copied
    beside zeros: a neighbour that is NaN or infinite must not be multiplied, not even by zero.
    """
    tall, wide, cut = m > SIDE, n > SIDE, m % SIDE + n % SIDE
    sums, ends = local_reals(BLOCK), local_bf16s(BLOCK)
    to, to_pitch = c, c_pitch
    if cut:
        copy_block(sums, TILE, i, i_pitch, m, n)
        i, i_pitch, to, to_pitch = sums, TILE, sums, TILE
    load_sums(i, i_pitch, tall, wide)
    for t in range(taps):
        for k in range(0, depth, TILE):
            left, left_pitch, right = at(a, offsets[t] + k), pitch, at(b, (t * deep + k) * TILE)
            if k + TILE > depth:
                whole_block(ends, left, pitch, m, depth - k)
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
        copy_block(c, c_pitch, sums, TILE, m, n)


@helper
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
    task: Int, scratch: Reals, weights: Reals, packed: Bf16s, taps: Int, depth: Int, columns: Int, pitch: Int,
    groups: Int,
):  # fmt: skip
    """Pack the columns of each group; a task is a panel.

    weights: (taps * depth) x (groups * columns), rows `pitch` apart.   packed: [group][panel][tap][depth in pairs]
    """
    panels = tiles_in(columns, TILE)
    group, first = task // panels, task % panels * TILE
    size = full_tiles(depth) * TILE
    place = at(packed, task * taps * size)
    zero_row(place, taps * size)
    for tap in range(taps):
        source = at(weights, tap * depth * pitch + group * columns + first)
        pack_pairs(at(place, tap * size), source, depth, min(TILE, columns - first), pitch)


def pack_turned(
    task: Int, scratch: Reals, weights: Reals, packed: Bf16s, start: Int, taps: Ints, n_taps: Int, depth: Int,
    inputs: Int, outputs: Int, groups: Int,
):  # fmt: skip
    """As `pack`, for the input gradient: outputs are summed over, inputs are columns; a task is a panel of one group.

    weights: [tap][input][group * outputs].   packed, from `start` on: [group][panel][run][depth in pairs]; the listed
    taps with their outputs, in a row, are cut into runs of `depth`.
    """
    panels = tiles_in(inputs, TILE)
    group, first = task // panels, task % panels * TILE
    deep = full_tiles(depth)
    size = n_taps * outputs // depth * deep * TILE
    place = at(packed, start + task * size)
    zero_row(place, size)
    for number in range(n_taps):
        run, k0 = number * outputs // depth, number * outputs % depth
        for j in range(min(TILE, inputs - first)):
            source = at(weights, (taps[number] * inputs + first + j) * groups * outputs + group * outputs)
            for i in range(outputs):
                k = run * deep + k0 + i
                place[k // 2 * 2 * TILE + 2 * j + k % 2] = source[i]


def left_factor(task: Int, scratch: Reals, a: Reals, rounded: Bf16s, rows: Int, inner: Int, turn: Int, piece: Int):
    """Round the left factor of a dense product; a task is a piece of its rows.

    a: (rows, inner), or (inner, rows) where `turn` is set.   rounded: [row][inner in whole tiles], zeros at the end
    """
    deep, begin = full_tiles(inner), task * piece
    end = min(rows, begin + piece)
    for row in range(begin, end):
        zero_row(at(rounded, row * deep + inner), deep - inner)
        if not turn:
            copy_row(at(rounded, row * deep), at(a, row * inner), inner)
    if turn:
        turned(at(a, begin), at(rounded, begin * deep), inner, end - begin, rows, deep)


def multiply(
    task: Int, scratch: Reals, left: Bf16s, right: Bf16s, bias: Reals, nothing: Reals, c: Reals, rows: Int,
    columns: Int, inner: Int, pieces: Int, row_blocks: Int, column_blocks: Int, nought: Ints,
):  # fmt: skip
    """Compute one block of C = A B + bias, summed over one piece of the inner axis.

    left, right: as left_factor and pack leave them.   C: [piece][rows][columns]; the bias is added in the first piece.
    """
    piece, block = task // (row_blocks * column_blocks), task % (row_blocks * column_blocks)
    row_block, column_block = block // column_blocks, block % column_blocks
    row_tiles, panels, deep = tiles_in(rows, TILE), tiles_in(columns, TILE), full_tiles(inner)
    begin, end = piece * deep // TILE // pieces * TILE, (piece + 1) * deep // TILE // pieces * TILE
    first = column_block * panels // column_blocks * TILE
    last = min(columns, (column_block + 1) * panels // column_blocks * TILE)
    for k in range(begin, end, DEPTH):
        for column in range(first, last, TILE):
            packed = at(right, column * deep + k * TILE)
            for row in range(
                row_block * row_tiles // row_blocks * TILE,
                min(rows, (row_block + 1) * row_tiles // row_blocks * TILE),
                TILE,
            ):
                place = at(c, (piece * rows + row) * columns + column)
                start = at(bias if piece == 0 else nothing, column)
                tile_product(
                    min(TILE, rows - row), min(TILE, columns - column), at(left, row * deep + k), nought, packed,
                    start if k == begin else place, place, deep, 1, min(DEPTH, end - k), 0,
                    0 if k == begin else columns, columns,
                )  # fmt: skip
