"""Costs that take every value by itself, with their slopes, in one pass over the outputs.

Rows are taken together as long as they are short, so that loops have many rounds.
"""

from gedanken.engine.cpu.kernels.blocks import Rows, sum_of, zero_row
from gedanken.engine.cpu.kernels.cost import BY_ROW, BY_VALUE, RowWeights
from gedanken.engine.cpu.kernels.functions import (
    exponential,
    exponential_less_1,
    hyperbolic_tangent,
    logarithm,
    logarithm_of_1_more,
    logarithm_of_any_more,
    logarithm_series,
    power_of_e,
)
from gedanken.engine.cpu.language import Int, Real, Reals, Record, at, inline, lanes, noinline, real

# Of differences and margins, for `judge`; those from SIGMOID on, which take powers of e or logarithms, for
# `judge_curved`.
SQUARED, ABSOLUTE, HUBER, PERCENTAGE, QUANTILE, WEIGHTED, HINGE, SQUARED_HINGE, EMBEDDING = 0, 1, 2, 3, 4, 5, 6, 7, 8
SIGMOID, PROBABILITY, FOCAL, LOG_COSH, LOGARITHMIC, LOG_COUNTS, COUNTS = 9, 10, 11, 12, 13, 14, 15
BLOCK = 1024  # values whose costs lie in scratch memory, so that they stay in the first-level cache
HALF_LOG_2_PI = 0.9189385332046727


class Values(Record):
    """What is wanted: targets, and what a cost of a kind goes by.

    w0 and w1 are the weights of 0 and 1 of yes-or-no outputs, for each value of the rows that are taken together; of
    QUANTILE w0 is the share. What the numbers are is said in the table of `lowering/value_cost.py`.
    """

    targets: Reals
    kind: Int
    w0: Reals
    w1: Reals
    bend: Real
    scale: Real
    epsilon: Real
    gamma: Real
    full: Int
    counts: RowWeights


@noinline
def of_differences(z, target, v, slopes, costs, count):
    """Costs and slopes of the kinds from SQUARED to HUBER, which go by z - target."""
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
            slope = max(min(error, v.bend), -v.bend)
            costs[i], slopes[i] = v.scale * (slope * (error - slope / real(2))), v.scale * slope


@noinline
def of_shares(z, target, v, first, slopes, costs, count):
    """Costs and slopes of the kinds PERCENTAGE and QUANTILE, which go by shares of z - target."""
    if v.kind == PERCENTAGE:
        for i in lanes(count):
            error = z[i] - target[i]
            size, share = abs(error), real(1) / max(abs(target[i]), v.epsilon)
            costs[i] = size * share
            slopes[i] = share if error > real(0) else (-share if error < real(0) else size)
    else:
        w0 = at(v.w0, first)
        for i in lanes(count):
            error = z[i] - target[i]
            slope = real(1) - w0[i] if error > real(0) else (-w0[i] if error < real(0) else abs(error))
            costs[i], slopes[i] = slope * error, slope


@noinline
def of_margins(z, target, v, slopes, costs, count):
    """Costs and slopes of the kinds from WEIGHTED to EMBEDDING, which go by products with what is wanted."""
    if v.kind == WEIGHTED:
        for i in lanes(count):
            costs[i], slopes[i] = target[i] * z[i], target[i] + real(0) * z[i]
    elif v.kind == EMBEDDING:
        for i in lanes(count):
            lacking, together = max(v.bend - z[i], real(0)), target[i] == real(1)
            away = real(0) if lacking == real(0) else real(-1)
            costs[i], slopes[i] = z[i] if together else lacking, real(1) if together else away
    else:
        for i in lanes(count):
            sign = real(1) - real(2) * target[i]
            lacking = max(real(1) + sign * z[i], real(0))
            slope = real(0) if lacking == real(0) else sign
            costs[i] = lacking if v.kind == HINGE else lacking * lacking
            slopes[i] = slope if v.kind == HINGE else real(2) * lacking * slope


@noinline
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


@noinline
def of_probabilities(z, target, v, first, slopes, costs, count):
    """Costs and slopes of probabilities, PROBABILITY and FOCAL."""
    w0, w1 = at(v.w0, first), at(v.w1, first)
    if v.kind == PROBABILITY:
        for i in lanes(count):
            no, yes = w0[i] * (real(1) - target[i]), w1[i] * target[i]
            right, wrong = max(z[i], v.epsilon), max(real(1) - z[i], v.epsilon)
            costs[i] = -(yes * logarithm(right) + no * logarithm(wrong))
            slopes[i] = no / wrong - yes / right
    else:
        for i in lanes(count):
            no, yes = w0[i] * (real(1) - target[i]), w1[i] * target[i]
            other = real(1) - z[i]
            right, wrong = max(z[i], v.epsilon), max(other, v.epsilon)
            rest = max(real(1) - other, v.epsilon)  # as the specification has it: not quite `right`
            log_right, log_wrong = logarithm(right), logarithm(wrong)
            power, opposite = power_of_e(v.gamma * log_wrong), power_of_e(v.gamma * logarithm(rest))
            costs[i] = -(yes * (power * log_right) + no * (opposite * log_wrong))
            by_right = v.gamma * power / wrong * log_right - power / right
            slopes[i] = yes * by_right - no * (v.gamma * opposite / rest * log_wrong - opposite / wrong)


