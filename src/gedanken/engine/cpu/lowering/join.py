"""Where the ways through a container part and meet."""

import itertools
from collections.abc import Sequence

from gedanken.engine.cpu.lowering.base import PIECE, Lowering, cut
from gedanken.engine.cpu.program import Buffer
from gedanken.types import Shape


def join(low: Lowering, merge: str, parts: Sequence[Buffer], shape: Shape) -> Buffer:
    """Emit the sum of the parts, or their channels beside each other: an array of `shape`."""
    if len(parts) == 1:
        return parts[0]
    if merge == "sum":
        total = parts[0]
        for part in parts[1:]:
            total = _add(low, total, part)
        return total
    whole = low.buffer(shape)
    for part, start in zip(parts, _starts([part.shape for part in parts]), strict=True):
        _move(low, part, whole, part.shape[-1], 0, start)
    return whole


def split(low: Lowering, merge: str, dy: Buffer, shapes: Sequence[Shape]) -> list[Buffer]:
    """Emit the way back of `join`: the gradient by each part."""
    if merge == "sum" or len(shapes) == 1:
        return [dy] * len(shapes)
    parts = [low.buffer(shape) for shape in shapes]
    for part, start in zip(parts, _starts(shapes), strict=True):
        _move(low, dy, part, part.shape[-1], start, 0)
    return parts


def _starts(shapes: Sequence[Shape]) -> list[int]:
    """Return at which channel of the whole each part begins."""
    return list(itertools.accumulate((shape[-1] for shape in shapes[:-1]), initial=0))


def _add(low: Lowering, x: Buffer, y: Buffer) -> Buffer:
    z = low.buffer(x.shape)
    size = z.nbytes // low.real.itemsize
    low.program.add("dense.add", cut(size, PIECE), x=x, y=y, z=z, size=size, piece=PIECE)
    return z


def _move(low: Lowering, x: Buffer, y: Buffer, width: int, x_start: int, y_start: int) -> None:
    """Emit the copy of some channels of x to some channels of y."""
    rows, piece = x.nbytes // low.real.itemsize // x.shape[-1], cut(PIECE, width)
    low.program.add(
        "join.move", cut(rows, piece), x=x, y=y, rows=rows, width=width, x_pitch=x.shape[-1], x_start=x_start,
        y_pitch=y.shape[-1], y_start=y_start, piece=piece,
    )  # fmt: skip
