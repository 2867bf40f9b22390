"""Attention of one head of one sample, some rows of queries at a time: no matrix of all scores is kept.

The backward pass makes the scores again, from their largest and the sum of their powers.
"""

from gedanken.engine.cpu.kernels.blocks import copy_row, copy_rows, scale_row, transposed, vectors_of, zero_row
from gedanken.engine.cpu.kernels.shares import Heads, Row, fill_means, scaled_products, shares_of, slopes_of
from gedanken.engine.cpu.kernels.tiled import Factors, multiply, not_finite, scale_rows
from gedanken.engine.cpu.language import Int, Ints, Reals, Record, at, inline, real, vector_lanes


class Places(Record):
    """Rows of numbers of all heads beside each other, for all places of all samples; rows are `row` apart."""

    numbers: Reals
    start: Int
    row: Int


class Given(Record):
    """What is attended with and to, and how many places of each sample are real."""

    q: Places
    k: Places
    v: Places
    learned_key: Reals
    learned_value: Reals
    mask: Reals
    query_lengths: Ints
    key_lengths: Ints


@inline
def seen_by(h, row, length):
    """Return behind which key the query of a row sees none."""
    return h.more + (min(length, row + 1) if h.causal == 1 else length)


@inline
def rows_of(p, sample, places, column):
    """Return where a sample's rows begin, at a column."""
    return at(p.numbers, p.start + sample * places * p.row + column)


@inline
def turn(target, p, learned, columns, sample, length, h):
    """Set the rows of target to the columns of a head's keys or values; columns are the head's number and size."""
    size, first = columns.size, columns.head * columns.size
    for j in range(size):
        for i in range(h.more):
            target[j * h.wide + i] = learned[first + j] if i < h.learned else real(0)
    transposed(rows_of(p, sample, h.keys, first), at(target, h.more), length, size, p.row, h.wide)


@inline
def copy_keys(target, p, learned, columns, sample, length, h):
    """Copy a head's keys or values, those that all see before the others."""
    size, row, first = columns.size, columns.row, columns.head * columns.size
    for i in range(h.more):
        if i < h.learned:
            copy_row(at(target, i * row), at(learned, first), size)
        else:
            zero_row(at(target, i * row), size)
    copy_rows(at(target, h.more * row), rows_of(p, sample, h.keys, first), length, size, row, p.row)


class Columns(Record):
    """Those of one head's numbers, and how far apart rows of them are in scratch memory."""

    head: Int
    size: Int
    row: Int


def forward(task: Int, scratch: Reals, given: Given, found: Reals, sums: Reals, h: Heads):
    """Set found, (samples, queries, heads * width), and sums to largest and 1 / sum of each row.

    scratch: size * wide + (more + keys) * broad + rows * (wide + broad + deep) + 2 * wide + 64 numbers.
    """
    sample, head = task // h.heads, task % h.heads
    features, length, end = h.heads * h.width, given.key_lengths[sample], given.query_lengths[sample]
    queries = rows_of(given.q, sample, h.queries, head * h.size)
    keys, values = scratch, at(scratch, h.size * h.wide)
    scores = at(values, (h.more + h.keys) * h.broad)
    some_found = at(scores, h.rows * h.wide)
    some_queries = at(some_found, h.rows * h.broad)
    kept = at(some_queries, h.rows * h.deep)
    turn(keys, given.k, given.learned_key, Columns(head=head, size=h.size, row=h.deep), sample, length, h)
    copy_keys(values, given.v, given.learned_value, Columns(head=head, size=h.width, row=h.broad), sample, length, h)
    for first in range(0, h.queries, h.rows):
        some = min(h.rows, h.queries - first)
        here = min(some, max(0, end - first))
        seen = seen_by(h, first + here - 1, length) if here > 0 else 0
        scale_rows(some_queries, at(queries, first * given.q.row), here, h.size, h.deep, given.q.row, h.scale)
        multiply(Factors(
            a=some_queries, a_row=h.deep, a_step=1, b=keys, b_row=h.wide, c=scores, c_row=h.wide, rows=here,
            columns=seen, depth=h.size, new=1, zero_offset=h.zero_offset,
        ))  # fmt: skip
        for i in range(here):
            shares_of(at(scores, i * h.wide), Row(
                sample=sample, head=head, query=first + i, count=seen_by(h, first + i, length), seen=seen,
                mask=given.mask, sums=at(sums, 2 * (task * h.queries + first + i)), kept=kept,
            ), h)  # fmt: skip
        multiply(Factors(
            a=scores, a_row=h.wide, a_step=1, b=values, b_row=h.broad, c=some_found, c_row=h.broad, rows=here,
            columns=h.width, depth=seen, new=1, zero_offset=h.zero_offset,
        ))  # fmt: skip
        out = at(found, (sample * h.queries + first) * features + head * h.width)
        if h.causal == 1 and not_finite(some_found, here, h.width, h.broad):
            find_one_by_one(some_found, scores, values, first, here, length, h)
        for i in range(here):
            factor = sums[2 * (task * h.queries + first + i) + 1]
            scale_row(at(out, i * features), at(some_found, i * h.broad), factor, h.width)
        for i in range(here, some):
            zero_row(at(out, i * features), h.width)


