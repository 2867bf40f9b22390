"""Smooth activations beside the usual ones, and PReLU, whose slope is trained."""

from dataclasses import dataclass
from typing import Any

from gedanken.checks import real, truth
from gedanken.errors import ShapeError
from gedanken.init import Constant, Initializer, check_initializers
from gedanken.layers.activations import Activation
from gedanken.layers.base import ByPlace, Context, Param
from gedanken.ops import Ops
from gedanken.types import Array, Arrays, Shape

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


@dataclass(frozen=True, eq=False, repr=False)
class PReLU(ByPlace):
    """Keep what is positive and a trained fraction of what is not.

        y = x where x > 0, else slope * x
        dslope = sum of dy * x where x <= 0,   dx = dy where x > 0, else slope * dy

    Args:
        shared: whether all channels have one slope; else each has its own.
        init: first values of the slopes.

    Shapes:
        x, y: (N, ..., C).   slope: (C,), or (1,) where it is shared.

    Raises:
        ShapeError: the input has no channel axis (at compile time).

    Source:
        He et al. 2015, arXiv:1502.01852, section 2.1.
    """

    shared: bool = False
    init: Initializer = Constant(0.25)

    def __post_init__(self) -> None:
        truth("PReLU shared", self.shared)
        check_initializers("PReLU", init=self.init)

    def output_shape(self, shape: Shape) -> Shape:
        if not shape:
            raise ShapeError("needs a channel axis: (F,), (T, F) or (C, H, W)")
        return shape

    def params(self, shape: Shape) -> dict[str, Param]:
        return {"slope": Param((1 if self.shared else shape[-1],), self.init, 1, 1)}

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        return ctx.ops.xp.where(x > 0, x, p["slope"] * x), x

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        x, xp = cache, ctx.ops.xp
        low = xp.where(x > 0, x.dtype.type(0), dy)
        by_channel = ctx.ops.sum((low * x).reshape(-1, x.shape[-1]), axis=0)
        g["slope"][...] = ctx.ops.sum(by_channel, keepdims=True) if self.shared else by_channel
        return xp.where(x > 0, dy, p["slope"] * dy)


