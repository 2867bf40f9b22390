"""Costs that take the outputs of an entry together, its classes or its numbers: a kernel each, row by row.

Each sets dz, and for each row terms = factor * cost. Of a row whose factor is 0 the label may be none of the classes,
and the outputs anything.
"""

from gedanken.engine.cpu.kernels.blocks import Rows, sum_of, sum_of_squares, zero_row
from gedanken.engine.cpu.kernels.cost import Targets, Wanted, fill_targets, largest_at
from gedanken.engine.cpu.kernels.functions import logarithm, power_of_e
from gedanken.engine.cpu.kernels.value_cost import HALF_LOG_2_PI, factor_of, rows_together, weigh, weigh_rows
from gedanken.engine.cpu.language import Int, Real, Reals, Record, at, inline, lanes, noinline, real, sqrt


class Shares(Record):
    """How probabilities are judged: what is below `least` counts as it; gamma is that of costs.Focal."""

    least: Real
    gamma: Real


@noinline
def fill_rows(q, targets, row, rows, columns):
    """q = weight * (kept * target + spread) for some rows"""
    hard = targets.hard
    for r in range(rows):
        label = 0
        if hard:
            label = targets.classes[row + r]
        wanted = Wanted(
            label=label, shares=at(targets.shares, 0 if hard else (row + r) * columns), hard=hard,
            weights=targets.weights, kept=targets.kept, spread=targets.smoothing / real(columns),
        )  # fmt: skip
        fill_targets(at(q, r * columns), wanted, columns)


@noinline
def of_classes(y, slopes, costs, count, p):
    """Set costs and slopes of -q * (1 - y)**gamma * log(y), where slopes are q before."""
    if p.gamma == real(0):
        for i in lanes(count):
            safe = max(y[i], p.least)
            costs[i], slopes[i] = -slopes[i] * logarithm(safe), -slopes[i] / safe
    else:
        for i in lanes(count):
            safe, rest = max(y[i], p.least), max(real(1) - y[i], p.least)
            log, power = logarithm(safe), power_of_e(p.gamma * logarithm(rest))
            by_log = p.gamma * power / rest * log
            costs[i], slopes[i] = -slopes[i] * (power * log), slopes[i] * (by_log - power / safe)


def cross_entropy(task: Int, scratch: Reals, z: Reals, targets: Targets, dz: Reals, terms: Reals, m: Rows, p: Shares):
    """Of probabilities z: cost = sum of -q * (1 - z)**gamma * log(z), with q as of `cost.softmax_cross_entropy`.

    scratch: BLOCK numbers, or one for each column.
    """
    end, together = min((task + 1) * m.piece, m.rows), rows_together(m.columns)
    for row in range(task * m.piece, end, together):
        rows, slopes = min(together, end - row), at(dz, row * m.columns)
        fill_rows(slopes, targets, row, rows, m.columns)
        of_classes(at(z, row * m.columns), slopes, scratch, rows * m.columns, p)
        weigh_rows(slopes, scratch, targets.counts, row, terms, rows, m.columns, 0)


def kullback_leibler(
    task: Int, scratch: Reals, z: Reals, targets: Targets, dz: Reals, terms: Reals, m: Rows, least: Real
):  # fmt: skip
    """Of shares z and t: cost = sum of t * (log(t) - log(z)).   scratch: BLOCK numbers, or one for each column."""
    end, together = min((task + 1) * m.piece, m.rows), rows_together(m.columns)
    for row in range(task * m.piece, end, together):
        rows, place = min(together, end - row), row * m.columns
        y, t, slopes = at(z, place), at(targets.shares, place), at(dz, place)
        for i in lanes(rows * m.columns):
            safe, known = max(y[i], least), max(t[i], least)
            scratch[i], slopes[i] = t[i] * (logarithm(known) - logarithm(safe)), -t[i] / safe
        weigh_rows(slopes, scratch, targets.counts, row, terms, rows, m.columns, 0)


def cosine(task: Int, scratch: Reals, z: Reals, targets: Targets, dz: Reals, terms: Reals, m: Rows, epsilon: Real):
    """Of vectors z and t: cost = 1 - z . t / (max(|z|, epsilon) max(|t|, epsilon)).   scratch: columns numbers."""
    columns, counts = m.columns, targets.counts
    for row in range(task * m.piece, min((task + 1) * m.piece, m.rows)):
        y, t, slopes = at(z, row * columns), at(targets.shares, row * columns), at(dz, row * columns)
        long, other = sqrt(sum_of_squares(y, columns)), sqrt(sum_of_squares(t, columns))
        size, far = max(long, epsilon), max(other, epsilon)
        for c in lanes(columns):
            scratch[c] = (y[c] / size) * (t[c] / far)
        toward = sum_of(scratch, columns, real(1))
        turning = toward if long > epsilon else real(0)
        for c in lanes(columns):
            slopes[c] = (turning * (y[c] / size) - t[c] / far) / size
        factor = factor_of(counts, row)
        weigh(slopes, scratch, factor, counts.divisor, columns)
        terms[row] = real(0) if factor == real(0) else factor * (real(1) - toward)


