"""SimpleRNN: all places of some sequences, forwards and backwards."""

from gedanken.engine.cpu.kernels.blocks import copy_row, zero_row
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
from gedanken.engine.cpu.kernels.rows import Activation, activate, derivative_row
from gedanken.engine.cpu.language import Int, Reals, at, lanes


def forward(task: Int, scratch: Reals, r: Reading, activation: Activation):
    """Read a block of sequences. scratch: 2 * units numbers for each sequence."""
    units, first = r.units, first_of(task, r)
    rows = first_of(task + 1, r) - first
    h, products = scratch, at(scratch, rows * units)
    zero_row(h, rows * 2 * units)  # the products too: at the first place there may be nothing to multiply
    begin(h, r.start, first, rows, r)
    for step in range(r.places):
        t = place_of(step, r)
        if step + r.begun > 0 and any_real(at(r.lengths, first), rows, t):
            multiply_state(h, products, rows, r)
        for i in range(rows):
            place, state = (first + i) * r.places + t, at(h, i * units)
            if t < r.lengths[first + i]:
                remember(state, place, r)
                gates, product = at(r.inputs, place * units), at(products, i * units)
                for j in lanes(units):
                    gates[j] += product[j]
                activate(gates, state, units, activation)
                copy_row(gates, state, units)
                show(state, place, r)
            else:
                leave_out(place, r)
    if r.last:
        copy_row(at(r.y, first * units), h, rows * units)


def gradient(task: Int, scratch: Reals, r: Reading, back: Slopes, activation: Activation):
    """Go back through a block of sequences. scratch: 2 * units numbers for each, and 3 * units."""
    units, first = r.units, first_of(task, r)
    rows = first_of(task + 1, r) - first
    dh, slopes, total = scratch, at(scratch, rows * units), at(scratch, 2 * rows * units)
    begin_back(dh, first, rows, back.dy, r)
    zero_row(total, 3 * units)
    for number in range(r.places):
        t = place_of(r.places - 1 - number, r)
        for i in range(rows):
            place, d = (first + i) * r.places + t, at(slopes, i * units)
            gates, state = at(r.inputs, place * units), at(dh, i * units)
            if t < r.lengths[first + i]:
                add_shown(state, place, back.dy, r)
                copy_row(d, state, units)
                derivative_row(d, gates, units, activation)
                zero_row(state, units)
            else:
                zero_row(d, units)
            copy_row(gates, d, units)
        add_places(total, slopes, rows, units)
        if number + 1 < r.places + r.begun:
            add_turned(dh, slopes, rows, back.turned, r)
    end_back(back.start, dh, first, rows, r)
    end_sum(at(back.sums, task * units), total, units)
