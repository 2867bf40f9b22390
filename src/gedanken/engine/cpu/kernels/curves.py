"""Activations that are met now and then; their derivatives are functions of the input."""

from gedanken.engine.cpu.kernels.functions import exponential, hyperbolic_tangent, sigmoid, softplus
from gedanken.engine.cpu.language import inline, lanes, noinline, real

GELU_TANH, SOFTPLUS, MISH, SOFTSIGN, HARD_SWISH, THRESHOLD, SHRINK, TANH_SHRINK = 9, 10, 11, 12, 13, 14, 15, 16
FAR = 25.0  # from where on the sigmoid in the approximation of GELU is 0 or 1


@inline
def near_0(x):
    """x, or the nearer end of the range where the approximation of GELU bends."""
    return min(max(x, real(-FAR)), real(FAR))


@inline
def bent(x):
    """sqrt(8 / pi) (x + 0.044715 x**3)"""
    return real(1.5957691216057308) * x * (real(1) + real(0.044715) * x * x)


@inline
def mish_share(x):
    """tanh(log(1 + e ** x))"""
    power = exponential(-abs(x))
    share = power * (power + real(2)) if x < real(0) else real(1) + real(2) * power
    return share / (share + (real(2) if x < real(0) else real(2) * power * power))


@inline
def lambert(x):
    """x - tanh(x) = x q / (1 + q) for |x| <= 1; q = x**2 / (3 + x**2 / (5 + ...)) is Lambert's fraction."""
    square = min(x * x, real(1))
    q = square / real(17)
    q = square / (real(15) + q)
    q = square / (real(13) + q)
    q = square / (real(11) + q)
    q = square / (real(9) + q)
    q = square / (real(7) + q)
    q = square / (real(5) + q)
    q = square / (real(3) + q)
    return x * (q / (real(1) + q))


@noinline
def activate_smoothly(x, y, count, activation):
    """y = f(x), for the kinds from GELU_TANH to SOFTSIGN."""
    if activation.kind == GELU_TANH:
        for i in lanes(count):
            y[i] = x[i] * sigmoid(bent(near_0(x[i])))
    elif activation.kind == SOFTPLUS:
        for i in lanes(count):
            y[i] = activation.slope * softplus(activation.rate * x[i])
    elif activation.kind == MISH:
        for i in lanes(count):
            y[i] = x[i] * mish_share(x[i])
    elif activation.kind == SOFTSIGN:
        for i in lanes(count):
            y[i] = x[i] / (real(1) + abs(x[i]))


@noinline
def activate_in_pieces(x, y, count, activation):
    """y = f(x), for the kinds from HARD_SWISH on."""
    if activation.kind == HARD_SWISH:
        for i in lanes(count):
            y[i] = x[i] * (min(max(x[i] + real(3), real(0)), real(6)) / real(6))
    elif activation.kind == THRESHOLD:
        for i in lanes(count):
            y[i] = activation.offset if x[i] <= activation.low else x[i]
    elif activation.kind == SHRINK:
        for i in lanes(count):
            moved = x[i] - activation.offset if x[i] > real(0) else x[i] + activation.offset
            y[i] = real(0) if abs(x[i]) <= activation.low else moved
    elif activation.kind == TANH_SHRINK:
        for i in lanes(count):
            y[i] = lambert(x[i]) if abs(x[i]) < real(1) else x[i] - hyperbolic_tangent(x[i])


@noinline
def smooth_derivative_row(d, x, count, activation):
    """d *= f'(x), for the kinds from GELU_TANH to SOFTSIGN."""
    if activation.kind == GELU_TANH:
        for i in lanes(count):
            near = near_0(x[i])
            q = sigmoid(bent(near))
            slope = real(1.5957691216057308) * (real(1) + real(0.134145) * near * near)
            d[i] *= q + near * slope * (q * (real(1) - q))
    elif activation.kind == SOFTPLUS:
        for i in lanes(count):
            d[i] *= activation.slope * activation.rate * sigmoid(activation.rate * x[i])
    elif activation.kind == MISH:
        for i in lanes(count):
            t = mish_share(x[i])
            d[i] *= t + x[i] * ((real(1) - t * t) * sigmoid(x[i]))
    elif activation.kind == SOFTSIGN:
        for i in lanes(count):
            share = real(1) / (real(1) + abs(x[i]))
            d[i] *= share * share


@noinline
def piecewise_derivative_row(d, x, count, activation):
    """d *= f'(x), for the kinds from HARD_SWISH on."""
    if activation.kind == HARD_SWISH:
        for i in lanes(count):
            middle = x[i] / real(3) + real(0.5)
            d[i] *= real(0) if x[i] <= real(-3) else (real(1) if x[i] >= real(3) else middle)
    elif activation.kind == THRESHOLD:
        for i in lanes(count):
            d[i] *= real(1) if x[i] > activation.low else real(0)
    elif activation.kind == SHRINK:
        for i in lanes(count):
            d[i] *= real(1) if abs(x[i]) > activation.low else real(0)
    elif activation.kind == TANH_SHRINK:
        for i in lanes(count):
            t = hyperbolic_tangent(x[i])
            d[i] *= t * t
