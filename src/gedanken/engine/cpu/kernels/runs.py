"""Learning from many samples in one call of a kernel: what a run is told, costs, and ways to share what is learnt.

What several workers may change at once is changed by a rounded product (`times`), so that all ways to write it give
the same numbers where nobody else writes.
"""

from gedanken.engine.cpu.kernels.rows import sigmoid
from gedanken.engine.cpu.language import (
    Int,
    Ints,
    Real,
    Reals,
    Record,
    atomic_add,
    atomic_claim,
    atomic_load,
    atomic_swap,
    exchange,
    inline,
    pause,
    real,
    yield_thread,
)

# How parameters are changed that other workers change too: RACY, as it comes; ATOMIC, so that no addition is lost;
# LOCKED, by one worker at a time; EACH, every row under a lock of its own; TURNS, by one worker after the other.
RACY, ATOMIC, LOCKED, EACH, TURNS = 0, 1, 2, 3, 4
SOFTMAX, SIGMOID, SQUARED, HINGE, WEIGHTED = 0, 1, 2, 3, 4  # costs
HOLDER, NEXT, SERVED = 0, 1, 2  # of the common lock: who holds it; the next ticket, and the one whose turn it is


class Run(Record):
    """Mini-batches in a row: `size` rows each but for the last.

    `lock` is what all workers share, `each` a lock for every row; `me` is what they have while this worker holds them.
    """

    rows: Int
    size: Int
    units: Int
    biased: Int
    cost: Int
    positive: Real
    mode: Int
    me: Int
    lock: Ints
    each: Ints


class Results(Record):
    """What a run is told and tells: a rate for each mini-batch, scores of all rows, and memory for one mini-batch.

    done[0], done[1] = mini-batches that were learnt from; numbers that another worker changed in between (ATOMIC).
    """

    rates: Reals
    scores: Reals
    shares: Reals
    slopes: Reals
    terms: Reals
    done: Ints


@inline
def begin(run):
    """Return this worker's ticket: with TURNS whoever begins first writes first."""
    ticket = 0
    if run.mode == TURNS:
        ticket = atomic_add(run.lock, NEXT, 1)
    return ticket


@inline
def take(run, ticket):
    """Wait until this worker may write: with LOCKED until nobody else does, with TURNS until it is its turn."""
    if run.mode == LOCKED:
        while atomic_claim(run.lock, HOLDER, run.me) == 0:
            pause()
    if run.mode == TURNS:
        while atomic_load(run.lock, SERVED) != ticket:
            yield_thread()


@inline
def give_back(run):
    """Let another worker write."""
    if run.mode == LOCKED:
        atomic_swap(run.lock, HOLDER, 0)
    if run.mode == TURNS:
        atomic_add(run.lock, SERVED, 1)


@inline
def take_row(run, row):
    """With EACH, wait until no other worker writes to a row."""
    if run.mode == EACH:
        while atomic_claim(run.each, row, run.me) == 0:
            pause()


@inline
def free_row(run, row):
    """Let another worker write to a row."""
    if run.mode == EACH:
        atomic_swap(run.each, row, 0)


@inline
def slope_of(z, t, run):
    """Return the slope of the cost of one score, which is by itself: of all costs but SOFTMAX."""
    if run.cost == SIGMOID:
        slope = (real(1) - t) * sigmoid(z) - run.positive * t * sigmoid(-z)
    elif run.cost == SQUARED:
        slope = real(2) * (z - t)
    elif run.cost == WEIGHTED:
        slope = t
    else:
        sign = real(1) - real(2) * t
        slope = sign if real(1) + sign * z > real(0) else real(0)
    return slope


@inline
def subtract(y, place, amount, run, told):
    """y[place] -= amount; with ATOMIC nothing is lost that another thread adds meanwhile."""
    if run.mode == ATOMIC:
        seen = y[place]
        while exchange(y, place, seen, seen - amount) == 0:
            told.done[1] += 1
            seen = y[place]
    else:
        y[place] -= amount
