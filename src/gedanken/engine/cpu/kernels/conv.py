"""Convolution: packing of weights, the sliding of a packed kernel over images, and the gradient by the kernel.

`correlate` serves the forward pass and the gradient by the input. The plan of either (see `lowering/conv.py`) lists
phases: a phase is a grid of outputs that all see the same window, and for stride 1 or forwards there is one.

The rows of a micro-kernel's tile are outputs that lie along one `axis`: columns of a row of the map, or where the map is
narrow, rows of a column, or one pixel of several images. A tile sums over the taps that any of its outputs sees inside
the image. Only where its outputs see different ones, zeros are multiplied, and the image needs a border of them.
"""

from gedanken.engine.cpu.kernels.blocks import (
    copy_row,
    pack_rows,
    rows_of_tile,
    sum_products,
    sum_rows,
    tiles_in,
    turned,
    zero_row,
)
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
    real,
    tile_columns,
)

DEEP = 416  # numbers that a panel may be deep: with a tile's width they fill most of a first-level cache
# Ints for each phase: rows, columns, first output row and column, first tap, rows of taps, taps of a row, numbers of
# packed weights before, first limit. Limits say which taps are inside the image: from the first row of taps on and up to
# the last for each row of outputs, then the same for columns.
PHASE = 9
COLUMNS, ROWS, IMAGES = 0, 1, 2  # the axis along which the rows of a tile lie


@helper
def bordered_rows(target, image, first, rows, step, height, width, channels, top, left, padded_width):
    """Copy padded rows first, first + step, ... of an image into target, with zeros outside of it."""
    for number in range(rows):
        row = first + number * step - top
        place = at(target, number * padded_width * channels)
        if row < 0 or row >= height:
            zero_row(place, padded_width * channels)
        else:
            inside = min(width, padded_width - left)
            zero_row(place, left * channels)
            copy_row(at(place, left * channels), at(image, row * width * channels), inside * channels)
            zero_row(at(place, (left + inside) * channels), (padded_width - left - inside) * channels)


