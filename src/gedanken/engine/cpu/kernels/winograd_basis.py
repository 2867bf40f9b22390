"""The other basis in which a convolution by 3 x 3 windows has fewer products: see `winograd.py`."""

from gedanken.engine.cpu.kernels.blocks import tiles_in, transposed, vectors_of, zero_row
from gedanken.engine.cpu.language import Int, Reals, at, inline, lanes, noinline, real, tile_columns, vector_lanes

PLACES = 16  # numbers of a square in the other basis
SQUARES = 48  # that there is room for: where they lie is then known when a kernel is compiled


@noinline
def stretched(target, step, window, tap, count):
    """Multiply by G: four rows of `count` numbers, `step` apart, from three, `tap` apart."""
    half = real(0.5)
    for k in lanes(count):
        a, b, c = window[k], window[k + tap], window[k + 2 * tap]
        target[k] = a
        target[k + step] = (a + b + c) * half
        target[k + 2 * step] = (a - b + c) * half
        target[k + 3 * step] = c


@noinline
def shrunk(target, tap, source, step, count):
    """Multiply by G': add to three rows what four give."""
    half = real(0.5)
    for k in lanes(count):
        a, b, c, d = source[k], source[k + step], source[k + 2 * step], source[k + 3 * step]
        target[k] += a + (b + c) * half
        target[k + tap] += (b - c) * half
        target[k + 2 * tap] += (b + c) * half + d


@noinline
def turned(places, pixels, deep, pitch):
    """Set the places of one square, B' pixels B; a row has 4 pixels, `deep` numbers apart, and rows are `pitch` apart.

    Places of a vector of channels lie together, those of the next vector behind them.
    """
    step = SQUARES * vector_lanes
    for c in range(0, deep, vector_lanes):
        place, p0 = at(places, c * PLACES * SQUARES), at(pixels, c)
        p1, p2, p3 = at(p0, pitch), at(p0, 2 * pitch), at(p0, 3 * pitch)
        for k in lanes(vector_lanes):
            i, j, m, target = k + deep, k + 2 * deep, k + 3 * deep, at(place, k)
            a0, a1, a2, a3 = p0[k] - p2[k], p0[i] - p2[i], p0[j] - p2[j], p0[m] - p2[m]
            b0, b1, b2, b3 = p1[k] + p2[k], p1[i] + p2[i], p1[j] + p2[j], p1[m] + p2[m]
            c0, c1, c2, c3 = p2[k] - p1[k], p2[i] - p1[i], p2[j] - p1[j], p2[m] - p1[m]
            d0, d1, d2, d3 = p1[k] - p3[k], p1[i] - p3[i], p1[j] - p3[j], p1[m] - p3[m]
            target[0] = a0 - a2
            target[step] = a1 + a2
            target[2 * step] = a2 - a1
            target[3 * step] = a1 - a3
            target[4 * step] = b0 - b2
            target[5 * step] = b1 + b2
            target[6 * step] = b2 - b1
            target[7 * step] = b1 - b3
            target[8 * step] = c0 - c2
            target[9 * step] = c1 + c2
            target[10 * step] = c2 - c1
            target[11 * step] = c1 - c3
            target[12 * step] = d0 - d2
            target[13 * step] = d1 + d2
            target[14 * step] = d2 - d1
            target[15 * step] = d1 - d3


@inline
def outputs_of(products, bias, y00, y01, y10, y11):
    """Set a vector of the outputs of one square, A' products A + bias."""
    step = SQUARES * tile_columns
    for k in lanes(vector_lanes):
        row = at(products, k)
        p00, p01, p02, p03 = row[0], row[step], row[2 * step], row[3 * step]
        p10, p11, p12, p13 = row[4 * step], row[5 * step], row[6 * step], row[7 * step]
        p20, p21, p22, p23 = row[8 * step], row[9 * step], row[10 * step], row[11 * step]
        p30, p31, p32, p33 = row[12 * step], row[13 * step], row[14 * step], row[15 * step]
        a0, a1, a2, a3 = p00 + p10 + p20, p01 + p11 + p21, p02 + p12 + p22, p03 + p13 + p23
        b0, b1, b2, b3 = p10 - p20 - p30, p11 - p21 - p31, p12 - p22 - p32, p13 - p23 - p33
        added = bias[k]
        y00[k] = a0 + a1 + a2 + added
        y01[k] = a1 - a2 - a3 + added
        y10[k] = b0 + b1 + b2 + added
        y11[k] = b1 - b2 - b3 + added


