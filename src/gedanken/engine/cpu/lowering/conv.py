"""Convolution: which instructions it becomes, forward and backward."""

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from gedanken.engine.cpu.kernels.band import Finish, Padded, Weights
from gedanken.engine.cpu.kernels.conv import COLUMNS, ROWS, Slide
from gedanken.engine.cpu.kernels.rows import Activation
from gedanken.engine.cpu.lowering import spread, winograd
from gedanken.engine.cpu.lowering.activations import LINEAR
from gedanken.engine.cpu.lowering.base import CACHED, TASKS, Backward, Lowering, cut
from gedanken.engine.cpu.lowering.dense import Factor, dense_product
from gedanken.engine.cpu.lowering.depthwise import Depthwise, is_depthwise
from gedanken.engine.cpu.lowering.frame import framed
from gedanken.engine.cpu.lowering.plan import Plan
from gedanken.engine.cpu.lowering.taps import backward, forward, most_seen, tables, tiles_of
from gedanken.engine.cpu.program import Buffer
from gedanken.engine.cpu.record import table_of
from gedanken.geometry import Geometry
from gedanken.layers import ConvolutionLayer
from gedanken.layers.stages import LayerStage
from gedanken.types import Array, Shape

STREAMED = 512 << 10  # bytes of packed weights: more are worth reading for several images at once


class Convolved(NamedTuple):
    """A lowered convolution.

    Args:
        y: its outputs.
        backward: emits the backward pass.
        statistics, counts: where asked for and known, mean and squared distance of each channel by pieces, and the
            pieces' sizes.
    """

    y: Buffer
    backward: Backward
    statistics: Buffer | None
    counts: Array | None


def convolution(low: Lowering, stage: LayerStage, x: Buffer, measured: bool) -> Convolved:
    """Lower a convolution; `measured`: whether a BatchNorm wants to know the outputs' statistics."""
    layer = stage.layer
    assert isinstance(layer, ConvolutionLayer)
    if taken := _border(stage):
        padded, unpad = framed(low, x, stage.shape, taken)
        made = convolution(low, _without_padding(stage, padded.shape[1:]), padded, measured)
        return made._replace(backward=_one_after_other(made.backward, unpad))
    geometry, image = rows_joined(layer.geometry(stage.shape), stage.shape)
    bias = stage.p["bias"] if layer.bias else low.zeros(layer.n_filter)
    if is_depthwise(geometry, image, layer.n_filter):
        each = Depthwise(low, stage, layer.geometry(stage.shape))
        y, statistics, counts = each.forward(x, stage.p["kernel"], bias, measured)
        return Convolved(y, lambda dy, wanted: each.backward(x, dy, wanted), statistics, counts)
    if _is_dense(geometry, image):
        y, backward_pass = _dense(low, stage, x, stage.p["kernel"], bias, LINEAR)
        return Convolved(y, backward_pass, None, None)
    plan = forward(geometry, image, layer.n_filter)
    y, found, counts = slid(low, plan, geometry, x, stage.p["kernel"], bias, measured)
    y = low.program.view(y, (low.samples, *stage.output_shape))

    def back(dy: Buffer, wanted: bool) -> Buffer | None:
        low.products.kernel_gradient(low, stage, plan, geometry, x, dy)
        if not wanted:
            return None
        dx, _, _ = slid_back(low, backward(geometry, image, plan.target), geometry, dy, stage.p["kernel"])
        return low.program.view(dx, (low.samples, *stage.shape))

    return Convolved(y, back, found, counts)


def predicted(low: Lowering, stage: LayerStage, x: Buffer, normal: Buffer | None, activation: Activation) -> Buffer:
    """Lower a convolution for prediction, and in it the BatchNorm (by its `normal`) and activation that follow."""
    layer, kernel = stage.layer, stage.p["kernel"]
    assert isinstance(layer, ConvolutionLayer)
    if taken := _border(stage):
        padded, _ = framed(low, x, stage.shape, taken)
        return predicted(low, _without_padding(stage, padded.shape[1:]), padded, normal, activation)
    geometry, image = rows_joined(layer.geometry(stage.shape), stage.shape)
    bias: Array | Buffer = stage.p["bias"] if layer.bias else low.zeros(layer.n_filter)
    weights: Array | Buffer = kernel
    if normal:
        weights, folded_bias = low.buffer(kernel.shape), low.buffer((layer.n_filter,))
        low.program.add(
            "conv.fold", 1, given=Weights(weights=kernel, bias=bias), normal=normal,
            folded=Weights(weights=weights, bias=folded_bias), rows=kernel.size // layer.n_filter,
            columns=layer.n_filter,
        )  # fmt: skip
        bias = folded_bias
    if is_depthwise(geometry, image, layer.n_filter):
        y, _, _ = Depthwise(low, stage, layer.geometry(stage.shape)).forward(x, weights, bias, activation=activation)
        return y
    if _is_dense(geometry, image):
        return _dense(low, stage, x, weights, bias, activation)[0]
    plan = forward(geometry, image, layer.n_filter)
    y, _, _ = slid(low, plan, geometry, x, weights, bias, activation=activation)
    return low.program.view(y, (low.samples, *stage.output_shape))


