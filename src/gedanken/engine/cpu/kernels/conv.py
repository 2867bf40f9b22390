"""Convolution: packing of weights, and the sliding of a packed kernel over images.

`correlate` serves the forward pass and the input gradient. The plan of either (see `lowering/conv.py`) lists
phases: a phase is a grid of outputs that all see the same window, and for stride 1 or forwards there is one.

The rows of a micro-kernel's tile are outputs that lie along one `axis`: columns of a row of the map, or where the map
is narrow, rows of a column, or one pixel of several images. A tile sums over the taps that any of its outputs sees
inside the image. Only where its outputs see different ones, zeros are multiplied, and the image needs a border of them.
"""

from gedanken.engine.cpu.kernels.band import Finish, Padded, Weights, finish_band, padded_bands
from gedanken.engine.cpu.kernels.blocks import (
    copy_row,
    pack_rows,
    rows_of_tile,
    tiles_in,
    transposed,
    zero_row,
)
from gedanken.engine.cpu.language import (
    Int,
    Ints,
    Reals,
    Record,
    Tile,
    at,
    gemm_tile,
    inline,
    lanes,
    tile_columns,
)

DEEP = 416  # numbers that a part of a panel may be deep: with a tile's width they fill most of a first-level cache
COLUMNS, ROWS, IMAGES = 0, 1, 2  # the axis along which the rows of a tile lie


class Transposed(Record):
    """What is packed of a kernel for the input gradient: listed taps, of so many inputs and outputs of each group."""

    starts: Ints  # where each phase begins in packed weights
    taps: Ints  # of all phases, one after the other
    ends: Ints  # where those of each phase begin among them, and where the last one's end
    inputs: Int
    outputs: Int
    groups: Int


class Phase(Record):
    """Outputs that all see the same window, and where its taps begin in the slide's tables.

    Limits say which taps are inside the image: from which row of taps on for each row of outputs, and up to which;
    then the same for columns.
    """

    rows: Int
    columns: Int
    first_row: Int
    first_column: Int
    first_tap: Int
    outer: Int  # rows of taps, or columns where they are swapped
    inner: Int  # taps of each
    packed: Int  # numbers of packed weights before
    limits: Int


class Slide(Record):
    """How packed weights slide over images; see `correlate`."""

    image: Padded
    border: Int
    reach: Int  # rows of the image that an output row sees
    row_step: Int
    column_step: Int
    out_height: Int
    out_width: Int
    out_channels: Int
    out_row_step: Int
    out_column_step: Int
    groups: Int
    offsets: Ints
    limits: Ints
    phases: Ints  # a table of Phase
    n_phases: Int
    depth: Int  # numbers of a tap
    unit: Int
    seen: Int
    swapped: Int
    axis: Int
    images: Int
    together: Int  # images of a task
    bands: Int  # of an image
    band: Int  # output rows of each


class Band(Record):
    """A task's part of a slide: so many images, from output row `start` on; size, out_size: numbers of each image."""

    count: Int
    start: Int
    size: Int
    out_size: Int


class Taps(Record):
    """Rows [r, r_end) of taps, of each those from s to s_end, and of their depth [k, k_end)."""

    r: Int
    r_end: Int
    s: Int
    s_end: Int
    k: Int
    k_end: Int


class Part(Record):
    """A part of a panel of n filters: some of its taps."""

    packed: Reals
    bias: Reals
    n: Int
    free: Int  # whether what lies behind each pixel is written later
    taps: Taps


class Line(Record):
    """Outputs along an axis, from row i and column j of the phase on; `step` and out_step: from one to the next."""

    i: Int
    j: Int
    length: Int
    step: Int
    out_step: Int


