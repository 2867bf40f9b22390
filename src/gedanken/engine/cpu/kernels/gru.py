"""GRU with r behind the product: all places of some sequences, forwards and backwards. The gates are r, z, n."""

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
from gedanken.engine.cpu.language import Int, Reals, Record, at, lanes, noinline, real


def forward(task: Int, scratch: Reals, r: Reading, shift: Reals):
    """Read a block of sequences; kept: h @ recurrent + shift of n. scratch: 5 * units numbers for each sequence."""
    units, first = r.units, first_of(task, r)
    rows = first_of(task + 1, r) - first
    h, products = scratch, at(scratch, rows * units)
    zero_row(h, rows * (units + r.width))  # the products too: at the first place there may be nothing to multiply
    begin(h, r.start, first, rows, r)
    for step in range(r.places):
        t = place_of(step, r)
        if step + r.begun > 0 and any_real(at(r.lengths, first), rows, t):
            multiply_state(h, products, rows, r)
        for i in range(rows):
            place, state, product = (first + i) * r.places + t, at(h, i * units), at(products, i * r.width)
            if t < r.lengths[first + i]:
                remember(state, place, r)
                behind(at(r.inputs, place * r.width), product, state, shift, units)
                if r.train:
                    copy_row(at(r.kept, place * units), at(product, 2 * units), units)
                show(state, place, r)
            else:
                leave_out(place, r)
    if r.last:
        copy_row(at(r.y, first * units), h, rows * units)


@noinline
def behind(gates, products, h, shift, units):
    """Set gates and h to what they are behind a place, and add shift to the product of n."""
    z, n = at(gates, units), at(gates, 2 * units)
    by_z, by_n = at(products, units), at(products, 2 * units)
    for j in lanes(units):
        shown = by_n[j] + shift[j]
        reset, keep = sigmoid(gates[j] + products[j]), sigmoid(z[j] + by_z[j])
        new = hyperbolic_tangent(n[j] + reset * shown)
        by_n[j] = shown
        gates[j] = reset
        z[j] = keep
        n[j] = new
        h[j] = (real(1) - keep) * new + keep * h[j]


class Behind(Record):
    """For the gradients with respect to the products of the state: [n][t][width], and [task][units] for sums of n."""

    slopes: Reals
    sums: Reals


def gradient(task: Int, scratch: Reals, r: Reading, back: Slopes, behind_product: Behind):
    """Go back through a block of sequences. scratch: 8 * units numbers for each, and 6 * width."""
    units, width, first = r.units, r.width, first_of(task, r)
    rows = first_of(task + 1, r) - first
    dh, slopes, products = scratch, at(scratch, rows * units), at(scratch, rows * (units + width))
    total = at(products, rows * width)
    total_n = at(total, 3 * width)
    begin_back(dh, first, rows, back.dy, r)
    zero_row(total, 6 * width)
    for number in range(r.places):
        t = place_of(r.places - 1 - number, r)
        for i in range(rows):
            place, d, by_product = (first + i) * r.places + t, at(slopes, i * width), at(products, i * width)
            gates = at(r.inputs, place * width)
            if t < r.lengths[first + i]:
                state = at(dh, i * units)
                add_shown(state, place, back.dy, r)
                before, shown = at(r.before, place * units), at(r.kept, place * units)
                change(gates, d, by_product, before, shown, state, units)
            else:
                zero_row(d, width)
                zero_row(by_product, width)
            copy_row(gates, d, width)
            copy_row(at(behind_product.slopes, place * width), by_product, width)
        add_places(total, slopes, rows, width)
        add_places(total_n, products, rows, width)
        if number + 1 < r.places + r.begun:
            add_turned(dh, products, rows, back.turned, r)
    end_back(back.start, dh, first, rows, r)
    end_sum(at(back.sums, task * width), total, width)
    end_sum(total_n, total_n, width)
    copy_row(at(behind_product.sums, task * units), at(total_n, 2 * units), units)


@noinline
def change(gates, slopes, products, before, shown, dh, units):
    """Set slopes and products to the gradients with respect to the gates' arguments and to the state's products.

    dh becomes what of it goes to the state before beside the products.
    """
    z, n = at(gates, units), at(gates, 2 * units)
    by_z, by_n = at(slopes, units), at(slopes, 2 * units)
    product_z, product_n = at(products, units), at(products, 2 * units)
    for j in lanes(units):
        reset, keep, new = gates[j], z[j], n[j]
        d = dh[j] * (real(1) - keep) * (real(1) - new * new)
        d_z = dh[j] * (before[j] - new) * keep * (real(1) - keep)
        d_r = d * shown[j] * reset * (real(1) - reset)
        slopes[j] = d_r
        products[j] = d_r
        by_z[j] = d_z
        product_z[j] = d_z
        by_n[j] = d
        product_n[j] = d * reset
        dh[j] = dh[j] * keep
