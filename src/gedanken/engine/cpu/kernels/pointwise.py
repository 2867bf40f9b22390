"""Everything between two products in one pass each way: BatchNorm, activation, pooling, dropout.

A task works through a band of output rows of one image, row by row in the first-level cache. Vectors (N, F) are one
image of N rows. Winners of a max pooling and what dropout did to them share one byte: the number of the tap, or
DROPPED.
"""

from gedanken.engine.cpu.kernels.blocks import copy_row, gather, scatter, sum_products, sum_rows, turned, zero_row
from gedanken.engine.cpu.kernels.conv import channel_statistics
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
    weight_slopes,
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
    sqrt,
    vector_lanes,
)

DROPPED = 255
NO_POOL, MAX_POOL, AVERAGE_POOL = 0, 1, 2

# Places in the shape table.
HEIGHT, WIDTH, CHANNELS, OUT_HEIGHT, OUT_WIDTH, BANDS, BAND, SAMPLE_ROWS, BLOCKS = 0, 1, 2, 3, 4, 5, 6, 7, 8
POOL, POOL_ROWS, POOL_COLUMNS, DOWN, RIGHT, TOP, LEFT = 9, 10, 11, 12, 13, 14, 15
NORMALISED, KIND, DROPS = 16, 17, 18
FLAT = 19  # where y is flattened, channels first: the place of a row in scratch; else 0


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
def gradient_row(d, space, picture, dy, winners, image, row, shape, normal, draw, slope, factor):
    """Set d to the gradient by row `row` of the BatchNorm's output (the input where there is none)."""
    size = shape[WIDTH] * shape[CHANNELS]
    lit = space
    rest = at(space, size)
    if shape[POOL] == NO_POOL:
        slopes_of(d, rest, dy, image, row, shape, draw, factor)
    else:
        unpool_row(d, rest, dy, winners, image, row, shape, draw, factor)
    if shape[KIND] >= SILU:
        weight_slopes(d, normal_row(picture, lit, row, shape, normal), size, shape[KIND])
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
def unpool_row(d, space, dy, winners, image, row, shape, draw, factor):
    """Set d to what the output rows that saw input row `row` give back to it."""
    channels, count = shape[CHANNELS], shape[OUT_WIDTH] * shape[CHANNELS]
    zero_row(d, shape[WIDTH] * channels)
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
        unpool_line(d, at(space, count), line, at(winners, place), r, shape, share)


@helper
def unpool_line(d, apart, line, winners, r, shape, share):
    """Add to d what one output row gives back to the window's row r. apart: room for an output row."""
    channels, count = shape[CHANNELS], shape[OUT_WIDTH] * shape[CHANNELS]
    whole = in_one_run(shape)
    spread = whole and shape[RIGHT] > 1
    runs = 1 if whole else shape[OUT_WIDTH]
    run = count if whole else channels
    for j in range(runs):
        for s in range(shape[POOL_COLUMNS]):
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
    """Set d, for a band of input rows, to the gradient by BatchNorm's output (by x where there is none).

    With BatchNorm, partial[task][2][channels] becomes the sums of d and of d * (x - mean).
    """
    image, number = task // bands, task % bands
    channels, size = shape[CHANNELS], shape[WIDTH] * shape[CHANNELS]
    picture = at(x, image * shape[HEIGHT] * size)
    total = at(partial, task * 2 * channels)
    products = at(total, channels)
    if shape[NORMALISED]:
        zero_row(total, 2 * channels)
    for row in range(number * band, min((number + 1) * band, shape[HEIGHT])):
        out = at(d, (image * shape[HEIGHT] + row) * size)
        gradient_row(out, scratch, picture, dy, winners, image, row, shape, normal, draw, slope, factor)
        if shape[NORMALISED]:
            sum_rows(total, out, shape[WIDTH], channels)
            sum_products(products, out, at(picture, row * size), normal, shape[WIDTH], channels, False)


