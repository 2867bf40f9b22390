"""The basis in which a convolution by windows of one row has fewer products: see `winograd.py`.

A line of m outputs y sees 6 pixels d through a window g of r = 7 - m numbers. In the other basis each is 6 numbers:

    u = G g,   v = B' d,   y = A' (sum over channels of u * v)         6 products in place of m r

Windows are polynomials, whose product is known from its values at six points (Toom and Cook); the matrices hold the
powers of these points and come from `lowering/winograd.py`.
"""

from gedanken.engine.cpu.kernels.blocks import add_scaled, tiles_in, transposed, vectors_of, zero_row
from gedanken.engine.cpu.kernels.winograd_basis import SQUARES
from gedanken.engine.cpu.language import Int, Reals, at, inline, lanes, noinline, tile_columns, vector_lanes

PLACES = 6  # numbers of a line in the other basis
MOST = 5  # outputs of a line, numbers of a window


@inline
def value_of(m, a, b, c, d, e, f):
    """Return a row of a matrix times six numbers."""
    return m[0] * a + m[1] * b + m[2] * c + (m[3] * d + m[4] * e + m[5] * f)


@noinline
def turned_line(places, pixels, deep, basis):
    """Set the places of one line, B' pixels; see `winograd_basis.turned`."""
    step = SQUARES * vector_lanes
    m1, m2, m3, m4, m5 = at(basis, 6), at(basis, 12), at(basis, 18), at(basis, 24), at(basis, 30)
    for begin in range(0, deep, vector_lanes):
        place, source = at(places, begin * PLACES * SQUARES), at(pixels, begin)
        for k in lanes(vector_lanes):
            a, b, c = source[k], source[k + deep], source[k + 2 * deep]
            d, e, f = source[k + 3 * deep], source[k + 4 * deep], source[k + 5 * deep]
            place[k] = value_of(basis, a, b, c, d, e, f)
            place[k + step] = value_of(m1, a, b, c, d, e, f)
            place[k + 2 * step] = value_of(m2, a, b, c, d, e, f)
            place[k + 3 * step] = value_of(m3, a, b, c, d, e, f)
            place[k + 4 * step] = value_of(m4, a, b, c, d, e, f)
            place[k + 5 * step] = value_of(m5, a, b, c, d, e, f)


@noinline
def outputs_of_line(y, pitch, count, products, bias, basis, outputs):
    """Set outputs of one line, A' products + bias, `pitch` apart, for `count` channels."""
    step = SQUARES * tile_columns
    for j in range(outputs):
        m, out = at(basis, PLACES * (PLACES + j)), at(y, j * pitch)
        for k in lanes(count):
            p = at(products, k)
            made = value_of(m, p[0], p[step], p[2 * step], p[3 * step], p[4 * step], p[5 * step])
            out[k] = made + bias[k]


@noinline
def slopes_of_line(places, dy, pitch, count, basis, outputs):
    """Set the places of one line, A dy."""
    for place in range(PLACES):
        line = at(places, place * SQUARES * tile_columns)
        zero_row(line, tile_columns)
        for j in range(outputs):
            add_scaled(line, at(dy, j * pitch), count, basis[PLACES * (PLACES + j) + place])


# ---------------------------------------------------------------------------------------------- windows


@inline
def share_of(basis, tap, place):
    """Return what a number of a window counts in a place, of G."""
    return basis[PLACES * (PLACES + MOST + tap) + place]


@noinline
def window_places(target, step, window, tap, count, taps, basis):
    """Set a row of a panel for each place, `step` apart, to G window, and to 0 behind `count` numbers.

    The window's numbers are `tap` apart.
    """
    for place in range(PLACES):
        line = at(target, place * step)
        zero_row(line, tile_columns)
        for number in range(taps):
            add_scaled(line, at(window, number * tap), count, share_of(basis, number, place))


def pack(task: Int, scratch: Reals, weights: Reals, packed: Reals, ins: Int, outs: Int, taps: Int, basis: Reals):
    """Bring windows into the other basis, panel by panel; a task is a panel.

    weights: [taps][ins][outs].   packed: [6][panel][ins in whole vectors][tile_columns].
    """
    first, panels, deep = task * tile_columns, tiles_in(outs, tile_columns), vectors_of(ins)
    count = min(tile_columns, outs - first)
    for i in range(deep):
        line, window = at(packed, (task * deep + i) * tile_columns), at(weights, i * outs + first)
        window_places(line, panels * deep * tile_columns, window, ins * outs, count, taps if i < ins else 0, basis)


def pack_transposed(
    task: Int, scratch: Reals, weights: Reals, packed: Reals, ins: Int, outs: Int, taps: Int, basis: Reals
):  # fmt: skip
    """As `pack`, for the input gradient: windows are turned round, outputs are summed over, inputs are columns.

    packed: [6][panel of inputs][outs in whole vectors][tile_columns].   scratch: as many rows of a panel for each tap.
    """
    first, panels, deep = task * tile_columns, tiles_in(ins, tile_columns), vectors_of(outs)
    count = min(tile_columns, ins - first)
    for tap in range(taps):
        source = at(weights, ((taps - 1 - tap) * ins + first) * outs)
        transposed(source, at(scratch, tap * outs * tile_columns), count, outs, outs, tile_columns)
    for o in range(deep):
        line, window = at(packed, (task * deep + o) * tile_columns), at(scratch, o * tile_columns)
        step, tap = panels * deep * tile_columns, outs * tile_columns
        window_places(line, step, window, tap, count, taps if o < outs else 0, basis)


@noinline
def window_of(target, tap, source, step, count, taps, basis):
    """Add G' source to a window's numbers, `tap` apart; places are `step` apart."""
    for number in range(taps):
        for place in range(PLACES):
            add_scaled(at(target, number * tap), at(source, place * step), count, share_of(basis, number, place))
