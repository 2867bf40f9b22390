"""Convolution: where its taps lie in memory, forwards and on the way back."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from gedanken.engine.cpu.lowering import bf16
from gedanken.engine.cpu.lowering.base import CACHED, SUMS, TASKS, Backward, Lowering, cut
from gedanken.engine.cpu.lowering.depthwise import Depthwise, is_depthwise
from gedanken.engine.cpu.lowering.pointwise import LINEAR, Curve
from gedanken.engine.cpu.program import Buffer
from gedanken.engine.geometry import Geometry
from gedanken.layers import ConvolutionLayer
from gedanken.layers.steps import LayerStep
from gedanken.types import Array, Shape

STRIP = 160  # pixels of dy in a strip: with a panel's width they fill half of a first-level cache


class Slide(NamedTuple):
    """How a packed kernel slides over images; the words are those of `kernels/conv.correlate`.

    Args:
        source, target: (height, width, channels) of one image.
        border: rows and columns of zeros before the image, and whether there are any around it.
        padded_width: of the image with its zeros.
        step: of the window between two outputs of a phase, (rows, columns).
        out_step: between two outputs of a phase.
        offsets: where the taps of all phases lie.
        tap_rows: in which row each lies, counted in the padded image from the window's first.
        phases: see `kernels/conv.PHASE`.
        taps: for each phase, the window's places (r * S + s) in the order of the packed weights.
        depth: numbers that one tap sums over.
        reach: rows that an output row sees.
    """

    source: Shape
    target: Shape
    border: tuple[int, int, bool]
    padded_width: int
    step: tuple[int, int]
    out_step: tuple[int, int]
    offsets: Array
    tap_rows: Array
    phases: Array
    taps: list[list[int]]
    depth: int
    reach: int


class Convolved(NamedTuple):
    """A lowered convolution.

    Args:
        y: its outputs.
        backward: emits the way back.
        statistics, counts: where asked for, mean and squared distance of each channel by pieces, and the pieces' sizes.
    """

    y: Buffer
    backward: Backward
    statistics: Buffer
    counts: Array


def convolution(low: Lowering, step: LayerStep, x: Buffer, measured: bool) -> Convolved:
    """Lower a convolution; `measured`: whether a BatchNorm wants to know the outputs' statistics."""
    layer = step.layer
    assert isinstance(layer, ConvolutionLayer)
    geometry, image = _rows_joined(layer.geometry(step.shape), step.shape)
    bias = step.p["bias"] if layer.bias else low.zeros(layer.n_filter)
    if is_depthwise(geometry, image, layer.n_filter):
        each = Depthwise(low, step, layer.geometry(step.shape))
        y, statistics, counts = each.forward(x, step.p["kernel"], bias, measured)
        return Convolved(y, lambda dy, wanted: each.backward(x, dy, wanted), statistics, counts)
    slide = _forward(geometry, image, layer.n_filter)
    weights = _packed(low, step.p["kernel"], geometry.groups, slide.depth)
    y, statistics, counts = _correlate(low, slide, x, weights, bias, geometry.groups, measured=measured)
    y = low.program.view(y, (low.samples, *step.output_shape))

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        if low.bf16:
            bf16.kernel_gradient(low, step, geometry, slide.source, slide.target, x, dy)
        else:
            _kernel_gradient(low, step, slide, geometry, x, dy)
        if not wanted:
            return None
        back = _backward(geometry, image, slide.target)
        weights = _packed_turned(low, step, back, geometry)
        dx, _, _ = _correlate(low, back, dy, weights, low.zeros(image[2]), geometry.groups)
        return low.program.view(dx, (low.samples, *step.shape))

    return Convolved(y, backward, statistics, counts)


