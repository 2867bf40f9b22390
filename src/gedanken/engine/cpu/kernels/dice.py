"""Dice and Tversky costs: regions of a sample's classes, as the network gives them and as they are."""

from gedanken.engine.cpu.kernels.blocks import BLOCK, Rows, carry_over, settle, zero_row
from gedanken.engine.cpu.kernels.cost import Targets
from gedanken.engine.cpu.kernels.value_cost import factor_of
from gedanken.engine.cpu.language import Int, Real, Reals, Record, at, inline, lanes, noinline, real

ROOM = 6  # rows of scratch memory, each of a number for each class


class Regions(Record):
    """Places of a sample, and the label that counts for nothing, if there is one.

    `smooth` is the s of costs.Dice, the other numbers are those of `costs.likeness.Ratio`.
    """

    places: Int
    smooth: Real
    shared: Real
    claimed: Real
    missed: Real
    ignores: Int
    ignored: Int


@inline
def is_ignored(targets, label, start, r):
    """Return whether a place counts for nothing, by its label or, of one region, what says whether it is there."""
    ignored = 0
    if r.ignores:
        if targets.hard:
            ignored = 1 if label == r.ignored else 0
        else:
            ignored = 1 if targets.shares[start] == real(r.ignored) else 0
    return ignored


@inline
def add_place(part, y, t, label, hard, columns, r):
    """Add what one place has of shared * y * t and, behind, of what is off.

    What is wanted is a label where `hard`, else shares t.
    """
    off = at(part, columns)
    if hard:
        for c in lanes(columns):
            part[c] += r.shared * y[c] if c == label else real(0)
            off[c] += r.missed * (real(1) - y[c]) if c == label else r.claimed * y[c]
    else:
        for c in lanes(columns):
            part[c] += r.shared * (y[c] * t[c])
            off[c] += r.claimed * (y[c] * (real(1) - t[c])) + r.missed * ((real(1) - y[c]) * t[c])


@noinline
def add_places(y, targets, first, space, columns, r):
    """Set the first 2 * columns numbers of a space to sums over the places of a sample, see `add_place`.

    first: place of the sample among all samples' places.   space: 6 * columns numbers.
    """
    whole, lost, part = space, at(space, 2 * columns), at(space, 4 * columns)
    zero_row(space, 6 * columns)
    for place in range(r.places):
        label, start = 0, (first + place) * columns
        if targets.hard:
            label = targets.classes[first + place]
        if not is_ignored(targets, label, start, r):
            shares = at(targets.shares, 0 if targets.hard else start)
            add_place(part, at(y, start), shares, label, targets.hard, columns, r)
        if place % BLOCK == BLOCK - 1:
            carry_over(whole, lost, part, 2 * columns)
    carry_over(whole, lost, part, 2 * columns)
    settle(whole, lost, 2 * columns)


@noinline
def set_slopes(dz, targets, first, level, fall, columns, r):
    """dz = level - fall * t, by class; 0 at places that are left out."""
    for place in range(r.places):
        label, start = 0, (first + place) * columns
        if targets.hard:
            label = targets.classes[first + place]
        slopes, t = at(dz, start), at(targets.shares, 0 if targets.hard else start)
        if is_ignored(targets, label, start, r):
            zero_row(slopes, columns)
        elif targets.hard:
            for c in lanes(columns):
                slopes[c] = level[c] - (fall[c] if c == label else real(0))
        else:
            for c in lanes(columns):
                slopes[c] = level[c] - fall[c] * t[c]


def judge(task: Int, scratch: Reals, z: Reals, targets: Targets, dz: Reals, terms: Reals, m: Rows, r: Regions):
    """Set dz, and for each sample terms = factor * cost; a task is a piece of the samples. The weights sum to 1."""
    columns, counts = m.columns, targets.counts
    level, fall = at(scratch, 2 * columns), at(scratch, 3 * columns)
    for row in range(task * m.piece, min((task + 1) * m.piece, m.rows)):
        first, factor, cost = row * r.places, factor_of(counts, row), real(0)
        if factor == real(0):
            zero_row(at(dz, first * columns), r.places * columns)
        else:
            add_places(z, targets, first, scratch, columns, r)
            for c in range(columns):
                right, off = scratch[c] + r.smooth, scratch[columns + c]
                total = right + off
                share = factor * targets.weights[c] / counts.divisor / total
                cost += targets.weights[c] * (off / total)
                level[c] = share * r.claimed * (right / total)
                fall[c] = share * ((r.claimed + r.missed) * (right / total) + r.shared * (off / total))
            set_slopes(dz, targets, first, level, fall, columns, r)
        terms[row] = factor * cost