@inline
def label_of(targets, row, columns):
    """Return the class that is right in a row: of shares the largest."""
    label = 0
    if targets.hard:
        label = targets.classes[row]
    else:
        label = largest_at(at(targets.shares, row * columns), columns)
    return label


class Margin(Record):
    """By how much the right class should lead, and whether what lacks is squared."""

    margin: Real
    squared: Int


def multi_margin(task: Int, scratch: Reals, z: Reals, targets: Targets, dz: Reals, terms: Reals, m: Rows, p: Margin):
    """Of scores z: cost = w / C * sum over all but the right class of max(0, margin - z[right] + z)**(1 or 2).

    scratch: columns numbers.
    """
    columns, counts = m.columns, targets.counts
    for row in range(task * m.piece, min((task + 1) * m.piece, m.rows)):
        y, slopes, factor = at(z, row * columns), at(dz, row * columns), factor_of(counts, row)
        label = label_of(targets, row, columns)
        if factor == real(0) or label < 0 or label >= columns:
            zero_row(slopes, columns)
            terms[row] = real(0)
        else:
            right, weight = y[label], targets.weights[label] / real(columns)
            for c in lanes(columns):
                lacking = max(p.margin + y[c] - right, real(0)) if c != label else real(0)
                some = real(0) if lacking == real(0) or lacking != lacking else real(1)
                scratch[c] = weight * (lacking * lacking if p.squared else lacking)
                slopes[c] = weight * (real(2) * lacking if p.squared else some)
            slopes[label] = -sum_of(slopes, columns, real(1))
            terms[row] = weigh(slopes, scratch, factor, counts.divisor, columns)


@inline
def worst_at(y, columns, label):
    """Return where the largest score but that of a label is, the first of equals; a NaN counts as larger than all."""
    worst = 1 if label == 0 else 0
    largest = y[worst]
    for c in range(worst + 1, columns):
        larger = c != label and largest == largest and (y[c] > largest or y[c] != y[c])
        worst = c if larger else worst
        largest = y[c] if larger else largest
    return worst


def categorical_hinge(task: Int, scratch: Reals, z: Reals, targets: Targets, dz: Reals, terms: Reals, m: Rows):
    """Of scores z: cost = max(0, 1 - z[right] + the largest other one)."""
    columns, counts = m.columns, targets.counts
    for row in range(task * m.piece, min((task + 1) * m.piece, m.rows)):
        y, slopes, factor = at(z, row * columns), at(dz, row * columns), factor_of(counts, row)
        label = label_of(targets, row, columns)
        zero_row(slopes, columns)
        terms[row] = real(0)
        if factor != real(0) and label >= 0 and label < columns:
            worst = worst_at(y, columns, label)
            lacking = max(real(1) + (y[worst] - y[label]), real(0))
            terms[row] = factor * lacking
            if lacking > real(0):
                slopes[worst], slopes[label] = factor / counts.divisor, -(factor / counts.divisor)


class Variance(Record):
    """What is least as a variance, and whether log(2 pi) / 2 is added."""

    epsilon: Real
    full: Int


def gaussian(task: Int, scratch: Reals, z: Reals, targets: Targets, dz: Reals, terms: Reals, m: Rows, p: Variance):
    """Of means z and, behind them, variances: see costs.GaussianNLL.   scratch: half of the columns."""
    size, counts = m.columns // 2, targets.counts
    added = real(HALF_LOG_2_PI) if p.full else real(0)
    for row in range(task * m.piece, min((task + 1) * m.piece, m.rows)):
        mean, t, slopes = at(z, row * m.columns), at(targets.shares, row * size), at(dz, row * m.columns)
        variance, by_variance = at(mean, size), at(slopes, size)
        for c in lanes(size):
            v, error = max(variance[c], p.epsilon), mean[c] - t[c]
            share = error * error / v
            scratch[c] = (logarithm(v) + share) / real(2) + added
            slopes[c] = error / v
            by_variance[c] = real(0) if variance[c] < p.epsilon else (real(1) - share) / (real(2) * v)
        factor, divisor = factor_of(counts, row), counts.divisor * real(size)
        weigh(by_variance, scratch, factor, divisor, size)
        terms[row] = weigh(slopes, scratch, factor, divisor, size) / real(size)
