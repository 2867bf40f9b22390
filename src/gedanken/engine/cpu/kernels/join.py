"""Where the ways through a container meet: channels beside each other, or one number of some."""

from gedanken.engine.cpu.kernels.blocks import copy_row
from gedanken.engine.cpu.language import Int, Real, Reals, Record, at, lanes, real


class Channels(Record):
    """Some channels of pixels: rows of numbers `pitch` apart, from number `start` of each on."""

    numbers: Reals
    pitch: Int
    start: Int


def move(task: Int, scratch: Reals, x: Channels, y: Channels, rows: Int, width: Int, piece: Int):
    """Copy `width` channels of x to those of y; a task is some rows."""
    for row in range(task * piece, min(rows, (task + 1) * piece)):
        copy_row(at(y.numbers, row * y.pitch + y.start), at(x.numbers, row * x.pitch + x.start), width)


SUBTRACT, MULTIPLY, MAXIMUM, MINIMUM = 0, 1, 2, 3  # kinds of `combine`


class Part(Record):
    """Which numbers a task works on: the task-th `piece` of `size`."""

    size: Int
    piece: Int


def combine(task: Int, scratch: Reals, x: Reals, y: Reals, z: Reals, kind: Int, p: Part):
    """z = x - y, x * y, or the larger or smaller of both, NaN where one is."""
    begin = task * p.piece
    count = min(p.piece, p.size - begin)
    x, y, z = at(x, begin), at(y, begin), at(z, begin)
    if kind == SUBTRACT:
        for i in lanes(count):
            z[i] = x[i] - y[i]
    elif kind == MULTIPLY:
        for i in lanes(count):
            z[i] = x[i] * y[i]
    elif kind == MAXIMUM:
        for i in lanes(count):
            z[i] = x[i] if x[i] > y[i] or x[i] != x[i] else y[i]
    else:
        for i in lanes(count):
            z[i] = x[i] if x[i] < y[i] or x[i] != x[i] else y[i]


def scale(task: Int, scratch: Reals, x: Reals, z: Reals, factor: Real, p: Part):
    """z = factor * x."""
    begin = task * p.piece
    x, z = at(x, begin), at(z, begin)
    for i in lanes(min(p.piece, p.size - begin)):
        z[i] = factor * x[i]


def count_winners(task: Int, scratch: Reals, x: Reals, y: Reals, winners: Reals, first: Int, p: Part):
    """Add 1 to the winners, 0 before the first x, wherever x is y: the largest or smallest of several."""
    begin = task * p.piece
    x, y, winners = at(x, begin), at(y, begin), at(winners, begin)
    for i in lanes(min(p.piece, p.size - begin)):
        before = real(0) if first else winners[i]
        winners[i] = before + (real(1) if x[i] == y[i] else real(0))


class Contest(Record):
    """Numbers of one way, the result, its gradient, and how many ways have the result's number."""

    x: Reals
    y: Reals
    dy: Reals
    winners: Reals


def give_winners(task: Int, scratch: Reals, c: Contest, d: Reals, p: Part):
    """d = an equal part of dy wherever x is y, else 0."""
    begin = task * p.piece
    x, y, dy, winners, d = at(c.x, begin), at(c.y, begin), at(c.dy, begin), at(c.winners, begin), at(d, begin)
    for i in lanes(min(p.piece, p.size - begin)):
        d[i] = dy[i] / winners[i] if x[i] == y[i] else real(0)
