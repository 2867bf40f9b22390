"""Copying, packing, turning and summing of blocks of numbers."""

from gedanken.engine.cpu.language import (
    Int,
    Reals,
    Record,
    at,
    inline,
    lanes,
    local_reals,
    narrow_rows,
    noinline,
    real,
    tile_columns,
    tile_rows,
    transpose,
    vector_lanes,
)

LINE = 128  # numbers of a line that is summed at once


class Rows(Record):
    """A matrix; a task is a piece of its rows."""

    rows: Int
    columns: Int
    piece: Int


@inline
def tiles_in(n, size):
    return (n + size - 1) // size


@inline
def rows_of_tile(columns):
    """Return the most rows of a tile with so many columns."""
    return narrow_rows if columns <= vector_lanes else tile_rows


@inline
def vectors_of(n):
    """Return a count rounded up to whole vectors."""
    return tiles_in(n, vector_lanes) * vector_lanes


@inline
def copy_row(target, source, count):
    for i in lanes(count):
        target[i] = source[i]


@inline
def fill_row(target, count, value):
    for i in lanes(count):
        target[i] = value


@noinline
def copy_rows(target, source, rows, columns, target_row, source_row):
    for i in range(rows):
        copy_row(at(target, i * target_row), at(source, i * source_row), columns)


@noinline
def scale_row(target, source, factor, count):
    for i in lanes(count):
        target[i] = source[i] * factor


@inline
def zero_row(target, count):
    fill_row(target, count, real(0))


@noinline
def pack_rows(packed, rows, n, count, pitch):
    """Copy n rows of `count` numbers, `pitch` apart, beside each other, each with room for tile_columns.

    Whole vectors are copied, but for the last rows, behind which there may be nothing. What a vector holds behind
    `count` goes into columns that nobody stores.
    """
    width = tiles_in(count, vector_lanes) * vector_lanes
    whole_rows = max(0, n - tiles_in(width - count, pitch))
    for row in range(whole_rows):
        for c in range(0, width, vector_lanes):
            copy_row(at(packed, row * tile_columns + c), at(rows, row * pitch + c), vector_lanes)
    for row in range(whole_rows, n):
        copy_row(at(packed, row * tile_columns), at(rows, row * pitch), count)


# Long sums. Of numbers of one sign a plain sum of n terms is off by up to n / 2 roundings, so none has more than BLOCK;
# the sums of blocks are carried: what rounding takes from the total is kept in a second number.

BLOCK = 32  # terms
SIDE = 32  # sums that run beside each other, since each waits for the one before; a power of two


@inline
def lost_of(old, value, new):
    """Return what rounding took from new = old + value (Knuth 1969, "The art of computer programming", 4.2.2)."""
    came = new - old
    return (old - (new - came)) + (value - came)


@noinline
def carry(total, rest, values, count, factor):
    """total += values * factor; what is lost goes to rest."""
    for i in lanes(count):
        old, value = total[i], values[i] * factor
        new = old + value
        rest[i] += lost_of(old, value, new)
        total[i] = new


@inline
def carry_over(total, rest, values, count):
    """Carry values into a total, and begin a new block of them."""
    carry(total, rest, values, count, real(1))
    zero_row(values, count)


@noinline
def settle(total, rest, count):
    """Add to totals what they lost; to an infinite one there is nothing to add."""
    for i in lanes(count):
        # What an infinite total lost is infinity less infinity, a NaN.
        lost = rest[i]
        total[i] += lost if lost == lost else real(0)


@inline
def sum_of_side(sums):
    """Return the sum of SIDE numbers, which are overwritten."""
    half = SIDE // 2
    while half >= 8:
        for i in lanes(half):
            sums[i] += sums[i + half]
        half = half // 2
    total = real(0)
    for i in range(8):
        total += sums[i]
    return total


@inline
def carried_sum(total, rest):
    """Return the sum of SIDE carried totals."""
    settle(total, rest, SIDE)
    return sum_of_side(total)


@inline
def sum_of(x, count, factor):
    """Return the sum of x * factor over a row of numbers."""
    total = real(0)
    if count > SIDE // 2:
        total = long_sum(x, count, factor)
    else:
        for i in range(count):
            total += x[i] * factor
    return total


