"""The gradient of a convolution with respect to its kernel."""

from typing import NamedTuple

import numpy as np

from gedanken.engine.cpu.kernels.band import Padded, Slots
from gedanken.engine.cpu.kernels.conv_gradient import FLUSH, Gradient
from gedanken.engine.cpu.lowering.base import CACHED, TASKS, Lowering, cut, slots_of
from gedanken.engine.cpu.lowering.plan import Plan
from gedanken.engine.cpu.lowering.taps import contiguous
from gedanken.engine.cpu.program import Buffer
from gedanken.geometry import Geometry
from gedanken.layers.stages import LayerStage
from gedanken.types import Array

STRIP = 160  # pixels of dy in a strip: with a panel's width they fill half of a first-level cache
LONG = 320  # pixels of a row in a strip: longer sums lose digits
NUMBERS = 6 << 10  # of an image in a strip where filters are few: half of a first-level cache
WORTH = 0.8  # of the work with filters as columns: less is worth having them as rows


def by_kernel(low: Lowering, stage: LayerStage, plan: Plan, geometry: Geometry, x: Buffer, dy: Buffer) -> None:
    """Emit the gradients with respect to kernel and bias; plan is the one of the forward pass."""
    kernel = stage.g["kernel"]
    sums = slots_of(low, stage)
    partial = sums.weights
    if _few_filters(low, plan, geometry):
        partial = _by_few_filters(low, plan, geometry, x, dy, sums)
    else:
        _by_strips(low, plan, geometry, x, dy, sums)
    low.add_up(partial, kernel, sums.slots)
    if "bias" in stage.g:
        low.add_up(sums.bias, stage.g["bias"], sums.slots)


class _Cut(NamedTuple):
    """How the work is cut into parts; see `kernels/conv_gradient.py`."""

    padded_width: int
    border: bool
    blocks: int
    strip: int
    most: int
    together: int
    offsets: Array


def _gradient(plan: Plan, geometry: Geometry, parts: _Cut) -> Gradient:
    image = Padded(
        height=plan.source[0], width=plan.source[1], channels=plan.source[2], top=plan.before[0], left=plan.before[1],
        padded_width=parts.padded_width,
    )  # fmt: skip
    return Gradient(
        image=image, border=int(parts.border), reach=_reach(plan, geometry), down=geometry.stride[0],
        right=geometry.stride[1], window_rows=geometry.size[0], row_dilation=geometry.dilation[0],
        window_columns=geometry.size[1], column_dilation=geometry.dilation[1], joined=int(contiguous(geometry)),
        out_height=plan.target[0], out_width=plan.target[1], out_channels=plan.target[2], groups=geometry.groups,
        blocks=parts.blocks, strip=parts.strip, most=parts.most, together=parts.together, offsets=parts.offsets,
        seen_rows=seen(plan, geometry, 0), seen_columns=np.repeat(seen(plan, geometry, 1), plan.unit, axis=0),
    )  # fmt: skip


def _reach(plan: Plan, geometry: Geometry) -> int:
    """Return how many rows of an image all outputs see."""
    return (plan.target[0] - 1) * geometry.stride[0] + plan.reach


def _by_strips(low: Lowering, plan: Plan, geometry: Geometry, x: Buffer, dy: Buffer, sums: Slots) -> None:
    (height, width, channels), (out_height, out_width, out_channels) = plan.source, plan.target
    slots, border = sums.slots, plan.cut_off(1)
    blocks = min(low.panels(out_channels // plan.groups), cut(TASKS, slots))
    padded_width = plan.padded_width if border else width
    pitch = padded_width * channels
    size = _reach(plan, geometry) * pitch if border else height * width * channels
    fitting = CACHED // (size * low.real.itemsize)
    together = max(1, min(cut(STRIP, out_height * out_width), fitting, cut(low.samples, slots)))
    strip = min(out_height, max(1, STRIP // out_width)) if together == 1 else out_height
    most = min(out_width, LONG)
    strips = cut(cut(low.samples, slots), together) * cut(out_height, strip) * cut(out_width, most)
    offsets = _rows_of_images(together, strip, size, geometry.stride[0] * pitch)
    low.program.add(
        "conv_gradient.by_kernel", slots * blocks,
        (together * size if border else 0) + together * strip * most * low.tile_columns, x=x, dy=dy,
        kept=low.buffer(sums.weights.shape if strips > FLUSH else (1,)), sums=sums,
        g=_gradient(plan, geometry, _Cut(padded_width, border, blocks, strip, most, together, offsets)),
    )  # fmt: skip


def _rows_of_images(together: int, rows: int, size: int, pitch: int) -> Array:
    """Return [n]: where rows of n images lie, row by row: the first of all images, then the second."""
    found = np.zeros((together + 1, rows * together), np.int64)
    for count in range(1, together + 1):
        found[count, : rows * count] = np.add.outer(np.arange(rows) * pitch, np.arange(count) * size).ravel()
    return found


def _few_filters(low: Lowering, plan: Plan, geometry: Geometry) -> bool:
    """Return whether tiles are filled better with filters as rows than as columns."""
    outs = plan.target[2] // plan.groups
    span = plan.unit * (geometry.size[1] if contiguous(geometry) else 1)
    return _tiled(low, outs, span) < WORTH * _tiled(low, span, outs)


def _tiled(low: Lowering, rows: int, columns: int) -> int:
    """Return what a step of a sum costs in tiles of so many rows and columns; a sum waits for the one before."""
    return max(rows, 4) * cut(columns, low.lanes)


def _by_few_filters(low: Lowering, plan: Plan, geometry: Geometry, x: Buffer, dy: Buffer, sums: Slots) -> Buffer:
    """Emit the sums with filters as rows; return them with filters as columns."""
    slots, (out_height, out_width, out_channels), partial = sums.slots, plan.target, sums.weights
    pitch = plan.padded_width * plan.source[2]
    strip = min(out_height, max(1, min(NUMBERS // pitch, LONG // out_width)))
    most = min(out_width, LONG)
    strips = cut(low.samples, slots) * cut(out_height, strip) * cut(out_width, most)
    offsets = np.arange(strip, dtype=np.int64) * out_width * out_channels
    low.program.add(
        "conv_gradient.by_few_filters", slots, _reach(plan, geometry) * pitch + low.tile_columns, x=x, dy=dy,
        kept=low.buffer(partial.shape if strips > FLUSH else (1,)), sums=sums,
        g=_gradient(plan, geometry, _Cut(plan.padded_width, True, 1, strip, most, 1, offsets)),
    )  # fmt: skip
    if out_channels == 1:
        return partial
    transposed = low.buffer(partial.shape)
    rows, columns = out_channels, partial.shape[1] // out_channels
    low.program.add("dense.reorder", slots, x=partial, y=transposed, rows=rows, columns=columns)
    return transposed


def seen(plan: Plan, geometry: Geometry, axis: int) -> Array:
    """Return for each place of the window along an axis between which outputs it lies inside the image."""
    at = np.arange(plan.target[axis]) * geometry.stride[axis]
    places = np.arange(geometry.size[axis]) * geometry.dilation[axis]
    before = plan.before[axis]
    edges = (before - places, before + plan.source[axis] - places)
    return np.stack([np.searchsorted(at, edge) for edge in edges], axis=1).astype(np.int64)
