"""Functions of rows of numbers that stay in the first-level cache: activations, random draws, pooling."""

from gedanken.engine.cpu.kernels.blocks import copy_row
from gedanken.engine.cpu.kernels.curves import (
    HARD_SWISH,
    activate_in_pieces,
    activate_smoothly,
    piecewise_derivative_row,
    smooth_derivative_row,
)
from gedanken.engine.cpu.kernels.functions import (
    bell,
    exponential,
    exponential_less_1,
    hyperbolic_tangent,
    share_below,
    sigmoid,
)
from gedanken.engine.cpu.language import (
    Int,
    Real,
    Record,
    at,
    byte,
    inline,
    ints,
    lanes,
    multiply_high,
    multiply_low,
    noinline,
    real,
    times,
    uint16,
    uint16s,
)

# Kinds of activation. The derivative is a function of the result; from SILU on, of the input. More of them, with
# higher numbers, stand in curves.py.
NONE, RELU, LEAKY_RELU, SIGMOID, TANH, CLIPPED, SILU, GELU, ELU = 0, 1, 2, 3, 4, 5, 6, 7, 8


class Activation(Record):
    """An activation: its kind, and the numbers of its formula that it has."""

    kind: Int
    slope: Real
    rate: Real
    gain: Real
    offset: Real
    low: Real
    high: Real


@noinline
def activate(x, y, count, activation):
    """y = f(x); x and y may be the same."""
    if activation.kind == RELU:
        for i in lanes(count):
            y[i] = real(0) if x[i] < real(0) else x[i]
    elif activation.kind == LEAKY_RELU:
        for i in lanes(count):
            y[i] = x[i] if x[i] > real(0) else x[i] * activation.slope
    elif activation.kind >= SILU:
        activate_from_input(x, y, count, activation)
    elif activation.kind:
        activate_bounded(x, y, count, activation)
    else:
        copy_row(y, x, count)


@noinline
def activate_bounded(x, y, count, activation):
    """y = f(x), for the kinds from SIGMOID to CLIPPED."""
    if activation.kind == SIGMOID:
        for i in lanes(count):
            y[i] = sigmoid(x[i])
    elif activation.kind == TANH:
        for i in lanes(count):
            y[i] = hyperbolic_tangent(x[i])
    elif activation.kind == CLIPPED:
        for i in lanes(count):
            y[i] = min(max(times(x[i], activation.slope) + activation.offset, activation.low), activation.high)


@noinline
def activate_from_input(x, y, count, activation):
    """y = f(x), for the kinds from SILU on."""
    if activation.kind == SILU:
        for i in lanes(count):
            y[i] = x[i] * sigmoid(x[i])
    elif activation.kind == ELU:
        for i in lanes(count):
            power = exponential_less_1(activation.rate * min(x[i], real(0)))
            y[i] = activation.gain * x[i] if x[i] > real(0) else activation.slope * power
    elif activation.kind == GELU:
        for i in lanes(count):
            y[i] = x[i] * share_below(x[i], bell(x[i]))
    elif activation.kind < HARD_SWISH:
        activate_smoothly(x, y, count, activation)
    else:
        activate_in_pieces(x, y, count, activation)


@noinline
def derivative_row(d, y, count, activation):
    """d *= f'(x), given y = f(x), for the kinds before SILU."""
    if activation.kind == RELU:
        for i in lanes(count):
            d[i] *= real(1) if y[i] > real(0) else real(0)
    elif activation.kind == LEAKY_RELU:
        for i in lanes(count):
            d[i] *= real(1) if y[i] > real(0) else activation.slope
    else:
        bounded_derivative_row(d, y, count, activation)


@noinline
def bounded_derivative_row(d, y, count, activation):
    """d *= f'(x), given y = f(x), for the kinds from SIGMOID to CLIPPED."""
    if activation.kind == SIGMOID:
        for i in lanes(count):
            d[i] *= y[i] * (real(1) - y[i])
    elif activation.kind == TANH:
        for i in lanes(count):
            d[i] *= real(1) - y[i] * y[i]
    elif activation.kind == CLIPPED:
        for i in lanes(count):
            inside = y[i] > activation.low and y[i] < activation.high
            d[i] *= activation.slope if inside else real(0)


@noinline
def derivative_row_from_input(d, x, count, activation):
    """d *= f'(x), for the kinds from SILU on."""
    if activation.kind == SILU:
        for i in lanes(count):
            q = sigmoid(x[i])
            d[i] *= q + x[i] * q * (real(1) - q)
    elif activation.kind == ELU:
        for i in lanes(count):
            power = exponential(activation.rate * min(x[i], real(0)))
            d[i] *= activation.gain if x[i] > real(0) else activation.slope * activation.rate * power
    elif activation.kind == GELU:
        for i in lanes(count):
            height = bell(x[i])
            d[i] *= share_below(x[i], height) + x[i] * height * real(0.3989422804014327)  # 1 / sqrt(2 pi)
    elif activation.kind < HARD_SWISH:
        smooth_derivative_row(d, x, count, activation)
    else:
        piecewise_derivative_row(d, x, count, activation)


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
