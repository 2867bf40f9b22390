"""Costs of yes-or-no outputs, each by itself."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from gedanken.checks import is_list, real, require
from gedanken.costs.balance import BALANCED, balanced, numbers_of
from gedanken.costs.base import LEAST, Ignoring, channel_axis
from gedanken.costs.values import ValueCost
from gedanken.errors import DataError, ShapeError
from gedanken.ops import Ops
from gedanken.types import Array, Shape

PAIR = 'be a pair (weight of 0, weight of 1), a list of pairs, one for each output, or "balanced"'


@dataclass(frozen=True, eq=False, repr=False)
class YesOrNo(Ignoring, ValueCost):
    """A cost of outputs that each say yes or no; of one output, at each place, there may be a label to ignore."""

    classifies: ClassVar[bool] = True
    yes_above: ClassVar[float | None] = 0.5

    def checked_target(self, argument: str, target: Array, shape: Shape) -> Array:
        target = super().checked_target(argument, target, shape)
        return self.known_target(argument, target, (target < 0) | (target > 1), "lie in [0, 1]")

    def known_target(self, argument: str, target: Array, wrong: Array, rule: str) -> Array:
        """Return targets, or raise DataError with the first that is wrong and not to be ignored."""
        there = self.labelled(target)
        if there is not None:
            wrong, rule = wrong & there, f"{rule}, or be {self.ignore_label} to be ignored"
        refuse_targets(argument, target, wrong, rule)
        return target

    def check_output(self, shape: Shape) -> None:
        outputs = outputs_of(shape)
        if self.ignore_label is not None and outputs != 1:
            rule = f"{self} needs one output, at each place where there are places, for its ignore_label"
            raise ShapeError(f"{rule}, got {outputs} outputs, of shape {shape}")

    def counted(self, ops: Ops, shape: Shape, target: Array, lengths: Array | None = None) -> Array | None:
        inside, there = super().counted(ops, shape, target, lengths), self.labelled(target)
        if there is None:
            return inside
        there = there.reshape(shape[:-1] if len(shape) > 1 else shape)
        return there if inside is None else there & inside


def outputs_of(shape: Shape) -> int:
    """Return how many outputs there are, at each place where there are places, of a shape with channels first."""
    return shape[channel_axis(shape)] if shape else 1


def refuse_targets(argument: str, target: Array, wrong: Array, rule: str) -> None:
    """Raise DataError with the first target that is wrong, if any is."""
    if wrong.any():
        index = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise DataError(f"{argument} must {rule}, got {target[index]} at index {index}")


@dataclass(frozen=True, eq=False, repr=False)
class BinaryWeighted(YesOrNo):
    """A cost of yes-or-no outputs in which 0 and 1 may have weights: a subclass has the field `class_weights`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self._given is not None:
            object.__setattr__(self, "class_weights", _pairs(type(self).__name__, self._given))

    @property
    def _given(self) -> Any:
        return getattr(self, "class_weights", None)

    @property
    def weights(self) -> tuple[Any, Any] | None:
        """w0 and w1, each a number or one for each output; None for 1 and 1."""
        if self._given is None:
            return None
        pairs = numbers_of(self._given, self)
        w0, w1 = zip(*pairs, strict=True) if isinstance(pairs[0], tuple) else pairs
        return w0, w1

    def _weighed(self, ops: Ops, target: Array) -> tuple[Array, Array]:
        """Return w0 * (1 - t) and w1 * t."""
        if self.weights is None:
            return 1 - target, target
        w0, w1 = (ops.asarray(weight, target.dtype) for weight in self.weights)
        return w0 * (1 - target), w1 * target

    def importance(self, ops: Ops, shape: Shape, target: Array) -> Array | None:
        if self.weights is None:
            return None
        no, yes = self._weighed(ops, target.astype(ops.dtype))
        return no + yes

    @property
    def unresolved(self) -> bool:
        return bool(self._given == BALANCED)

    def provisional(self) -> Self:
        return replace(self, class_weights=None) if self.unresolved else self  # type: ignore[call-arg]

    def resolved(self, target: Array, shape: Shape) -> Self:
        if not self.unresolved:
            return self
        there = self.labelled(target)
        target = target if there is None else target[there].reshape(-1, 1)
        own = 1 if target.ndim == 4 else target.ndim - 1  # the axis of outputs
        others = tuple(axis for axis in range(target.ndim) if axis != own)
        yes = target.sum(axis=others, dtype="float64")
        no = target.size / target.shape[own] - yes
        pairs = tuple(balanced(counts, "class") for counts in np.stack([no, yes], axis=1))
        return replace(self, class_weights=pairs[0] if len(pairs) == 1 else pairs)  # type: ignore[call-arg]

    def check_output(self, shape: Shape) -> None:
        super().check_output(shape)
        outputs = outputs_of(shape)
        pairs = self._given if isinstance(self._given, tuple) and isinstance(self._given[0], tuple) else None
        for name, given in (("pos_weight", getattr(self, "pos_weight", None)), ("class_weights", pairs)):
            if isinstance(given, tuple) and len(given) != outputs:
                raise ShapeError(f"{name} has {len(given)} values for {outputs} outputs, of shape {shape}")


