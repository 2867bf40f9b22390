"""Convolution in bf16 on the tile unit; see `conv.py` for the same in the machine's own number type."""

from gedanken.engine.cpu.kernels.bf16 import SIDE, TILE, full_tiles, pack_pairs, tile_product
from gedanken.engine.cpu.kernels.blocks import copy_row, tiles_in, turned, zero_row
from gedanken.engine.cpu.kernels.conv import (
    COLUMNS,
    IMAGES,
    PHASE,
    ROWS,
    bordered_bands,
    finish_band,
    lines_across,
)
from gedanken.engine.cpu.kernels.conv_gradient import bias_gradient
from gedanken.engine.cpu.kernels.spread import (
    CHANNELS,
    GROUPS,
    HEIGHT,
    LOST,
    OUT_CHANNELS,
    OUT_HEIGHT,
    OUT_WIDTH,
    WIDTH,
    add_strip,
    begin_sums,
    end_sums,
    first_source,
    first_tap,
    last_source,
    last_tap,
)
from gedanken.engine.cpu.kernels.spread import COLUMNS as COLUMN_TAPS
from gedanken.engine.cpu.kernels.spread import ROWS as ROW_TAPS
from gedanken.engine.cpu.language import Bf16s, Int, Ints, Real, Reals, at, bf16s, helper


def correlate(
    task: Int,
    scratch: Reals,
    source: Reals,
    weights: Bf16s,
    bias: Reals,
    target: Reals,
    statistics: Reals,
    measured: Int,
    offsets: Ints,
    limits: Ints,
    phases: Ints,
    n_phases: Int,
    images: Int,
    together: Int,
    bands: Int,
    band: Int,
    axis: Int,
    border: Int,
    height: Int,
    width: Int,
    channels: Int,
    top: Int,
    left: Int,
    padded_width: Int,
    reach: Int,
    row_step: Int,
    column_step: Int,
    out_height: Int,
    out_width: Int,
    out_channels: Int,
    out_row_step: Int,
    out_column_step: Int,
    groups: Int,
    depth: Int,
    unit: Int,
    seen: Int,
    swapped: Int,
    kind: Int,
    slope: Real,
):
    """Slide packed weights over a band of some images, as `conv.correlate` does; the band is always copied, rounded."""
    first, start = task // bands * together, task % bands * band
    count, rows = min(together, images - first), (band - 1) * row_step + reach
    base, picture = bf16s(scratch), at(source, first * height * width * channels)
    bordered_bands(
        base, picture, count, start * row_step, rows, axis == ROWS, height, width, channels, top, left, padded_width
    )  # fmt: skip
    image_size = out_height * out_width * out_channels
    out = at(target, first * image_size)
    for p in range(n_phases):
        slide(
            base, rows * padded_width * channels, weights, bias, out, image_size, offsets, limits,
            at(phases, p * PHASE), count, start, band, axis, channels, padded_width * channels, row_step, column_step,
            out_width, out_channels, out_row_step, out_column_step, groups, depth, unit, swapped,
        )  # fmt: skip
    for n in range(count):
        place = ((first + n) * bands + task % bands) * 3 * out_channels
        finish_band(
            at(out, n * image_size), start, min(band, out_height - start), out_width, out_channels, kind, slope,
            measured, at(statistics, place if measured else 0),
        )  # fmt: skip


@helper
def slide(
    base, step, weights, bias, out, image_size, offsets, limits, phase, count, start, band, axis, channels, pitch,
    row_step, column_step, out_width, out_channels, out_row_step, out_column_step, groups, depth, unit,
    swapped,
):  # fmt: skip
    """Slide over the band's rows of one phase, panel by panel."""
    rows, columns, listed = min(band, phase[0] - start), phase[1], phase[6]
    ins, outs, tap_size = channels // groups, out_channels // groups, full_tiles(depth) * TILE
    panels = tiles_in(outs, TILE)
    for number in range(groups * panels):
        group, panel = number // panels, number % panels
        packed = at(weights, phase[7] + number * phase[5] * listed * tap_size)
        first, n = group * outs + panel * TILE, min(TILE, outs - panel * TILE)
        image, i, j = 0, 0, 0
        for _ in range(lines_across(axis, count, rows, columns)):
            pixel = (phase[2] + (start + i) * out_row_step) * out_width + phase[3] + j * out_column_step
            slide_line(
                at(base, image * step + i * row_step * pitch + j * column_step * channels + group * ins),
                at(out, image * image_size + pixel * out_channels + first), at(offsets, phase[4]), packed,
                at(bias, first), n, at(limits, phase[8]), phase[0], phase[1], start + i, j, axis,
                count if axis == IMAGES else rows if axis == ROWS else columns,
                step if axis == IMAGES else row_step * pitch if axis == ROWS else column_step * channels,
                image_size if axis == IMAGES else out_channels * (
                    out_row_step * out_width if axis == ROWS else out_column_step
                ),
                swapped, listed, depth, unit,
            )  # fmt: skip
            # On to the next line.
            i += 1 if axis == COLUMNS else 0
            j += 0 if axis == COLUMNS else 1
            if (i == rows) if axis == COLUMNS else (j == columns):
                image += 0 if axis == IMAGES else 1
                i = i + 1 if axis == IMAGES else 0
                j = 0


