"""The gradient with respect to a convolution's kernel: pixels of dy times what the window saw of the image."""

from gedanken.engine.cpu.kernels.band import Padded, Slots, padded_bands
from gedanken.engine.cpu.kernels.blocks import pack_rows, rows_of_tile, sum_rows, tiles_in, zero_row
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
    tile_rows,
)

FLUSH = 64  # strips that are added to one sum before it is added to a sum of sums: long sums lose digits


class Gradient(Record):
    """What is summed, and how it is cut into parts that stay in the cache; see `by_kernel`."""

    image: Padded
    border: Int
    reach: Int  # rows of an image that are seen
    down: Int
    right: Int
    window_rows: Int
    row_dilation: Int
    window_columns: Int
    column_dilation: Int
    joined: Int
    out_height: Int
    out_width: Int
    out_channels: Int
    groups: Int
    blocks: Int
    strip: Int
    most: Int
    together: Int
    offsets: Ints
    seen_rows: Ints
    seen_columns: Ints


class Strip(Record):
    """Some output rows from `row` on, and so many columns of them, of some images; `new`: the first of their sum."""

    row: Int
    rows: Int
    column: Int
    columns: Int
    images: Int
    new: Int


class Shares(Record):
    """The channels that a task works on: of each group of `outs` every panel whose number is `block` modulo blocks."""

    outs: Int
    blocks: Int
    block: Int


def by_kernel(task: Int, scratch: Reals, x: Reals, dy: Reals, kept: Reals, sums: Slots, g: Gradient):
    """Sum the kernel gradient over the images of one slot; a task is a slot and a block of output channels.

    sums.weights[slot][r, s, c, k] =
        sum over n, i, j of x[n, i * down + r * row_dilation, j * right + s, c] * dy[n, i, j, k]

    A window's row is one run of numbers where it is contiguous in memory (`joined`), else one for each column.
    strip: output rows that are worked through at once, and `most` columns of them, so that they stay in the cache;
    where it holds whole images, `together` of them. offsets[n]: where rows of n images lie in x, row by row. seen_rows:
    from which output row on, and up to which, a row of the window is inside the image; seen_columns likewise, for each
    number of its rows. kept: sums of sums, where a slot has more than FLUSH strips. sums.bias[slot][k] = sum of dy.
    """
    image, slot, block = g.image, task // g.blocks, task % g.blocks
    height, width, channels = image.height, image.width, image.channels
    ins, outs, pitch = channels // g.groups, g.out_channels // g.groups, image.padded_width * channels
    rows, out_pixels = g.window_rows * g.window_columns * ins, g.out_height * g.out_width
    target, total = at(sums.weights, slot * rows * g.out_channels), at(kept, slot * rows * g.out_channels)
    packed = at(scratch, g.together * g.reach * pitch if g.border else 0)
    shares = Shares(outs=outs, blocks=g.blocks, block=block)
    strips = 0
    first, end = slot * sums.images // sums.slots, (slot + 1) * sums.images // sums.slots
    for number in range(first, end, g.together):
        count = min(g.together, end - number)
        # This may lie before the image; no tile takes what `seen_rows` and `seen_columns` leave out.
        base = at(x, ((number * height - image.top) * width - image.left) * channels)
        gradients = at(dy, number * out_pixels * g.out_channels)
        if g.border:
            padded_bands(scratch, at(x, number * height * width * channels), image, count, 0, g.reach, False)
            base = scratch
        for part in range(tiles_in(g.out_height, g.strip) * tiles_in(g.out_width, g.most)):
            new = strips % FLUSH == 0
            if new and strips > 0:
                # Strips are summed in target; FLUSH of them move to the sum of sums.
                flush(total, target, rows, g.out_channels, shares, strips == FLUSH)
            strips += 1
            strip = Strip(
                row=part // tiles_in(g.out_width, g.most) * g.strip, rows=rows_of(g, part),
                column=part % tiles_in(g.out_width, g.most) * g.most, columns=columns_of(g, part), images=count,
                new=new,
            )  # fmt: skip
            panels_gradient(
                at(base, strip.row * g.down * pitch + strip.column * g.right * channels),
                at(gradients, (strip.row * g.out_width + strip.column) * g.out_channels), packed, target, g, strip,
                shares,
            )  # fmt: skip
        # All blocks of a slot see the same dy; one of them adds it up.
        if sums.biased and block == 0:
            add_bias(
                at(sums.bias, slot * g.out_channels), gradients, count * out_pixels, g.out_channels, number == first
            )
    if strips > FLUSH:
        flush(target, total, rows, g.out_channels, shares, False)


