"""SoftMax and cross-entropy in one pass over the scores."""

from gedanken.engine.cpu.kernels.rows import exponential
from gedanken.engine.cpu.language import Int, Ints, Real, Reals, at, helper, lanes, real


@helper
def largest_of(x, count):
    """Return the largest of some numbers; a NaN counts as larger than all."""
    largest = x[0]
    for i in range(1, count):
        larger = x[i] > largest or x[i] != x[i]
        largest = x[i] if larger else largest
    return largest


@helper
def powers(x, y, count, largest):
    """y = exp(x - largest); return their sum."""
    for i in lanes(count):
        y[i] = exponential(x[i] - largest)
    total = real(0)
    for i in range(count):
        total += y[i]
    return total


def softmax(task: Int, scratch: Reals, x: Reals, y: Reals, rows: Int, columns: Int, piece: Int):
    """Turn each row of scores into shares; a task is a piece of the rows."""
    for row in range(task * piece, min((task + 1) * piece, rows)):
        shares = at(y, row * columns)
        scores = at(x, row * columns)
        total = powers(scores, shares, columns, largest_of(scores, columns))
        for c in lanes(columns):
            shares[c] = shares[c] / total


def softmax_slopes(task: Int, scratch: Reals, y: Reals, dy: Reals, dx: Reals, rows: Int, columns: Int, piece: Int):
    """dx = y * (dy - sum of dy * y), row by row."""
    for row in range(task * piece, min((task + 1) * piece, rows)):
        shares, slopes, out = at(y, row * columns), at(dy, row * columns), at(dx, row * columns)
        mean = real(0)
        for c in range(columns):
            mean += slopes[c] * shares[c]
        for c in lanes(columns):
            out[c] = shares[c] * (slopes[c] - mean)


def softmax_cross_entropy(
    task: Int,
    scratch: Reals,
    z: Reals,
    classes: Ints,
    shares: Reals,
    hard: Int,
    weights: Reals,
    smoothing: Real,
    y: Reals,
    dz: Reals,
    terms: Reals,
    rows: Int,
    columns: Int,
    piece: Int,
):
    """Set y = softmax(z), dz, and for each row terms = [total, dot, share]; a task is a piece of the rows.

    cost = (sum of share * log(total) - dot) / rows, where
    total = sum of exp(z - max);  dot = sum of q * (z - max);  share = sum of q;  q = weight * (smoothed target).
    Targets are class numbers where `hard`, else shares of the classes.
    """
    spread = smoothing / real(columns)
    for row in range(task * piece, min((task + 1) * piece, rows)):
        scores, slopes, term = at(z, row * columns), at(dz, row * columns), at(terms, row * 3)
        given, found = at(shares, row * columns), at(y, row * columns)
        largest = largest_of(scores, columns)
        total, dot, share = powers(scores, found, columns, largest), real(0), real(0)
        for c in range(columns):
            if hard:
                target = real(1) if classes[row] == c else real(0)
            else:
                target = given[c]
            q = weights[c] * ((real(1) - smoothing) * target + spread)
            dot += q * (scores[c] - largest)
            share += q
            slopes[c] = q
        term[0], term[1], term[2] = total, dot, share
        for c in lanes(columns):
            found[c] = found[c] / total
            slopes[c] = (found[c] * share - slopes[c]) / real(rows)
