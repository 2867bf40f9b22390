"""Where the windows of a convolution or pooling without a matrix product stand.

Output pixel (i, j) sees, at the window's row r and column s, the input pixel
h = i * down + r * by_row - top,   w = j * right + s * by_column - left
"""

from gedanken.engine.cpu.language import helper

# Places in the shape table.
HEIGHT, WIDTH, CHANNELS, OUT_HEIGHT, OUT_WIDTH, ROWS, COLUMNS = 0, 1, 2, 3, 4, 5, 6
DOWN, RIGHT, TOP, LEFT, BY_ROW, BY_COLUMN = 7, 8, 9, 10, 11, 12


@helper
def first_seen(shape, s):
    """Return the first output column that sees an input column at the window's column s."""
    before = shape[LEFT] - s * shape[BY_COLUMN]
    return (before + shape[RIGHT] - 1) // shape[RIGHT] if before > 0 else 0


@helper
def last_seen(shape, s):
    """Return the column after the last one that sees an input column there."""
    after = shape[WIDTH] - 1 + shape[LEFT] - s * shape[BY_COLUMN]
    last = after // shape[RIGHT] + 1 if after >= 0 else 0
    return max(first_seen(shape, s), min(last, shape[OUT_WIDTH]))
