"""Convolution in steps of one pixel with fewer products: by windows of 3 x 3, and of one row of two to five pixels.

A square of 2 x 2 outputs y sees 4 x 4 pixels d. In another basis the square, its pixels and the window g are 16 numbers
for each channel, its places, and a place of one needs only the same place of the other:

    u = G g G',   v = B' d B,   y = A' (sum over channels of u * v) A         16 products in place of 36

    G' = 1  1/2  1/2  0      B = 1  0  0  0      A = 1  0
         0  1/2 -1/2  0          0  1 -1  1          1  1
         0  1/2  1/2  1         -1  1  1  0          1 -1
                                 0  0  0 -1          0 -1

The sums over channels of many squares are 16 products of matrices. The gradient with respect to the window goes the
same way back: dg = G' (sum over squares of v * (A dy A')) G. Where windows have one row, so have squares, see
`winograd_lines.py`.

Source: Winograd 1980, "Arithmetic complexity of computations"; Lavin & Gray 2015, arXiv:1509.09308.
"""

from gedanken.engine.cpu.kernels.band import Finish, Slots, finish_band
from gedanken.engine.cpu.kernels.blocks import (
    copy_row,
    rows_of_tile,
    sum_rows,
    tiles_in,
    vectors_of,
    zero_row,
)
from gedanken.engine.cpu.kernels.winograd_basis import (
    PLACES,
    SQUARES,
    outputs_of,
    slopes_of,
    turned,
    window_of_square,
)
from gedanken.engine.cpu.kernels.winograd_lines import (
    outputs_of_line,
    slopes_of_line,
    turned_line,
    window_of,
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
    local_reals,
    noinline,
    tile_columns,
    vector_lanes,
)

FLUSH = 64  # blocks that are added to one sum before it is added to a sum of sums: long sums lose digits


class Squares(Record):
    """Squares of high x broad outputs, which lie `down` by `across` in an image, and how they are shared out.

    A task has images with a border of zeros: `tall` rows of padded_width pixels, `deep` numbers each, in whole vectors.
    """

    height: Int
    width: Int
    channels: Int
    top: Int  # rows of zeros before the image
    left: Int
    out_height: Int
    out_width: Int
    out_channels: Int
    high: Int
    broad: Int
    places: Int  # numbers of a square in the other basis: 16, or of a line 6
    taps: Int
    basis: Reals  # of lines
    across: Int
    down: Int
    some: Int  # squares that are multiplied at once, at most SQUARES
    tall: Int
    padded_width: Int
    deep: Int
    images: Int
    together: Int  # images of a task
    bands: Int  # of an image
    band: Int  # rows of squares of each
    blocks: Int  # of panels, in the gradient
    offsets: Ints  # of each vector of channels


class Block(Record):
    """Some squares of a task: those from `first` on, of which an image has `each`, from row `row` of squares on."""

    first: Int
    count: Int
    each: Int
    row: Int


# ---------------------------------------------------------------------------------------------- pixels


@inline
def copied(target, source, count, size):
    """Copy some numbers, and zeros behind them up to a size."""
    copy_row(target, source, count)
    zero_row(at(target, count), size - count)


