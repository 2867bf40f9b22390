"""Optimizers: clipping, weight decay and the rule itself in one pass over the flat vectors.

A task is a piece of them. `factor[0]` shortens a gradient that is too long, see `shorten`; the first `decayed`
numbers are under weight decay: `penalty` is a part of the gradient, `decay` stands beside it. A share near 1 comes as
its rounded value, as what rounding took from it, and as what it lacks to 1, all from float64: see `moved`.
"""

from gedanken.engine.cpu.kernels.blocks import sum_of, sum_of_squares
from gedanken.engine.cpu.language import Int, Real, Reals, Record, at, inline, lanes, noinline, real, sqrt

NORM_PIECE = 4096  # numbers whose squares are added up by one task


def square_sums(task: Int, scratch: Reals, g: Reals, size: Int, limit: Real, partial: Reals):
    """partial[task] = the largest |g| of a piece, and the sum of (g / that)**2, so that nothing overflows.

    scratch: NORM_PIECE numbers.
    """
    begin = task * NORM_PIECE
    values = at(g, begin)
    count = min(NORM_PIECE, size - begin)
    largest = real(0)
    for i in range(count):
        largest = max(largest, abs(held(values[i], limit)))
    partial[2 * task] = largest
    partial[2 * task + 1] = real(0)
    if largest > real(0):
        for i in lanes(count):
            scratch[i] = held(values[i], limit) / largest
        partial[2 * task + 1] = sum_of_squares(scratch, count)


def shorten(task: Int, scratch: Reals, partial: Reals, pieces: Int, longest: Real, factor: Reals):
    """factor[0] = longest / |g| where |g| is more than that, else 1. scratch: a number for each piece."""
    norm = length_of(partial, pieces, scratch)
    factor[0] = longest / norm if norm > longest else real(1)


@noinline
def length_of(partial, pieces, room):
    """Return the length of a vector of what `square_sums` found. room: a number for each piece."""
    largest = real(0)
    for i in range(pieces):
        largest = max(largest, partial[2 * i])
    norm = real(0)
    if largest > real(0):
        for i in range(pieces):
            share = partial[2 * i] / largest
            room[i] = partial[2 * i + 1] * share * share
        norm = largest * sqrt(sum_of(room, pieces, real(1)))
    return norm


class Update(Record):
    """What every rule takes: the vectors p and g, the task's share of them, clipping, and the step that is made."""

    p: Reals
    g: Reals
    size: Int
    piece: Int
    decayed: Int
    penalty: Real
    decay: Real
    limit: Real
    factor: Reals
    rate: Real


class Kept(Record):
    """A share near 1: rounded, what rounding took from it, and what it lacks to 1."""

    share: Real
    less: Real
    rest: Real


class Moment(Record):
    """A moving mean: its values, what is kept of it, and the share of it that was seen, 1 - kept**t."""

    values: Reals
    kept: Kept
    seen: Real


@inline
def moved(mean, kept, taken, value):
    """Return kept * mean + taken * value: a moving mean whose two shares keep their digits."""
    return kept.share * mean + (taken * value + kept.less * mean)


@inline
def held(value, limit):
    """Cut a value to [-limit, limit]; NaN stays NaN."""
    value = limit if value > limit else value
    return -limit if value < -limit else value


@inline
def pulled(u, times, slope, weight, inside):
    """Return the gradient that a rule sees, cut and shortened; where weight decay is a part of it, with the penalty."""
    return held(slope, u.limit) * times + (u.penalty if inside else real(0)) * weight


@inline
def left(u, weight, inside):
    """Return a weight less what weight decay beside the step takes from it."""
    return weight - u.rate * (u.decay if inside else real(0)) * weight


def sgd(task: Int, scratch: Reals, u: Update):
    begin, times = task * u.piece, u.factor[0]
    count, under = min(u.piece, u.size - begin), u.decayed - begin
    x, d = at(u.p, begin), at(u.g, begin)
    for i in lanes(count):
        x[i] -= u.rate * pulled(u, times, d[i], x[i], i < under)


def momentum(task: Int, scratch: Reals, u: Update, velocity: Reals, kept: Kept, ahead: Int):
    begin, times = task * u.piece, u.factor[0]
    count, under = min(u.piece, u.size - begin), u.decayed - begin
    x, d, v = at(u.p, begin), at(u.g, begin), at(velocity, begin)
    for i in lanes(count):
        change = u.rate * pulled(u, times, d[i], x[i], i < under)
        speed = moved(v[i], kept, real(-1), change)
        v[i] = speed
        x[i] = left(u, x[i], i < under) + (kept.share * speed - change if ahead else speed)


