"""Matrix products, and what follows them in a dense layer."""

from gedanken.engine.cpu.kernels.blocks import (
    BLOCK,
    Rows,
    carry,
    copy_row,
    pack_rows,
    rows_of_tile,
    settle,
    sum_rows,
    tiles_in,
    transposed,
    zero_row,
)
from gedanken.engine.cpu.kernels.rows import Activation, activate, derivative_row
from gedanken.engine.cpu.language import (
    Int,
    Ints,
    Reals,
    Record,
    Tile,
    at,
    gemm_tile,
    inline,
    lanes,
    local_reals,
    noinline,
    prefetch,
    real,
    tile_columns,
    vector_lanes,
)

TOGETHER = 72  # rows of a transposed left factor that are copied at once: with DEPTH, they stay in a first-level cache
CHUNK, SIDES = 4096, 64  # numbers of a part of a long sum, and the sums that run beside each other
AHEAD = 8  # rows of a right factor that are asked for before they are packed
DEPTH = 272  # rows of the right factor that are packed at once: a panel of them stays in the first-level cache


class Product(Record):
    """The shape of C = A B, the steps between elements of A and B, and how it is cut; see `multiply`."""

    rows: Int
    columns: Int
    inner: Int
    a_row: Int
    a_inner: Int
    b_inner: Int
    b_column: Int
    pieces: Int
    row_blocks: Int
    column_blocks: Int
    direct: Int
    held: Int
    zero_offset: Ints


