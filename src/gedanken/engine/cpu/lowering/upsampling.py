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
    """Lower upsampling of any mode."""
    layer, (height, width, channels), made = stage.layer, stage.shape, stage.output_shape
    assert isinstance(layer, UpsamplingLayer)
    by_row, by_column = layer.blends(stage.shape)
    rows, columns = _axis(low, by_row, height), _axis(low, by_column, width)

    def scaled(count: int) -> Scaled:
        """Return how pictures are scaled, cut into bands of `count` rows in all."""
        band = cut(count, cut(TASKS, low.samples))
        return Scaled(
            height=height, width=width, channels=channels, out_height=made[0], out_width=made[1],
            taps=len(by_row.places), rows=rows, columns=columns, band=band, bands=cut(count, band),
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
    shares = low.zeros(1) if blend.shares is None else np.ascontiguousarray(blend.shares.T, low.real)
    # An input is seen from the first output whose last tap has come to it until the first tap has gone on.
    begin = np.searchsorted(blend.places[-1], np.arange(inputs))
    end = np.searchsorted(blend.places[0], np.arange(inputs), "right")
    places, begin, end = (np.ascontiguousarray(table, np.int64) for table in (blend.places.T, begin, end))
    return Axis(places=places, shares=shares, begin=begin, end=end)


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
