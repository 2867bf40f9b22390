"""Convolution in bf16 on the tile unit; see `conv.py` for the same in the machine's own number type."""

from gedanken.engine.cpu.kernels.bf16 import SIDE, TILE, full_tiles, pack_pairs, tile_product
from gedanken.engine.cpu.kernels.blocks import copy_row, tiles_in, turned, zero_row
from gedanken.engine.cpu.kernels.conv import (
    PHASE,
    bias_gradient,
    bordered_rows,
    finish_band,
    first_inside,
    last_inside,
)
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
    tap_rows: Ints,
    phases: Ints,
    n_phases: Int,
    bands: Int,
    band: Int,
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
    kind: Int,
    slope: Real,
):
    """Slide packed weights over one band of one image, as `conv.correlate` does; the band is always copied, rounded."""
    image, start = task // bands, task % bands * band
    base, rows = bf16s(scratch), (band - 1) * row_step + reach
    picture = at(source, image * height * width * channels)
    bordered_rows(base, picture, start * row_step, rows, 1, height, width, channels, top, left, padded_width)
    out = at(target, image * out_height * out_width * out_channels)
    for p in range(n_phases):
        phase = at(phases, p * PHASE)
        slide(
            base, weights, bias, out, offsets, tap_rows, phase, start, band, channels, padded_width * channels,
            row_step, column_step, top, height, out_width, out_channels, out_row_step, out_column_step, groups, depth,
        )  # fmt: skip
    finish_band(
        out, start, min(band, out_height - start), out_width, out_channels, kind, slope, measured,
        at(statistics, task * 2 * out_channels),
    )  # fmt: skip


@helper
def slide(
    base, weights, bias, out, offsets, tap_rows, phase, start, band, channels, pitch, row_step, column_step,
    top, height, out_width, out_channels, out_row_step, out_column_step, groups, depth,
):  # fmt: skip
    """Slide over the band's rows of one phase, panel by panel."""
    n_taps, taps, rows_of = phase[5], at(offsets, phase[4]), at(tap_rows, phase[4])
    ins, outs, tap_size = channels // groups, out_channels // groups, full_tiles(depth) * TILE
    panels, move, out_move = tiles_in(outs, TILE), column_step * channels, out_column_step * out_channels
    for group in range(groups):
        for panel in range(panels):
            packed = at(weights, phase[6] + (group * panels + panel) * n_taps * tap_size)
            first, count = group * outs + panel * TILE, min(TILE, outs - panel * TILE)
            for i in range(min(band, phase[0] - start)):
                row, h = (start + i) * row_step - top, phase[2] + (start + i) * out_row_step
                begin, end = first_inside(rows_of, n_taps, row), last_inside(rows_of, n_taps, row, height)
                for column in range(0, phase[1], TILE):
                    a = at(base, i * row_step * pitch + group * ins + column * move)
                    c = at(out, (h * out_width + phase[3]) * out_channels + column * out_move + first)
                    tile_product(
                        min(TILE, phase[1] - column), count, a, at(taps, begin), at(packed, begin * tap_size),
                        at(bias, first), c, move, max(end - begin, 0), depth, 0, out_move,
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
    """Sum the gradient by the kernel over the images of one slot; a task is a slot and a block of output channels.

    partial[slot][place][c, k] = sum over n and pixels p of planes[n][phase(place)][c][shift(place) + p] * dy[n][p][k]

    The sum goes over pixels, so each image is turned: a plane for every channel, and for strides a set of planes for
    each phase, which holds every stride-th row and column of the padded image. Then a place of the window is one
    number in `places`: where its first pixel lies. dy has the planes' pitch, with zeros behind each row; what a plane
    holds there is multiplied by zero, so that a value that is no number reaches every place of its channel's window.
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
                    target, target, plane, images, depth, out_channels, out_channels,
                )  # fmt: skip
