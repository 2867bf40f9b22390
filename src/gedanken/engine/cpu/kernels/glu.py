"""GLU, row by row: the second half of a row says how much of the first one goes on."""

from gedanken.engine.cpu.kernels.blocks import Rows
from gedanken.engine.cpu.kernels.functions import sigmoid
from gedanken.engine.cpu.language import Int, Reals, at, lanes


def forward(task: Int, scratch: Reals, x: Reals, y: Reals, m: Rows):
    """y = a * sigmoid(b) for rows a beside b; a task is a piece of the rows."""
    half = m.columns // 2
    for row in range(task * m.piece, min((task + 1) * m.piece, m.rows)):
        values, gates, out = at(x, row * m.columns), at(x, row * m.columns + half), at(y, row * half)
        for c in lanes(half):
            out[c] = values[c] * sigmoid(gates[c])


def gradient(task: Int, scratch: Reals, x: Reals, dy: Reals, dx: Reals, m: Rows):
    """da = dy * sigmoid(b) and db = dy * a * sigmoid(b) * sigmoid(-b)"""
    half = m.columns // 2
    for row in range(task * m.piece, min((task + 1) * m.piece, m.rows)):
        values, gates, given = at(x, row * m.columns), at(x, row * m.columns + half), at(dy, row * half)
        by_value, by_gate = at(dx, row * m.columns), at(dx, row * m.columns + half)
        for c in lanes(half):
            share = sigmoid(gates[c])
            by_value[c] = given[c] * share
            by_gate[c] = given[c] * (values[c] * (share * sigmoid(-gates[c])))
