"""Functions of single numbers, to a few units in the last place: powers of e, logarithms, and what is made of them."""

from gedanken.engine.cpu.language import exp2i, exponent, inline, lowest_power, real, single


@inline
def exponential(x):
    """e ** x for x <= 0, to a few units in the last place: 2 ** n e ** r with x = n log(2) + r, |r| <= log(2) / 2."""
    # exp2i has no exponent for less. A NaN stays one: max gives the first of its arguments.
    inside = max(x, real(lowest_power))
    n = round(inside * real(1.4426950408889634))
    value = exp2i(n) * (real(1) + series(remainder(inside, n)))
    return real(0) if x < real(lowest_power) else value


@inline
def power_of_e(x):
    """e ** x for any x: the square of what half of it gives, which has an exponent wherever the result has one."""
    half = exponential(abs(x) * real(-0.5))
    return half * half if x < real(0) else (real(1) / half) / half


@inline
def exponential_less_1(x):
    """e ** x - 1 for x <= 0: (2 ** n - 1) + 2 ** n (e ** r - 1), so that small results keep their digits."""
    x = max(x, real(lowest_power))
    n = round(x * real(1.4426950408889634))
    return (exp2i(n) - real(1)) + exp2i(n) * series(remainder(x, n))


# log(2) in two parts; the first has 15 bits, so that its product with an exponent is exact.
MOST_OF_LOG_2, REST_OF_LOG_2 = 0.693145751953125, 1.4286068203094172e-06


@inline
def remainder(x, n):
    """x - n log(2)"""
    return x - n * real(MOST_OF_LOG_2) - n * real(REST_OF_LOG_2)


@inline
def series(r):
    """e ** r - 1 by its Taylor series, for |r| <= log(2) / 2, as many terms as the number type has digits for."""
    total = real(1 / 40320) if single else terms_long(r)
    total = total * r + real(1 / 5040)
    total = total * r + real(1 / 720)
    total = total * r + real(1 / 120)
    total = total * r + real(1 / 24)
    total = total * r + real(1 / 6)
    total = total * r + real(1 / 2)
    return (total * r + real(1)) * r


@inline
def terms_long(r):
    """The terms from r ** 8 on, less that factor, to the digits of float64."""
    total = real(1 / 6227020800)
    total = total * r + real(1 / 479001600)
    total = total * r + real(1 / 39916800)
    total = total * r + real(1 / 3628800)
    total = total * r + real(1 / 362880)
    return total * r + real(1 / 40320)


@inline
def hyperbolic_tangent(x):
    """(1 - e ** -2a) / (1 + e ** -2a) for a = |x|, with the sign of x; small results keep their digits."""
    power = exponential_less_1(real(-2) * abs(x))
    size = -power / (real(2) + power)
    return -size if x < real(0) else size


@inline
def sigmoid(x):
    """1 / (1 + e ** -x); small results keep their digits."""
    power = exponential(-abs(x))
    return (power if x < real(0) else real(1)) / (real(1) + power)


# The share of a normal distribution above a >= 0 is exp(-a * a / 2) * W(a), where
# W(a) = 1 / sqrt(2 pi) * integral over s >= 0 of exp(-s * s / 2 - a * s)
# has no steep part: (a + 4) * W(a) is a short polynomial of t = (a - 4) / (a + 4). The coefficients are those of its
# Chebyshev interpolation, the integral taken by Gauss's rule, up to FARTHEST or, for float32, up to a = 13.5: beyond,
# the exponential is nothing. So even the smallest shares keep their digits.
FARTHEST = 38.0


@inline
def bell(x):
    """exp(-x * x / 2)"""
    a = min(abs(x), real(FARTHEST))
    return exponential(a * a * real(-0.5))