@helper
def slide_line(
    a, c, taps, packed, bias, n, limits, rows, columns, i, j, axis, length, move, out_move, swapped, listed, depth,
    unit,
):  # fmt: skip
    """Compute a line of outputs, tile by tile."""
    last_row, first_column, last_column = at(limits, rows), at(limits, 2 * rows), at(limits, 2 * rows + columns)
    for begin in range(0, length, TILE):
        m = min(TILE, length - begin)
        down, right = (begin if axis == ROWS else 0), (begin if axis == COLUMNS else 0)
        tall, wide = (m - 1 if axis == ROWS else 0), (m - 1 if axis == COLUMNS else 0)
        r0, r1 = limits[i + down + tall], last_row[i + down]
        s0, s1 = first_column[j + right + wide], last_column[j + right]
        k0, k1 = 0, depth
        if depth > unit:  # the columns of a row of taps lie in its depth; whole tiles of it are multiplied
            k0, k1 = s0 * unit // TILE * TILE, s1 * unit
            s1 = 1 if s0 < s1 else 0
            s0 = 0
        if swapped:
            r0, r1, s0, s1 = s0, s1, r0, r1
        r1 = r1 if s0 < s1 else r0
        together = r1 - r0 if s1 - s0 == listed else 1  # rows of taps that are listed without a gap
        for row in range(r0, max(r1, r0 + 1), max(together, 1)):
            fresh = row == r0
            place, to = row * listed + s0, at(c, begin * out_move)
            tile_product(
                m, n, at(a, begin * move + k0), at(taps, place), at(packed, (place * full_tiles(depth) + k0) * TILE),
                bias if fresh else to, to, move, together * (s1 - s0) if r0 < r1 else 0, k1 - k0,
                full_tiles(depth), 0 if fresh else out_move, out_move,
            )  # fmt: skip


