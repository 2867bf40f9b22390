"""Attention of one head of one sample, some rows of queries at a time: no matrix of all scores is kept.

The backward pass makes the scores again, from their largest and the sum of their powers.
"""

from gedanken.engine.cpu.kernels.blocks import (
    SIDE,
    copy_row,
    rows_of_tile,
    sum_of,
    tiles_in,
    transposed,
    zero_row,
)
from gedanken.engine.cpu.kernels.dense import DEPTH
from gedanken.engine.cpu.kernels.rows import exponential
from gedanken.engine.cpu.language import (
    Int,
    Ints,
    Real,
    Reals,
    Record,
    Tile,
    at,
    gemm_tile,
    inline,
    lanes,
    local_reals,
    noinline,
    real,
    tile_columns,
)


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
    query_lengths: Ints
    key_lengths: Ints


class Heads(Record):
    """What a task, one head of one sample, works on."""

    queries: Int  # places
    keys: Int
    heads: Int
    size: Int  # of a head's query or key
    width: Int  # of a head's value
    causal: Int
    rows: Int  # of queries at a time
    wide: Int  # keys, in whole vectors
    deep: Int  # size, in whole vectors
    broad: Int  # width, in whole vectors
    scale: Real
    zero_offset: Ints


class Factors(Record):
    """C = A B, or C += A B where not `new`; `*_row` are numbers between rows, `a_step` between a row's numbers of A.

    Rows of B are read in whole vectors; what lies between rows of C is free.
    """

    a: Reals
    a_row: Int
    a_step: Int
    b: Reals
    b_row: Int
    c: Reals
    c_row: Int
    rows: Int
    columns: Int
    depth: Int
    new: Int
    zero_offset: Ints


@noinline
def multiply(f: Factors):
    zeros = local_reals(tile_columns)
    zero_row(zeros, tile_columns)
    for begin in range(0, f.depth, DEPTH):
        depth = min(DEPTH, f.depth - begin)
        for first in range(0, f.columns, tile_columns):
            count = min(tile_columns, f.columns - first)
            parts = tiles_in(f.rows, rows_of_tile(count))
            for part in range(parts):
                row, last = part * f.rows // parts, (part + 1) * f.rows // parts
                place, starts = at(f.c, row * f.c_row + first), f.new == 1 and begin == 0
                tile = Tile(
                    a=at(f.a, row * f.a_row + begin * f.a_step), offsets=f.zero_offset,
                    b=at(f.b, begin * f.b_row + first), i=zeros if starts else place, c=place, sm=f.a_row, sk=f.a_step,
                    taps=1, depth=depth, ldb=f.b_row, sb=0, ldi=0 if starts else f.c_row, ldc=f.c_row, free=0,
                )  # fmt: skip
                gemm_tile(last - row, count, tile)


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
def fill_powers(x, count, all_of, largest, scale):
    """x = exp(scale * (x - largest)) for the first numbers, 0 for the others."""
    for i in lanes(count):
        x[i] = exponential((x[i] - largest) * scale)
    zero_row(at(x, count), all_of - count)


@noinline
def copy_rows(target, source, rows, columns, target_row, source_row):
    for i in range(rows):
        copy_row(at(target, i * target_row), at(source, i * source_row), columns)


@inline
def seen_by(h, row, length):
    """Return how many keys the query of a row sees."""
    return min(length, row + 1) if h.causal == 1 else length


@inline
def rows_of(p, sample, places, column):
    """Return where a sample's rows begin, at a column."""
    return at(p.numbers, p.start + sample * places * p.row + column)


def forward(task: Int, scratch: Reals, given: Given, found: Reals, sums: Reals, h: Heads):
    """Set found, (samples, queries, heads * width), and sums to largest and 1 / sum of each row.

    scratch: size * wide + keys * broad + rows * (wide + broad) numbers.
    """
    sample, head = task // h.heads, task % h.heads
    features, length, end = h.heads * h.width, given.key_lengths[sample], given.query_lengths[sample]
    queries = rows_of(given.q, sample, h.queries, head * h.size)
    keys, values = scratch, at(scratch, h.size * h.wide)
    scores = at(values, h.keys * h.broad)
    some_found = at(scores, h.rows * h.wide)
    transposed(rows_of(given.k, sample, h.keys, head * h.size), keys, length, h.size, given.k.row, h.wide)
    copy_rows(values, rows_of(given.v, sample, h.keys, head * h.width), length, h.width, h.broad, given.v.row)
    for first in range(0, h.queries, h.rows):
        some = min(h.rows, h.queries - first)
        here = min(some, max(0, end - first))
        seen = seen_by(h, first + here - 1, length) if here > 0 else 0
        multiply(Factors(
            a=at(queries, first * given.q.row), a_row=given.q.row, a_step=1, b=keys, b_row=h.wide, c=scores,
            c_row=h.wide, rows=here, columns=seen, depth=h.size, new=1, zero_offset=h.zero_offset,
        ))  # fmt: skip
        for i in range(here):
            place = 2 * (task * h.queries + first + i)
            shares_of(at(scores, i * h.wide), at(sums, place), seen_by(h, first + i, length), seen, h)
        multiply(Factors(
            a=scores, a_row=h.wide, a_step=1, b=values, b_row=h.broad, c=some_found, c_row=h.broad, rows=here,
            columns=h.width, depth=seen, new=1, zero_offset=h.zero_offset,
        ))  # fmt: skip
        out = at(found, (sample * h.queries + first) * features + head * h.width)
        for i in range(here):
            factor = sums[2 * (task * h.queries + first + i) + 1]
            scale_row(at(out, i * features), at(some_found, i * h.broad), factor, h.width)
        for i in range(here, some):
            zero_row(at(out, i * features), h.width)


