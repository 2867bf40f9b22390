"""Random changes that stand outside of a pass: whole channels or values that are dropped, and added noise."""

from gedanken.engine.cpu.kernels.functions import logarithm_near_1
from gedanken.engine.cpu.kernels.rows import Draw, keep_row, philox
from gedanken.engine.cpu.language import Int, Real, Reals, Record, at, inline, ints, lanes, real, sqrt

LOG_2 = 0.6931471805599453
WORDS = 4  # of a block of draws
NORMALS = 8  # of a block


class Thinning(Record):
    """Samples of `pixels` pixels with channels; a task is a piece of the pixels of all of them.

    y = (x where kept, else low) * factor + shift
    """

    pixels: Int
    channels: Int
    pieces: Int  # of a sample
    piece: Int  # pixels of each
    whole: Int  # whether a channel is dropped in all pixels
    factor: Real
    low: Real
    shift: Real
    draw: Draw


def thin(task: Int, scratch: Reals, x: Reals, y: Reals, t: Thinning):
    """Keep or drop, and scale.   scratch: one and a half numbers for each channel, and 32."""
    sample, channels = task // t.pieces, t.channels
    first = (task % t.pieces) * t.piece
    mask, place = scratch, (sample * t.pixels) * channels
    if t.whole:
        keep_row(mask, at(mask, channels), sample, 0, channels, t.draw)
    for pixel in range(first, min(first + t.piece, t.pixels)):
        values, out = at(x, place + pixel * channels), at(y, place + pixel * channels)
        if not t.whole:
            keep_row(mask, at(mask, channels), sample, pixel * channels, channels, t.draw)
        for c in lanes(channels):
            kept = mask[c]
            out[c] = (values[c] * kept + t.low * (real(1) - kept)) * t.factor + t.shift


@inline
def quarter_turns(v):
    """The nearest number of quarter turns to v turns."""
    return round(v * real(4))


@inline
def sine(t):
    """sin(t) for |t| <= pi / 4"""
    s = t * t
    total = real(1 / 355687428096000)
    total = total * s - real(1 / 1307674368000)
    total = total * s + real(1 / 6227020800)
    total = total * s - real(1 / 39916800)
    total = total * s + real(1 / 362880)
    total = total * s - real(1 / 5040)
    total = total * s + real(1 / 120)
    total = total * s - real(1 / 6)
    return t + t * (total * s)


@inline
def cosine(t):
    """cos(t) for |t| <= pi / 4"""
    s = t * t
    total = real(1 / 20922789888000)
    total = total * s - real(1 / 87178291200)
    total = total * s + real(1 / 479001600)
    total = total * s - real(1 / 3628800)
    total = total * s + real(1 / 40320)
    total = total * s - real(1 / 720)
    total = total * s + real(1 / 24)
    total = total * s - real(1 / 2)
    return real(1) + total * s


@inline
def logarithm(u):
    """log(u) for 2**-24 <= u <= 1: u is multiplied by powers of 2 until it is near 1."""
    far = u < real(1 / 4096)
    f, n = (u * real(4096) if far else u), (real(12) if far else real(0))
    far = f < real(1 / 64)
    f, n = (f * real(64) if far else f), (n + real(6) if far else n)
    far = f < real(1 / 8)
    f, n = (f * real(8) if far else f), (n + real(3) if far else n)
    far = f < real(1 / 4)
    f, n = (f * real(4) if far else f), (n + real(2) if far else n)
    far = f < real(0.7071067811865476)
    f, n = (f * real(2) if far else f), (n + real(1) if far else n)
    far = f < real(0.7071067811865476)
    f, n = (f * real(2) if far else f), (n + real(1) if far else n)
    return logarithm_near_1(f) - n * real(LOG_2)


class Added(Record):
    """Samples of `size` numbers; a task is a piece of one. `piece` is a number of whole blocks."""

    size: Int
    pieces: Int  # of a sample
    piece: Int
    std: Real
    draw: Draw


def add_normals(task: Int, scratch: Reals, x: Reals, y: Reals, a: Added):
    """y = x + std * z, with the numbers z of `gedanken.random.sample_normals`.   scratch: 2 * piece numbers."""
    sample, first = task // a.pieces, (task % a.pieces) * a.piece
    count = min(a.piece, a.size - first)
    blocks = (count + NORMALS - 1) // NORMALS
    words, normals = ints(scratch), at(scratch, a.piece)
    before = (a.draw.position + sample) * a.draw.blocks + first // NORMALS
    for block in range(blocks):
        philox(at(words, WORDS * block), before + block, a.draw.epoch, a.draw.key_0, a.draw.key_1)
    for i in lanes(WORDS * blocks):
        u = real((words[i] & 0xFFFFFF) + 1) * real(1 / 16777216)
        v = real((words[i] // 0x10000000000) & 0xFFFFFF) * real(1 / 16777216)
        turns = quarter_turns(v)
        t = (v - turns * real(0.25)) * real(6.283185307179586)
        s, c = sine(t), cosine(t)
        quarter = turns if turns < real(4) else real(0)
        crossed = quarter == real(1) or quarter == real(3)
        size = sqrt(real(-2) * logarithm(u)) * a.std
        up, along = (c if crossed else s), (s if crossed else c)
        normals[2 * i] = -size * along if quarter == real(1) or quarter == real(2) else size * along
        normals[2 * i + 1] = -size * up if quarter == real(2) or quarter == real(3) else size * up
    place = sample * a.size + first
    values, out = at(x, place), at(y, place)
    for i in lanes(count):
        out[i] = values[i] + normals[i]
