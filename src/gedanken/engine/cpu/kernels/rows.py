"""Functions of rows of numbers that stay in the first-level cache: activations, random draws, pooling."""

from gedanken.engine.cpu.kernels.blocks import copy_row
from gedanken.engine.cpu.language import (
    Int,
    Real,
    Record,
    at,
    byte,
    exp2i,
    inline,
    ints,
    lanes,
    lowest_power,
    multiply_high,
    multiply_low,
    noinline,
    real,
    single,
    uint16,
    uint16s,
)

# Kinds of activation. The derivative is a function of the result; from SILU on, of the input.
NONE, RELU, LEAKY_RELU, SIGMOID, TANH, SILU, GELU, ELU = 0, 1, 2, 3, 4, 5, 6, 7


@inline
def exponential(x):
    """e ** x for x <= 0, to a few units in the last place: 2 ** n e ** r with x = n log(2) + r, |r| <= log(2) / 2."""
    # exp2i has no exponent for less. A NaN stays one: max gives the first of its arguments.
    inside = max(x, real(lowest_power))
    n = round(inside * real(1.4426950408889634))
    value = exp2i(n) * (real(1) + series(remainder(inside, n)))
    return real(0) if x < real(lowest_power) else value


@inline
def exponential_less_1(x):
    """e ** x - 1 for x <= 0: (2 ** n - 1) + 2 ** n (e ** r - 1), so that small results keep their digits."""
    x = max(x, real(lowest_power))
    n = round(x * real(1.4426950408889634))
    return (exp2i(n) - real(1)) + exp2i(n) * series(remainder(x, n))


@inline
def remainder(x, n):
    """x - n log(2), the logarithm in two parts."""
    # The first part has 15 bits, so that its product with n is exact.
    return x - n * real(0.693145751953125) - n * real(1.4286068203094172e-06)


@inline
def series(r):
    """e ** r - 1 by its Taylor series, for |r| <= log(2) / 2."""
    total = real(1 / 6227020800)
    total = total * r + real(1 / 479001600)
    total = total * r + real(1 / 39916800)
    total = total * r + real(1 / 3628800)
    total = total * r + real(1 / 362880)
    total = total * r + real(1 / 40320)
    total = total * r + real(1 / 5040)
    total = total * r + real(1 / 720)
    total = total * r + real(1 / 120)
    total = total * r + real(1 / 24)
    total = total * r + real(1 / 6)
    total = total * r + real(1 / 2)
    return (total * r + real(1)) * r


@inline
def hyperbolic_tangent(x):
    """(1 - e ** -2a) / (1 + e ** -2a) for a = |x|, with the sign of x; small results keep their digits."""
    power = exponential_less_1(real(-2) * abs(x))
    size = -power / (real(2) + power)
    return -size if x < real(0) else size


@inline
def sigmoid(x):
    """1 / (1 + e ** -x); small results keep their digits."""
    power = exponential(-abs(x))
    return (power if x < real(0) else real(1)) / (real(1) + power)


# The share of a normal distribution above a >= 0 is exp(-a * a / 2) * W(a), where
# W(a) = 1 / sqrt(2 pi) * integral over s >= 0 of exp(-s * s / 2 - a * s)
# has no steep part: (a + 4) * W(a) is a short polynomial of t = (a - 4) / (a + 4). The coefficients are those of its
# Chebyshev interpolation, the integral taken by Gauss's rule, up to FARTHEST or, for float32, up to a = 13.5: beyond,
# the exponential is nothing. So even the smallest shares keep their digits.
FARTHEST = 38.0


@inline
def bell(x):
    """exp(-x * x / 2)"""
    a = min(abs(x), real(FARTHEST))
    return exponential(a * a * real(-0.5))


@inline
def share_below(x, height):
    """The share of a normal distribution below x, given height = bell(x)."""
    a = min(abs(x), real(FARTHEST))
    part = real(1) / (a + real(4))
    t = (a - real(4)) * part
    above = height * part * (tail_short(t) if single else tail_long(t))
    return above if x < real(0) else real(1) - above


