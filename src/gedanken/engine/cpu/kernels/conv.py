"""Convolution: packing of weights, the sliding of a packed kernel over images, and the gradient by the kernel.

`correlate` serves the forward pass and the gradient by the input. The plan of either (see `lowering/conv.py`) lists
phases: a phase is a grid of outputs that all see the same window, and for stride 1 or forwards there is one.
"""

from gedanken.engine.cpu.kernels.blocks import (
    copy_row,
    pack_rows,
    rows_of_tile,
    sum_products,
    sum_rows,
    tiles_in,
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
# Ints for each phase: rows, columns, first output row and column, first tap, taps, numbers of packed weights before.
PHASE = 7


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
        for j in range(count):
            source = at(weights, (taps[number] * inputs + first + j) * pitch + group * outputs)
            for k in range(outputs):
                place[k * tile_columns + j] = source[k]


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
    """Slide packed weights over one band of one image.

    target[h, w, o] = bias[o] + sum over taps t and k of
                      source[i * row_step + ..., j * column_step + ..., k] * weights[t, k, o]

    for the outputs h = first_row + i * out_row_step, w likewise, of every phase; the phase's offsets say where its
    taps lie. source: (height, width, channels); where `border` is set, a band of it is copied into scratch with zeros
    around it. statistics: [task][2][out_channels], mean and squared distance of each channel, where `measured` is set.
    """
    image, number = task // bands, task % bands
    start = number * band
    pitch = padded_width * channels
    base = at(source, (image * height + start * row_step) * width * channels)
    if border:
        rows = (band - 1) * row_step + reach
        picture = at(source, image * height * width * channels)
        bordered_rows(scratch, picture, start * row_step, rows, 1, height, width, channels, top, left, padded_width)
        base = scratch
    out = at(target, image * out_height * out_width * out_channels)
    for p in range(n_phases):
        phase = at(phases, p * PHASE)
        slide(
            base, weights, bias, out, offsets, tap_rows, phase, start, band, channels, pitch, row_step, column_step,
            top, height, out_width, out_channels, out_row_step, out_column_step, groups, depth,
        )  # fmt: skip
    finish_band(
        out, start, min(band, out_height - start), out_width, out_channels, kind, slope, measured,
        at(statistics, task * 2 * out_channels),
    )  # fmt: skip


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
    base, weights, bias, out, offsets, tap_rows, phase, start, band, channels, pitch, row_step, column_step,
    top, height, out_width, out_channels, out_row_step, out_column_step, groups, depth,
):  # fmt: skip
    """Slide over the band's rows of one phase, panel by panel.

    A panel that is too deep for the first-level cache is gone through in parts, each over all rows of the band.
    """
    n_taps, taps, rows_of = phase[5], at(offsets, phase[4]), at(tap_rows, phase[4])
    ins, outs = channels // groups, out_channels // groups
    panels = tiles_in(outs, tile_columns)
    panel_size = n_taps * depth * tile_columns
    step, move, out_move = row_step * pitch, column_step * channels, out_column_step * out_channels
    whole_panel = n_taps * depth <= DEEP
    # The last panel comes first: what it writes behind a pixel, panel 0 overwrites.
    free = 1 if groups == 1 and out_column_step == 1 else 0
    for group in range(groups):
        for number in range(panels):
            panel = panels - 1 - number
            packed = at(weights, phase[6] + (group * panels + panel) * panel_size)
            first = group * outs + panel * tile_columns
            count = min(tile_columns, outs - panel * tile_columns)
            rounds = 1 if whole_panel else n_taps
            for tap in range(rounds):
                part = depth if whole_panel else DEEP
                for k in range(0, depth, part):
                    for i in range(min(band, phase[0] - start)):
                        row = (start + i) * row_step - top
                        h = phase[2] + (start + i) * out_row_step
                        begin, end = first_inside(rows_of, n_taps, row), last_inside(rows_of, n_taps, row, height)
                        new = k == 0 and tap == (0 if whole_panel or begin >= end else begin)
                        if not whole_panel:
                            if (begin < end and (tap < begin or tap >= end)) or (begin >= end and not new):
                                continue
                            begin, end = tap, tap + (1 if begin < end else 0)
                        c = at(out, (h * out_width + phase[3]) * out_channels + first)
                        slide_row(
                            at(base, i * step + group * ins + k), at(taps, begin), max(end - begin, 0),
                            at(packed, (begin * depth + k) * tile_columns), at(bias, first), c, phase[1], count, new,
                            move, out_move, min(part, depth - k), depth, free,
                        )  # fmt: skip


@helper
def first_inside(rows_of, n_taps, row):
    """Return the first tap that does not lie above the image; taps come in the order of their rows."""
    tap = 0
    while tap < n_taps and row + rows_of[min(tap, n_taps - 1)] < 0:
        tap += 1
    return tap


