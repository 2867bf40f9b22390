"""Costs that take every value by itself."""

from abc import abstractmethod
from dataclasses import dataclass

from gedanken.checks import real
from gedanken.costs.base import Cost
from gedanken.ops import Ops
from gedanken.types import Array


class ValueCost(Cost):
    """A cost whose entries are single values; a subclass gives cost and slope of each."""

    @abstractmethod
    def each(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        """Return the cost of every value and its derivative by y; the target is of y's number type."""

    def entries(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        return self.each(ops, y, target.astype(y.dtype))


class MeanSquared(ValueCost):
    """Mean of squared differences.

        cost = mean over all values of (y - t)**2

    Args:
        reduction: see Cost.

    Shapes:
        y, t: (N, ...); t may be (N,), (N, T) or (N, H, W) where there is one output.

    Source:
        Gauss 1809, "Theoria motus corporum coelestium", book 2, section 3.
    """

    def each(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        error = y - target
        return error * error, 2 * error


class MeanAbsolute(ValueCost):
    """Mean of absolute differences; the derivative at 0 is 0.

        cost = mean over all values of |y - t|

    Args:
        reduction: see Cost.

    Shapes:
        y, t: (N, ...); t may be (N,), (N, T) or (N, H, W) where there is one output.

    Source:
        Boscovich 1757, as told by Stigler 1986, "The history of statistics", chapter 1.
    """

    def each(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        error = y - target
        return abs(error), ops.xp.sign(error)


class WeightedMean(ValueCost):
    """Outputs that are costs themselves, each with a weight: what `fit` is given as labels.

        cost = mean over all values of t * y

    Args:
        reduction: see Cost.

    Shapes:
        y, t: (N, ...), t the weights; t may be (N,), (N, T) or (N, H, W) where there is one output.

    Source:
        Niu, Recht, Ré & Wright 2011, "HOGWILD!", arXiv:1106.5730, equation 4, where y is how two nodes differ.
    """

    def each(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        return target * y, target + 0 * y


@dataclass(frozen=True, eq=False, repr=False)
class Huber(ValueCost):
    """Squared for small differences, straight for large ones.

        cost = mean over all values of   e**2 / 2                    where |e| <= delta
                                         delta * (|e| - delta / 2)   elsewhere;   e = y - t

    Args:
        delta: where the two meet, > 0, in units of y.
        reduction: see Cost.

    Shapes:
        y, t: (N, ...); t may be (N,), (N, T) or (N, H, W) where there is one output.

    Source:
        Huber 1964, "Robust estimation of a location parameter".
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        real("Huber delta", self.delta, "(0, inf)")

    def each(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        error = y - target
        slope = ops.xp.clip(error, -self.delta, self.delta)
        return slope * (error - slope / 2), slope
