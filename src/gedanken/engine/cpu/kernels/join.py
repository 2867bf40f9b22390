"""Where the ways through a container meet: channels beside each other."""

from gedanken.engine.cpu.kernels.blocks import copy_row
from gedanken.engine.cpu.language import Int, Reals, at


def move(
    task: Int,
    scratch: Reals,
    x: Reals,
    y: Reals,
    rows: Int,
    width: Int,
    x_pitch: Int,
    x_start: Int,
    y_pitch: Int,
    y_start: Int,
    piece: Int,
):
    """y[row * y_pitch + y_start + c] = x[row * x_pitch + x_start + c] for all c below width; a task is some rows."""
    for row in range(task * piece, min(rows, (task + 1) * piece)):
        copy_row(at(y, row * y_pitch + y_start), at(x, row * x_pitch + x_start), width)
