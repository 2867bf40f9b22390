"""Activation functions: every number by itself."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

from gedanken.checks import real, truth
from gedanken.errors import ShapeError
from gedanken.layers.base import ByPlace, Context
from gedanken.ops import Ops
from gedanken.types import Array, Arrays, Shape

FAR = 25.0  # from where on the sigmoid in the approximation of GELU is 0 or 1, also in float64


class Activation(ByPlace):
    """A function of every number by itself.

    A new activation defines `function` and `derivative`, a few lines in all.
    """

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    @abstractmethod
    def function(self, ops: Ops, x: Array) -> Array:
        """Return f(x)."""

    @abstractmethod
    def derivative(self, ops: Ops, x: Array, y: Array) -> Array:
        """Return f'(x), where y = f(x); a boolean array stands for ones and zeros."""

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        y = self.function(ctx.ops, x)
        return y, (x, y)

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        slope = self.derivative(ctx.ops, *cache)
        if getattr(slope, "shape", ()) not in (dy.shape, ()):  # NumPy would broadcast some others
            raise ShapeError(f"{self} must give a derivative of the shape of x, {dy.shape}, got {slope.shape}")
        return dy * slope


class ReLU(Activation):
    """Keep what is positive.

        y = max(x, 0),   dy/dx = 1 where x > 0, else 0

    Shapes:
        x, y: (N, ...).

    Source:
        Nair & Hinton 2010, "Rectified linear units improve restricted Boltzmann machines".
    """

    def function(self, ops: Ops, x: Array) -> Array:
        return ops.xp.maximum(x, 0)

    def derivative(self, ops: Ops, x: Array, y: Array) -> Array:
        return y > 0


@dataclass(frozen=True, eq=False, repr=False)
class LeakyReLU(Activation):
    """Keep what is positive and a small fraction of what is not.

        y = x where x > 0, else slope * x

    Args:
        slope: fraction kept of negative values, >= 0.

    Shapes:
        x, y: (N, ...).

    Source:
        Maas, Hannun & Ng 2013, "Rectifier nonlinearities improve neural network acoustic models".
    """

    slope: float = 0.01

    def __post_init__(self) -> None:
        real("LeakyReLU slope", self.slope, "[0, inf)")

    def function(self, ops: Ops, x: Array) -> Array:
        return ops.xp.where(x > 0, x, x * self.slope)

    def derivative(self, ops: Ops, x: Array, y: Array) -> Array:
        return ops.xp.where(x > 0, x.dtype.type(1), x.dtype.type(self.slope))


@dataclass(frozen=True, eq=False, repr=False)
class ELU(Activation):
    """Keep what is positive and let the rest approach -alpha: the exponential linear unit.

        y = x where x > 0, else alpha * (exp(x) - 1)
        dy/dx = 1 where x > 0, else alpha * exp(x)

    Args:
        alpha: minus the limit for large negative values, > 0. With 1 the derivative has no jump at 0.

    Shapes:
        x, y: (N, ...).

    Source:
        Clevert, Unterthiner & Hochreiter 2015, arXiv:1511.07289, section 3. Differs: the derivative is computed
        from x and not as y + alpha, which has few digits left where y is close to -alpha.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        real("ELU alpha", self.alpha, "(0, inf)")

    def function(self, ops: Ops, x: Array) -> Array:
        return ops.xp.where(x > 0, x, self.alpha * ops.xp.expm1(ops.xp.minimum(x, 0)))

    def derivative(self, ops: Ops, x: Array, y: Array) -> Array:
        return ops.xp.where(x > 0, x.dtype.type(1), self.alpha * ops.xp.exp(ops.xp.minimum(x, 0)))


class Sigmoid(Activation):
    """Squeeze every number into (0, 1).

        y = 1 / (1 + exp(-x)),   dy/dx = y * (1 - y)

    Shapes:
        x, y: (N, ...).

    Source:
        Rumelhart, Hinton & Williams 1986, "Learning representations by back-propagating errors".
    """

    def function(self, ops: Ops, x: Array) -> Array:
        return ops.sigmoid(x)

    def derivative(self, ops: Ops, x: Array, y: Array) -> Array:
        return y * (1 - y)


class TanH(Activation):
    """Squeeze every number into (-1, 1).

        y = tanh(x),   dy/dx = 1 - y * y

    Shapes:
        x, y: (N, ...).

    Source:
        LeCun et al. 1998, "Efficient backprop", section 4.4, without its factors.
    """

    def function(self, ops: Ops, x: Array) -> Array:
        return ops.xp.tanh(x)

    def derivative(self, ops: Ops, x: Array, y: Array) -> Array:
        return 1 - y * y


@dataclass(frozen=True, eq=False, repr=False)
class GELU(Activation):
    """Multiply every number by the cumulative probability of a normal distribution.

        y = x * P(x),   P(x) = (1 + erf(x / sqrt(2))) / 2
        dy/dx = P(x) + x * exp(-x * x / 2) / sqrt(2 * pi)

    Approximated it is

        y = x * q,   q = 1 / (1 + exp(-2 u)) = (1 + tanh(u)) / 2,   u = sqrt(2 / pi) * (x + 0.044715 * x**3)
        dy/dx = q + 2 * x * q * (1 - q) * du/dx

    Args:
        approximate: whether P is approximated, as other libraries do by default or did in older networks.

    Shapes:
        x, y: (N, ...).

    Source:
        Hendrycks & Gimpel 2016, arXiv:1606.08415, section 2.
    """

    approximate: bool = False

    def __post_init__(self) -> None:
        truth("GELU approximate", self.approximate)

    def function(self, ops: Ops, x: Array) -> Array:
        return x * (ops.sigmoid(self._bent(ops, x)[0]) if self.approximate else ops.normal_share(x))

    def derivative(self, ops: Ops, x: Array, y: Array) -> Array:
        if self.approximate:
            bent, slope = self._bent(ops, x)
            q = ops.sigmoid(bent)
            return q + ops.xp.clip(x, -FAR, FAR) * slope * (q * (1 - q))
        density = ops.xp.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
        return ops.normal_share(x) + x * density

    def _bent(self, ops: Ops, x: Array) -> tuple[Array, Array]:
        """Return 2 u and its derivative; beyond +-FAR, where the sigmoid is 0 or 1, those of +-FAR."""
        near = ops.xp.clip(x, -FAR, FAR)
        square = near * near
        factor = 2 * math.sqrt(2 / math.pi)
        return factor * near * (1 + 0.044715 * square), factor * (1 + 3 * 0.044715 * square)


class SiLU(Activation):
    """Multiply every number by its sigmoid (also called swish).

        y = x * q,   q = 1 / (1 + exp(-x)),   dy/dx = q + y * (1 - q)

    Shapes:
        x, y: (N, ...).

    Source:
        Elfwing, Uchibe & Doya 2017, arXiv:1702.03118, equation 1.
    """

    def function(self, ops: Ops, x: Array) -> Array:
        return x * ops.sigmoid(x)

    def derivative(self, ops: Ops, x: Array, y: Array) -> Array:
        q = ops.sigmoid(x)
        return q + y * (1 - q)
