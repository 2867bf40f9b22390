"""Graph cuts: every node has shares of labels, which come nearer to those of its neighbours, edge by edge."""

from gedanken.engine.cpu.kernels.runs import (
    ATOMIC,
    Results,
    Run,
    begin,
    free_row,
    give_back,
    slope_of,
    take,
    take_row,
)
from gedanken.engine.cpu.language import Int, Ints, Reals, Record, at, exchange, inline, noinline, prefetch, real, times

AHEAD = 4  # edges whose nodes are fetched ahead


class Cuts(Record):
    """The shares, `units` numbers for each node; the first `units` nodes stand for the labels and have none."""

    shares: Reals
    units: Int


def learn(task: Int, scratch: Reals, pairs: Ints, targets: Reals, c: Cuts, run: Run, told: Results):
    """Learn by SGD from one edge after the other; end before one whose score is not finite.

    told.slopes has room for the shares of two nodes, and for the step.
    """
    done, units = 0, c.units
    told.done[1] = 0
    while done < run.rows:
        i, j = pairs[2 * done], pairs[2 * done + 1]
        if done + AHEAD < run.rows:
            prefetch(c.shares, (max(pairs[2 * (done + AHEAD)], units) - units) * units)
            prefetch(c.shares, (max(pairs[2 * (done + AHEAD) + 1], units) - units) * units)
        ticket = begin(run)
        read(c, i, told.slopes)
        read(c, j, at(told.slopes, units))
        score = difference(told.slopes, units)
        told.scores[done] = score
        sound = score - score == real(0)
        take(run, ticket)
        if sound:
            step = times(told.rates[done], slope_of(score, targets[done], run)) / real(2)
            change(c, i, j, step, run, told)
        give_back(run)
        if not sound:
            break
        done += 1
    told.done[0] = done


@inline
def read(c, node, y):
    """y = the shares of a node; of one that stands for a label, all of that label."""
    for k in range(c.units):
        y[k] = real(1 if node == k else 0)
    if node >= c.units:
        x = at(c.shares, (node - c.units) * c.units)
        for k in range(c.units):
            y[k] = x[k]


@inline
def difference(x, units):
    """Return half the sum of differences between the shares of two nodes, the second ones behind the first."""
    total = real(0)
    for k in range(units):
        total += abs(x[k] - x[units + k])
    return total / real(2)


@noinline
def change(c, i, j, step, run, told):
    """Bring the shares of two nodes nearer to each other; nodes are locked in the order of their numbers."""
    units, x, pull = c.units, told.slopes, at(told.slopes, 2 * c.units)
    for k in range(units):
        gap = x[k] - x[units + k]
        pull[k] = step if gap > real(0) else real(0)
        if gap < real(0):
            pull[k] = -step
    first, second = i - units, j - units
    low, high = min(first, second), max(first, second)
    if low != high:
        if low >= 0:
            take_row(run, low)
        if high >= 0:
            take_row(run, high)
        if first >= 0:
            move(at(c.shares, first * units), pull, real(1), units, run, told)
        if second >= 0:
            move(at(c.shares, second * units), pull, real(-1), units, run, told)
        if high >= 0:
            free_row(run, high)
        if low >= 0:
            free_row(run, low)


@noinline
def move(y, pull, sign, units, run, told):
    """y -= sign * pull, then the nearest numbers that are not negative and sum to 1; ATOMIC loses nothing."""
    before, after = told.slopes, at(told.slopes, units)
    largest = y[0] - sign * pull[0]
    for k in range(units):
        before[k] = y[k]
        after[k] = before[k] - sign * pull[k]
        largest = max(largest, after[k])
    for k in range(units):  # which moves the nearest numbers nowhere; large ones keep their digits
        after[k] = after[k] - largest
    limit = threshold(after, units)
    for k in range(units):
        new = max(after[k] - limit, real(0))
        if run.mode == ATOMIC:
            seen = y[k]
            while exchange(y, k, seen, new if seen == before[k] else seen + (new - before[k])) == 0:
                told.done[1] += 1
                seen = y[k]
        else:
            y[k] = new


@inline
def threshold(x, units):
    """Return what is taken from all numbers before the negative ones become 0, so that the rest sums to 1."""
    limit, count, kept = real(0), units, units + 1
    for k in range(units):
        limit += x[k]
    limit = (limit - real(1)) / real(units)
    while count < kept:  # rounding may let it grow again
        kept = count
        total, count = real(-1), 0
        for k in range(units):
            if x[k] > limit:
                total += x[k]
                count += 1
        limit = total / real(count)
    return limit
