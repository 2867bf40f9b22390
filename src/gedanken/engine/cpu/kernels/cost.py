"""SoftMax and cross-entropy in one pass over the scores.

What a probability near 1 lacks of it is summed up from the others, and a score of infinite distance has a share of
nothing: so costs and gradients keep their digits, and are numbers wherever the true ones are.
"""

from gedanken.engine.cpu.kernels.blocks import SIDE, Rows, sum_of
from gedanken.engine.cpu.kernels.functions import exponential
from gedanken.engine.cpu.language import Int, Ints, Real, Reals, Record, at, inline, lanes, real


@inline
def largest_at(x, count):
    """Return where the largest of some numbers is, the first of equals; a NaN counts as larger than all."""
    best, largest = 0, x[0]
    for i in range(1, count):
        larger = largest == largest and (x[i] > largest or x[i] != x[i])
        best = i if larger else best
        largest = x[i] if larger else largest
    return best


@inline
def powers(x, y, count, best):
    """y = exp(x - x[best]); return the sum of all but y[best], which is 1."""
    largest = x[best]
    for i in lanes(count):
        y[i] = exponential(x[i] - largest)
    y[best] = real(0)
    others = sum_of(y, count, real(1))
    y[best] = real(1) if largest == largest else largest
    return others


def softmax(task: Int, scratch: Reals, x: Reals, y: Reals, m: Rows):
    """Turn each row of scores into shares; a task is a piece of the rows."""
    columns = m.columns
    for row in range(task * m.piece, min((task + 1) * m.piece, m.rows)):
        shares = at(y, row * columns)
        scores = at(x, row * columns)
        total = real(1) + powers(scores, shares, columns, largest_at(scores, columns))
        for c in lanes(columns):
            shares[c] = shares[c] / total


def softmax_gradient(task: Int, scratch: Reals, y: Reals, dy: Reals, dx: Reals, m: Rows):
    """dx = y * (dy - mean), mean = sum of dy * y, row by row; what rounding took from the mean is subtracted too."""
    columns = m.columns
    for row in range(task * m.piece, min((task + 1) * m.piece, m.rows)):
        shares, gradients, out = at(y, row * columns), at(dy, row * columns), at(dx, row * columns)
        for c in lanes(columns):
            out[c] = gradients[c] * shares[c]
        mean = sum_of(out, columns, real(1))
        for c in lanes(columns):
            out[c] = shares[c] * (gradients[c] - mean)
        rest = sum_of(out, columns, real(1))
        for c in lanes(columns):
            out[c] = shares[c] * ((gradients[c] - mean) - rest)


BY_ROW, BY_VALUE = 1, 2


class RowWeights(Record):
    """What a row counts: factors[row] / divisor where `given` is BY_ROW, 1 / divisor where it is 0.

    Of costs that take every value by itself it may be BY_VALUE, and there is a factor for each value.
    """

    factors: Reals
    given: Int
    divisor: Real


class Targets(Record):
    """What is wanted: class numbers where `hard`, else shares of the classes; see `softmax_cross_entropy`."""

    classes: Ints
    shares: Reals
    hard: Int
    weights: Reals
    kept: Real
    smoothing: Real
    counts: RowWeights


class Wanted(Record):
    """What is wanted of one row: a class number, or shares."""

    label: Int
    shares: Reals
    hard: Int
    weights: Reals
    kept: Real
    spread: Real


@inline
def fill_targets(q, wanted, columns):
    """q = weight * (kept * target + spread)"""
    label, shares, weights, kept, spread = wanted.label, wanted.shares, wanted.weights, wanted.kept, wanted.spread
    if wanted.hard:
        for c in lanes(columns):
            q[c] = weights[c] * ((kept if c == label else real(0)) + spread)
    else:
        for c in lanes(columns):
            q[c] = weights[c] * (kept * shares[c] + spread)


@inline
def long_terms(gradients, scores, best, wanted, columns, term):
    """Set term[1] and term[2] of `softmax_cross_entropy`, and gradients to q, for many classes."""
    largest = scores[best]
    fill_targets(gradients, wanted, columns)
    term[2] = sum_of(gradients, columns, real(1))
    for c in lanes(columns):
        gradients[c] = gradients[c] * (scores[c] - largest) if gradients[c] != real(0) and c != best else real(0)
    term[1] = sum_of(gradients, columns, real(1))
    fill_targets(gradients, wanted, columns)


@inline
def short_terms(gradients, scores, best, wanted, columns, term):
    """The same for few classes, in one pass."""
    dot, share, largest = real(0), real(0), scores[best]
    for c in range(columns):
        if wanted.hard:
            target = wanted.kept if c == wanted.label else real(0)
        else:
            target = wanted.kept * wanted.shares[c]
        q = wanted.weights[c] * (target + wanted.spread)
        share += q
        gradients[c] = q
        dot += q * (scores[c] - largest) if q != real(0) and c != best else real(0)
    term[1], term[2] = dot, share


@inline
def nothing(gradients, columns, term):
    """Let a row that does not count cost nothing, whatever its scores are."""
    for c in lanes(columns):
        gradients[c] = real(0)
    term[0], term[1], term[2] = real(0), real(0), real(0)


def softmax_cross_entropy(
    task: Int,
    scratch: Reals,
    z: Reals,
    targets: Targets,
    y: Reals,
    dz: Reals,
    terms: Reals,
    m: Rows,
):
    """Set y = softmax(z), dz, and for each row terms = [others, dot, share]; a task is a piece of the rows.

    cost = sum of (share * log(1 + others) - dot) / divisor, where
    others = sum of exp(z - max) without the largest;  dot = factor * sum of q * (z - max);  share = factor * sum of q
    q = weight * (kept * target + smoothing / columns),   kept = 1 - smoothing
    Targets are class numbers where `hard`, else shares of the classes.
    """
    columns, hard, counts = m.columns, targets.hard, targets.counts
    for row in range(task * m.piece, min((task + 1) * m.piece, m.rows)):
        scores, gradients, term = at(z, row * columns), at(dz, row * columns), at(terms, row * 3)
        found, label, factor = at(y, row * columns), 0, real(1)
        if hard:
            label = targets.classes[row]
        if counts.given:
            factor = counts.factors[row]
        wanted = Wanted(
            label=label, shares=at(targets.shares, 0 if hard else row * columns), hard=hard, weights=targets.weights,
            kept=targets.kept, spread=targets.smoothing / real(columns),
        )  # fmt: skip
        best = largest_at(scores, columns)
        others = powers(scores, found, columns, best)
        term[0] = others
        if columns <= SIDE:
            short_terms(gradients, scores, best, wanted, columns, term)
        else:
            long_terms(gradients, scores, best, wanted, columns, term)
        share, total = term[2], real(1) + others
        q = gradients[best]
        for c in lanes(columns):
            probability = found[c] / total
            gradients[c] = factor * (probability * share - gradients[c]) / counts.divisor
            found[c] = probability
        # A probability near 1 would lose its digits here: what it lacks is the share of all others.
        gradients[best] = factor * (found[best] * (share - q) - q * (others / total)) / counts.divisor
        if factor == real(0):
            nothing(gradients, columns, term)
        else:
            term[1], term[2] = factor * term[1], factor * share
