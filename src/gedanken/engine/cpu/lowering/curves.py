"""Activations that are no function of single numbers: PReLU, SoftMax, LogSoftMax and GLU."""

import math

from gedanken.engine.cpu.kernels.blocks import Rows
from gedanken.engine.cpu.kernels.prelu import Slopes
from gedanken.engine.cpu.lowering.base import PIECE, Lowered, Lowering, cut
from gedanken.engine.cpu.lowering.permute import by_row
from gedanken.engine.cpu.program import Buffer
from gedanken.layers import Layer, LogSoftMax, PReLU, SoftMax
from gedanken.layers.stages import LayerStage

KERNELS: dict[type[Layer], tuple[str, str]] = {
    SoftMax: ("cost.softmax", "cost.softmax_gradient"),
    LogSoftMax: ("log_softmax.forward", "log_softmax.gradient"),
}


def prelu(low: Lowering, stage: LayerStage, x: Buffer) -> Lowered:
    """Lower PReLU."""
    layer, channels = stage.layer, stage.shape[-1]
    assert isinstance(layer, PReLU)
    rows = _rows(low, stage)
    y, slope = low.buffer(x.shape), Slopes(values=stage.p["slope"], shared=int(layer.shared))
    slots = cut(rows.rows, rows.piece)
    low.program.add("prelu.forward", slots, channels, x=x, y=y, slope=slope, m=rows)

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        dx, partial = low.buffer(x.shape), low.buffer((slots, channels))
        low.program.add("prelu.gradient", slots, 2 * channels, x=x, dy=dy, d=dx, slope=slope, partial=partial, m=rows)
        by_channel = low.buffer((channels,)) if layer.shared else stage.g["slope"]
        low.add_up(partial, by_channel, slots)
        if layer.shared:
            low.program.add("prelu.total", 1, sums=by_channel, target=stage.g["slope"], channels=channels)
        return dx if wanted else None

    return y, backward


def softmax(low: Lowering, stage: LayerStage, x: Buffer) -> Lowered:
    """Lower LogSoftMax, or a SoftMax that is not part of the cost."""
    return by_row(low, stage, x, _shares)


def _shares(low: Lowering, stage: LayerStage, x: Buffer, columns: int) -> Lowered:
    """Emit either for rows."""
    forward, gradient = KERNELS[type(stage.layer)]
    matrix = Rows(rows=low.samples * math.prod(stage.shape) // columns, columns=columns, piece=cut(PIECE, columns))
    y, pieces = low.buffer(x.shape), cut(matrix.rows, matrix.piece)
    low.program.add(forward, pieces, x=x, y=y, m=matrix)

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        if not wanted:
            return None
        dx = low.buffer(x.shape)
        low.program.add(gradient, pieces, y=y, dy=dy, dx=dx, m=matrix)
        return dx

    return y, backward


def glu(low: Lowering, stage: LayerStage, x: Buffer) -> Lowered:
    """Lower GLU."""
    return by_row(low, stage, x, _halved)


def _halved(low: Lowering, stage: LayerStage, x: Buffer, columns: int) -> Lowered:
    """Emit it for rows."""
    rows = Rows(rows=low.samples * math.prod(stage.shape) // columns, columns=columns, piece=cut(PIECE, columns))
    y, pieces = low.buffer((low.samples, math.prod(stage.output_shape))), cut(rows.rows, rows.piece)
    low.program.add("glu.forward", pieces, x=x, y=y, m=rows)

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        if not wanted:
            return None
        dx = low.buffer(x.shape)
        low.program.add("glu.gradient", pieces, x=x, dy=dy, dx=dx, m=rows)
        return dx

    return y, backward


def _rows(low: Lowering, stage: LayerStage) -> Rows:
    """Return the rows of channels of a layer's input, and how many a task takes."""
    channels = stage.shape[-1]
    return Rows(rows=low.samples * math.prod(stage.shape[:-1]), columns=channels, piece=cut(PIECE, channels))
