"""Convolution the other way round: every pixel of the source is multiplied with all taps at once and added to the
outputs that see it.

`correlate` gathers: for each output it sums over taps and channels, and of a tile's outputs some see taps outside the
image. `spread` computes the products of a pixel with all taps, a dense product whatever the window, and adds them where
they belong. It is the input gradient where windows are wide or the input has few channels, and the forward pass
where there are few filters.
"""

from gedanken.engine.cpu.kernels.band import Finish, finish_band
from gedanken.engine.cpu.kernels.blocks import carry, copy_row, settle, tiles_in, vectors_of, zero_row
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
    real,
    tile_columns,
    tile_rows,
)


class Spread(Record):
    """How the pixels of a source are spread over windows; see `spread`."""

    height: Int
    width: Int
    channels: Int
    out_height: Int
    out_width: Int
    out_channels: Int
    rows: Int  # of the window
    columns: Int
    down: Int
    right: Int
    top: Int
    left: Int
    by_row: Int
    by_column: Int
    groups: Int
    lost: Int  # where a window has many taps: the place in scratch of what rounding takes from a band's sums; else 0
    bands: Int  # of an image
    band: Int  # output rows of each
    strip: Int  # source rows that are multiplied at once
    held: Int  # panels of the weights that they are multiplied with; the products stay in scratch
    zero_bias: Reals  # zeros, as many as tile_columns
    zero_offset: Ints


class Strip(Record):
    """Source rows, the rows of taps [r0, r1) that put them on output rows [start, end), and columns of products."""

    row: Int
    rows: Int
    start: Int
    end: Int
    r0: Int
    r1: Int
    first: Int
    last: Int


def pack_mirrored(
    task: Int, scratch: Reals, weights: Reals, packed: Reals, taps: Int, ins: Int, outs: Int, groups: Int
):
    """Lay out a kernel for spreading forwards: taps in the opposite order and filters are columns; a task is a panel.

    weights: [tap][input][group * outs].   packed: [group][panel][input][tile_columns]
    """
    panels = tiles_in(taps * outs, tile_columns)
    group, first = task // panels, task % panels * tile_columns
    place = at(packed, task * ins * tile_columns)
    for j in range(min(tile_columns, taps * outs - first)):
        tap, k = taps - 1 - (first + j) // outs, (first + j) % outs
        for c in range(ins):
            place[c * tile_columns + j] = weights[(tap * ins + c) * groups * outs + group * outs + k]


