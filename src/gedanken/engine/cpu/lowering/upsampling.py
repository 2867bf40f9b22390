"""Layers that make pictures larger, or smaller again, without products."""

import math

import numpy as np

from gedanken.engine.cpu.kernels.upsampling import Axis, Scaled, Shuffled
from gedanken.engine.cpu.lowering.base import PIECE, TASKS, Lowered, Lowering, cut
from gedanken.engine.cpu.program import Buffer
from gedanken.layers import PixelShuffle, PixelUnshuffle, UpsamplingLayer
from gedanken.layers.stages import LayerStage
from gedanken.layers.upsampling import Blend
from gedanken.types import Shape


def upsampling(low: Lowering, stage: LayerStage, x: Buffer) -> Lowered:
    """Lower nearest and bilinear upsampling."""
    layer, (height, width, channels), made = stage.layer, stage.shape, stage.output_shape
    assert isinstance(layer, UpsamplingLayer)
    by_row, by_column = layer.blends(stage.shape)
    rows, columns = _axis(low, by_row, height), _axis(low, by_column, width)

    def scaled(count: int) -> Scaled:
        """Return how pictures are scaled, cut into bands of `count` rows in all."""
        band = cut(count, cut(TASKS, low.samples))
        return Scaled(
            height=height, width=width, channels=channels, out_height=made[0], out_width=made[1],
            blends=int(by_row.share is not None), rows=rows, columns=columns, band=band, bands=cut(count, band),
        )  # fmt: skip

    there, back = scaled(made[0]), scaled(height)
    y = low.buffer((low.samples, *made))
    low.program.add("upsampling.forward", low.samples * there.bands, width * channels, x=x, y=y, s=there)

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        if not wanted:
            return None
        dx, room = low.buffer((low.samples, *stage.shape)), (3 * made[1] + 2) * channels
        low.program.add("upsampling.gradient", low.samples * back.bands, room, dy=dy, d=dx, s=back)
        return dx

    return y, backward


def _axis(low: Lowering, blend: Blend, inputs: int) -> Axis:
    share = low.zeros(1) if blend.share is None else blend.share.astype(low.real)
    places = np.arange(inputs)
    # An input is the first of some outputs and, of means, the second of those before.
    begin = np.searchsorted(blend.first, places - (blend.share is not None))
    end = np.searchsorted(blend.first, places, "right")
    tables = (np.ascontiguousarray(table, np.int64) for table in (blend.first, blend.second, begin, end))
    first, second, begin, end = tables
    return Axis(first=first, second=second, share=share, begin=begin, end=end)


def pixel_shuffle(low: Lowering, stage: LayerStage, x: Buffer) -> Lowered:
    """Lower the layers that make pixels of channels, and channels of pixels."""
    layer = stage.layer
    assert isinstance(layer, (PixelShuffle, PixelUnshuffle))
    larger = isinstance(layer, PixelShuffle)
    (height, width, _), shuffled = (stage.shape, stage.output_shape) if larger else (stage.output_shape, stage.shape)
    rows, piece = low.samples * height, cut(PIECE, math.prod(stage.shape[1:]))
    given = Shuffled(width=width, channels=shuffled[2], factor=layer.factor, rows=rows, piece=piece)

    def moved(x: Buffer, shape: Shape, larger: bool) -> Buffer:
        y = low.buffer((low.samples, *shape))
        low.program.add(f"upsampling.{'shuffle' if larger else 'gather'}", cut(rows, piece), x=x, y=y, s=given)
        return y

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        return moved(dy, stage.shape, not larger) if wanted else None

    return moved(x, stage.output_shape, larger), backward
