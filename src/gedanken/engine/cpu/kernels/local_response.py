"""Local response normalisation: each value by a power of the mean square of the channels beside it."""

from gedanken.engine.cpu.kernels.blocks import BLOCK, carry, carry_over, copy_row, settle, zero_row
from gedanken.engine.cpu.language import Int, Real, Reals, Record, at, inline, lanes, noinline, real, sqrt

ROOM = 6  # rows of scratch memory, each of a number for each channel


class Beside(Record):
    """Pixels, and how many channels beside each one count; a task is a piece of the pixels.

    share: alpha / size.   slope: 2 * share * beta.   beta = whole + fraction.
    """

    pixels: Int
    channels: Int
    piece: Int
    before: Int
    after: Int
    k: Real
    share: Real
    slope: Real
    whole: Int
    fraction: Real


@noinline
def sum_beside(total, values, space, channels, before, after):
    """Set total to each channel's sum of values over so many channels before it, itself, and so many after it.

    space: room for two numbers for each channel.
    """
    part, lost = space, at(space, channels)
    zero_row(total, channels)
    zero_row(space, 2 * channels)
    for step in range(-before, after + 1):
        low, high = max(0, -step), min(channels, channels - step)
        sums, beside = at(part, low), at(values, low + step)
        for c in lanes(high - low):
            sums[c] += beside[c]
        if (step + before) % BLOCK == BLOCK - 1:
            carry_over(total, lost, part, channels)
    carry(total, lost, part, channels, real(1))
    settle(total, lost, channels)


@noinline
def powers_of(values, powers, space, channels, whole, fraction):
    """Set powers to values ** (whole + fraction): products of squares and of roots of roots, one for a binary digit.

    So the usual 3 / 4 takes two roots, and no result is off by more than a few units for each digit.
    """
    copy_row(space, values, channels)
    for c in lanes(channels):
        powers[c] = real(1)
    while whole > 0:
        if whole % 2 == 1:
            multiply_row(powers, space, channels)
        multiply_row(space, space, channels)
        whole = whole // 2
    copy_row(space, values, channels)
    while fraction > real(0):
        for c in lanes(channels):
            space[c] = sqrt(space[c])
        fraction = fraction + fraction
        if fraction >= real(1):
            multiply_row(powers, space, channels)
            fraction = fraction - real(1)


@inline
def multiply_row(target, values, count):
    for c in lanes(count):
        target[c] *= values[c]


@inline
def measure(x, scratch, b):
    """Set the first row of scratch to d = k + share * sum of squares beside, and the second one to d ** beta."""
    channels = b.channels
    d, powers, squares, space = scratch, at(scratch, channels), at(scratch, 2 * channels), at(scratch, 3 * channels)
    for c in lanes(channels):
        squares[c] = x[c] * x[c]
    sum_beside(d, squares, space, channels, b.before, b.after)
    for c in lanes(channels):
        d[c] = b.k + b.share * d[c]
    powers_of(d, powers, space, channels, b.whole, b.fraction)


def forward(task: Int, scratch: Reals, x: Reals, y: Reals, b: Beside):
    """y = x / d ** beta, for a piece of the pixels.   scratch: ROOM numbers for each channel."""
    channels = b.channels
    powers = at(scratch, channels)
    for pixel in range(task * b.piece, min((task + 1) * b.piece, b.pixels)):
        values, out = at(x, pixel * channels), at(y, pixel * channels)
        measure(values, scratch, b)
        for c in lanes(channels):
            out[c] = values[c] / powers[c]


def gradient(task: Int, scratch: Reals, x: Reals, dy: Reals, d: Reals, b: Beside):
    """Set d to the input gradient, for a piece of the pixels; a channel is beside those that have it beside them.

    dy / d ** beta - slope * x * sum of dy * x / d ** (beta + 1)
    """
    channels = b.channels
    measures, powers, shares = scratch, at(scratch, channels), at(scratch, 2 * channels)
    sums, space = at(scratch, 3 * channels), at(scratch, 4 * channels)
    for pixel in range(task * b.piece, min((task + 1) * b.piece, b.pixels)):
        place = pixel * channels
        values, gradients, out = at(x, place), at(dy, place), at(d, place)
        measure(values, scratch, b)
        for c in lanes(channels):
            shares[c] = gradients[c] * (values[c] / powers[c]) / measures[c]
        sum_beside(sums, shares, space, channels, b.after, b.before)
        for c in lanes(channels):
            out[c] = gradients[c] / powers[c] - b.slope * values[c] * sums[c]
