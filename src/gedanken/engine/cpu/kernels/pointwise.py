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
    transposed,
    zero_row,
)
from gedanken.engine.cpu.kernels.rows import (
    SILU,
    Activation,
    Draw,
    activate,
    add_row,
    add_winners,
    derivative_row,
    derivative_row_from_input,
    drop_row,
    first_tap,
    keep_row,
    next_tap,
    normalise_row,
)
from gedanken.engine.cpu.language import (
    Bytes,
    Int,
    Real,
    Reals,
    Record,
    at,
    byte,
    bytes_of,
    inline,
    lanes,
    real,
    vector_lanes,
)

DROPPED = 255
NO_POOL, MAX_POOL, AVERAGE_POOL = 0, 1, 2


class Pass(Record):
    """What a pass does, and to what: images, cut into bands of rows of what the pass makes."""

    height: Int
    width: Int
    channels: Int
    out_height: Int
    out_width: Int
    bands: Int  # of an image
    band: Int  # rows of each
    normalised: Int
    normal: Reals  # mean, gain and shift of each channel
    activation: Activation
    pool: Int
    pool_rows: Int
    pool_columns: Int
    down: Int
    right: Int
    top: Int
    left: Int
    drops: Int
    factor: Real  # of what is not dropped
    sample_rows: Int
    draw: Draw
    flat: Int  # where y is flattened, channels first: the place of a row in scratch; else 0
    sums: Int  # the place in scratch of four numbers for each channel, and of two rows


@inline
def normal_row(x, space, row, p):
    """Return row number `row` of the image x after BatchNorm: in `space`, or where it is if there is none."""
    source = at(x, row * p.width * p.channels)
    if p.normalised:
        normalise_row(source, space, p.width, p.channels, p.normal)
        source = space
    return source


@inline
def activated_row(x, y, row, p):
    """Set y to row number `row` of the image x after BatchNorm and activation."""
    source = normal_row(x, y, row, p)
    if p.activation.kind or not p.normalised:
        activate(source, y, p.width * p.channels, p.activation)


def forward(task: Int, scratch: Reals, x: Reals, y: Reals, winners: Bytes, p: Pass):
    """y = dropout(pool(f((x - mean) * gain + shift))).   winners: as y, for a max pooling."""
    image, band = task // p.bands, task % p.bands
    count = p.out_width * p.channels
    picture = at(x, image * p.height * p.width * p.channels)
    filled = 0
    for row in range(band * p.band, min((band + 1) * p.band, p.out_height)):
        place = (image * p.out_height + row) * count
        target = at(scratch, p.flat) if p.flat else at(y, place)
        winner = at(winners, place)
        if p.pool == NO_POOL:
            activated_row(picture, target, row, p)
        else:
            filled = fill_ring(scratch, picture, row, filled, p)
            if p.pool == AVERAGE_POOL:
                zero_row(target, count)
            spare = at(scratch, p.pool_rows * p.width * p.channels)
            pool_row(scratch, target, winner, spare, row, p)
        if p.drops:
            mask = at(scratch, p.pool_rows * p.width * p.channels)
            sample = image if p.sample_rows == p.out_height else row // p.sample_rows
            start = (row % p.sample_rows) * count
            keep_row(mask, at(mask, count), sample, start, count, p.draw)
            drop_row(target, mask, count, p.factor)
            if p.pool == MAX_POOL:
                for i in lanes(count):
                    # One byte says which tap won, and whether dropout took what it gave.
                    winner[i] = winner[i] | (byte(0) if mask[i] > real(0) else byte(DROPPED))
        if p.flat:
            flat = at(y, image * p.out_height * count + row * p.out_width)
            pixels = p.out_height * p.out_width
            transposed(target, flat, p.out_width, p.channels, p.channels, pixels)


@inline
def fill_ring(ring, picture, row, filled, p):
    """Bring the input rows that an output row needs into the ring; return the number of the row after the last."""
    size = p.width * p.channels
    top = row * p.down - p.top
    # What an earlier output row brought is still there.
    bottom, top = min(top + p.pool_rows, p.height), max(top, filled)
    for h in range(top, bottom):
        activated_row(picture, at(ring, (h % p.pool_rows) * size), h, p)
    return max(bottom, filled)


@inline
def in_one_run(p):
    """Return whether a tap's values for a whole output row are worked on at once: beside each other, or few."""
    inside = (p.out_width - 1) * p.right + p.pool_columns <= p.width
    return p.left == 0 and inside and (p.right == 1 or p.channels < 2 * vector_lanes)


