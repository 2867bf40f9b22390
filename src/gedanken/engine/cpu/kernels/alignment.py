"""The cost of label sequences, `costs.CTC`: a task is a sample.

States are the labels with blanks around each. Rows of states are logarithms that fall with each place, while shares are
made of what they differ by: so each is the sum of two numbers, and the second, `pitch_of` behind the first, keeps what
the first is rounded by. No row is only scaled: of most states the likeliest one may be far away.
"""

from gedanken.engine.cpu.kernels.blocks import Rows, copy_row, fill_row, lost_of, sum_of, zero_row
from gedanken.engine.cpu.kernels.cost import Targets, largest_at, powers
from gedanken.engine.cpu.kernels.functions import exponential, logarithm, logarithm_of_any_more
from gedanken.engine.cpu.kernels.value_cost import factor_of
from gedanken.engine.cpu.language import Int, Real, Reals, Record, at, inline, lanes, noinline, real

TOLD = 2  # numbers before the labels of a sample: how many places count, and how many labels there are
EDGE = 2  # numbers beside a row of states that are `NEVER`
NEVER = -1e30


class Alignment(Record):
    """Places of a sample, the number of the blank, and what a sample costs that no alignment fits."""

    places: Int
    blank: Int
    infinite: Real


@noinline
def take_logs(z, logs, columns):
    """logs = the logarithms of the shares that the softmax of a row gives."""
    best = largest_at(z, columns)
    others = powers(z, logs, columns, best)
    lack = logarithm_of_any_more(others)
    for c in lanes(columns):
        logs[c] = max((z[c] - z[best]) - lack, real(NEVER)) if c != best else -lack


@noinline
def fits(told, places, columns):
    """Return whether an alignment has room, and no number leads out of memory: who gave labels may write into them."""
    needed = told[1]
    right = told[0] > 0 and told[0] <= places and needed >= 0 and needed <= places
    if right:
        for i in range(told[1]):
            label = told[TOLD + i]
            right = right and label >= 0 and label < columns
            needed += 1 if i > 0 and label == told[TOLD + max(i - 1, 0)] else 0
    return right and needed <= told[0]


@noinline
def emit(logs, told, blank, emitted, states):
    """emitted = the logarithm of what a place gives each state."""
    fill_row(emitted, states, logs[blank])
    for i in range(told[1]):
        emitted[2 * i + 1] = logs[told[TOLD + i]]


@noinline
def set_leaps(told, leap, states):
    """leap = 0 for states that may follow the one two before them, else NEVER."""
    fill_row(leap, states + EDGE, real(NEVER))
    for i in range(1, told[1]):
        leap[2 * i + 1] = real(NEVER) if told[TOLD + i] == told[TOLD + i - 1] else real(0)


@inline
def log_sum(a, b):
    """log(e ** a + e ** b), a NaN where one of both is."""
    return max(a, b) + logarithm_of_any_more(exponential(-abs(a - b)))


@inline
def pitch_of(states):
    """Return how far the second numbers of a row of states stand behind the first; twice that is a row's room."""
    return states + EDGE


@inline
def put(row, s, pitch, old, more, rest):
    """row[s] = old + more + rest in two numbers, or NEVER where it gets below."""
    high = old + more
    low = rest + lost_of(old, more, high)
    both, never = high + low, high <= real(NEVER)
    row[s] = real(NEVER) if never else both
    row[s + pitch] = real(0) if never else lost_of(high, low, both)


@inline
def beyond(one, one_rest, other, other_rest):
    return (one - other) + (one_rest - other_rest)


@noinline
def add_ways(same, next, other, leap, sums, to, states):
    """to = the logarithm of e ** same + e ** next + e ** (other + leap); sums are overwritten."""
    p = pitch_of(states)
    for s in lanes(states):
        first = beyond(next[s], next[s + p], same[s], same[s + p]) > real(0)
        near, rest = next[s] if first else same[s], next[s + p] if first else same[s + p]
        far = other[s] + leap[s]
        second = beyond(far, other[s + p], near, rest) > real(0)
        to[s], to[s + p] = far if second else near, other[s + p] if second else rest
    for s in lanes(states):
        sums[s] = exponential(beyond(same[s], same[s + p], to[s], to[s + p]))
    for s in lanes(states):
        sums[s] += exponential(beyond(next[s], next[s + p], to[s], to[s + p]))
    for s in lanes(states):
        sums[s] += exponential(beyond(other[s] + leap[s], other[s + p], to[s], to[s + p]))
    for s in lanes(states):
        put(to, s, p, to[s], logarithm(sums[s]), to[s + p])


@noinline
def add_emitted(to, row, emitted, states):
    """to = row + emitted"""
    p = pitch_of(states)
    for s in lanes(states):
        put(to, s, p, row[s], emitted[s], row[s + p])


