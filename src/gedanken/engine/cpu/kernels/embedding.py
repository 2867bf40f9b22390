"""Embedding: rows of a table, and the sum of what comes back for each of them.

The places that have the same row are linked in their order, from the first one on. So each row is summed up by one
task, and written once.
"""

from gedanken.engine.cpu.kernels.blocks import BLOCK, Rows, add_scaled, carry, carry_over, copy_row, settle, zero_row
from gedanken.engine.cpu.kernels.sparse import Touched
from gedanken.engine.cpu.language import Int, Ints, Reals, Record, at, byte, lanes, real


class Chains(Record):
    """The places of touched row number n are first[n], after[first[n]] and so on to last[n]; n is number[row]."""

    first: Ints
    last: Ints
    after: Ints
    number: Ints


def forward(task: Int, scratch: Reals, x: Ints, table: Reals, y: Reals, m: Rows):
    """y[place] = table[x[place]], for a piece of the places."""
    for place in range(task * m.piece, min((task + 1) * m.piece, m.rows)):
        copy_row(at(y, place * m.columns), at(table, x[place] * m.columns), m.columns)


def clear(task: Int, scratch: Reals, g: Touched, tasks: Int):
    """Make the touched rows of a gradient zero, every task some of them."""
    for n in range(task, g.count[0], tasks):
        zero_row(at(g.array, g.touched[n] * g.width), g.width)


def link(task: Int, scratch: Reals, x: Ints, g: Touched, c: Chains, places: Int):
    """List the rows that are touched from now on, and link their places."""
    for n in range(g.count[0]):
        g.marks[g.touched[n]] = byte(0)
    g.count[0] = 0
    for place in range(places):
        row = x[place]
        c.after[place] = -1
        if g.marks[row] == 0:
            n = g.count[0]
            g.marks[row] = byte(1)
            g.touched[n] = row
            c.number[row] = n
            c.first[n] = place
            c.last[n] = place
            g.count[0] = n + 1
        else:
            known = c.number[row]
            c.after[c.last[known]] = place
            c.last[known] = place


def add_up(task: Int, scratch: Reals, dy: Reals, g: Touched, c: Chains, tasks: Int):
    """Set touched rows to the sums of dy over their places, every task some of them.   scratch: two rows."""
    width = g.width
    part, rest = scratch, at(scratch, width)
    for n in range(task, g.count[0], tasks):
        total = at(g.array, g.touched[n] * width)
        zero_row(total, width)
        zero_row(part, 2 * width)
        place, terms = c.first[n], 0
        while place >= 0:
            add_scaled(part, at(dy, place * width), width, real(1))
            terms += 1
            if terms == BLOCK:
                carry_over(total, rest, part, width)
                terms = 0
            place = c.after[place]
        carry(total, rest, part, width, real(1))
        settle(total, rest, width)


def nothing(task: Int, scratch: Reals, x: Reals, size: Int, piece: Int):
    """x = 0: whole numbers have no gradient."""
    zero_row(at(x, task * piece), min(piece, size - task * piece))


def as_reals(task: Int, scratch: Reals, x: Ints, y: Reals, size: Int, piece: Int):
    """y = x, for a layer that computes with whole numbers."""
    begin = task * piece
    for i in lanes(min(piece, size - begin)):
        y[begin + i] = real(x[begin + i])
