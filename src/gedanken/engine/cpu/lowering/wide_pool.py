"""Max pooling by windows of more pixels than a byte can number."""

import math

from gedanken.engine.cpu.lowering.base import TASKS, Lowered, Lowering, cut, window_of
from gedanken.engine.cpu.program import Buffer
from gedanken.layers import MaxPoolLayer
from gedanken.layers.stages import LayerStage

MOST_TAPS = 1 << 24  # a winner's number is a float32


def wide_pool(low: Lowering, stage: LayerStage, x: Buffer) -> Lowered:
    """Lower a max pooling whose windows are pooled along columns first, then along rows."""
    layer = stage.layer
    assert isinstance(layer, MaxPoolLayer)
    geometry = layer.geometry(stage.shape)
    height, width, channels = stage.output_shape
    band = cut(height, cut(TASKS, low.samples))
    bands = cut(height, band)
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
