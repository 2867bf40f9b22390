"""BatchNorm: what is measured over all samples, both ways. The rest of it is a part of a pass in `pointwise.py`."""

from gedanken.engine.cpu.kernels.blocks import BLOCK, carry, copy_row, settle, zero_row
from gedanken.engine.cpu.kernels.moments import EIGHTH, channel_moments, less_square
from gedanken.engine.cpu.language import Int, Real, Reals, at, helper, lanes, real, sqrt


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
    """Set the moments of each channel over some rows: statistics[task][3][channels]."""
    first = task * piece
    found = at(statistics, task * 3 * channels)
    channel_moments(at(x, first * channels), min(piece, rows - first), channels, found)


@helper
def join_moments(statistics, counts, total, pieces, channels, mean, found, scratch):
    """Join the moments of pieces: set mean, and found[2][channels] to what rounding took from it and the variance.

    As the moments of numbers (see `moments.py`), with shares n_i / n and (Chan, Golub & LeVeque 1979)
    var = sum of n_i / n * (var_i + (mean_i - mean)**2).   scratch: four numbers for each channel.
    """
    copy_row(mean, statistics, channels)
    join_pieces(statistics, counts, total, pieces, channels, mean, False, found, scratch)
    for c in lanes(channels):
        mean[c] = (mean[c] * real(EIGHTH) + found[c]) * real(8)
    join_pieces(statistics, counts, total, pieces, channels, mean, True, found, scratch)
    var = at(found, channels)
    for c in lanes(channels):
        var[c] = less_square(var[c], found[c])


@helper
def join_pieces(statistics, counts, total, pieces, channels, base, squared, found, scratch):
    """Set found to an eighth of the mean distance of pieces from base or, `squared`, to that and the mean square."""
    lost, sums = scratch, at(scratch, 2 * channels)
    zero_row(found, 2 * channels)
    zero_row(lost, 2 * channels)
    for first in range(0, pieces, BLOCK):
        zero_row(sums, 2 * channels)
        for i in range(first, min(first + BLOCK, pieces)):
            add_piece(sums, at(statistics, i * 3 * channels), base, channels, counts[i] / total, squared)
        carry(found, lost, sums, 2 * channels, real(1))
    settle(found, lost, 2 * channels)


@helper
def add_piece(sums, piece, base, channels, share, squared):
    rest, var, squares, eighth = at(piece, channels), at(piece, 2 * channels), at(sums, channels), real(EIGHTH)
    if squared:
        for c in lanes(channels):
            distance = (piece[c] - base[c]) + rest[c]
            sums[c] += distance * share
            squares[c] += (var[c] + distance * distance) * share
    else:
        for c in lanes(channels):
            sums[c] += ((piece[c] * eighth - base[c] * eighth) + rest[c] * eighth) * share


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
    """Join the moments of all pieces into normal = [mean, gain, shift, 1 / deviation, rest]; move the running ones.

    What rounding took from the mean, `rest`, is in the shift too.
    Running values come to kept * running + taken * of the mini-batch, kept = momentum + less.
    scratch: six numbers for each channel.
    """
    mean, gain, deviation = normal, at(normal, channels), at(normal, 3 * channels)
    rest, var = scratch, at(scratch, channels)
    join_moments(statistics, counts, total, pieces, channels, mean, scratch, at(scratch, 2 * channels))
    copy_row(at(normal, 4 * channels), rest, channels)
    several = total > real(1)  # a single value has no variance
    kept = momentum if several else real(1)
    lacks, takes = less if several else real(0), taken if several else real(0)
    unbiased = total / max(total - real(1), real(1))
    for c in lanes(channels):
        news = takes * (mean[c] + rest[c]) + lacks * running_mean[c]
        spread = takes * (var[c] * unbiased) + lacks * running_var[c]
        running_mean[c] = kept * running_mean[c] + news
        running_var[c] = kept * running_var[c] + spread
        deviation[c] = real(1) / sqrt(var[c] + epsilon)
        gain[c] = deviation[c] * scale[c]
        normal[2 * channels + c] = shift[c] - rest[c] * gain[c]


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
        normal[4 * channels + c] = real(0)


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
    deviation, rest, width = at(normal, 3 * channels), at(normal, 4 * channels), 2 * channels
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
        dscale[c] = (dscale[c] - rest[c] * dshift[c]) * deviation[c]
        turn = dscale[c] * deviation[c] / count
        correction[c] = dshift[c] / count - rest[c] * turn
        correction[channels + c] = turn