@noinline
def bordered(target, images, count, first, s):
    """Copy rows of pixels, from row `first` on, of some images, with zeros around them and behind their channels."""
    channels, pitch = s.channels, s.padded_width * s.deep
    size, inside = s.height * s.width * channels, min(s.width, s.padded_width - s.left)
    for number in range(count * s.tall):
        row, line = first + number % s.tall - s.top, at(target, number * pitch)
        source = at(images, number // s.tall * size + row * s.width * channels)
        if row < 0 or row >= s.height:
            zero_row(line, pitch)
        else:
            zero_row(line, s.left * s.deep)
            zero_row(at(line, (s.left + inside) * s.deep), (s.padded_width - s.left - inside) * s.deep)
            if channels == s.deep:
                copy_row(at(line, s.left * s.deep), source, inside * channels)
            else:
                spaced(at(line, s.left * s.deep), source, inside, channels, s.deep)


@inline
def spaced(target, source, pixels, channels, deep):
    """Copy pixels to where there is room for whole vectors of channels."""
    for pixel in range(pixels):
        copied(at(target, pixel * deep), at(source, pixel * channels), channels, deep)


@inline
def columns_of(panel, s):
    """Return how many output channels a panel has."""
    return min(tile_columns, s.out_channels - panel * tile_columns)


@inline
def row_of(number, block, s):
    """Return the first row of outputs of a square."""
    return s.high * (block.row + number % block.each // s.across)


@inline
def column_of(number, s):
    """Return the first column of outputs of a square."""
    return s.broad * (number % s.across)


@inline
def outputs_at(number, block, s):
    """Return where the outputs of a square begin in those of all images of a task."""
    row = number // block.each * s.out_height + row_of(number, block, s)
    return (row * s.out_width + column_of(number, s)) * s.out_channels


@inline
def gather(places, pictures, block, s):
    """Bring the pixels of some squares into the other basis."""
    pitch = s.padded_width * s.deep
    for square in range(block.count):
        number = block.first + square
        image, row, column = number // block.each, number % block.each // s.across, number % s.across
        pixels = at(pictures, (image * s.tall + s.high * row) * pitch + s.broad * column * s.deep)
        if s.places == PLACES:
            turned(at(places, square * vector_lanes), pixels, s.deep, pitch)
        else:
            turned_line(at(places, square * vector_lanes), pixels, s.deep, s.basis)


# ---------------------------------------------------------------------------------------------- outputs


def forward(
    task: Int, scratch: Reals, source: Reals, weights: Reals, bias: Reals, target: Reals, s: Squares, finish: Finish
):  # fmt: skip
    """Compute a band of outputs of some images: target = source * window + bias.

    weights: as `pack` leaves them.
    scratch: places * SQUARES * (deep + tile_columns), then the images with their border.
    """
    first, row = task // s.bands * s.together, task % s.bands * s.band
    images, out_size = min(s.together, s.images - first), s.out_height * s.out_width * s.out_channels
    out, rows = at(target, first * out_size), min(s.band, s.down - row)
    products = at(scratch, s.places * SQUARES * s.deep)
    pictures = at(products, s.places * SQUARES * tile_columns)
    bordered(pictures, at(source, first * s.height * s.width * s.channels), images, s.high * row, s)
    each, step = rows * s.across, s.deep * tile_columns
    for begin in range(0, images * each, s.some):
        block = Block(first=begin, count=min(s.some, images * each - begin), each=each, row=row)
        gather(scratch, pictures, block, s)
        panels = tiles_in(s.out_channels, tile_columns)
        for panel in range(panels):
            columns = vectors_of(columns_of(panel, s))
            multiply(products, scratch, at(weights, panel * step), panels * step, block.count, columns, s)
            added, there = at(bias, panel * tile_columns), at(out, panel * tile_columns)
            if s.places == PLACES:
                give(products, added, there, panel, block, s)
            else:
                give_lines(products, added, there, panel, block, s)
    for n in range(images):
        high = min(s.high * rows, s.out_height - s.high * row)
        number = (first + n) * s.bands + task % s.bands
        finish_band(at(out, n * out_size), s.high * row, high, s.out_width, s.out_channels, finish, number)


@noinline
def multiply(products, places, weights, step, squares, columns, s):
    """Multiply each place of some squares with a panel of windows, whose places are `step` apart."""
    zeros = local_reals(tile_columns)
    zero_row(zeros, tile_columns)
    parts = tiles_in(squares, rows_of_tile(columns))
    for number in range(s.places * parts):
        place, part = number // parts, number % parts
        row, last = part * squares // parts, (part + 1) * squares // parts
        tile = Tile(
            a=at(places, (place * SQUARES + row) * vector_lanes), offsets=s.offsets, b=at(weights, place * step),
            i=zeros, c=at(products, (place * SQUARES + row) * tile_columns), sm=vector_lanes, sk=1,
            taps=s.deep // vector_lanes, depth=vector_lanes, ldb=tile_columns, sb=vector_lanes * tile_columns, ldi=0,
            ldc=tile_columns, free=0,
        )  # fmt: skip
        gemm_tile(last - row, columns, tile)


@noinline
def give(products, bias, out, panel, block, s):
    """Write a panel of the outputs of some squares."""
    e00, e01, e10, e11 = (
        local_reals(vector_lanes), local_reals(vector_lanes), local_reals(vector_lanes), local_reals(vector_lanes),
    )  # fmt: skip
    count, added = columns_of(panel, s), local_reals(tile_columns)
    copied(added, bias, count, tile_columns)
    for square in range(block.count):
        number = block.first + square
        right, below = column_of(number, s) + 1 < s.out_width, row_of(number, block, s) + 1 < s.out_height
        y00 = at(out, outputs_at(number, block, s))
        y01, y10 = at(y00, s.out_channels), at(y00, s.out_width * s.out_channels)
        y11 = at(y10, s.out_channels)
        for k in range(0, count, vector_lanes):
            source, wide = at(products, square * tile_columns + k), min(count - k, vector_lanes)
            if right and below and wide == vector_lanes:
                outputs_of(source, at(added, k), at(y00, k), at(y01, k), at(y10, k), at(y11, k))
            else:
                outputs_of(source, at(added, k), e00, e01, e10, e11)
                copy_row(at(y00, k), e00, wide)
                copy_row(at(y01, k), e01, wide if right else 0)
                copy_row(at(y10, k), e10, wide if below else 0)
                copy_row(at(y11, k), e11, wide if right and below else 0)


@noinline
def give_lines(products, bias, out, panel, block, s):
    """Write a panel of the outputs of some lines."""
    count = columns_of(panel, s)
    for square in range(block.count):
        number = block.first + square
        y, outputs = at(out, outputs_at(number, block, s)), min(s.broad, s.out_width - column_of(number, s))
        outputs_of_line(y, s.out_channels, count, at(products, square * tile_columns), bias, s.basis, outputs)


# ---------------------------------------------------------------------------------------------- gradient


def gradient(task: Int, scratch: Reals, x: Reals, dy: Reals, sums: Slots, s: Squares):
    """Sum the gradient of windows over the images of one slot; a task is a slot and a block of panels.

    sums.weights[slot]: [taps][channels][out_channels].   sums.bias[slot]: the sums of dy.
    scratch: as of `forward`, then places * deep * tile_columns for each panel of the block.
    """
    slot, number, out_size = task // s.blocks, task % s.blocks, s.out_height * s.out_width * s.out_channels
    first, end = slot * sums.images // sums.slots, (slot + 1) * sums.images // sums.slots
    products = at(scratch, s.places * SQUARES * s.deep)
    pictures = at(products, s.places * SQUARES * tile_columns)
    total = at(pictures, s.together * s.tall * s.padded_width * s.deep)
    target, blocks, each = at(sums.weights, slot * s.taps * s.channels * s.out_channels), 0, s.down * s.across
    for image in range(first, end, s.together):
        images = min(s.together, end - image)
        bordered(pictures, at(x, image * s.height * s.width * s.channels), images, 0, s)
        for begin in range(0, images * each, s.some):
            block = Block(first=begin, count=min(s.some, images * each - begin), each=each, row=0)
            gather(scratch, pictures, block, s)
            new = blocks % FLUSH == 0
            if new and blocks > 0:
                flush(products, total, target, number, blocks == FLUSH, s)
            blocks += 1
            for panel in range(number, tiles_in(s.out_channels, tile_columns), s.blocks):
                slopes = at(dy, image * out_size + panel * tile_columns)
                if s.places == PLACES:
                    take(products, slopes, panel, block, s)
                else:
                    take_lines(products, slopes, panel, block, s)
                place = at(total, panel // s.blocks * s.places * s.deep * tile_columns)
                columns = vectors_of(columns_of(panel, s))
                add_products(place, scratch, products, block.count, columns, 1 if new else 0, s)
    flush(products, total, target, number, blocks <= FLUSH, s)
    if sums.biased and number == 0:
        place = at(sums.bias, slot * s.out_channels)
        zero_row(place, s.out_channels)
        sum_rows(place, at(dy, first * out_size), (end - first) * s.out_height * s.out_width, s.out_channels)


@noinline
def take(products, dy, panel, block, s):
    """Bring a panel of dy of some squares into the other basis."""
    e00, e01, e10, e11 = (
        local_reals(vector_lanes), local_reals(vector_lanes), local_reals(vector_lanes), local_reals(vector_lanes),
    )  # fmt: skip
    count = columns_of(panel, s)
    for square in range(block.count):
        number = block.first + square
        right, below = column_of(number, s) + 1 < s.out_width, row_of(number, block, s) + 1 < s.out_height
        d00 = at(dy, outputs_at(number, block, s))
        d01, d10 = at(d00, s.out_channels), at(d00, s.out_width * s.out_channels)
        d11 = at(d10, s.out_channels)
        for k in range(0, count, vector_lanes):
            target, wide = at(products, square * tile_columns + k), min(count - k, vector_lanes)
            if right and below and wide == vector_lanes:
                slopes_of(target, at(d00, k), at(d01, k), at(d10, k), at(d11, k))
            else:
                copied(e00, at(d00, k), wide, vector_lanes)
                copied(e01, at(d01, k), wide if right else 0, vector_lanes)
                copied(e10, at(d10, k), wide if below else 0, vector_lanes)
                copied(e11, at(d11, k), wide if right and below else 0, vector_lanes)
                slopes_of(target, e00, e01, e10, e11)


@noinline
def take_lines(products, dy, panel, block, s):
    """Bring a panel of dy of some lines into the other basis."""
    count = columns_of(panel, s)
    for square in range(block.count):
        number = block.first + square
        d, outputs = at(dy, outputs_at(number, block, s)), min(s.broad, s.out_width - column_of(number, s))
        slopes_of_line(at(products, square * tile_columns), d, s.out_channels, count, s.basis, outputs)


@noinline
def add_products(total, places, slopes, squares, columns, new, s):
    """Add to one panel of the gradient in the other basis what some squares say of it."""
    zeros, step = local_reals(tile_columns), s.deep * tile_columns
    zero_row(zeros, tile_columns)
    parts = tiles_in(vector_lanes, rows_of_tile(columns))
    for number in range(s.places * s.deep // vector_lanes * parts):
        place, vector, part = number // parts % s.places, number // parts // s.places, number % parts
        row, last = part * vector_lanes // parts, (part + 1) * vector_lanes // parts
        c = at(total, place * step + (vector * vector_lanes + row) * tile_columns)
        tile = Tile(
            a=at(places, (vector * s.places + place) * SQUARES * vector_lanes + row), offsets=s.offsets,
            b=at(slopes, place * SQUARES * tile_columns), i=zeros if new else c, c=c, sm=1, sk=vector_lanes, taps=1,
            depth=squares, ldb=tile_columns, sb=0, ldi=0 if new else tile_columns, ldc=tile_columns, free=0,
        )  # fmt: skip
        gemm_tile(last - row, columns, tile)


@noinline
def flush(between, total, target, block, new, s):
    """Bring a block's sums back from the other basis, and begin those of windows with them or add them."""
    taps, step, panels = s.channels * s.out_channels, s.deep * tile_columns, tiles_in(s.out_channels, tile_columns)
    for panel in range(block, panels, s.blocks):
        channel = panel * tile_columns
        count = min(tile_columns, s.out_channels - channel)
        for row in range(s.taps * s.channels if new else 0):
            zero_row(at(target, row * s.out_channels + channel), count)
        for i in range(s.channels):
            source = at(total, panel // s.blocks * s.places * step + i * tile_columns)
            place = at(target, i * s.out_channels + channel)
            if s.places == PLACES:
                window_of_square(place, taps, source, step, between, count)
            else:
                window_of(place, taps, source, step, count, s.taps, s.basis)