@inline
def rows_of(g, part):
    """Return how many output rows a part of an image has."""
    return min(g.strip, g.out_height - part // tiles_in(g.out_width, g.most) * g.strip)


@inline
def columns_of(g, part):
    """Return how many output columns a part of an image has."""
    return min(g.most, g.out_width - part % tiles_in(g.out_width, g.most) * g.most)


@inline
def panels_gradient(base, gradients, packed, target, g, strip, shares):
    """Add what a strip of outputs says of the gradient to the panels that are of this block."""
    ins, outs, size = g.image.channels // g.groups, shares.outs, g.out_height * g.out_width * g.out_channels
    panels = tiles_in(outs, tile_columns)
    for number in range(g.groups * panels):
        group, panel = number // panels, number % panels
        if panel % shares.blocks == shares.block:
            first = group * outs + panel * tile_columns
            n = min(tile_columns, outs - panel * tile_columns)
            pack_strip(packed, at(gradients, first), strip, size, n, g.out_channels)
            strip_gradient(at(base, group * ins), packed, at(target, first), g, strip, n)


@inline
def pack_strip(packed, gradients, strip, image_size, n, channels):
    """Pack some rows of dy of some images, row by row: the first one of all images, then the second one."""
    if strip.images == 1:
        pack_rows(packed, gradients, strip.rows * strip.columns, n, channels)
    else:
        for i in range(strip.rows):
            for image in range(strip.images):
                place = at(packed, (i * strip.images + image) * strip.columns * tile_columns)
                source = at(gradients, image * image_size + i * strip.columns * channels)
                pack_rows(place, source, strip.columns, n, channels)


@inline
def strip_gradient(base, packed, target, g, strip, n):
    """Add to one panel of the kernel's gradient what a strip of outputs says of it."""
    channels = g.image.channels
    ins, row_step = channels // g.groups, g.row_dilation * g.image.padded_width * channels
    spans, span = 1 if g.joined else g.window_columns, g.window_columns * ins if g.joined else ins
    for r in range(g.window_rows):
        i0, i1 = max(g.seen_rows[2 * r] - strip.row, 0), min(g.seen_rows[2 * r + 1] - strip.row, strip.rows)
        for s in range(spans):
            place = at(target, (r * spans + s) * span * g.out_channels)
            if strip.new:
                for i in range(span):
                    zero_row(at(place, i * g.out_channels), n)
            if i0 < i1:
                seen = Span(
                    a=at(base, r * row_step + s * g.column_dilation * channels), length=span, i0=i0, i1=i1,
                    columns=at(g.seen_columns, 2 * s * ins),
                )  # fmt: skip
                span_gradient(packed, place, g, strip, seen, n)


class Span(Record):
    """A run of the window's numbers at `a`, the output rows that see them, and the columns, for each of them."""

    a: Reals
    length: Int
    i0: Int
    i1: Int
    columns: Ints


@inline
def span_gradient(packed, c, g, strip, seen, n):
    """Add to some rows of the kernel's gradient, tile by tile, over the outputs that any of a tile's rows sees."""
    images, wide, step = strip.images, strip.columns, g.right * g.image.channels
    b = at(packed, seen.i0 * images * wide * tile_columns)
    taps = at(g.offsets, images * g.together * g.strip + seen.i0 * images)
    parts = tiles_in(seen.length, rows_of_tile(n))
    small = seen.length // parts
    larger = seen.length - small * parts
    m0 = 0
    for part in range(parts):
        m = small + 1 if part < larger else small
        # The outputs that see any of the tile's numbers: an earlier output sees a later number of the window.
        j0 = max(seen.columns[2 * (m0 + m - 1)] - strip.column, 0)
        j1 = min(seen.columns[2 * m0 + 1] - strip.column, wide)
        place = at(c, m0 * g.out_channels)
        if j0 < j1:
            tile = Tile(
                a=at(seen.a, m0 + j0 * step), offsets=taps, b=at(b, j0 * tile_columns), i=place, c=place, sm=1,
                sk=step, taps=(seen.i1 - seen.i0) * images, depth=j1 - j0, ldb=tile_columns, sb=wide * tile_columns,
                ldi=g.out_channels, ldc=g.out_channels, free=0,
            )  # fmt: skip
            gemm_tile(m, n, tile)
        m0 += m


def by_few_filters(task: Int, scratch: Reals, x: Reals, dy: Reals, kept: Reals, sums: Slots, g: Gradient):
    """Sum the gradient as `by_kernel` does, with the filters as rows and the window's numbers as columns of a tile.

    sums.weights[slot][k, r, s, c].   The right factor is the image itself, copied to where whole vectors can be read.
    """
    image, outs = g.image, g.out_channels // g.groups
    size, ins = image.height * image.width * image.channels, image.channels // g.groups
    row_size, out_pixels = g.window_rows * g.window_columns * ins, g.out_height * g.out_width
    target, total = at(sums.weights, task * g.out_channels * row_size), at(kept, task * g.out_channels * row_size)
    shares = Shares(outs=row_size, blocks=1, block=0)
    strips = 0
    first = task * sums.images // sums.slots
    for number in range(first, (task + 1) * sums.images // sums.slots):
        gradients = at(dy, number * out_pixels * g.out_channels)
        padded_bands(scratch, at(x, number * size), image, 1, 0, g.reach, False)
        for part in range(tiles_in(g.out_height, g.strip) * tiles_in(g.out_width, g.most)):
            if strips % FLUSH == 0:
                if strips > 0:
                    flush(total, target, g.out_channels, row_size, shares, strips == FLUSH)
                zero_row(target, g.out_channels * row_size)
            strips += 1
            strip = Strip(
                row=part // tiles_in(g.out_width, g.most) * g.strip, rows=rows_of(g, part),
                column=part % tiles_in(g.out_width, g.most) * g.most, columns=columns_of(g, part), images=1, new=False,
            )  # fmt: skip
            for group in range(g.groups):
                filters_gradient(
                    at(scratch, group * ins), at(gradients, group * outs), at(target, group * outs * row_size), g, strip
                )
        if sums.biased:
            add_bias(at(sums.bias, task * g.out_channels), gradients, out_pixels, g.out_channels, number == first)
    if strips > FLUSH:
        flush(target, total, g.out_channels, row_size, shares, False)


@inline
def filters_gradient(picture, gradients, target, g, strip):
    """Add what a strip of outputs says of the filters of one group."""
    channels, pitch = g.image.channels, g.image.padded_width * g.image.channels
    ins, outs = channels // g.groups, g.out_channels // g.groups
    row_size = g.window_rows * g.window_columns * ins
    spans, span = 1 if g.joined else g.window_columns, g.window_columns * ins if g.joined else ins
    for r in range(g.window_rows):
        i0, i1 = max(g.seen_rows[2 * r], strip.row), min(g.seen_rows[2 * r + 1], strip.row + strip.rows)
        for s in range(spans):
            b = at(picture, (i0 * g.down + r * g.row_dilation) * pitch + s * g.column_dilation * channels)
            for first in range(0, span if i0 < i1 else 0, tile_columns):
                n = min(tile_columns, span - first)
                j0 = max(g.seen_columns[2 * (s * ins + first + n - 1)], strip.column)
                j1 = min(g.seen_columns[2 * (s * ins + first) + 1], strip.column + strip.columns)
                for k in range(0, outs if j0 < j1 else 0, tile_rows):
                    place = at(target, k * row_size + (r * spans + s) * span + first)
                    tile = Tile(
                        a=at(gradients, (i0 * g.out_width + j0) * g.out_channels + k), offsets=g.offsets,
                        b=at(b, first + j0 * g.right * channels), i=place, c=place, sm=1, sk=g.out_channels,
                        taps=i1 - i0, depth=j1 - j0, ldb=g.right * channels, sb=g.down * pitch, ldi=row_size,
                        ldc=row_size, free=0,
                    )  # fmt: skip
                    gemm_tile(min(tile_rows, outs - k), n, tile)


@inline
def flush(total, sums, rows, channels, shares, fresh):
    """Add the columns of one block to another sum, or begin it with them."""
    outs, panels = shares.outs, tiles_in(shares.outs, tile_columns)
    for group in range(channels // outs):
        for panel in range(shares.block, panels, shares.blocks):
            first, n = group * outs + panel * tile_columns, min(tile_columns, outs - panel * tile_columns)
            for row in range(rows):
                there, here = at(total, row * channels + first), at(sums, row * channels + first)
                if fresh:
                    zero_row(there, n)
                for c in lanes(n):
                    there[c] += here[c]


@inline
def add_bias(target, gradients, rows, channels, new):
    """Add the sums of some rows of dy, or begin with them."""
    if new:
        zero_row(target, channels)
    sum_rows(target, gradients, rows, channels)
