"""BatchNorm: what is measured over all samples, both ways. The rest of it is a part of a pass in `pointwise.py`."""

from gedanken.engine.cpu.kernels.blocks import BLOCK, carry, copy_row, settle, zero_row
from gedanken.engine.cpu.kernels.conv import channel_statistics
from gedanken.engine.cpu.language import Int, Real, Reals, at, lanes, real, sqrt


def renormalise(
    task: Int,
    scratch: Reals,
    x: Reals,
    d: Reals,
    normal: Reals,
    correction: Reals,
    rows: Int,
    channels: Int,
    piece: Int,
):
    """d = gain * (d - correction[0] - (x - mean) * correction[1]), in place: from BatchNorm's output to its input."""
    gain, turn = at(normal, channels), at(correction, channels)
    for row in range(task * piece, min((task + 1) * piece, rows)):
        slopes, values = at(d, row * channels), at(x, row * channels)
        for c in lanes(channels):
            slopes[c] = gain[c] * (slopes[c] - correction[c] - (values[c] - normal[c]) * turn[c])


def measure(task: Int, scratch: Reals, x: Reals, statistics: Reals, rows: Int, channels: Int, piece: Int):
    """Set mean and variance of each channel over some rows: statistics[task][2][channels]."""
    first = task * piece
    mean = at(statistics, task * 2 * channels)
    channel_statistics(at(x, first * channels), min(piece, rows - first), channels, mean, at(mean, channels))


def normalise(
    task: Int,
    scratch: Reals,
    statistics: Reals,
    counts: Reals,
    total: Real,
    pieces: Int,
    channels: Int,
    scale: Reals,
    shift: Reals,
    running_mean: Reals,
    running_var: Reals,
    momentum: Real,
    less: Real,
    taken: Real,
    epsilon: Real,
    normal: Reals,
):
    """Join the statistics of all pieces into normal = [mean, gain, shift, 1 / deviation] and move the running ones.

    mean = sum of n_i / n * mean_i,   var = sum of n_i / n * (var_i + (mean_i - mean)**2)   (Chan, Golub & LeVeque 1979)
    Running values come to kept * running + taken * of the mini-batch, kept = momentum + less.
    scratch: two numbers for each channel.
    """
    mean, var, deviation = normal, at(normal, channels), at(normal, 3 * channels)
    lost, sums = scratch, at(scratch, channels)
    zero_row(normal, 2 * channels)
    zero_row(lost, channels)
    for first in range(0, pieces, BLOCK):
        zero_row(sums, channels)
        for i in range(first, min(first + BLOCK, pieces)):
            values, share = at(statistics, i * 2 * channels), counts[i] / total
            for c in lanes(channels):
                sums[c] += values[c] * share
        carry(mean, lost, sums, channels, real(1))
    settle(mean, lost, channels)
    zero_row(lost, channels)
    for first in range(0, pieces, BLOCK):
        zero_row(sums, channels)
        for i in range(first, min(first + BLOCK, pieces)):
            values, squares = at(statistics, i * 2 * channels), at(statistics, (i * 2 + 1) * channels)
            share = counts[i] / total
            for c in lanes(channels):
                distance = values[c] - mean[c]
                sums[c] += (squares[c] + distance * distance) * share
        carry(var, lost, sums, channels, real(1))
    settle(var, lost, channels)
    gain, several = var, total > real(1)  # a single value has no variance
    kept = momentum if several else real(1)
    lacks, takes = less if several else real(0), taken if several else real(0)
    unbiased = total / max(total - real(1), real(1))
    for c in lanes(channels):
        news = takes * mean[c] + lacks * running_mean[c]
        spread = takes * (var[c] * unbiased) + lacks * running_var[c]
        running_mean[c] = kept * running_mean[c] + news
        running_var[c] = kept * running_var[c] + spread
        deviation[c] = real(1) / sqrt(var[c] + epsilon)
        gain[c] = deviation[c] * scale[c]
        normal[2 * channels + c] = shift[c]


def remember(
    task: Int,
    scratch: Reals,
    running_mean: Reals,
    running_var: Reals,
    scale: Reals,
    shift: Reals,
    epsilon: Real,
    channels: Int,
    normal: Reals,
):
    """Set normal as `normalise` does, from the running mean and variance."""
    for c in lanes(channels):
        deviation = real(1) / sqrt(running_var[c] + epsilon)
        normal[c] = running_mean[c]
        normal[channels + c] = deviation * scale[c]
        normal[2 * channels + c] = shift[c]
        normal[3 * channels + c] = deviation


def correct(
    task: Int,
    scratch: Reals,
    partial: Reals,
    pieces: Int,
    channels: Int,
    count: Real,
    normal: Reals,
    dscale: Reals,
    dshift: Reals,
    correction: Reals,
):
    """Add up the sums of `gradient`: the gradients of scale and shift, and the two means that `renormalise`
    subtracts. scratch: six numbers for each channel."""
    deviation, width = at(normal, 3 * channels), 2 * channels
    total, lost, sums = scratch, at(scratch, width), at(scratch, 2 * width)
    zero_row(total, 2 * width)
    for first in range(0, pieces, BLOCK):
        zero_row(sums, width)
        for i in range(first, min(first + BLOCK, pieces)):
            values = at(partial, i * width)
            for c in lanes(width):
                sums[c] += values[c]
        carry(total, lost, sums, width, real(1))
    settle(total, lost, width)
    copy_row(dshift, total, channels)
    copy_row(dscale, at(total, channels), channels)
    for c in lanes(channels):
        dscale[c] *= deviation[c]
        correction[c] = dshift[c] / count
        correction[channels + c] = dscale[c] * deviation[c] / count
