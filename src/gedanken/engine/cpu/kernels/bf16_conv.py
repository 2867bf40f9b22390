"""Convolution in bf16 on the tile unit; see `conv.py` for the same in the machine's own number type."""

from gedanken.engine.cpu.kernels.band import Finish, Slots, finish_band, padded_bands
from gedanken.engine.cpu.kernels.bf16 import SIDE, TILE, Operands, full_tiles, pack_pairs, tile_product
from gedanken.engine.cpu.kernels.blocks import copy_row, tiles_in, transposed, zero_row
from gedanken.engine.cpu.kernels.conv import (
    COLUMNS,
    IMAGES,
    ROWS,
    Band,
    Line,
    Phase,
    Slide,
    Taps,
    finish_bands,
    lines_across,
    place_of,
)
from gedanken.engine.cpu.kernels.conv_gradient import add_bias
from gedanken.engine.cpu.kernels.spread import (
    Spread,
    Strip,
    add_strip,
    begin_sums,
    end_sums,
    first_source,
    first_tap,
    last_source,
    last_tap,
)
from gedanken.engine.cpu.language import Bf16s, Int, Ints, Reals, Record, at, bf16s, inline


class Panel(Record):
    """The packed weights of some filters, n of them."""

    packed: Bf16s
    bias: Reals
    n: Int


def correlate(
    task: Int,
    scratch: Reals,
    source: Reals,
    weights: Bf16s,
    bias: Reals,
    target: Reals,
    s: Slide,
    finish: Finish,
):
    """Slide packed weights over a band of some images, as `conv.correlate` does; the band is always copied, rounded."""
    image, first, start = s.image, task // s.bands * s.together, task % s.bands * s.band
    count, rows = min(s.together, s.images - first), (s.band - 1) * s.row_step + s.reach
    base, pictures = bf16s(scratch), at(source, first * image.height * image.width * image.channels)
    padded_bands(base, pictures, image, count, start * s.row_step, rows, s.axis == ROWS)
    size, out_size = rows * image.padded_width * image.channels, s.out_height * s.out_width * s.out_channels
    out, band = at(target, first * out_size), Band(count=count, start=start, size=size, out_size=out_size)
    for p in range(s.n_phases):
        slide(base, out, weights, bias, s, Phase.read(s.phases, p), band)
    finish_bands(out, s, band, finish, first * s.bands + task % s.bands)


@inline
def slide(base, out, weights, bias, s, phase, band):
    """Slide over the band's rows of one phase, panel by panel."""
    ins, outs, tap_size = s.image.channels // s.groups, s.out_channels // s.groups, full_tiles(s.depth) * TILE
    panels = tiles_in(outs, TILE)
    for number in range(s.groups * panels):
        group, first = number // panels, number // panels * outs + number % panels * TILE
        packed = at(weights, phase.packed + number * phase.outer * phase.inner * tap_size)
        panel = Panel(packed=packed, bias=at(bias, first), n=min(TILE, outs - number % panels * TILE))
        slide_panel(at(base, group * ins), at(out, first), s, phase, band, panel)


@inline
def slide_panel(base, out, s, phase, band, panel):
    """Slide one panel over the band's rows."""
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
            at(out, image * band.out_size + place_of(s, phase, line)), s, phase, line, panel,
        )  # fmt: skip
        # On to the next line.
        i += 1 if axis == COLUMNS else 0
        j += 0 if axis == COLUMNS else 1
        if (i == rows) if axis == COLUMNS else (j == columns):
            image += 0 if axis == IMAGES else 1
            i = i + 1 if axis == IMAGES else 0
            j = 0


@inline
def slide_line(a, c, s, phase, line, panel):
    """Compute a line of outputs, tile by tile."""
    first_row, last_row = at(s.limits, phase.limits), at(s.limits, phase.limits + phase.rows)
    first_column, last_column = at(last_row, phase.rows), at(last_row, phase.rows + phase.columns)
    for begin in range(0, line.length, TILE):
        m = min(TILE, line.length - begin)
        down, right = (begin if s.axis == ROWS else 0), (begin if s.axis == COLUMNS else 0)
        tall, wide = (m - 1 if s.axis == ROWS else 0), (m - 1 if s.axis == COLUMNS else 0)
        r0, r1 = first_row[line.i + down + tall], last_row[line.i + down]
        s0, s1 = first_column[line.j + right + wide], last_column[line.j + right]
        k0, k1 = 0, s.depth
        if s.depth > s.unit:  # the columns of a row of taps lie in its depth; whole tiles of it are multiplied
            k0, k1 = s0 * s.unit // TILE * TILE, s1 * s.unit
            s1 = 1 if s0 < s1 else 0
            s0 = 0
        if s.swapped:
            r0, r1, s0, s1 = s0, s1, r0, r1
        r1 = r1 if s0 < s1 else r0
        seen = Taps(r=r0, r_end=r1, s=s0, s_end=s1, k=k0, k_end=k1)
        slide_tile(m, at(a, begin * line.step + k0), at(c, begin * line.out_step), s, phase, line, panel, seen)