@inline
def pool_row(ring, target, winner, spare, row, p):
    """Pool the rows of the ring into one output row. spare: room for a row and its winners."""
    channels, count = p.channels, p.out_width * p.channels
    top = row * p.down - p.top
    first_row, last_row = max(0, -top), min(p.pool_rows, p.height - top)
    whole_row = in_one_run(p)
    runs = 1 if whole_row else p.out_width
    run = count if whole_row else channels
    for j in range(runs):
        start = j * p.right - p.left
        first_column, last_column = max(0, -start), min(p.pool_columns, p.width - start)
        if is_long(p):
            taps = Taps(
                top=top + first_row, rows=last_row - first_row, left=start + first_column,
                columns=last_column - first_column,
            )  # fmt: skip
            long_average(ring, at(target, j * channels), spare, taps, run, p)
            continue
        # Every tap after the first writes where the one before it did not; the last one writes the result.
        odd = (last_row - first_row) * (last_column - first_column) % 2 == 1
        y, won = at(target, j * channels), at(winner, j * channels)
        here, there = y if odd else spare, spare if odd else y
        winner_here = won if odd else bytes_of(at(spare, run))
        winner_there = bytes_of(at(spare, run)) if odd else won
        new = True
        for r in range(first_row, last_row):
            line = at(ring, ((top + r) % p.pool_rows) * p.width * channels)
            for s in range(first_column, last_column):
                values, index = at(line, (start + s) * channels), r * p.pool_columns + s
                if whole_row and p.right > 1:
                    gathered = at(spare, 2 * count)
                    gather(gathered, values, p.out_width, channels, p.right * channels)
                    values = gathered
                if p.pool == AVERAGE_POOL:
                    add_row(y, values, run, real(1) / real(p.pool_rows * p.pool_columns))
                elif new:
                    first_tap(here, winner_here, values, run, index)
                else:
                    next_tap(there, winner_there, here, winner_here, values, run, index)
                    here, there = there, here
                    winner_here, winner_there = winner_there, winner_here
                new = False


@inline
def is_long(p):
    """Return whether a window's mean is a long sum."""
    return p.pool == AVERAGE_POOL and p.pool_rows * p.pool_columns > BLOCK


class Taps(Record):
    """What a window sees of an image."""

    top: Int
    rows: Int
    left: Int
    columns: Int


@inline
def long_average(ring, y, spare, taps, run, p):
    """Set y, zero at first, to a share of the sum of many taps, for as many windows as stand in a run."""
    channels, width = p.channels, p.width * p.channels
    share = real(1) / real(p.pool_rows * p.pool_columns)
    part, rest, gathered = spare, at(spare, run), at(spare, 2 * p.out_width * channels)
    zero_row(part, 2 * run)
    terms = 0
    for r in range(taps.rows):
        line = at(ring, ((taps.top + r) % p.pool_rows) * width + taps.left * channels)
        if run == channels:
            add_rows(part, line, taps.columns, channels, share)
        for s in range(0 if run == channels else taps.columns):
            values = at(line, s * channels)
            if p.right > 1:
                gather(gathered, values, p.out_width, channels, p.right * channels)
                values = gathered
            add_row(part, values, run, share)
            terms += 1
            if terms % BLOCK == 0:
                carry_over(y, rest, part, run)
        if run == channels and r % BLOCK == BLOCK - 1:
            carry_over(y, rest, part, run)
    carry(y, rest, part, run, real(1))
    settle(y, rest, run)


@inline
def copy_gradients(out, dy, image, row, p):
    """Set out to one row of dy, channels last."""
    count = p.out_width * p.channels
    if p.flat:
        flat = at(dy, image * p.out_height * count + row * p.out_width)
        pixels = p.out_height * p.out_width
        transposed(flat, out, p.channels, p.out_width, pixels, p.channels)
    else:
        copy_row(out, at(dy, (image * p.out_height + row) * count), count)


@inline
def gradient_row(d, scratch, picture, dy, winners, image, row, p):
    """Set d to the gradient with respect to row `row` of the BatchNorm's output (the input where there is none)."""
    size = p.width * p.channels
    activated = scratch
    rest = at(scratch, size)
    if p.pool == NO_POOL:
        dropout_gradient_row(d, rest, dy, image, row, p)
    else:
        sums = at(scratch, p.sums + 4 * p.channels)
        unpool_row(d, rest, dy, winners, image, row, p, sums)
    if p.activation.kind >= SILU:
        derivative_row_from_input(d, normal_row(picture, activated, row, p), size, p.activation)
    elif p.activation.kind:
        activated_row(picture, activated, row, p)
        derivative_row(d, activated, size, p.activation)


