"""LayerNorm: each row of numbers, a vector or a whole image, by its own mean and deviation.

Scale and shift belong to channels. They are worked with in lines of `width` numbers, one or more pixels, so that few
channels fill vectors too.
"""

from gedanken.engine.cpu.kernels.blocks import add_line, copy_row, zero_row
from gedanken.engine.cpu.language import Int, Real, Reals, at, helper, lanes, local_reals, real, sqrt

SIDE = 32  # sums that run beside each other, since each waits for the one before; a power of two


@helper
def repeated(space, values, channels, width):
    """Return a line of `width` numbers that repeats those of the channels, in `space` if need be."""
    line = values
    if width > channels:
        for start in range(0, width, channels):
            copy_row(at(space, start), values, channels)
        line = space
    return line


@helper
def sum_of(sums):
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


@helper
def mean_of(x, size):
    sums = local_reals(SIDE)
    zero_row(sums, SIDE)
    for start in range(0, size, SIDE):
        values = at(x, start)
        for i in lanes(min(SIDE, size - start)):
            sums[i] += values[i]
    return sum_of(sums) / real(size)


@helper
def variance_of(x, size, mean):
    sums = local_reals(SIDE)
    zero_row(sums, SIDE)
    for start in range(0, size, SIDE):
        values = at(x, start)
        for i in lanes(min(SIDE, size - start)):
            distance = values[i] - mean
            sums[i] += distance * distance
    return sum_of(sums) / real(size)


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

    scratch: 2 * width numbers.   moments: [row] -> mean and 1 / deviation.
    """
    gains, shifts = repeated(scratch, scale, channels, width), repeated(at(scratch, width), shift, channels, width)
    for row in range(task * piece, min((task + 1) * piece, rows)):
        source, target = at(x, row * size), at(y, row * size)
        mean = mean_of(source, size)
        factor = real(1) / sqrt(variance_of(source, size, mean) + epsilon)
        moments[2 * row] = mean
        moments[2 * row + 1] = factor
        for start in range(0, size, width):
            values, out = at(source, start), at(target, start)
            for i in lanes(min(width, size - start)):
                out[i] = (values[i] - mean) * factor * gains[i] + shifts[i]


@helper
def scaled_slopes(d, dy, x, gains, sums, products, count, mean, factor, side, side_products):
    """d = dy * gain; add to the sums of dy and of dy * h, and to those of d and of d * h beside each other."""
    for start in range(0, count, SIDE):
        for i in lanes(min(SIDE, count - start)):
            h = (x[start + i] - mean) * factor
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
    """Set d to the gradient by x, and shifts[task], scales[task] to this piece's gradients by shift and scale.

    With h = (x - mean) / deviation and g = dy * scale:   d = (g - mean of g - h * mean of g * h) / deviation
    scratch: 3 * width numbers.
    """
    gains, sums, products = repeated(scratch, scale, channels, width), at(scratch, width), at(scratch, 2 * width)
    side, side_products = local_reals(SIDE), local_reals(SIDE)
    zero_row(sums, 2 * width)
    for row in range(task * piece, min((task + 1) * piece, rows)):
        source, slopes, out = at(x, row * size), at(dy, row * size), at(d, row * size)
        mean, factor = moments[2 * row], moments[2 * row + 1]
        zero_row(side, SIDE)
        zero_row(side_products, SIDE)
        for start in range(0, size, width):
            count = min(width, size - start)
            values, given, target = at(source, start), at(slopes, start), at(out, start)
            scaled_slopes(target, given, values, gains, sums, products, count, mean, factor, side, side_products)
        middle, tilt = sum_of(side) / real(size), sum_of(side_products) / real(size)
        for i in lanes(size):
            out[i] = (out[i] - middle - (source[i] - mean) * factor * tilt) * factor
    zero_row(at(shifts, task * channels), channels)
    zero_row(at(scales, task * channels), channels)
    add_line(at(shifts, task * channels), sums, width // channels, channels)
    add_line(at(scales, task * channels), products, width // channels, channels)
