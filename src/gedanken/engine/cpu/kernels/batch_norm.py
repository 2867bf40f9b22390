"""BatchNorm: what is measured over all samples, both ways. The rest of it is a part of a pass in `pointwise.py`."""

from gedanken.engine.cpu.kernels.blocks import BLOCK, Rows, carry, copy_row, settle, zero_row
from gedanken.engine.cpu.kernels.moments import EIGHTH, channel_moments, less_square
from gedanken.engine.cpu.kernels.time import Ends
from gedanken.engine.cpu.language import Int, Ints, Real, Reals, Record, at, inline, lanes, real, sqrt


class Pieces(Record):
    """What was measured of so many pieces of the mini-batch, and how many numbers each channel has in all of them.

    values: [piece][...][channels].   total: one number, which follows from the lengths where sequences have some.
    """

    values: Reals
    pieces: Int
    channels: Int
    total: Reals


class Normalised(Record):
    """A BatchNorm's parameters and state."""

    scale: Reals
    shift: Reals
    running_mean: Reals
    running_var: Reals
    epsilon: Real


class Share(Record):
    """How running values move: to (kept + less) * running + taken * of the mini-batch, so that shares keep digits.

    Where `cumulative`, to the means over all mini-batches, which `seen` counts. Where `biased`, variances are taken as
    they are.
    """

    kept: Real
    less: Real
    taken: Real
    biased: Int
    cumulative: Int
    seen: Reals


def renormalise(task: Int, scratch: Reals, x: Reals, d: Reals, normal: Reals, correction: Reals, m: Rows):
    """d = gain * (d - correction[0] - (x - mean) * correction[1]), in place: from BatchNorm's output to its input."""
    channels = m.columns
    gain, coefficient = at(normal, channels), at(correction, channels)
    for row in range(task * m.piece, min((task + 1) * m.piece, m.rows)):
        gradients, values = at(d, row * channels), at(x, row * channels)
        for c in lanes(channels):
            gradients[c] = gain[c] * (gradients[c] - correction[c] - (values[c] - normal[c]) * coefficient[c])


def measure(task: Int, scratch: Reals, x: Reals, statistics: Reals, m: Rows):
    """Set the moments of each channel over some rows: statistics[task][3][channels]."""
    first, channels = task * m.piece, m.columns
    found = at(statistics, task * 3 * channels)
    channel_moments(at(x, first * channels), min(m.piece, m.rows - first), channels, found)


def measure_real(task: Int, scratch: Reals, x: Reals, statistics: Reals, counts: Reals, lengths: Ints, e: Ends):
    """Do as `measure` for the real places of sequences, each of which is a piece, and set how many they have."""
    for n in range(task * e.piece, min(e.samples, (task + 1) * e.piece)):
        counts[n] = real(lengths[n])
        given, found = at(x, n * e.places * e.features), at(statistics, n * 3 * e.features)
        channel_moments(given, lengths[n], e.features, found)


def add_lengths(task: Int, scratch: Reals, lengths: Ints, samples: Int, total: Reals):
    """Set total[0] to how many real places there are in all sequences."""
    places = 0
    for n in range(samples):
        places += lengths[n]
    total[0] = real(places)


@inline
def join_moments(given, counts, mean, found, scratch):
    """Join the moments of pieces: set mean, and found[2][channels] to what rounding took from it and the variance.

    As the moments of numbers (see `moments.py`), with shares n_i / n and (Chan, Golub & LeVeque 1979)
    var = sum of n_i / n * (var_i + (mean_i - mean)**2).   scratch: four numbers for each channel.
    """
    channels = given.channels
    copy_row(mean, given.values, channels)
    join_pieces(given, counts, mean, False, found, scratch)
    for c in lanes(channels):
        mean[c] = (mean[c] * real(EIGHTH) + found[c]) * real(8)
    join_pieces(given, counts, mean, True, found, scratch)
    var = at(found, channels)
    for c in lanes(channels):
        var[c] = less_square(var[c], found[c])


@inline
def join_pieces(given, counts, base, squared, found, scratch):
    """Set found to an eighth of the mean distance of pieces from base or, `squared`, to that and the mean square."""
    channels = given.channels
    lost, sums = scratch, at(scratch, 2 * channels)
    zero_row(found, 2 * channels)
    zero_row(lost, 2 * channels)
    for first in range(0, given.pieces, BLOCK):
        zero_row(sums, 2 * channels)
        for i in range(first, min(first + BLOCK, given.pieces)):
            piece = at(given.values, i * 3 * channels)
            add_piece(sums, piece, base, channels, counts[i] / given.total[0], squared)
        carry(found, lost, sums, 2 * channels, real(1))
    settle(found, lost, 2 * channels)


