"""LSTM: all places of some sequences, forwards and backwards. The gates are i, f, g, o."""

from gedanken.engine.cpu.kernels.blocks import copy_row, zero_row
from gedanken.engine.cpu.kernels.functions import hyperbolic_tangent, sigmoid
from gedanken.engine.cpu.kernels.recurrent import (
    Reading,
    Slopes,
    add_places,
    add_shown,
    add_turned,
    any_real,
    begin,
    begin_back,
    end_back,
    end_sum,
    first_of,
    leave_out,
    multiply_state,
    place_of,
    remember,
    show,
)
from gedanken.engine.cpu.language import Int, Reals, at, lanes, noinline, real


def forward(task: Int, scratch: Reals, r: Reading):
    """Read a block of sequences; kept: c behind each place. scratch: 6 * units numbers for each sequence."""
    units, first = r.units, first_of(task, r)
    rows = first_of(task + 1, r) - first
    h, c, products = scratch, at(scratch, rows * units), at(scratch, 2 * rows * units)
    zero_row(h, rows * (2 * units + r.width))  # the products too: at the first place there may be nothing to multiply
    begin(h, r.start, first, rows, r)
    begin(c, r.start_cell, first, rows, r)
    for step in range(r.places):
        t = place_of(step, r)
        if step + r.begun > 0 and any_real(at(r.lengths, first), rows, t):
            multiply_state(h, products, rows, r)
        for i in range(rows):
            place, state, cell = (first + i) * r.places + t, at(h, i * units), at(c, i * units)
            if t < r.lengths[first + i]:
                remember(state, place, r)
                behind(at(r.inputs, place * r.width), at(products, i * r.width), state, cell, units)
                if r.train:
                    copy_row(at(r.kept, place * units), cell, units)
                show(state, place, r)
            else:
                leave_out(place, r)
    if r.last:
        copy_row(at(r.y, first * units), h, rows * units)


@noinline
def behind(gates, products, h, c, units):
    """Set gates, h and c to what they are behind a place; gates are its inputs before."""
    f, g, o = at(gates, units), at(gates, 2 * units), at(gates, 3 * units)
    by_f, by_g, by_o = at(products, units), at(products, 2 * units), at(products, 3 * units)
    for j in lanes(units):
        into, keep = sigmoid(gates[j] + products[j]), sigmoid(f[j] + by_f[j])
        new, out = hyperbolic_tangent(g[j] + by_g[j]), sigmoid(o[j] + by_o[j])
        cell = keep * c[j] + into * new
        gates[j] = into
        f[j] = keep
        g[j] = new
        o[j] = out
        c[j] = cell
        h[j] = out * hyperbolic_tangent(cell)


def gradient(task: Int, scratch: Reals, r: Reading, back: Slopes):
    """Go back through a block of sequences. scratch: 6 * units numbers for each, and 3 * width + units."""
    units, width, first = r.units, r.width, first_of(task, r)
    rows = first_of(task + 1, r) - first
    dh, dc, slopes = scratch, at(scratch, rows * units), at(scratch, 2 * rows * units)
    total, nothing = at(slopes, rows * width), at(slopes, rows * width + 3 * width)
    begin_back(dh, first, rows, back.dy, r)
    zero_row(dc, rows * units)
    zero_row(total, 3 * width + units)
    for number in range(r.places):
        t = place_of(r.places - 1 - number, r)
        for i in range(rows):
            place, length, d = (first + i) * r.places + t, r.lengths[first + i], at(slopes, i * width)
            gates = at(r.inputs, place * width)
            if t < length:
                add_shown(at(dh, i * units), place, back.dy, r)
                cell, begins = at(r.kept, place * units), t + 1 == length if r.reverse else t == 0
                origin = at(r.start_cell, (first + i) * units) if r.begun else nothing
                before = origin if begins else at(r.kept, (place + 1 if r.reverse else place - 1) * units)
                change(gates, d, cell, before, at(dh, i * units), at(dc, i * units), units)
            else:
                zero_row(d, width)
            copy_row(gates, d, width)
        add_places(total, slopes, rows, width)
        if number + 1 < r.places + r.begun:
            add_turned(dh, slopes, rows, back.turned, r)
    end_back(back.start, dh, first, rows, r)
    end_back(back.start_cell, dc, first, rows, r)
    end_sum(at(back.sums, task * width), total, width)


@noinline
def change(gates, slopes, cell, before, dh, dc, units):
    """Set slopes to the gradient with respect to the gates' arguments, dc to that of the cell before, and dh to 0."""
    f, g, o = at(gates, units), at(gates, 2 * units), at(gates, 3 * units)
    by_f, by_g, by_o = at(slopes, units), at(slopes, 2 * units), at(slopes, 3 * units)
    for j in lanes(units):
        into, keep, new, out = gates[j], f[j], g[j], o[j]
        shown = hyperbolic_tangent(cell[j])
        d = dc[j] + dh[j] * out * (real(1) - shown * shown)
        slopes[j] = d * new * into * (real(1) - into)
        by_f[j] = d * before[j] * keep * (real(1) - keep)
        by_g[j] = d * into * (real(1) - new * new)
        by_o[j] = dh[j] * shown * out * (real(1) - out)
        dc[j] = d * keep
        dh[j] = real(0)
