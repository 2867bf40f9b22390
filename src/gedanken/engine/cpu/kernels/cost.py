"""SoftMax and cross-entropy in one pass over the scores."""

from gedanken.engine.cpu.kernels.rows import exponential_less_1
from gedanken.engine.cpu.language import Int, Ints, Real, Reals, at, lanes, real


def softmax_cross_entropy(
    task: Int,
    scratch: Reals,
    z: Reals,
    classes: Ints,
    shares: Reals,
    hard: Int,
    weights: Reals,
    smoothing: Real,
    dz: Reals,
    terms: Reals,
    rows: Int,
    columns: Int,
):
    """Set dz, and for each row terms = [total, dot, share] with cost = (sum of share * log(total) - dot) / rows.

    total = sum of exp(z - max);  dot = sum of q * (z - max);  share = sum of q;  q = weight * (smoothed target).
    Targets are class numbers where `hard`, else shares of the classes.
    """
    spread = smoothing / real(columns)
    for row in range(rows):
        scores, slopes, term = at(z, row * columns), at(dz, row * columns), at(terms, row * 3)
        given = at(shares, row * columns)
        largest = scores[0]
        for c in range(1, columns):
            larger = scores[c] > largest or scores[c] != scores[c]
            largest = scores[c] if larger else largest
        for c in lanes(columns):
            slopes[c] = real(1) + exponential_less_1(scores[c] - largest)
        total, dot, share = real(0), real(0), real(0)
        for c in range(columns):
            total += slopes[c]
        for c in range(columns):
            if hard:
                target = real(1) if classes[row] == c else real(0)
            else:
                target = given[c]
            q = weights[c] * ((real(1) - smoothing) * target + spread)
            dot += q * (scores[c] - largest)
            share += q
        term[0], term[1], term[2] = total, dot, share
        for c in range(columns):
            if hard:
                target = real(1) if classes[row] == c else real(0)
            else:
                target = given[c]
            q = weights[c] * ((real(1) - smoothing) * target + spread)
            slopes[c] = (slopes[c] / total * share - q) / real(rows)
