"""GRU with r before the product: all places of some sequences, forwards and backwards. The gates are r, z, n."""

from gedanken.engine.cpu.kernels.blocks import copy_row, tiles_in, zero_row
from gedanken.engine.cpu.kernels.functions import hyperbolic_tangent, sigmoid
from gedanken.engine.cpu.kernels.recurrent import (
    Product,
    Reading,
    Slopes,
    add_places,
    add_shown,
    any_real,
    begin,
    begin_back,
    end_back,
    end_sum,
    first_of,
    leave_out,
    multiply,
    place_of,
    remember,
    show,
)
from gedanken.engine.cpu.language import Int, Reals, at, inline, lanes, noinline, real, tile_columns


@inline
def multiply_gate(gate, h, products, rows, r):
    """Multiply some rows with what a gate has of the recurrent kernel: gates are packed by themselves."""
    panel = r.units * tile_columns
    multiply(
        rows,
        Product(
            a=h, a_pitch=r.units, packed=at(r.recurrent, gate * tiles_in(r.units, tile_columns) * panel), panel=panel,
            start=r.zeros, start_pitch=0, c=at(products, gate * r.units), c_pitch=r.width, depth=r.units,
            columns=r.units, zero_offset=r.zero_offset,
        ),
    )  # fmt: skip


@inline
def add_turned_gates(target, slopes, first, count, rows, turned, r):
    """target += slopes @ recurrent.T, for some gates from the first on."""
    multiply(
        rows,
        Product(
            a=at(slopes, first * r.units), a_pitch=r.width, packed=at(turned, first * r.units * tile_columns),
            panel=r.width * tile_columns, start=target, start_pitch=r.units, c=target, c_pitch=r.units,
            depth=count * r.units, columns=r.units, zero_offset=r.zero_offset,
        ),
    )  # fmt: skip


def forward(task: Int, scratch: Reals, r: Reading):
    """Read a block of sequences; kept: r * h. scratch: 5 * units numbers for each sequence."""
    units, width, first = r.units, r.width, first_of(task, r)
    rows = first_of(task + 1, r) - first
    h, read, products = scratch, at(scratch, rows * units), at(scratch, 2 * rows * units)
    zero_row(h, 2 * rows * units)
    begin(h, r.start, first, rows, r)
    for step in range(r.places):
        t = place_of(step, r)
        if any_real(at(r.lengths, first), rows, t):
            multiply_gate(0, h, products, rows, r)
            multiply_gate(1, h, products, rows, r)
            for i in range(rows):
                if t < r.lengths[first + i]:
                    gates = at(r.inputs, ((first + i) * r.places + t) * width)
                    reset(gates, at(products, i * width), at(h, i * units), at(read, i * units), units)
            multiply_gate(2, read, products, rows, r)
        for i in range(rows):
            place, state = (first + i) * r.places + t, at(h, i * units)
            if t < r.lengths[first + i]:
                remember(state, place, r)
                if r.train:
                    copy_row(at(r.kept, place * units), at(read, i * units), units)
                mix(at(r.inputs, place * width), at(products, i * width), state, units)
                show(state, place, r)
            else:
                leave_out(place, r)
                if r.train:
                    zero_row(at(r.kept, place * units), units)
    if r.last:
        copy_row(at(r.y, first * units), h, rows * units)


@noinline
def reset(gates, products, h, read, units):
    """Set the gates r and z, and what n reads of the state."""
    z, by_z = at(gates, units), at(products, units)
    for j in lanes(units):
        gate = sigmoid(gates[j] + products[j])
        gates[j] = gate
        z[j] = sigmoid(z[j] + by_z[j])
        read[j] = gate * h[j]


@noinline
def mix(gates, products, h, units):
    """Set the gate n, and h to what it is behind a place."""
    z, n, by_n = at(gates, units), at(gates, 2 * units), at(products, 2 * units)
    for j in lanes(units):
        new = hyperbolic_tangent(n[j] + by_n[j])
        n[j] = new
        h[j] = (real(1) - z[j]) * new + z[j] * h[j]


def gradient(task: Int, scratch: Reals, r: Reading, back: Slopes):
    """Go back through a block of sequences. scratch: 5 * units numbers for each, and 3 * width."""
    units, width, first = r.units, r.width, first_of(task, r)
    rows = first_of(task + 1, r) - first
    dh, read, slopes = scratch, at(scratch, rows * units), at(scratch, 2 * rows * units)
    total = at(slopes, rows * width)
    begin_back(dh, first, rows, back.dy, r)
    zero_row(total, 3 * width)
    for number in range(r.places):
        t = place_of(r.places - 1 - number, r)
        for i in range(rows):
            place, d, state = (first + i) * r.places + t, at(slopes, i * width), at(dh, i * units)
            zero_row(d, width)
            if t < r.lengths[first + i]:
                add_shown(state, place, back.dy, r)
                change(at(r.inputs, place * width), d, at(r.before, place * units), state, units)
        zero_row(read, rows * units)
        add_turned_gates(read, slopes, 2, 1, rows, back.turned, r)
        for i in range(rows):
            place, d = (first + i) * r.places + t, at(slopes, i * width)
            gates = at(r.inputs, place * width)
            if t < r.lengths[first + i]:
                change_reset(gates, d, at(r.before, place * units), at(read, i * units), at(dh, i * units), units)
            copy_row(gates, d, width)
        add_places(total, slopes, rows, width)
        if number + 1 < r.places + r.begun:
            add_turned_gates(dh, slopes, 0, 2, rows, back.turned, r)
    end_back(back.start, dh, first, rows, r)
    end_sum(at(back.sums, task * width), total, width)


@noinline
def change(gates, slopes, before, dh, units):
    """Set the gradients with respect to the arguments of z and n; dh becomes what of it passes by."""
    z, n, by_z, by_n = at(gates, units), at(gates, 2 * units), at(slopes, units), at(slopes, 2 * units)
    for j in lanes(units):
        keep, new = z[j], n[j]
        by_z[j] = dh[j] * (before[j] - new) * keep * (real(1) - keep)
        by_n[j] = dh[j] * (real(1) - keep) * (real(1) - new * new)
        dh[j] = dh[j] * keep


@noinline
def change_reset(gates, slopes, before, dread, dh, units):
    """Set the gradient with respect to the argument of r, and add to dh what goes through r * h."""
    for j in lanes(units):
        gate, d = gates[j], dread[j]
        slopes[j] = d * before[j] * gate * (real(1) - gate)
        dh[j] += d * gate
