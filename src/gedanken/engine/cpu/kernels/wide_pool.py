"""Max pooling by wide windows: each row is pooled along its columns once, and rows are pooled after that.

So windows of R x S pixels that overlap cost R + S comparisons each, not R * S. A winner is the number of its
tap, r * S + s, kept as a real: float32 holds whole numbers up to 2 ** 24.
"""

from gedanken.engine.cpu.kernels.blocks import copy_row, lost_of, settle, zero_row
from gedanken.engine.cpu.kernels.window import (
    CHANNELS,
    COLUMNS,
    DOWN,
    HEIGHT,
    LEFT,
    OUT_HEIGHT,
    OUT_WIDTH,
    RIGHT,
    ROWS,
    TOP,
    WIDTH,
    first_seen,
    last_seen,
)
from gedanken.engine.cpu.language import Int, Ints, Reals, apart, at, helper, lanes, real, whole


def forward(task: Int, scratch: Reals, x: Reals, y: Reals, winners: Reals, shape: Ints, bands: Int, band: Int):
    """Set y to the largest value of each window, for a band of one image's output rows, and winners to its tap.

    scratch: ROWS rows of the ring, each the best of an input row's columns and the columns where they stood.
    """
    image, begin = task // bands, task % bands * band
    count = shape[OUT_WIDTH] * shape[CHANNELS]
    picture = at(x, image * shape[HEIGHT] * shape[WIDTH] * shape[CHANNELS])
    filled = 0
    for i in range(begin, min(begin + band, shape[OUT_HEIGHT])):
        place = (image * shape[OUT_HEIGHT] + i) * count
        best, won = at(y, place), at(winners, place)
        top = i * shape[DOWN] - shape[TOP]
        first, last = max(0, top), min(top + shape[ROWS], shape[HEIGHT])
        for h in range(max(first, filled), last):
            slot = at(scratch, h % shape[ROWS] * 2 * count)
            pool_columns(at(picture, h * shape[WIDTH] * shape[CHANNELS]), slot, at(slot, count), shape)
        filled = max(last, filled)
        for h in range(first, last):
            slot = at(scratch, h % shape[ROWS] * 2 * count)
            number = real((h - top) * shape[COLUMNS])
            if h == first:
                begin_row(best, won, slot, at(slot, count), count, number)
            else:
                pool_row(best, won, slot, at(slot, count), count, number)


@helper
def pool_columns(line, best, columns, shape):
    """Set best to the largest value that each output column sees in an input row, and columns to where it stands."""
    channels = shape[CHANNELS]
    for j in range(shape[OUT_WIDTH]):
        start = j * shape[RIGHT] - shape[LEFT]
        copy_row(at(best, j * channels), at(line, max(start, 0) * channels), channels)
        fill_row(at(columns, j * channels), channels, real(max(-start, 0)))
    for s in range(shape[COLUMNS]):
        first, last = first_seen(shape, s), last_seen(shape, s)
        here = at(line, (first * shape[RIGHT] + s - shape[LEFT]) * channels)
        if shape[RIGHT] == 1:
            pool_tap(
                at(best, first * channels), at(columns, first * channels), here, (last - first) * channels, real(s)
            )
        else:
            for j in range(first, last):
                there = at(here, (j - first) * shape[RIGHT] * channels)
                pool_tap(at(best, j * channels), at(columns, j * channels), there, channels, real(s))


@helper
def fill_row(target, count, value):
    for i in lanes(count):
        target[i] = value


@helper
def pool_tap(best, columns, values, count, column):
    """Let values win where they are larger than the best so far, or are no number."""
    for i in lanes(count):
        value, old = values[i], best[i]
        wins = value > old or value != value
        best[i] = value if wins else old
        columns[i] = column if wins else columns[i]


@apart
def begin_row(best, won, values, columns, count, number):
    for i in lanes(count):
        best[i] = values[i]
        won[i] = columns[i] + number


@apart
def pool_row(best, won, values, columns, count, number):
    """As `pool_tap`, for the best of a row's columns; `number` is that of the row's first tap."""
    for i in lanes(count):
        value, old = values[i], best[i]
        wins = value > old or value != value
        best[i] = value if wins else old
        won[i] = columns[i] + number if wins else won[i]


def gradient(task: Int, scratch: Reals, dy: Reals, winners: Reals, d: Reals, shape: Ints):
    """Set d, the gradient with respect to one image, to what the windows give back to their winners.

    A pixel may win many windows: what rounding takes from its sum is kept in scratch, one number for each pixel and
    channel.
    """
    channels = shape[CHANNELS]
    size, count = shape[HEIGHT] * shape[WIDTH] * channels, shape[OUT_WIDTH] * channels
    total = at(d, task * size)
    zero_row(total, size)
    zero_row(scratch, size)
    for i in range(shape[OUT_HEIGHT]):
        place = (task * shape[OUT_HEIGHT] + i) * count
        for j in range(shape[OUT_WIDTH]):
            corner = (i * shape[DOWN] - shape[TOP]) * shape[WIDTH] + j * shape[RIGHT] - shape[LEFT]
            for c in range(channels):
                tap = whole(winners[place + j * channels + c])
                r = tap // shape[COLUMNS]
                pixel = (corner + r * shape[WIDTH] + tap - r * shape[COLUMNS]) * channels + c
                old, value = total[pixel], dy[place + j * channels + c]
                total[pixel] = old + value
                scratch[pixel] += lost_of(old, value, total[pixel])
    settle(total, scratch, size)
