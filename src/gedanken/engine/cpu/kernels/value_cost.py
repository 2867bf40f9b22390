"""Costs that take every value by itself, with their slopes, in one pass over the outputs."""

from gedanken.engine.cpu.kernels.blocks import Rows, sum_of
from gedanken.engine.cpu.kernels.cost import RowWeights
from gedanken.engine.cpu.kernels.rows import exponential
from gedanken.engine.cpu.language import Int, Real, Reals, Record, at, inline, lanes, real

SIGMOID, SQUARED, ABSOLUTE, HUBER = 0, 1, 2, 3
BLOCK = 1024  # values whose costs lie in scratch memory, so that they stay in the first-level cache


class Values(Record):
    """What is wanted: targets, and what a cost of a kind goes by.

    w0 and w1 are the weights of each column's 0 and 1, of SIGMOID alone; delta is Huber's.
    """

    targets: Reals
    kind: Int
    w0: Reals
    w1: Reals
    delta: Real
    counts: RowWeights


@inline
def logarithm_of_1_more(p):
    """log(1 + p) = 2 artanh(p / (2 + p)) for 0 <= p <= 1, by its Taylor series; small results keep their digits."""
    s = p / (real(2) + p)
    q = s * s
    total = real(1 / 33)
    total = total * q + real(1 / 31)
    total = total * q + real(1 / 29)
    total = total * q + real(1 / 27)
    total = total * q + real(1 / 25)
    total = total * q + real(1 / 23)
    total = total * q + real(1 / 21)
    total = total * q + real(1 / 19)
    total = total * q + real(1 / 17)
    total = total * q + real(1 / 15)
    total = total * q + real(1 / 13)
    total = total * q + real(1 / 11)
    total = total * q + real(1 / 9)
    total = total * q + real(1 / 7)
    total = total * q + real(1 / 5)
    total = total * q + real(1 / 3)
    return real(2) * s * (total * q + real(1))


@inline
def of_sigmoid(z, target, v, first, y, slopes, costs, count):
    """Costs and slopes of sigmoid(z), which becomes y: see costs.SigmoidBinaryCrossEntropy."""
    w0, w1 = at(v.w0, first), at(v.w1, first)
    for i in lanes(count):
        no, yes = w0[i] * (real(1) - target[i]), w1[i] * target[i]
        power = exponential(-abs(z[i]))
        rest = logarithm_of_1_more(power)
        high, low = real(1) / (real(1) + power), power / (real(1) + power)
        probability = low if z[i] < real(0) else high
        other = high if z[i] < real(0) else low
        wrong = no * (max(z[i], real(0)) + rest) if no > real(0) else real(0)
        missed = yes * (max(-z[i], real(0)) + rest) if yes > real(0) else real(0)
        costs[i] = wrong + missed + real(0) * rest
        slopes[i] = no * probability - yes * other
        y[i] = probability


@inline
def of_difference(z, target, v, slopes, costs, count):
    """Costs and slopes of z - target."""
    if v.kind == SQUARED:
        for i in lanes(count):
            error = z[i] - target[i]
            costs[i], slopes[i] = error * error, real(2) * error
    elif v.kind == ABSOLUTE:
        for i in lanes(count):
            error = z[i] - target[i]
            size = abs(error)
            costs[i] = size
            slopes[i] = real(1) if error > real(0) else (real(-1) if error < real(0) else size)  # a NaN stays one
    else:
        for i in lanes(count):
            error = z[i] - target[i]
            slope = max(min(error, v.delta), -v.delta)
            costs[i], slopes[i] = slope * (error - slope / real(2)), slope


def judge(task: Int, scratch: Reals, z: Reals, v: Values, y: Reals, dz: Reals, terms: Reals, m: Rows):
    """Set dz, for each row terms = factor * sum of costs, and y where it is not z; a task is a piece of the rows."""
    columns, counts = m.columns, v.counts
    for row in range(task * m.piece, min((task + 1) * m.piece, m.rows)):
        factor, total = real(1), real(0)
        if counts.given:
            factor = counts.factors[row]
        for first in range(0, columns, BLOCK):
            count, place = min(BLOCK, columns - first), row * columns + first
            scores, target, slopes = at(z, place), at(v.targets, place), at(dz, place)
            if v.kind == SIGMOID:
                of_sigmoid(scores, target, v, first, at(y, place), slopes, scratch, count)
            else:
                of_difference(scores, target, v, slopes, scratch, count)
            total += sum_of(scratch, count, real(1))
            for i in lanes(count):
                slopes[i] = factor * slopes[i] / counts.divisor
            if factor == real(0):  # whatever its scores are
                for i in lanes(count):
                    slopes[i] = real(0)
        terms[row] = real(0) if factor == real(0) else factor * total
