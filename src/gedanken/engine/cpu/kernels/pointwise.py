"""Everything between two products in one pass each way: BatchNorm, activation, pooling, dropout.

A task works through a band of output rows of one image, row by row in the first-level cache. Vectors (N, F) are one
image of N rows. Winners of a max pooling and what dropout did to them share one byte: the number of the tap, or
DROPPED.
"""

from gedanken.engine.cpu.kernels.blocks import (
    BLOCK,
    add_rows,
    carry,
    carry_over,
    copy_row,
    gather,
    rows_in_line,
    scatter,
    settle,
    sum_products,
    sum_rows,
    turned,
    zero_row,
)
from gedanken.engine.cpu.kernels.rows import (
    SILU,
    activate,
    add_row,
    add_winners,
    drop_row,
    first_tap,
    keep_row,
    next_tap,
    normalise_row,
    slope_row,
    slope_row_from_input,
)
from gedanken.engine.cpu.language import (
    Bytes,
    Int,
    Ints,
    Real,
    Reals,
    at,
    byte,
    bytes_of,
    helper,
    lanes,
    real,
    vector_lanes,
)

DROPPED = 255
NO_POOL, MAX_POOL, AVERAGE_POOL = 0, 1, 2

# Places in the shape table.
HEIGHT, WIDTH, CHANNELS, OUT_HEIGHT, OUT_WIDTH, BANDS, BAND, SAMPLE_ROWS, BLOCKS = 0, 1, 2, 3, 4, 5, 6, 7, 8
POOL, POOL_ROWS, POOL_COLUMNS, DOWN, RIGHT, TOP, LEFT = 9, 10, 11, 12, 13, 14, 15
NORMALISED, KIND, DROPS = 16, 17, 18
FLAT = 19  # where y is flattened, channels first: the place of a row in scratch; else 0
SUMS = 20  # the place in scratch of four numbers for each channel, and of two rows


@helper
def normal_row(x, space, row, shape, normal):
    """Return row number `row` of the image x after BatchNorm: in `space`, or where it is if there is none."""
    source = at(x, row * shape[WIDTH] * shape[CHANNELS])
    if shape[NORMALISED]:
        normalise_row(source, space, shape[WIDTH], shape[CHANNELS], normal)
        source = space
    return source


@helper
def lit_row(x, y, row, shape, normal, slope):
    """Set y to row number `row` of the image x after BatchNorm and activation."""
    source = normal_row(x, y, row, shape, normal)
    if shape[KIND] or not shape[NORMALISED]:
        activate(source, y, shape[WIDTH] * shape[CHANNELS], shape[KIND], slope)


def forward(
    task: Int,
    scratch: Reals,
    x: Reals,
    y: Reals,
    winners: Bytes,
    normal: Reals,
    shape: Ints,
    draw: Ints,
    slope: Real,
    factor: Real,
):
    """y = dropout(pool(f((x - mean) * gain + shift))).   winners: as y, for a max pooling."""
    image, band = task // shape[BANDS], task % shape[BANDS]
    count = shape[OUT_WIDTH] * shape[CHANNELS]
    picture = at(x, image * shape[HEIGHT] * shape[WIDTH] * shape[CHANNELS])
    filled = 0
    for row in range(band * shape[BAND], min((band + 1) * shape[BAND], shape[OUT_HEIGHT])):
        place = (image * shape[OUT_HEIGHT] + row) * count
        target = at(scratch, shape[FLAT]) if shape[FLAT] else at(y, place)
        winner = at(winners, place)
        if shape[POOL] == NO_POOL:
            lit_row(picture, target, row, shape, normal, slope)
        else:
            filled = fill_ring(scratch, picture, row, filled, shape, normal, slope)
            if shape[POOL] == AVERAGE_POOL:
                zero_row(target, count)
            spare = at(scratch, shape[POOL_ROWS] * shape[WIDTH] * shape[CHANNELS])
            pool_row(scratch, target, winner, spare, row, shape)
        if shape[DROPS]:
            mask = at(scratch, shape[POOL_ROWS] * shape[WIDTH] * shape[CHANNELS])
            sample = image if shape[SAMPLE_ROWS] == shape[OUT_HEIGHT] else row // shape[SAMPLE_ROWS]
            start = (row % shape[SAMPLE_ROWS]) * count
            keep_row(mask, at(mask, count), sample, start, count, shape[BLOCKS], draw)
            drop_row(target, mask, count, factor)
            if shape[POOL] == MAX_POOL:
                for i in lanes(count):
                    winner[i] = winner[i] | (byte(0) if mask[i] > real(0) else byte(DROPPED))
        if shape[FLAT]:
            flat = at(y, image * shape[OUT_HEIGHT] * count + row * shape[OUT_WIDTH])
            pixels = shape[OUT_HEIGHT] * shape[OUT_WIDTH]
            turned(target, flat, shape[OUT_WIDTH], shape[CHANNELS], shape[CHANNELS], pixels)