def spread(
    task: Int,
    scratch: Reals,
    source: Reals,
    weights: Reals,
    bias: Reals,
    target: Reals,
    s: Spread,
    finish: Finish,
):
    """Compute a band of one image's outputs.

    target[h, w, o] = bias[o] + sum over source pixels (i, j) and taps (r, s) with h = i * down + r * by_row - top,
                      w = j * right + s * by_column - left, and over k, of source[i, j, k] * weights[k, r, s, o]
    """
    image, start = task // s.bands, task % s.bands * s.band
    end = min(start + s.band, s.out_height)
    ins, outs = s.channels // s.groups, s.out_channels // s.groups
    out = at(target, image * s.out_height * s.out_width * s.out_channels)
    lost = at(scratch, s.lost)
    begin_sums(out, lost, bias, s, start, end)
    run, panels = s.columns * outs, tiles_in(s.rows * s.columns * outs, tile_columns)
    for group in range(s.groups):
        for panel in range(0, panels, s.held):
            last_panel = min(panel + s.held, panels)
            for row in range(first_source(s, start), last_source(s, end), s.strip):
                rows = min(s.strip, last_source(s, end) - row)
                strip = Strip(
                    row=row, rows=rows, start=start, end=end, r0=first_tap(s, start, row + rows - 1),
                    r1=last_tap(s, end, row), first=panel * tile_columns, last=last_panel * tile_columns,
                )  # fmt: skip
                pixels = at(source, (image * s.height + row) * s.width * s.channels + group * ins)
                packed = at(weights, group * panels * ins * tile_columns)
                begin = max(panel, strip.r0 * run // tile_columns)
                for number in range(begin, min(last_panel, tiles_in(strip.r1 * run, tile_columns))):
                    multiply_pixels(scratch, pixels, at(packed, number * ins * tile_columns), s, strip, number)
                add_strip(at(out, group * outs), at(lost, group * outs), scratch, s, strip)
    end_sums(out, lost, s, start, end)
    finish_band(out, start, end - start, s.out_width, s.out_channels, finish, task)


@inline
def begin_sums(out, lost, bias, s, start, end):
    """Set a band of outputs to the bias."""
    for pixel in range(start * s.out_width, end * s.out_width):
        copy_row(at(out, pixel * s.out_channels), bias, s.out_channels)
    if s.lost:
        zero_row(lost, (end - start) * s.out_width * s.out_channels)


@inline
def end_sums(out, lost, s, start, end):
    """Give back to a band of outputs what rounding took from them."""
    line = s.out_width * s.out_channels
    if s.lost:
        settle(at(out, start * line), lost, (end - start) * line)


@inline
def first_source(s, start):
    """Return the first source row with a tap on output row `start` or below."""
    before = start + s.top - (s.rows - 1) * s.by_row
    return (before + s.down - 1) // s.down if before > 0 else 0


@inline
def last_source(s, end):
    """Return the source row after the last one with a tap above output row `end`."""
    return min(s.height, (end - 1 + s.top) // s.down + 1)


@inline
def first_tap(s, start, row):
    """Return the first row of taps that puts a source row on output row `start` or below."""
    before = start + s.top - row * s.down
    return (before + s.by_row - 1) // s.by_row if before > 0 else 0


@inline
def last_tap(s, end, row):
    """Return the row of taps after the last one that puts a source row above output row `end`."""
    room = end - 1 + s.top - row * s.down
    return min(s.rows, room // s.by_row + 1) if room >= 0 else 0


@inline
def multiply_pixels(products, pixels, packed, s, strip, number):
    """Multiply the pixels of a strip with panel `number`."""
    count, pitch, first = strip.rows * s.width, strip.last - strip.first, number * tile_columns
    n = vectors_of(min(tile_columns, s.rows * s.columns * (s.out_channels // s.groups) - first))
    target = at(products, first - strip.first)
    parts = tiles_in(count, tile_rows)
    small = count // parts
    larger = count - small * parts
    pixel = 0
    for part in range(parts):
        m = small + 1 if part < larger else small
        tile = Tile(
            a=at(pixels, pixel * s.channels), offsets=s.zero_offset, b=packed, i=s.zero_bias,
            c=at(target, pixel * pitch), sm=s.channels, sk=1, taps=1, depth=s.channels // s.groups, ldb=tile_columns,
            sb=0, ldi=0, ldc=pitch, free=0,
        )  # fmt: skip
        gemm_tile(m, n, tile)
        pixel += m


@inline
def add_strip(out, lost, products, s, strip):
    """Add a strip's products to the outputs that see its rows."""
    outs, pitch, line_size = s.out_channels // s.groups, strip.last - strip.first, s.out_width * s.out_channels
    run = s.columns * outs
    for i in range(strip.rows):
        for r in range(strip.r0, strip.r1):
            h = (strip.row + i) * s.down + r * s.by_row - s.top
            if h < strip.start or h >= strip.end or (r + 1) * run <= strip.first or r * run >= strip.last:
                continue
            line, rest = at(out, h * line_size), at(lost, (h - strip.start) * line_size)
            here = at(products, i * s.width * pitch - strip.first)
            if s.by_column == 1 and s.groups == 1:
                add_runs(line, rest, here, s, strip, -s.left, r * run, s.columns)
            else:
                for c in range(s.columns):
                    add_runs(line, rest, here, s, strip, c * s.by_column - s.left, r * run + c * outs, 1)


@inline
def add_runs(line, lost, products, s, strip, shift, place, taps):
    """Add the products of one source row with some taps beside each other, whose columns begin at `place`."""
    outs, pitch = s.out_channels // s.groups, strip.last - strip.first
    for j in range(s.width):
        w = j * s.right + shift
        begin = max(max(0, -w) * outs, strip.first - place)
        end = min(min(taps, s.out_width - w) * outs, strip.last - place)
        there, here = at(line, w * s.out_channels), at(products, j * pitch + place)
        if s.lost:
            rest = at(lost, w * s.out_channels)
            carry(at(there, begin), at(rest, begin), at(here, begin), end - begin, real(1))
        else:
            for c in lanes(end - begin):
                there[begin + c] += here[begin + c]