def adagrad(task: Int, scratch: Reals, u: Update, squares: Reals, epsilon: Real, start: Real):
    begin, times = task * u.piece, u.factor[0]
    count, under = min(u.piece, u.size - begin), u.decayed - begin
    x, d, h = at(u.p, begin), at(u.g, begin), at(squares, begin)
    for i in lanes(count):
        gradient = pulled(u, times, d[i], x[i], i < under)
        total = h[i] + gradient * gradient
        h[i] = total
        x[i] = left(u, x[i], i < under) - u.rate * gradient / (sqrt(total + start) + epsilon)


@inline
def square_of(h, kept, gradient):
    """Return the moving mean of the squares."""
    return moved(h, kept, kept.rest * gradient, gradient)


@inline
def variance_of(h, kept, off):
    """Return the moving variance; `off` is how far a gradient is from the mean before it."""
    return moved(h, kept, kept.share * kept.rest * off, off)


def rmsprop(task: Int, scratch: Reals, u: Update, squares: Reals, kept: Kept, epsilon: Real):
    begin, times = task * u.piece, u.factor[0]
    count, under = min(u.piece, u.size - begin), u.decayed - begin
    x, d, h = at(u.p, begin), at(u.g, begin), at(squares, begin)
    for i in lanes(count):
        gradient = pulled(u, times, d[i], x[i], i < under)
        total = square_of(h[i], kept, gradient)
        h[i] = total
        x[i] = left(u, x[i], i < under) - u.rate * gradient / (sqrt(total) + epsilon)


def rmsprop_moving(
    task: Int, scratch: Reals, u: Update, squares: Reals, velocity: Reals, kept: Kept, going: Kept, epsilon: Real
):
    """With momentum; going: what is kept of the velocity."""
    begin, times = task * u.piece, u.factor[0]
    count, under = min(u.piece, u.size - begin), u.decayed - begin
    x, d, h, v = at(u.p, begin), at(u.g, begin), at(squares, begin), at(velocity, begin)
    for i in lanes(count):
        gradient = pulled(u, times, d[i], x[i], i < under)
        total = square_of(h[i], kept, gradient)
        h[i] = total
        speed = moved(v[i], going, real(-1), u.rate * gradient / (sqrt(total) + epsilon))
        v[i] = speed
        x[i] = left(u, x[i], i < under) + speed


def rmsprop_centred(task: Int, scratch: Reals, u: Update, squares: Reals, mean: Reals, kept: Kept, epsilon: Real):
    begin, times = task * u.piece, u.factor[0]
    count, under = min(u.piece, u.size - begin), u.decayed - begin
    x, d, h, m = at(u.p, begin), at(u.g, begin), at(squares, begin), at(mean, begin)
    for i in lanes(count):
        gradient = pulled(u, times, d[i], x[i], i < under)
        total = variance_of(h[i], kept, gradient - m[i])
        h[i] = total
        m[i] = moved(m[i], kept, kept.rest, gradient)
        x[i] = left(u, x[i], i < under) - u.rate * gradient / (sqrt(total) + epsilon)


class Centred(Record):
    """The moving variance of a gradient and its moving mean."""

    squares: Reals
    mean: Reals
    kept: Kept


def rmsprop_centred_moving(
    task: Int, scratch: Reals, u: Update, centred: Centred, velocity: Reals, going: Kept, epsilon: Real
):
    begin, times = task * u.piece, u.factor[0]
    count, under = min(u.piece, u.size - begin), u.decayed - begin
    x, d, v = at(u.p, begin), at(u.g, begin), at(velocity, begin)
    h, m = at(centred.squares, begin), at(centred.mean, begin)
    for i in lanes(count):
        gradient = pulled(u, times, d[i], x[i], i < under)
        total = variance_of(h[i], centred.kept, gradient - m[i])
        h[i] = total
        m[i] = moved(m[i], centred.kept, centred.kept.rest, gradient)
        speed = moved(v[i], going, real(-1), u.rate * gradient / (sqrt(total) + epsilon))
        v[i] = speed
        x[i] = left(u, x[i], i < under) + speed