@noinline
def long_sum(x, count, factor):
    sums, total, rest = local_reals(SIDE), local_reals(SIDE), local_reals(SIDE)
    whole_part = count - count % SIDE
    zero_row(sums, SIDE)
    add_scaled(sums, at(x, whole_part), count - whole_part, factor)
    if count <= SIDE * BLOCK:
        for start in range(0, whole_part, SIDE):
            add_scaled(sums, at(x, start), SIDE, factor)
        return sum_of_side(sums)
    zero_row(total, SIDE)
    zero_row(rest, SIDE)
    for begin in range(0, whole_part, SIDE * BLOCK):
        for start in range(begin, min(begin + SIDE * BLOCK, whole_part), SIDE):
            add_scaled(sums, at(x, start), SIDE, factor)
        carry_over(total, rest, sums, SIDE)
    return carried_sum(total, rest)


@noinline
def sum_of_squares(x, count):
    """Return the sum of x**2 over a row of numbers."""
    sums, total, rest = local_reals(SIDE), local_reals(SIDE), local_reals(SIDE)
    whole_part = count - count % SIDE
    zero_row(sums, SIDE)
    add_squares(sums, at(x, whole_part), count - whole_part)
    if count <= SIDE * BLOCK:
        for start in range(0, whole_part, SIDE):
            add_squares(sums, at(x, start), SIDE)
        return sum_of_side(sums)
    zero_row(total, SIDE)
    zero_row(rest, SIDE)
    for begin in range(0, whole_part, SIDE * BLOCK):
        for start in range(begin, min(begin + SIDE * BLOCK, whole_part), SIDE):
            add_squares(sums, at(x, start), SIDE)
        carry_over(total, rest, sums, SIDE)
    return carried_sum(total, rest)


@inline
def add_scaled(total, x, count, factor):
    for i in lanes(count):
        total[i] += x[i] * factor


@inline
def add_squares(total, x, count):
    for i in lanes(count):
        total[i] += x[i] * x[i]


# Sums over rows. Of few channels some rows are summed side by side; of many, LINE channels at a time.


