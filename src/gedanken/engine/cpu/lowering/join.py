"""Where the ways through a container part and meet."""

import itertools
import math
from collections.abc import Sequence

from gedanken.engine.cpu.kernels.join import Channels
from gedanken.engine.cpu.lowering.base import PIECE, Lowering, cut
from gedanken.engine.cpu.program import Buffer
from gedanken.types import Array, Shape

Place = Buffer | Array


def join(low: Lowering, merge: str, parts: Sequence[Buffer], shape: Shape) -> Buffer:
    """Emit the sum of the parts, or their channels beside each other: an array of `shape`."""
    if len(parts) == 1:
        return parts[0]
    whole = low.buffer(shape)
    if merge == "sum":
        add_up(low, parts, whole)
    else:
        put_together(low, parts, whole)
    return whole


def split(low: Lowering, merge: str, dy: Buffer, shapes: Sequence[Shape]) -> list[Buffer]:
    """Emit the backward pass of `join`: the gradient with respect to each part."""
    if merge == "sum" or len(shapes) == 1:
        return [dy] * len(shapes)
    parts = [low.buffer(shape) for shape in shapes]
    take_apart(low, dy, parts)
    return parts


def add_up(low: Lowering, parts: Sequence[Place], whole: Place) -> None:
    """Emit whole = the sum of at least two parts, in their order."""
    size, so_far = math.prod(whole.shape), parts[0]
    for part in parts[1:]:
        low.program.add("dense.add", cut(size, PIECE), x=so_far, y=part, z=whole, size=size, piece=PIECE)
        so_far = whole


def put_together(low: Lowering, parts: Sequence[Place], whole: Place) -> None:
    """Emit the channels of the parts beside each other."""
    for part, start in zip(parts, _starts(parts), strict=True):
        _move(low, part, whole, part.shape[-1], (0, start))


def take_apart(low: Lowering, whole: Place, parts: Sequence[Place]) -> None:
    """Emit the backward pass of `put_together`."""
    for part, start in zip(parts, _starts(parts), strict=True):
        _move(low, whole, part, part.shape[-1], (start, 0))


def _starts(parts: Sequence[Place]) -> list[int]:
    """Return at which channel of the whole each part begins."""
    return list(itertools.accumulate((part.shape[-1] for part in parts[:-1]), initial=0))


def _move(low: Lowering, x: Place, y: Place, width: int, starts: tuple[int, int]) -> None:
    """Emit the copy of some channels of x to some channels of y."""
    rows, piece = math.prod(x.shape[:-1]), cut(PIECE, width)
    low.program.add(
        "join.move", cut(rows, piece), x=Channels(numbers=x, pitch=x.shape[-1], start=starts[0]),
        y=Channels(numbers=y, pitch=y.shape[-1], start=starts[1]), rows=rows, width=width, piece=piece,
    )  # fmt: skip
