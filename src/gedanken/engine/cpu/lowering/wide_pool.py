"""Max pooling by windows of more pixels than a byte can number."""

import math

from gedanken.engine.cpu.lowering.base import Lowered, Lowering, window_of
from gedanken.engine.cpu.program import Buffer
from gedanken.layers import BasePool
from gedanken.layers.stages import LayerStage


def wide_pool(low: Lowering, stage: LayerStage, x: Buffer) -> Lowered:
    """Lower a max pooling whose windows are pooled along columns first, then along rows."""
    layer = stage.layer
    assert isinstance(layer, BasePool)
    geometry, channels = layer.geometry(stage.shape), stage.shape[2]
    height, width = geometry.positions(stage.shape)
    band, bands = low.bands(height)
    y, winners = low.buffer((low.samples, *stage.output_shape)), low.buffer((low.samples, *stage.output_shape))
    window = window_of(stage, geometry, band, bands)
    ring = geometry.size[0] * 2 * width * channels
    low.program.add("wide_pool.forward", low.samples * bands, ring, x=x, y=y, winners=winners, window=window)

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        if not wanted:
            return None
        dx = low.buffer(x.shape)
        low.program.add(
            "wide_pool.gradient", low.samples, math.prod(stage.shape), dy=dy, winners=winners, d=dx, window=window
        )
        return dx

    return y, backward
