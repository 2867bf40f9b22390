"""Pooling by the p-norm of each window: pictures by tables of what windows see, sequences by their lengths.

Values are divided by the window's largest size before their powers are added up, and by the norm before the power of a
slope is taken: no number is larger than 1 then, and no result overflows or vanishes on the way.
"""

from gedanken.engine.cpu.kernels.blocks import lost_of, settle, zero_row
from gedanken.engine.cpu.kernels.functions import exponential, logarithm, power_of_e
from gedanken.engine.cpu.kernels.listed_pool import Listed
from gedanken.engine.cpu.kernels.time import Windows, end_of, first_of, windows_of
from gedanken.engine.cpu.language import Int, Ints, Real, Reals, Record, at, inline, lanes, noinline, real, sqrt

ROOM = 3  # rows of scratch memory, each of a number for each channel
LEAST = 1.2e-38  # a number that float32 has all digits of; a logarithm is not taken of less


class Norms(Record):
    """What windows became, the gradient with respect to that, and the power."""

    y: Reals
    dy: Reals
    power: Real


@inline
def power_of(ratio, power):
    """ratio ** power for 0 <= ratio <= 1 and power > 0, or a NaN"""
    value = exponential(power * logarithm(max(ratio, real(LEAST))))
    return real(0) if ratio == real(0) else value


@noinline
def measure(most, values, count):
    """Let most be the largest size so far, or NaN where there is one."""
    for c in lanes(count):
        size, old = abs(values[c]), most[c]
        most[c] = size if size > old or size != size else old


@noinline
def add_powers(scratch, values, power, count):
    """Add the powers of one pixel's channels to the sums of a window, in units of its largest sizes."""
    most, total, lost = scratch, at(scratch, count), at(scratch, 2 * count)
    for c in lanes(count):
        ratio = abs(values[c]) / (most[c] if most[c] > real(0) else real(1))
        value = ratio * ratio if power == real(2) else power_of(ratio, power)
        old = total[c]
        total[c] = old + value
        lost[c] += lost_of(old, value, total[c])


@noinline
def finish(y, scratch, power, count):
    """Set y to the norms of a window."""
    most, total, lost = scratch, at(scratch, count), at(scratch, 2 * count)
    settle(total, lost, count)
    for c in lanes(count):
        sum_of_all = max(total[c], real(1))  # of a window of zeros it is 0
        root = sqrt(sum_of_all) if power == real(2) else power_of_e(logarithm(sum_of_all) / power)
        y[c] = most[c] * root if most[c] - most[c] == real(0) else most[c]


@noinline
def give(total, lost, values, norms, place, count):
    """Add to the gradient of one pixel's channels what a window, whose norms are at `place`, gives back."""
    y, dy, power = at(norms.y, place), at(norms.dy, place), norms.power
    for c in lanes(count):
        x, whole = values[c], y[c] if y[c] != real(0) else real(1)
        size = real(1) if power == real(1) else power_of(abs(x) / whole, power - real(1))
        steep = size if x > real(0) else -size if x < real(0) else x * size
        value = dy[c] * (x / whole if power == real(2) else steep)
        old = total[c]
        total[c] = old + value
        lost[c] += lost_of(old, value, total[c])


# ---------------------------------------------------------------------------------------------- pictures


def forward(task: Int, scratch: Reals, x: Reals, y: Reals, p: Listed, power: Real, band: Int, bands: Int):
    """Set y to the norm of each window, for a band of one image's output rows.   scratch: ROOM rows."""
    image, begin, channels = task // bands, task % bands * band, p.channels
    picture = at(x, image * p.height * p.width * channels)
    for i in range(begin, min(begin + band, p.out_height)):
        for j in range(p.out_width):
            zero_row(scratch, ROOM * channels)
            for k in range(p.rows.seen[i] * p.columns.seen[j]):
                measure(scratch, at(picture, pixel_of(k, i, j, p)), channels)
            for k in range(p.rows.seen[i] * p.columns.seen[j]):
                add_powers(scratch, at(picture, pixel_of(k, i, j, p)), power, channels)
            place = ((image * p.out_height + i) * p.out_width + j) * channels
            finish(at(y, place), scratch, power, channels)


@inline
def pixel_of(k, i, j, p):
    """Return where the pixel number k that a window sees lies in its picture."""
    across = p.columns.seen[j]
    row = p.rows.first[i] + k // across * p.rows.step
    return (row * p.width + p.columns.first[j] + k % across * p.columns.step) * p.channels


def gradient(task: Int, scratch: Reals, x: Reals, d: Reals, p: Listed, norms: Norms):
    """Set d, the gradient with respect to one image, to what its windows give back.

    scratch: what rounding takes from the sums, a number for each of d.
    """
    channels, size = p.channels, p.height * p.width * p.channels
    picture, total = at(x, task * size), at(d, task * size)
    zero_row(total, size)
    zero_row(scratch, size)
    for i in range(p.out_height):
        for j in range(p.out_width):
            place = ((task * p.out_height + i) * p.out_width + j) * channels
            for k in range(p.rows.seen[i] * p.columns.seen[j]):
                pixel = pixel_of(k, i, j, p)
                give(at(total, pixel), at(scratch, pixel), at(picture, pixel), norms, place, channels)
    settle(total, scratch, size)


# ---------------------------------------------------------------------------------------------- sequences


def over_time(task: Int, scratch: Reals, x: Reals, y: Reals, lengths: Ints, w: Windows, power: Real):
    """Set y to the norm of each window; a task is `w.piece` samples.   scratch: ROOM rows."""
    for n in range(task * w.piece, min(w.samples, (task + 1) * w.piece)):
        length = lengths[n]
        given, count = at(x, n * w.places * w.features), windows_of(length, w)
        for j in range(w.made):
            zero_row(scratch, ROOM * w.features)
            if j < count:
                for t in range(first_of(j, length, w), end_of(j, length, w), w.step):
                    measure(scratch, at(given, t * w.features), w.features)
                for t in range(first_of(j, length, w), end_of(j, length, w), w.step):
                    add_powers(scratch, at(given, t * w.features), power, w.features)
            finish(at(y, (n * w.made + j) * w.features), scratch, power, w.features)


def time_gradient(task: Int, scratch: Reals, x: Reals, d: Reals, lengths: Ints, w: Windows, norms: Norms):
    """Set d, the gradient with respect to the sequences, to what windows give back.

    scratch: places * features numbers, what rounding takes from the sums.
    """
    size = w.places * w.features
    for n in range(task * w.piece, min(w.samples, (task + 1) * w.piece)):
        length = lengths[n]
        given, total = at(x, n * size), at(d, n * size)
        zero_row(total, size)
        zero_row(scratch, size)
        for j in range(windows_of(length, w)):
            place = (n * w.made + j) * w.features
            for t in range(first_of(j, length, w), end_of(j, length, w), w.step):
                here = t * w.features
                give(at(total, here), at(scratch, here), at(given, here), norms, place, w.features)
        settle(total, scratch, size)
