"""Larger pictures without products: each output is a mean of the nearest inputs, or a channel put elsewhere.

Gradients gather: an input adds up what the outputs that see it say, so no two tasks write to the same number.
"""

from gedanken.engine.cpu.kernels.blocks import BLOCK, add_scaled, carry, carry_over, copy_row, settle, zero_row
from gedanken.engine.cpu.language import Int, Ints, Reals, Record, at, inline, lanes, noinline, real


class Axis(Record):
    """What outputs along one axis are: the sum of `shares` of the inputs at `places`, (outputs, taps) both.

    begin, end: for each input, the outputs that see it.
    """

    places: Ints
    shares: Reals
    begin: Ints
    end: Ints


class Scaled(Record):
    """Pictures of two sizes; `taps`: inputs of an output along an axis, 1, 2 or 4. A task is a band."""

    height: Int
    width: Int
    channels: Int
    out_height: Int
    out_width: Int
    taps: Int
    rows: Axis
    columns: Axis
    band: Int
    bands: Int


@inline
def blend(target, source, axis, taps, place, count):
    """Set target to output number `place` of what lies `count` numbers apart in source."""
    places, shares = at(axis.places, place * taps), at(axis.shares, place * taps)
    if taps == 2:
        blend_two(target, source, places, shares, count)
    else:
        blend_four(target, source, places, shares, count)


@noinline
def blend_two(target, source, places, shares, count):
    x, y = at(source, places[0] * count), at(source, places[1] * count)
    for i in lanes(count):
        target[i] = shares[0] * x[i] + shares[1] * y[i]


@noinline
def blend_four(target, source, places, shares, count):
    a, b = at(source, places[0] * count), at(source, places[1] * count)
    c, d = at(source, places[2] * count), at(source, places[3] * count)
    for i in lanes(count):
        target[i] = (shares[0] * a[i] + shares[1] * b[i]) + (shares[2] * c[i] + shares[3] * d[i])


def forward(task: Int, scratch: Reals, x: Reals, y: Reals, s: Scaled):
    """Compute a band of one image's output rows. scratch: one input row, where outputs are means."""
    image, start = task // s.bands, task % s.bands * s.band
    pitch, out_pitch = s.width * s.channels, s.out_width * s.channels
    picture, out = at(x, image * s.height * pitch), at(y, image * s.out_height * out_pitch)
    rows, columns = s.rows.places, s.columns.places
    for i in range(start, min(start + s.band, s.out_height)):
        line = at(out, i * out_pitch)
        if s.taps > 1:
            blend(scratch, picture, s.rows, s.taps, i, pitch)
            for j in range(s.out_width):
                blend(at(line, j * s.channels), scratch, s.columns, s.taps, j, s.channels)
        elif i > start and rows[i] == rows[i - 1]:
            copy_row(line, at(line, -out_pitch), out_pitch)
        else:
            source = at(picture, rows[i] * pitch)
            for j in range(s.out_width):
                copy_row(at(line, j * s.channels), at(source, columns[j] * s.channels), s.channels)


def gradient(task: Int, scratch: Reals, dy: Reals, d: Reals, s: Scaled):
    """Compute the gradient with respect to a band of one image's input rows.

    scratch: three output rows, two pixels.
    """
    image, start = task // s.bands, task % s.bands * s.band
    pitch, out_pitch = s.width * s.channels, s.out_width * s.channels
    gradients, total = at(dy, image * s.out_height * out_pitch), at(d, image * s.height * pitch)
    for h in range(start, min(start + s.band, s.height)):
        sum_seen(scratch, at(scratch, out_pitch), gradients, out_pitch, s.rows, h, s.taps)
        for w in range(s.width):
            place = at(total, h * pitch + w * s.channels)
            sum_seen(place, at(scratch, 3 * out_pitch), scratch, s.channels, s.columns, w, s.taps)


@inline
def sum_seen(target, room, gradients, count, axis, place, taps):
    """Set target to the sum of the gradients, of `count` numbers each, of all outputs that see the input at a place.

    room: 2 * count numbers, for long sums.
    """
    begin, end = axis.begin[place], axis.end[place]
    long, sums = end - begin > BLOCK, target
    zero_row(target, count)
    if long:
        zero_row(room, 2 * count)
        sums = at(room, count)
    for i in range(begin, end):
        add_scaled(sums, at(gradients, i * count), count, share_of(axis, i, place, taps) if taps > 1 else real(1))
        if long and (i - begin) % BLOCK == BLOCK - 1:
            carry_over(target, room, sums, count)
    if long:
        carry(target, room, sums, count, real(1))
        settle(target, room, count)


@inline
def share_of(axis, i, place, taps):
    """Return what the input at a place counts for in output i."""
    share = real(0)
    for k in range(i * taps, (i + 1) * taps):
        share += axis.shares[k] if axis.places[k] == place else real(0)
    return share


class Shuffled(Record):
    """Pictures whose pixels become squares of factor x factor: `channels` are those of a pixel of the larger one."""

    width: Int
    channels: Int
    factor: Int
    rows: Int  # of all pictures, the smaller ones
    piece: Int  # rows of a task


def shuffle(task: Int, scratch: Reals, x: Reals, y: Reals, s: Shuffled):
    """y[h * factor + i, w * factor + j, c] = x[h, w, (c * factor + i) * factor + j]"""
    size, channels = s.factor * s.factor, s.channels
    for row in range(task * s.piece, min((task + 1) * s.piece, s.rows)):
        for w in range(s.width):
            source = at(x, (row * s.width + w) * size * channels)
            for k in range(size):
                target = at(y, place_of(row, w, k, s))
                for c in lanes(channels):
                    target[c] = source[c * size + k]


def gather(task: Int, scratch: Reals, x: Reals, y: Reals, s: Shuffled):
    """y[h, w, (c * factor + i) * factor + j] = x[h * factor + i, w * factor + j, c], the way back from `shuffle`"""
    size, channels = s.factor * s.factor, s.channels
    for row in range(task * s.piece, min((task + 1) * s.piece, s.rows)):
        for w in range(s.width):
            target = at(y, (row * s.width + w) * size * channels)
            for k in range(size):
                source = at(x, place_of(row, w, k, s))
                for c in lanes(channels):
                    target[c * size + k] = source[c]


@inline
def place_of(row, w, k, s):
    """Return where pixel k of the square that becomes of a pixel lies."""
    return (((row * s.factor + k // s.factor) * s.width + w) * s.factor + k % s.factor) * s.channels