def multiply(task: Int, scratch: Reals, a: Reals, b: Reals, bias: Reals, c: Reals, p: Product):
    """Compute one block of C = A B + bias, summed over one piece of the inner axis.

    A: (rows, inner), elements a_row and a_inner apart.   B: (inner, columns), b_inner and b_column apart.
    C: [piece][rows][columns]; the bias is added in the first piece.
    A task packs its block of B in scratch, `held` panels at a time, unless `direct` says that B is read once only.
    Where the rows of A lie beside each other (a_row = 1, a transposed matrix), it copies its block of A there too.
    """
    piece, block = task // (p.row_blocks * p.column_blocks), task % (p.row_blocks * p.column_blocks)
    panels = tiles_in(p.columns, tile_columns)
    row = block // p.column_blocks * p.rows // p.row_blocks
    last_row = (block // p.column_blocks + 1) * p.rows // p.row_blocks
    panel = block % p.column_blocks * panels // p.column_blocks
    last_panel = (block % p.column_blocks + 1) * panels // p.column_blocks
    begin, end = piece * p.inner // p.pieces, (piece + 1) * p.inner // p.pieces
    target = at(c, piece * p.rows * p.columns)
    # Without a product C is the bias alone, and `multiply_row` adds to what is there.
    if begin == end or p.direct:
        begin_rows(target, bias, piece, row, last_row, p.columns, panel, last_panel)
    if p.direct:
        first, last = panel * tile_columns, min(p.columns, last_panel * tile_columns)
        for i in range(row, last_row):
            multiply_row(
                at(target, i * p.columns + first),
                at(a, i * p.a_row),
                at(b, first),
                scratch,
                last - first,
                p.b_inner,
                begin,
                end,
            )
        begin = end
    most = tiles_in(end - begin, max(tiles_in(end - begin, DEPTH), 1))  # as even as they come
    for k in range(begin, end, max(most, 1)):
        depth = min(most, end - k)
        for number in range(panel, last_panel, p.held):
            first = number * tile_columns
            width = min(p.columns, min(number + p.held, last_panel) * tile_columns) - first
            pack_panels(scratch, at(b, k * p.b_inner + first * p.b_column), depth, width, p.b_inner, p.b_column)
            some = Block(rows=last_row - row, width=width, depth=depth, new=k == begin, biased=piece == 0)
            multiply_block(
                at(a, k * p.a_inner + row * p.a_row), scratch, at(scratch, p.held * DEPTH * tile_columns),
                at(bias, first), at(target, row * p.columns + first), p, some,
            )  # fmt: skip


@inline
def multiply_row(out, x, b, scratch, width, pitch, begin, end):
    """Add to a row of C what the numbers of A from begin to end give, reading B as it lies; scratch: two rows."""
    part, rest = scratch, at(scratch, width)
    zero_row(rest, width)
    for k in range(begin, end, 4 * BLOCK):
        zero_row(part, width)
        add_products(part, at(x, k), at(b, k * pitch), min(4 * BLOCK, end - k), width, pitch)
        carry(out, rest, part, width, real(1))
    settle(out, rest, width)


class Block(Record):
    """Rows of A and columns of B that are multiplied over some depth; `new`: the first of their sum."""

    rows: Int
    width: Int
    depth: Int
    new: Int
    biased: Int


class Left(Record):
    """Some rows of A, and the step from one number of a row to the next."""

    a: Reals
    rows: Int
    step: Int


@inline
def multiply_block(a, packed, copied, bias, c, p, block):
    """Multiply some rows with some packed panels; a transposed A some rows at a time, copied beside each other."""
    transposed_left, depth = p.a_row == 1 and p.a_inner > 1, block.depth
    step = TOGETHER if transposed_left else max(block.rows, 1)
    for row in range(0, block.rows, step):
        some = min(step, block.rows - row)
        left, left_step = at(a, row * p.a_row), p.a_inner
        if transposed_left:
            for k in range(depth):
                copy_row(at(copied, k * some), at(left, k * p.a_inner), some)
            left, left_step = copied, some
        factor = Left(a=left, rows=some, step=left_step)
        for first in range(0, block.width, tile_columns):
            count = min(tile_columns, block.width - first)
            place = at(c, row * p.columns + first)
            multiply_panel(factor, at(packed, first * depth), at(bias, first), place, count, p, block)


@inline
def add_products(y, x, b, depth, count, pitch):
    """y += x B for one row x, four rows of B at a time, in the order of their memory."""
    whole_part = depth - depth % 4
    # Four rows at once, so that y is read and written a quarter as often.
    for k in range(0, whole_part, 4):
        first, second, third, fourth = x[k], x[k + 1], x[k + 2], x[k + 3]
        b0, b1 = at(b, k * pitch), at(b, (k + 1) * pitch)
        b2, b3 = at(b, (k + 2) * pitch), at(b, (k + 3) * pitch)
        for i in lanes(count):
            y[i] += first * b0[i] + second * b1[i] + third * b2[i] + fourth * b3[i]
    for k in range(whole_part, depth):
        factor, row = x[k], at(b, k * pitch)
        for i in lanes(count):
            y[i] += factor * row[i]


@inline
def multiply_panel(left, b, bias, c, count, p, block):
    """Multiply some rows with one panel, tile by tile: into C, or added to what is there."""
    parts = tiles_in(left.rows, rows_of_tile(count))
    small = left.rows // parts
    larger = left.rows - small * parts
    row = 0
    for part in range(parts):
        m = small + 1 if part < larger else small
        place = at(c, row * p.columns)
        # The pieces behind the first begin at zero: I is C itself.
        if block.new and not block.biased:
            for i in range(m):
                zero_row(at(place, i * p.columns), count)
        start = bias if block.new and block.biased else place
        start_pitch = 0 if block.new and block.biased else p.columns
        tile = Tile(
            a=at(left.a, row * p.a_row), offsets=p.zero_offset, b=b, i=start, c=place, sm=p.a_row, sk=left.step, taps=1,
            depth=block.depth, ldb=tile_columns, sb=0, ldi=start_pitch, ldc=p.columns, free=0,
        )  # fmt: skip
        gemm_tile(m, count, tile)
        row += m


@inline
def begin_rows(c, bias, piece, row, last_row, columns, panel, last_panel):
    for i in range(row, last_row):
        for j in range(panel * tile_columns, min(columns, last_panel * tile_columns)):
            c[i * columns + j] = bias[j] if piece == 0 else real(0)


@inline
def pack_panels(packed, b, depth, columns, b_inner, b_column):
    """Copy some rows of B into panels, reading it in the order of its memory."""
    panels = tiles_in(columns, tile_columns)
    if b_column == 1 and panels > 1 and columns % tile_columns == 0:
        for k in range(depth):
            for panel in range(panels):
                row = at(b, k * b_inner + panel * tile_columns)
                copy_row(at(packed, (panel * depth + k) * tile_columns), row, tile_columns)
                for i in range(0, tile_columns, vector_lanes):
                    prefetch(row, AHEAD * b_inner + i)  # processors do not foresee the leap to the next row
    else:
        for panel in range(panels):
            first = panel * tile_columns
            count = min(tile_columns, columns - first)
            place = at(packed, panel * depth * tile_columns)
            pack_panel(place, at(b, first * b_column), depth, count, b_inner, b_column)


@inline
def pack_panel(packed, b, depth, count, b_inner, b_column):
    """Copy some rows of a panel's columns, each tile_columns wide with zeros at its end; one of the steps is 1."""
    if b_column == 1:
        pack_rows(packed, b, depth, count, b_inner)
    else:
        # Only `count` columns are written below, but the micro-kernel reads whole vectors.
        if count < tile_columns:
            zero_row(packed, depth * tile_columns)
        transposed(b, packed, count, depth, b_column, tile_columns)


def dots(task: Int, scratch: Reals, a: Reals, b: Reals, bias: Reals, c: Reals, p: Product):
    """Compute a block of C = A b + bias for one column b, over one piece of the inner axis, as `multiply` does."""
    piece, block = task // p.row_blocks, task % p.row_blocks
    begin, end = piece * p.inner // p.pieces, (piece + 1) * p.inner // p.pieces
    for row in range(block * p.rows // p.row_blocks, (block + 1) * p.rows // p.row_blocks):
        total = bias[0] if piece == 0 else real(0)
        for k in range(begin, end, CHUNK):
            total += dot(at(a, row * p.inner + k), at(b, k), min(CHUNK, end - k))
        c[piece * p.rows + row] = total


@noinline
def dot(a, b, count):
    """Return the sum of a * b, as many sums beside each other as SIDES."""
    sums = local_reals(SIDES)
    zero_row(sums, SIDES)
    whole_part = count - count % SIDES
    for k in range(0, whole_part, SIDES):
        left, right = at(a, k), at(b, k)
        for i in lanes(SIDES):
            sums[i] += left[i] * right[i]
    left, right = at(a, whole_part), at(b, whole_part)
    for i in lanes(count - whole_part):
        sums[i] += left[i] * right[i]
    half = SIDES // 2
    while half > 0:
        for i in lanes(half):
            sums[i] += sums[i + half]
        half = half // 2
    return sums[0]


def finish(
    task: Int, scratch: Reals, partial: Reals, y: Reals, size: Int, pieces: Int, piece: Int, activation: Activation
):
    """Add up the pieces of a product and apply the activation; a task is a part of all numbers. scratch: a piece."""
    begin = task * piece
    count = min(piece, size - begin)
    out = at(y, begin)
    copy_row(out, at(partial, begin), count)
    for first in range(1, pieces, BLOCK):
        block = out
        if pieces > BLOCK:
            block = scratch
            zero_row(block, count)
        for number in range(first, min(first + BLOCK, pieces)):
            values = at(partial, number * size + begin)
            for i in lanes(count):
                block[i] += values[i]
        if pieces > BLOCK:
            for i in lanes(count):
                out[i] += block[i]
    activate(out, out, count, activation)


def gradients(
    task: Int, scratch: Reals, y: Reals, dy: Reals, d: Reals, partial: Reals, m: Rows, activation: Activation
):
    """Set d = dy * f'(y) for some rows, and partial[task] to the sum of these rows."""
    begin = task * m.piece
    total = at(partial, task * m.columns)
    zero_row(total, m.columns)
    count = min(m.piece, m.rows - begin)
    out = at(d, begin * m.columns)
    copy_row(out, at(dy, begin * m.columns), count * m.columns)
    derivative_row(out, at(y, begin * m.columns), count * m.columns, activation)
    sum_rows(total, out, count, m.columns)


def reorder(task: Int, scratch: Reals, x: Reals, y: Reals, rows: Int, columns: Int):
    """Turn the matrix of each sample: y[sample][column][row] = x[sample][row][column]; a task is a sample."""
    transposed(at(x, task * rows * columns), at(y, task * rows * columns), rows, columns, columns, rows)


def add(task: Int, scratch: Reals, x: Reals, y: Reals, z: Reals, size: Int, piece: Int):
    """z = x + y; a task is a part of all numbers."""
    begin = task * piece
    for i in range(begin, min(size, begin + piece)):
        z[i] = x[i] + y[i]