@inline
def find_one_by_one(found, scores, values, first, some, length, h):
    """Sum the values once more for each query alone: one that only queries behind it see may be no number."""
    for i in range(some):
        multiply(Factors(
            a=at(scores, i * h.wide), a_row=h.wide, a_step=1, b=values, b_row=h.broad, c=at(found, i * h.broad),
            c_row=h.broad, rows=1, columns=h.width, depth=seen_by(h, first + i, length), new=1,
            zero_offset=h.zero_offset,
        ))  # fmt: skip


class Slopes(Record):
    """What the backward pass is given and gives."""

    found: Reals
    dfound: Reals
    sums: Reals
    dq: Places
    dk: Places
    dv: Places
    dlearned_key: Reals  # (samples, heads * size)
    dlearned_value: Reals  # (samples, heads * width)


class Space(Record):
    """Scratch memory of the backward pass."""

    turned_keys: Reals  # (size, wide)
    turned_values: Reals  # (width, wide)
    keys: Reals  # (keys, deep)
    dkeys: Reals
    dvalues: Reals  # (keys, broad)
    shares: Reals  # (rows, wide)
    dshares: Reals
    queries: Reals  # (rows, deep)
    dqueries: Reals
    dfound: Reals  # (rows, broad)
    sums: Reals  # (rows, vector_lanes), in whole squares, and one more
    means: Reals  # rows, in whole vectors
    kept: Reals


def gradient(task: Int, scratch: Reals, given: Given, s: Slopes, h: Heads):
    """Set the gradients with respect to queries, keys and values.

    scratch: (size + width) * wide + all keys * (2 * deep + broad) + rows * (2 * wide + 2 * deep + broad) +
    (rows in whole vectors + vector_lanes) * (vector_lanes + 1) + 2 * wide + 64 numbers.
    """
    every = h.more + h.keys
    turned_values = at(scratch, h.size * h.wide)
    keys = at(turned_values, h.width * h.wide)
    dkeys = at(keys, every * h.deep)
    dvalues = at(dkeys, every * h.deep)
    shares = at(dvalues, every * h.broad)
    dshares = at(shares, h.rows * h.wide)
    queries = at(dshares, h.rows * h.wide)
    dqueries = at(queries, h.rows * h.deep)
    dfound = at(dqueries, h.rows * h.deep)
    sums = at(dfound, h.rows * h.broad)
    means = at(sums, (vectors_of(h.rows) + vector_lanes) * vector_lanes)
    space = Space(
        turned_keys=scratch, turned_values=turned_values, keys=keys, dkeys=dkeys, dvalues=dvalues, shares=shares,
        dshares=dshares, queries=queries, dqueries=dqueries, dfound=dfound, sums=sums, means=means,
        kept=at(means, vectors_of(h.rows)),
    )  # fmt: skip
    sample, head = task // h.heads, task % h.heads
    length = given.key_lengths[sample]
    fill_keys(space, given, sample, head, length, h)
    gradient_of_queries(space, given, s, task, length, h)
    if h.learned == 1:
        copy_row(at(s.dlearned_key, task * h.size), space.dkeys, h.size)
        copy_row(at(s.dlearned_value, task * h.width), space.dvalues, h.width)
    dk, dv = rows_of(s.dk, sample, h.keys, head * h.size), rows_of(s.dv, sample, h.keys, head * h.width)
    copy_rows(dk, at(space.dkeys, h.more * h.deep), h.keys, h.size, s.dk.row, h.deep)
    copy_rows(dv, at(space.dvalues, h.more * h.broad), h.keys, h.width, s.dv.row, h.broad)


