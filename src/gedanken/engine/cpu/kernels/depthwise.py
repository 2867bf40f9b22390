"""Depthwise convolution: every channel has a kernel of its own. It has no matrix product, only rows of channels.

y[i, j, c] = bias[c] + sum over r, s of x[h, w, c] * weights[r, s, c]   with h and w of `window.py`
"""

from gedanken.engine.cpu.kernels.blocks import BLOCK, carry, carry_over, copy_row, settle, sum_rows, zero_row
from gedanken.engine.cpu.kernels.conv import finish_band
from gedanken.engine.cpu.kernels.window import (
    BY_COLUMN,
    BY_ROW,
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
from gedanken.engine.cpu.language import Int, Ints, Real, Reals, at, helper, lanes, real

LONG = 128  # taps; the sums over fewer need no carrying
STRETCH = 256  # pixels, four at a time, whose products are added before the sum is carried


@helper
def is_long(shape):
    """Return whether a window is a long sum."""
    return shape[ROWS] * shape[COLUMNS] > LONG


@helper
def weigh(target, target_pitch, source, source_pitch, weights, pixels, channels):
    """target += source * weights, channel by channel, for some pixels."""
    for pixel in range(pixels):
        there, here = at(target, pixel * target_pitch), at(source, pixel * source_pitch)
        for c in lanes(channels):
            there[c] += here[c] * weights[c]


def forward(
    task: Int, scratch: Reals, x: Reals, weights: Reals, bias: Reals, y: Reals, statistics: Reals, shape: Ints,
    bands: Int, band: Int, measured: Int, kind: Int, slope: Real,
):  # fmt: skip
    """Compute a band of one image's rows, their activation and the statistics of their channels.

    scratch: two output rows, where the windows are long.
    """
    image, start = task // bands, task % bands * band
    channels, width = shape[CHANNELS], shape[OUT_WIDTH]
    count, long, seen = width * channels, is_long(shape), 0
    out = at(y, image * shape[OUT_HEIGHT] * count)
    part, lost = scratch, at(scratch, count)
    rows = min(band, shape[OUT_HEIGHT] - start)
    for i in range(start, start + rows):
        row = at(out, i * count)
        for pixel in range(width):
            copy_row(at(row, pixel * channels), bias, channels)
        target = row
        if long:
            zero_row(scratch, 2 * count)
            target = part
        for r in range(shape[ROWS]):
            h = i * shape[DOWN] + r * shape[BY_ROW] - shape[TOP]
            if h < 0 or h >= shape[HEIGHT]:
                continue
            line = at(x, (image * shape[HEIGHT] + h) * shape[WIDTH] * channels)
            for s in range(shape[COLUMNS]):
                first, tap = first_seen(shape, s), r * shape[COLUMNS] + s
                w = first * shape[RIGHT] + s * shape[BY_COLUMN] - shape[LEFT]
                weigh(
                    at(target, first * channels), channels, at(line, w * channels), shape[RIGHT] * channels,
                    at(weights, tap * channels), last_seen(shape, s) - first, channels,
                )  # fmt: skip
                seen += 1
                if long and seen % BLOCK == 0:
                    carry_over(row, lost, part, count)
        if long:
            carry(row, lost, part, count, real(1))
            settle(row, lost, count)
    finish_band(
        out, start, rows, width, channels, kind, slope, measured, at(statistics, task * 3 * channels),
    )  # fmt: skip


def gradient(
    task: Int, scratch: Reals, dy: Reals, weights: Reals, dx: Reals, shape: Ints, bands: Int, band: Int
):  # fmt: skip
    """Compute the gradient with respect to a band of one image's input rows.

    scratch: two input rows, where the windows are long.
    """
    image, start = task // bands, task % bands * band
    channels = shape[CHANNELS]
    count, long, seen = shape[WIDTH] * channels, is_long(shape), 0
    part, lost = scratch, at(scratch, count)
    for h in range(start, min(start + band, shape[HEIGHT])):
        row = at(dx, (image * shape[HEIGHT] + h) * count)
        zero_row(row, count)
        target = row
        if long:
            zero_row(scratch, 2 * count)
            target = part
        for r in range(shape[ROWS]):
            i = h + shape[TOP] - r * shape[BY_ROW]
            if i < 0 or i % shape[DOWN] or i // shape[DOWN] >= shape[OUT_HEIGHT]:
                continue
            line = at(dy, (image * shape[OUT_HEIGHT] + i // shape[DOWN]) * shape[OUT_WIDTH] * channels)
            for s in range(shape[COLUMNS]):
                first, tap = first_seen(shape, s), r * shape[COLUMNS] + s
                w = first * shape[RIGHT] + s * shape[BY_COLUMN] - shape[LEFT]
                weigh(
                    at(target, w * channels), shape[RIGHT] * channels, at(line, first * channels), channels,
                    at(weights, tap * channels), last_seen(shape, s) - first, channels,
                )  # fmt: skip
                seen += 1
                if long and seen % BLOCK == 0:
                    carry_over(row, lost, part, count)
        if long:
            carry(row, lost, part, count, real(1))
            settle(row, lost, count)


def kernel_gradient(
    task: Int, scratch: Reals, x: Reals, dy: Reals, partial: Reals, bias_partial: Reals, biased: Int, shape: Ints,
    images: Int, slots: Int,
):  # fmt: skip
    """Sum the gradients with respect to weights and bias over the images of one slot: partial[slot][r, s, c].

    scratch: 2 * (taps + 1) * channels numbers.
    """
    channels, width = shape[CHANNELS], shape[OUT_WIDTH]
    size, pixels = shape[ROWS] * shape[COLUMNS] * channels, shape[OUT_HEIGHT] * width
    total, bias = at(partial, task * size), at(bias_partial, task * channels)
    lost, part, seen = scratch, at(scratch, size), 0
    bias_lost, bias_part = at(scratch, 2 * size), at(scratch, 2 * size + channels)
    zero_row(total, size)
    zero_row(bias, channels)
    zero_row(scratch, 2 * (size + channels))
    for image in range(task * images // slots, (task + 1) * images // slots):
        picture, slopes = at(x, image * shape[HEIGHT] * shape[WIDTH] * channels), at(dy, image * pixels * channels)
        if biased:
            sum_rows(bias_part, slopes, pixels, channels)
            carry_over(bias, bias_lost, bias_part, channels)
        for column in range(0, width, STRETCH):
            for i in range(shape[OUT_HEIGHT]):
                add_row_products(part, picture, at(slopes, i * width * channels), i, column, shape)
                seen += min(STRETCH, width - column)
                if seen >= STRETCH:
                    carry_over(total, lost, part, size)
                    seen = 0
    carry(total, lost, part, size, real(1))
    settle(total, lost, size)
    settle(bias, bias_lost, channels)


@helper
def add_row_products(total, picture, slopes, i, column, shape):
    """Add what one output row says, from a column on for STRETCH pixels."""
    channels = shape[CHANNELS]
    for r in range(shape[ROWS]):
        h = i * shape[DOWN] + r * shape[BY_ROW] - shape[TOP]
        if h < 0 or h >= shape[HEIGHT]:
            continue
        line = at(picture, h * shape[WIDTH] * channels)
        for s in range(shape[COLUMNS]):
            first, tap = max(first_seen(shape, s), column), r * shape[COLUMNS] + s
            last = min(last_seen(shape, s), column + STRETCH)
            w = first * shape[RIGHT] + s * shape[BY_COLUMN] - shape[LEFT]
            add_pixel_products(
                at(total, tap * channels), at(slopes, first * channels), channels, at(line, w * channels),
                shape[RIGHT] * channels, max(last - first, 0), channels,
            )  # fmt: skip


@helper
def add_pixel_products(total, a, a_pitch, b, b_pitch, pixels, channels):
    """total[c] += sum over pixels of a * b, four pixels at a time: each sum waits for the one before."""
    fours = pixels - pixels % 4
    for pixel in range(0, fours, 4):
        a0, b0 = at(a, pixel * a_pitch), at(b, pixel * b_pitch)
        a1, b1 = at(a0, a_pitch), at(b0, b_pitch)
        a2, b2 = at(a1, a_pitch), at(b1, b_pitch)
        a3, b3 = at(a2, a_pitch), at(b2, b_pitch)
        for c in lanes(channels):
            total[c] += (a0[c] * b0[c] + a1[c] * b1[c]) + (a2[c] * b2[c] + a3[c] * b3[c])
    for pixel in range(fours, pixels):
        a0, b0 = at(a, pixel * a_pitch), at(b, pixel * b_pitch)
        for c in lanes(channels):
            total[c] += a0[c] * b0[c]
