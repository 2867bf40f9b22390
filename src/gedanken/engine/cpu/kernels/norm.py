"""LayerNorm and RMSNorm: each row of numbers, a vector or a whole image, by its own mean and deviation or mean square.

Scale and shift belong to channels. They are worked with in lines of `width` numbers, one or more pixels, so that few
channels fill vectors too.
"""

from gedanken.engine.cpu.kernels.blocks import (
    BLOCK,
    SIDE,
    add_line,
    carry,
    carry_over,
    copy_row,
    settle,
    sum_of_side,
    zero_row,
)
from gedanken.engine.cpu.kernels.moments import PAIR, row_moments, row_sums
from gedanken.engine.cpu.language import Int, Real, Reals, Record, at, inline, lanes, local_reals, real, sqrt

TOGETHER = 8  # lines of at most LINE numbers whose sums beside each other make a block


class Norm(Record):
    """Rows of `size` numbers, and lines of `width` of them; a task is a piece of the rows.

    centred: whether a mean is subtracted; else it is 0, and the deviation a root mean square.
    moments: [row] -> mean, 1 / deviation, and offset: what rounding took from the mean, / deviation.
    """

    rows: Int
    size: Int
    channels: Int
    width: Int
    piece: Int
    centred: Int
    epsilon: Real
    scale: Reals
    moments: Reals


class Moments(Record):
    """Those of one row; see `Norm`."""

    mean: Real
    factor: Real
    offset: Real


@inline
def normal(x, moments):
    """(x - mean) / deviation"""
    return (x - moments.mean) * moments.factor - moments.offset


class Sums(Record):
    """Sums of dy and of dy * h for each number of a line, and those of d and of d * h, SIDE beside each other."""

    gradients: Reals
    products: Reals
    side: Reals


@inline
def repeated(space, values, channels, width):
    """Return a line of `width` numbers that repeats those of the channels, in `space` if need be."""
    line = values
    if width > channels:
        for start in range(0, width, channels):
            copy_row(at(space, start), values, channels)
        line = space
    return line


def forward(task: Int, scratch: Reals, x: Reals, y: Reals, shift: Reals, n: Norm):
    """y = (x - mean) / deviation * scale + shift.   scratch: 2 * width numbers."""
    size, width = n.size, n.width
    gains = repeated(scratch, n.scale, n.channels, width)
    shifts = repeated(at(scratch, width), shift, n.channels, width)
    for row in range(task * n.piece, min((task + 1) * n.piece, n.rows)):
        source, target = at(x, row * size), at(y, row * size)
        found = at(n.moments, 3 * row)
        if n.centred:
            row_moments(source, size, found)
        else:
            row_sums(source, size, real(0), real(1) / real(size), True, at(found, 1))
            found[0], found[1] = real(0), real(0)
        mean, factor = found[0], real(1) / sqrt(found[2] + n.epsilon)
        offset = found[1] * factor
        found[1] = factor
        found[2] = offset
        for start in range(0, size, width):
            values, out = at(source, start), at(target, start)
            for i in lanes(min(width, size - start)):
                out[i] = ((values[i] - mean) * factor - offset) * gains[i] + shifts[i]


@inline
def scaled_gradients(d, dy, x, gains, count, moments, sums):
    """d = dy * gain; add to the sums."""
    gradients, products, side, side_products = sums.gradients, sums.products, sums.side, at(sums.side, SIDE)
    for start in range(0, count, SIDE):
        for i in lanes(min(SIDE, count - start)):
            h = normal(x[start + i], moments)
            gradient = dy[start + i]
            gradients[start + i] += gradient
            products[start + i] += gradient * h
            scaled = gradient * gains[start + i]
            d[start + i] = scaled
            side[i] += scaled
            side_products[i] += scaled * h


def gradient(
    task: Int, scratch: Reals, x: Reals, dy: Reals, d: Reals, shifts: Reals, scales: Reals, n: Norm
):  # fmt: skip
    """Set d to the input gradient; shifts[task] and scales[task] to this piece's gradients of shift and scale.

    With h = (x - mean) / deviation and g = dy * scale:   d = (g - mean of g - h * mean of g * h) / deviation,
    the mean of g only where x was centred.   scratch: 7 * width numbers.
    """
    size, channels, width = n.size, n.channels, n.width
    gains, both = repeated(scratch, n.scale, channels, width), at(scratch, width)
    totals, lost, lines = at(scratch, 3 * width), at(scratch, 5 * width), 0
    side, total, rest = local_reals(PAIR), local_reals(PAIR), local_reals(PAIR)
    zero_row(both, 6 * width)
    long, share = size > SIDE * BLOCK, real(1) / real(size)
    for row in range(task * n.piece, min((task + 1) * n.piece, n.rows)):
        source, gradients, out = at(x, row * size), at(dy, row * size), at(d, row * size)
        found = at(n.moments, 3 * row)
        moments = Moments(mean=found[0], factor=found[1], offset=found[2])
        zero_row(side, PAIR)
        if long:
            zero_row(total, PAIR)
            zero_row(rest, PAIR)
        for start in range(0, size, width):
            for first in range(start, min(start + width, size), SIDE * BLOCK):
                place, count = first - start, min(SIDE * BLOCK, min(start + width, size) - first)
                sums = Sums(gradients=at(both, place), products=at(both, width + place), side=side)
                scaled_gradients(
                    at(out, first), at(gradients, first), at(source, first), at(gains, place), count, moments, sums
                )
                if long and (count == SIDE * BLOCK or (start // width) % TOGETHER == TOGETHER - 1):
                    carry_over(total, rest, side, PAIR)
            lines += 1
            if lines == BLOCK:
                carry_over(totals, lost, both, 2 * width)
                lines = 0
        if long:
            carry(total, rest, side, PAIR, real(1))
            settle(total, rest, PAIR)
            copy_row(side, total, PAIR)
        middle, tilt = (sum_of_side(side) if n.centred else real(0)) * share, sum_of_side(at(side, SIDE)) * share
        for i in lanes(size):
            out[i] = (out[i] - middle - normal(source[i], moments) * tilt) * moments.factor
    carry(totals, lost, both, 2 * width, real(1))
    settle(totals, lost, 2 * width)
    zero_row(at(shifts, task * channels), channels)
    zero_row(at(scales, task * channels), channels)
    add_line(at(shifts, task * channels), totals, width // channels, channels)
    add_line(at(scales, task * channels), at(totals, width), width // channels, channels)
