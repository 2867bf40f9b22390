"""The gradient of a convolution by its kernel: products of pixels of dy with what the window saw of the image."""

from gedanken.engine.cpu.kernels.blocks import pack_rows, rows_of_tile, sum_rows, tiles_in, zero_row
from gedanken.engine.cpu.kernels.conv import bordered_bands
from gedanken.engine.cpu.language import Int, Ints, Reals, at, helper, lanes, product, tile_columns, tile_rows

FLUSH = 64  # strips that are added to one sum before it is added to a sum of sums: long sums lose digits


def by_kernel(
    task: Int,
    scratch: Reals,
    x: Reals,
    dy: Reals,
    partial: Reals,
    kept: Reals,
    bias_partial: Reals,
    biased: Int,
    images: Int,
    slots: Int,
    blocks: Int,
    border: Int,
    height: Int,
    width: Int,
    channels: Int,
    top: Int,
    left: Int,
    padded_width: Int,
    reach: Int,
    down: Int,
    right: Int,
    window_rows: Int,
    row_dilation: Int,
    window_columns: Int,
    column_dilation: Int,
    joined: Int,
    out_height: Int,
    out_width: Int,
    out_channels: Int,
    groups: Int,
    strip: Int,
    most: Int,
    together: Int,
    offsets: Ints,
    seen_rows: Ints,
    seen_columns: Ints,
):
    """Sum the kernel gradient over the images of one slot; a task is a slot and a block of output channels.

    partial[slot][r, s, c, k] = sum over n, i, j of x[n, i * down + r * row_dilation, j * right + s, c] * dy[n, i, j, k]

    A window's row is one run of numbers where it is contiguous in memory (`joined`), else one for each column.
    strip: output rows that are worked through at once, and `most` columns of them, so that they stay in the cache;
    where it holds whole images, `together` of them. offsets[n]: where rows of n images lie in x, row by row. seen_rows:
    from which output row on, and up to which, a row of the window is inside the image; seen_columns likewise, for each
    number of its rows. kept: sums of sums, where a slot has more than FLUSH strips. bias_partial[slot][k] = sum of dy.
    """
    slot, block = task // blocks, task % blocks
    ins, outs, pitch = channels // groups, out_channels // groups, padded_width * channels
    size = window_rows * window_columns * ins * out_channels
    target = at(partial, slot * size)
    begin, end = slot * images // slots, (slot + 1) * images // slots
    panels = tiles_in(outs, tile_columns)
    packed = at(scratch, together * reach * pitch if border else 0)
    strips = 0
    for image in range(begin, end, together):
        count = min(together, end - image)
        base = at(x, ((image * height - top) * width - left) * channels)
        slopes = at(dy, image * out_height * out_width * out_channels)
        if border:
            bordered_bands(
                scratch, at(x, image * height * width * channels), count, 0, reach, False, height, width, channels, top,
                left, padded_width,
            )  # fmt: skip
            base = scratch
        for part in range(tiles_in(out_height, strip) * tiles_in(out_width, most)):
            row, column = part // tiles_in(out_width, most) * strip, part % tiles_in(out_width, most) * most
            rows, wide = min(strip, out_height - row), min(most, out_width - column)
            new = strips % FLUSH == 0
            if new and strips > 0:
                flush(
                    at(kept, slot * size), target, size // out_channels, out_channels, blocks, block, outs,
                    strips == FLUSH,
                )  # fmt: skip
            strips += 1
            panels_gradient(
                at(base, row * down * pitch + column * right * channels),
                at(slopes, (row * out_width + column) * out_channels), packed, target, offsets, seen_rows, seen_columns,
                row, rows, column, wide, count, together * strip, groups, panels, blocks, block, ins, outs,
                out_height * out_width * out_channels, right * channels, row_dilation * pitch,
                column_dilation * channels, window_rows, window_columns, joined, out_channels, new,
            )  # fmt: skip
        if biased and block == 0:
            pixels = count * out_height * out_width
            bias_gradient(at(bias_partial, slot * out_channels), slopes, pixels, out_channels, image == begin)
    if strips > FLUSH:
        flush(target, at(kept, slot * size), size // out_channels, out_channels, blocks, block, outs, False)


@helper
def panels_gradient(
    base, slopes, packed, target, offsets, seen_rows, seen_columns, row, rows, column, wide, images, listed, groups,
    panels, blocks, block, ins, outs, image_size, step, row_step, column_step, window_rows, window_columns, joined,
    out_channels, new,
):  # fmt: skip
    """Add what a strip of outputs says of the gradient to the panels that are of this block."""
    for number in range(groups * panels):
        group, panel = number // panels, number % panels
        if panel % blocks == block:
            first = group * outs + panel * tile_columns
            n = min(tile_columns, outs - panel * tile_columns)
            pack_strip(packed, at(slopes, first), rows, images, image_size, wide, n, out_channels)
            strip_gradient(
                at(base, group * ins), packed, at(target, first), offsets, seen_rows, seen_columns, n, row, rows,
                images, listed, step, row_step, column_step, window_rows, window_columns, joined, ins, column, wide,
                out_channels, new,
            )  # fmt: skip


@helper
def pack_strip(packed, slopes, rows, images, image_size, columns, n, channels):
    """Pack some rows of dy of some images, row by row: the first one of all images, then the second one."""
    if images == 1:
        pack_rows(packed, slopes, rows * columns, n, channels)
    else:
        for i in range(rows):
            for image in range(images):
                place = at(packed, (i * images + image) * columns * tile_columns)
                pack_rows(place, at(slopes, image * image_size + i * columns * channels), columns, n, channels)


@helper
def strip_gradient(
    base, packed, target, offsets, seen_rows, seen_columns, n, row, rows, images, listed, step, row_step, column_step,
    window_rows, window_columns, joined, ins, begin, wide, out_channels, new,
):  # fmt: skip
    """Add to one panel of the kernel's gradient what a strip of outputs says of it."""
    taps, spans = at(offsets, images * listed), 1 if joined else window_columns
    span = window_columns * ins if joined else ins
    for r in range(window_rows):
        i0, i1 = max(seen_rows[2 * r] - row, 0), min(seen_rows[2 * r + 1] - row, rows)
        for s in range(spans):
            place = at(target, (r * spans + s) * span * out_channels)
            if new:
                for i in range(span):
                    zero_row(at(place, i * out_channels), n)
            if i0 < i1:
                gradient_rows(
                    at(base, r * row_step + s * column_step), at(packed, i0 * images * wide * tile_columns),
                    at(taps, i0 * images), place, at(seen_columns, 2 * s * ins), span, n, step, (i1 - i0) * images,
                    begin, wide, out_channels,
                )  # fmt: skip


@helper
def gradient_rows(a, b, taps, c, seen_columns, span, n, step, n_taps, begin, wide, out_channels):
    """Add to `span` rows of the kernel's gradient, tile by tile, over the outputs that any of a tile's rows sees."""
    parts = tiles_in(span, rows_of_tile(n))
    small = span // parts
    larger = span - small * parts
    m0 = 0
    for part in range(parts):
        m = small + 1 if part < larger else small
        j0, j1 = max(seen_columns[2 * (m0 + m - 1)] - begin, 0), min(seen_columns[2 * m0 + 1] - begin, wide)
        place = at(c, m0 * out_channels)
        if j0 < j1:
            product(
                m, n, at(a, m0 + j0 * step), taps, at(b, j0 * tile_columns), place, place, 1, step, n_taps, j1 - j0,
                tile_columns, wide * tile_columns, out_channels, out_channels, 0,
            )  # fmt: skip
        m0 += m


def by_few_filters(
    task: Int, scratch: Reals, x: Reals, dy: Reals, partial: Reals, kept: Reals, bias_partial: Reals, biased: Int,
    images: Int, slots: Int, height: Int, width: Int, channels: Int, top: Int, left: Int, padded_width: Int, reach: Int,
    down: Int, right: Int, window_rows: Int, row_dilation: Int, window_columns: Int, column_dilation: Int, joined: Int,
    out_height: Int, out_width: Int, out_channels: Int, groups: Int, strip: Int, most: Int, offsets: Ints,
    seen_rows: Ints, seen_columns: Ints,
):  # fmt: skip
    """Sum the gradient as `by_kernel` does, with the filters as rows and the window's numbers as columns of a tile.

    partial[slot][k, r, s, c].   The right factor is the image itself, copied to where whole vectors can be read.
    """
    ins, pitch = channels // groups, padded_width * channels
    row_size = window_rows * window_columns * ins
    target, total = at(partial, task * out_channels * row_size), at(kept, task * out_channels * row_size)
    begin, end = task * images // slots, (task + 1) * images // slots
    strips = 0
    for image in range(begin, end):
        slopes = at(dy, image * out_height * out_width * out_channels)
        bordered_bands(
            scratch, at(x, image * height * width * channels), 1, 0, reach, False, height, width, channels, top, left,
            padded_width,
        )  # fmt: skip
        for part in range(tiles_in(out_height, strip) * tiles_in(out_width, most)):
            row, column = part // tiles_in(out_width, most) * strip, part % tiles_in(out_width, most) * most
            if strips % FLUSH == 0:
                if strips > 0:
                    flush(total, target, out_channels, row_size, 1, 0, row_size, strips == FLUSH)
                zero_row(target, out_channels * row_size)
            strips += 1
            for group in range(groups):
                filters_gradient(
                    at(scratch, group * ins), at(slopes, group * (out_channels // groups)),
                    at(target, group * (out_channels // groups) * row_size), offsets, seen_rows, seen_columns, row,
                    min(strip, out_height - row), column, min(column + most, out_width), down * pitch,
                    right * channels, row_dilation * pitch, column_dilation * channels, window_rows, window_columns,
                    joined, ins, out_width, out_channels, out_channels // groups, row_size,
                )  # fmt: skip
        if biased:
            sums = at(bias_partial, task * out_channels)
            bias_gradient(sums, slopes, out_height * out_width, out_channels, image == begin)
    if strips > FLUSH:
        flush(target, total, out_channels, row_size, 1, 0, row_size, False)


@helper
def filters_gradient(
    picture, slopes, target, offsets, seen_rows, seen_columns, row, rows, begin, end, down, right, row_step,
    column_step, window_rows, window_columns, joined, ins, out_width, out_channels, outs, row_size,
):  # fmt: skip
    """Add what some output rows say of the filters of one group."""
    spans = 1 if joined else window_columns
    span = window_columns * ins if joined else ins
    for r in range(window_rows):
        i0, i1 = max(seen_rows[2 * r], row), min(seen_rows[2 * r + 1], row + rows)
        for s in range(spans):
            b = at(picture, i0 * down + r * row_step + s * column_step)
            for first in range(0, span if i0 < i1 else 0, tile_columns):
                n = min(tile_columns, span - first)
                j0 = max(seen_columns[2 * (s * ins + first + n - 1)], begin)
                j1 = min(seen_columns[2 * (s * ins + first) + 1], end)
                for k in range(0, outs if j0 < j1 else 0, tile_rows):
                    place = at(target, k * row_size + (r * spans + s) * span + first)
                    product(
                        min(tile_rows, outs - k), n, at(slopes, i0 * out_width * out_channels + j0 * out_channels + k),
                        offsets, at(b, first + j0 * right), place, place, 1, out_channels, i1 - i0, j1 - j0, right,
                        down, row_size, row_size, 0,
                    )  # fmt: skip


@helper
def flush(total, sums, rows, channels, blocks, block, outs, fresh):
    """Add the columns of one block to another sum, or begin it with them."""
    panels = tiles_in(outs, tile_columns)
    for group in range(channels // outs):
        for panel in range(block, panels, blocks):
            first, n = group * outs + panel * tile_columns, min(tile_columns, outs - panel * tile_columns)
            for row in range(rows):
                there, here = at(total, row * channels + first), at(sums, row * channels + first)
                if fresh:
                    zero_row(there, n)
                for c in lanes(n):
                    there[c] += here[c]


@helper
def bias_gradient(target, slopes, rows, channels, new):
    if new:
        zero_row(target, channels)
    sum_rows(target, slopes, rows, channels)
