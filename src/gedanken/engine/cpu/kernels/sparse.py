"""Rows of which most numbers are 0, times a matrix; the gradient of the matrix, and its update, in the touched rows."""

from gedanken.engine.cpu.kernels.blocks import Rows
from gedanken.engine.cpu.kernels.cost import RowWeights, Targets, softmax_cross_entropy
from gedanken.engine.cpu.kernels.runs import (
    ATOMIC,
    EACH,
    SOFTMAX,
    Results,
    Run,
    begin,
    free_row,
    give_back,
    slope_of,
    subtract,
    take,
    take_row,
)
from gedanken.engine.cpu.language import (
    Bytes,
    Int,
    Int32s,
    Ints,
    Real,
    Reals,
    Record,
    at,
    byte,
    inline,
    lanes,
    noinline,
    prefetch,
    real,
    sqrt,
    times,
)


class Csr(Record):
    """Sparse rows: row n has values[k] in columns[k], begins[n] <= k < ends[n]."""

    begins: Ints
    ends: Ints
    columns: Int32s
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
    first = task * m.piece
    rows = min(m.piece, m.rows - first)
    part = Csr(begins=at(x.begins, first), ends=at(x.ends, first), columns=x.columns, values=x.values)
    score(part, kernel, bias, at(y, first * m.columns), rows, Width(units=m.columns, ahead=rows - 1))


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


def adagrad(task: Int, scratch: Reals, part: Part, squares: Reals, epsilon: Real, start: Real):
    """AdaGrad in the touched rows; elsewhere g is 0, and p and the sum of squares stay."""
    for i in range(part.count[0]):
        row = part.start + part.touched[i] * part.width
        p, g, s = at(part.p, row), at(part.g, row), at(squares, row)
        for j in lanes(part.width):
            square = s[j] + g[j] * g[j]
            s[j] = square
            p[j] -= part.rate * g[j] / (sqrt(square + start) + epsilon)


LINE, AHEAD = 16, 6  # numbers that are fetched at once; rows that are fetched ahead


class Weights(Record):
    """The parameters; in EACH's locks the bias comes behind the rows of the kernel, as number `features`."""

    kernel: Reals
    bias: Reals
    features: Int


def learn(task: Int, scratch: Reals, x: Csr, targets: Targets, w: Weights, penalty: Penalty, run: Run, told: Results):
    """Learn by SGD from mini-batches in a row; end before one whose scores are not finite.

    A gradient is never made: each number that is not 0 changes the weights that it was multiplied with.
    """
    first, done = 0, 0
    told.done[1] = 0
    while first < run.rows:
        rows = min(run.size, run.rows - first)
        part = Csr(begins=at(x.begins, first), ends=at(x.ends, first), columns=x.columns, values=x.values)
        scores = at(told.scores, first * run.units)
        ticket = begin(run)
        score(
            part, w.kernel, w.bias, scores, rows, Width(units=run.units, ahead=min(run.rows - first - 1, rows + AHEAD))
        )
        sound = all_finite(scores, rows * run.units)
        if sound:
            judge(scores, first, targets, run, told, rows)
        take(run, ticket)
        if sound:
            change(part, w, penalty, run, told, Piece(rows=rows, rate=told.rates[done]))
        give_back(run)
        if not sound:
            break
        done += 1
        first += rows
    told.done[0] = done


class Width(Record):
    """How many scores a row has, and the last row whose numbers may be fetched ahead."""

    units: Int
    ahead: Int


@inline
def fetch(x, row):
    """Begin to fetch a row's numbers: mini-batches are drawn from all over the memory."""
    for k in range(x.begins[row], x.ends[row], LINE):
        prefetch(x.columns, k)
        prefetch(x.values, k)