@inline
def rows_in_line(rows, channels):
    """Return how many rows are summed side by side."""
    return max(1, min(LINE // channels, rows))


@inline
def add_line(total, line, together, channels):
    """Add the rows of a line to total; the line is used up, one half added to the other."""
    rows = together
    while rows > 1:
        half = (rows + 1) // 2
        upper = at(line, half * channels)
        for i in lanes((rows - half) * channels):
            line[i] += upper[i]
        rows = half
    for c in lanes(channels):
        total[c] += line[c]


@inline
def sum_rows(total, x, rows, channels):
    """total[c] += sum of x[row, c]"""
    add_rows(total, x, rows, channels, real(1))


@noinline
def add_rows(total, x, rows, channels, factor):
    """total[c] += sum of x[row, c] * factor; a mean, with its factor, does not overflow."""
    together = rows_in_line(rows, channels)
    line, sums, rest = local_reals(LINE), local_reals(LINE), local_reals(LINE)
    block, step = 4 * BLOCK * together, together * channels
    for first in range(0, channels, LINE):
        count = min(LINE, channels - first)
        width = together * count
        if rows > block:
            zero_row(sums, width)
            zero_row(rest, width)
        for begin in range(0, rows, block):
            zero_row(line, width)
            end = min(begin + block, rows)
            fours = end - (end - begin) % (4 * together)
            for row in range(begin, fours, 4 * together):
                x0 = at(x, row * channels + first)
                x1, x2, x3 = at(x0, step), at(x0, 2 * step), at(x0, 3 * step)
                for i in lanes(width):
                    line[i] += (x0[i] * factor + x1[i] * factor) + (x2[i] * factor + x3[i] * factor)
            for row in range(fours, end, together):
                add_scaled(line, at(x, row * channels + first), min(together, end - row) * count, factor)
            if rows > block:
                carry(sums, rest, line, width, real(1))
        if rows > block:
            settle(sums, rest, width)
            add_line(at(total, first), sums, together, count)
        else:
            add_line(at(total, first), line, together, count)


@noinline
def sum_products(total, a, x, mean, rows, channels):
    """total[c] += sum of a[row, c] * (x[row, c] - mean[c])"""
    together = rows_in_line(rows, channels)
    line, sums, rest, means = local_reals(LINE), local_reals(LINE), local_reals(LINE), local_reals(LINE)
    block, step = 4 * BLOCK * together, together * channels
    for first in range(0, channels, LINE):
        count = min(LINE, channels - first)
        width = together * count
        if rows > block:
            zero_row(sums, width)
            zero_row(rest, width)
        for row in range(together):
            copy_row(at(means, row * count), at(mean, first), count)
        for begin in range(0, rows, block):
            zero_row(line, width)
            end = min(begin + block, rows)
            fours = end - (end - begin) % (4 * together)
            for row in range(begin, fours, 4 * together):
                place = row * channels + first
                add_four_products(line, at(a, place), at(x, place), means, width, step)
            for row in range(fours, end, together):
                place, some = row * channels + first, min(together, end - row) * count
                add_products(line, at(a, place), at(x, place), means, some)
            if rows > block:
                carry(sums, rest, line, width, real(1))
        if rows > block:
            settle(sums, rest, width)
            add_line(at(total, first), sums, together, count)
        else:
            add_line(at(total, first), line, together, count)


@inline
def add_products(total, a, x, mean, count):
    for i in lanes(count):
        total[i] += a[i] * (x[i] - mean[i])


@inline
def add_four_products(total, a, x, mean, count, step):
    """As `add_products` of four lines that are `step` apart."""
    a1, a2, a3 = at(a, step), at(a, 2 * step), at(a, 3 * step)
    x1, x2, x3 = at(x, step), at(x, 2 * step), at(x, 3 * step)
    for i in lanes(count):
        p0, p1 = a[i] * (x[i] - mean[i]), a1[i] * (x1[i] - mean[i])
        p2, p3 = a2[i] * (x2[i] - mean[i]), a3[i] * (x3[i] - mean[i])
        total[i] += (p0 + p1) + (p2 + p3)


def add_slots(task: Int, scratch: Reals, partial: Reals, target: Reals, size: Int, slots: Int, piece: Int):
    """Add up the slots of a sum in their order; a task is a piece of it. scratch: 2 * piece numbers."""
    begin = task * piece
    count = min(piece, size - begin)
    out, rest, block = at(target, begin), scratch, at(scratch, piece)
    copy_row(out, at(partial, begin), count)
    zero_row(rest, count)
    for first in range(1, slots, BLOCK):
        copy_row(block, at(partial, first * size + begin), count)
        for slot in range(first + 1, min(first + BLOCK, slots)):
            values = at(partial, slot * size + begin)
            for i in lanes(count):
                block[i] += values[i]
        carry(out, rest, block, count, real(1))
    settle(out, rest, count)


def sum_pieces(task: Int, scratch: Reals, x: Reals, partial: Reals, m: Rows):
    """Set partial[task] to the sums of a piece's columns."""
    begin = task * m.piece
    zero_row(at(partial, task * m.columns), m.columns)
    sum_rows(at(partial, task * m.columns), at(x, begin * m.columns), min(m.piece, m.rows - begin), m.columns)


@noinline
def transposed(source, target, rows, columns, source_pitch, target_pitch):
    """target[column][row] = source[row][column], square by square; the last squares overlap those before them."""
    if rows >= vector_lanes and columns >= vector_lanes:
        for row in range(0, rows, vector_lanes):
            i = min(row, rows - vector_lanes)
            for column in range(0, columns, vector_lanes):
                j = min(column, columns - vector_lanes)
                transpose(
                    at(source, i * source_pitch + j), source_pitch, at(target, j * target_pitch + i), target_pitch
                )
    else:
        for j in range(columns):
            for i in range(rows):
                target[j * target_pitch + i] = source[i * source_pitch + j]


@noinline
def gather(target, source, pixels, channels, pitch):
    """Copy pixels that are `pitch` apart beside each other, in whole vectors: the next pixel overwrites the surplus."""
    for pixel in range(pixels):
        for c in range(0, channels, vector_lanes):
            copy_row(at(target, pixel * channels + c), at(source, pixel * pitch + c), vector_lanes)


@noinline
def scatter(target, source, pixels, channels, pitch):
    """Add pixels that lie beside each other to pixels that are `pitch` apart."""
    for pixel in range(pixels):
        there, here = at(target, pixel * pitch), at(source, pixel * channels)
        for c in range(channels):
            there[c] += here[c]