@inline
def gradient_of_queries(space, given, s, task, length, h):
    """Set that with respect to queries, some at a time, and add up those with respect to keys and values."""
    sample, head = task // h.heads, task % h.heads
    features, end = h.heads * h.width, given.query_lengths[sample]
    queries = rows_of(given.q, sample, h.queries, head * h.size)
    dqueries = rows_of(s.dq, sample, h.queries, head * h.size)
    for first in range(0, end, h.rows):
        some = min(h.rows, end - first)
        seen = seen_by(h, first + some - 1, length)
        place = (sample * h.queries + first) * features + head * h.width
        scale_rows(space.queries, at(queries, first * given.q.row), some, h.size, h.deep, given.q.row, h.scale)
        fill_dfound(space, s, place, at(s.sums, 2 * (task * h.queries + first)), some, h)
        scores_again(space, some, seen, h)
        for i in range(some):
            slopes_of(at(space.shares, i * h.wide), at(space.dshares, i * h.wide), space.means[i], Row(
                sample=sample, head=head, query=first + i, count=seen_by(h, first + i, length), seen=seen,
                mask=given.mask, sums=at(s.sums, 2 * (task * h.queries + first + i)), kept=space.kept,
            ), h)  # fmt: skip
        pass_on(space, some, seen, h)
        scale_rows(at(dqueries, first * s.dq.row), space.dqueries, some, h.size, s.dq.row, h.deep, h.scale)
    for t in range(end, h.queries):
        zero_row(at(dqueries, t * s.dq.row), h.size)


@inline
def fill_dfound(space, s, place, sums, some, h):
    """Copy gradients of what queries found, times the factor of their shares, and make the means of their slopes."""
    features = h.heads * h.width
    for i in range(some):
        there, here = place + i * features, at(space.dfound, i * h.broad)
        at_row = at(space.sums, i * vector_lanes)
        scaled_products(here, at(s.dfound, there), at(s.found, there), at_row, sums[2 * i + 1], h.width)
    fill_means(space.means, space.sums, at(space.sums, vectors_of(some) * vector_lanes), some)


@inline
def fill_keys(space, given, sample, head, length, h):
    """Copy keys and values as the products need them, and begin their gradients."""
    keys, values = Columns(head=head, size=h.size, row=h.deep), Columns(head=head, size=h.width, row=h.broad)
    turn(space.turned_keys, given.k, given.learned_key, keys, sample, length, h)
    turn(space.turned_values, given.v, given.learned_value, values, sample, length, h)
    copy_keys(space.keys, given.k, given.learned_key, keys, sample, length, h)
    zero_row(space.dkeys, (h.more + h.keys) * (h.deep + h.broad))


@inline
def scores_again(space, some, seen, h):
    """Make the scores of some queries, and how much what they found should have had of each value."""
    multiply(Factors(
        a=space.queries, a_row=h.deep, a_step=1, b=space.turned_keys, b_row=h.wide, c=space.shares, c_row=h.wide,
        rows=some, columns=seen, depth=h.size, new=1, zero_offset=h.zero_offset,
    ))  # fmt: skip
    multiply(Factors(
        a=space.dfound, a_row=h.broad, a_step=1, b=space.turned_values, b_row=h.wide, c=space.dshares, c_row=h.wide,
        rows=some, columns=seen, depth=h.width, new=1, zero_offset=h.zero_offset,
    ))  # fmt: skip


@inline
def pass_on(space, some, seen, h):
    """Set the gradient of some queries, and add theirs to those of keys and values."""
    multiply(Factors(
        a=space.dshares, a_row=h.wide, a_step=1, b=space.keys, b_row=h.deep, c=space.dqueries, c_row=h.deep, rows=some,
        columns=h.size, depth=seen, new=1, zero_offset=h.zero_offset,
    ))  # fmt: skip
    multiply(Factors(
        a=space.dshares, a_row=1, a_step=h.wide, b=space.queries, b_row=h.deep, c=space.dkeys, c_row=h.deep, rows=seen,
        columns=h.size, depth=some, new=0, zero_offset=h.zero_offset,
    ))  # fmt: skip
    multiply(Factors(
        a=space.shares, a_row=1, a_step=h.wide, b=space.dfound, b_row=h.broad, c=space.dvalues, c_row=h.broad,
        rows=seen, columns=h.width, depth=some, new=0, zero_offset=h.zero_offset,
    ))  # fmt: skip