def adadelta(task: Int, scratch: Reals, u: Update, squares: Reals, changes: Reals, kept: Kept, epsilon: Real):
    begin, times = task * u.piece, u.factor[0]
    count, under = min(u.piece, u.size - begin), u.decayed - begin
    x, d, h, c = at(u.p, begin), at(u.g, begin), at(squares, begin), at(changes, begin)
    for i in lanes(count):
        gradient = pulled(u, times, d[i], x[i], i < under)
        total = square_of(h[i], kept, gradient)
        h[i] = total
        change = sqrt(c[i] + epsilon) / sqrt(total + epsilon) * gradient
        c[i] = square_of(c[i], kept, change)
        x[i] = left(u, x[i], i < under) - u.rate * change


def adam(task: Int, scratch: Reals, u: Update, mean: Moment, square: Moment, epsilon: Real):
    """Adam and AdamW, and Muon's rule for vectors."""
    begin, times = task * u.piece, u.factor[0]
    count, under = min(u.piece, u.size - begin), u.decayed - begin
    x, d, m, v = at(u.p, begin), at(u.g, begin), at(mean.values, begin), at(square.values, begin)
    per_mean, per_square = real(1) / mean.seen, real(1) / square.seen
    for i in lanes(count):
        gradient = pulled(u, times, d[i], x[i], i < under)
        first = moved(m[i], mean.kept, mean.kept.rest, gradient)
        second = square_of(v[i], square.kept, gradient)
        m[i] = first
        v[i] = second
        share = u.decay if i < under else real(0)
        x[i] -= u.rate * (first * per_mean / (sqrt(second * per_square) + epsilon) + share * x[i])


def amsgrad(task: Int, scratch: Reals, u: Update, mean: Moment, square: Moment, highest: Reals, epsilon: Real):
    """Adam and AdamW by the highest mean square so far."""
    begin, times = task * u.piece, u.factor[0]
    count, under = min(u.piece, u.size - begin), u.decayed - begin
    x, d, top = at(u.p, begin), at(u.g, begin), at(highest, begin)
    m, v = at(mean.values, begin), at(square.values, begin)
    per_mean, per_square = real(1) / mean.seen, real(1) / square.seen
    for i in lanes(count):
        gradient = pulled(u, times, d[i], x[i], i < under)
        first = moved(m[i], mean.kept, mean.kept.rest, gradient)
        second = square_of(v[i], square.kept, gradient)
        m[i] = first
        v[i] = second
        largest = max(top[i], second)
        top[i] = largest
        share = u.decay if i < under else real(0)
        x[i] -= u.rate * (first * per_mean / (sqrt(largest * per_square) + epsilon) + share * x[i])


def adamax(task: Int, scratch: Reals, u: Update, mean: Moment, largest: Reals, kept: Kept, epsilon: Real):
    begin, times = task * u.piece, u.factor[0]
    count, under = min(u.piece, u.size - begin), u.decayed - begin
    x, d, m, top = at(u.p, begin), at(u.g, begin), at(mean.values, begin), at(largest, begin)
    rate = u.rate / mean.seen
    for i in lanes(count):
        gradient = pulled(u, times, d[i], x[i], i < under)
        first = moved(m[i], mean.kept, mean.kept.rest, gradient)
        m[i] = first
        size = max(moved(top[i], kept, real(0), gradient), abs(gradient) + epsilon)
        top[i] = size
        x[i] = left(u, x[i], i < under) - rate * first / size


class Lead(Record):
    """What NAdam takes of the moving mean, and what of the gradient itself."""

    ahead: Real
    direct: Real


def nadam(task: Int, scratch: Reals, u: Update, mean: Moment, square: Moment, epsilon: Real, lead: Lead):
    begin, times = task * u.piece, u.factor[0]
    count, under = min(u.piece, u.size - begin), u.decayed - begin
    x, d, m, v = at(u.p, begin), at(u.g, begin), at(mean.values, begin), at(square.values, begin)
    along, per_square = lead.ahead / mean.seen, real(1) / square.seen
    for i in lanes(count):
        gradient = pulled(u, times, d[i], x[i], i < under)
        first = moved(m[i], mean.kept, mean.kept.rest, gradient)
        second = square_of(v[i], square.kept, gradient)
        m[i] = first
        v[i] = second
        step = (along * first + lead.direct * gradient) / (sqrt(second * per_square) + epsilon)
        share = u.decay if i < under else real(0)
        x[i] -= u.rate * (step + share * x[i])