@helper
def fill_ring(ring, picture, row, filled, shape, normal, slope):
    """Bring the input rows that an output row needs into the ring; return the number of the row after the last."""
    size = shape[WIDTH] * shape[CHANNELS]
    top = row * shape[DOWN] - shape[TOP]
    bottom, top = min(top + shape[POOL_ROWS], shape[HEIGHT]), max(top, filled)
    for h in range(top, bottom):
        lit_row(picture, at(ring, (h % shape[POOL_ROWS]) * size), h, shape, normal, slope)
    return max(bottom, filled)


@helper
def in_one_run(shape):
    """Return whether a tap's values for a whole output row are worked on at once: beside each other, or few."""
    inside = (shape[OUT_WIDTH] - 1) * shape[RIGHT] + shape[POOL_COLUMNS] <= shape[WIDTH]
    return shape[LEFT] == 0 and inside and (shape[RIGHT] == 1 or shape[CHANNELS] < 2 * vector_lanes)


@helper
def pool_row(ring, target, winner, spare, row, shape):
    """Pool the rows of the ring into one output row. spare: room for a row and its winners."""
    channels, count = shape[CHANNELS], shape[OUT_WIDTH] * shape[CHANNELS]
    top = row * shape[DOWN] - shape[TOP]
    first_row, last_row = max(0, -top), min(shape[POOL_ROWS], shape[HEIGHT] - top)
    whole_row = in_one_run(shape)
    runs = 1 if whole_row else shape[OUT_WIDTH]
    run = count if whole_row else channels
    for j in range(runs):
        start = j * shape[RIGHT] - shape[LEFT]
        first_column, last_column = max(0, -start), min(shape[POOL_COLUMNS], shape[WIDTH] - start)
        if is_long(shape):
            rows, columns = last_row - first_row, last_column - first_column
            corner = (start + first_column) * channels
            long_average(ring, at(target, j * channels), spare, top + first_row, rows, corner, columns, run, shape)
            continue
        # Every tap after the first writes where the one before it did not; the last one writes the result.
        odd = (last_row - first_row) * (last_column - first_column) % 2 == 1
        y, won = at(target, j * channels), at(winner, j * channels)
        here = y if odd else spare
        there = spare if odd else y
        winner_here = won if odd else bytes_of(at(spare, run))
        winner_there = bytes_of(at(spare, run)) if odd else won
        new = True
        for r in range(first_row, last_row):
            line = at(ring, ((top + r) % shape[POOL_ROWS]) * shape[WIDTH] * channels)
            for s in range(first_column, last_column):
                values, index = at(line, (start + s) * channels), r * shape[POOL_COLUMNS] + s
                if whole_row and shape[RIGHT] > 1:
                    gathered = at(spare, 2 * count)
                    gather(gathered, values, shape[OUT_WIDTH], channels, shape[RIGHT] * channels)
                    values = gathered
                if shape[POOL] == AVERAGE_POOL:
                    add_row(y, values, run, real(1) / real(shape[POOL_ROWS] * shape[POOL_COLUMNS]))
                elif new:
                    first_tap(here, winner_here, values, run, index)
                else:
                    next_tap(there, winner_there, here, winner_here, values, run, index)
                    here, there = there, here
                    winner_here, winner_there = winner_there, winner_here
                new = False