@inline
def dropout_gradient_row(out, space, dy, image, row, p):
    """Set out to one row of dy, thinned as dropout thinned y."""
    count = p.out_width * p.channels
    copy_gradients(out, dy, image, row, p)
    if p.drops:
        sample = image if p.sample_rows == p.out_height else row // p.sample_rows
        start = (row % p.sample_rows) * count
        keep_row(space, at(space, count), sample, start, count, p.draw)
        drop_row(out, space, count, p.factor)


@inline
def unpool_row(d, space, dy, winners, image, row, p, sums):
    """Set d to what the output rows that saw input row `row` give back to it. sums: room for two input rows."""
    channels, count = p.channels, p.out_width * p.channels
    size = p.width * channels
    lost, long = at(sums, size), is_long(p)
    target = sums if long else d
    zero_row(d, size)
    if long:
        zero_row(sums, 2 * size)
    share = p.factor if p.pool == MAX_POOL else real(1) / real(p.pool_rows * p.pool_columns)
    for r in range(p.pool_rows):
        # The window's row r sees this row from one output row at most.
        reached = row + p.top - r
        if reached < 0 or reached % p.down or reached // p.down >= p.out_height:
            continue
        place = (image * p.out_height + reached // p.down) * count
        line = at(dy, place)
        # Flattened, channels are planes. Of a maximum the winners know what was dropped, of an average nothing does.
        if p.pool == MAX_POOL and p.flat:
            line = space
            copy_gradients(space, dy, image, reached // p.down, p)
        if p.pool == AVERAGE_POOL and (p.drops or p.flat):
            line = space
            dropout_gradient_row(space, at(space, count), dy, image, reached // p.down, p)
        for s in range(0, p.pool_columns, BLOCK):
            unpool_line(target, at(space, count), line, at(winners, place), r, s, p, share)
            if long:
                carry_over(d, lost, sums, size)
    if long:
        settle(d, lost, size)


@inline
def unpool_line(d, spaced, line, winners, r, first, p, share):
    """Add to d what one output row gives back to the window's row r, from its column `first` on.

    spaced: room for an output row.
    """
    channels, count = p.channels, p.out_width * p.channels
    at_once = in_one_run(p)
    spread = at_once and p.right > 1
    runs = 1 if at_once else p.out_width
    run = count if at_once else channels
    for j in range(runs):
        for s in range(first, min(first + BLOCK, p.pool_columns)):
            w = j * p.right - p.left + s
            if w < 0 or w >= p.width:
                continue
            target, given = spaced if spread else at(d, w * channels), at(line, j * channels)
            if spread:
                zero_row(spaced, count)
            if p.pool == MAX_POOL:
                add_winners(target, given, at(winners, j * channels), run, r * p.pool_columns + s, share)
            else:
                add_row(target, given, run, share)
            if spread:
                scatter(at(d, w * channels), spaced, p.out_width, channels, p.right * channels)


def gradient(
    task: Int, scratch: Reals, x: Reals, dy: Reals, winners: Bytes, d: Reals, partial: Reals, p: Pass
):  # fmt: skip
    """Set d, for a band of input rows, to the gradient of BatchNorm's output (of x if there is none).

    With BatchNorm, partial[task][2][channels] becomes the sums of d and of d * (x - mean).
    """
    image, number = task // p.bands, task % p.bands
    channels, size = p.channels, p.width * p.channels
    picture = at(x, image * p.height * size)
    total = at(partial, task * 2 * channels)
    lost, sums = at(scratch, p.sums), at(scratch, p.sums + 2 * channels)
    if p.normalised:
        zero_row(total, 2 * channels)
        zero_row(lost, 2 * channels)
    end = min((number + 1) * p.band, p.height)
    block = max(1, BLOCK * rows_in_line(BLOCK, channels) // p.width)  # rows, summed while they are in the cache
    for begin in range(number * p.band, end, block):
        rows = min(block, end - begin)
        out = at(d, (image * p.height + begin) * size)
        for row in range(rows):
            gradient_row(at(out, row * size), scratch, picture, dy, winners, image, begin + row, p)
        if p.normalised:
            zero_row(sums, 2 * channels)
            sum_rows(sums, out, rows * p.width, channels)
            values, products = at(picture, begin * size), at(sums, channels)
            sum_products(products, out, values, p.normal, rows * p.width, channels)
            carry(total, lost, sums, 2 * channels, real(1))
    if p.normalised:
        settle(total, lost, 2 * channels)