def predicted(low: Lowering, step: LayerStep, x: Buffer, normal: Buffer | None, curve: Curve) -> Buffer:
    """Lower a convolution for prediction, and in it the BatchNorm (by its `normal`) and activation that follow."""
    layer, kernel = step.layer, step.p["kernel"]
    assert isinstance(layer, ConvolutionLayer)
    geometry, image = _rows_joined(layer.geometry(step.shape), step.shape)
    bias: Array | Buffer = step.p["bias"] if layer.bias else low.zeros(layer.n_filter)
    weights: Array | Buffer = kernel
    if normal:
        weights, folded_bias = low.buffer(kernel.shape), low.buffer((layer.n_filter,))
        low.program.add(
            "conv.fold", 1, weights=kernel, bias=bias, normal=normal, rows=kernel.size // layer.n_filter,
            columns=layer.n_filter, folded=weights, folded_bias=folded_bias,
        )  # fmt: skip
        bias = folded_bias
    if is_depthwise(geometry, image, layer.n_filter):
        y, _, _ = Depthwise(low, step, layer.geometry(step.shape)).forward(x, weights, bias, curve=curve)
        return y
    slide = _forward(geometry, image, layer.n_filter)
    packed = _packed(low, weights, geometry.groups, slide.depth)
    y, _, _ = _correlate(low, slide, x, packed, bias, geometry.groups, curve=curve)
    return low.program.view(y, (low.samples, *step.output_shape))


def _rows_joined(geometry: Geometry, image: Shape) -> tuple[Geometry, Shape]:
    """A window of one pixel sees all pixels alike: take them as one row, however they lie."""
    single = geometry.size == (1, 1) == geometry.stride and not any(map(any, geometry.padding))
    return geometry, (1, image[0] * image[1], image[2]) if single else image


# ---------------------------------------------------------------------------------------------- where the taps lie


def _contiguous(geometry: Geometry) -> bool:
    """Return whether a window's row is one run of memory."""
    return geometry.dilation[1] == 1 and geometry.groups == 1


def _forward(geometry: Geometry, image: Shape, filters: int) -> Slide:
    (rows, columns), channels = geometry.size, image[2]
    (top, _), (left, right) = geometry.padding
    border = any(map(any, geometry.padding))
    width = image[1] + left + right
    joined = _contiguous(geometry)
    places = [
        (r * geometry.dilation[0] * width + s * geometry.dilation[1]) * channels
        for r in range(rows)
        for s in ([0] if joined else range(columns))
    ]
    tap_rows = [r * geometry.dilation[0] for r in range(rows) for _ in ([0] if joined else range(columns))]
    out = geometry.positions(image)
    depth = columns * channels if joined else channels // geometry.groups
    reach = geometry.dilation[0] * (rows - 1) + 1
    phases = np.array([[*out, 0, 0, 0, len(places), 0]], np.int64)
    target, offsets = (*out, filters), np.array(places, np.int64)
    return Slide(
        image, target, (top, left, border), width, geometry.stride, (1, 1), offsets, np.array(tap_rows, np.int64),
        phases, [], depth, reach,
    )  # fmt: skip


class _Axis(NamedTuple):
    """One phase along one axis: the inputs a, a + stride, ... of the padded image.

    Args:
        inside: how many of them lie inside the image.
        first: the first one inside, counted in the image.
        start: its number i among all of them.
        taps: pairs (tap, q): the output i - q sees input i at this tap.
    """

    inside: int
    first: int
    start: int
    taps: list[tuple[int, int]]