@noinline
def set_alpha(alpha, logs, told, room, states, m, a):
    """Set rows of what reaches each state; return the logarithm of what all of it sums up to.

    room: leaps, emitted numbers, and sums.
    """
    p, leap, emitted = pitch_of(states), room, at(room, states + EDGE)
    sums, count = at(emitted, states), told[0]
    for place in range(count):
        row = at(alpha, place * 2 * p + EDGE)
        emit(at(logs, place * m.columns), told, a.blank, emitted, states)
        fill_row(at(row, -EDGE), EDGE, real(NEVER))
        fill_row(at(row, p - EDGE), EDGE, real(0))
        if place == 0:
            fill_row(row, states, real(NEVER))
            zero_row(at(row, p), states)
            copy_row(row, emitted, min(2, states))
        else:
            before = at(row, -2 * p)
            add_ways(before, at(before, -1), at(before, -2), leap, sums, row, states)
            add_emitted(row, row, emitted, states)
    last = at(alpha, (count - 1) * 2 * p + EDGE)
    return log_sum(last[states - 1], last[states - 2] if states > 1 else real(NEVER))


@noinline
def set_slopes(slopes, told, ways, states, columns, blank):
    """slopes = softmax less the share of each class in the ways through a place; slopes are logarithms before."""
    # Slopes sum up to 0: that of the likeliest class keeps small digits as what the others lack.
    best, likely, rest = ways[largest_at(ways, states)], largest_at(slopes, columns), at(ways, pitch_of(states))
    for s in lanes(states):
        ways[s] = (ways[s] - best) + rest[s]
    best = ways[largest_at(ways, states)]
    for s in lanes(states):
        ways[s] = exponential(ways[s] - best)
    total = sum_of(ways, states, real(1))
    for c in lanes(columns):
        slopes[c] = exponential(slopes[c])
    for s in range(states):
        label = blank if s % 2 == 0 else told[TOLD + s // 2]
        slopes[label] -= ways[s] / total
    slopes[likely] = real(0) if slopes[likely] == slopes[likely] else slopes[likely]
    slopes[likely] -= sum_of(slopes, columns, real(1))


@noinline
def go_back(slopes, alpha, told, room, states, m, a):
    """Set slopes, which are logarithms before, from the last place to the first."""
    p, leap, emitted = pitch_of(states), room, at(room, states + EDGE)
    sums, beta = at(emitted, states), at(emitted, 2 * states)
    behind = at(beta, 2 * p)
    for row in range(2):
        fill_row(at(beta, row * 2 * p), p, real(NEVER))
        zero_row(at(beta, row * 2 * p + p), p)
    fill_row(at(beta, states - min(2, states)), min(2, states), real(0))
    for back in range(told[0]):
        place = told[0] - 1 - back
        ways, here = at(alpha, place * 2 * p + EDGE), at(slopes, place * m.columns)
        emit(here, told, a.blank, emitted, states)
        for s in lanes(states):
            put(ways, s, p, ways[s], beta[s], ways[s + p] + beta[s + p])
        add_emitted(behind, beta, emitted, states)
        set_slopes(here, told, ways, states, m.columns, a.blank)
        add_ways(behind, at(behind, 1), at(behind, 2), at(leap, EDGE), sums, beta, states)


def judge(task: Int, scratch: Reals, z: Reals, targets: Targets, dz: Reals, terms: Reals, m: Rows, a: Alignment):
    """Set dz, and for a sample terms = factor * cost.   scratch: alpha's rows, and 7 more numbers for each state."""
    told = at(targets.classes, task * (TOLD + a.places))
    size, slopes, counts = a.places * m.columns, at(dz, task * a.places * m.columns), targets.counts
    factor, count, states = factor_of(counts, task), told[0], 2 * told[1] + 1
    total, right = real(NEVER), factor != real(0) and fits(told, a.places, m.columns)
    if right:
        for place in range(count):
            take_logs(at(z, task * size + place * m.columns), at(slopes, place * m.columns), m.columns)
        room = at(scratch, a.places * 2 * pitch_of(states))
        set_leaps(told, room, states)
        total = set_alpha(scratch, slopes, told, room, states, m, a)
    if not right or total < real(NEVER / 2):
        zero_row(slopes, size)
        terms[task] = real(0) if factor == real(0) else factor * a.infinite
    else:
        go_back(slopes, scratch, told, at(scratch, a.places * 2 * pitch_of(states)), states, m, a)
        zero_row(at(slopes, count * m.columns), size - count * m.columns)
        terms[task] = -factor * total
        for i in lanes(count * m.columns):
            slopes[i] = factor * slopes[i] / counts.divisor