def pack(
    task: Int,
    scratch: Reals,
    weights: Reals,
    packed: Reals,
    rows: Int,
    columns: Int,
    groups: Int,
    block: Int,
):
    """Lay the columns of each group out in panels, as wide as the micro-kernel's tile; a task is a block of rows.

    weights: rows x (groups * columns).   packed: [group][panel][row][tile_columns]
    """
    panels, row, pitch = tiles_in(columns, tile_columns), task * block, groups * columns
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
    given: Weights,
    normal: Reals,
    folded: Weights,
    rows: Int,
    columns: Int,
):
    """Let a convolution do what the BatchNorm behind it does at prediction; normal = [mean, gain, shift] of the
    channels."""
    gain, shift = at(normal, columns), at(normal, 2 * columns)
    for row in range(rows):
        source, target = at(given.weights, row * columns), at(folded.weights, row * columns)
        for c in lanes(columns):
            target[c] = source[c] * gain[c]
    bias, folded_bias = given.bias, folded.bias
    for c in lanes(columns):
        folded_bias[c] = (bias[c] - normal[c]) * gain[c] + shift[c]


def pack_transposed(task: Int, scratch: Reals, weights: Reals, packed: Reals, kernel: Transposed):
    """As `pack`, for the input gradient: outputs are summed over, inputs are columns; a task is a panel of one group of
    one phase.

    weights: [tap][input][group * outputs].
    packed, where a phase starts: [group][panel][listed tap][output][tile_columns]
    """
    inputs, outputs = kernel.inputs, kernel.outputs
    panels = tiles_in(inputs, tile_columns)
    phase, part = task // (kernel.groups * panels), task % (kernel.groups * panels)
    group, first = part // panels, part % panels * tile_columns
    count = min(tile_columns, inputs - first)
    pitch = kernel.groups * outputs
    taps, n_taps = at(kernel.taps, kernel.ends[phase]), kernel.ends[phase + 1] - kernel.ends[phase]
    for number in range(n_taps):
        place = at(packed, kernel.starts[phase] + (part * n_taps + number) * outputs * tile_columns)
        if count < tile_columns:
            zero_row(place, outputs * tile_columns)
        source = at(weights, (taps[number] * inputs + first) * pitch + group * outputs)
        transposed(source, place, count, outputs, pitch, tile_columns)


def correlate(
    task: Int,
    scratch: Reals,
    source: Reals,
    weights: Reals,
    bias: Reals,
    target: Reals,
    s: Slide,
    finish: Finish,
):
    """Slide packed weights over one band of some images.

    target[h, w, o] = bias[o] + sum over taps t and k of
                      source[i * row_step + ..., j * column_step + ..., k] * weights[t, k, o]

    for the outputs h = first_row + i * out_row_step, w likewise, of every phase; the phase's offsets say where its
    taps lie, row by row, or column by column where they are `swapped`. A tap may be a whole row of the window, of
    `unit` numbers for each column. No tile sums over more than `seen` numbers. source: (height, width, channels); where
    `border` is set, a band of it is copied into scratch with zeros around it.
    """
    image, first, start = s.image, task // s.bands * s.together, task % s.bands * s.band
    count = min(s.together, s.images - first)
    # This may lie before the image; tiles take only taps inside it, see `slide_line`.
    base = at(
        source, ((first * image.height + start * s.row_step - image.top) * image.width - image.left) * image.channels
    )
    size = image.height * image.width * image.channels
    if s.border:
        rows = (s.band - 1) * s.row_step + s.reach
        size = rows * image.padded_width * image.channels
        pictures = at(source, first * image.height * image.width * image.channels)
        padded_bands(scratch, pictures, image, count, start * s.row_step, rows, s.axis == ROWS)
        base = scratch
    out_size = s.out_height * s.out_width * s.out_channels
    out, band = at(target, first * out_size), Band(count=count, start=start, size=size, out_size=out_size)
    for p in range(s.n_phases):
        slide(base, out, weights, bias, s, Phase.read(s.phases, p), band)
    finish_bands(out, s, band, finish, first * s.bands + task % s.bands)


