"""A query's row of scores, and what becomes of it: its shares of the keys, and back."""

from gedanken.engine.cpu.kernels.blocks import SIDE, add_scaled, fill_row, sum_of, vectors_of, zero_row
from gedanken.engine.cpu.kernels.functions import exponential
from gedanken.engine.cpu.kernels.rows import Draw, keep_row
from gedanken.engine.cpu.language import (
    Int,
    Ints,
    Real,
    Reals,
    Record,
    at,
    inline,
    lanes,
    local_reals,
    noinline,
    real,
    transpose,
    vector_lanes,
)


class Heads(Record):
    """What a task, one head of one sample, works on.

    `more` keys that all queries see stand before the others; the first of them is learned, if any is, one is 0.
    """

    queries: Int  # places
    keys: Int
    more: Int
    learned: Int
    heads: Int
    size: Int  # of a head's query or key
    width: Int  # of a head's value
    causal: Int
    masked: Int
    tables: Int  # numbers between a head's mask and the next one's
    dropped: Int  # whether shares are dropped
    draw: Draw
    drawn_queries: Int  # those that shares are drawn for, where sequences are cut more than there are
    drawn_keys: Int
    kept: Real  # by how much a share that is kept is multiplied
    rows: Int  # of queries at a time
    wide: Int  # all keys, in whole vectors
    deep: Int  # size, in whole vectors
    broad: Int  # width, in whole vectors
    scale: Real
    zero_offset: Ints


class Row(Record):
    """One query's row: how many keys it sees, and those that the queries beside it see."""

    sample: Int
    head: Int
    query: Int
    count: Int
    seen: Int
    mask: Reals
    sums: Reals  # largest score, 1 / sum of powers
    kept: Reals  # room for 2 * wide + 64 numbers


@inline
def is_finite(x):
    return x - x == real(0)


@noinline
def largest_of(x, count):
    """Return the largest of some numbers; of a NaN among them their powers tell."""
    best = local_reals(SIDE)
    for i in lanes(SIDE):
        best[i] = x[0]
    whole_part = count - count % SIDE
    for k in range(0, whole_part, SIDE):
        here = at(x, k)
        for i in lanes(SIDE):
            best[i] = max(best[i], here[i])
    rest = at(x, whole_part)
    for i in lanes(count - whole_part):
        best[i] = max(best[i], rest[i])
    half = SIDE // 2
    while half > 0:
        for i in lanes(half):
            best[i] = max(best[i], best[i + half])
        half = half // 2
    return best[0]


@noinline
def first_like(x, count, value):
    """Return where the first of some numbers stands that is the same as `value`, -1 where none is."""
    for i in range(count):
        if x[i] == value:
            return i
    return -1


@noinline
def fill_powers(x, count, largest):
    """x = exp(x - largest), in whole vectors."""
    for i in lanes(vectors_of(count)):
        x[i] = exponential(x[i] - largest)


@inline
def masked_row(row, r, h):
    """Add its mask to a row of scores; return 0 where no key is seen, else 1."""
    mask = at(r.mask, r.head * h.tables + r.query * h.keys)
    add_scaled(at(row, h.more), mask, r.count - h.more, real(1))
    # A mask is finite or -inf.
    return 1 if h.more > 0 or is_finite(largest_of(mask, r.count - h.more)) else 0


@inline
def keep_shares(r, h):
    """Draw which shares of a row are kept."""
    start = (r.head * h.drawn_queries + r.query) * h.drawn_keys
    keep_row(r.kept, at(r.kept, h.wide), r.sample, start, r.count, h.draw)


@inline
def shares_of(row, r, h):
    """Make shares, but for the factor 1 / sum, of a query's scores; what it does not see has none."""
    some = masked_row(row, r, h) if h.masked == 1 else 1
    if some == 1:
        largest = largest_of(row, r.count)
        best = -1 if is_finite(largest) else first_like(row, r.count, largest)
        fill_powers(row, r.count, largest)
        if best >= 0:
            row[best] = real(1)
        r.sums[0] = largest
        r.sums[1] = real(1) / sum_of(row, r.count, real(1))
        if h.dropped == 1:
            keep_shares(r, h)
            drop(row, r.kept, r.count, h.kept)
    else:
        zero_row(row, r.count)
        r.sums[0] = real(0)
        r.sums[1] = real(0)
    zero_row(at(row, r.count), r.seen - r.count)


@noinline
def drop(row, kept, count, factor):
    for i in lanes(count):
        row[i] = row[i] * (kept[i] * factor)


@noinline
def scaled_products(target, source, found, sums, factor, count):
    """target = source * factor, and sums = those of its products with found, of numbers vector_lanes apart."""
    zero_row(sums, vector_lanes)
    for begin in range(0, count, vector_lanes):
        to, x, y = at(target, begin), at(source, begin), at(found, begin)
        for i in lanes(min(vector_lanes, count - begin)):
            value = x[i] * factor
            to[i] = value
            sums[i] += value * y[i]


@noinline
def fill_means(means, sums, square, rows):
    """Set each row's mean to the sum of its vector_lanes sums; square: room for as many of such rows."""
    for begin in range(0, rows, vector_lanes):
        transpose(at(sums, begin * vector_lanes), vector_lanes, square, vector_lanes)
        some = at(means, begin)
        zero_row(some, vector_lanes)
        for k in range(vector_lanes):
            row = at(square, k * vector_lanes)
            for i in lanes(vector_lanes):
                some[i] += row[i]


@inline
def slopes_of(row, d, mean, r, h):
    """Make powers of a query's scores once more, and of the slopes of what is taken of values those of scores.

    Slopes and mean have the factor 1 / sum already.
    """
    if h.masked == 1:
        masked_row(row, r, h)
    largest = r.sums[0]
    best = -1 if is_finite(largest) else first_like(row, r.count, largest)
    if h.dropped == 1 or best >= 0:
        fill_powers(row, r.count, largest)
        if best >= 0:
            row[best] = real(1)
        if h.dropped == 1:
            keep_shares(r, h)
        else:
            fill_row(r.kept, r.count, real(1))
        slopes_of_kept(d, row, r.kept, mean, h.kept, r.count)
    else:
        slopes(d, row, largest, mean, r.count)
    zero_row(at(row, r.count), r.seen - r.count)
    zero_row(at(d, r.count), r.seen - r.count)


@noinline
def slopes(d, scores, largest, mean, count):
    """scores = exp(scores - largest), then d = scores * (d - mean), in whole vectors."""
    for i in lanes(vectors_of(count)):
        power = exponential(scores[i] - largest)
        scores[i] = power
        d[i] = power * (d[i] - mean)


@noinline
def slopes_of_kept(d, powers, kept, mean, factor, count):
    """As `slopes`, where powers are made and some shares dropped."""
    for i in lanes(count):
        power, drawn = powers[i], kept[i] * factor
        powers[i] = power * drawn
        d[i] = power * (d[i] * drawn - mean)
