"""Permute, and layers over chosen axes: numbers move, and a few orders need less than a walk through all axes."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from gedanken.engine.cpu.kernels.permute import Moved
from gedanken.engine.cpu.lowering.base import PIECE, Lowered, Lowering, cut
from gedanken.engine.cpu.program import Buffer
from gedanken.layers import Permute
from gedanken.layers.over_axes import OverAxes
from gedanken.layers.stages import LayerStage
from gedanken.types import Shape


def permute(low: Lowering, stage: LayerStage, x: Buffer) -> Lowered:
    """Lower Permute."""
    layer = stage.layer
    assert isinstance(layer, Permute)
    there = layer.moves
    back = [there.index(axis) for axis in range(len(there))]

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        return moved(low, dy, stage.output_shape, back) if wanted else None

    return moved(low, x, stage.shape, there), backward


def moved(low: Lowering, x: Buffer, shape: Shape, moves: Sequence[int]) -> Buffer:
    """Emit samples of a shape with axis moves[i] of what is given as their axis number i."""
    made = tuple(shape[axis] for axis in moves)
    sizes, order = _merged(shape, moves)
    if len(order) < 2:
        return low.program.view(x, (low.samples, *made))
    y = low.buffer((low.samples, *made))
    if order in ([1, 0], [0, 2, 1]):  # a matrix of each sample, or several of them
        matrices, (rows, columns) = low.samples * math.prod(sizes[:-2]), sizes[-2:]
        low.program.add("dense.reorder", matrices, x=x, y=y, rows=rows, columns=columns)
        return y
    steps, length = [math.prod(sizes[axis + 1 :]) for axis in order], sizes[order[-1]]
    rows, piece = math.prod(sizes) // length, cut(PIECE, length)
    m = Moved(
        axes=len(order), sizes=np.array([sizes[axis] for axis in order], np.int64), steps=np.array(steps, np.int64),
        length=length, rows=rows, all_rows=low.samples * rows, piece=piece,
    )  # fmt: skip
    low.program.add("permute.forward", cut(low.samples * rows, piece), x=x, y=y, m=m)
    return y


def by_row(
    low: Lowering, stage: LayerStage, x: Buffer, emit: Callable[[Lowering, LayerStage, Buffer, int], Lowered]
) -> Lowered:
    """Emit what takes some axes together, on samples whose last axes these are: rows of some numbers each.

    Args:
        low, stage, x: as ever.
        emit: lowers it for rows, (low, stage, x, numbers in a row).
    """
    layer, shape, after = stage.layer, stage.shape, stage.output_shape
    assert isinstance(layer, OverAxes)
    over = layer.inside(shape)
    order = [*(axis for axis in range(len(shape)) if axis not in over), *over]
    back = [order.index(axis) for axis in range(len(shape))]
    made, gradient = emit(low, stage, moved(low, x, shape, order), math.prod(shape[axis] for axis in over))

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        dx = gradient(moved(low, dy, after, order), wanted)
        return moved(low, dx, tuple(shape[axis] for axis in order), back) if dx else None

    return moved(low, made, tuple(after[axis] for axis in order), back), backward


def _merged(shape: Shape, moves: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return sizes and order of as few axes as say the same: those that stay side by side are one, single ones none."""
    runs: list[list[int]] = []
    for axis in (axis for axis in moves if shape[axis] > 1):
        between = range(runs[-1][-1] + 1, axis) if runs else ()
        if runs and runs[-1][-1] < axis and all(shape[other] == 1 for other in between):
            runs[-1].append(axis)
        else:
            runs.append([axis])
    given = sorted(runs)
    return [math.prod(shape[axis] for axis in run) for run in given], [given.index(run) for run in runs]
