"""LayerNorm: each row of numbers, a vector or a whole image, by its own mean and deviation.

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
from gedanken.engine.cpu.kernels.moments import PAIR, row_moments
from gedanken.engine.cpu.language import Int, Real, Reals, at, helper, lanes, local_reals, real, sqrt

TOGETHER = 8  # lines of at most LINE numbers whose sums beside each other make a block


@helper
def repeated(space, values, channels, width):
    """Return a line of `width` numbers that repeats those of the channels, in `space` if need be."""
    line = values
    if width > channels:
        for start in range(0, width, channels):
            copy_row(at(space, start), values, channels)
        line = space
    return line


def forward(
    task: Int,
    scratch: Reals,
    x: Reals,
    y: Reals,
    scale: Reals,
    shift: Reals,
    moments: Reals,
    rows: Int,
    size: Int,
    channels: Int,
    width: Int,
    piece: Int,
    epsilon: Real,
):
    """y = (x - mean) / deviation * scale + shift; a task is a piece of the rows.

    scratch: 2 * width numbers.   moments: [row] -> mean, 1 / deviation, and offset: what rounding took from
    the mean, / deviation.
    """
    gains, shifts = repeated(scratch, scale, channels, width), repeated(at(scratch, width), shift, channels, width)
    for row in range(task * piece, min((task + 1) * piece, rows)):
        source, target = at(x, row * size), at(y, row * size)
        found = at(moments, 3 * row)
        row_moments(source, size, found)
        mean, factor = found[0], real(1) / sqrt(found[2] + epsilon)
        offset = found[1] * factor
        found[1] = factor
        found[2] = offset
        for start in range(0, size, width):
            values, out = at(source, start), at(target, start)
            for i in lanes(min(width, size - start)):
                out[i] = ((values[i] - mean) * factor - offset) * gains[i] + shifts[i]


@helper
def scaled_slopes(d, dy, x, gains, sums, products, count, mean, factor, offset, side, side_products):
    """d = dy * gain; add to the sums of dy and of dy * h, and to those of d and of d * h beside each other."""
    for start in range(0, count, SIDE):
        for i in lanes(min(SIDE, count - start)):
            h = (x[start + i] - mean) * factor - offset
            slope = dy[start + i]
            sums[start + i] += slope
            products[start + i] += slope * h
            scaled = slope * gains[start + i]
            d[start + i] = scaled
            side[i] += scaled
            side_products[i] += scaled * h


def gradient(
    task: Int,
    scratch: Reals,
    x: Reals,
    dy: Reals,
    d: Reals,
    scale: Reals,
    moments: Reals,
    shifts: Reals,
    scales: Reals,
    rows: Int,
    size: Int,
    channels: Int,
    width: Int,
    piece: Int,
):
    """Set d to the input gradient; shifts[task] and scales[task] to this piece's gradients of shift and scale.

    With h = (x - mean) / deviation and g = dy * scale:   d = (g - mean of g - h * mean of g * h) / deviation
    scratch: 7 * width numbers.
    """
    gains, both = repeated(scratch, scale, channels, width), at(scratch, width)
    totals, lost, lines = at(scratch, 3 * width), at(scratch, 5 * width), 0
    side, total, rest = local_reals(PAIR), local_reals(PAIR), local_reals(PAIR)
    zero_row(both, 6 * width)
    long = size > SIDE * BLOCK
    for row in range(task * piece, min((task + 1) * piece, rows)):
        source, slopes, out = at(x, row * size), at(dy, row * size), at(d, row * size)
        mean, factor, offset = moments[3 * row], moments[3 * row + 1], moments[3 * row + 2]
        zero_row(side, PAIR)
        if long:
            zero_row(total, PAIR)
            zero_row(rest, PAIR)
        for start in range(0, size, width):
            for first in range(start, min(start + width, size), SIDE * BLOCK):
                place, count = first - start, min(SIDE * BLOCK, min(start + width, size) - first)
                scaled_slopes(
                    at(out, first), at(slopes, first), at(source, first), at(gains, place), at(both, place),
                    at(both, width + place), count, mean, factor, offset, side, at(side, SIDE),
                )  # fmt: skip
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
        middle, tilt = sum_of_side(side) / real(size), sum_of_side(at(side, SIDE)) / real(size)
        for i in lanes(size):
            out[i] = (out[i] - middle - ((source[i] - mean) * factor - offset) * tilt) * factor
    carry(totals, lost, both, 2 * width, real(1))
    settle(totals, lost, 2 * width)
    zero_row(at(shifts, task * channels), channels)
    zero_row(at(scales, task * channels), channels)
    add_line(at(shifts, task * channels), totals, width // channels, channels)
    add_line(at(scales, task * channels), at(totals, width), width // channels, channels)
