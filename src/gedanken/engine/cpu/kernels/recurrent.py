"""What the kernels of recurrent layers share.

Sequences do not depend on each other. So a task reads some of them from their first place to their last without waiting
for anybody, with the packed recurrent kernel in a cache. What does not depend on the state is multiplied before and
behind, for all places at once.
"""

from gedanken.engine.cpu.kernels.blocks import carry, copy_row, rows_of_tile, settle, tiles_in, zero_row
from gedanken.engine.cpu.kernels.dense import DEPTH
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
    noinline,
    real,
    tile_columns,
)


class Reading(Record):
    """How sequences are read; a task is one of some blocks of them.

    inputs: [n][t][width], the places times the kernel, with the bias. `forward` puts the values of the gates there, and
        `gradient` what the cost changes with their arguments.
    recurrent: the recurrent kernel, packed in panels; `zeros` are width numbers.
    lengths: [n]
    before, kept: [n][t][units], the state before each place, 0 where there is none, and what else is kept for
        `gradient`; in training only.
    y: [n][t][units], or [n][units] where only the last state is wanted.
    begun: whether there are states before the first place, `start` and of an LSTM `start_cell`, [n][units]; else 0.
    """

    samples: Int
    places: Int
    units: Int
    width: Int
    blocks: Int
    reverse: Int
    last: Int
    train: Int
    lengths: Ints
    inputs: Reals
    recurrent: Reals
    zeros: Reals
    before: Reals
    kept: Reals
    y: Reals
    begun: Int
    start: Reals
    start_cell: Reals
    zero_offset: Ints


class Slopes(Record):
    """What `gradient` is given beside: dy, the transposed recurrent kernel in panels, and [task][width] for sums.

    Where there were states before the first place it sets `start` and `start_cell` to their gradients.
    """

    dy: Reals
    turned: Reals
    sums: Reals
    start: Reals
    start_cell: Reals


class Product(Record):
    """C = start + A B for some rows; rows of A and C are so far apart, those of `start` too.

    packed: B in panels that are `panel` numbers apart.
    """

    a: Reals
    a_pitch: Int
    packed: Reals
    panel: Int
    start: Reals
    start_pitch: Int
    c: Reals
    c_pitch: Int
    depth: Int
    columns: Int
    zero_offset: Ints


@noinline
def multiply(rows, p):
    """Do a Product, panel by panel."""
    step = tiles_in(p.depth, tiles_in(p.depth, DEPTH))  # as even as they come
    for first in range(0, p.columns, tile_columns):
        count = min(tile_columns, p.columns - first)
        panel, parts = at(p.packed, first // tile_columns * p.panel), tiles_in(rows, rows_of_tile(count))
        for k in range(0, p.depth, step):
            for part in range(parts):
                row = part * rows // parts
                c = at(p.c, row * p.c_pitch + first)
                start, pitch = at(p.start, row * p.start_pitch + first), p.start_pitch
                tile = Tile(
                    a=at(p.a, row * p.a_pitch + k), offsets=p.zero_offset, b=at(panel, k * tile_columns),
                    i=start if k == 0 else c, c=c, sm=p.a_pitch, sk=1, taps=1, depth=min(step, p.depth - k),
                    ldb=tile_columns, sb=0, ldi=pitch if k == 0 else p.c_pitch, ldc=p.c_pitch, free=0,
                )  # fmt: skip
                gemm_tile((part + 1) * rows // parts - row, count, tile)


@inline
def multiply_state(h, products, rows, r):
    """products = h @ recurrent, for all gates."""
    multiply(
        rows,
        Product(
            a=h, a_pitch=r.units, packed=r.recurrent, panel=r.units * tile_columns, start=r.zeros, start_pitch=0,
            c=products, c_pitch=r.width, depth=r.units, columns=r.width, zero_offset=r.zero_offset,
        ),
    )  # fmt: skip


@inline
def add_turned(dh, slopes, rows, turned, r):
    """dh += slopes @ recurrent.T, for all gates."""
    multiply(
        rows,
        Product(
            a=slopes, a_pitch=r.width, packed=turned, panel=r.width * tile_columns, start=dh, start_pitch=r.units,
            c=dh, c_pitch=r.units, depth=r.width, columns=r.units, zero_offset=r.zero_offset,
        ),
    )  # fmt: skip


@inline
def first_of(task, r):
    """Return the first sequence of a block."""
    return task * r.samples // r.blocks


@inline
def place_of(step, r):
    """Return which place is read at a step."""
    return r.places - 1 - step if r.reverse else step


@inline
def begin(h, start, first, rows, r):
    """Set the state before the first place; it is 0 until then."""
    if r.begun:
        copy_row(h, at(start, first * r.units), rows * r.units)


@inline
def end_back(start, dh, first, rows, r):
    """Give the gradient with respect to the state before the first place to who asked for it."""
    if r.begun:
        copy_row(at(start, first * r.units), dh, rows * r.units)


@noinline
def any_real(lengths, rows, t):
    """Return whether place t is real in any of some sequences."""
    found = 0
    for i in range(rows):
        found = 1 if t < lengths[i] else found
    return found


@inline
def remember(state, place, r):
    """Keep the state before a place, in training."""
    if r.train:
        copy_row(at(r.before, place * r.units), state, r.units)


@inline
def show(state, place, r):
    """Put out the state behind a place."""
    if not r.last:
        copy_row(at(r.y, place * r.units), state, r.units)


@inline
def leave_out(place, r):
    """Put out zeros for a padded place."""
    if not r.last:
        zero_row(at(r.y, place * r.units), r.units)
    if r.train:
        zero_row(at(r.before, place * r.units), r.units)


@inline
def begin_back(dh, first, rows, dy, r):
    """Set the gradient with respect to the state behind the end."""
    if r.last:
        copy_row(dh, at(dy, first * r.units), rows * r.units)
    else:
        zero_row(dh, rows * r.units)


@inline
def add_shown(dh, place, dy, r):
    """Add the gradient with respect to what was put out at a place."""
    if not r.last:
        shown = at(dy, place * r.units)
        for j in lanes(r.units):
            dh[j] += shown[j]


@noinline
def add_places(total, slopes, rows, width):
    """total += the sum of some rows; total: 3 * width numbers: the sum, what rounding took from it, and room."""
    part = at(total, 2 * width)
    copy_row(part, slopes, width)
    for i in range(1, rows):
        row = at(slopes, i * width)
        for j in lanes(width):
            part[j] += row[j]
    carry(total, at(total, width), part, width, real(1))


@inline
def end_sum(target, total, width):
    """Write down a sum of `add_places`."""
    settle(total, at(total, width), width)
    copy_row(target, total, width)
