"""Where the ways through a container part and meet."""

import itertools
import math
from collections.abc import Sequence

from gedanken.engine.cpu.kernels import join as kinds
from gedanken.engine.cpu.kernels.blocks import Rows
from gedanken.engine.cpu.lowering.base import PIECE, Lowering, cut
from gedanken.engine.cpu.program import Buffer
from gedanken.types import Array, Shape

Place = Buffer | Array
KINDS = {
    "subtract": kinds.SUBTRACT, "multiply": kinds.MULTIPLY, "maximum": kinds.MAXIMUM, "minimum": kinds.MINIMUM,
}  # fmt: skip


OF_CHANNELS = {"dot": 0, "cosine": 1}


def join(low: Lowering, merge: str, parts: Sequence[Buffer], shape: Shape) -> Buffer:
    """Emit what becomes of the parts where they are merged: an array of `shape`."""
    if len(parts) == 1:
        return parts[0]
    whole = low.buffer(shape)
    if merge in KINDS:
        _combine(low, KINDS[merge], parts, whole)
    elif merge in OF_CHANNELS:
        tasks, columns, rows = _rows_of(parts[0])
        x, y = parts
        low.program.add("dot.forward", tasks, columns, x=x, y=y, z=whole, cosine=OF_CHANNELS[merge], m=rows)
    elif merge in ("sum", "average"):
        add_up(low, parts, whole)
    else:
        put_together(low, parts, whole)
    if merge == "average":
        _scale(low, whole, whole, 1 / len(parts))
    return whole


def split(low: Lowering, merge: str, dy: Buffer, parts: Sequence[Buffer], whole: Buffer) -> list[Buffer]:
    """Emit the backward pass of `join`: the gradient with respect to each part.

    Args:
        low: the program.
        merge: the way to merge.
        dy: the gradient with respect to the whole.
        parts, whole: what `join` took and gave.
    """
    if merge == "sum" or len(parts) == 1:
        return [dy] * len(parts)
    if merge == "average":
        return [_scaled(low, dy, 1 / len(parts))] * len(parts)
    if merge == "subtract":
        return [dy, _scaled(low, dy, -1.0)]
    ds = [low.buffer(part.shape) for part in parts]
    if merge == "multiply":
        for i, d in enumerate(ds):
            _combine(low, kinds.MULTIPLY, (dy, *parts[:i], *parts[i + 1 :]), d)
    elif merge in OF_CHANNELS:
        tasks, columns, rows = _rows_of(parts[0])
        for x, y, d in zip(parts, parts[::-1], ds, strict=True):
            low.program.add(
                "dot.gradient", tasks, columns, x=x, y=y, dz=dy, dx=d, cosine=OF_CHANNELS[merge], m=rows
            )  # fmt: skip
    elif merge in KINDS:
        _give_winners(low, dy, parts, whole, ds)
    else:
        take_apart(low, dy, ds)
    return ds


def _combine(low: Lowering, kind: int, parts: Sequence[Place], whole: Place) -> None:
    """Emit whole = the difference, product or extreme of at least two parts, in their order."""
    tasks, numbers = _pieces(whole)
    so_far = parts[0]
    for part in parts[1:]:
        low.program.add("join.combine", tasks, x=so_far, y=part, z=whole, kind=kind, p=numbers)
        so_far = whole


def _scaled(low: Lowering, x: Buffer, factor: float) -> Buffer:
    z = low.buffer(x.shape)
    _scale(low, x, z, factor)
    return z


def _scale(low: Lowering, x: Buffer, z: Buffer, factor: float) -> None:
    tasks, numbers = _pieces(x)
    low.program.add("join.scale", tasks, x=x, z=z, factor=factor, p=numbers)


def _give_winners(low: Lowering, dy: Buffer, parts: Sequence[Buffer], whole: Buffer, ds: Sequence[Buffer]) -> None:
    """Emit the gradients of the largest or smallest of the parts."""
    (tasks, numbers), winners = _pieces(whole), low.buffer(whole.shape)
    for i, part in enumerate(parts):
        low.program.add("join.count_winners", tasks, x=part, y=whole, winners=winners, first=int(i == 0), p=numbers)
    for part, d in zip(parts, ds, strict=True):
        contest = kinds.Contest(x=part, y=whole, dy=dy, winners=winners)
        low.program.add("join.give_winners", tasks, c=contest, d=d, p=numbers)


def _rows_of(part: Place) -> tuple[int, int, Rows]:
    """Return how many tasks there are for a part's rows of channels, how many channels, and the rows."""
    columns = part.shape[-1]
    rows = Rows(rows=math.prod(part.shape[:-1]), columns=columns, piece=cut(PIECE, columns))
    return cut(rows.rows, rows.piece), columns, rows


def _pieces(whole: Place) -> tuple[int, kinds.Part]:
    size = math.prod(whole.shape)
    return cut(size, PIECE), kinds.Part(size=size, piece=PIECE)


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
        "join.move", cut(rows, piece), x=kinds.Channels(numbers=x, pitch=x.shape[-1], start=starts[0]),
        y=kinds.Channels(numbers=y, pitch=y.shape[-1], start=starts[1]), rows=rows, width=width, piece=piece,
    )  # fmt: skip