def rows_joined(geometry: Geometry, image: Shape) -> tuple[Geometry, Shape]:
    """A window of one pixel sees all pixels alike: take them as one row, however they lie."""
    single = geometry.size == (1, 1) == geometry.stride and not any(map(any, geometry.padding))
    return geometry, (1, image[0] * image[1], image[2]) if single else image


# ---------------------------------------------------------------------------------------------- padding that repeats


def _border(stage: LayerStage) -> tuple[Array, Array] | None:
    """Return the rows and columns of the padded image, where pixels stand around it that are not 0."""
    layer = stage.layer
    assert isinstance(layer, ConvolutionLayer)
    return layer.border(layer.geometry(stage.shape), stage.shape)


def _without_padding(stage: LayerStage, padded: Shape) -> LayerStage:
    """Return the convolution of an image that is padded already."""
    assert isinstance(stage.layer, ConvolutionLayer)
    return replace(stage, layer=replace(stage.layer, zero_padding=0, padding_mode="zeros"), shape=padded)


def _one_after_other(first: Backward, second: Backward) -> Backward:
    def both(dy: Buffer, wanted: bool) -> Buffer | None:
        between = first(dy, wanted)
        return second(between, wanted) if between else None

    return both


# ---------------------------------------------------------------------------------------------- dense products


def _is_dense(geometry: Geometry, image: Shape) -> bool:
    """Return whether the window takes in the whole picture, once."""
    return geometry.size == image[:2] and geometry.groups == 1 and not any(map(any, geometry.padding))


def _dense(
    low: Lowering, stage: LayerStage, x: Buffer, kernel: Array | Buffer, bias: Array | Buffer, activation: Activation
) -> tuple[Buffer, Backward]:
    sizes = (low.samples, math.prod(stage.shape), stage.output_shape[2])
    return dense_product(low, stage, x, Factor(kernel, bias, sizes), activation)


# ---------------------------------------------------------------------------------------------- sliding


def slid(
    low: Lowering,
    plan: Plan,
    geometry: Geometry,
    x: Buffer,
    kernel: Array | Buffer,
    bias: Array | Buffer,
    measured: bool = False,
    activation: Activation = LINEAR,
) -> tuple[Buffer, Buffer, Array]:
    """Emit y = x * kernel + bias; return also the statistics of channels and the sizes of what each is of."""
    there = winograd.Slid(plan.source, plan.target, plan.before, geometry.size)
    if winograd.is_worth(low, geometry, there):
        return winograd.slide(low, there, x, kernel, bias, measured, activation)
    if geometry.stride == (1, 1) and low.products.spreads_forward and spread.is_worth(low, plan, geometry):
        return spread.forward(low, plan, geometry, x, kernel, bias, measured, activation)
    taps, columns = math.prod(kernel.shape[:3]) // plan.depth, kernel.shape[3] // geometry.groups
    weights = low.products.pack(low, kernel, (taps, plan.depth, columns), geometry.groups)
    return _correlate(low, plan, x, weights, bias, measured, activation)


