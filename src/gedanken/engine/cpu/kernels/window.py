"""Where the windows of a convolution or pooling without a matrix product stand.

Output pixel (i, j) sees, at the window's row r and column s, the input pixel
h = i * down + r * by_row - top,   w = j * right + s * by_column - left
"""

from gedanken.engine.cpu.language import Int, Record, inline


class Window(Record):
    """The windows, and the bands of rows that an image is cut into."""

    height: Int
    width: Int
    channels: Int
    out_height: Int
    out_width: Int
    rows: Int  # of the window
    columns: Int
    down: Int
    right: Int
    top: Int
    left: Int
    by_row: Int
    by_column: Int
    band: Int  # rows of each band
    bands: Int  # of an image


@inline
def first_seen(window, s):
    """Return the first output column that sees an input column at the window's column s."""
    before = window.left - s * window.by_column
    return (before + window.right - 1) // window.right if before > 0 else 0


@inline
def last_seen(window, s):
    """Return the column after the last one that sees an input column there."""
    after = window.width - 1 + window.left - s * window.by_column
    last = after // window.right + 1 if after >= 0 else 0
    return max(first_seen(window, s), min(last, window.out_width))
