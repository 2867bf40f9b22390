"""Pooling by p-norms, of pictures and over time."""

import math

from gedanken.engine.cpu.kernels.norm_pool import ROOM, Norms
from gedanken.engine.cpu.lowering.base import Lowered, Lowering, cut
from gedanken.engine.cpu.lowering.pooling import listed
from gedanken.engine.cpu.lowering.time import windows_over_time
from gedanken.engine.cpu.program import Buffer
from gedanken.layers import GlobalLpPoolLayer, LpPoolLayer
from gedanken.layers.pool1d import NormOfTime
from gedanken.layers.stages import LayerStage


def norm_pool(low: Lowering, stage: LayerStage, x: Buffer) -> Lowered:
    """Lower a pooling of pictures."""
    layer, windows = stage.layer, listed(low, stage)
    assert isinstance(layer, (LpPoolLayer, GlobalLpPoolLayer))
    y, (band, bands) = low.buffer((low.samples, *stage.output_shape)), low.bands(windows.out_height)
    low.program.add(
        "norm_pool.forward", low.samples * bands, ROOM * windows.channels, x=x, y=y, p=windows, power=layer.power,
        band=band, bands=bands,
    )  # fmt: skip

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        if not wanted:
            return None
        dx, norms = low.buffer(x.shape), Norms(y=y, dy=dy, power=layer.power)
        low.program.add("norm_pool.gradient", low.samples, math.prod(stage.shape), x=x, d=dx, p=windows, norms=norms)
        return dx

    return y, backward


def norm_over_time(low: Lowering, stage: LayerStage, x: Buffer) -> Lowered:
    """Lower a pooling over time."""
    layer, windows = stage.layer, windows_over_time(low, stage)
    assert isinstance(layer, NormOfTime)
    tasks, lengths = cut(low.samples, windows.piece), low.lengths(stage)
    y = low.buffer((low.samples, *stage.output_shape))
    low.program.add(
        "norm_pool.over_time", tasks, ROOM * windows.features, x=x, y=y, lengths=lengths, w=windows, power=layer.power
    )

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        if not wanted:
            return None
        dx, norms = low.buffer(x.shape), Norms(y=y, dy=dy, power=layer.power)
        low.program.add(
            "norm_pool.time_gradient", tasks, math.prod(stage.shape), x=x, d=dx, lengths=lengths, w=windows,
            norms=norms,
        )  # fmt: skip
        return dx

    return y, backward