@inline
def shares_of(row, sums, count, seen, h):
    """Make shares, but for the factor 1 / sum, of a query's scores; what it does not see has none."""
    largest = largest_of(row, count)
    fill_powers(row, count, seen, largest, h.scale)
    sums[0] = largest
    sums[1] = real(1) / sum_of(row, count, real(1))


@noinline
def scale_row(target, source, factor, count):
    for i in lanes(count):
        target[i] = source[i] * factor


class Slopes(Record):
    """What the backward pass is given and gives."""

    found: Reals
    dfound: Reals
    sums: Reals
    dq: Places
    dk: Places
    dv: Places


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
    products: Reals


def gradient(task: Int, scratch: Reals, given: Given, s: Slopes, h: Heads):
    """Set the gradients with respect to queries, keys and values.

    scratch: (size + width) * wide + keys * (2 * deep + broad) + 2 * rows * (wide + deep + broad) numbers.
    """
    turned_values = at(scratch, h.size * h.wide)
    keys = at(turned_values, h.width * h.wide)
    dkeys = at(keys, h.keys * h.deep)
    dvalues = at(dkeys, h.keys * h.deep)
    shares = at(dvalues, h.keys * h.broad)
    dshares = at(shares, h.rows * h.wide)
    queries = at(dshares, h.rows * h.wide)
    dqueries = at(queries, h.rows * h.deep)
    dfound = at(dqueries, h.rows * h.deep)
    space = Space(
        turned_keys=scratch, turned_values=turned_values, keys=keys, dkeys=dkeys, dvalues=dvalues, shares=shares,
        dshares=dshares, queries=queries, dqueries=dqueries, dfound=dfound, products=at(dfound, h.rows * h.broad),
    )  # fmt: skip
    sample, head = task // h.heads, task % h.heads
    length = given.key_lengths[sample]
    fill_keys(space, given, sample, head, length, h)
    gradient_of_queries(space, given, s, task, length, h)
    dkeys = rows_of(s.dk, sample, h.keys, head * h.size)
    dvalues = rows_of(s.dv, sample, h.keys, head * h.width)
    copy_rows(dkeys, space.dkeys, h.keys, h.size, s.dk.row, h.deep)
    copy_rows(dvalues, space.dvalues, h.keys, h.width, s.dv.row, h.broad)


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
        copy_rows(space.queries, at(queries, first * given.q.row), some, h.size, h.deep, given.q.row)
        copy_rows(space.dfound, at(s.dfound, place), some, h.width, h.broad, features)
        scores_again(space, some, seen, h)
        for i in range(some):
            sums = at(s.sums, 2 * (task * h.queries + first + i))
            row_slopes(space, i, at(s.found, place + i * features), sums, seen, seen_by(h, first + i, length), h)
        pass_on(space, some, seen, h)
        copy_rows(at(dqueries, first * s.dq.row), space.dqueries, some, h.size, s.dq.row, h.deep)
    for t in range(end, h.queries):
        zero_row(at(dqueries, t * s.dq.row), h.size)


@inline
def fill_keys(space, given, sample, head, length, h):
    """Copy keys and values as the products need them, and begin their gradients."""
    keys = rows_of(given.k, sample, h.keys, head * h.size)
    values = rows_of(given.v, sample, h.keys, head * h.width)
    transposed(keys, space.turned_keys, length, h.size, given.k.row, h.wide)
    transposed(values, space.turned_values, length, h.width, given.v.row, h.wide)
    copy_rows(space.keys, keys, length, h.size, h.deep, given.k.row)
    zero_row(space.dkeys, h.keys * (h.deep + h.broad))


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
def row_slopes(space, i, found, sums, seen, count, h):
    """Make shares of a query's scores, and of the slopes of shares those of scores."""
    row, d = at(space.shares, i * h.wide), at(space.dshares, i * h.wide)
    mean = products_of(found, at(space.dfound, i * h.broad), space.products, h.width)
    slopes(d, row, sums, mean, h.scale, count)
    zero_row(at(row, count), seen - count)
    zero_row(at(d, count), seen - count)


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


@noinline
def products_of(x, y, space, count):
    """Return the sum of x * y."""
    for i in lanes(count):
        space[i] = x[i] * y[i]
    return sum_of(space, count, real(1))


@noinline
def slopes(d, shares, sums, mean, scale, count):
    """shares = exp(scale * (shares - largest)) / sum, then d = shares * (d - mean) * scale; see `forward` for sums."""
    largest, factor = sums[0], sums[1]
    for i in lanes(count):
        share = exponential((shares[i] - largest) * scale) * factor
        shares[i] = share
        d[i] = share * (d[i] - mean) * scale