@inline
def tail_short(t):
    """To the digits of float32."""
    total = real(0.000457604511)
    total = total * t + real(0.00165412667)
    total = total * t + real(-0.00366047168)
    total = total * t + real(-0.00760125084)
    total = total * t + real(0.0604282681)
    total = total * t + real(-0.186509599)
    total = total * t + real(0.387135513)
    total = total * t + real(-0.607897185)
    return total * t + real(0.755285151)


@inline
def tail_long(t):
    """To the digits of float64."""
    total = real(-4.1838392358544216e-08)
    total = total * t + real(-1.0868668204223654e-07)
    total = total * t + real(2.2530561422534075e-07)
    total = total * t + real(9.6015648624828997e-07)
    total = total * t + real(-6.0148059918022882e-07)
    total = total * t + real(-5.8762983550580345e-06)
    total = total * t + real(7.0603377440527732e-07)
    total = total * t + real(3.5126169212370111e-05)
    total = total * t + real(-1.9055566968932624e-06)
    total = total * t + real(-0.0002310902487242777)
    total = total * t + real(0.00013334380673913772)
    total = total * t + real(0.0016308177709651944)
    total = total * t + real(-0.0034796922979147514)
    total = total * t + real(-0.0075401889137591003)
    total = total * t + real(0.060396574885168273)
    total = total * t + real(-0.18652185796140994)
    total = total * t + real(0.3871374007424126)
    total = total * t + real(-0.60789664197187776)
    return total * t + real(0.75528513041575063)


class Activation(Record):
    """An activation: its kind, and the slope of LeakyReLU or the alpha of ELU."""

    kind: Int
    slope: Real


@noinline
def activate(x, y, count, activation):
    """y = f(x); x and y may be the same."""
    if activation.kind == RELU:
        for i in lanes(count):
            y[i] = real(0) if x[i] < real(0) else x[i]
    elif activation.kind == LEAKY_RELU:
        for i in lanes(count):
            y[i] = x[i] if x[i] > real(0) else x[i] * activation.slope
    elif activation.kind == SIGMOID:
        for i in lanes(count):
            y[i] = sigmoid(x[i])
    elif activation.kind == TANH:
        for i in lanes(count):
            y[i] = hyperbolic_tangent(x[i])
    elif activation.kind >= SILU:
        activate_from_input(x, y, count, activation)
    else:
        copy_row(y, x, count)


@noinline
def activate_from_input(x, y, count, activation):
    """y = f(x), for the kinds from SILU on. activation.slope: alpha of ELU."""
    if activation.kind == SILU:
        for i in lanes(count):
            y[i] = x[i] * sigmoid(x[i])
    elif activation.kind == ELU:
        for i in lanes(count):
            y[i] = x[i] if x[i] > real(0) else activation.slope * exponential_less_1(min(x[i], real(0)))
    else:
        for i in lanes(count):
            y[i] = x[i] * share_below(x[i], bell(x[i]))


@noinline
def derivative_row(d, y, count, activation):
    """d *= f'(x), given y = f(x), for the kinds before SILU."""
    if activation.kind == RELU:
        for i in lanes(count):
            d[i] *= real(1) if y[i] > real(0) else real(0)
    elif activation.kind == LEAKY_RELU:
        for i in lanes(count):
            d[i] *= real(1) if y[i] > real(0) else activation.slope
    elif activation.kind == SIGMOID:
        for i in lanes(count):
            d[i] *= y[i] * (real(1) - y[i])
    elif activation.kind == TANH:
        for i in lanes(count):
            d[i] *= real(1) - y[i] * y[i]


