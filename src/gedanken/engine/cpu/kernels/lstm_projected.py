"""LSTM with a projection: the state that is read and put out is a product of what the gates let out of the cells.

Of a `Reading`, `units` are those of the state, `before` and `y` likewise; `kept` has the cells.
"""

from gedanken.engine.cpu.kernels.blocks import copy_row, zero_row
from gedanken.engine.cpu.kernels.lstm import behind, change
from gedanken.engine.cpu.kernels.recurrent import (
    Product,
    Reading,
    Slopes,
    add_places,
    add_shown,
    add_turned,
    any_real,
    begin_back,
    end_sum,
    first_of,
    leave_out,
    multiply,
    multiply_state,
    place_of,
    remember,
    show,
)
from gedanken.engine.cpu.language import Int, Reals, Record, at, inline, tile_columns


class Projected(Record):
    """The projection.

    packed, turned: its kernel and the transposed one in panels; turned in `gradient` only.
    given: [n][t][cells], what is multiplied; slopes: [n][t][units], the gradient with respect to the product, 0 at
        padded places; in training only.
    """

    cells: Int
    packed: Reals
    turned: Reals
    given: Reals
    slopes: Reals


def forward(task: Int, scratch: Reals, r: Reading, projected: Projected):
    """Read a block of sequences. scratch: 2 * units + 6 * cells numbers for each sequence."""
    cells, first = projected.cells, first_of(task, r)
    rows = first_of(task + 1, r) - first
    h, made, c = scratch, at(scratch, rows * r.units), at(scratch, 2 * rows * r.units)
    shown, products = at(c, rows * cells), at(c, 2 * rows * cells)
    zero_row(scratch, rows * (2 * r.units + 2 * cells + r.width))
    for step in range(r.places):
        t = place_of(step, r)
        if step > 0 and any_real(at(r.lengths, first), rows, t):
            multiply_state(h, products, rows, r)
        for i in range(rows):
            place, out, cell = (first + i) * r.places + t, at(shown, i * cells), at(c, i * cells)
            if t < r.lengths[first + i]:
                behind(at(r.inputs, place * r.width), at(products, i * r.width), out, cell, cells)
                if r.train:
                    copy_row(at(r.kept, place * cells), cell, cells)
            else:
                zero_row(out, cells)
            if r.train:
                copy_row(at(projected.given, place * cells), out, cells)
        project(shown, made, rows, projected, r)
        for i in range(rows):
            place, state = (first + i) * r.places + t, at(h, i * r.units)
            if t < r.lengths[first + i]:
                remember(state, place, r)
                copy_row(state, at(made, i * r.units), r.units)
                show(state, place, r)
            else:
                leave_out(place, r)
    if r.last:
        copy_row(at(r.y, first * r.units), h, rows * r.units)


@inline
def project(shown, made, rows, projected, r):
    """made = shown @ projection"""
    multiply(
        rows,
        Product(
            a=shown, a_pitch=projected.cells, packed=projected.packed, panel=projected.cells * tile_columns,
            start=r.zeros, start_pitch=0, c=made, c_pitch=r.units, depth=projected.cells, columns=r.units,
            zero_offset=r.zero_offset,
        ),
    )  # fmt: skip


@inline
def project_back(dh, d, rows, projected, r):
    """d = dh @ projection.T"""
    multiply(
        rows,
        Product(
            a=dh, a_pitch=r.units, packed=projected.turned, panel=r.units * tile_columns, start=r.zeros,
            start_pitch=0, c=d, c_pitch=projected.cells, depth=r.units, columns=projected.cells,
            zero_offset=r.zero_offset,
        ),
    )  # fmt: skip


def gradient(task: Int, scratch: Reals, r: Reading, back: Slopes, projected: Projected):
    """Go back through a block of sequences.

    scratch: units + 6 * cells numbers for each, and 3 * width + cells.
    """
    cells, width, first = projected.cells, r.width, first_of(task, r)
    rows = first_of(task + 1, r) - first
    dh, dc, d_shown = scratch, at(scratch, rows * r.units), at(scratch, rows * (r.units + cells))
    slopes = at(d_shown, rows * cells)
    total, nothing = at(slopes, rows * width), at(slopes, rows * width + 3 * width)
    begin_back(dh, first, rows, back.dy, r)
    zero_row(dc, rows * cells)
    zero_row(total, 3 * width + cells)
    for number in range(r.places):
        t = place_of(r.places - 1 - number, r)
        for i in range(rows):
            place, state = (first + i) * r.places + t, at(dh, i * r.units)
            if t < r.lengths[first + i]:
                add_shown(state, place, back.dy, r)
                copy_row(at(projected.slopes, place * r.units), state, r.units)
            else:
                zero_row(at(projected.slopes, place * r.units), r.units)
        project_back(dh, d_shown, rows, projected, r)
        for i in range(rows):
            place, length, d = (first + i) * r.places + t, r.lengths[first + i], at(slopes, i * width)
            gates = at(r.inputs, place * width)
            if t < length:
                cell, begins = at(r.kept, place * cells), t + 1 == length if r.reverse else t == 0
                earlier = place + 1 if r.reverse else place - 1
                before = nothing if begins else at(r.kept, earlier * cells)
                change(gates, d, cell, before, at(d_shown, i * cells), at(dc, i * cells), cells)
                zero_row(at(dh, i * r.units), r.units)
            else:
                zero_row(d, width)
            copy_row(gates, d, width)
        add_places(total, slopes, rows, width)
        if number + 1 < r.places:
            add_turned(dh, slopes, rows, back.turned, r)
    end_sum(at(back.sums, task * width), total, width)
