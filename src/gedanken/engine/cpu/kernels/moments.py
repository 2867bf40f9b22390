"""Means and variances that keep their digits however far the numbers are from zero, of rows and of channels.

The rounded mean of numbers near a million may be off by more than they differ. So a mean is two numbers, `mean` and
`rest`, what rounding took from it, and is found in two passes:

    mean = x[0] + sum of (x - x[0]) / n        rounded
    rest = sum of (x - mean) / n
    var  = sum of (x - mean)**2 / n - rest**2  (Chan, Golub & LeVeque 1983, "Algorithms for computing the variance")

Of numbers that are all the same, mean is that number, and rest and var are nothing. Terms take their share of the sum
one by one, and the first pass adds up eighths, so that nothing overflows where x - mean does not.
"""

from gedanken.engine.cpu.kernels.blocks import (
    BLOCK,
    LINE,
    SIDE,
    add_line,
    carry,
    carry_over,
    copy_row,
    rows_in_line,
    settle,
    sum_of_side,
    zero_row,
)
from gedanken.engine.cpu.language import at, inline, lanes, local_reals, noinline, real

PAIR = 64  # two times SIDE
LINES = 256  # two times LINE
EIGHTH = 0.125
FEW = 24  # numbers that are not worth SIDE sums beside each other


@inline
def less_square(squares, rest):
    """Return a mean square about (mean + rest), given that about mean; an infinite one stays so."""
    square = rest * rest
    return squares - (square if square < squares else real(0))


@inline
def row_moments(x, count, found):
    """Set found to mean, rest and variance of a row of numbers."""
    share, first = real(1) / real(count), x[0] * real(EIGHTH)
    if count > FEW:
        row_sums(x, count, first, share, False, found)
        mean = (first + found[0]) * real(8)
        row_sums(x, count, mean, share, True, at(found, 1))
    else:
        total, rest, squares = real(0), real(0), real(0)
        for i in range(count):
            total += (x[i] * real(EIGHTH) - first) * share
        mean = (first + total) * real(8)
        for i in range(count):
            distance = x[i] - mean
            rest += distance * share
            squares += distance * share * distance
        found[1], found[2] = rest, squares
    found[0] = mean
    found[2] = less_square(found[2], found[1])


@noinline
def row_sums(x, count, base, share, squared, found):
    """Set found[0] to the sum of (x / 8 - base) * share or, `squared`, found to those of x - base and its square."""
    sums, total, rest = local_reals(PAIR), local_reals(PAIR), local_reals(PAIR)
    whole_part = count - count % SIDE
    zero_row(sums, PAIR)
    add_row_distances(sums, at(x, whole_part), count - whole_part, base, share, squared)
    if count <= SIDE * BLOCK:
        for start in range(0, whole_part, SIDE):
            add_row_distances(sums, at(x, start), SIDE, base, share, squared)
    else:
        zero_row(total, PAIR)
        zero_row(rest, PAIR)
        for begin in range(0, whole_part, SIDE * BLOCK):
            for start in range(begin, min(begin + SIDE * BLOCK, whole_part), SIDE):
                add_row_distances(sums, at(x, start), SIDE, base, share, squared)
            carry_over(total, rest, sums, PAIR)
        settle(total, rest, PAIR)
        copy_row(sums, total, PAIR)
    found[0] = sum_of_side(sums)
    if squared:
        found[1] = sum_of_side(at(sums, SIDE))


@inline
def add_row_distances(sums, x, count, base, share, squared):
    squares = at(sums, SIDE)
    if squared:
        for i in lanes(count):
            distance = x[i] - base
            part = distance * share
            sums[i] += part
            squares[i] += part * distance
    else:
        for i in lanes(count):
            sums[i] += (x[i] * real(EIGHTH) - base) * share


@inline
def channel_moments(x, rows, channels, found):
    """Set found[3][channels] to mean, rest and variance of each channel over some rows."""
    share = real(1) / real(rows)
    zero_row(found, 3 * channels)
    channel_sums(found, x, x, rows, channels, share, False)
    for c in lanes(channels):
        found[c] = (x[c] * real(EIGHTH) + found[c]) * real(8)
    channel_sums(at(found, channels), x, found, rows, channels, share, True)
    rest, var = at(found, channels), at(found, 2 * channels)
    for c in lanes(channels):
        var[c] = less_square(var[c], rest[c])


@noinline
def channel_sums(total, x, base, rows, channels, share, squared):
    """total[c] += sum of (x[row, c] - base[c]) / 8 * share; `squared`: of x - base, and total[1][c] of its square."""
    together = rows_in_line(rows, channels)
    line, sums, rest, bases = local_reals(LINES), local_reals(LINES), local_reals(LINES), local_reals(LINE)
    block, step = 4 * BLOCK * together, together * channels
    for first in range(0, channels, LINE):
        count = min(LINE, channels - first)
        width = together * count
        both = 2 * width if squared else width
        zero_row(sums, both)
        zero_row(rest, both)
        for row in range(together):
            copy_row(at(bases, row * count), at(base, first), count)
        for begin in range(0, rows, block):
            zero_row(line, both)
            end = min(begin + block, rows)
            fours = end - (end - begin) % (4 * together)
            for row in range(begin, fours, 4 * together):
                add_four_distances(line, at(x, row * channels + first), bases, width, step, share, squared, width)
            for row in range(fours, end, together):
                some = min(together, end - row) * count
                add_distances(line, at(x, row * channels + first), bases, some, share, squared, width)
            if rows > block:
                carry(sums, rest, line, both, real(1))
        if rows > block:
            settle(sums, rest, both)
            copy_row(line, sums, both)
        add_line(at(total, first), line, together, count)
        if squared:
            add_line(at(total, channels + first), at(line, width), together, count)


@inline
def add_distances(sums, x, base, count, share, squared, width):
    """Add to `width` sums, and to as many of squares behind them."""
    squares, eighth = at(sums, width), real(EIGHTH)
    if squared:
        for i in lanes(count):
            distance = x[i] - base[i]
            part = distance * share
            sums[i] += part
            squares[i] += part * distance
    else:
        for i in lanes(count):
            sums[i] += (x[i] * eighth - base[i] * eighth) * share


@inline
def add_four_distances(sums, x, base, count, step, share, squared, width):
    """As `add_distances` of four lines that are `step` apart."""
    x1, x2, x3, squares, eighth = at(x, step), at(x, 2 * step), at(x, 3 * step), at(sums, width), real(EIGHTH)
    if squared:
        for i in lanes(count):
            d0, d1, d2, d3 = x[i] - base[i], x1[i] - base[i], x2[i] - base[i], x3[i] - base[i]
            p0, p1, p2, p3 = d0 * share, d1 * share, d2 * share, d3 * share
            sums[i] += (p0 + p1) + (p2 + p3)
            squares[i] += (p0 * d0 + p1 * d1) + (p2 * d2 + p3 * d3)
    else:
        for i in lanes(count):
            near = base[i] * eighth
            d0, d1, d2, d3 = x[i] * eighth - near, x1[i] * eighth - near, x2[i] * eighth - near, x3[i] * eighth - near
            sums[i] += ((d0 + d1) + (d2 + d3)) * share
