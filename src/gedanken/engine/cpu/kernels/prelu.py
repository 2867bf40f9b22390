"""PReLU: a pass each way over rows of channels, whose slopes are trained."""

from gedanken.engine.cpu.kernels.blocks import Rows, sum_of, sum_products, zero_row
from gedanken.engine.cpu.language import Int, Reals, Record, at, inline, lanes, real


class Slopes(Record):
    """The slope of each channel, or where it is `shared` one."""

    values: Reals
    shared: Int


@inline
def by_channel(slope, space, channels):
    """Return the slope of each channel: in `space`, where all have the same."""
    slopes = slope.values
    if slope.shared:
        for c in lanes(channels):
            space[c] = slope.values[0]
        slopes = space
    return slopes


def forward(task: Int, scratch: Reals, x: Reals, y: Reals, slope: Slopes, m: Rows):
    """y = x where x > 0, else slope * x; a task is a piece of the rows.   scratch: a number for each channel."""
    slopes = by_channel(slope, scratch, m.columns)
    for row in range(task * m.piece, min((task + 1) * m.piece, m.rows)):
        values, out = at(x, row * m.columns), at(y, row * m.columns)
        for c in lanes(m.columns):
            out[c] = values[c] if values[c] > real(0) else slopes[c] * values[c]


def gradient(
    task: Int, scratch: Reals, x: Reals, dy: Reals, d: Reals, slope: Slopes, partial: Reals, m: Rows
):  # fmt: skip
    """Set d to the input gradient, and partial[task][channels] to those of the slopes.

    scratch: two numbers for each channel.
    """
    first, channels = task * m.piece, m.columns
    rows = min(m.piece, m.rows - first)
    values, gradients, out = at(x, first * channels), at(dy, first * channels), at(d, first * channels)
    slopes, zeros = by_channel(slope, scratch, channels), at(scratch, channels)
    for i in lanes(rows * channels):
        out[i] = real(0) if values[i] > real(0) else gradients[i]
    zero_row(zeros, channels)
    sums = at(partial, task * channels)
    zero_row(sums, channels)
    sum_products(sums, out, values, zeros, rows, channels)
    for row in range(rows):
        given, below, result = at(gradients, row * channels), at(values, row * channels), at(out, row * channels)
        for c in lanes(channels):
            result[c] = given[c] if below[c] > real(0) else slopes[c] * given[c]


def total(task: Int, scratch: Reals, sums: Reals, target: Reals, channels: Int):
    """target = the sum over the channels, whose slope is the same."""
    target[0] = sum_of(sums, channels, real(1))
