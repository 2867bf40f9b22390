"""Where the ways through a container meet: channels beside each other."""

from gedanken.engine.cpu.kernels.blocks import copy_row
from gedanken.engine.cpu.language import Int, Reals, Record, at


class Channels(Record):
    """Some channels of pixels: rows of numbers `pitch` apart, from number `start` of each on."""

    numbers: Reals
    pitch: Int
    start: Int


def move(task: Int, scratch: Reals, x: Channels, y: Channels, rows: Int, width: Int, piece: Int):
    """Copy `width` channels of x to those of y; a task is some rows."""
    for row in range(task * piece, min(rows, (task + 1) * piece)):
        copy_row(at(y.numbers, row * y.pitch + y.start), at(x.numbers, row * x.pitch + x.start), width)
