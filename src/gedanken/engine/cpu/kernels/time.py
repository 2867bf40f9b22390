"""What is done along the places of sequences: cutting at their ends, pooling, adding positions.

`lengths` says of each sample how many places are real, from the first on.
"""

from gedanken.engine.cpu.kernels.blocks import (
    BLOCK,
    add_rows,
    add_scaled,
    carry_over,
    copy_row,
    fill_row,
    lost_of,
    settle,
    zero_row,
)
from gedanken.engine.cpu.kernels.wide_pool import pool_tap
from gedanken.engine.cpu.language import Int, Ints, Reals, Record, at, inline, lanes, noinline, real


class Ends(Record):
    """Sequences, and what becomes of a length L: (L + more) // stride + 1. A task is `piece` samples."""

    samples: Int
    places: Int
    features: Int
    more: Int
    stride: Int
    piece: Int


class Windows(Record):
    """Windows over time. A task is `piece` samples."""

    samples: Int
    places: Int
    features: Int
    made: Int  # windows of a sample
    width: Int
    before: Int  # places before the sequence where the first window begins
    more: Int  # of a length L (L + more) // stride + 1 windows are real
    stride: Int
    step: Int  # places from one that a window sees to the next, the dilation
    largest: Int  # 1: the largest value, 0: the mean
    counts: Int  # 1: a mean is over the padding too, 0: over what is seen
    room: Int  # places of padding that count
    divisor: Int  # of every mean; 0: it is how many values there are
    to_size: Int  # 1: the windows that are made share out each sequence, however long it is
    piece: Int


@inline
def real_of(length, more, stride):
    return (length + more) // stride + 1


@inline
def windows_of(length, w):
    """Return how many windows of a sequence are real."""
    return w.made if w.to_size == 1 else min(w.made, real_of(length, w.more, w.stride))


@inline
def first_of(j, length, w):
    """Return the first place of a sequence that window number j sees."""
    begin = j * w.stride - w.before
    first = begin if begin >= 0 else begin + (w.step - 1 - begin) // w.step * w.step
    return j * length // w.made if w.to_size == 1 else first


@inline
def end_of(j, length, w):
    """Return the place behind the last that window number j sees."""
    end = min(length, j * w.stride - w.before + (w.width - 1) * w.step + 1)
    return ((j + 1) * length + w.made - 1) // w.made if w.to_size == 1 else end


@inline
def count_of(j, first, end, length, w):
    """Return what the sum of a window is divided by."""
    count = (end - first + w.step - 1) // w.step
    if w.counts == 1:
        count = min(w.width, (length + w.room - j * w.stride + w.step - 1) // w.step)
    if w.divisor > 0:
        count = w.divisor
    return max(1, count)


def cut(task: Int, scratch: Reals, x: Reals, y: Reals, lengths: Ints, e: Ends):
    """y = x at real places, 0 at the others; y may be x."""
    for n in range(task * e.piece, min(e.samples, (task + 1) * e.piece)):
        start = n * e.places * e.features
        kept = min(e.places, real_of(lengths[n], e.more, e.stride)) * e.features
        copy_row(at(y, start), at(x, start), kept)
        zero_row(at(y, start + kept), e.places * e.features - kept)


def pool(task: Int, scratch: Reals, x: Reals, y: Reals, winners: Reals, lengths: Ints, w: Windows):
    """Set y to what becomes of each window, and winners to the places of the largest values."""
    for n in range(task * w.piece, min(w.samples, (task + 1) * w.piece)):
        length = lengths[n]
        count = windows_of(length, w)
        given = at(x, n * w.places * w.features)
        for j in range(w.made):
            place = (n * w.made + j) * w.features
            first, last = first_of(j, length, w), end_of(j, length, w)
            if j >= count or first >= last:
                zero_row(at(y, place), w.features)
                if w.largest == 1:
                    fill_row(at(winners, place), w.features, real(-1))
            elif w.largest == 1:
                copy_row(at(y, place), at(given, first * w.features), w.features)
                fill_row(at(winners, place), w.features, real(first))
                for t in range(first + w.step, last, w.step):
                    pool_tap(at(y, place), at(winners, place), at(given, t * w.features), w.features, real(t))
            else:
                share = real(1) / real(count_of(j, first, last, length, w))
                zero_row(at(y, place), w.features)
                if w.step == 1:
                    add_rows(at(y, place), at(given, first * w.features), last - first, w.features, share)
                else:
                    for t in range(first, last, w.step):
                        add_rows(at(y, place), at(given, t * w.features), 1, w.features, share)


def pool_gradient(task: Int, scratch: Reals, dy: Reals, winners: Reals, d: Reals, lengths: Ints, w: Windows):
    """Set d, the gradient with respect to the sequences, to what windows give back to what they saw.

    scratch: places * features numbers, what rounding takes from a place's sum.
    """
    size = w.places * w.features
    for n in range(task * w.piece, min(w.samples, (task + 1) * w.piece)):
        total = at(d, n * size)
        zero_row(total, size)
        zero_row(scratch, size)
        length = lengths[n]
        for j in range(windows_of(length, w)):
            place = (n * w.made + j) * w.features
            first, last = first_of(j, length, w), end_of(j, length, w)
            share = real(1) / real(count_of(j, first, last, length, w))
            for t in range(first, last, w.step):
                here, lost = at(total, t * w.features), at(scratch, t * w.features)
                if w.largest == 1:
                    give_winner(here, lost, at(dy, place), at(winners, place), real(t), w.features)
                else:
                    give(here, lost, at(dy, place), share, w.features)
        settle(total, scratch, size)


@noinline
def give(total, lost, values, share, count):
    for i in lanes(count):
        old, value = total[i], values[i] * share
        total[i] = old + value
        lost[i] += lost_of(old, value, total[i])


@noinline
def give_winner(total, lost, values, winners, place, count):
    for i in lanes(count):
        old, value = total[i], values[i] if winners[i] == place else real(0)
        total[i] = old + value
        lost[i] += lost_of(old, value, total[i])


def add_positions(task: Int, scratch: Reals, x: Reals, y: Reals, table: Reals, size: Int, samples: Int, piece: Int):
    """y = x + table, for each sample; a task is `piece` samples."""
    for n in range(task * piece, min(samples, (task + 1) * piece)):
        add_table(at(y, n * size), at(x, n * size), table, size)


@noinline
def add_table(y, x, table, count):
    for i in lanes(count):
        y[i] = x[i] + table[i]


def sum_samples(task: Int, scratch: Reals, dy: Reals, table: Reals, lengths: Ints, e: Ends):
    """Set the place number `task` of the table to the sum of dy there over the samples in which it is real.

    scratch: 2 * e.features numbers.
    """
    total, rest, terms = at(table, task * e.features), at(scratch, e.features), 0
    zero_row(total, e.features)
    zero_row(scratch, e.features)
    zero_row(rest, e.features)
    for n in range(e.samples):
        if task < lengths[n]:
            add_scaled(scratch, at(dy, (n * e.places + task) * e.features), e.features, real(1))
            terms += 1
            if terms == BLOCK:
                carry_over(total, rest, scratch, e.features)
                terms = 0
    carry_over(total, rest, scratch, e.features)
    settle(total, rest, e.features)
