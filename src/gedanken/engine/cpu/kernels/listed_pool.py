"""Pooling by tables of what each window sees along rows and along columns, whatever the rule that made them.

For windows whose pixels lie apart, that differ in size, that do not count what they do not see, or of any size.
Means are taken along rows first, then along columns, so that a window of R x S pixels costs R + S terms.
"""

from gedanken.engine.cpu.kernels.blocks import carry, copy_row, lost_of, settle, zero_row
from gedanken.engine.cpu.language import Int, Int32s, Ints, Reals, Record, at, inline, lanes


class Seen(Record):
    """What windows see along an axis: `seen[i]` pixels from `first[i]` on, `step` apart, each a share of the mean."""

    first: Ints
    seen: Ints
    shares: Reals
    step: Int


class Listed(Record):
    """Where the windows of an image stand."""

    height: Int
    width: Int
    channels: Int
    out_height: Int
    out_width: Int
    rows: Seen
    columns: Seen


def average(task: Int, scratch: Reals, x: Reals, y: Reals, p: Listed, band: Int, bands: Int):
    """Set y to the mean of each window, for a band of one image's output rows.

    scratch: two numbers for each value of an input row, and one for each of an output row.
    """
    image, begin = task // bands, task % bands * band
    channels, size, count = p.channels, p.width * p.channels, p.out_width * p.channels
    picture = at(x, image * p.height * size)
    line, lost, rest = scratch, at(scratch, size), at(scratch, 2 * size)
    for i in range(begin, min(begin + band, p.out_height)):
        zero_row(scratch, 2 * size)
        for r in range(p.rows.seen[i]):
            h = p.rows.first[i] + r * p.rows.step
            carry(line, lost, at(picture, h * size), size, p.rows.shares[i])
        settle(line, lost, size)
        target = at(y, (image * p.out_height + i) * count)
        zero_row(target, count)
        zero_row(rest, count)
        for j in range(p.out_width):
            for s in range(p.columns.seen[j]):
                values = at(line, (p.columns.first[j] + s * p.columns.step) * channels)
                carry(at(target, j * channels), at(rest, j * channels), values, channels, p.columns.shares[j])
        settle(target, rest, count)


def average_gradient(task: Int, scratch: Reals, dy: Reals, d: Reals, p: Listed, band: Int, bands: Int):
    """Set d to what the windows give back, for a band of one image's input rows.

    scratch: two numbers for each value of an output row, and one for each of an input row.
    """
    image, begin = task // bands, task % bands * band
    channels, size, count = p.channels, p.width * p.channels, p.out_width * p.channels
    line, lost, rest = scratch, at(scratch, count), at(scratch, 2 * count)
    for h in range(begin, min(begin + band, p.height)):
        zero_row(scratch, 2 * count)
        for i in range(p.out_height):
            below = h - p.rows.first[i]
            if below >= 0 and below % p.rows.step == 0 and below // p.rows.step < p.rows.seen[i]:
                carry(line, lost, at(dy, (image * p.out_height + i) * count), count, p.rows.shares[i])
        settle(line, lost, count)
        target = at(d, (image * p.height + h) * size)
        zero_row(target, size)
        zero_row(rest, size)
        for j in range(p.out_width):
            for s in range(p.columns.seen[j]):
                place = (p.columns.first[j] + s * p.columns.step) * channels
                carry(at(target, place), at(rest, place), at(line, j * channels), channels, p.columns.shares[j])
        settle(target, rest, size)


def largest(task: Int, scratch: Reals, x: Reals, y: Reals, winners: Int32s, p: Listed, band: Int, bands: Int):
    """Set y to the largest value of each window, for a band of one image's output rows, and winners to its pixel."""
    image, begin = task // bands, task % bands * band
    channels = p.channels
    picture = at(x, image * p.height * p.width * channels)
    for i in range(begin, min(begin + band, p.out_height)):
        for j in range(p.out_width):
            place = ((image * p.out_height + i) * p.out_width + j) * channels
            best, won = at(y, place), at(winners, place)
            top, left = p.rows.first[i], p.columns.first[j]
            begin_window(best, won, at(picture, (top * p.width + left) * channels), channels, top * p.width + left)
            for r in range(p.rows.seen[i]):
                row = (top + r * p.rows.step) * p.width
                for s in range(p.columns.seen[j]):
                    pixel = row + left + s * p.columns.step
                    compare(best, won, at(picture, pixel * channels), channels, pixel)


@inline
def begin_window(best, won, values, count, pixel):
    copy_row(best, values, count)
    for c in lanes(count):
        won[c] = pixel


@inline
def compare(best, won, values, count, pixel):
    """Let values win where they are larger than the best so far, or are NaN."""
    for c in lanes(count):
        value, old = values[c], best[c]
        wins = value > old or value != value
        best[c] = value if wins else old
        won[c] = pixel if wins else won[c]


def largest_gradient(task: Int, scratch: Reals, dy: Reals, winners: Int32s, d: Reals, p: Listed):
    """Set d, the gradient with respect to one image, to what the windows give back to their winners.

    A pixel may win many windows: what rounding takes from its sum is kept in scratch, one number for each of d.
    """
    channels = p.channels
    size, count = p.height * p.width * channels, p.out_height * p.out_width
    total = at(d, task * size)
    zero_row(total, size)
    zero_row(scratch, size)
    for window in range(count):
        place = (task * count + window) * channels
        for c in range(channels):
            pixel = winners[place + c] * channels + c
            old, value = total[pixel], dy[place + c]
            total[pixel] = old + value
            scratch[pixel] += lost_of(old, value, total[pixel])
    settle(total, scratch, size)
