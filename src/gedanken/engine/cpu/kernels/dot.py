"""Two ways through a container that meet in one number: the product of their channels, or the cosine between them."""

from gedanken.engine.cpu.kernels.blocks import Rows, sum_of, sum_of_squares
from gedanken.engine.cpu.language import Int, Reals, at, lanes, noinline, real, sqrt

LEAST = 1e-8  # length, as of layers.merges


@noinline
def product(x, y, size, far, terms, columns):
    """Return the sum of (x / size) * (y / far)."""
    for c in lanes(columns):
        terms[c] = (x[c] / size) * (y[c] / far)
    return sum_of(terms, columns, real(1))


def forward(task: Int, scratch: Reals, x: Reals, y: Reals, z: Reals, cosine: Int, m: Rows):
    """z = x . y, or that of both divided by their lengths; a task is some rows.   scratch: columns numbers."""
    for row in range(task * m.piece, min((task + 1) * m.piece, m.rows)):
        one, other, size, far = at(x, row * m.columns), at(y, row * m.columns), real(1), real(1)
        if cosine:
            size = max(sqrt(sum_of_squares(one, m.columns)), real(LEAST))
            far = max(sqrt(sum_of_squares(other, m.columns)), real(LEAST))
        z[row] = product(one, other, size, far, scratch, m.columns)


def gradient(task: Int, scratch: Reals, x: Reals, y: Reals, dz: Reals, dx: Reals, cosine: Int, m: Rows):
    """dx = dz * y, or with lengths dz * (y / |y| - cosine * x / |x|) / |x|.   scratch: columns numbers."""
    for row in range(task * m.piece, min((task + 1) * m.piece, m.rows)):
        one, other, out = at(x, row * m.columns), at(y, row * m.columns), at(dx, row * m.columns)
        if cosine:
            long, far = sqrt(sum_of_squares(one, m.columns)), sqrt(sum_of_squares(other, m.columns))
            size, far = max(long, real(LEAST)), max(far, real(LEAST))
            turning = product(one, other, size, far, scratch, m.columns)
            turning = real(0) if long <= real(LEAST) else turning
            for c in lanes(m.columns):
                out[c] = dz[row] * (other[c] / far - turning * (one[c] / size)) / size
        else:
            for c in lanes(m.columns):
                out[c] = dz[row] * other[c]