@inline
def slide_tile(m, a, c, s, phase, line, panel, seen):
    """Compute a tile of m outputs from the taps that it sees, or from none."""
    inner, deep, across = phase.inner, full_tiles(s.depth), seen.s_end - seen.s
    together = seen.r_end - seen.r if across == inner else 1  # rows of taps that are listed without a gap
    for row in range(seen.r, max(seen.r_end, seen.r + 1), max(together, 1)):
        fresh = row == seen.r
        place = row * inner + seen.s
        factors = Operands(
            a=a, pitch=line.step, offsets=at(s.offsets, phase.first_tap + place),
            b=at(panel.packed, (place * deep + seen.k) * TILE), taps=together * across if seen.r < seen.r_end else 0,
            depth=seen.k_end - seen.k, deep=deep,
        )  # fmt: skip
        tile_product(m, panel.n, factors, panel.bias if fresh else c, 0 if fresh else line.out_step, c, line.out_step)


def spread(
    task: Int,
    scratch: Reals,
    source: Reals,
    weights: Bf16s,
    bias: Reals,
    target: Reals,
    s: Spread,
    finish: Finish,
):
    """Compute a band of one image's outputs, as `spread.spread` does; source rows are copied, rounded."""
    image, start = task // s.bands, task % s.bands * s.band
    end, line = min(start + s.band, s.out_height), s.width * s.channels
    ins, outs = s.channels // s.groups, s.out_channels // s.groups
    rounded, products = bf16s(scratch), at(scratch, tiles_in((s.strip * s.width + SIDE) * s.channels, 2))
    out = at(target, image * s.out_height * s.out_width * s.out_channels)
    lost = at(scratch, s.lost)
    begin_sums(out, lost, bias, s, start, end)
    run, panels = s.columns * outs, tiles_in(s.rows * s.columns * outs, TILE)
    for row in range(first_source(s, start), last_source(s, end), s.strip):
        rows = min(s.strip, last_source(s, end) - row)
        r0, r1 = first_tap(s, start, row + rows - 1), last_tap(s, end, row)
        copy_row(rounded, at(source, (image * s.height + row) * line), rows * line)
        for group in range(s.groups):
            for panel in range(0, panels, s.held):
                last_panel = min(panel + s.held, panels)
                strip = Strip(
                    row=row, rows=rows, start=start, end=end, r0=r0, r1=r1, first=panel * TILE, last=last_panel * TILE
                )
                for number in range(max(panel, r0 * run // TILE), min(last_panel, tiles_in(r1 * run, TILE))):
                    packed = at(weights, (group * panels + number) * full_tiles(ins) * TILE)
                    multiply_pixels(products, at(rounded, group * ins), packed, s, strip, number)
                add_strip(at(out, group * outs), at(lost, group * outs), products, s, strip)
    end_sums(out, lost, s, start, end)
    finish_band(out, start, end - start, s.out_width, s.out_channels, finish, task)


@inline
def multiply_pixels(products, pixels, packed, s, strip, number):
    """Multiply the pixels of a strip with panel `number`."""
    count, pitch = strip.rows * s.width, strip.last - strip.first
    for pixel in range(0, count, TILE):
        factors = Operands(
            a=at(pixels, pixel * s.channels), pitch=s.channels, offsets=s.zero_offset, b=packed, taps=1,
            depth=s.channels // s.groups, deep=0,
        )  # fmt: skip
        place = at(products, pixel * pitch + number * TILE - strip.first)
        tile_product(min(TILE, count - pixel), TILE, factors, s.zero_bias, 0, place, pitch)


class Planes(Record):
    """How a kernel gradient is summed with a plane for each channel; see `kernel_gradient`."""

    blocks: Int  # of output channels
    together: Int  # images at once
    strip: Int  # output rows at once
    spread: Int  # whether an image has a border or strides
    height: Int
    width: Int
    channels: Int
    top: Int
    left: Int
    down: Int
    right: Int
    plane_rows: Int
    plane_width: Int
    plane: Int  # numbers of each
    places: Ints
    n_places: Int
    out_height: Int
    out_width: Int
    out_channels: Int
    groups: Int
    offsets: Ints  # of images in planes


class Rows(Record):
    """Some output rows of so many images; `new`: they are the first of their sum."""

    row: Int
    rows: Int
    images: Int
    new: Int


def kernel_gradient(task: Int, scratch: Reals, x: Reals, dy: Reals, sums: Slots, p: Planes):
    """Sum the kernel gradient over the images of one slot; a task is a slot and a block of output channels.

    sums.weights[slot][place][c, k] =
        sum over n and pixels p of planes[n][phase(place)][c][shift(place) + p] * dy[n][p][k]

    The sum goes over pixels, so each image is transposed: a plane for every channel, and for strides a set of planes
    for each phase, which holds every stride-th row and column of the padded image. Then a place of the window is one
    number in `places`: where its first pixel lies. dy has the planes' pitch, with zeros behind each row; what a plane
    holds there is multiplied by zero, so that NaN and infinity reach every place of its channel's window.
    scratch: planes of `together` images, a panel of dy, an image in phases.
    """
    slot, block, ins = task // p.blocks, task % p.blocks, p.channels // p.groups
    image_size, pixels = p.down * p.right * p.channels * p.plane, p.out_height * p.out_width
    begin, end = slot * sums.images // sums.slots, (slot + 1) * sums.images // sums.slots
    planes, panel_place = bf16s(scratch), p.together * image_size + SIDE * p.plane
    panel = at(planes, panel_place)
    phased = at(scratch, (panel_place + p.together * full_tiles(p.strip * p.plane_width) * TILE) // 2)
    target = at(sums.weights, slot * p.n_places * ins * p.out_channels)
    zero_row(planes, p.together * image_size)
    if p.spread:
        zero_row(phased, p.down * p.right * p.plane_rows * p.plane_width * p.channels)
    for image in range(begin, end, p.together):
        count = min(p.together, end - image)
        for number in range(count):
            picture = at(x, (image + number) * p.height * p.width * p.channels)
            turned_planes(at(planes, number * image_size), phased, picture, p)
        gradients = at(dy, image * pixels * p.out_channels)
        for row in range(0, p.out_height, p.strip):
            some = Rows(
                row=row, rows=min(p.strip, p.out_height - row), images=count, new=image == begin and row == 0
            )  # fmt: skip
            strip_gradient(at(planes, row * p.plane_width), panel, gradients, target, p, some, block)
        if sums.biased and block == 0:
            add_bias(at(sums.bias, slot * p.out_channels), gradients, count * pixels, p.out_channels, image == begin)


@inline
def turned_planes(planes, phased, picture, p):
    """Turn one image into planes; where it has a border or strides, by way of a copy that has them."""
    channels, width = p.channels, p.plane_width
    if p.spread:
        for h in range(p.height):
            row, source = h + p.top, at(picture, h * p.width * channels)
            start = (row % p.down * p.right * p.plane_rows + row // p.down) * width
            if p.right == 1:
                copy_row(at(phased, (start + p.left) * channels), source, p.width * channels)
            else:
                for w in range(p.width):
                    column = w + p.left
                    pixel = start + column % p.right * p.plane_rows * width + column // p.right
                    copy_row(at(phased, pixel * channels), at(source, w * channels), channels)
        picture = phased
    pixels = p.plane_rows * width
    for phase in range(p.down * p.right):
        here = at(picture, phase * pixels * channels)
        transposed(here, at(planes, phase * channels * p.plane), pixels, channels, channels, p.plane)


@inline
def strip_gradient(planes, panel, gradients, partial, p, some, block):
    """Add what some rows of dy say of the kernel's gradient to the panels of a block."""
    ins, outs, depth = p.channels // p.groups, p.out_channels // p.groups, full_tiles(some.rows * p.plane_width)
    panels = tiles_in(outs, TILE)
    for number in range(p.groups * panels):
        group, first = number // panels, number % panels * TILE
        if number % panels % p.blocks != block:
            continue
        column, n = group * outs + first, min(TILE, outs - first)
        pack_gradients(panel, at(gradients, column), p, some, n)
        for place in range(p.n_places):
            for c in range(0, ins, TILE):
                m, target = min(TILE, ins - c), at(partial, (place * ins + c) * p.out_channels + column)
                if some.new:
                    for i in range(m):
                        zero_row(at(target, i * p.out_channels), n)
                factors = Operands(
                    a=at(planes, p.places[place] + (group * ins + c) * p.plane), pitch=p.plane, offsets=p.offsets,
                    b=panel, taps=some.images, depth=depth, deep=depth,
                )  # fmt: skip
                tile_product(m, n, factors, target, p.out_channels, target, p.out_channels)


@inline
def pack_gradients(panel, gradients, p, some, n):
    """Pack some rows of dy of some images, with the planes' pitch and zeros behind each row."""
    depth = full_tiles(some.rows * p.plane_width)
    zero_row(panel, some.images * depth * TILE)
    for image in range(some.images):
        for i in range(some.rows):
            source = at(gradients, (image * p.out_height + some.row + i) * p.out_width * p.out_channels)
            pairs = at(panel, (image * depth + i * p.plane_width) * TILE)
            pack_pairs(pairs, source, p.out_width, n, p.out_channels)
