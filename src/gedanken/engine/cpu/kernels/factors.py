"""A matrix as the product of two thin ones, learnt entry by entry."""

from gedanken.engine.cpu.kernels.runs import (
    ATOMIC,
    Results,
    Run,
    begin,
    free_row,
    give_back,
    slope_of,
    subtract,
    take,
    take_row,
)
from gedanken.engine.cpu.language import (
    Int,
    Ints,
    Real,
    Reals,
    Record,
    at,
    exchange,
    inline,
    lanes,
    prefetch,
    real,
    times,
)

TOGETHER = 256  # entries between two meetings of the offset
AHEAD = 4  # entries whose vectors are fetched ahead


class Factors(Record):
    """The vectors, `rank` numbers each, and where `biased` the biases; `n_rows` of them are of rows."""

    rows: Reals
    columns: Reals
    row_bias: Reals
    column_bias: Reals
    offset: Reals
    rank: Int
    biased: Int
    l2: Real
    n_rows: Int


def learn(task: Int, scratch: Reals, pairs: Ints, targets: Reals, f: Factors, run: Run, told: Results):
    """Learn by SGD from one entry after the other; end before one whose score is not finite.

    The offset, which every entry changes, is this worker's own for TOGETHER entries; else workers would wait for it.
    """
    done = 0
    told.done[1] = 0
    before = f.offset[0]
    offset = before
    while done < run.rows:
        if done % TOGETHER == 0:
            offset = met(f.offset, before, offset)
            before = offset
        if done + AHEAD < run.rows:
            prefetch(f.rows, pairs[2 * (done + AHEAD)] * f.rank)
            prefetch(f.columns, pairs[2 * (done + AHEAD) + 1] * f.rank)
        i, j = pairs[2 * done], pairs[2 * done + 1]
        ticket = begin(run)
        score = entry(f, i, j, offset)
        told.scores[done] = score
        sound = score - score == real(0)
        slope = slope_of(score, targets[done], run)
        take(run, ticket)
        if sound:
            take_row(run, i)
            take_row(run, f.n_rows + j)
            change(f, i, j, slope, told.rates[done], run, told)
            free_row(run, f.n_rows + j)
            free_row(run, i)
            if f.biased:
                offset -= times(told.rates[done], slope)
        give_back(run)
        if not sound:
            break
        done += 1
    met(f.offset, before, offset)
    told.done[0] = done


@inline
def met(shared, before, mine):
    """Add to a number that all share what a copy has gained since `before`; return what it is then."""
    seen = shared[0]
    now = mine if seen == before else seen + (mine - before)
    while exchange(shared, 0, seen, now) == 0:
        seen = shared[0]
        now = mine if seen == before else seen + (mine - before)
    return now


@inline
def entry(f, i, j, offset):
    """Return an entry of the product."""
    u, v = at(f.rows, i * f.rank), at(f.columns, j * f.rank)
    score = offset + f.row_bias[i] + f.column_bias[j] if f.biased else real(0)
    for k in range(f.rank):
        score += u[k] * v[k]
    return score


@inline
def change(f, i, j, slope, rate, run, told):
    """Step against the gradient of one entry."""
    u, v = at(f.rows, i * f.rank), at(f.columns, j * f.rank)
    if run.mode == ATOMIC:
        for k in range(f.rank):
            left, right = times(rate, slope * v[k] + f.l2 * u[k]), times(rate, slope * u[k] + f.l2 * v[k])
            subtract(u, k, left, run, told)
            subtract(v, k, right, run, told)
    else:
        for k in lanes(f.rank):
            left, right = times(rate, slope * v[k] + f.l2 * u[k]), times(rate, slope * u[k] + f.l2 * v[k])
            u[k] -= left
            v[k] -= right
    if f.biased:
        subtract(f.row_bias, i, times(rate, slope + f.l2 * f.row_bias[i]), run, told)
        subtract(f.column_bias, j, times(rate, slope + f.l2 * f.column_bias[j]), run, told)
