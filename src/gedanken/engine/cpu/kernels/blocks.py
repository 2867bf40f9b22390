"""Copying, packing and turning of blocks of numbers."""

from gedanken.engine.cpu.language import (
    apart,
    at,
    helper,
    lanes,
    local_reals,
    narrow_rows,
    real,
    tile_columns,
    tile_rows,
    turn,
    vector_lanes,
)

LINE = 128  # numbers of a line that is summed at once


@helper
def tiles_in(n, size):
    return (n + size - 1) // size


@helper
def rows_of_tile(columns):
    """Return the most rows of a tile with so many columns."""
    return narrow_rows if columns <= vector_lanes else tile_rows


@helper
def vectors_of(n):
    """Return a count rounded up to whole vectors."""
    return tiles_in(n, vector_lanes) * vector_lanes


@helper
def copy_row(target, source, count):
    for i in lanes(count):
        target[i] = source[i]


@helper
def zero_row(target, count):
    for i in lanes(count):
        target[i] = real(0)


@apart
def pack_rows(packed, rows, n, count, pitch):
    """Copy n rows of `count` numbers, `pitch` apart, beside each other, each with room for tile_columns.

    Whole vectors are copied, but for the last rows, behind which there may be nothing. What a vector holds behind
    `count` goes into columns that nobody stores.
    """
    width = tiles_in(count, vector_lanes) * vector_lanes
    whole_rows = max(0, n - tiles_in(width - count, pitch))
    for row in range(whole_rows):
        for c in range(0, width, vector_lanes):
            copy_row(at(packed, row * tile_columns + c), at(rows, row * pitch + c), vector_lanes)
    for row in range(whole_rows, n):
        copy_row(at(packed, row * tile_columns), at(rows, row * pitch), count)


# Sums over rows. Of few channels some rows are summed side by side, since each sum by itself waits for the one before.


@helper
def rows_in_line(rows, channels):
    """Return how many rows are summed side by side."""
    return max(1, min(LINE // channels, rows))


@helper
def add_line(total, line, together, channels):
    for row in range(together):
        for c in lanes(channels):
            total[c] += line[row * channels + c]


@apart
def sum_rows(total, x, rows, channels):
    """total[c] += sum of x[row, c]"""
    together, line, begin = rows_in_line(rows, channels), local_reals(LINE), 0
    if together > 1:
        begin = rows - rows % together
        zero_row(line, together * channels)
        for row in range(0, begin, together):
            values = at(x, row * channels)
            for i in lanes(together * channels):
                line[i] += values[i]
        add_line(total, line, together, channels)
    for row in range(begin, rows):
        values = at(x, row * channels)
        for c in lanes(channels):
            total[c] += values[c]


@apart
def sum_products(total, a, x, mean, rows, channels, squared):
    """total[c] += sum of a[row, c] * (x[row, c] - mean[c]), or of the square of the latter"""
    together, line, means, begin = rows_in_line(rows, channels), local_reals(LINE), local_reals(LINE), 0
    if together > 1:
        begin = rows - rows % together
        zero_row(line, together * channels)
        for row in range(together):
            copy_row(at(means, row * channels), mean, channels)
        for row in range(0, begin, together):
            add_products(line, at(a, row * channels), at(x, row * channels), means, together * channels, squared)
        add_line(total, line, together, channels)
    for row in range(begin, rows):
        add_products(total, at(a, row * channels), at(x, row * channels), mean, channels, squared)


@helper
def add_products(total, a, x, mean, count, squared):
    if squared:
        for i in lanes(count):
            distance = x[i] - mean[i]
            total[i] += distance * distance
    else:
        for i in lanes(count):
            total[i] += a[i] * (x[i] - mean[i])


@apart
def turned(source, target, rows, columns, source_pitch, target_pitch):
    """target[column][row] = source[row][column], square by square; the last squares overlap those before them."""
    if rows >= vector_lanes and columns >= vector_lanes:
        for row in range(0, rows, vector_lanes):
            i = min(row, rows - vector_lanes)
            for column in range(0, columns, vector_lanes):
                j = min(column, columns - vector_lanes)
                turn(at(source, i * source_pitch + j), source_pitch, at(target, j * target_pitch + i), target_pitch)
    else:
        for j in range(columns):
            for i in range(rows):
                target[j * target_pitch + i] = source[i * source_pitch + j]


@apart
def gather(target, source, pixels, channels, pitch):
    """Copy pixels that are `pitch` apart beside each other, in whole vectors: the next pixel overwrites the surplus."""
    for pixel in range(pixels):
        for c in range(0, channels, vector_lanes):
            copy_row(at(target, pixel * channels + c), at(source, pixel * pitch + c), vector_lanes)


@apart
def scatter(target, source, pixels, channels, pitch):
    """Add pixels that lie beside each other to pixels that are `pitch` apart."""
    for pixel in range(pixels):
        there, here = at(target, pixel * pitch), at(source, pixel * channels)
        for c in range(channels):
            there[c] += here[c]