@inline
def share_below(x, height):
    """The share of a normal distribution below x, given height = bell(x)."""
    a = min(abs(x), real(FARTHEST))
    part = real(1) / (a + real(4))
    t = (a - real(4)) * part
    above = height * part * (tail_short(t) if single else tail_long(t))
    return above if x < real(0) else real(1) - above


@inline
def tail_short(t):
    """To the digits of float32."""
    total = real(0.000457604511)
    total = total * t + real(0.00165412667)
    total = total * t + real(-0.00366047168)
    total = total * t + real(-0.00760125084)
    total = total * t + real(0.0604282681)
    total = total * t + real(-0.186509599)
    total = total * t + real(0.387135513)
    total = total * t + real(-0.607897185)
    return total * t + real(0.755285151)


@inline
def tail_long(t):
    """To the digits of float64."""
    total = real(-4.1838392358544216e-08)
    total = total * t + real(-1.0868668204223654e-07)
    total = total * t + real(2.2530561422534075e-07)
    total = total * t + real(9.6015648624828997e-07)
    total = total * t + real(-6.0148059918022882e-07)
    total = total * t + real(-5.8762983550580345e-06)
    total = total * t + real(7.0603377440527732e-07)
    total = total * t + real(3.5126169212370111e-05)
    total = total * t + real(-1.9055566968932624e-06)
    total = total * t + real(-0.0002310902487242777)
    total = total * t + real(0.00013334380673913772)
    total = total * t + real(0.0016308177709651944)
    total = total * t + real(-0.0034796922979147514)
    total = total * t + real(-0.0075401889137591003)
    total = total * t + real(0.060396574885168273)
    total = total * t + real(-0.18652185796140994)
    total = total * t + real(0.3871374007424126)
    total = total * t + real(-0.60789664197187776)
    return total * t + real(0.75528513041575063)


@inline
def logarithm(x):
    """log(x) for a normal x > 0, an infinity or a NaN: n log(2) + log(m) with x = 2 ** n m and m near 1."""
    n = exponent(x)
    m = x * exp2i(real(1) - n) * real(0.5)  # 2 ** -n alone may have no exponent
    far = m > real(1.4142135623730951)
    near, power = m * real(0.5) if far else m, n + real(1) if far else n
    value = power * real(MOST_OF_LOG_2) + (power * real(REST_OF_LOG_2) + logarithm_near_1(near))
    return value if x - x == real(0) else x


@inline
def logarithm_of_any_more(x):
    """log(1 + x) for x >= 0: what 1 + x is rounded by is made good; small results keep their digits."""
    more = real(1) + x
    value = logarithm(more) + (x - (more - real(1))) / more
    return value if x - x == real(0) else x


@inline
def logarithm_of_1_more(x):
    """log(1 + x) for 0 <= x <= 1; small results keep their digits."""
    return logarithm_series(x / (real(2) + x))


@inline
def logarithm_near_1(x):
    """log(x) for 1 / 2 <= x <= 2"""
    return logarithm_series((x - real(1)) / (x + real(1)))


@inline
def logarithm_series(part):
    """2 artanh(part), the logarithm of (1 + part) / (1 - part), for |part| <= 1 / 3, by its Taylor series."""
    square = part * part
    total = real(1 / 31)
    total = total * square + real(1 / 29)
    total = total * square + real(1 / 27)
    total = total * square + real(1 / 25)
    total = total * square + real(1 / 23)
    total = total * square + real(1 / 21)
    total = total * square + real(1 / 19)
    total = total * square + real(1 / 17)
    total = total * square + real(1 / 15)
    total = total * square + real(1 / 13)
    total = total * square + real(1 / 11)
    total = total * square + real(1 / 9)
    total = total * square + real(1 / 7)
    total = total * square + real(1 / 5)
    total = total * square + real(1 / 3)
    return real(2) * part * (total * square + real(1))


@inline
def softplus(x):
    """log(1 + e ** x); small results keep their digits."""
    return max(x, real(0)) + logarithm_of_1_more(exponential(-abs(x)))