@helper
def is_long(shape):
    """Return whether a window's mean is a long sum."""
    return shape[POOL] == AVERAGE_POOL and shape[POOL_ROWS] * shape[POOL_COLUMNS] > BLOCK


@helper
def long_average(ring, y, spare, top, rows, corner, columns, run, shape):
    """Set y, zero at first, to a share of the sum of many taps, for as many windows as stand in a run."""
    channels, width = shape[CHANNELS], shape[WIDTH] * shape[CHANNELS]
    share = real(1) / real(shape[POOL_ROWS] * shape[POOL_COLUMNS])
    part, rest, gathered = spare, at(spare, run), at(spare, 2 * shape[OUT_WIDTH] * channels)
    zero_row(part, 2 * run)
    terms = 0
    for r in range(rows):
        line = at(ring, ((top + r) % shape[POOL_ROWS]) * width + corner)
        if run == channels:
            add_rows(part, line, columns, channels, share)
        for s in range(0 if run == channels else columns):
            values = at(line, s * channels)
            if shape[RIGHT] > 1:
                gather(gathered, values, shape[OUT_WIDTH], channels, shape[RIGHT] * channels)
                values = gathered
            add_row(part, values, run, share)
            terms += 1
            if terms % BLOCK == 0:
                carry_over(y, rest, part, run)
        if run == channels and r % BLOCK == BLOCK - 1:
            carry_over(y, rest, part, run)
    carry(y, rest, part, run, real(1))
    settle(y, rest, run)


@helper
def copy_slopes(out, dy, image, row, shape):
    """Set out to one row of dy, channels last."""
    count = shape[OUT_WIDTH] * shape[CHANNELS]
    if shape[FLAT]:
        flat = at(dy, image * shape[OUT_HEIGHT] * count + row * shape[OUT_WIDTH])
        pixels = shape[OUT_HEIGHT] * shape[OUT_WIDTH]
        turned(flat, out, shape[CHANNELS], shape[OUT_WIDTH], pixels, shape[CHANNELS])
    else:
        copy_row(out, at(dy, (image * shape[OUT_HEIGHT] + row) * count), count)


@helper
def gradient_row(d, scratch, picture, dy, winners, image, row, shape, normal, draw, slope, factor):
    """Set d to the gradient with respect to row `row` of the BatchNorm's output (the input where there is none)."""
    size = shape[WIDTH] * shape[CHANNELS]
    lit = scratch
    rest = at(scratch, size)
    if shape[POOL] == NO_POOL:
        slopes_of(d, rest, dy, image, row, shape, draw, factor)
    else:
        sums = at(scratch, shape[SUMS] + 4 * shape[CHANNELS])
        unpool_row(d, rest, sums, dy, winners, image, row, shape, draw, factor)
    if shape[KIND] >= SILU:
        slope_row_from_input(d, normal_row(picture, lit, row, shape, normal), size, shape[KIND], slope)
    elif shape[KIND]:
        lit_row(picture, lit, row, shape, normal, slope)
        slope_row(d, lit, size, shape[KIND], slope)


@helper
def slopes_of(out, space, dy, image, row, shape, draw, factor):
    """Set out to one row of dy, thinned as dropout thinned y."""
    count = shape[OUT_WIDTH] * shape[CHANNELS]
    copy_slopes(out, dy, image, row, shape)
    if shape[DROPS]:
        sample = image if shape[SAMPLE_ROWS] == shape[OUT_HEIGHT] else row // shape[SAMPLE_ROWS]
        start = (row % shape[SAMPLE_ROWS]) * count
        keep_row(space, at(space, count), sample, start, count, shape[BLOCKS], draw)
        drop_row(out, space, count, factor)


