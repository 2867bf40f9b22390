"""Which kernels a pooling has: those of a group, those of wide windows, or the general ones by tables of windows."""

import math

from gedanken.engine.cpu.kernels.listed_pool import Listed, Seen
from gedanken.engine.cpu.kernels.pointwise import AVERAGE_POOL, MAX_POOL
from gedanken.engine.cpu.lowering.base import Lowered, Lowering
from gedanken.engine.cpu.lowering.wide_pool import wide_pool
from gedanken.engine.cpu.program import Buffer
from gedanken.geometry import Span
from gedanken.layers import (
    AdaptiveAveragePoolLayer,
    AdaptiveMaxPoolLayer,
    AveragePoolLayer,
    BasePool,
    GlobalAveragePoolLayer,
    GlobalMaxPoolLayer,
    Layer,
    MaxPoolLayer,
)
from gedanken.layers.adaptive import AdaptivePool
from gedanken.layers.stages import LayerStage
from gedanken.types import Array, Shape

POOLS = {
    MaxPoolLayer: MAX_POOL,
    GlobalMaxPoolLayer: MAX_POOL,
    AdaptiveMaxPoolLayer: MAX_POOL,
    AveragePoolLayer: AVERAGE_POOL,
    GlobalAveragePoolLayer: AVERAGE_POOL,
    AdaptiveAveragePoolLayer: AVERAGE_POOL,
}
MOST_IN_GROUP = (
    63  # at most DROPPED, since a winner's number is a byte; larger windows are faster along rows and columns
)
MOST_IN_WIDE = 1 << 24  # a winner's number is a float32


def in_group(stage: LayerStage) -> bool:
    """Return whether a pooling can be one pass with what stands beside it: plain windows of few pixels, or any mean."""
    layer = stage.layer
    if not _plain(layer, stage.shape):
        return False
    return POOLS[type(layer)] == AVERAGE_POOL or _taps(layer, stage.shape) <= MOST_IN_GROUP


def pooling(low: Lowering, stage: LayerStage, x: Buffer) -> Lowered:
    """Lower a pooling by itself."""
    wide = _plain(stage.layer, stage.shape) and _taps(stage.layer, stage.shape) <= MOST_IN_WIDE
    return (wide_pool if wide else _listed)(low, stage, x)


def _taps(layer: Layer, shape: Shape) -> int:
    assert isinstance(layer, BasePool)
    return math.prod(layer.geometry(shape).size)


def _plain(layer: Layer, shape: Shape) -> bool:
    """Return whether all windows are alike, their pixels beside each other, and means are over as many values."""
    if isinstance(layer, AdaptivePool):
        return False
    assert isinstance(layer, BasePool)
    alike = not isinstance(layer, AveragePoolLayer) or layer.is_even(shape)
    return alike and layer.geometry(shape).dilation == (1, 1)


# ---------------------------------------------------------------------------------------------- by tables


def _listed(low: Lowering, stage: LayerStage, x: Buffer) -> Lowered:
    return (_average if POOLS[type(stage.layer)] == AVERAGE_POOL else _largest)(low, stage, x)


def _average(low: Lowering, stage: LayerStage, x: Buffer) -> Lowered:
    windows = listed(low, stage)
    line, out_line = windows.width * windows.channels, windows.out_width * windows.channels
    y, (band, bands) = low.buffer((low.samples, *stage.output_shape)), low.bands(windows.out_height)
    low.program.add(
        "listed_pool.average", low.samples * bands, 2 * line + out_line, x=x, y=y, p=windows, band=band, bands=bands
    )

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        if not wanted:
            return None
        dx, (band, bands) = low.buffer(x.shape), low.bands(windows.height)
        low.program.add(
            "listed_pool.average_gradient", low.samples * bands, 2 * out_line + line, dy=dy, d=dx, p=windows, band=band,
            bands=bands,
        )  # fmt: skip
        return dx

    return y, backward


def _largest(low: Lowering, stage: LayerStage, x: Buffer) -> Lowered:
    windows = listed(low, stage)
    y, winners = (low.buffer((low.samples, *stage.output_shape), kind) for kind in ("", "int32"))
    band, bands = low.bands(windows.out_height)
    low.program.add(
        "listed_pool.largest", low.samples * bands, x=x, y=y, winners=winners, p=windows, band=band, bands=bands
    )

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        if not wanted:
            return None
        dx = low.buffer(x.shape)
        low.program.add(
            "listed_pool.largest_gradient", low.samples, math.prod(stage.shape), dy=dy, winners=winners, d=dx,
            p=windows,
        )  # fmt: skip
        return dx

    return y, backward


def listed(low: Lowering, stage: LayerStage) -> Listed:
    """Return the windows of a pooling of pictures as tables."""
    rows, columns = _spans(stage)
    (height, width, channels), layer = stage.shape, stage.layer
    counts = layer.counts(stage.shape) if isinstance(layer, AveragePoolLayer) else (rows.seen, columns.seen)
    return Listed(
        height=height, width=width, channels=channels, out_height=len(rows.first), out_width=len(columns.first),
        rows=_seen(low, rows, counts[0]), columns=_seen(low, columns, counts[1]),
    )  # fmt: skip


def _spans(stage: LayerStage) -> tuple[Span, Span]:
    layer, shape = stage.layer, stage.shape
    if isinstance(layer, AdaptivePool):
        return layer.spans(shape)
    assert isinstance(layer, BasePool)
    geometry = layer.geometry(shape)
    return geometry.span(0, shape[0], 0), geometry.span(1, shape[1], 0)


def _seen(low: Lowering, span: Span, counts: Array) -> Seen:
    return Seen(first=span.first, seen=span.seen, shares=(1 / counts).astype(low.real), step=span.step)