@noinline
def of_logarithms(z, target, v, slopes, costs, count):
    """Costs and slopes of the kinds LOG_COSH and LOGARITHMIC."""
    if v.kind == LOG_COSH:
        for i in lanes(count):
            error = z[i] - target[i]
            size = abs(error)
            # log(cosh(e)) = |e| + log1p((exp(-2 |e|) - 1) / 2), which has no digits of what is small
            part = exponential_less_1(real(-2) * size) * real(0.5)
            large = size + logarithm_series(part / (real(2) + part))
            square = size * size
            small = square / real(2) * (real(1) - square / real(6)) + square * square * square / real(45)
            costs[i] = small if size < real(0.01) else large
            slopes[i] = hyperbolic_tangent(error)
    else:
        for i in lanes(count):
            up = max(z[i], real(0))
            error = logarithm_of_any_more(up) - logarithm_of_any_more(target[i])
            costs[i] = error * error
            slopes[i] = real(0) if z[i] < real(0) else real(2) * error / (real(1) + up)


@inline
def stirling(count):
    """log(count!) for counts above 1, nearly: count log(count) - count + log(2 pi count) / 2; 0 for others."""
    known = max(count, real(1))
    log = logarithm(known)
    return known * log - known + (real(HALF_LOG_2_PI) + log * real(0.5)) if count > real(1) else real(0)


@noinline
def of_counts(z, target, v, slopes, costs, count):
    """Costs and slopes of the kinds LOG_COUNTS and COUNTS: see costs.Poisson."""
    if v.kind == LOG_COUNTS:
        for i in lanes(count):
            power = power_of_e(z[i])
            costs[i], slopes[i] = power - target[i] * z[i], power - target[i]
    else:
        for i in lanes(count):
            raised = z[i] + v.epsilon
            # The logarithm of what is below 0 is a NaN, and that of 0 an infinity below 0.
            beyond = (raised - raised) / (raised - raised) if raised < real(0) else real(-1) / abs(raised)
            known = logarithm(raised)
            log = known if raised > real(0) else beyond
            costs[i], slopes[i] = z[i] - target[i] * log, real(1) - target[i] / raised
    if v.full:
        for i in lanes(count):
            costs[i] += stirling(target[i])


@inline
def weigh(slopes, costs, factor, divisor, count):
    """Let values of a row count by its factor; return their cost. What counts for nothing may be anything."""
    if factor == real(0):
        zero_row(slopes, count)
        return real(0)
    for i in lanes(count):
        slopes[i] = factor * slopes[i] / divisor
    return factor * sum_of(costs, count, real(1))


@inline
def rows_together(columns):
    """Return how many rows are taken together."""
    return max(1, BLOCK // columns)


@inline
def factor_of(counts, row):
    """Return what a row counts, before it is divided."""
    factor = real(1)
    if counts.given == BY_ROW:
        factor = counts.factors[row]
    return factor


@noinline
def weigh_values(slopes, costs, factors, count):
    """Let each value count by a factor of its own. What counts for nothing may be anything."""
    for i in lanes(count):
        costs[i] = real(0) if factors[i] == real(0) else factors[i] * costs[i]
        slopes[i] = real(0) if factors[i] == real(0) else factors[i] * slopes[i]


@inline
def weigh_rows(slopes, costs, counts, row, terms, rows, count, first):
    """Weigh some rows, of each the `count` values from column `first` on; `row` is the number of the first."""
    for r in range(rows):
        cost = weigh(at(slopes, r * count), at(costs, r * count), factor_of(counts, row + r), counts.divisor, count)
        terms[row + r] = cost if first == 0 else terms[row + r] + cost


def judge(task: Int, scratch: Reals, z: Reals, v: Values, y: Reals, dz: Reals, terms: Reals, m: Rows):
    """Set dz, and for each row terms = factor * sum of costs; a task is a piece of the rows.   y is not used.

    scratch: BLOCK numbers.
    """
    end, together = min((task + 1) * m.piece, m.rows), rows_together(m.columns)
    for row in range(task * m.piece, end, together):
        rows = min(together, end - row)
        for first in range(0, m.columns, BLOCK):
            count, place = min(BLOCK, m.columns - first), row * m.columns + first
            scores, wanted, slopes, values = at(z, place), at(v.targets, place), at(dz, place), rows * count
            if v.kind <= HUBER:
                of_differences(scores, wanted, v, slopes, scratch, values)
            elif v.kind <= QUANTILE:
                of_shares(scores, wanted, v, first, slopes, scratch, values)
            else:
                of_margins(scores, wanted, v, slopes, scratch, values)
            if v.counts.given == BY_VALUE:
                weigh_values(slopes, scratch, at(v.counts.factors, place), values)
            weigh_rows(slopes, scratch, v.counts, row, terms, rows, count, first)


def judge_curved(task: Int, scratch: Reals, z: Reals, v: Values, y: Reals, dz: Reals, terms: Reals, m: Rows):
    """The same for the kinds from SIGMOID on, and set y where it is not z."""
    end, together = min((task + 1) * m.piece, m.rows), rows_together(m.columns)
    for row in range(task * m.piece, end, together):
        rows = min(together, end - row)
        for first in range(0, m.columns, BLOCK):
            count, place = min(BLOCK, m.columns - first), row * m.columns + first
            scores, wanted, slopes, values = at(z, place), at(v.targets, place), at(dz, place), rows * count
            if v.kind == SIGMOID:
                of_sigmoid(scores, wanted, v, first, at(y, place), slopes, scratch, values)
            elif v.kind <= FOCAL:
                of_probabilities(scores, wanted, v, first, slopes, scratch, values)
            elif v.kind <= LOGARITHMIC:
                of_logarithms(scores, wanted, v, slopes, scratch, values)
            else:
                of_counts(scores, wanted, v, slopes, scratch, values)
            if v.counts.given == BY_VALUE:
                weigh_values(slopes, scratch, at(v.counts.factors, place), values)
            weigh_rows(slopes, scratch, v.counts, row, terms, rows, count, first)