@helper
def unpool_row(d, space, sums, dy, winners, image, row, shape, draw, factor):
    """Set d to what the output rows that saw input row `row` give back to it. sums: room for two input rows."""
    channels, count = shape[CHANNELS], shape[OUT_WIDTH] * shape[CHANNELS]
    size = shape[WIDTH] * channels
    lost, long = at(sums, size), is_long(shape)
    target = sums if long else d
    zero_row(d, size)
    if long:
        zero_row(sums, 2 * size)
    share = factor if shape[POOL] == MAX_POOL else real(1) / real(shape[POOL_ROWS] * shape[POOL_COLUMNS])
    for r in range(shape[POOL_ROWS]):
        reached = row + shape[TOP] - r
        if reached < 0 or reached % shape[DOWN] or reached // shape[DOWN] >= shape[OUT_HEIGHT]:
            continue
        place = (image * shape[OUT_HEIGHT] + reached // shape[DOWN]) * count
        line = at(dy, place)
        if shape[POOL] == MAX_POOL and shape[FLAT]:
            line = space
            copy_slopes(space, dy, image, reached // shape[DOWN], shape)
        if shape[POOL] == AVERAGE_POOL and (shape[DROPS] or shape[FLAT]):
            line = space
            slopes_of(space, at(space, count), dy, image, reached // shape[DOWN], shape, draw, factor)
        for s in range(0, shape[POOL_COLUMNS], BLOCK):
            unpool_line(target, at(space, count), line, at(winners, place), r, s, shape, share)
            if long:
                carry_over(d, lost, sums, size)
    if long:
        settle(d, lost, size)


@helper
def unpool_line(d, apart, line, winners, r, first, shape, share):
    """Add to d what one output row gives back to the window's row r, from its column `first` on.

    apart: room for an output row.
    """
    channels, count = shape[CHANNELS], shape[OUT_WIDTH] * shape[CHANNELS]
    whole = in_one_run(shape)
    spread = whole and shape[RIGHT] > 1
    runs = 1 if whole else shape[OUT_WIDTH]
    run = count if whole else channels
    for j in range(runs):
        for s in range(first, min(first + BLOCK, shape[POOL_COLUMNS])):
            w = j * shape[RIGHT] - shape[LEFT] + s
            if w < 0 or w >= shape[WIDTH]:
                continue
            target, given = apart if spread else at(d, w * channels), at(line, j * channels)
            if spread:
                zero_row(apart, count)
            if shape[POOL] == MAX_POOL:
                add_winners(target, given, at(winners, j * channels), run, r * shape[POOL_COLUMNS] + s, share)
            else:
                add_row(target, given, run, share)
            if spread:
                scatter(at(d, w * channels), apart, shape[OUT_WIDTH], channels, shape[RIGHT] * channels)


def gradient(
    task: Int,
    scratch: Reals,
    x: Reals,
    dy: Reals,
    winners: Bytes,
    normal: Reals,
    shape: Ints,
    draw: Ints,
    slope: Real,
    factor: Real,
    d: Reals,
    partial: Reals,
    bands: Int,
    band: Int,
):
    """Set d, for a band of input rows, to the gradient of BatchNorm's output (of x if there is none).

    With BatchNorm, partial[task][2][channels] becomes the sums of d and of d * (x - mean).
    """
    image, number = task // bands, task % bands
    channels, size = shape[CHANNELS], shape[WIDTH] * shape[CHANNELS]
    picture = at(x, image * shape[HEIGHT] * size)
    total = at(partial, task * 2 * channels)
    lost, sums = at(scratch, shape[SUMS]), at(scratch, shape[SUMS] + 2 * channels)
    if shape[NORMALISED]:
        zero_row(total, 2 * channels)
        zero_row(lost, 2 * channels)
    end = min((number + 1) * band, shape[HEIGHT])
    block = max(1, BLOCK * rows_in_line(BLOCK, channels) // shape[WIDTH])  # rows, summed while they are in the cache
    for begin in range(number * band, end, block):
        rows = min(block, end - begin)
        out = at(d, (image * shape[HEIGHT] + begin) * size)
        for row in range(rows):
            gradient_row(
                at(out, row * size), scratch, picture, dy, winners, image, begin + row, shape, normal, draw, slope,
                factor,
            )  # fmt: skip
        if shape[NORMALISED]:
            zero_row(sums, 2 * channels)
            sum_rows(sums, out, rows * shape[WIDTH], channels)
            values, products = at(picture, begin * size), at(sums, channels)
            sum_products(products, out, values, normal, rows * shape[WIDTH], channels)
            carry(total, lost, sums, 2 * channels, real(1))
    if shape[NORMALISED]:
        settle(total, lost, 2 * channels)
