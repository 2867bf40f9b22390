"""LogSoftMax, row by row."""

from gedanken.engine.cpu.kernels.blocks import Rows, sum_of
from gedanken.engine.cpu.kernels.cost import largest_at, powers
from gedanken.engine.cpu.kernels.functions import exponential, logarithm_of_any_more
from gedanken.engine.cpu.language import Int, Reals, at, lanes, real


def forward(task: Int, scratch: Reals, x: Reals, y: Reals, m: Rows):
    """y = x - max(x) - log(1 + sum of exp(x - max(x)) over the others); a task is a piece of the rows."""
    columns = m.columns
    for row in range(task * m.piece, min((task + 1) * m.piece, m.rows)):
        scores, out = at(x, row * columns), at(y, row * columns)
        best = largest_at(scores, columns)
        largest = scores[best]
        share = logarithm_of_any_more(powers(scores, out, columns, best))
        for c in lanes(columns):
            out[c] = (scores[c] - largest) - share
        out[best] = -share if largest == largest else largest


def gradient(task: Int, scratch: Reals, y: Reals, dy: Reals, dx: Reals, m: Rows):
    """dx = dy - exp(y) * sum of dy"""
    columns = m.columns
    for row in range(task * m.piece, min((task + 1) * m.piece, m.rows)):
        logs, gradients, out = at(y, row * columns), at(dy, row * columns), at(dx, row * columns)
        total = sum_of(gradients, columns, real(1))
        for c in lanes(columns):
            out[c] = gradients[c] - exponential(logs[c]) * total
