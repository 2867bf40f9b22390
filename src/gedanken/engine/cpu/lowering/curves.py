"""Activations that are no function of single numbers: PReLU, LogSoftMax and GLU."""

import math

from gedanken.engine.cpu.kernels.blocks import Rows
from gedanken.engine.cpu.kernels.prelu import Slopes
from gedanken.engine.cpu.lowering.base import PIECE, Lowered, Lowering, cut
from gedanken.engine.cpu.program import Buffer
from gedanken.layers import PReLU
from gedanken.layers.stages import LayerStage


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


def log_softmax(low: Lowering, stage: LayerStage, x: Buffer) -> Lowered:
    """Lower LogSoftMax."""
    y, rows = low.buffer(x.shape), _rows(low, stage)
    low.program.add("log_softmax.forward", cut(rows.rows, rows.piece), x=x, y=y, m=rows)

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        if not wanted:
            return None
        dx = low.buffer(x.shape)
        low.program.add("log_softmax.gradient", cut(rows.rows, rows.piece), y=y, dy=dy, dx=dx, m=rows)
        return dx

    return y, backward


def glu(low: Lowering, stage: LayerStage, x: Buffer) -> Lowered:
    """Lower GLU."""
    y, rows = low.buffer((x.shape[0], *stage.output_shape)), _rows(low, stage)
    low.program.add("glu.forward", cut(rows.rows, rows.piece), x=x, y=y, m=rows)

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        if not wanted:
            return None
        dx = low.buffer(x.shape)
        low.program.add("glu.gradient", cut(rows.rows, rows.piece), x=x, dy=dy, dx=dx, m=rows)
        return dx

    return y, backward


def _rows(low: Lowering, stage: LayerStage) -> Rows:
    """Return the rows of channels of a layer's input, and how many a task takes."""
    channels = stage.shape[-1]
    return Rows(rows=low.samples * math.prod(stage.shape[:-1]), columns=channels, piece=cut(PIECE, channels))
