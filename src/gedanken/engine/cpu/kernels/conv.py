"""Convolution: packing of weights, the sliding of a packed kernel over images, and the kernel gradient.

`correlate` serves the forward pass and the input gradient. The plan of either (see `lowering/conv.py`) lists
phases: a phase is a grid of outputs that all see the same window, and for stride 1 or forwards there is one.

The rows of a micro-kernel's tile are outputs that lie along one `axis`: columns of a row of the map, or where the map
is narrow, rows of a column, or one pixel of several images. A tile sums over the taps that any of its outputs sees
inside the image. Only where its outputs see different ones, zeros are multiplied, and the image needs a border of them.
"""

from gedanken.engine.cpu.kernels.blocks import (
    copy_row,
    pack_rows,
    rows_of_tile,
    tiles_in,
    turned,
    zero_row,
)
from gedanken.engine.cpu.kernels.moments import channel_moments
from gedanken.engine.cpu.kernels.rows import activate
from gedanken.engine.cpu.language import (
    Int,
    Ints,
    Real,
    Reals,
    at,
    helper,
    lanes,
    product,
    tile_columns,
)

DEEP = 416  # numbers that a part of a panel may be deep: with a tile's width they fill most of a first-level cache
# Ints for each phase: rows, columns, first output row and column, first tap, rows of taps, taps of a row (or columns,
# and taps of a column), numbers of packed weights before, first limit. Limits say which taps are inside the image: from
# which row of taps on for each row of outputs, and up to which; then the same for columns.
PHASE = 9
COLUMNS, ROWS, IMAGES = 0, 1, 2  # the axis along which the rows of a tile lie


@helper
def bordered_rows(target, image, first, rows, above, height, width, channels, top, left, padded_width):
    """Copy padded rows of an image into target, with zeros beside it, and where `above` is set also above and below."""
    for number in range(rows):
        row = first + number - top
        place = at(target, number * padded_width * channels)
        if (row < 0 or row >= height) and above:
            zero_row(place, padded_width * channels)
        if row >= 0 and row < height:
            inside = min(width, padded_width - left)
            zero_row(place, left * channels)
            copy_row(at(place, left * channels), at(image, row * width * channels), inside * channels)
            zero_row(at(place, (left + inside) * channels), (padded_width - left - inside) * channels)


def pack(
    task: Int,
    scratch: Reals,
    weights: Reals,
    packed: Reals,
    rows: Int,
    columns: Int,
    pitch: Int,
    groups: Int,
    block: Int,
):
    """Lay the columns of each group out in panels, as wide as the micro-kernel's tile; a task is a block of rows.

    weights: rows x (groups * columns), rows `pitch` apart.   packed: [group][panel][row][tile_columns]
    """
    panels, row = tiles_in(columns, tile_columns), task * block
    if columns % tile_columns == 0:  # read in the order of memory
        for i in range(row, min(row + block, rows)):
            for number in range(groups * panels):
                place = at(packed, (number * rows + i) * tile_columns)
                copy_row(place, at(weights, i * pitch + number * tile_columns), tile_columns)
        return
    for number in range(groups * panels):
        group, first = number // panels, number % panels * tile_columns
        place = at(packed, (number * rows + row) * tile_columns)
        source = at(weights, row * pitch + group * columns + first)
        pack_rows(place, source, min(block, rows - row), min(tile_columns, columns - first), pitch)


def fold(
    task: Int,
    scratch: Reals,
    weights: Reals,
    bias: Reals,
    normal: Reals,
    rows: Int,
    columns: Int,
    folded: Reals,
    folded_bias: Reals,
):
    """Let a convolution do what the BatchNorm behind it does at prediction; normal = [mean, gain, shift] of the
    channels."""
    gain, shift = at(normal, columns), at(normal, 2 * columns)
    for row in range(rows):
        source, target = at(weights, row * columns), at(folded, row * columns)
        for c in lanes(columns):
            target[c] = source[c] * gain[c]
    for c in lanes(columns):
        folded_bias[c] = (bias[c] - normal[c]) * gain[c] + shift[c]


def pack_turned(
    task: Int,
    scratch: Reals,
    weights: Reals,
    packed: Reals,
    start: Int,
    taps: Ints,
    n_taps: Int,
    inputs: Int,
    outputs: Int,
    groups: Int,
):
    """As `pack`, for the input gradient: outputs are summed over, inputs are columns; a task is a panel of one group.

    weights: [tap][input][group * outputs].   packed, from `start` on: [group][panel][listed tap][output][tile_columns]
    """
    panels = tiles_in(inputs, tile_columns)
    group, panel = task // panels, task % panels
    first = panel * tile_columns
    count = min(tile_columns, inputs - first)
    pitch = groups * outputs
    for number in range(n_taps):
        place = at(packed, start + (task * n_taps + number) * outputs * tile_columns)
        if count < tile_columns:
            zero_row(place, outputs * tile_columns)
        source = at(weights, (taps[number] * inputs + first) * pitch + group * outputs)
        turned(source, place, count, outputs, pitch, tile_columns)


