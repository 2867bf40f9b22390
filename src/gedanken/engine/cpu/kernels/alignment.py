"""The cost of label sequences, `costs.CTC`: a task is a sample.

States are the labels with blanks around each. Rows of logarithms are kept close to 0 by taking off their largest, so
that they keep their digits however long a sequence is.
"""

from gedanken.engine.cpu.kernels.blocks import Rows, copy_row, fill_row, sum_of, zero_row
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
    largest = max(a, b)
    return largest + logarithm_of_any_more(exponential(min(a, b) - largest))


@noinline
def add_ways(same, next, other, leap, sums, to, states):
    """to = the logarithm of e ** same + e ** next + e ** (other + leap); sums are overwritten."""
    for s in lanes(states):
        near = max(same[s], next[s])
        to[s] = max(near, other[s] + leap[s])
    for s in lanes(states):
        sums[s] = exponential(same[s] - to[s])
    for s in lanes(states):
        sums[s] += exponential(next[s] - to[s])
    for s in lanes(states):
        sums[s] += exponential((other[s] + leap[s]) - to[s])
    for s in lanes(states):
        to[s] += logarithm(sums[s])


@noinline
def take_off_largest(row, states):
    """Take its largest number off a row, and return it; no number gets below NEVER."""
    largest = row[largest_at(row, states)]
    for s in lanes(states):
        row[s] = max(row[s] - largest, real(NEVER))
    return largest


@noinline
def set_alpha(alpha, logs, told, room, states, m, a):
    """Set rows of what reaches each state; return the logarithm of what all of it sums up to.

    room: leaps, emitted numbers, and what is taken off at each place.
    """
    pitch, leap, emitted = states + EDGE, room, at(room, states + EDGE)
    sums, offsets, count = at(emitted, states), at(emitted, 2 * states), told[0]
    for place in range(count):
        row = at(alpha, place * pitch + EDGE)
        emit(at(logs, place * m.columns), told, a.blank, emitted, states)
        fill_row(at(alpha, place * pitch), EDGE, real(NEVER))
        if place == 0:
            fill_row(row, states, real(NEVER))
            copy_row(row, emitted, min(2, states))
        else:
            before = at(row, -pitch)
            add_ways(before, at(before, -1), at(before, -2), leap, sums, row, states)
            for s in lanes(states):
                row[s] += emitted[s]
        offsets[place] = take_off_largest(row, states)
    last = at(alpha, (count - 1) * pitch + EDGE)
    other = last[states - 2] if states > 1 else real(NEVER)
    return sum_of(offsets, count, real(1)) + log_sum(last[states - 1], other)


@noinline
def set_slopes(slopes, told, ways, states, columns, blank):
    """slopes = softmax less the share of each class in the ways through a place; slopes are logarithms before."""
    # Slopes sum up to 0: that of the likeliest class keeps small digits as what the others lack.
    best, likely = ways[largest_at(ways, states)], largest_at(slopes, columns)
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
    pitch, leap, emitted = states + EDGE, room, at(room, states + EDGE)
    sums, beta = at(emitted, states), at(emitted, 2 * states)
    behind = at(beta, pitch)
    fill_row(beta, 2 * pitch, real(NEVER))
    fill_row(at(beta, states - min(2, states)), min(2, states), real(0))
    for back in range(told[0]):
        place = told[0] - 1 - back
        row, here = at(alpha, place * pitch + EDGE), at(slopes, place * m.columns)
        emit(here, told, a.blank, emitted, states)
        for s in lanes(states):
            row[s] += beta[s]
            behind[s] = beta[s] + emitted[s]
        set_slopes(here, told, row, states, m.columns, a.blank)
        add_ways(behind, at(behind, 1), at(behind, 2), at(leap, EDGE), sums, beta, states)
        take_off_largest(beta, states)


def judge(task: Int, scratch: Reals, z: Reals, targets: Targets, dz: Reals, terms: Reals, m: Rows, a: Alignment):
    """Set dz, and for a sample terms = factor * cost.   scratch: alpha's rows, and ROOM more of them and of places."""
    told = at(targets.classes, task * (TOLD + a.places))
    size, slopes, counts = a.places * m.columns, at(dz, task * a.places * m.columns), targets.counts
    factor, count, states = factor_of(counts, task), told[0], 2 * told[1] + 1
    total, right = real(NEVER), factor != real(0) and fits(told, a.places, m.columns)
    if right:
        for place in range(count):
            take_logs(at(z, task * size + place * m.columns), at(slopes, place * m.columns), m.columns)
        room = at(scratch, a.places * (states + EDGE))
        set_leaps(told, room, states)
        total = set_alpha(scratch, slopes, told, room, states, m, a)
    if not right or total < real(NEVER / 2):
        zero_row(slopes, size)
        terms[task] = real(0) if factor == real(0) else factor * a.infinite
    else:
        go_back(slopes, scratch, told, at(scratch, a.places * (states + EDGE)), states, m, a)
        zero_row(at(slopes, count * m.columns), size - count * m.columns)
        terms[task] = -factor * total
        for i in lanes(count * m.columns):
            slopes[i] = factor * slopes[i] / counts.divisor