def pack(task: Int, scratch: Reals, weights: Reals, packed: Reals, rows: Int, columns: Int, pitch: Int, groups: Int):
    """Lay the columns of each group out in panels, as wide as the micro-kernel's tile; a task is a panel.

    weights: rows x (groups * columns), rows `pitch` apart.   packed: [group][panel][row][tile_columns]
    """
    panels = tiles_in(columns, tile_columns)
    group, panel = task // panels, task % panels
    first = panel * tile_columns
    count = min(tile_columns, columns - first)
    place = at(packed, task * rows * tile_columns)
    pack_rows(place, at(weights, group * columns + first), rows, count, pitch)


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
    """As `pack`, for the way back: outputs are summed over, inputs are the columns; a task is a panel of one group.

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


@helper
def channel_statistics(y, rows, channels, mean, squares):
    """Set the mean of each channel over rows of y, and the sum of squared differences from it."""
    zero_row(mean, channels)
    sum_rows(mean, y, rows, channels)
    share = real(1) / real(rows)
    for c in lanes(channels):
        mean[c] *= share
    zero_row(squares, channels)
    sum_products(squares, y, y, mean, rows, channels, True)


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
    kind: Int,
    slope: Real,
):
    """Slide packed weights over one band of some images.

    target[h, w, o] = bias[o] + sum over taps t and k of
                      source[i * row_step + ..., j * column_step + ..., k] * weights[t, k, o]

    for the outputs h = first_row + i * out_row_step, w likewise, of every phase; the phase's offsets say where its
    taps lie. A tap may be a whole row of the window, of `unit` numbers for each column. source: (height, width,
    channels); where `border` is set, a band of it is copied into scratch with zeros around it. statistics:
    [image][band][2][out_channels], mean and squared distance of each channel, where `measured` is set.
    """
    first, start = task // bands * together, task % bands * band
    count = min(together, images - first)
    base = at(source, ((first * height + start * row_step - top) * width - left) * channels)
    step = height * width * channels
    if border:
        rows = (band - 1) * row_step + reach
        step = rows * padded_width * channels
        bordered_bands(
            scratch, at(source, first * height * width * channels), count, start * row_step, rows, height, width,
            channels, top, left, padded_width,
        )  # fmt: skip
        base = scratch
    image_size = out_height * out_width * out_channels
    out = at(target, first * image_size)
    for p in range(n_phases):
        slide(
            base, step, weights, bias, out, image_size, offsets, limits, at(phases, p * PHASE), count, start, band,
            axis, channels, padded_width * channels, row_step, column_step, out_width, out_channels, out_row_step,
            out_column_step, groups, depth, unit,
        )  # fmt: skip
    for n in range(count):
        place = ((first + n) * bands + task % bands) * 2 * out_channels
        finish_band(
            at(out, n * image_size), start, min(band, out_height - start), out_width, out_channels, kind, slope,
            measured, at(statistics, place if measured else 0),
        )  # fmt: skip


@helper
def bordered_bands(target, images, count, first, rows, height, width, channels, top, left, padded_width):
    """Copy some padded rows of each of some images."""
    for n in range(count):
        place = at(target, n * rows * padded_width * channels)
        picture = at(images, n * height * width * channels)
        bordered_rows(place, picture, first, rows, 1, height, width, channels, top, left, padded_width)


@helper
def finish_band(out, start, rows, out_width, out_channels, kind, slope, measured, statistics):
    """Do what follows the products while their rows are in the cache: the activation, the statistics of channels."""
    first, pixels = at(out, start * out_width * out_channels), rows * out_width
    if kind:
        activate(first, first, pixels * out_channels, kind, slope)
    if measured:
        channel_statistics(first, pixels, out_channels, statistics, at(statistics, out_channels))


@helper
def slide(
    base, step, weights, bias, out, image_size, offsets, limits, phase, count, start, band, axis, channels, pitch,
    row_step, column_step, out_width, out_channels, out_row_step, out_column_step, groups, depth, unit,
):  # fmt: skip
    """Slide over the band's rows of one phase, panel by panel.

    A panel that is too deep for the first-level cache is gone through in parts, each over all outputs of the task.
    """
    rows, columns, n_taps, listed = min(band, phase[0] - start), phase[1], phase[5] * phase[6], phase[6]
    ins, outs = channels // groups, out_channels // groups
    panels, whole_panel = tiles_in(outs, tile_columns), n_taps * depth <= DEEP
    # The last panel comes first: what it writes behind a pixel, panel 0 overwrites.
    free = 1 if groups == 1 and out_column_step == 1 and axis == COLUMNS else 0
    for number in range(groups * panels):
        group, panel = number // panels, panels - 1 - number % panels
        packed = at(weights, phase[7] + (group * panels + panel) * n_taps * depth * tile_columns)
        first, n = group * outs + panel * tile_columns, min(tile_columns, outs - panel * tile_columns)
        for tap in range(1 if whole_panel else max(n_taps, 1)):
            part = max(depth, 1) if whole_panel else DEEP
            for k in range(0, max(depth, 1), part):
                for line in range(lines_across(axis, count, rows, columns)):
                    image = 0 if axis == IMAGES else line // (columns if axis == ROWS else rows)
                    i = line // columns if axis == IMAGES else line % rows if axis == COLUMNS else 0
                    j = line % columns if axis != COLUMNS else 0
                    pixel = (phase[2] + (start + i) * out_row_step) * out_width + phase[3] + j * out_column_step
                    slide_line(
                        at(base, image * step + i * row_step * pitch + j * column_step * channels + group * ins),
                        at(out, image * image_size + pixel * out_channels + first),
                        at(offsets, phase[4]), packed, at(bias, first), n, at(limits, phase[8]), phase[0], phase[1],
                        start + i, j, axis, count if axis == IMAGES else rows if axis == ROWS else columns,
                        step if axis == IMAGES else row_step * pitch if axis == ROWS else column_step * channels,
                        image_size if axis == IMAGES else out_channels * (
                            out_row_step * out_width if axis == ROWS else out_column_step
                        ),
                        free, phase[5], listed, depth, unit, -1 if whole_panel else tap, k, k + part,
                    )  # fmt: skip


@helper
def lines_across(axis, images, rows, columns):
    """Return how many lines of outputs along an axis there are."""
    lines = rows * columns if axis == IMAGES else images * (columns if axis == ROWS else rows)
    return lines if rows > 0 else 0


@helper
def slide_line(
    a, c, taps, packed, bias, n, limits, rows, columns, i, j, axis, length, move, out_move, free, tap_rows, listed,
    depth, unit, tap, k, k_end,
):  # fmt: skip
    """Compute a line of outputs, tile by tile: with all taps, or with one and a part of its depth."""
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
        if listed == 1:  # the columns of a row of taps lie in its depth
            k0, k1 = s0 * unit, s1 * unit
            s1 = 1 if s0 < s1 else 0
            s0 = 0
        slide_tile(
            m, n, at(a, begin * move), taps, packed, bias, at(c, begin * out_move), move, out_move, free, listed,
            depth, r0, r1, s0, s1, k0, k1, tap, k, k_end,
        )  # fmt: skip
        begin += m


@helper
def slide_tile(
    m, n, a, taps, packed, bias, c, move, out_move, free, listed, depth, r0, r1, s0, s1, k0, k1, tap, k, k_end
):
    """Compute a tile with the taps [r0, r1) x [s0, s1), [k0, k1) of their depth; of these, with `tap` from k to k_end.

    tap: its number, or -1 for all at once.
    """
    if r0 >= r1 or s0 >= s1:  # it sees nothing but zeros
        if tap <= 0 and k == 0:
            product(m, n, a, taps, packed, bias, c, move, 1, 0, 0, tile_columns, 0, 0, out_move, free)
    else:
        r, r_end, s, s_end = r0, r1, s0, s1
        if tap >= 0:
            r, r_end = max(r0, tap // listed), min(r1, tap // listed + 1)
            s, s_end = max(s0, tap % listed), min(s1, tap % listed + 1)
        begin, end = max(k0, k), min(k1, k_end)
        new = r == r0 and s == s0 and begin == k0
        if r < r_end and s < s_end and begin < end:
            together = r_end - r if s_end - s == listed else 1  # rows of taps that are listed without a gap
            for row in range(r, r_end, together):
                fresh = new and row == r
                place = row * listed + s
                product(
                    m, n, at(a, begin), at(taps, place), at(packed, (place * depth + begin) * tile_columns),
                    bias if fresh else c, c, move, 1, together * (s_end - s), end - begin, tile_columns,
                    depth * tile_columns, 0 if fresh else out_move, out_move, free,
                )  # fmt: skip


def add_slots(task: Int, scratch: Reals, partial: Reals, target: Reals, size: Int, slots: Int, piece: Int):
    """Add up the slots of a sum in their order; a task is a piece of it."""
    begin = task * piece
    count = min(piece, size - begin)
    out = at(target, begin)
    copy_row(out, at(partial, begin), count)
    for slot in range(1, slots):
        values = at(partial, slot * size + begin)
        for i in lanes(count):
            out[i] += values[i]
