"""Max pooling by wide windows: each row is pooled along its columns once, and rows are pooled after that.

So windows of R x S pixels that overlap cost R + S comparisons each, not R * S. A winner is the number of its
tap, r * S + s, kept as a real: float32 holds whole numbers up to 2 ** 24.
"""

from gedanken.engine.cpu.kernels.blocks import copy_row, fill_row, lost_of, settle, zero_row
from gedanken.engine.cpu.kernels.window import Window, first_seen, last_seen
from gedanken.engine.cpu.language import Int, Reals, at, inline, integer, lanes, noinline, real


def forward(task: Int, scratch: Reals, x: Reals, y: Reals, winners: Reals, window: Window):
    """Set y to the largest value of each window, for a band of one image's output rows, and winners to its tap.

    scratch: window.rows rows of the ring, each the best of an input row's columns and the columns where they stood.
    """
    image, begin = task // window.bands, task % window.bands * window.band
    count = window.out_width * window.channels
    picture = at(x, image * window.height * window.width * window.channels)
    filled = 0
    for i in range(begin, min(begin + window.band, window.out_height)):
        place = (image * window.out_height + i) * count
        best, won = at(y, place), at(winners, place)
        top = i * window.down - window.top
        first, last = max(0, top), min(top + window.rows, window.height)
        for h in range(max(first, filled), last):
            slot = at(scratch, h % window.rows * 2 * count)
            pool_columns(at(picture, h * window.width * window.channels), slot, at(slot, count), window)
        filled = max(last, filled)
        for h in range(first, last):
            slot = at(scratch, h % window.rows * 2 * count)
            number = real((h - top) * window.columns)
            if h == first:
                begin_row(best, won, slot, at(slot, count), count, number)
            else:
                pool_row(best, won, slot, at(slot, count), count, number)


@inline
def pool_columns(line, best, columns, window):
    """Set best to the largest value that each output column sees in an input row, and columns to where it stands."""
    channels = window.channels
    for j in range(window.out_width):
        start = j * window.right - window.left
        copy_row(at(best, j * channels), at(line, max(start, 0) * channels), channels)
        fill_row(at(columns, j * channels), channels, real(max(-start, 0)))
    for s in range(window.columns):
        first, last = first_seen(window, s), last_seen(window, s)
        here = at(line, (first * window.right + s - window.left) * channels)
        if window.right == 1:
            pool_tap(
                at(best, first * channels), at(columns, first * channels), here, (last - first) * channels, real(s)
            )
        else:
            for j in range(first, last):
                there = at(here, (j - first) * window.right * channels)
                pool_tap(at(best, j * channels), at(columns, j * channels), there, channels, real(s))


@inline
def pool_tap(best, columns, values, count, column):
    """Let values win where they are larger than the best so far, or are NaN."""
    for i in lanes(count):
        value, old = values[i], best[i]
        wins = value > old or value != value
        best[i] = value if wins else old
        columns[i] = column if wins else columns[i]


@noinline
def begin_row(best, won, values, columns, count, number):
    for i in lanes(count):
        best[i] = values[i]
        won[i] = columns[i] + number


@noinline
def pool_row(best, won, values, columns, count, number):
    """As `pool_tap`, for the best of a row's columns; `number` is that of the row's first tap."""
    for i in lanes(count):
        value, old = values[i], best[i]
        wins = value > old or value != value
        best[i] = value if wins else old
        won[i] = columns[i] + number if wins else won[i]


def gradient(task: Int, scratch: Reals, dy: Reals, winners: Reals, d: Reals, window: Window):
    """Set d, the gradient with respect to one image, to what the windows give back to their winners.

    A pixel may win many windows: what rounding takes from its sum is kept in scratch, one number for each pixel and
    channel.
    """
    channels = window.channels
    size, count = window.height * window.width * channels, window.out_width * channels
    total = at(d, task * size)
    zero_row(total, size)
    zero_row(scratch, size)
    for i in range(window.out_height):
        place = (task * window.out_height + i) * count
        for j in range(window.out_width):
            corner = (i * window.down - window.top) * window.width + j * window.right - window.left
            for c in range(channels):
                tap = integer(winners[place + j * channels + c])
                r = tap // window.columns
                pixel = (corner + r * window.width + tap - r * window.columns) * channels + c
                old, value = total[pixel], dy[place + j * channels + c]
                total[pixel] = old + value
                scratch[pixel] += lost_of(old, value, total[pixel])
    settle(total, scratch, size)
