"""Optimizers: clipping, weight decay and the rule itself in one pass over the flat vectors.

A task is a piece of them. `factor[0]` shortens a gradient that is too long, see `shorten`; the first `decayed`
numbers are under weight decay. A share near 1 comes as its rounded value, as what rounding took from it, and as what
it lacks to 1, all from float64: see `moved`.
"""

from gedanken.engine.cpu.kernels.blocks import sum_of, sum_of_squares
from gedanken.engine.cpu.language import Int, Real, Reals, at, helper, lanes, real, sqrt

NORM_PIECE = 4096  # numbers whose squares are added up by one task


def square_sums(task: Int, scratch: Reals, g: Reals, size: Int, limit: Real, partial: Reals):
    """partial[task] = the largest |g| of a piece, and the sum of (g / that)**2, so that nothing overflows.

    scratch: NORM_PIECE numbers.
    """
    begin = task * NORM_PIECE
    values = at(g, begin)
    count = min(NORM_PIECE, size - begin)
    largest = real(0)
    for i in range(count):
        largest = max(largest, abs(held(values[i], limit)))
    partial[2 * task] = largest
    partial[2 * task + 1] = real(0)
    if largest > real(0):
        for i in lanes(count):
            scratch[i] = held(values[i], limit) / largest
        partial[2 * task + 1] = sum_of_squares(scratch, count)


def shorten(task: Int, scratch: Reals, partial: Reals, pieces: Int, longest: Real, factor: Reals):
    """factor[0] = longest / |g| where |g| is more than that, else 1. scratch: a number for each piece."""
    largest = real(0)
    for i in range(pieces):
        largest = max(largest, partial[2 * i])
    norm = real(0)
    if largest > real(0):
        for i in range(pieces):
            share = partial[2 * i] / largest
            scratch[i] = partial[2 * i + 1] * share * share
        norm = largest * sqrt(sum_of(scratch, pieces, real(1)))
    factor[0] = longest / norm if norm > longest else real(1)


@helper
def moved(mean, kept, less, taken, value):
    """Return (kept + less) * mean + taken * value: a moving mean whose two shares keep their digits."""
    return kept * mean + (taken * value + less * mean)


@helper
def held(value, limit):
    """Cut a value to [-limit, limit]; NaN stays NaN."""
    value = limit if value > limit else value
    return -limit if value < -limit else value


def sgd(
    task: Int, scratch: Reals, p: Reals, g: Reals, size: Int, piece: Int, decayed: Int, limit: Real, factor: Reals,
    rate: Real, decay: Real,
):  # fmt: skip
    begin, times = task * piece, factor[0]
    count, under = min(piece, size - begin), decayed - begin
    x, d = at(p, begin), at(g, begin)
    for i in lanes(count):
        share = decay if i < under else real(0)
        x[i] -= rate * (held(d[i], limit) * times + share * x[i])


def momentum(
    task: Int, scratch: Reals, p: Reals, g: Reals, velocity: Reals, size: Int, piece: Int, decayed: Int, limit: Real,
    factor: Reals, rate: Real, decay: Real, kept: Real, kept_less: Real, ahead: Int,
):  # fmt: skip
    begin, times = task * piece, factor[0]
    count, under = min(piece, size - begin), decayed - begin
    x, d, v = at(p, begin), at(g, begin), at(velocity, begin)
    for i in lanes(count):
        share = decay if i < under else real(0)
        change = rate * (held(d[i], limit) * times + share * x[i])
        speed = moved(v[i], kept, kept_less, real(-1), change)
        v[i] = speed
        x[i] += kept * speed - change if ahead else speed


def adagrad(
    task: Int, scratch: Reals, p: Reals, g: Reals, squares: Reals, size: Int, piece: Int, limit: Real, factor: Reals,
    rate: Real, epsilon: Real,
):  # fmt: skip
    begin, times = task * piece, factor[0]
    x, d, h = at(p, begin), at(g, begin), at(squares, begin)
    for i in lanes(min(piece, size - begin)):
        slope = held(d[i], limit) * times
        total = h[i] + slope * slope
        h[i] = total
        x[i] -= rate * slope / (sqrt(total) + epsilon)


def rmsprop(
    task: Int, scratch: Reals, p: Reals, g: Reals, squares: Reals, size: Int, piece: Int, limit: Real, factor: Reals,
    rate: Real, kept: Real, kept_less: Real, kept_rest: Real, epsilon: Real,
):  # fmt: skip
    begin, times = task * piece, factor[0]
    x, d, h = at(p, begin), at(g, begin), at(squares, begin)
    for i in lanes(min(piece, size - begin)):
        slope = held(d[i], limit) * times
        total = moved(h[i], kept, kept_less, kept_rest * slope, slope)
        h[i] = total
        x[i] -= rate * slope / (sqrt(total) + epsilon)


def adam(
    task: Int, scratch: Reals, p: Reals, g: Reals, mean: Reals, square: Reals, size: Int, piece: Int, decayed: Int,
    limit: Real, factor: Reals, rate: Real, decay: Real, beta1: Real, beta1_less: Real, beta1_rest: Real, beta2: Real,
    beta2_less: Real, beta2_rest: Real, mean_share: Real, square_share: Real, epsilon: Real,
):  # fmt: skip
    """Adam and AdamW; mean_share = 1 - beta1**t, square_share = 1 - beta2**t."""
    begin, times = task * piece, factor[0]
    count, under = min(piece, size - begin), decayed - begin
    x, d, m, v = at(p, begin), at(g, begin), at(mean, begin), at(square, begin)
    per_mean, per_square = real(1) / mean_share, real(1) / square_share
    for i in lanes(count):
        slope = held(d[i], limit) * times
        first = moved(m[i], beta1, beta1_less, beta1_rest, slope)
        second = moved(v[i], beta2, beta2_less, beta2_rest * slope, slope)
        m[i] = first
        v[i] = second
        share = decay if i < under else real(0)
        x[i] -= rate * (first * per_mean / (sqrt(second * per_square) + epsilon) + share * x[i])


def lion(
    task: Int, scratch: Reals, p: Reals, g: Reals, mean: Reals, size: Int, piece: Int, decayed: Int, limit: Real,
    factor: Reals, rate: Real, decay: Real, beta1: Real, beta1_less: Real, beta1_rest: Real, beta2: Real,
    beta2_less: Real, beta2_rest: Real,
):  # fmt: skip
    begin, times = task * piece, factor[0]
    count, under = min(piece, size - begin), decayed - begin
    x, d, m = at(p, begin), at(g, begin), at(mean, begin)
    for i in lanes(count):
        slope = held(d[i], limit) * times
        turn = moved(m[i], beta1, beta1_less, beta1_rest, slope)
        sign = real(1) if turn > real(0) else turn
        sign = real(-1) if turn < real(0) else sign
        share = decay if i < under else real(0)
        x[i] -= rate * (sign + share * x[i])
        m[i] = moved(m[i], beta2, beta2_less, beta2_rest, slope)
