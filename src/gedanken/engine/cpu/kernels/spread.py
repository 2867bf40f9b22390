"""Convolution the other way round: every pixel of the source is multiplied with all taps at once and added to the
outputs that see it.

`correlate` gathers: for each output it sums over taps and channels, and of a tile's outputs some see taps outside the
image. `spread` computes the products of a pixel with all taps, a dense product whatever the window, and adds them where
they belong. It is the input gradient where windows are wide or the input has few channels, and the forward pass
where there are few filters.
"""

from gedanken.engine.cpu.kernels.blocks import carry, copy_row, settle, tiles_in, vectors_of, zero_row
from gedanken.engine.cpu.kernels.conv import finish_band
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
    tile_rows,
)

# Places in the shape table.
HEIGHT, WIDTH, CHANNELS, OUT_HEIGHT, OUT_WIDTH, OUT_CHANNELS, ROWS, COLUMNS = 0, 1, 2, 3, 4, 5, 6, 7
DOWN, RIGHT, TOP, LEFT, BY_ROW, BY_COLUMN, GROUPS = 8, 9, 10, 11, 12, 13, 14
LOST = 15  # where a window has many taps: the place in scratch of what rounding takes from a band's sums; else 0


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
    task: Int, scratch: Reals, source: Reals, weights: Reals, bias: Reals, nothing: Reals, target: Reals,
    statistics: Reals, measured: Int, shape: Ints, bands: Int, band: Int, strip: Int, held: Int, nought: Ints,
    kind: Int, slope: Real,
):  # fmt: skip
    """Compute a band of one image's outputs.

    target[h, w, o] = bias[o] + sum over source pixels (i, j) and taps (r, s) with h = i * down + r * by_row - top,
                      w = j * right + s * by_column - left, and over k, of source[i, j, k] * weights[k, r, s, o]

    strip: source rows that are multiplied at once, with `held` panels of the weights; the products stay in scratch.
    """
    image, start = task // bands, task % bands * band
    end = min(start + band, shape[OUT_HEIGHT])
    ins, outs = shape[CHANNELS] // shape[GROUPS], shape[OUT_CHANNELS] // shape[GROUPS]
    out = at(target, image * shape[OUT_HEIGHT] * shape[OUT_WIDTH] * shape[OUT_CHANNELS])
    lost = at(scratch, shape[LOST])
    begin_sums(out, lost, bias, shape, start, end)
    panels = tiles_in(shape[ROWS] * shape[COLUMNS] * outs, tile_columns)
    for group in range(shape[GROUPS]):
        for panel in range(0, panels, held):
            last_panel = min(panel + held, panels)
            for row in range(first_source(shape, start), last_source(shape, end), strip):
                rows = min(strip, last_source(shape, end) - row)
                r0, r1 = first_tap(shape, start, row + rows - 1), last_tap(shape, end, row)
                begin = max(panel, r0 * shape[COLUMNS] * outs // tile_columns)
                behind = min(last_panel, tiles_in(r1 * shape[COLUMNS] * outs, tile_columns))
                pixels = at(source, (image * shape[HEIGHT] + row) * shape[WIDTH] * shape[CHANNELS] + group * ins)
                pitch = (last_panel - panel) * tile_columns
                for number in range(begin, behind):
                    multiply_pixels(
                        at(scratch, (number - panel) * tile_columns), pixels,
                        at(weights, (group * panels + number) * ins * tile_columns), nothing, rows * shape[WIDTH],
                        vectors_of(min(tile_columns, shape[ROWS] * shape[COLUMNS] * outs - number * tile_columns)),
                        ins, shape[CHANNELS], pitch, nought,
                    )  # fmt: skip
                add_strip(
                    at(out, group * outs), at(lost, group * outs), scratch, shape, row, rows, start, end, r0, r1,
                    panel * tile_columns, panel * tile_columns + pitch, pitch, outs,
                )  # fmt: skip
    end_sums(out, lost, shape, start, end)
    finish_band(
        out, start, end - start, shape[OUT_WIDTH], shape[OUT_CHANNELS], kind, slope, measured,
        at(statistics, task * 3 * shape[OUT_CHANNELS] if measured else 0),
    )  # fmt: skip


@helper
def begin_sums(out, lost, bias, shape, start, end):
    """Set a band of outputs to the bias."""
    for pixel in range(start * shape[OUT_WIDTH], end * shape[OUT_WIDTH]):
        copy_row(at(out, pixel * shape[OUT_CHANNELS]), bias, shape[OUT_CHANNELS])
    if shape[LOST]:
        zero_row(lost, (end - start) * shape[OUT_WIDTH] * shape[OUT_CHANNELS])


@helper
def end_sums(out, lost, shape, start, end):
    """Give back to a band of outputs what rounding took from them."""
    line = shape[OUT_WIDTH] * shape[OUT_CHANNELS]
    if shape[LOST]:
        settle(at(out, start * line), lost, (end - start) * line)


@helper
def first_source(shape, start):
    """Return the first source row with a tap on output row `start` or below."""
    before = start + shape[TOP] - (shape[ROWS] - 1) * shape[BY_ROW]
    return (before + shape[DOWN] - 1) // shape[DOWN] if before > 0 else 0


@helper
def last_source(shape, end):
    """Return the source row after the last one with a tap above output row `end`."""
    return min(shape[HEIGHT], (end - 1 + shape[TOP]) // shape[DOWN] + 1)


@helper
def first_tap(shape, start, row):
    """Return the first row of taps that puts a source row on output row `start` or below."""
    before = start + shape[TOP] - row * shape[DOWN]
    return (before + shape[BY_ROW] - 1) // shape[BY_ROW] if before > 0 else 0


@helper
def last_tap(shape, end, row):
    """Return the row of taps after the last one that puts a source row above output row `end`."""
    room = end - 1 + shape[TOP] - row * shape[DOWN]
    return min(shape[ROWS], room // shape[BY_ROW] + 1) if room >= 0 else 0


@helper
def multiply_pixels(target, pixels, packed, nothing, count, n, depth, channels, pitch, nought):
    """Multiply some pixels with one panel."""
    parts = tiles_in(count, tile_rows)
    small = count // parts
    larger = count - small * parts
    pixel = 0
    for part in range(parts):
        m = small + 1 if part < larger else small
        product(
            m, n, at(pixels, pixel * channels), nought, packed, nothing, at(target, pixel * pitch), channels, 1, 1,
            depth, tile_columns, 0, 0, pitch, 0,
        )  # fmt: skip
        pixel += m


@helper
def add_strip(out, lost, products, shape, row, rows, start, end, r0, r1, first, last, pitch, outs):
    """Add products of some source rows to the outputs that see them; of all columns, products has first to last."""
    across, run, line_size = shape[COLUMNS], shape[COLUMNS] * outs, shape[OUT_WIDTH] * shape[OUT_CHANNELS]
    for i in range(rows):
        for r in range(r0, r1):
            h = (row + i) * shape[DOWN] + r * shape[BY_ROW] - shape[TOP]
            if h < start or h >= end or (r + 1) * run <= first or r * run >= last:
                continue
            line, rest = at(out, h * line_size), at(lost, (h - start) * line_size)
            strip = at(products, i * shape[WIDTH] * pitch - first)
            if shape[BY_COLUMN] == 1 and shape[GROUPS] == 1:
                add_runs(line, rest, strip, shape, -shape[LEFT], r * run, across, first, last, pitch, outs)
            else:
                for s in range(across):
                    shift = s * shape[BY_COLUMN] - shape[LEFT]
                    add_runs(line, rest, strip, shape, shift, r * run + s * outs, 1, first, last, pitch, outs)


@helper
def add_runs(line, lost, products, shape, shift, place, taps, first, last, pitch, outs):
    """Add the products of one source row with some taps beside each other, whose columns begin at `place`."""
    for j in range(shape[WIDTH]):
        w = j * shape[RIGHT] + shift
        begin = max(max(0, -w) * outs, first - place)
        end = min(min(taps, shape[OUT_WIDTH] - w) * outs, last - place)
        there, here = at(line, w * shape[OUT_CHANNELS]), at(products, j * pitch + place)
        if shape[LOST]:
            rest = at(lost, w * shape[OUT_CHANNELS])
            carry(at(there, begin), at(rest, begin), at(here, begin), end - begin, real(1))
        else:
            for c in lanes(end - begin):
                there[begin + c] += here[begin + c]