def _axes(length: int, size: int, stride: int, dilation: int, before: int) -> Iterator[_Axis]:
    for a in range(stride):
        taps = [(t, (t * dilation - a) // stride) for t in range(size) if (t * dilation - a) % stride == 0]
        start = max(0, cut(before - a, stride))
        last = (length - 1 + before - a) // stride
        if last >= start:
            yield _Axis(last - start + 1, a + start * stride - before, start, taps)


def _backward(geometry: Geometry, image: Shape, output: Shape) -> Slide:
    """Return how the turned kernel slides over dy: a convolution for each of the stride's phases."""
    vertical, horizontal = (
        list(_axes(image[axis], geometry.size[axis], geometry.stride[axis], geometry.dilation[axis], pad[0]))
        for axis, pad in enumerate(geometry.padding)
    )
    before = [geometry.dilation[axis] * (geometry.size[axis] - 1) // geometry.stride[axis] for axis in (0, 1)]
    lasts = [max(one.start + one.inside for one in axis) for axis in (vertical, horizontal)]
    border = before != [0, 0] or lasts[0] > output[0] or lasts[1] > output[1]
    width = max(lasts[1] + before[1], output[1] if not border else 0)
    joined = _contiguous(geometry) and geometry.stride[1] == 1
    outs, ins, columns = output[2] // geometry.groups, image[2] // geometry.groups, geometry.size[1]
    offsets: list[int] = []
    tap_rows: list[int] = []
    phases: list[list[int]] = []
    taps: list[list[int]] = []
    for v in vertical:
        down = sorted(v.taps, key=lambda tap: -tap[1])
        for h in horizontal:
            across = sorted(h.taps, key=lambda tap: -tap[1])
            seen = across[:1] if joined else across
            begin = len(offsets)
            lies = [(v.start - qr + before[0], h.start - qs + before[1]) for _, qr in down for _, qs in seen]
            offsets += [(row * width + column) * output[2] for row, column in lies]
            tap_rows += [row for row, _ in lies]
            phases.append([v.inside, h.inside, v.first, h.first, begin, len(offsets) - begin, ins])
            taps.append([r * columns + s for r, _ in down for s, _ in across])
    reach = max([v.start - q + before[0] for v in vertical for _, q in v.taps], default=0) + 1
    depth = columns * outs if joined else outs
    return Slide(
        output, image, (before[0], before[1], border), width, (1, 1), geometry.stride,
        np.array(offsets or [0], np.int64), np.array(tap_rows or [0], np.int64), np.array(phases, np.int64), taps,
        depth, reach,
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------- instructions


def _packed(low: Lowering, kernel: Array | Buffer, groups: int, depth: int) -> Buffer:
    rows, columns = int(np.prod(kernel.shape[:3])), kernel.shape[3] // groups
    if low.bf16:
        return bf16.packed(low, kernel, (rows // depth, depth, columns), kernel.shape[3], groups)
    panels = groups * low.panels(columns)
    packed = low.buffer((panels, rows, low.tile_columns))
    low.program.add(
        "conv.pack", panels, weights=kernel, packed=packed, rows=rows, columns=columns, pitch=kernel.shape[3],
        groups=groups,
    )  # fmt: skip
    return packed


def _packed_turned(low: Lowering, step: LayerStep, slide: Slide, geometry: Geometry) -> Buffer:
    """Pack the kernel for the way back, phase after phase, and note in the phases where each begins."""
    kernel, groups = step.p["kernel"], geometry.groups
    inputs, outputs = kernel.shape[2], kernel.shape[3] // groups
    if low.bf16:
        return bf16.packed_turned(low, kernel, slide.phases, slide.taps, slide.depth, (inputs, outputs, groups))
    each = groups * low.panels(inputs) * outputs * low.tile_columns
    starts = np.cumsum([0, *(len(taps) * each for taps in slide.taps)])
    slide.phases[:, 6] = starts[:-1]
    packed = low.buffer((max(int(starts[-1]), 1),))
    for taps, start in zip(slide.taps, starts.tolist(), strict=False):
        if taps:
            low.program.add(
                "conv.pack_turned", groups * low.panels(inputs), weights=kernel, packed=packed, start=start,
                taps=np.array(taps, np.int64), n_taps=len(taps), inputs=inputs, outputs=outputs, groups=groups,
            )  # fmt: skip
    return packed


def _correlate(
    low: Lowering,
    slide: Slide,
    source: Buffer,
    weights: Buffer,
    bias: Array | Buffer,
    groups: int,
    measured: bool = False,
    curve: Curve = LINEAR,
) -> tuple[Buffer, Buffer, Array]:
    (height, width, channels), (out_height, out_width, out_channels) = slide.source, slide.target
    rows = int(slide.phases[:, 0].max())
    row_bytes = slide.step[0] * slide.padded_width * channels + slide.out_step[0] * out_width * out_channels
    band = max(1, min(rows, CACHED // (row_bytes * low.real.itemsize), cut(rows, cut(TASKS, low.samples))))
    bands = cut(rows, band)
    band = cut(rows, bands)  # as even as they come
    bands = cut(rows, band)
    target = low.buffer((low.samples, *slide.target))
    statistics = low.buffer((low.samples * bands, 2, out_channels) if measured else (1,))
    size = ((band - 1) * slide.step[0] + slide.reach) * slide.padded_width * channels
    scratch = bf16.band_numbers(size, slide.step[1] * channels) if low.bf16 else size if slide.border[2] else 0
    low.program.add(
        "bf16_conv.correlate" if low.bf16 else "conv.correlate", low.samples * bands, scratch,
        source=source, weights=weights, bias=bias, target=target, statistics=statistics, measured=int(measured),
        offsets=slide.offsets, tap_rows=slide.tap_rows, phases=slide.phases, n_phases=len(slide.phases),
        bands=bands, band=band, border=int(slide.border[2]), height=height, width=width, channels=channels,
        top=slide.border[0], left=slide.border[1], padded_width=slide.padded_width, reach=slide.reach,
        row_step=slide.step[0], column_step=slide.step[1], out_height=out_height, out_width=out_width,
        out_channels=out_channels, out_row_step=slide.out_step[0], out_column_step=slide.out_step[1],
        groups=groups, depth=slide.depth, kind=curve.kind, slope=curve.slope,
    )  # fmt: skip
    lengths = [min(band, out_height - start) * out_width for start in range(0, bands * band, band)]
    return target, statistics, np.tile(np.array(lengths, low.real), low.samples)


def _kernel_gradient(low: Lowering, step: LayerStep, slide: Slide, geometry: Geometry, x: Buffer, dy: Buffer) -> None:
    kernel, groups = step.g["kernel"], geometry.groups
    (height, width, channels), (out_height, out_width, out_channels) = slide.source, slide.target
    joined = _contiguous(geometry)
    slots = max(1, min(low.samples, 2 * TASKS, SUMS // (kernel.size * low.real.itemsize)))
    blocks = min(low.panels(out_channels // groups), cut(TASKS, slots))
    reach = (out_height - 1) * geometry.stride[0] + slide.reach
    pitch = slide.padded_width * channels
    size = reach * pitch if slide.border[2] else height * width * channels
    fitting = CACHED // (size * low.real.itemsize)
    together = max(1, min(cut(STRIP, out_height * out_width), fitting, cut(low.samples, slots)))
    strip = max(1, STRIP // out_width) if together == 1 else out_height * together
    strip = min(strip, out_height * together)
    rows = np.arange(strip, dtype=np.int64)
    offsets = rows // out_height * size + rows % out_height * geometry.stride[0] * pitch
    partial, bias_partial = low.buffer((slots, kernel.size)), low.buffer((slots, out_channels))
    low.program.add(
        "conv.kernel_gradient", slots * blocks,
        (together * size if slide.border[2] else 0) + strip * out_width * low.tile_columns,
        x=x, dy=dy, partial=partial, bias_partial=bias_partial, biased=int("bias" in step.g), images=low.samples,
        slots=slots, blocks=blocks, border=int(slide.border[2]), height=height, width=width, channels=channels,
        top=slide.border[0], left=slide.border[1], padded_width=slide.padded_width, reach=reach,
        down=geometry.stride[0], right=geometry.stride[1], window_rows=geometry.size[0],
        row_dilation=geometry.dilation[0], spans=1 if joined else geometry.size[1],
        span_step=geometry.dilation[1] * channels,
        span=geometry.size[1] * channels if joined else channels // groups,
        out_height=out_height, out_width=out_width, out_channels=out_channels, groups=groups, strip=strip,
        together=together, offsets=offsets,
    )  # fmt: skip
    low.add_up(partial, kernel, slots)
    if "bias" in step.g:
        low.add_up(bias_partial, step.g["bias"], slots)
