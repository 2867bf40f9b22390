"""Activations made of straight or cut pieces: cheap curves, and what is left out below or above a limit."""

from dataclasses import dataclass

from gedanken.checks import real, require
from gedanken.layers.activations import Activation
from gedanken.ops import Ops
from gedanken.types import Array

ANY = "(-inf, inf)"


class Clipped(Activation):
    """A straight line between two limits: y = min(max(slope * x + offset, low), high)."""

    line = (1.0, 0.0, 0.0, 1.0)

    @property
    def pieces(self) -> tuple[float, float, float, float]:
        """Slope, offset, low and high."""
        return self.line

    def function(self, ops: Ops, x: Array) -> Array:
        slope, offset, low, high = self.pieces
        return ops.xp.clip(slope * x + offset, low, high)

    def derivative(self, ops: Ops, x: Array, y: Array) -> Array:
        slope, _, low, high = self.pieces
        return ((y > low) & (y < high)) * x.dtype.type(slope)


class ReLU6(Clipped):
    """Keep what is positive, up to 6.

        y = min(max(x, 0), 6),   dy/dx = 1 where 0 < x < 6, else 0

    Shapes:
        x, y: (N, ...).

    Source:
        Howard et al. 2017, arXiv:1704.04861; Krizhevsky 2010, "Convolutional deep belief networks on CIFAR-10".
    """

    line = (1.0, 0.0, 0.0, 6.0)


@dataclass(frozen=True, eq=False, repr=False)
class HardTanH(Clipped):
    """Keep every number between two limits.

        y = min(max(x, low), high),   dy/dx = 1 where low < x < high, else 0

    Args:
        low: the smallest result.
        high: the largest result, > low.

    Shapes:
        x, y: (N, ...).

    Source:
        Collobert 2004, "Large scale machine learning", section 4.3 (limits -1 and 1).
    """

    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        low, high = real("HardTanH low", self.low, ANY), real("HardTanH high", self.high, ANY)
        require(high > low, "HardTanH high", f"be above low {low:g}", self.high)

    @property
    def pieces(self) -> tuple[float, float, float, float]:
        return 1.0, 0.0, self.low, self.high


@dataclass(frozen=True, eq=False, repr=False)
class HardSigmoid(Clipped):
    """Squeeze every number into [0, 1] by a straight line.

        y = min(max(slope * x + offset, 0), 1),   dy/dx = slope where 0 < y < 1, else 0

    Args:
        slope: of the line, > 0. ONNX takes 0.2.
        offset: what 0 becomes.

    Shapes:
        x, y: (N, ...).

    Source:
        Courbariaux, Bengio & David 2015, arXiv:1511.00363, section 2.2; slope 1 / 6 as Howard et al. 2019,
        arXiv:1905.02244.
    """

    slope: float = 1 / 6
    offset: float = 0.5

    def __post_init__(self) -> None:
        real("HardSigmoid slope", self.slope, "(0, inf)")
        real("HardSigmoid offset", self.offset, ANY)

    @property
    def pieces(self) -> tuple[float, float, float, float]:
        return self.slope, self.offset, 0.0, 1.0


class HardSwish(Activation):
    """Multiply every number by its hard sigmoid: SiLU of straight and square pieces.

        y = x * min(max(x + 3, 0), 6) / 6
        dy/dx = 0 where x <= -3, 1 where x >= 3, else x / 3 + 1 / 2

    Shapes:
        x, y: (N, ...).

    Source:
        Howard et al. 2019, arXiv:1905.02244, section 5.2.
    """

    def function(self, ops: Ops, x: Array) -> Array:
        return x * (ops.xp.clip(x + 3, 0, 6) / 6)

    def derivative(self, ops: Ops, x: Array, y: Array) -> Array:
        one = x.dtype.type(1)
        return ops.xp.where(x <= -3, 0 * one, ops.xp.where(x >= 3, one, x / 3 + one / 2))


@dataclass(frozen=True, eq=False, repr=False)
class Threshold(Activation):
    """Keep what is above a threshold and put one value in place of all else.

        y = x where x > threshold, else value;   dy/dx = 1 where x > threshold, else 0

    Args:
        threshold: the largest number that is replaced.
        value: what stands in its place.

    Shapes:
        x, y: (N, ...).

    Source:
        Konda, Memisevic & Krueger 2014, arXiv:1402.3337, section 3 (value 0).
    """

    threshold: float = 1.0
    value: float = 0.0

    def __post_init__(self) -> None:
        real("Threshold threshold", self.threshold, ANY)
        real("Threshold value", self.value, ANY)

    def function(self, ops: Ops, x: Array) -> Array:
        return ops.xp.where(x <= self.threshold, x.dtype.type(self.value), x)

    def derivative(self, ops: Ops, x: Array, y: Array) -> Array:
        return x > self.threshold


@dataclass(frozen=True, eq=False, repr=False)
class Shrink(Activation):
    """Make what is near 0 nothing, and pull the rest towards 0.

        y = x - offset where x > threshold, x + offset where x < -threshold, else 0
        dy/dx = 1 where |x| > threshold, else 0

    `Shrink(0.5)` is the hard form, `Shrink(0.5, 0.5)` the soft one, which has no jump.

    Args:
        threshold: how far from 0 a number has to be, >= 0.
        offset: how far the others are pulled.

    Shapes:
        x, y: (N, ...).

    Source:
        Donoho & Johnstone 1994, "Ideal spatial adaptation by wavelet shrinkage", equations 2 and 3.
    """

    threshold: float = 0.5
    offset: float = 0.0

    def __post_init__(self) -> None:
        real("Shrink threshold", self.threshold, "[0, inf)")
        real("Shrink offset", self.offset, ANY)

    def function(self, ops: Ops, x: Array) -> Array:
        moved = ops.xp.where(x > 0, x - self.offset, x + self.offset)
        return ops.xp.where(abs(x) <= self.threshold, x.dtype.type(0), moved)

    def derivative(self, ops: Ops, x: Array, y: Array) -> Array:
        return abs(x) > self.threshold