@noinline
def derivative_row_from_input(d, x, count, activation):
    """d *= f'(x), for the kinds from SILU on. activation.slope: alpha of ELU."""
    if activation.kind == SILU:
        for i in lanes(count):
            q = sigmoid(x[i])
            d[i] *= q + x[i] * q * (real(1) - q)
    elif activation.kind == ELU:
        for i in lanes(count):
            d[i] *= real(1) if x[i] > real(0) else activation.slope * exponential(min(x[i], real(0)))
    else:
        for i in lanes(count):
            height = bell(x[i])
            d[i] *= share_below(x[i], height) + x[i] * height * real(0.3989422804014327)  # 1 / sqrt(2 pi)


# Philox 4x64-10; see `gedanken.random` for what key and counter mean.
MULTIPLIER_0, MULTIPLIER_1 = 0xD2E7470EE14C6C93, 0xCA5A826395121157
WEYL_0, WEYL_1 = 0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B
DRAWS_PER_BLOCK = 16


@inline
def philox(target, block, epoch, key_0, key_1):
    """Write the four words of a block."""
    a, b, c, d = block + 1, 0, epoch, 0
    for _ in range(10):
        high_a, low_a = multiply_high(MULTIPLIER_0, a), multiply_low(MULTIPLIER_0, a)
        high_c, low_c = multiply_high(MULTIPLIER_1, c), multiply_low(MULTIPLIER_1, c)
        a, b, c, d = high_c ^ b ^ key_0, low_c, high_a ^ d ^ key_1, low_a
        key_0 += WEYL_0
        key_1 += WEYL_1
    target[0], target[1], target[2], target[3] = a, b, c, d


class Draw(Record):
    """Which random numbers a dropout draws: those below `threshold` are kept."""

    key_0: Int
    key_1: Int
    epoch: Int
    position: Int  # samples of the epoch before these
    blocks: Int  # of draws, for each sample
    threshold: Int


@noinline
def keep_row(mask, space, sample, start, count, draw):
    """Set mask[i] to 1 where the value number start + i of a sample is kept, else to 0.

    space: room for the draws, count / 4 + 16 numbers of eight bytes.
    """
    first = start // DRAWS_PER_BLOCK
    last = (start + count - 1) // DRAWS_PER_BLOCK
    raw = ints(space)
    before = (draw.position + sample) * draw.blocks
    for block in range(first, last + 1):
        philox(at(raw, 4 * (block - first)), before + block, draw.epoch, draw.key_0, draw.key_1)
    drawn = at(uint16s(space), start - first * DRAWS_PER_BLOCK)
    threshold = uint16(draw.threshold)
    for i in lanes(count):
        mask[i] = real(1) if drawn[i] < threshold else real(0)


@noinline
def drop_row(y, mask, count, factor):
    """Set to zero what is not kept, scale the rest."""
    for i in lanes(count):
        y[i] = y[i] * mask[i] * factor


@noinline
def normalise_row(x, y, columns, channels, normal):
    """y = (x - mean) * gain + shift for each of some pixels; normal: mean, gain and shift of the channels."""
    mean, gain, shift = normal, at(normal, channels), at(normal, 2 * channels)
    for column in range(columns):
        source, target = at(x, column * channels), at(y, column * channels)
        for c in lanes(channels):
            target[c] = (source[c] - mean[c]) * gain[c] + shift[c]


@noinline
def first_tap(y, winners, values, count, index):
    for i in lanes(count):
        y[i] = values[i]
        winners[i] = index


@noinline
def next_tap(y, winners, best, so_far, values, count, index):
    """Let a tap win where it is larger than the best so far, or is NaN; y and winners are other memory than
    those."""
    won = byte(index)
    for i in lanes(count):
        value, old = values[i], best[i]
        wins = value > old or value != value
        y[i] = value if wins else old
        winners[i] = won if wins else so_far[i]


@noinline
def add_row(y, values, count, factor):
    for i in lanes(count):
        y[i] += values[i] * factor


@noinline
def add_winners(d, dy, winners, count, index, factor):
    """Give the gradient to the values that won as tap number `index`."""
    won = byte(index)
    for i in lanes(count):
        d[i] += dy[i] * (factor if winners[i] == won else real(0))