def slid_back(
    low: Lowering,
    plan: Plan,
    geometry: Geometry,
    dy: Buffer,
    kernel: Array,
    bias: Array | None = None,
    measured: bool = False,
    activation: Activation = LINEAR,
) -> tuple[Buffer, Buffer, Array]:
    """Emit the input gradient of a convolution, plus a bias; what is returned is as for `slid`."""
    added = low.zeros(plan.target[2]) if bias is None else bias
    there = winograd.Slid(plan.source, plan.target, _turned_padding(geometry), geometry.size, True)
    if winograd.is_worth(low, geometry, there):
        return winograd.slide(low, there, dy, kernel, added, measured, activation)
    if spread.is_worth(low, plan, geometry):
        return spread.by_input(low, plan, geometry, dy, kernel, added, measured, activation)
    groups = geometry.groups
    taps = tables(plan, plan.padded_width, _swapped(low, plan)).taps
    sizes = (kernel.shape[2], kernel.shape[3] // groups, groups)
    weights, starts = low.products.pack_transposed(low, kernel, taps, plan.depth, sizes)
    return _correlate(low, plan, dy, weights, added, measured, activation, starts)


def _turned_padding(geometry: Geometry) -> tuple[int, int]:
    """Return the zeros before dy where it is the image: the window's last tap sees the first output."""
    top, left = (size - 1 - pad[0] for size, pad in zip(geometry.size, geometry.padding, strict=True))
    return top, left


def _swapped(low: Lowering, plan: Plan) -> bool:
    """Return whether a tile sees all rows of few columns, so that taps are better listed column by column."""
    return not plan.joined and tiles_of(low, plan).axis != COLUMNS


def _correlate(
    low: Lowering,
    plan: Plan,
    source: Buffer,
    weights: Buffer,
    bias: Array | Buffer,
    measured: bool = False,
    activation: Activation = LINEAR,
    starts: list[int] | None = None,
) -> tuple[Buffer, Buffer, Array]:
    (height, width, channels), (out_height, out_width, out_channels) = plan.source, plan.target
    axis, together, bands, band = _shares(low, plan, weights)
    # Tiles along images: all outputs of one see the same taps, and those outside are left out.
    border = plan.cut_off(1) if axis == COLUMNS else plan.cut_off(0) if axis == ROWS else False
    padded_width = plan.padded_width if border or not low.products.reads_in_place else width
    swapped = starts is not None and _swapped(low, plan)
    table = tables(plan, padded_width, swapped, starts)
    target = low.buffer((low.samples, *plan.target))
    statistics = low.buffer((low.samples * bands, 3, out_channels) if measured else (1,))
    size = ((band - 1) * plan.step[0] + plan.reach) * padded_width * channels
    move = {COLUMNS: plan.step[1] * channels, ROWS: plan.step[0] * padded_width * channels}.get(axis, size)
    scratch = low.products.band_scratch(together * size, move, border)
    image = Padded(
        height=height, width=width, channels=channels, top=plan.before[0], left=plan.before[1],
        padded_width=padded_width,
    )  # fmt: skip
    slide = Slide(
        image=image, border=int(border), reach=plan.reach, row_step=plan.step[0], column_step=plan.step[1],
        out_height=out_height, out_width=out_width, out_channels=out_channels, out_row_step=plan.out_step[0],
        out_column_step=plan.out_step[1], groups=plan.groups, offsets=table.offsets, limits=table.limits,
        phases=table_of(table.phases), n_phases=len(table.phases), depth=plan.depth, unit=plan.unit,
        seen=most_seen(low, plan, axis), swapped=int(swapped), axis=axis, images=low.samples, together=together,
        bands=bands, band=band,
    )  # fmt: skip
    low.program.add(
        low.products.correlate, cut(low.samples, together) * bands, scratch,
        source=source, weights=weights, bias=bias, target=target, s=slide,
        finish=Finish(activation=activation, measured=int(measured), statistics=statistics),
    )  # fmt: skip
    step = plan.out_step[0]
    lengths = [min(band * step, out_height - start * step) * out_width for start in range(0, bands * band, band)]
    return target, statistics, np.tile(np.array(lengths, low.real), low.samples)


def _shares(low: Lowering, plan: Plan, weights: Buffer) -> tuple[int, int, int, int]:
    """Return the axis of tiles, images of a task, bands of an image, and output rows of a band."""
    axis, together, _ = tiles_of(low, plan)
    rows = max(line.amount for line in plan.rows)
    numbers = plan.step[0] * plan.padded_width * plan.source[2] + plan.out_step[0] * math.prod(plan.target[1:])
    fitting = max(1, CACHED // (numbers * low.real.itemsize))  # output rows
    if axis == COLUMNS and weights.nbytes > STREAMED:
        together = max(1, min(fitting // rows, low.samples // TASKS))
    blocks = cut(low.samples, together)
    least = min(rows, low.tile_rows) if axis == ROWS else 1
    band = max(least, min(rows, fitting if together == 1 else rows, cut(rows, cut(TASKS, blocks))))
    bands = cut(rows, band)
    band = cut(rows, bands)  # as even as they come
    return axis, together, cut(rows, band), band