def renormalise(
    task: Int,
    scratch: Reals,
    x: Reals,
    d: Reals,
    normal: Reals,
    correction: Reals,
    rows: Int,
    channels: Int,
    piece: Int,
):
    """d = gain * (d - correction[0] - (x - mean) * correction[1]), in place: from BatchNorm's output to its input."""
    gain, turn = at(normal, channels), at(correction, channels)
    for row in range(task * piece, min((task + 1) * piece, rows)):
        slopes, values = at(d, row * channels), at(x, row * channels)
        for c in lanes(channels):
            slopes[c] = gain[c] * (slopes[c] - correction[c] - (values[c] - normal[c]) * turn[c])


def measure(task: Int, scratch: Reals, x: Reals, statistics: Reals, rows: Int, channels: Int, piece: Int):
    """Set mean and squared distance of each channel over some rows: statistics[task][2][channels]."""
    first = task * piece
    mean = at(statistics, task * 2 * channels)
    channel_statistics(at(x, first * channels), min(piece, rows - first), channels, mean, at(mean, channels))


def normalise(
    task: Int,
    scratch: Reals,
    statistics: Reals,
    counts: Reals,
    pieces: Int,
    channels: Int,
    scale: Reals,
    shift: Reals,
    running_mean: Reals,
    running_var: Reals,
    momentum: Real,
    epsilon: Real,
    normal: Reals,
):
    """Join the statistics of all pieces into normal = [mean, gain, shift, 1 / deviation] and move the running ones.

    mean = sum of n_i mean_i / n,   n var = sum of squares_i + n_i (mean_i - mean)**2   (Chan, Golub & LeVeque 1979)
    """
    mean, gain, deviation = normal, at(normal, channels), at(normal, 3 * channels)
    total = real(0)
    for i in range(pieces):
        total += counts[i]
    zero_row(normal, 2 * channels)
    for i in range(pieces):
        values = at(statistics, i * 2 * channels)
        for c in lanes(channels):
            mean[c] += values[c] * (counts[i] / total)
    for i in range(pieces):
        values, squares = at(statistics, i * 2 * channels), at(statistics, (i * 2 + 1) * channels)
        for c in lanes(channels):
            distance = values[c] - mean[c]
            gain[c] += squares[c] + counts[i] * distance * distance
    kept = momentum if total > real(1) else real(1)  # a single value has no variance
    for c in lanes(channels):
        var = gain[c] / total
        running_mean[c] = kept * running_mean[c] + (real(1) - kept) * mean[c]
        running_var[c] = kept * running_var[c] + (real(1) - kept) * (gain[c] / max(total - real(1), real(1)))
        deviation[c] = real(1) / sqrt(var + epsilon)
        gain[c] = deviation[c] * scale[c]
        normal[2 * channels + c] = shift[c]


def remember(
    task: Int,
    scratch: Reals,
    running_mean: Reals,
    running_var: Reals,
    scale: Reals,
    shift: Reals,
    epsilon: Real,
    channels: Int,
    normal: Reals,
):
    """Set normal as `normalise` does, from the running mean and variance."""
    for c in lanes(channels):
        deviation = real(1) / sqrt(running_var[c] + epsilon)
        normal[c] = running_mean[c]
        normal[channels + c] = deviation * scale[c]
        normal[2 * channels + c] = shift[c]
        normal[3 * channels + c] = deviation


def correct(
    task: Int,
    scratch: Reals,
    partial: Reals,
    pieces: Int,
    channels: Int,
    count: Real,
    normal: Reals,
    dscale: Reals,
    dshift: Reals,
    correction: Reals,
):
    """Add up the sums of `gradient`: the gradients of scale and shift, and the two means that `renormalise`
    subtracts."""
    deviation = at(normal, 3 * channels)
    zero_row(dscale, channels)
    zero_row(dshift, channels)
    for i in range(pieces):
        sums, products = at(partial, i * 2 * channels), at(partial, (i * 2 + 1) * channels)
        for c in lanes(channels):
            dshift[c] += sums[c]
            dscale[c] += products[c]
    for c in lanes(channels):
        dscale[c] *= deviation[c]
        correction[c] = dshift[c] / count
        correction[channels + c] = dscale[c] * deviation[c] / count