@noinline
def score(x, kernel, bias, scores, rows, width):
    """scores = x @ kernel + bias"""
    units = width.units
    for row in range(rows):
        if row + AHEAD <= width.ahead:
            fetch(x, row + AHEAD)
        if units == 1:
            scores[row] = bias[0] + dot(x, row, kernel)
        else:
            sums = at(scores, row * units)
            for unit in range(units):
                sums[unit] = bias[unit]
            for k in range(x.begins[row], x.ends[row]):
                value, weights = x.values[k], at(kernel, x.columns[k] * units)
                for unit in range(units):
                    sums[unit] += value * weights[unit]


@inline
def all_finite(values, count):
    """Return whether all of some numbers are."""
    wrong = real(0)
    for i in range(count):
        wrong += values[i] - values[i]
    return wrong == real(0)


@noinline
def judge(scores, first, targets, run, told, rows):
    """told.slopes = the gradient of a mini-batch's mean cost by its scores."""
    units, slopes = run.units, told.slopes
    if run.cost == SOFTMAX:
        mine = Targets(
            classes=at(targets.classes, first if targets.hard else 0),
            shares=at(targets.shares, 0 if targets.hard else first * units), hard=targets.hard,
            weights=targets.weights, kept=targets.kept, smoothing=targets.smoothing,
            counts=RowWeights(factors=targets.weights, given=0, divisor=real(rows)),
        )  # fmt: skip
        whole = Rows(rows=rows, columns=units, piece=rows)
        softmax_cross_entropy(0, slopes, scores, mine, told.shares, slopes, told.terms, whole)
    else:
        wanted = at(targets.shares, first * units)
        for i in range(rows * units):
            slopes[i] = slope_of(scores[i], wanted[i], run) / real(rows * units)


class Piece(Record):
    """One mini-batch of a run."""

    rows: Int
    rate: Real


@noinline
def change(x, w, penalty, run, told, piece):
    """weights -= rate * gradient, number by number."""
    if penalty.l2 > real(0):
        count_features(x, penalty, piece.rows)
    simple = run.units == 1 and run.mode != ATOMIC and run.mode != EACH and penalty.l2 == real(0)
    for row in range(piece.rows):
        slopes = at(told.slopes, row * run.units)
        if simple:
            change_row(x, row, w, times(piece.rate, slopes[0]))
        else:
            for k in range(x.begins[row], x.ends[row]):
                take_row(run, x.columns[k])
                change_feature(x.columns[k], x.values[k], slopes, w, penalty, ChangeOf(run=run, piece=piece, told=told))
                free_row(run, x.columns[k])
    take_row(run, w.features)
    for unit in range(run.units if run.biased else 0):
        total = real(0)
        for row in range(piece.rows):
            total += told.slopes[row * run.units + unit]
        subtract(w.bias, unit, times(piece.rate, total), run, told)
    free_row(run, w.features)


@inline
def count_features(x, penalty, rows):
    """Count the samples that have each feature."""
    for row in range(rows):
        for k in range(x.begins[row], x.ends[row]):
            penalty.seen[x.columns[k]] += real(1)
    penalty.seen[penalty.features] += real(rows)


@inline
def change_row(x, row, w, step):
    """weights -= step * x[row], of a single output; nothing where the step is 0, as for most rows of a hinge cost."""
    if step != real(0):
        for k in range(x.begins[row], x.ends[row]):
            w.kernel[x.columns[k]] -= times(step, x.values[k])


class ChangeOf(Record):
    """A change in the making."""

    run: Run
    piece: Piece
    told: Results


@inline
def change_feature(feature, value, slopes, w, penalty, c):
    """Change the weights of one feature for one row."""
    pull = real(0)
    if penalty.l2 > real(0):
        pull = penalty.l2 * penalty.seen[penalty.features] / (penalty.seen[feature] * real(c.piece.rows))
    for unit in range(c.run.units):
        place = feature * c.run.units + unit
        amount = times(times(c.piece.rate, slopes[unit]), value)
        if penalty.l2 > real(0):
            amount = amount + times(c.piece.rate, times(pull, w.kernel[place]))
        subtract(w.kernel, place, amount, c.run, c.told)
