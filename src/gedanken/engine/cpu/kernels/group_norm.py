"""GroupNorm: groups of a sample's channels, over its pixels or real places, by their own mean and deviation."""

from gedanken.engine.cpu.kernels.blocks import fill_row, sum_of, sum_products, sum_rows, zero_row
from gedanken.engine.cpu.kernels.moments import channel_moments, row_moments
from gedanken.engine.cpu.kernels.rows import normalise_row
from gedanken.engine.cpu.kernels.update import Kept, moved
from gedanken.engine.cpu.language import Int, Ints, Real, Reals, Record, at, inline, lanes, real, sqrt


class GroupedNorm(Record):
    """Samples whose channels stand in groups; a task is a piece of the samples.

    counts: [sample], how many of its pixels are real, from the first on.
    moments: [sample][group] -> mean, 1 / deviation, what rounding took from the mean, / deviation, and the variance.
    """

    samples: Int
    pixels: Int
    channels: Int
    groups: Int
    piece: Int
    epsilon: Real
    scale: Reals
    counts: Ints
    moments: Reals


@inline
def group_moments(channels_found, channels, count, distances, found):
    """Set found to mean, rest and variance of a group of `count` channels, given its place in theirs.

    distances: room for a number for each channel of the group.
    """
    means, rests, variances = channels_found, at(channels_found, channels), at(channels_found, 2 * channels)
    row_moments(means, count, found)
    mean = found[0]
    for c in lanes(count):
        distances[c] = (means[c] - mean) + rests[c]
    row_moments(distances, count, found)
    found[2] = found[2] + sum_of(variances, count, real(1) / real(count))
    found[1] = found[0] + found[1]
    found[0] = mean


def forward(task: Int, scratch: Reals, x: Reals, y: Reals, shift: Reals, n: GroupedNorm):
    """y = (x - mean) / deviation * scale + shift.   scratch: seven numbers for each channel."""
    channels, groups, scale = n.channels, n.groups, n.scale
    count = channels // groups
    normal, distances = at(scratch, 3 * channels), at(scratch, 6 * channels)
    for sample in range(task * n.piece, min((task + 1) * n.piece, n.samples)):
        place, pixels = sample * n.pixels * channels, n.counts[sample]
        channel_moments(at(x, place), pixels, channels, scratch)
        for group in range(groups):
            found, first = at(n.moments, (sample * groups + group) * 4), group * count
            group_moments(at(scratch, first), channels, count, distances, found)
            mean, rest, factor = found[0], found[1], real(1) / sqrt(found[2] + n.epsilon)
            found[3] = found[2]
            found[1] = factor
            found[2] = rest * factor
            for c in lanes(count):
                gain = factor * scale[first + c]
                normal[first + c] = mean
                normal[channels + first + c] = gain
                normal[2 * channels + first + c] = shift[first + c] - rest * gain
        normalise_row(at(x, place), at(y, place), pixels, channels, normal)
        zero_row(at(y, place + pixels * channels), (n.pixels - pixels) * channels)


def remember(task: Int, scratch: Reals, n: GroupedNorm, mean: Reals, var: Reals, kept: Kept):
    """Move the running mean and variance of a channel, the task.   scratch: a number for each sample."""
    found = at(n.moments, 4 * task)
    for sample in range(n.samples):
        one = at(found, 4 * n.channels * sample)
        scratch[sample] = one[0] + one[2] / one[1]
    mean[task] = moved(mean[task], kept, kept.rest, sum_of(scratch, n.samples, real(1) / real(n.samples)))
    for sample in range(n.samples):
        count = n.counts[sample]
        scratch[sample] = found[4 * n.channels * sample + 3] * (real(count) / real(max(count - 1, 1)))
    var[task] = moved(var[task], kept, kept.rest, sum_of(scratch, n.samples, real(1) / real(n.samples)))


def by_running(task: Int, scratch: Reals, x: Reals, y: Reals, normal: Reals, n: GroupedNorm):
    """y = (x - mean) * gain + shift, at prediction with running values; normal: those of the channels."""
    for sample in range(task * n.piece, min((task + 1) * n.piece, n.samples)):
        place, pixels = sample * n.pixels * n.channels, n.counts[sample]
        normalise_row(at(x, place), at(y, place), pixels, n.channels, normal)
        zero_row(at(y, place + pixels * n.channels), (n.pixels - pixels) * n.channels)


def gradient(
    task: Int, scratch: Reals, x: Reals, dy: Reals, d: Reals, shifts: Reals, scales: Reals, n: GroupedNorm
):  # fmt: skip
    """Set d to the input gradient; shifts[sample] and scales[sample] to the gradients of shift and scale.

    With h = (x - mean) / deviation and g = dy * scale:   d = (g - mean of g - h * mean of g * h) / deviation
    scratch: six numbers for each channel.
    """
    channels, groups, scale = n.channels, n.groups, n.scale
    count = channels // groups
    means, factors, middles = scratch, at(scratch, channels), at(scratch, 2 * channels)
    coefficients, weighted, tilted = at(scratch, 3 * channels), at(scratch, 4 * channels), at(scratch, 5 * channels)
    for sample in range(task * n.piece, min((task + 1) * n.piece, n.samples)):
        place, found, pixels = sample * n.pixels * channels, at(n.moments, sample * groups * 4), n.counts[sample]
        share = real(1) / real(count * pixels)
        sums, products = at(shifts, sample * channels), at(scales, sample * channels)
        for group in range(groups):
            fill_row(at(means, group * count), count, found[4 * group])
        zero_row(sums, channels)
        zero_row(products, channels)
        sum_rows(sums, at(dy, place), pixels, channels)
        sum_products(products, at(dy, place), at(x, place), means, pixels, channels)
        for group in range(groups):
            first, factor, offset = group * count, found[4 * group + 1], found[4 * group + 2]
            for c in lanes(count):
                products[first + c] = products[first + c] * factor - sums[first + c] * offset
                weighted[c] = sums[first + c] * scale[first + c]
                tilted[c] = products[first + c] * scale[first + c]
            middle, tilt = sum_of(weighted, count, share), sum_of(tilted, count, share)
            fill_row(at(factors, first), count, factor)
            fill_row(at(middles, first), count, middle - offset * tilt)
            fill_row(at(coefficients, first), count, factor * tilt)
        for pixel in range(pixels):
            start = place + pixel * channels
            values, gradients, out = at(x, start), at(dy, start), at(d, start)
            for c in lanes(channels):
                out[c] = (gradients[c] * scale[c] - middles[c] - (values[c] - means[c]) * coefficients[c]) * factors[c]
        zero_row(at(d, place + pixels * channels), (n.pixels - pixels) * channels)