@inline
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


def join(task: Int, scratch: Reals, given: Pieces, counts: Reals, own: Reals):
    """Set own[3][channels] to the moments of all pieces.   scratch: four numbers for each channel."""
    join_moments(given, counts, own, at(own, given.channels), scratch)


def normalise(
    task: Int, scratch: Reals, given: Pieces, counts: Reals, norm: Normalised, share: Share, normal: Reals
):  # fmt: skip
    """Join the moments of all pieces into normal = [mean, gain, shift, 1 / deviation, rest]; move the running ones.

    What rounding took from the mean, `rest`, is in the shift too. counts: the numbers of each piece.
    scratch: six numbers for each channel.
    """
    channels, total, running_mean, running_var = given.channels, given.total[0], norm.running_mean, norm.running_var
    mean, gain, deviation = normal, at(normal, channels), at(normal, 3 * channels)
    rest, var = scratch, at(scratch, channels)
    join_moments(given, counts, mean, scratch, at(scratch, 2 * channels))
    copy_row(at(normal, 4 * channels), rest, channels)
    several = total > real(1)  # a single value has no variance
    kept = share.kept if several else real(1)
    lacks, takes = share.less if several else real(0), share.taken if several else real(0)
    unbiased = real(1) if share.biased else total / max(total - real(1), real(1))
    if share.cumulative:
        share.seen[0] += real(1) if several else real(0)
        part = real(1) / max(share.seen[0], real(1)) if several else real(0)
        for c in lanes(channels):
            running_mean[c] += part * ((mean[c] - running_mean[c]) + rest[c])
            running_var[c] += part * (var[c] * unbiased - running_var[c])
    for c in lanes(0 if share.cumulative else channels):
        news = takes * (mean[c] + rest[c]) + lacks * running_mean[c]
        spread = takes * (var[c] * unbiased) + lacks * running_var[c]
        running_mean[c] = kept * running_mean[c] + news
        running_var[c] = kept * running_var[c] + spread
    for c in lanes(channels):
        deviation[c] = real(1) / sqrt(var[c] + norm.epsilon)
        gain[c] = deviation[c] * norm.scale[c]
        normal[2 * channels + c] = norm.shift[c] - rest[c] * gain[c]


def remember(task: Int, scratch: Reals, norm: Normalised, channels: Int, normal: Reals):
    """Set normal as `normalise` does, from the running mean and variance."""
    for c in lanes(channels):
        deviation = real(1) / sqrt(norm.running_var[c] + norm.epsilon)
        normal[c] = norm.running_mean[c]
        normal[channels + c] = deviation * norm.scale[c]
        normal[2 * channels + c] = norm.shift[c]
        normal[3 * channels + c] = deviation
        normal[4 * channels + c] = real(0)


def correct(
    task: Int, scratch: Reals, given: Pieces, normal: Reals, dscale: Reals, dshift: Reals, correction: Reals
):  # fmt: skip
    """Add up the sums of `gradient`: the gradients of scale and shift, and the two means that `renormalise`
    subtracts. scratch: six numbers for each channel."""
    channels = given.channels
    deviation, rest, width = at(normal, 3 * channels), at(normal, 4 * channels), 2 * channels
    total, lost, sums = scratch, at(scratch, width), at(scratch, 2 * width)
    zero_row(total, 2 * width)
    for first in range(0, given.pieces, BLOCK):
        zero_row(sums, width)
        for i in range(first, min(first + BLOCK, given.pieces)):
            values = at(given.values, i * width)
            for c in lanes(width):
                sums[c] += values[c]
        carry(total, lost, sums, width, real(1))
    settle(total, lost, width)
    count = given.total[0]
    copy_row(dshift, total, channels)
    copy_row(dscale, at(total, channels), channels)
    for c in lanes(channels):
        dscale[c] = (dscale[c] - rest[c] * dshift[c]) * deviation[c]
        coefficient = dscale[c] * deviation[c] / count
        correction[c] = dshift[c] / count - rest[c] * coefficient
        correction[channels + c] = coefficient