@helper
def last_inside(rows_of, n_taps, row, height):
    """Return the tap after the last one that does not lie below the image."""
    tap = n_taps
    while tap > 0 and row + rows_of[max(tap - 1, 0)] >= height:
        tap -= 1
    return tap


@helper
def slide_row(a, taps, n_taps, packed, bias, c, columns, count, new, move, out_move, part, depth, free):
    """Compute one output row with some taps and a part of their depth: from the bias on, or added to what is there."""
    parts = tiles_in(columns, rows_of_tile(count))
    small = columns // parts
    larger = columns - small * parts
    column = 0
    for number in range(parts):
        m = small + 1 if number < larger else small
        place = at(c, column * out_move)
        product(
            m, count, at(a, column * move), taps, packed, bias if new else place, place, move, 1, n_taps, part,
            tile_columns, depth * tile_columns, 0 if new else out_move, out_move, free,
        )  # fmt: skip
        column += m


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
    spans: Int,
    span_step: Int,
    span: Int,
    out_height: Int,
    out_width: Int,
    out_channels: Int,
    groups: Int,
    strip: Int,
    together: Int,
    offsets: Ints,
):
    """Sum the gradient by the kernel over the images of one slot; a task is a slot and a block of output channels.

    partial[slot][r, s, c, k] = sum over n, i, j of x[n, i * down + r * row_dilation, j * right + s, c] * dy[n, i, j, k]

    A window's row is `spans` runs of `span` numbers, `span_step` apart: one run where it is contiguous in memory.
    strip: output rows that are worked through at once, so that they stay in the cache; where it holds whole images,
    `together` of them. bias_partial[slot][k] = sum of dy.
    """
    slot, block = task // blocks, task % blocks
    ins, outs = channels // groups, out_channels // groups
    pitch = padded_width * channels
    sum_size = window_rows * spans * span * out_channels
    target = at(partial, slot * sum_size)
    begin, end = slot * images // slots, (slot + 1) * images // slots
    panels = tiles_in(outs, tile_columns)
    packed = at(scratch, together * reach * pitch if border else 0)
    for image in range(begin, end, together):
        base = at(x, image * height * width * channels)
        slopes = at(dy, image * out_height * out_width * out_channels)
        all_rows = min(together, end - image) * out_height
        if border:
            count = min(together, end - image)
            bordered_images(scratch, base, count, reach, height, width, channels, top, left, padded_width)
            base = scratch
        for row in range(0, all_rows, strip):
            rows = min(strip, all_rows - row)
            new = image == begin and row == 0
            for group in range(groups):
                for panel in range(panels):
                    if panel % blocks != block:
                        continue
                    column = group * outs + panel * tile_columns
                    count = min(tile_columns, outs - panel * tile_columns)
                    b = at(slopes, row * out_width * out_channels + column)
                    pack_rows(packed, b, rows * out_width, count, out_channels)
                    for r in range(window_rows):
                        for s in range(spans):
                            a = at(base, (row * down + r * row_dilation) * pitch + s * span_step + group * ins)
                            gradient_rows(
                                a, packed, offsets,
                                at(target, (r * spans + s) * span * out_channels + column),
                                span, count, right * channels, rows, out_width, out_channels, new,
                            )  # fmt: skip
        if biased and block == 0:
            sums = at(bias_partial, slot * out_channels)
            bias_gradient(sums, slopes, all_rows * out_width, out_channels, image == begin)


@helper
def bordered_images(target, images, count, rows, height, width, channels, top, left, padded_width):
    for number in range(count):
        place = at(target, number * rows * padded_width * channels)
        picture = at(images, number * height * width * channels)
        bordered_rows(place, picture, 0, rows, 1, height, width, channels, top, left, padded_width)


@helper
def gradient_rows(a, b, offsets, c, span, count, step, rows, out_width, out_channels, new):
    """Add to `span` rows of the kernel's gradient what some output rows say of them."""
    parts = tiles_in(span, rows_of_tile(count))
    small = span // parts
    larger = span - small * parts
    m0 = 0
    for part in range(parts):
        m = small + 1 if part < larger else small
        place = at(c, m0 * out_channels)
        if new:
            for i in range(m):
                zero_row(at(place, i * out_channels), count)
        product(
            m, count, at(a, m0), offsets, b, place, place, 1, step, rows, out_width,
            tile_columns, out_width * tile_columns, out_channels, out_channels, 0,
        )  # fmt: skip
        m0 += m


@helper
def bias_gradient(target, slopes, rows, channels, new):
    if new:
        zero_row(target, channels)
    sum_rows(target, slopes, rows, channels)


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
