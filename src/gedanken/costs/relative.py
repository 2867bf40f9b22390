"""Costs of differences that count in proportion to what is wanted."""

from dataclasses import dataclass

from gedanken.checks import real
from gedanken.costs.binary import refuse_targets
from gedanken.costs.values import ValueCost
from gedanken.ops import Ops
from gedanken.types import Array, Shape


@dataclass(frozen=True, eq=False, repr=False)
class MeanAbsolutePercentage(ValueCost):
    """Mean of absolute differences, each as a share of its target: 0.1 is ten percent.

        cost = mean over all values of |y - t| / max(|t|, epsilon)

    The derivative at y = t is 0.

    Args:
        epsilon: the least size of a target that a difference is a share of, > 0, in units of t.
        reduction: see Cost.

    Shapes:
        y, t: (N, ...); t may be (N,), (N, T) or (N, H, W) where there is one output.

    Source:
        Makridakis 1993, "Accuracy measures: theoretical and practical concerns". Differs: a share, not a percentage.
    """

    epsilon: float = 1e-7

    def __post_init__(self) -> None:
        super().__post_init__()
        real("MeanAbsolutePercentage epsilon", self.epsilon, "(0, inf)")

    def each(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        error, size = y - target, ops.xp.maximum(abs(target), self.epsilon)
        return abs(error) / size, ops.xp.sign(error) / size


class MeanSquaredLogarithmic(ValueCost):
    """Mean of squared differences of logarithms: being twice too large costs alike for large and small values.

        cost = mean over all values of (log(1 + max(y, 0)) - log(1 + t))**2

    The derivative is 0 where y is below 0: outputs are to be at least 0, as behind Softplus.

    Args:
        reduction: see Cost.

    Shapes:
        y, t: (N, ...); t may be (N,), (N, T) or (N, H, W) where there is one output.

    Raises:
        DataError: a target is below 0.

    Source:
        Eigen, Puhrsch & Fergus 2014, arXiv:1406.2283, section 3.2, without its second term. Differs: 1 is added.
    """

    def each(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        xp, up = ops.xp, ops.xp.maximum(y, 0)
        error = xp.log1p(up) - xp.log1p(target)
        return error * error, xp.where(y < 0, 0, 2 * error / (1 + up))

    def checked_target(self, argument: str, target: Array, shape: Shape) -> Array:
        target = super().checked_target(argument, target, shape)
        refuse_targets(argument, target, target < 0, "be at least 0 for MeanSquaredLogarithmic")
        return target
