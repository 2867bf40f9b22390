"""Rows of which most numbers are 0, times a matrix; the gradient of the matrix, and its update, in the touched rows."""

from gedanken.engine.cpu.kernels.blocks import Rows
from gedanken.engine.cpu.language import Bytes, Int, Ints, Real, Reals, Record, at, byte, inline, lanes, real, sqrt


class Csr(Record):
    """Sparse rows: row n has values[k] in columns[k], begins[n] <= k < ends[n]."""

    begins: Ints
    ends: Ints
    columns: Ints
    values: Reals


class Touched(Record):
    """A matrix's gradient, 0 but in the `count[0]` rows that `touched` lists and `marks` has a 1 for."""

    array: Reals
    touched: Ints
    marks: Bytes
    count: Ints
    width: Int


class Penalty(Record):
    """l2 / 2 * |kernel|**2, by feature: seen[k] of the seen[features] samples had feature k."""

    l2: Real
    kernel: Reals
    seen: Reals
    features: Int


def forward(task: Int, scratch: Reals, x: Csr, kernel: Reals, bias: Reals, y: Reals, m: Rows):
    """y = x @ kernel + bias, for a piece of the rows."""
    for row in range(task * m.piece, min((task + 1) * m.piece, m.rows)):
        if m.columns == 1:
            y[row] = bias[0] + dot(x, row, kernel)
        else:
            sums = at(y, row * m.columns)
            for unit in lanes(m.columns):
                sums[unit] = bias[unit]
            for k in range(x.begins[row], x.ends[row]):
                value, weights = x.values[k], at(kernel, x.columns[k] * m.columns)
                for unit in lanes(m.columns):
                    sums[unit] += value * weights[unit]


@inline
def dot(x, row, vector):
    """Return the sum of a row's numbers times a vector's; four sums at once, so that none waits for the one before."""
    k, end = x.begins[row], x.ends[row]
    a, b, c, d = real(0), real(0), real(0), real(0)
    while k + 4 <= end:
        a += x.values[k] * vector[x.columns[k]]
        b += x.values[k + 1] * vector[x.columns[k + 1]]
        c += x.values[k + 2] * vector[x.columns[k + 2]]
        d += x.values[k + 3] * vector[x.columns[k + 3]]
        k += 4
    while k < end:
        a += x.values[k] * vector[x.columns[k]]
        k += 1
    return (a + b) + (c + d)


def gradient(task: Int, scratch: Reals, x: Csr, dy: Reals, g: Touched, bias: Reals, penalty: Penalty, rows: Int):
    """g = the gradient of the kernel, bias = that of the bias: one task, since any row may touch any feature."""
    clear(g)
    for unit in lanes(g.width):
        bias[unit] = real(0)
    if penalty.l2 > real(0):
        for row in range(rows):
            for k in range(x.begins[row], x.ends[row]):
                penalty.seen[x.columns[k]] += real(1)
        penalty.seen[penalty.features] += real(rows)
    for row in range(rows):
        slopes = at(dy, row * g.width)
        for unit in lanes(g.width):
            bias[unit] += slopes[unit]
        for k in range(x.begins[row], x.ends[row]):
            add_row(x.columns[k], x.values[k], slopes, g)
            if penalty.l2 > real(0):
                shrink(x.columns[k], g, penalty, rows)


@inline
def add_row(feature, value, slopes, g):
    """Add value * slopes to a row of the gradient, which is touched from now on."""
    if g.marks[feature] == 0:
        g.marks[feature] = byte(1)
        g.touched[g.count[0]] = feature
        g.count[0] += 1
    sums = at(g.array, feature * g.width)
    for unit in lanes(g.width):
        sums[unit] += value * slopes[unit]


@inline
def shrink(feature, g, penalty, rows):
    """Add what the penalty gives for one sample that has a feature."""
    pull = penalty.l2 * penalty.seen[penalty.features] / (penalty.seen[feature] * real(rows))
    sums, weights = at(g.array, feature * g.width), at(penalty.kernel, feature * g.width)
    for unit in lanes(g.width):
        sums[unit] += pull * weights[unit]


@inline
def clear(g):
    """Make a gradient zero."""
    for i in range(g.count[0]):
        row = g.touched[i]
        g.marks[row] = byte(0)
        sums = at(g.array, row * g.width)
        for unit in lanes(g.width):
            sums[unit] = real(0)
    g.count[0] = 0


class Part(Record):
    """The touched rows of a matrix that begins at number `start` of the flat vectors p and g."""

    p: Reals
    g: Reals
    start: Int
    width: Int
    touched: Ints
    count: Ints
    rate: Real


def sgd(task: Int, scratch: Reals, part: Part):
    """p -= rate * g in the touched rows; elsewhere g is 0 and p stays."""
    for i in range(part.count[0]):
        row = part.start + part.touched[i] * part.width
        p, g = at(part.p, row), at(part.g, row)
        for j in lanes(part.width):
            p[j] -= part.rate * g[j]


def adagrad(task: Int, scratch: Reals, part: Part, squares: Reals, epsilon: Real):
    """AdaGrad in the touched rows; elsewhere g is 0, and p and the sum of squares stay."""
    for i in range(part.count[0]):
        row = part.start + part.touched[i] * part.width
        p, g, s = at(part.p, row), at(part.g, row), at(squares, row)
        for j in lanes(part.width):
            square = s[j] + g[j] * g[j]
            s[j] = square
            p[j] -= part.rate * g[j] / (sqrt(square) + epsilon)