@dataclass(frozen=True, eq=False, repr=False)
class CELU(Activation):
    """An ELU whose derivative has no jump at 0, whatever alpha.

        y = x where x > 0, else alpha * (exp(x / alpha) - 1)
        dy/dx = 1 where x > 0, else exp(x / alpha)

    Args:
        alpha: minus the limit for large negative values, > 0.

    Shapes:
        x, y: (N, ...).

    Source:
        Barron 2017, arXiv:1704.07483, equation 2.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        real("CELU alpha", self.alpha, "(0, inf)")

    def function(self, ops: Ops, x: Array) -> Array:
        return ops.xp.where(x > 0, x, self.alpha * ops.xp.expm1(ops.xp.minimum(x, 0) / self.alpha))

    def derivative(self, ops: Ops, x: Array, y: Array) -> Array:
        return ops.xp.where(x > 0, x.dtype.type(1), ops.xp.exp(ops.xp.minimum(x, 0) / self.alpha))


class SELU(Activation):
    """An ELU whose two factors keep mean 0 and variance 1 from layer to layer.

        y = 1.0507 * (x where x > 0, else 1.6733 * (exp(x) - 1))
        dy/dx = 1.0507 * (1 where x > 0, else 1.6733 * exp(x))

    Shapes:
        x, y: (N, ...).

    Source:
        Klambauer et al. 2017, arXiv:1706.02515, equation 2.
    """

    def function(self, ops: Ops, x: Array) -> Array:
        return SELU_SCALE * ops.xp.where(x > 0, x, SELU_ALPHA * ops.xp.expm1(ops.xp.minimum(x, 0)))

    def derivative(self, ops: Ops, x: Array, y: Array) -> Array:
        return SELU_SCALE * ops.xp.where(x > 0, x.dtype.type(1), SELU_ALPHA * ops.xp.exp(ops.xp.minimum(x, 0)))


@dataclass(frozen=True, eq=False, repr=False)
class Softplus(Activation):
    """A ReLU without its corner.

        y = log(1 + exp(beta * x)) / beta,   dy/dx = 1 / (1 + exp(-beta * x))

    Args:
        beta: how sharp the bend is, > 0.

    Shapes:
        x, y: (N, ...).

    Source:
        Dugas et al. 2001, "Incorporating second-order functional knowledge for better option pricing", section 3.
    """

    beta: float = 1.0

    def __post_init__(self) -> None:
        real("Softplus beta", self.beta, "(0, inf)")

    def function(self, ops: Ops, x: Array) -> Array:
        return ops.softplus(self.beta * x) / self.beta

    def derivative(self, ops: Ops, x: Array, y: Array) -> Array:
        return ops.sigmoid(self.beta * x)


class LogSigmoid(Activation):
    """The logarithm of the sigmoid of every number.

        y = -log(1 + exp(-x)),   dy/dx = 1 / (1 + exp(x))

    Shapes:
        x, y: (N, ...).

    Source:
        Dugas et al. 2001, "Incorporating second-order functional knowledge for better option pricing", section 3,
        upside down.
    """

    def function(self, ops: Ops, x: Array) -> Array:
        return -ops.softplus(-x)

    def derivative(self, ops: Ops, x: Array, y: Array) -> Array:
        return ops.sigmoid(-x)


class Mish(Activation):
    """Multiply every number by the hyperbolic tangent of its softplus.

        y = x * t,   t = tanh(log(1 + exp(x))),   dy/dx = t + x * (1 - t * t) / (1 + exp(-x))

    With e = exp(-|x|), t = (1 + 2 e) / (1 + 2 e + 2 e**2) where x >= 0, else (2 e + e**2) / (2 e + e**2 + 2).

    Shapes:
        x, y: (N, ...).

    Source:
        Misra 2019, arXiv:1908.08681, equation 1.
    """

    def function(self, ops: Ops, x: Array) -> Array:
        return x * self._tangent(ops, x)

    def derivative(self, ops: Ops, x: Array, y: Array) -> Array:
        t = self._tangent(ops, x)
        return t + x * ((1 - t * t) * ops.sigmoid(x))

    def _tangent(self, ops: Ops, x: Array) -> Array:
        power = ops.xp.exp(-abs(x))
        share = ops.xp.where(x < 0, power * (power + 2), 1 + 2 * power)
        return share / (share + ops.xp.where(x < 0, x.dtype.type(2), 2 * power * power))


class Softsign(Activation):
    """Squeeze every number into (-1, 1), more slowly than TanH.

        y = x / (1 + |x|),   dy/dx = 1 / (1 + |x|)**2

    Shapes:
        x, y: (N, ...).

    Source:
        Bergstra et al. 2009, "Quadratic polynomials learn better image features".
    """

    def function(self, ops: Ops, x: Array) -> Array:
        return x / (1 + abs(x))

    def derivative(self, ops: Ops, x: Array, y: Array) -> Array:
        share = 1 / (1 + abs(x))
        return share * share


class TanHShrink(Activation):
    """What the hyperbolic tangent takes from every number: almost nothing of small ones, almost 1 of large ones.

        y = x - tanh(x),   dy/dx = tanh(x)**2

    Where |x| < 1, y = x * q / (1 + q) with q = x**2 / (3 + x**2 / (5 + x**2 / (7 + ...))), so that small results keep
    their digits.

    Shapes:
        x, y: (N, ...).

    Source:
        Lambert 1768, "Mémoire sur quelques propriétés remarquables des quantités transcendantes" (the fraction).
    """

    def function(self, ops: Ops, x: Array) -> Array:
        xp = ops.xp
        square = xp.minimum(x * x, 1)
        fraction = square / LAMBERT[0]
        for number in LAMBERT[1:]:
            fraction = square / (number + fraction)
        return xp.where(abs(x) < 1, x * (fraction / (1 + fraction)), x - xp.tanh(x))

    def derivative(self, ops: Ops, x: Array, y: Array) -> Array:
        t = ops.xp.tanh(x)
        return t * t


LAMBERT = range(17, 1, -2)  # of tanh(x) = x / (1 + x**2 / (3 + x**2 / (5 + ...))), from behind