def spread(
    task: Int, scratch: Reals, source: Reals, weights: Bf16s, bias: Reals, nothing: Reals, target: Reals,
    statistics: Reals, measured: Int, shape: Ints, bands: Int, band: Int, strip: Int, held: Int, nought: Ints,
    kind: Int, slope: Real,
):  # fmt: skip
    """Compute a band of one image's outputs, as `spread.spread` does; source rows are copied, rounded."""
    image, start = task // bands, task % bands * band
    end = min(start + band, shape[OUT_HEIGHT])
    ins, outs = shape[CHANNELS] // shape[GROUPS], shape[OUT_CHANNELS] // shape[GROUPS]
    line = shape[WIDTH] * shape[CHANNELS]
    rounded = bf16s(scratch)
    products = at(scratch, tiles_in((strip * shape[WIDTH] + SIDE) * shape[CHANNELS], 2))
    out = at(target, image * shape[OUT_HEIGHT] * shape[OUT_WIDTH] * shape[OUT_CHANNELS])
    lost = at(scratch, shape[LOST])
    begin_sums(out, lost, bias, shape, start, end)
    columns = shape[ROW_TAPS] * shape[COLUMN_TAPS] * outs
    panels = tiles_in(columns, TILE)
    for row in range(first_source(shape, start), last_source(shape, end), strip):
        rows = min(strip, last_source(shape, end) - row)
        r0, r1 = first_tap(shape, start, row + rows - 1), last_tap(shape, end, row)
        copy_row(rounded, at(source, (image * shape[HEIGHT] + row) * line), rows * line)
        for group in range(shape[GROUPS]):
            for panel in range(0, panels, held):
                last_panel = min(panel + held, panels)
                pitch = (last_panel - panel) * TILE
                begin = max(panel, r0 * shape[COLUMN_TAPS] * outs // TILE)
                for number in range(begin, min(last_panel, tiles_in(r1 * shape[COLUMN_TAPS] * outs, TILE))):
                    packed = at(weights, (group * panels + number) * full_tiles(ins) * TILE)
                    for pixel in range(0, rows * shape[WIDTH], TILE):
                        tile_product(
                            min(TILE, rows * shape[WIDTH] - pixel), TILE,
                            at(rounded, pixel * shape[CHANNELS] + group * ins), nought, packed, nothing,
                            at(products, pixel * pitch + (number - panel) * TILE), shape[CHANNELS], 1, ins, 0, 0,
                            pitch,
                        )  # fmt: skip
                add_strip(
                    at(out, group * outs), at(lost, group * outs), products, shape, row, rows, start, end, r0, r1,
                    panel * TILE, panel * TILE + pitch, pitch, outs,
                )  # fmt: skip
    end_sums(out, lost, shape, start, end)
    finish_band(
        out, start, end - start, shape[OUT_WIDTH], shape[OUT_CHANNELS], kind, slope, measured,
        at(statistics, task * 3 * shape[OUT_CHANNELS] if measured else 0),
    )  # fmt: skip


def kernel_gradient(
    task: Int,
    scratch: Reals,
    x: Reals,
    dy: Reals,
    partial: Reals,
    bias_partial: Reals,
    biased: Int,
    images: Int,
    slots: Int,
    blocks: Int,
    spread: Int,
    height: Int,
    width: Int,
    channels: Int,
    top: Int,
    left: Int,
    down: Int,
    right: Int,
    plane_rows: Int,
    plane_width: Int,
    plane: Int,
    places: Ints,
    n_places: Int,
    out_height: Int,
    out_width: Int,
    out_channels: Int,
    groups: Int,
    strip: Int,
    together: Int,
    offsets: Ints,
):
    """Sum the kernel gradient over the images of one slot; a task is a slot and a block of output channels.

    partial[slot][place][c, k] = sum over n and pixels p of planes[n][phase(place)][c][shift(place) + p] * dy[n][p][k]

    The sum goes over pixels, so each image is turned: a plane for every channel, and for strides a set of planes for
    each phase, which holds every stride-th row and column of the padded image. Then a place of the window is one
    number in `places`: where its first pixel lies. dy has the planes' pitch, with zeros behind each row; what a plane
    holds there is multiplied by zero, so that NaN and infinity reach every place of its channel's window.
    scratch: planes of `together` images, a panel of dy, an image in phases.
    """
    slot, block = task // blocks, task % blocks
    ins, outs, image_size = channels // groups, out_channels // groups, down * right * channels * plane
    begin, end = slot * images // slots, (slot + 1) * images // slots
    planes, panel_place = bf16s(scratch), together * image_size + SIDE * plane
    panel = at(planes, panel_place)
    phased = at(scratch, (panel_place + together * full_tiles(strip * plane_width) * TILE) // 2)
    zero_row(planes, together * image_size)
    if spread:
        zero_row(phased, down * right * plane_rows * plane_width * channels)
    for image in range(begin, end, together):
        count = min(together, end - image)
        for number in range(count):
            picture = at(x, (image + number) * height * width * channels)
            turned_planes(
                at(planes, number * image_size), phased, picture, spread, height, width, channels, top, left, down,
                right, plane_rows, plane_width, plane,
            )  # fmt: skip
        slopes = at(dy, image * out_height * out_width * out_channels)
        for row in range(0, out_height, strip):
            strip_gradient(
                at(planes, row * plane_width), panel, slopes, at(partial, slot * n_places * ins * out_channels), row,
                min(strip, out_height - row), count, image == begin and row == 0, block, blocks, plane_width, plane,
                places, n_places, out_height, out_width, out_channels, groups, ins, outs, offsets,
            )  # fmt: skip
        if biased and block == 0:
            sums = at(bias_partial, slot * out_channels)
            bias_gradient(sums, slopes, count * out_height * out_width, out_channels, image == begin)


@helper
def turned_planes(
    planes, phased, picture, spread, height, width, channels, top, left, down, right, plane_rows, plane_width, plane
):
    """Turn one image into planes; where it has a border or strides, by way of a copy that has them."""
    if spread:
        for h in range(height):
            row, source = h + top, at(picture, h * width * channels)
            start = (row % down * right * plane_rows + row // down) * plane_width
            if right == 1:
                copy_row(at(phased, (start + left) * channels), source, width * channels)
            else:
                for w in range(width):
                    column = w + left
                    pixel = start + column % right * plane_rows * plane_width + column // right
                    copy_row(at(phased, pixel * channels), at(source, w * channels), channels)
        picture = phased
    pixels = plane_rows * plane_width
    for phase in range(down * right):
        here = at(picture, phase * pixels * channels)
        turned(here, at(planes, phase * channels * plane), pixels, channels, channels, plane)


@helper
def strip_gradient(
    planes, panel, slopes, partial, row, rows, images, new, block, blocks, plane_width, plane, places, n_places,
    out_height, out_width, out_channels, groups, ins, outs, offsets,
):  # fmt: skip
    """Add what some rows of dy say of the kernel's gradient."""
    panels, depth = tiles_in(outs, TILE), full_tiles(rows * plane_width)
    for number in range(groups * panels):
        group, first = number // panels, number % panels * TILE
        if number % panels % blocks != block:
            continue
        column, count = group * outs + first, min(TILE, outs - first)
        zero_row(panel, images * depth * TILE)
        for image in range(images):
            for i in range(rows):
                source = at(slopes, (image * out_height + row + i) * out_width * out_channels + column)
                pairs = at(panel, (image * depth + i * plane_width) * TILE)
                pack_pairs(pairs, source, out_width, count, out_channels)
        for place in range(n_places):
            for c in range(0, ins, TILE):
                target = at(partial, (place * ins + c) * out_channels + column)
                if new:
                    for i in range(min(TILE, ins - c)):
                        zero_row(at(target, i * out_channels), count)
                tile_product(
                    min(TILE, ins - c), count, at(planes, places[place] + (group * ins + c) * plane), offsets, panel,
                    target, target, plane, images, depth, depth, out_channels,
                    out_channels,
                )  # fmt: skip
