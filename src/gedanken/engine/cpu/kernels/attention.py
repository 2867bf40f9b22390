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


class Heads(Record):
    """What a task, one head of one sample, works on.

    Queries, keys and values of all heads stand beside each other, (samples, places, 3 * heads * size).
    """

    places: Int
    heads: Int
    size: Int
    causal: Int
    rows: Int  # of queries at a time
    wide: Int  # places, in whole vectors
    deep: Int  # size, in whole vectors
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
    """Return how many places the query of a row sees."""
    return min(length, row + 1) if h.causal == 1 else length


def forward(task: Int, scratch: Reals, thirds: Reals, y: Reals, sums: Reals, lengths: Ints, h: Heads):
    """Set y, (samples, places, heads * size), to what the head finds; sums to largest and 1 / sum of each row.

    scratch: size * wide + places * deep + rows * (wide + deep) numbers.
    """
    sample, head = task // h.heads, task % h.heads
    features, length = h.heads * h.size, lengths[sample]
    given = at(thirds, sample * h.places * 3 * features + head * h.size)
    keys, values = scratch, at(scratch, h.size * h.wide)
    scores = at(values, h.places * h.deep)
    found = at(scores, h.rows * h.wide)
    transposed(at(given, features), keys, length, h.size, 3 * features, h.wide)
    copy_rows(values, at(given, 2 * features), length, h.size, h.deep, 3 * features)
    for first in range(0, h.places, h.rows):
        some = min(h.rows, h.places - first)
        here = min(some, max(0, length - first))
        seen = seen_by(h, first + here - 1, length) if here > 0 else 0
        multiply(Factors(
            a=at(given, first * 3 * features), a_row=3 * features, a_step=1, b=keys, b_row=h.wide, c=scores,
            c_row=h.wide, rows=here, columns=seen, depth=h.size, new=1, zero_offset=h.zero_offset,
        ))  # fmt: skip
        for i in range(here):
            row, count = at(scores, i * h.wide), seen_by(h, first + i, length)
            largest = largest_of(row, count)
            fill_powers(row, count, seen, largest, h.scale)
            place = 2 * (task * h.places + first + i)
            sums[place] = largest
            sums[place + 1] = real(1) / sum_of(row, count, real(1))
        multiply(Factors(
            a=scores, a_row=h.wide, a_step=1, b=values, b_row=h.deep, c=found, c_row=h.deep, rows=here,
            columns=h.size, depth=seen, new=1, zero_offset=h.zero_offset,
        ))  # fmt: skip
        for i in range(some):
            out = at(y, (sample * h.places + first + i) * features + head * h.size)
            if i < here:
                scale_row(out, at(found, i * h.deep), sums[2 * (task * h.places + first + i) + 1], h.size)
            else:
                zero_row(out, h.size)


@noinline
def scale_row(target, source, factor, count):
    for i in lanes(count):
        target[i] = source[i] * factor


class Slopes(Record):
    """What the backward pass is given and gives."""

    thirds: Reals
    y: Reals
    dy: Reals
    sums: Reals
    d: Reals  # like thirds


class Space(Record):
    """Scratch memory of the backward pass."""

    turned_keys: Reals  # (size, wide)
    turned_values: Reals
    keys: Reals  # (places, deep)
    dkeys: Reals
    dvalues: Reals
    shares: Reals  # (rows, wide)
    dshares: Reals
    queries: Reals  # (rows, deep)
    dfound: Reals
    dqueries: Reals


def gradient(task: Int, scratch: Reals, s: Slopes, lengths: Ints, h: Heads):
    """Set s.d, the gradient with respect to queries, keys and values.

    scratch: 2 * size * wide + 3 * places * deep + rows * (2 * wide + 3 * deep) numbers.
    """
    sample, head = task // h.heads, task % h.heads
    features, length = h.heads * h.size, lengths[sample]
    start = sample * h.places * 3 * features + head * h.size
    given, made = at(s.thirds, start), at(s.d, start)
    turned, long, short = h.size * h.wide, h.places * h.deep, h.rows * h.deep
    keys, rows = at(scratch, 2 * turned), at(scratch, 2 * turned + 3 * long)
    narrow = at(rows, 2 * h.rows * h.wide)
    space = Space(
        turned_keys=scratch, turned_values=at(scratch, turned), keys=keys, dkeys=at(keys, long),
        dvalues=at(keys, 2 * long), shares=rows, dshares=at(rows, h.rows * h.wide), queries=narrow,
        dfound=at(narrow, short), dqueries=at(narrow, 2 * short),
    )  # fmt: skip
    transposed(at(given, features), space.turned_keys, length, h.size, 3 * features, h.wide)
    transposed(at(given, 2 * features), space.turned_values, length, h.size, 3 * features, h.wide)
    copy_rows(space.keys, at(given, features), length, h.size, h.deep, 3 * features)
    zero_row(space.dkeys, 2 * long)
    for first in range(0, length, h.rows):
        some = min(h.rows, length - first)
        seen = seen_by(h, first + some - 1, length)
        place = (sample * h.places + first) * features + head * h.size
        copy_rows(space.queries, at(given, first * 3 * features), some, h.size, h.deep, 3 * features)
        copy_rows(space.dfound, at(s.dy, place), some, h.size, h.deep, features)
        scores_again(space, some, seen, h)
        for i in range(some):
            sums = at(s.sums, 2 * (task * h.places + first + i))
            row_slopes(space, i, at(s.y, place + i * features), sums, seen, seen_by(h, first + i, length), h)
        pass_on(space, some, seen, h)
        copy_rows(at(made, first * 3 * features), space.dqueries, some, h.size, 3 * features, h.deep)
    copy_rows(at(made, features), space.dkeys, h.places, h.size, 3 * features, h.deep)
    copy_rows(at(made, 2 * features), space.dvalues, h.places, h.size, 3 * features, h.deep)
    for t in range(length, h.places):
        zero_row(at(made, t * 3 * features), h.size)


@inline
def scores_again(space, some, seen, h):
    """Make the scores of some queries, and how much what they found should have had of each value."""
    multiply(Factors(
        a=space.queries, a_row=h.deep, a_step=1, b=space.turned_keys, b_row=h.wide, c=space.shares, c_row=h.wide,
        rows=some, columns=seen, depth=h.size, new=1, zero_offset=h.zero_offset,
    ))  # fmt: skip
    multiply(Factors(
        a=space.dfound, a_row=h.deep, a_step=1, b=space.turned_values, b_row=h.wide, c=space.dshares, c_row=h.wide,
        rows=some, columns=seen, depth=h.size, new=1, zero_offset=h.zero_offset,
    ))  # fmt: skip


@inline
def row_slopes(space, i, found, sums, seen, count, h):
    """Make shares of a query's scores, and of the slopes of shares those of scores."""
    row, d = at(space.shares, i * h.wide), at(space.dshares, i * h.wide)
    mean = products_of(found, at(space.dfound, i * h.deep), space.dqueries, h.size)
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
        a=space.shares, a_row=1, a_step=h.wide, b=space.dfound, b_row=h.deep, c=space.dvalues, c_row=h.deep, rows=seen,
        columns=h.size, depth=some, new=0, zero_offset=h.zero_offset,
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