@inline
def slopes_of(places, d00, d01, d10, d11):
    """Set a vector of the places of one square, A dy A'."""
    step = SQUARES * tile_columns
    for k in lanes(vector_lanes):
        place = at(places, k)
        a0, a1, b0, b1 = d00[k], d01[k], d10[k], d11[k]
        s0, s1, t0, t1 = a0 + b0, a1 + b1, a0 - b0, a1 - b1
        place[0] = a0
        place[step] = a0 + a1
        place[2 * step] = a0 - a1
        place[3 * step] = -a1
        place[4 * step] = s0
        place[5 * step] = s0 + s1
        place[6 * step] = s0 - s1
        place[7 * step] = -s1
        place[8 * step] = t0
        place[9 * step] = t0 + t1
        place[10 * step] = t0 - t1
        place[11 * step] = -t1
        place[12 * step] = -b0
        place[13 * step] = -b0 - b1
        place[14 * step] = b1 - b0
        place[15 * step] = b1


# ---------------------------------------------------------------------------------------------- packing


def pack(task: Int, scratch: Reals, weights: Reals, packed: Reals, ins: Int, outs: Int):
    """Bring windows into the other basis, panel by panel; a task is a panel.

    weights: [9 taps][ins][outs].   packed: [16][panel][ins in whole vectors][tile_columns].
    scratch: 12 rows of a panel.
    """
    first, panels, deep = task * tile_columns, tiles_in(outs, tile_columns), vectors_of(ins)
    count = min(tile_columns, outs - first)
    for i in range(deep):
        place = at(packed, (task * deep + i) * tile_columns)
        window = at(weights, i * outs + first)
        window_places(place, panels * deep * tile_columns, scratch, window, ins * outs, count if i < ins else 0)


def pack_transposed(task: Int, scratch: Reals, weights: Reals, packed: Reals, ins: Int, outs: Int):
    """As `pack`, for the input gradient: windows are turned round, outputs are summed over, inputs are columns.

    packed: [16][panel of inputs][outs in whole vectors][tile_columns].
    scratch: 12 rows of a panel, then 9 for each output.
    """
    first, panels, deep = task * tile_columns, tiles_in(ins, tile_columns), vectors_of(outs)
    taps, count = at(scratch, 12 * tile_columns), min(tile_columns, ins - first)
    for tap in range(9):
        source = at(weights, ((8 - tap) * ins + first) * outs)
        transposed(source, at(taps, tap * outs * tile_columns), count, outs, outs, tile_columns)
    for o in range(deep):
        place, window = at(packed, (task * deep + o) * tile_columns), at(taps, o * tile_columns)
        step = panels * deep * tile_columns
        window_places(place, step, scratch, window, outs * tile_columns, count if o < outs else 0)


@noinline
def window_of_square(target, tap, source, step, between, count):
    """Add G' source G to a window's nine numbers, `tap` apart; places are `step` apart."""
    zero_row(between, 12 * tile_columns)
    for column in range(4):
        shrunk(at(between, column * tile_columns), 4 * tile_columns, at(source, column * step), 4 * step, count)
    for row in range(3):
        shrunk(at(target, 3 * row * tap), tap, at(between, 4 * row * tile_columns), tile_columns, count)


@inline
def window_places(target, step, between, window, tap, count):
    """Set a row of a panel for each place, `step` apart, to G window G', and to 0 behind `count` numbers.

    The window's taps are `tap` apart; between: twelve rows of memory.
    """
    for place in range(PLACES if count < tile_columns else 0):
        zero_row(at(target, place * step), tile_columns)
    for column in range(3):
        stretched(at(between, column * tile_columns), 3 * tile_columns, at(window, column * tap), 3 * tap, count)
    for row in range(4):
        stretched(at(target, 4 * row * step), step, at(between, 3 * row * tile_columns), tile_columns, count)