def correlate(
    task: Int,
    scratch: Reals,
    source: Reals,
    weights: Reals,
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
    """Slide packed weights over one band of some images.

    target[h, w, o] = bias[o] + sum over taps t and k of
                      source[i * row_step + ..., j * column_step + ..., k] * weights[t, k, o]

    for the outputs h = first_row + i * out_row_step, w likewise, of every phase; the phase's offsets say where its
    taps lie, row by row, or column by column where they are `swapped`. A tap may be a whole row of the window, of
    `unit` numbers for each column. No tile sums over more than `seen` numbers. source: (height, width, channels); where
    `border` is set, a band of it is copied into scratch with zeros around it. statistics: [image][band][3]
    [out_channels], the moments of each channel, where `measured` is set.
    """
    first, start = task // bands * together, task % bands * band
    count = min(together, images - first)
    base = at(source, ((first * height + start * row_step - top) * width - left) * channels)
    step = height * width * channels
    if border:
        rows = (band - 1) * row_step + reach
        step = rows * padded_width * channels
        bordered_bands(
            scratch, at(source, first * height * width * channels), count, start * row_step, rows, axis == ROWS,
            height, width, channels, top, left, padded_width,
        )  # fmt: skip
        base = scratch
    image_size = out_height * out_width * out_channels
    out = at(target, first * image_size)
    for p in range(n_phases):
        slide(
            base, step, weights, bias, out, image_size, offsets, limits, at(phases, p * PHASE), count, start, band,
            axis, channels, padded_width * channels, row_step, column_step, out_width, out_channels, out_row_step,
            out_column_step, groups, depth, unit, seen, swapped,
        )  # fmt: skip
    for n in range(count):
        place = ((first + n) * bands + task % bands) * 3 * out_channels
        finish_band(
            at(out, n * image_size), start, min(band, out_height - start), out_width, out_channels, kind, slope,
            measured, at(statistics, place if measured else 0),
        )  # fmt: skip


@helper
def bordered_bands(target, images, count, first, rows, above, height, width, channels, top, left, padded_width):
    """Copy some padded rows of each of some images."""
    for n in range(count):
        place = at(target, n * rows * padded_width * channels)
        picture = at(images, n * height * width * channels)
        bordered_rows(place, picture, first, rows, above, height, width, channels, top, left, padded_width)


@helper
def finish_band(out, start, rows, out_width, out_channels, kind, slope, measured, statistics):
    """Do what follows the products while their rows are in the cache: the activation, the statistics of channels."""
    first, pixels = at(out, start * out_width * out_channels), rows * out_width
    if kind:
        activate(first, first, pixels * out_channels, kind, slope)
    if measured:
        channel_moments(first, pixels, out_channels, statistics)


@helper
def slide(
    base, step, weights, bias, out, image_size, offsets, limits, phase, count, start, band, axis, channels, pitch,
    row_step, column_step, out_width, out_channels, out_row_step, out_column_step, groups, depth, unit,
    seen, swapped,
):  # fmt: skip
    """Slide over the band's rows of one phase, panel by panel.

    Where a tile sees more of a panel than a first-level cache holds, the panel is gone through in parts, each over all
    outputs of the task.
    """
    rows, columns = min(band, phase[0] - start), phase[1]
    outer, inner, shallow = phase[5], phase[6], seen <= DEEP
    some_outer = outer if shallow else DEEP // max(inner * depth, 1)
    some_inner = inner if shallow else min(inner, DEEP // depth)
    some_depth = depth if shallow else min(depth, DEEP)
    ins, outs = channels // groups, out_channels // groups
    panels = tiles_in(outs, tile_columns)
    # The last panel comes first: what it writes behind a pixel, panel 0 overwrites.
    free = 1 if groups == 1 and out_column_step == 1 and axis == COLUMNS else 0
    for number in range(groups * panels):
        group, panel = number // panels, panels - 1 - number % panels
        packed = at(weights, phase[7] + (group * panels + panel) * outer * inner * depth * tile_columns)
        first = group * outs + panel * tile_columns
        for r in range(0, max(outer, 1), max(some_outer, 1)):
            for s in range(0, max(inner, 1), max(some_inner, 1)):
                for k in range(0, depth, some_depth):
                    slide_part(
                        at(base, group * ins), step, packed, at(bias, first), at(out, first), image_size,
                        at(offsets, phase[4]), at(limits, phase[8]), phase, count, rows, columns, start, axis, channels,
                        pitch, row_step, column_step, out_width, out_channels, out_row_step, out_column_step,
                        min(tile_columns, outs - panel * tile_columns), free, depth, unit, swapped, r,
                        r + max(some_outer, 1), s, s + max(some_inner, 1), k, k + some_depth,
                    )  # fmt: skip


@helper
def slide_part(
    base, step, packed, bias, out, image_size, taps, limits, phase, count, rows, columns, start, axis, channels, pitch,
    row_step, column_step, out_width, out_channels, out_row_step, out_column_step, n, free, depth, unit, swapped,
    r, r_end, s, s_end, k, k_end,
):  # fmt: skip
    """Slide a part of one panel over the band's rows: taps [r, r_end) x [s, s_end), [k, k_end) of their depth."""
    length, move, out_move = columns, column_step * channels, out_column_step * out_channels
    if axis == ROWS:
        length, move, out_move = rows, row_step * pitch, out_row_step * out_width * out_channels
    if axis == IMAGES:
        length, move, out_move = count, step, image_size
    image, i, j = 0, 0, 0
    for _ in range(lines_across(axis, count, rows, columns)):
        pixel = (phase[2] + (start + i) * out_row_step) * out_width + phase[3] + j * out_column_step
        slide_line(
            at(base, image * step + i * row_step * pitch + j * column_step * channels),
            at(out, image * image_size + pixel * out_channels), taps, packed, bias, n, limits, phase[0], phase[1],
            start + i, j, axis, length, move, out_move, free, swapped, phase[6], depth, unit, r, r_end, s, s_end, k,
            k_end,
        )  # fmt: skip
        # On to the next line.
        i += 1 if axis == COLUMNS else 0
        j += 0 if axis == COLUMNS else 1
        if (i == rows) if axis == COLUMNS else (j == columns):
            image += 0 if axis == IMAGES else 1
            i = i + 1 if axis == IMAGES else 0
            j = 0


@helper
def lines_across(axis, images, rows, columns):
    """Return how many lines of outputs along an axis there are."""
    lines = rows * columns if axis == IMAGES else images * (columns if axis == ROWS else rows)
    return lines if rows > 0 else 0


@helper
def slide_line(
    a, c, taps, packed, bias, n, limits, rows, columns, i, j, axis, length, move, out_move, free, swapped, listed,
    depth, unit, r, r_end, s, s_end, k, k_end,
):  # fmt: skip
    """Compute a line of outputs, tile by tile."""
    parts = tiles_in(length, rows_of_tile(n))
    small = length // parts
    larger = length - small * parts
    last_row, first_column, last_column = at(limits, rows), at(limits, 2 * rows), at(limits, 2 * rows + columns)
    begin = 0
    for number in range(parts):
        m = small + 1 if number < larger else small
        down, right = (begin if axis == ROWS else 0), (begin if axis == COLUMNS else 0)
        tall, wide = (m - 1 if axis == ROWS else 0), (m - 1 if axis == COLUMNS else 0)
        r0, r1 = limits[i + down + tall], last_row[i + down]
        s0, s1 = first_column[j + right + wide], last_column[j + right]
        k0, k1 = 0, depth
        if depth > unit:  # the columns of a row of taps lie in its depth
            k0, k1 = s0 * unit, s1 * unit
            s1 = 1 if s0 < s1 else 0
            s0 = 0
        if swapped:
            r0, r1, s0, s1 = s0, s1, r0, r1
        slide_tile(
            m, n, at(a, begin * move), taps, packed, bias, at(c, begin * out_move), move, out_move, free, listed,
            depth, r0, r1, s0, s1, k0, k1, r, r_end, s, s_end, k, k_end,
        )  # fmt: skip
        begin += m


@helper
def slide_tile(
    m, n, a, taps, packed, bias, c, move, out_move, free, listed, depth, r0, r1, s0, s1, k0, k1, r, r_end, s, s_end,
    k, k_end,
):  # fmt: skip
    """Compute a tile, which sees taps [r0, r1) x [s0, s1) and [k0, k1) of their depth, as far as a part has them."""
    if r0 >= r1 or s0 >= s1:  # it sees nothing but zeros
        if r == 0 and s == 0 and k == 0:
            product(m, n, a, taps, packed, bias, c, move, 1, 0, 0, tile_columns, 0, 0, out_move, free)
    elif r < r1 and r0 < r_end and s < s1 and s0 < s_end and k < k1 and k0 < k_end:
        new = r <= r0 and s <= s0 and k <= k0
        first, last = max(r, r0), min(r_end, r1)
        across, begin = min(s_end, s1) - max(s, s0), max(k, k0)
        together = last - first if across == listed else 1  # rows of taps that are listed without a gap
        for row in range(first, last, together):
            fresh = new and row == first
            place = row * listed + max(s, s0)
            product(
                m, n, at(a, begin), at(taps, place), at(packed, (place * depth + begin) * tile_columns),
                bias if fresh else c, c, move, 1, together * across, min(k_end, k1) - begin, tile_columns,
                depth * tile_columns, 0 if fresh else out_move, out_move, free,
            )  # fmt: skip
