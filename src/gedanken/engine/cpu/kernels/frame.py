"""Another frame for images: pixels around them, or pixels at the sides taken away.

Every row and column of the result is one of the input, or none. Along both axes most of the result is one run, beside
which there may be a border that says where its pixels come from.
"""

from gedanken.engine.cpu.kernels.blocks import carry, copy_row, fill_row, settle, zero_row
from gedanken.engine.cpu.language import Int, Ints, Real, Reals, Record, at, inline, real


class Run(Record):
    """`count` columns beside each other, from `inside` of the input and `out` of the result on."""

    inside: Int
    out: Int
    count: Int


class Around(Record):
    """Places that are put before and after sequences, or where negative taken away. A task is `piece` samples."""

    samples: Int
    places: Int
    features: Int
    made: Int  # places of a result
    before: Int
    after: Int
    mode: Int  # what stands there, see below
    outside: Real
    piece: Int


ZEROS, REFLECT, REPLICATE, CIRCULAR = 0, 1, 2, 3


class Frame(Record):
    """Images before and after.

    rows, columns: which of the input each of the result is, -1 for none.
    order, begins: the rows of the result that are input row h stand in order[begins[h]] to order[begins[h + 1] - 1].
    """

    height: Int
    width: Int
    channels: Int
    out_height: Int
    out_width: Int
    rows: Ints
    columns: Ints
    order: Ints
    begins: Ints
    run: Run
    outside: Real


def forward(task: Int, scratch: Reals, x: Reals, y: Reals, f: Frame, band: Int, bands: Int):
    """Set y to rows and columns of x, and to `outside` where there are none, for a band of one image's rows."""
    image, begin = task // bands, task % bands * band
    channels, size = f.channels, f.out_width * f.channels
    for i in range(begin, min(begin + band, f.out_height)):
        target, row = at(y, (image * f.out_height + i) * size), f.rows[i]
        if row < 0:
            fill_row(target, size, f.outside)
        else:
            source = at(x, (image * f.height + row) * f.width * channels)
            copy_row(at(target, f.run.out * channels), at(source, f.run.inside * channels), f.run.count * channels)
            take_border(target, source, 0, f.run.out, f)
            take_border(target, source, f.run.out + f.run.count, f.out_width, f)


@inline
def take_border(target, source, first, end, f):
    for j in range(first, end):
        if f.columns[j] < 0:
            fill_row(at(target, j * f.channels), f.channels, f.outside)
        else:
            copy_row(at(target, j * f.channels), at(source, f.columns[j] * f.channels), f.channels)


def gradient(task: Int, scratch: Reals, dy: Reals, d: Reals, f: Frame, band: Int, bands: Int):
    """Set d to the sum of what each value became, for a band of one image's input rows.

    scratch: two numbers for each value of a row of dy, and one for each of a row of d.
    """
    image, begin = task // bands, task % bands * band
    channels, size, count = f.channels, f.width * f.channels, f.out_width * f.channels
    lost, rest = at(scratch, count), at(scratch, 2 * count)
    for h in range(begin, min(begin + band, f.height)):
        target, first, end = at(d, (image * f.height + h) * size), f.begins[h], f.begins[h + 1]
        line = scratch
        if end - first == 1:
            line = at(dy, (image * f.out_height + f.order[first]) * count)
        else:
            zero_row(scratch, 2 * count)
            for k in range(first, end):
                carry(line, lost, at(dy, (image * f.out_height + f.order[k]) * count), count, real(1))
            settle(line, lost, count)
        zero_row(target, size)
        zero_row(rest, size)
        copy_row(at(target, f.run.inside * channels), at(line, f.run.out * channels), f.run.count * channels)
        give_border(target, rest, line, 0, f.run.out, f)
        give_border(target, rest, line, f.run.out + f.run.count, f.out_width, f)
        settle(target, rest, size)


@inline
def give_border(target, rest, line, first, end, f):
    for j in range(first, end):
        if f.columns[j] >= 0:
            place = f.columns[j] * f.channels
            carry(at(target, place), at(rest, place), at(line, j * f.channels), f.channels, real(1))


def along_time(task: Int, scratch: Reals, x: Reals, y: Reals, lengths: Ints, a: Around):
    """Set y to sequences with what stands before and after them, and to `outside` behind that."""
    for n in range(task * a.piece, min(a.samples, (task + 1) * a.piece)):
        source, target = at(x, n * a.places * a.features), at(y, n * a.made * a.features)
        begin, end = max(0, a.before), kept_until(lengths[n], a)
        copy_row(
            at(target, begin * a.features), at(source, (begin - a.before) * a.features), (end - begin) * a.features
        )
        take_places(target, source, 0, begin, lengths[n], a)
        take_places(target, source, end, a.made, lengths[n], a)


@inline
def kept_until(length, a):
    """Return the place of the result behind the last that is in the run that stands in the sequence."""
    return a.before + length + min(0, a.after)


@inline
def place_of(j, length, a):
    """Return which place of a sequence the place number j of the result is, outside of the run; -1 for none."""
    place, found = j - a.before, -1
    if place < length + a.after:
        if a.mode == REFLECT:
            found = -place if place < 0 else 2 * (length - 1) - place
        elif a.mode == REPLICATE:
            found = 0 if place < 0 else length - 1
        elif a.mode == CIRCULAR:
            found = place + length if place < 0 else place - length
    return found


@inline
def take_places(target, source, first, end, length, a):
    for j in range(first, end):
        place = place_of(j, length, a)
        if place < 0:
            fill_row(at(target, j * a.features), a.features, a.outside)
        else:
            copy_row(at(target, j * a.features), at(source, place * a.features), a.features)


def time_gradient(task: Int, scratch: Reals, dy: Reals, d: Reals, lengths: Ints, a: Around):
    """Set d to the sum of what each place of the sequences became.

    scratch: places * features numbers, what rounding takes from the sums.
    """
    size = a.places * a.features
    for n in range(task * a.piece, min(a.samples, (task + 1) * a.piece)):
        target, given = at(d, n * size), at(dy, n * a.made * a.features)
        begin, end = max(0, a.before), kept_until(lengths[n], a)
        zero_row(target, size)
        copy_row(at(target, (begin - a.before) * a.features), at(given, begin * a.features), (end - begin) * a.features)
        if a.mode != ZEROS:
            zero_row(scratch, size)
            give_places(target, scratch, given, 0, begin, lengths[n], a)
            give_places(target, scratch, given, end, a.made, lengths[n], a)
            settle(target, scratch, size)


@inline
def give_places(target, lost, given, first, end, length, a):
    for j in range(first, end):
        place = place_of(j, length, a)
        if place >= 0:
            start = place * a.features
            carry(at(target, start), at(lost, start), at(given, j * a.features), a.features, real(1))