@dataclass(frozen=True, eq=False, repr=False)
class BinaryCrossEntropy(BinaryWeighted):
    """Cross-entropy of yes-or-no outputs, each by itself.

        cost = mean of -(w1 * t * log(y) + w0 * (1 - t) * log(1 - y))

    The mean divides by the number of values, not by the sum of the weights. A Sigmoid before it is folded in when the
    network is compiled, even with layers between that pass their numbers on, such as Flatten. Elsewhere a probability
    below 1e-30 counts as 1e-30, in any number type: no cost is above 69.1 times its weight.

    Args:
        pos_weight: weight w1 of the targets that are 1 (the others have 1), > 0; a number, or one for each output (each
            channel of an image), or None for 1. (Number of zeros) / (number of ones) gives both the same weight.
        class_weights: in its place a pair (w0, w1), or one for each output, each >= 0 and not both 0. "balanced" is
            N / (2 * count) for each output, of the labels of the first `fit`; the numbers are saved with the network.
        ignore_label: a whole number, such as 255 or -1: where a target is it, the place counts for nothing. For one
            output alone, at each place where there are places.
        reduction: see Cost.

    Shapes:
        y, t: (N, ...), probabilities; t may be (N,), (N, T) or (N, H, W) where there is one output.

    Raises:
        ArgumentError: pos_weight and class_weights are both given.
        ShapeError: there are more or fewer weights than outputs, or several with ignore_label (at compile time).
        DataError: targets outside [0, 1] or of another shape.

    Source:
        Bishop 2006, "Pattern recognition and machine learning", equation 4.90.
    """

    pos_weight: float | Sequence[float] | None = None
    class_weights: Sequence[Any] | str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        name, given = f"{type(self).__name__} pos_weight", self.pos_weight
        if is_list(given):
            require(len(given) > 0, name, "be a number, or one for each output", given)
            object.__setattr__(self, "pos_weight", tuple(real(name, weight, "(0, inf)") for weight in given))
        elif given is not None:
            object.__setattr__(self, "pos_weight", real(name, given, "(0, inf)"))
        left_out = given is None or self.class_weights is None
        require(left_out, name, "be left out where class_weights are given", given)

    @property
    def weights(self) -> tuple[Any, Any] | None:
        """w0 and w1, each a number or one for each output; None for 1 and 1."""
        return super().weights if self.pos_weight is None else (1.0, self.pos_weight)

    def each(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        no, yes = self._weighed(ops, target)
        right, wrong = ops.xp.maximum(y, LEAST), ops.xp.maximum(1 - y, LEAST)
        return -(yes * ops.xp.log(right) + no * ops.xp.log(wrong)), no / wrong - yes / right


def _pairs(cost: str, given: Any) -> Any:
    """Return a pair of weights, or several, as numbers; or "balanced"."""
    name = f"{cost} class_weights"
    if isinstance(given, str):
        require(given == BALANCED, name, PAIR, given)
        return BALANCED
    require(is_list(given) and len(given) > 0, name, PAIR, given)
    if all(map(is_list, given)):
        return tuple(_pairs(cost, pair) for pair in given)
    require(len(given) == 2, name, PAIR, given)
    pair = tuple(real(name, weight, "[0, inf)") for weight in given)
    require(sum(pair) > 0, name, "not both be zero", pair)
    return pair


class SigmoidBinaryCrossEntropy(BinaryCrossEntropy):
    """Sigmoid and BinaryCrossEntropy in one, on the scores z before the Sigmoid; never overflows.

        cost = mean of w1 * t * log(1 + exp(-z)) + w0 * (1 - t) * log(1 + exp(z))
        dz = (w0 * (1 - t) * sigmoid(z) - w1 * t * sigmoid(-z)) / number of values

    What t has nothing of costs nothing, though its logarithm be infinite. The plan puts it in place of
    BinaryCrossEntropy where the last layer is Sigmoid. Arguments, shapes and source are those of BinaryCrossEntropy.
    """

    internal: ClassVar[bool] = True  # messages call it as the public class, see class_name

    def each(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        xp, (no, yes) = ops.xp, self._weighed(ops, target)
        with np.errstate(all="ignore"):
            power = xp.exp(-abs(y))
            rest, high = xp.log1p(power), 1 / (1 + power)
            low, below = power / (1 + power), y < 0
            wrong = xp.where(no > 0, no * (xp.maximum(y, 0) + rest), 0)
            missed = xp.where(yes > 0, yes * (xp.maximum(-y, 0) + rest), 0)
            # where both count, a NaN shows in both; where one does, in rest
            slopes = no * xp.where(below, low, high) - yes * xp.where(below, high, low)
            return wrong + missed + 0 * rest, slopes
