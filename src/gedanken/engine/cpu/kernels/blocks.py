"""Copying, packing and turning of blocks of numbers."""

from gedanken.engine.cpu.language import (
    at,
    helper,
    lanes,
    narrow_rows,
    real,
    tile_columns,
    tile_rows,
    turn,
    vector_lanes,
)


@helper
def tiles_in(n, size):
    return (n + size - 1) // size


@helper
def rows_of_tile(columns):
    """Return the most rows of a tile with so many columns."""
    return narrow_rows if columns <= vector_lanes else tile_rows


@helper
def copy_row(target, source, count):
    for i in lanes(count):
        target[i] = source[i]


@helper
def zero_row(target, count):
    for i in lanes(count):
        target[i] = real(0)


@helper
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


@helper
def add_to(target, values, count):
    for i in lanes(count):
        target[i] += values[i]


@helper
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


@helper
def gather(target, source, pixels, channels, pitch):
    """Copy pixels that are `pitch` apart beside each other, in whole vectors: the next pixel overwrites the surplus."""
    for pixel in range(pixels):
        for c in range(0, channels, vector_lanes):
            copy_row(at(target, pixel * channels + c), at(source, pixel * pitch + c), vector_lanes)


@helper
def scatter(target, source, pixels, channels, pitch):
    """Add pixels that lie beside each other to pixels that are `pitch` apart."""
    for pixel in range(pixels):
        there, here = at(target, pixel * pitch), at(source, pixel * channels)
        for c in range(channels):
            there[c] += here[c]