@inline
def finish_bands(out, s, band, finish, number):
    """Finish a band of each of some images; `number` is the first one's place in statistics.

    The band's rows of all phases together are the next rows of the output.
    """
    start = band.start * s.out_row_step
    rows = min(s.band * s.out_row_step, s.out_height - start)
    for n in range(band.count):
        picture = at(out, n * band.out_size)
        finish_band(picture, start, rows, s.out_width, s.out_channels, finish, number + n * s.bands)


@inline
def slide(base, out, weights, bias, s, phase, band):
    """Slide over the band's rows of one phase, panel by panel.

    Where a tile sees more of a panel than a first-level cache holds, the panel is gone through in parts, each over all
    outputs of the task.
    """
    outer, inner, shallow = phase.outer, phase.inner, s.seen <= DEEP
    some_outer = outer if shallow else DEEP // max(inner * s.depth, 1)
    some_inner = inner if shallow else min(inner, DEEP // s.depth)
    some_depth = s.depth if shallow else min(s.depth, DEEP)
    ins, outs = s.image.channels // s.groups, s.out_channels // s.groups
    panels = tiles_in(outs, tile_columns)
    # The last panel comes first: what it writes behind a pixel, panel 0 overwrites.
    free = 1 if s.groups == 1 and s.out_column_step == 1 and s.axis == COLUMNS else 0
    for number in range(s.groups * panels):
        group, panel = number // panels, panels - 1 - number % panels
        packed = at(weights, phase.packed + (group * panels + panel) * outer * inner * s.depth * tile_columns)
        first = group * outs + panel * tile_columns
        # One round at least: a phase without taps has outputs too, the bias.
        for r in range(0, max(outer, 1), max(some_outer, 1)):
            for c in range(0, max(inner, 1), max(some_inner, 1)):
                for k in range(0, s.depth, some_depth):
                    taps = Taps(
                        r=r, r_end=r + max(some_outer, 1), s=c, s_end=c + max(some_inner, 1), k=k, k_end=k + some_depth
                    )
                    part = Part(
                        packed=packed, bias=at(bias, first), n=min(tile_columns, outs - panel * tile_columns),
                        free=free, taps=taps,
                    )  # fmt: skip
                    slide_part(at(base, group * ins), at(out, first), s, phase, band, part)


@inline
def slide_part(base, out, s, phase, band, part):
    """Slide a part of one panel over the band's rows."""
    axis, channels, pitch = s.axis, s.image.channels, s.image.padded_width * s.image.channels
    rows, columns = min(s.band, phase.rows - band.start), phase.columns
    length, step, out_step = columns, s.column_step * channels, s.out_column_step * s.out_channels
    if axis == ROWS:
        length, step, out_step = rows, s.row_step * pitch, s.out_row_step * s.out_width * s.out_channels
    if axis == IMAGES:
        length, step, out_step = band.count, band.size, band.out_size
    image, i, j = 0, 0, 0
    for _ in range(lines_across(axis, band.count, rows, columns)):
        line = Line(i=band.start + i, j=j, length=length, step=step, out_step=out_step)
        slide_line(
            at(base, image * band.size + i * s.row_step * pitch + j * s.column_step * channels),
            at(out, image * band.out_size + place_of(s, phase, line)), s, phase, line, part,
        )  # fmt: skip
        # On to the next line.
        i += 1 if axis == COLUMNS else 0
        j += 0 if axis == COLUMNS else 1
        if (i == rows) if axis == COLUMNS else (j == columns):
            image += 0 if axis == IMAGES else 1
            i = i + 1 if axis == IMAGES else 0
            j = 0


@inline
def place_of(s, phase, line):
    """Return where in an image of outputs a line begins."""
    row, column = phase.first_row + line.i * s.out_row_step, phase.first_column + line.j * s.out_column_step
    return (row * s.out_width + column) * s.out_channels


@inline
def lines_across(axis, images, rows, columns):
    """Return how many lines of outputs along an axis there are."""
    lines = rows * columns if axis == IMAGES else images * (columns if axis == ROWS else rows)
    return lines if rows > 0 else 0


@inline
def slide_line(a, c, s, phase, line, part):
    """Compute a line of outputs, tile by tile."""
    # Tiles as even as they come: one of few rows takes as long as one of four, since sums wait for each other.
    parts = tiles_in(line.length, rows_of_tile(part.n))
    small = line.length // parts
    larger = line.length - small * parts
    first_row, last_row = at(s.limits, phase.limits), at(s.limits, phase.limits + phase.rows)
    first_column, last_column = at(last_row, phase.rows), at(last_row, phase.rows + phase.columns)
    begin = 0
    for number in range(parts):
        m = small + 1 if number < larger else small
        down, right = (begin if s.axis == ROWS else 0), (begin if s.axis == COLUMNS else 0)
        tall, wide = (m - 1 if s.axis == ROWS else 0), (m - 1 if s.axis == COLUMNS else 0)
        # What any output of the tile sees. Later outputs see earlier taps, so the last output has the first tap.
        r0, r1 = first_row[line.i + down + tall], last_row[line.i + down]
        s0, s1 = first_column[line.j + right + wide], last_column[line.j + right]
        k0, k1 = 0, s.depth
        if s.depth > s.unit:  # the columns of a row of taps lie in its depth
            k0, k1 = s0 * s.unit, s1 * s.unit
            s1 = 1 if s0 < s1 else 0
            s0 = 0
        if s.swapped:
            r0, r1, s0, s1 = s0, s1, r0, r1
        seen = Taps(r=r0, r_end=r1, s=s0, s_end=s1, k=k0, k_end=k1)
        slide_tile(m, at(a, begin * line.step), at(c, begin * line.out_step), s, phase, line, part, seen)
        begin += m


@inline
def slide_tile(m, a, c, s, phase, line, part, seen):
    """Compute a tile of m outputs, as far as a part has the taps that it sees."""
    taps, n, some = at(s.offsets, phase.first_tap), part.n, part.taps
    if seen.r >= seen.r_end or seen.s >= seen.s_end:  # it sees nothing but zeros
        if some.r == 0 and some.s == 0 and some.k == 0:
            bias_only = Tile(
                a=a, offsets=taps, b=part.packed, i=part.bias, c=c, sm=line.step, sk=1, taps=0, depth=0,
                ldb=tile_columns, sb=0, ldi=0, ldc=line.out_step, free=part.free,
            )  # fmt: skip
            gemm_tile(m, n, bias_only)
    elif overlap(some, seen):
        # The part with the first of the seen taps starts from the bias, the others from what is there.
        new = some.r <= seen.r and some.s <= seen.s and some.k <= seen.k
        first, last = max(some.r, seen.r), min(some.r_end, seen.r_end)
        column, begin = max(some.s, seen.s), max(some.k, seen.k)
        across, end = min(some.s_end, seen.s_end) - column, min(some.k_end, seen.k_end)
        together = last - first if across == phase.inner else 1  # rows of taps that are listed without a gap
        for row in range(first, last, together):
            fresh = new and row == first
            place = row * phase.inner + column
            tile = Tile(
                a=at(a, begin), offsets=at(taps, place), b=at(part.packed, (place * s.depth + begin) * tile_columns),
                i=part.bias if fresh else c, c=c, sm=line.step, sk=1, taps=together * across, depth=end - begin,
                ldb=tile_columns, sb=s.depth * tile_columns, ldi=0 if fresh else line.out_step, ldc=line.out_step,
                free=part.free,
            )  # fmt: skip
            gemm_tile(m, n, tile)


@inline
def overlap(some, seen):
    """Return whether two ranges of taps have any in common."""
    rows = some.r < seen.r_end and seen.r < some.r_end
    return rows and some.s < seen.s_end and seen.s < some.s_end and some.k < seen.k_end and seen.k < some.k_end