def radam(task: Int, scratch: Reals, u: Update, mean: Moment, square: Moment, epsilon: Real, trust: Real):
    """trust: of the mean square; 0 where it is not divided by."""
    begin, times = task * u.piece, u.factor[0]
    count, under = min(u.piece, u.size - begin), u.decayed - begin
    x, d, m, v = at(u.p, begin), at(u.g, begin), at(mean.values, begin), at(square.values, begin)
    per_mean, scale = real(1) / mean.seen, trust * sqrt(square.seen)
    for i in lanes(count):
        gradient = pulled(u, times, d[i], x[i], i < under)
        first = moved(m[i], mean.kept, mean.kept.rest, gradient)
        second = square_of(v[i], square.kept, gradient)
        m[i] = first
        v[i] = second
        divided = scale / (sqrt(second) + epsilon) if trust > real(0) else real(1)
        share = u.decay if i < under else real(0)
        x[i] -= u.rate * (first * per_mean * divided + share * x[i])


def lion(task: Int, scratch: Reals, u: Update, mean: Reals, turning: Kept, kept: Kept):
    """turning: of the mean in the step's direction; kept: of the mean itself."""
    begin, times = task * u.piece, u.factor[0]
    count, under = min(u.piece, u.size - begin), u.decayed - begin
    x, d, m = at(u.p, begin), at(u.g, begin), at(mean, begin)
    for i in lanes(count):
        gradient = held(d[i], u.limit) * times
        direction = moved(m[i], turning, turning.rest, gradient)
        sign = real(1) if direction > real(0) else direction
        sign = real(-1) if direction < real(0) else sign
        share = u.decay if i < under else real(0)
        x[i] -= u.rate * (sign + share * x[i])
        m[i] = moved(m[i], kept, kept.rest, gradient)


def lamb(task: Int, scratch: Reals, u: Update, mean: Moment, square: Moment, epsilon: Real, change: Reals):
    """change = Adam's direction and weight decay; `step_by_trust` makes the step."""
    begin, times = task * u.piece, u.factor[0]
    count, under = min(u.piece, u.size - begin), u.decayed - begin
    x, d, m, v = at(u.p, begin), at(u.g, begin), at(mean.values, begin), at(square.values, begin)
    per_mean, per_square, made = real(1) / mean.seen, real(1) / square.seen, at(change, begin)
    for i in lanes(count):
        gradient = pulled(u, times, d[i], x[i], i < under)
        first = moved(m[i], mean.kept, mean.kept.rest, gradient)
        second = square_of(v[i], square.kept, gradient)
        m[i] = first
        v[i] = second
        share = u.decay if i < under else real(0)
        made[i] = first * per_mean / (sqrt(second * per_square) + epsilon) + share * x[i]


def trust(task: Int, scratch: Reals, of_p: Reals, of_change: Reals, pieces: Int, ratio: Reals):
    """ratio[0] = |p| / |change|, 1 where one of them is 0; both as square_sums.   scratch: a number for each piece."""
    length, step = length_of(of_p, pieces, scratch), length_of(of_change, pieces, scratch)
    ratio[0] = length / step if length > real(0) and step > real(0) else real(1)


def step_by_trust(task: Int, scratch: Reals, u: Update, change: Reals, ratio: Reals):
    begin, rate = task * u.piece, u.rate * ratio[0]
    x, made = at(u.p, begin), at(change, begin)
    for i in lanes(min(u.piece, u.size - begin)):
        x[i] -= rate * made[i]


class Pace(Record):
    """By what the size of a step shrinks and grows, and its bounds."""

    shrink: Real
    grow: Real
    lowest: Real
    highest: Real


def rprop(task: Int, scratch: Reals, u: Update, last: Reals, size: Reals, pace: Pace):
    """last: signs of the last gradients, 0 where one had changed."""
    begin, times = task * u.piece, u.factor[0]
    count, under = min(u.piece, u.size - begin), u.decayed - begin
    x, d, before, steps = at(u.p, begin), at(u.g, begin), at(last, begin), at(size, begin)
    for i in lanes(count):
        gradient = pulled(u, times, d[i], x[i], i < under)
        sign = real(1) if gradient > real(0) else gradient
        sign = real(-1) if gradient < real(0) else sign
        turned = sign * before[i]
        change = pace.grow if turned > real(0) else real(1)
        change = pace.shrink if turned < real(0) else change
        length = change if steps[i] == real(0) else steps[i] * change
        length = min(max(length, pace.lowest), pace.highest)
        sign = real(0) if turned < real(0) else sign
        steps[i] = length
        before[i] = sign
        x[i] -= u.rate * length * sign
