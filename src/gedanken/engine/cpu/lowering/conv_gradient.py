"""The gradient of a convolution by its kernel."""

import math
from typing import Any

import numpy as np

from gedanken.engine.cpu.kernels.bf16 import SIDE, TILE
from gedanken.engine.cpu.kernels.conv_gradient import FLUSH
from gedanken.engine.cpu.lowering import bf16
from gedanken.engine.cpu.lowering.base import CACHED, SUMS, TASKS, Lowering, cut
from gedanken.engine.cpu.lowering.taps import Slide, contiguous
from gedanken.engine.cpu.program import Buffer
from gedanken.geometry import Geometry
from gedanken.layers.stages import LayerStage
from gedanken.types import Array

STRIP = 160  # pixels of dy in a strip: with a panel's width they fill half of a first-level cache
LONG = 320  # pixels of a row in a strip: longer sums lose digits
NUMBERS = 6 << 10  # of an image in a strip where filters are few: half of a first-level cache
ZEROS = 3.5  # products of the tile unit for each one that is needed: with more it is no faster
WORTH = 0.8  # of the work with filters as columns: less is worth having them as rows


def by_kernel(low: Lowering, step: LayerStage, slide: Slide, geometry: Geometry, x: Buffer, dy: Buffer) -> None:
    """Emit the gradients with respect to kernel and bias; slide is the one of the forward pass."""
    if low.bf16 and suits_tile_unit(slide, geometry):
        bf16.kernel_gradient(low, step, geometry, slide.source, slide.target, x, dy)
        return
    kernel = step.g["kernel"]
    slots = max(1, min(low.samples, 2 * TASKS, SUMS // (kernel.size * low.real.itemsize)))
    partial, bias_partial = low.buffer((slots, kernel.size)), low.buffer((slots, kernel.shape[3]))
    common = {
        "x": x, "dy": dy, "partial": partial, "bias_partial": bias_partial, "biased": int("bias" in step.g),
        "images": low.samples, "slots": slots, "height": slide.source[0], "width": slide.source[1],
        "channels": slide.source[2], "top": slide.before[0], "left": slide.before[1],
        "reach": (slide.target[0] - 1) * geometry.stride[0] + slide.reach, "down": geometry.stride[0],
        "right": geometry.stride[1], "window_rows": geometry.size[0], "row_dilation": geometry.dilation[0],
        "window_columns": geometry.size[1], "column_dilation": geometry.dilation[1],
        "joined": int(contiguous(geometry)), "out_height": slide.target[0], "out_width": slide.target[1],
        "out_channels": slide.target[2], "groups": geometry.groups, "seen_rows": _seen(slide, geometry, 0),
        "seen_columns": np.repeat(_seen(slide, geometry, 1), slide.unit, axis=0),
    }  # fmt: skip
    if _few_filters(low, slide, geometry):
        partial = _by_few_filters(low, slide, kernel, common)
    else:
        _by_strips(low, slide, kernel, common)
    low.add_up(partial, kernel, slots)
    if "bias" in step.g:
        low.add_up(bias_partial, step.g["bias"], slots)


def suits_tile_unit(slide: Slide, geometry: Geometry) -> bool:
    """Return whether the tile unit, which takes whole rows of images and whole tiles, multiplies few zeros."""
    ins, outs = slide.unit, slide.target[2] // slide.groups
    rows, columns = ((found[:, 1] - found[:, 0]).clip(0).sum() for found in (_seen(slide, geometry, a) for a in (0, 1)))
    width = bf16.plane_width(geometry, slide.source)
    taken = math.prod(geometry.size) * slide.target[0] * width
    tiles = cut(ins, SIDE) * SIDE * cut(outs, TILE) * TILE
    return bool(taken * tiles < ZEROS * rows * columns * ins * cut(outs, SIDE) * SIDE)


def _by_strips(low: Lowering, slide: Slide, kernel: Array, common: dict[str, Any]) -> None:
    (height, width, channels), (out_height, out_width, out_channels) = slide.source, slide.target
    slots, border = common["slots"], slide.cut_off(1)
    blocks = min(low.panels(out_channels // slide.groups), cut(TASKS, slots))
    padded_width = slide.padded_width if border else width
    pitch = padded_width * channels
    size = common["reach"] * pitch if border else height * width * channels
    fitting = CACHED // (size * low.real.itemsize)
    together = max(1, min(cut(STRIP, out_height * out_width), fitting, cut(low.samples, slots)))
    strip = min(out_height, max(1, STRIP // out_width)) if together == 1 else out_height
    most = min(out_width, LONG)
    strips = cut(cut(low.samples, slots), together) * cut(out_height, strip) * cut(out_width, most)
    low.program.add(
        "conv_gradient.by_kernel", slots * blocks,
        (together * size if border else 0) + together * strip * most * low.tile_columns, **common,
        kept=low.buffer((slots, kernel.size) if strips > FLUSH else (1,)), blocks=blocks, border=int(border),
        padded_width=padded_width, strip=strip, most=most, together=together,
        offsets=_rows_of_images(together, strip, size, common["down"] * pitch),
    )  # fmt: skip


def _rows_of_images(together: int, rows: int, size: int, pitch: int) -> Array:
    """Return [n]: where rows of n images lie, row by row: the first of all images, then the second."""
    found = np.zeros((together + 1, rows * together), np.int64)
    for count in range(1, together + 1):
        found[count, : rows * count] = np.add.outer(np.arange(rows) * pitch, np.arange(count) * size).ravel()
    return found


def _few_filters(low: Lowering, slide: Slide, geometry: Geometry) -> bool:
    """Return whether tiles are filled better with filters as rows than as columns."""
    outs = slide.target[2] // slide.groups
    span = slide.unit * (geometry.size[1] if contiguous(geometry) else 1)
    return _tiled(low, outs, span) < WORTH * _tiled(low, span, outs)


def _tiled(low: Lowering, rows: int, columns: int) -> int:
    """Return what a step of a sum costs in tiles of so many rows and columns; a sum waits for the one before."""
    return max(rows, 4) * cut(columns, low.lanes)


def _by_few_filters(low: Lowering, slide: Slide, kernel: Array, common: dict[str, Any]) -> Buffer:
    """Emit the sums with filters as rows; return them with filters as columns."""
    slots, (out_height, out_width, out_channels) = common["slots"], slide.target
    pitch = slide.padded_width * slide.source[2]
    strip = min(out_height, max(1, min(NUMBERS // pitch, LONG // out_width)))
    most = min(out_width, LONG)
    strips = cut(low.samples, slots) * cut(out_height, strip) * cut(out_width, most)
    low.program.add(
        "conv_gradient.by_few_filters", slots, common["reach"] * pitch + low.tile_columns, **common,
        kept=low.buffer((slots, kernel.size) if strips > FLUSH else (1,)), padded_width=slide.padded_width,
        strip=strip, most=most, offsets=np.arange(strip, dtype=np.int64) * out_width * out_channels,
    )  # fmt: skip
    partial: Buffer = common["partial"]
    if out_channels == 1:
        return partial
    turned = low.buffer(partial.shape)
    rows, columns = out_channels, kernel.size // out_channels
    low.program.add("dense.reorder", slots, x=partial, y=turned, rows=rows, columns=columns)
    return turned


def _seen(slide: Slide, geometry: Geometry, axis: int) -> Array:
    """Return for each place of the window along an axis between which outputs it lies inside the image."""
    at = np.arange(slide.target[axis]) * geometry.stride[axis]
    places = np.arange(geometry.size[axis]) * geometry.dilation[axis]
    before = slide.before[axis]
    edges = (before - places, before + slide.source[axis] - places)
    return np.stack([np.searchsorted(at, edge) for edge in edges], axis=1).astype(np.int64)
