"""The axes of samples in another order."""

from gedanken.engine.cpu.kernels.blocks import copy_row
from gedanken.engine.cpu.language import Int, Ints, Reals, Record, at, lanes


class Moved(Record):
    """What becomes of the numbers of a sample: sizes of the new axes, and how far their steps lie apart in the old.

    rows: of a sample, a row being what lies along its last new axis; `all_rows` of all samples, `piece` of a task.
    """

    axes: Int
    sizes: Ints
    steps: Ints
    length: Int
    rows: Int
    all_rows: Int
    piece: Int


def forward(task: Int, scratch: Reals, x: Reals, y: Reals, m: Moved):
    """Write the rows of a task."""
    last = m.steps[m.axes - 1]
    for row in range(task * m.piece, min((task + 1) * m.piece, m.all_rows)):
        rest, begin = row % m.rows, row // m.rows * m.rows * m.length
        for number in range(1, m.axes):
            axis = m.axes - 1 - number
            begin += rest % m.sizes[axis] * m.steps[axis]
            rest //= m.sizes[axis]
        source, target = at(x, begin), at(y, row * m.length)
        if last == 1:
            copy_row(target, source, m.length)
        else:
            for i in lanes(m.length):
                target[i] = source[i * last]
