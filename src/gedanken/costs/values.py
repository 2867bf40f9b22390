"""Costs that take every value by itself: yes-or-no outputs, and numbers."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gedanken.checks import is_list, real, require
from gedanken.costs.base import LEAST, Cost
from gedanken.errors import DataError, ShapeError
from gedanken.ops import Ops
from gedanken.types import Array, Shape


class _Elementwise(Cost):
    """A mean over all values of all samples; a subclass gives cost and slope of each value."""

    @abstractmethod
    def each(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        """Return the cost of every value and its derivative by y."""

    def __call__(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        costs, slopes = self.each(ops, y, target.astype(y.dtype))
        return ops.mean(costs), slopes / y.size


def _refuse_targets(argument: str, target: Array, wrong: Array, rule: str) -> None:
    if wrong.any():
        index = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise DataError(f"{argument} must {rule}, got {target[index]} at index {index}")


@dataclass(frozen=True, eq=False, repr=False)
class BinaryCrossEntropy(_Elementwise):
    """Cross-entropy of yes-or-no outputs, each by itself.

        cost = mean of -(w * t * log(y) + (1 - t) * log(1 - y))

    The mean divides by the number of values, not by the sum of the weights. A Sigmoid before it is folded in when the
    network is compiled, even with layers between that pass their numbers on, such as Flatten. Elsewhere a probability
    below 1e-30 counts as 1e-30, in any number type: no cost is above 69.1 times its weight.

    Args:
        pos_weight: weight w of the targets that are 1 (the others have 1), > 0; a number, or one for each output (each
            channel of an image), or None for 1. (Number of zeros) / (number of ones) gives both the same weight.

    Shapes:
        y, t: (N, ...), probabilities; t may be (N,) where y is (N, 1).

    Raises:
        ShapeError: pos_weight has another length than the outputs (at compile time).
        DataError: targets outside [0, 1] or of another shape.

    Source:
        Bishop 2006, "Pattern recognition and machine learning", equation 4.90.
    """

    pos_weight: float | Sequence[float] | None = None
    classifies: ClassVar[bool] = True
    yes_above: ClassVar[float | None] = 0.5

    def __post_init__(self) -> None:
        name, given = f"{type(self).__name__} pos_weight", self.pos_weight
        if is_list(given):
            require(len(given) > 0, name, "be a number, or one for each output", given)
            object.__setattr__(self, "pos_weight", tuple(real(name, weight, "(0, inf)") for weight in given))
        elif given is not None:
            object.__setattr__(self, "pos_weight", real(name, given, "(0, inf)"))

    def each(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        yes, no = self._weighed(ops, target), 1 - target
        right, wrong = ops.xp.maximum(y, LEAST), ops.xp.maximum(1 - y, LEAST)
        return -(yes * ops.xp.log(right) + no * ops.xp.log(wrong)), no / wrong - yes / right

    def _weighed(self, ops: Ops, target: Array) -> Array:
        """Return w * t."""
        return target if self.pos_weight is None else target * ops.asarray(self.pos_weight, target.dtype)

    def check_output(self, shape: Shape) -> None:
        if isinstance(self.pos_weight, tuple):
            outputs = (shape[0] if len(shape) == 3 else shape[-1]) if shape else 0
            if len(self.pos_weight) != outputs:
                raise ShapeError(
                    f"pos_weight has {len(self.pos_weight)} values for {outputs} outputs, of shape {shape}"
                )

    def checked_target(self, argument: str, target: Array, shape: Shape) -> Array:
        target = super().checked_target(argument, target, shape)
        _refuse_targets(argument, target, (target < 0) | (target > 1), "lie in [0, 1]")
        return target


class Hinge(_Elementwise):
    """Cost of the support vector machine, for yes-or-no outputs of any size: a yes is above 0.

        cost = mean over all values of max(0, 1 - y)   where t = 1
                                       max(0, 1 + y)   where t = 0

    Shapes:
        y, t: (N, ...), t each 0 or 1; t may be (N,) where y is (N, 1).

    Source:
        Cortes & Vapnik 1995, "Support-vector networks".
    """

    classifies: ClassVar[bool] = True
    yes_above: ClassVar[float | None] = 0.0

    def each(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        sign = 1 - 2 * target
        lacking = 1 + sign * y
        return ops.xp.maximum(lacking, 0), ops.xp.where(lacking <= 0, 0, sign)

    def checked_target(self, argument: str, target: Array, shape: Shape) -> Array:
        target = super().checked_target(argument, target, shape)
        _refuse_targets(argument, target, (target != 0) & (target != 1), "be 0 or 1 for Hinge, as labels > 0 is")
        return target


class SigmoidBinaryCrossEntropy(BinaryCrossEntropy):
    """Sigmoid and BinaryCrossEntropy in one, on the scores z before the Sigmoid; never overflows.

        cost = mean of w * t * log(1 + exp(-z)) + (1 - t) * log(1 + exp(z))
        dz = ((1 - t) * sigmoid(z) - w * t * sigmoid(-z)) / number of values

    What t has nothing of costs nothing, though its logarithm be infinite. The plan puts it in place of
    BinaryCrossEntropy where the last layer is Sigmoid. Arguments, shapes and source are those of BinaryCrossEntropy.
    """

    def each(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        xp, yes, no = ops.xp, self._weighed(ops, target), 1 - target
        with np.errstate(all="ignore"):
            power = xp.exp(-abs(y))
            rest, high = xp.log1p(power), 1 / (1 + power)
            low, below = power / (1 + power), y < 0
            wrong = xp.where(no > 0, no * (xp.maximum(y, 0) + rest), 0)
            missed = xp.where(yes > 0, yes * (xp.maximum(-y, 0) + rest), 0)
            # where both count, a NaN shows in both; where one does, in rest
            slopes = no * xp.where(below, low, high) - yes * xp.where(below, high, low)
            return wrong + missed + 0 * rest, slopes


class MeanSquared(_Elementwise):
    """Mean of squared differences.

        cost = mean over all values of (y - t)**2

    Shapes:
        y, t: (N, ...); t may be (N,) where y is (N, 1).

    Source:
        Gauss 1809, "Theoria motus corporum coelestium", book 2, section 3.
    """

    def each(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        error = y - target
        return error * error, 2 * error


class MeanAbsolute(_Elementwise):
    """Mean of absolute differences; the derivative at 0 is 0.

        cost = mean over all values of |y - t|

    Shapes:
        y, t: (N, ...); t may be (N,) where y is (N, 1).

    Source:
        Boscovich 1757, as told by Stigler 1986, "The history of statistics", chapter 1.
    """

    def each(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        error = y - target
        return abs(error), ops.xp.sign(error)


class WeightedMean(_Elementwise):
    """Outputs that are costs themselves, each with a weight: what `fit` is given as labels.

        cost = mean over all values of t * y

    Shapes:
        y, t: (N, ...), t the weights; t may be (N,) where y is (N, 1).

    Source:
        Niu, Recht, Ré & Wright 2011, "HOGWILD!", arXiv:1106.5730, equation 4, where y is how two nodes differ.
    """

    def each(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        return target * y, target + 0 * y


@dataclass(frozen=True, eq=False, repr=False)
class Huber(_Elementwise):
    """Squared for small differences, straight for large ones.

        cost = mean over all values of   e**2 / 2                    where |e| <= delta
                                         delta * (|e| - delta / 2)   elsewhere;   e = y - t

    Args:
        delta: where the two meet, > 0, in units of y.

    Shapes:
        y, t: (N, ...); t may be (N,) where y is (N, 1).

    Source:
        Huber 1964, "Robust estimation of a location parameter".
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        real("Huber delta", self.delta, "(0, inf)")

    def each(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        error = y - target
        slope = ops.xp.clip(error, -self.delta, self.delta)
        return slope * (error - slope / 2), slope
