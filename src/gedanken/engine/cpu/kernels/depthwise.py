"""Depthwise convolution: every channel has a kernel of its own. It has no matrix product, only rows of channels.

y[i, j, c] = bias[c] + sum over r, s of x[h, w, c] * weights[r, s, c]   with h and w of `window.py`
"""

from gedanken.engine.cpu.kernels.band import Finish, Slots, finish_band
from gedanken.engine.cpu.kernels.blocks import BLOCK, carry, carry_over, copy_row, settle, sum_rows, zero_row
from gedanken.engine.cpu.kernels.window import Window, first_seen, last_seen
from gedanken.engine.cpu.language import Int, Reals, at, inline, lanes, noinline, real

LONG = 128  # taps; the sums over fewer need no carrying
STRETCH = 256  # pixels, four at a time, whose products are added before the sum is carried


@inline
def is_long(window):
    """Return whether a window is a long sum."""
    return window.rows * window.columns > LONG


@noinline
def weigh(target, target_pitch, source, source_pitch, weights, pixels, channels):
    """target += source * weights, channel by channel, for some pixels."""
    for pixel in range(pixels):
        there, here = at(target, pixel * target_pitch), at(source, pixel * source_pitch)
        for c in lanes(channels):
            there[c] += here[c] * weights[c]


def forward(
    task: Int, scratch: Reals, x: Reals, weights: Reals, bias: Reals, y: Reals, window: Window, finish: Finish
):  # fmt: skip
    """Compute a band of one image's rows, their activation and the statistics of their channels.

    scratch: two output rows, where the windows are long.
    """
    image, start = task // window.bands, task % window.bands * window.band
    channels, width = window.channels, window.out_width
    count, long, seen = width * channels, is_long(window), 0
    out = at(y, image * window.out_height * count)
    part, lost = scratch, at(scratch, count)
    rows = min(window.band, window.out_height - start)
    for i in range(start, start + rows):
        row = at(out, i * count)
        for pixel in range(width):
            copy_row(at(row, pixel * channels), bias, channels)
        target = row
        if long:
            zero_row(scratch, 2 * count)
            target = part
        for r in range(window.rows):
            h = i * window.down + r * window.by_row - window.top
            if h < 0 or h >= window.height:
                continue
            line = at(x, (image * window.height + h) * window.width * channels)
            for s in range(window.columns):
                first, tap = first_seen(window, s), r * window.columns + s
                w = first * window.right + s * window.by_column - window.left
                weigh(
                    at(target, first * channels), channels, at(line, w * channels), window.right * channels,
                    at(weights, tap * channels), last_seen(window, s) - first, channels,
                )  # fmt: skip
                seen += 1
                if long and seen % BLOCK == 0:
                    carry_over(row, lost, part, count)
        if long:
            carry(row, lost, part, count, real(1))
            settle(row, lost, count)
    finish_band(out, start, rows, width, channels, finish, task)


def gradient(task: Int, scratch: Reals, dy: Reals, weights: Reals, dx: Reals, window: Window):
    """Compute the gradient with respect to a band of one image's input rows.

    scratch: two input rows, where the windows are long.
    """
    image, start = task // window.bands, task % window.bands * window.band
    channels = window.channels
    count, long, seen = window.width * channels, is_long(window), 0
    part, lost = scratch, at(scratch, count)
    for h in range(start, min(start + window.band, window.height)):
        row = at(dx, (image * window.height + h) * count)
        zero_row(row, count)
        target = row
        if long:
            zero_row(scratch, 2 * count)
            target = part
        for r in range(window.rows):
            i = h + window.top - r * window.by_row
            if i < 0 or i % window.down or i // window.down >= window.out_height:
                continue
            line = at(dy, (image * window.out_height + i // window.down) * window.out_width * channels)
            for s in range(window.columns):
                first, tap = first_seen(window, s), r * window.columns + s
                w = first * window.right + s * window.by_column - window.left
                weigh(
                    at(target, w * channels), window.right * channels, at(line, first * channels), channels,
                    at(weights, tap * channels), last_seen(window, s) - first, channels,
                )  # fmt: skip
                seen += 1
                if long and seen % BLOCK == 0:
                    carry_over(row, lost, part, count)
        if long:
            carry(row, lost, part, count, real(1))
            settle(row, lost, count)


def kernel_gradient(task: Int, scratch: Reals, x: Reals, dy: Reals, sums: Slots, window: Window):
    """Sum the gradients with respect to weights and bias over the images of one slot: sums.weights[slot][r, s, c].

    scratch: 2 * (taps + 1) * channels numbers.
    """
    channels, width = window.channels, window.out_width
    size, pixels = window.rows * window.columns * channels, window.out_height * width
    total, bias = at(sums.weights, task * size), at(sums.bias, task * channels)
    lost, part, seen = scratch, at(scratch, size), 0
    bias_lost, bias_part = at(scratch, 2 * size), at(scratch, 2 * size + channels)
    zero_row(total, size)
    zero_row(bias, channels)
    zero_row(scratch, 2 * (size + channels))
    for image in range(task * sums.images // sums.slots, (task + 1) * sums.images // sums.slots):
        picture, gradients = at(x, image * window.height * window.width * channels), at(dy, image * pixels * channels)
        if sums.biased:
            sum_rows(bias_part, gradients, pixels, channels)
            carry_over(bias, bias_lost, bias_part, channels)
        for column in range(0, width, STRETCH):
            for i in range(window.out_height):
                add_row_products(part, picture, at(gradients, i * width * channels), i, column, window)
                seen += min(STRETCH, width - column)
                if seen >= STRETCH:
                    carry_over(total, lost, part, size)
                    seen = 0
    carry(total, lost, part, size, real(1))
    settle(total, lost, size)
    settle(bias, bias_lost, channels)


@inline
def add_row_products(total, picture, gradients, i, column, window):
    """Add what one output row says, from a column on for STRETCH pixels."""
    channels = window.channels
    for r in range(window.rows):
        h = i * window.down + r * window.by_row - window.top
        if h < 0 or h >= window.height:
            continue
        line = at(picture, h * window.width * channels)
        for s in range(window.columns):
            first, tap = max(first_seen(window, s), column), r * window.columns + s
            last = min(last_seen(window, s), column + STRETCH)
            w = first * window.right + s * window.by_column - window.left
            add_pixel_products(
                at(total, tap * channels), at(gradients, first * channels), channels, at(line, w * channels),
                window.right * channels, max(last - first, 0), channels,
            )  # fmt: skip


@noinline
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
