"""Costs: what a network is trained to make small. The mean over the mini-batch is taken here and nowhere else."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gedanken.checks import is_list, real, require
from gedanken.errors import DataError, ShapeError
from gedanken.hyperparameters import Hyperparameters
from gedanken.ops import Ops
from gedanken.types import Array, Shape

LEAST = 1e-30  # probability: what is nearer to 0 counts as this, so that logarithms and their slopes are numbers


class Cost(Hyperparameters, ABC):
    """A cost is a pure function of outputs and targets that also gives its gradient."""

    classifies: ClassVar[bool] = False
    yes_above: ClassVar[float | None] = None  # of costs of yes-or-no outputs: an output above this is a yes

    @abstractmethod
    def __call__(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        """Return the mean cost of the mini-batch, a scalar, and its gradient with respect to y.

        Shapes:
            y, second result: (N, ...).   target: as `checked_target` returns it.
        """

    def check_output(self, shape: Shape) -> None:
        """Raise ShapeError unless outputs of `shape` (batch axis left out) suit this cost."""

    def checked_target(self, argument: str, target: Array, shape: Shape) -> Array:
        """Return all targets of a data set in the form that `__call__` takes, or raise DataError.

        Args:
            argument: what the caller calls these targets, for the error.
            target: (N, ...), on the host, finite.
            shape: shape of one output, channels first, batch axis left out.
        """
        if target.shape[1:] == () and shape == (1,):
            target = target.reshape(-1, 1)
        if target.shape[1:] != shape:
            raise DataError(f"{argument} must have shape (N, {', '.join(map(str, shape))}), got {target.shape}")
        return target


# ---------------------------------------------------------------------------------------------- classes


@dataclass(frozen=True, eq=False, repr=False)
class CrossEntropy(Cost):
    """Negative logarithm of the probability that the network gives to the right class.

        cost = mean over n of   sum over c of -w[c] * q[n, c] * log(y[n, c])
        q = (1 - label_smoothing) * t + label_smoothing / C

    The mean divides by the number of samples, not by the sum of the weights, so that parts of a data set add up. A
    SoftMax before it is folded in when the network is compiled, even with layers between that pass their numbers on,
    such as Flatten. Elsewhere a probability below 1e-30 counts as 1e-30, in any number type: no cost is above 69.1
    times its weight.

    Args:
        label_smoothing: fraction of each target that is spread over all classes, in [0, 1).
        class_weights: weight w of each class, each >= 0, or None for 1 each.

    Shapes:
        y: (N, C), probabilities.   t: (N, C), one-hot or probabilities that sum to 1, or (N,), class numbers.

    Raises:
        ShapeError: the output is not (C,) with at least two classes, or class_weights has another length (at compile
            time).
        DataError: labels out of range, of another count, or not one-hot.

    Source:
        Bishop 2006, "Pattern recognition and machine learning", equation 4.108; smoothing from Szegedy et al. 2015,
        arXiv:1512.00567, section 7.
    """

    label_smoothing: float = 0.0
    class_weights: Sequence[float] | None = None
    classifies: ClassVar[bool] = True

    def __post_init__(self) -> None:
        real("CrossEntropy label_smoothing", self.label_smoothing, "[0, 1)")
        if self.class_weights is not None:
            listed = is_list(self.class_weights)
            require(
                listed, "CrossEntropy class_weights", "be a list of numbers, one for each class", self.class_weights
            )
            weights = tuple(real("CrossEntropy class_weights", w, "[0, inf)") for w in self.class_weights)
            require(sum(weights) > 0, "CrossEntropy class_weights", "not all be zero", weights)
            object.__setattr__(self, "class_weights", weights)

    def __call__(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        weighted = ops.class_shares(y, target, self.class_weights, self.label_smoothing)
        safe = ops.xp.maximum(y, LEAST)
        return -ops.mean(ops.sum(weighted * ops.xp.log(safe), axis=1)), -weighted / safe / len(y)

    def check_output(self, shape: Shape) -> None:
        if len(shape) != 1 or shape[0] < 2:
            raise ShapeError(
                f"cross_entropy needs an output (C,) of at least 2 classes, got {shape}",
                "end with Flatten(), FullyConnectedLayer(number of classes), SoftMax()",
            )
        if self.class_weights is not None and len(self.class_weights) != shape[0]:
            raise ShapeError(f"class_weights has {len(self.class_weights)} values for {shape[0]} classes")

    def checked_target(self, argument: str, target: Array, shape: Shape) -> Array:
        if target.ndim == 1:
            return _checked_classes(argument, target, shape[0])
        if target.shape[1:] != shape:
            raise DataError(
                f"{argument} must be class numbers (N,) or one-hot rows (N, {shape[0]}), got shape {target.shape}"
                + ("; use reshape(-1)" if target.shape[1:] == (1,) else "")
            )
        wrong = (target < 0).any(axis=1) | (abs(target.sum(axis=1, dtype="float64") - 1) > 1e-3)
        if wrong.any():
            row = int(np.argmax(wrong))
            values = target[row].tolist()
            raise DataError(f"{argument} must be one-hot, or probabilities that sum to 1, got {values} in row {row}")
        return target


def _checked_classes(argument: str, target: Array, classes: int) -> Array:
    wrong = (target != np.floor(target)) | (target < 0) | (target >= classes)
    if wrong.any():
        row = int(np.argmax(wrong))
        rule = f"must be class numbers from 0 to {classes - 1}"
        raise DataError(f"{argument} {rule}, got {target[row].item()} in row {row}")
    return target.astype(np.int64)


class SoftMaxCrossEntropy(CrossEntropy):
    """SoftMax and CrossEntropy in one, on the scores z before the SoftMax; never overflows.

        cost = mean over n of   sum over c of -w[c] * q[n, c] * (z[n, c] - log(sum over d of exp(z[n, d])))
        dz[n, c] = (softmax(z)[n, c] * sum over d of w[d] * q[n, d]  -  w[c] * q[n, c]) / N

    The plan puts it in place of CrossEntropy where the last layer is SoftMax. Arguments, shapes and source are those
    of CrossEntropy.
    """

    def __call__(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        return ops.softmax_cross_entropy(y, target, self.class_weights, self.label_smoothing)


# ---------------------------------------------------------------------------------------------- every value by itself


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
            rest = xp.log1p(xp.exp(-abs(y)))
            wrong = xp.where(no > 0, no * (xp.maximum(y, 0) + rest), 0)
            missed = xp.where(yes > 0, yes * (xp.maximum(-y, 0) + rest), 0)
            # where both count, a NaN shows in both; where one does, in rest
            return wrong + missed + 0 * rest, no * ops.sigmoid(y) - yes * ops.sigmoid(-y)


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


@dataclass(frozen=True, eq=False, repr=False)
class CustomCost(Cost):
    """A cost given by two functions of your own.

        cost = mean over n of function(y, t)[n],   dy[n] = derivative(y, t)[n] / N

    Args:
        function: (y, t) -> the cost of each sample, (N,).
        derivative: (y, t) -> the derivative of each sample's cost with respect to its outputs, shaped like y.

    Shapes:
        y, t: (N, ...), arrays of the device that the network runs on; t as given to `fit`, but images are
            (N, H, W, C).

    Raises:
        ShapeError: a function returns another shape, or what it gives for a sample depends on the others, as it does
            where targets (N,) are broadcast beside outputs (N, 1) (before the first mini-batch).

    Source:
        none, it is yours.
    """

    function: Callable[[Any, Any], Any]
    derivative: Callable[[Any, Any], Any]

    def __post_init__(self) -> None:
        require(callable(self.function), "CustomCost function", "be callable", self.function)
        require(callable(self.derivative), "CustomCost derivative", "be callable", self.derivative)

    def __call__(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        costs, slopes = self.function(y, target), self.derivative(y, target)
        got = (getattr(costs, "shape", ()), getattr(slopes, "shape", ()))
        if got != ((len(y),), y.shape):
            rule = f"CustomCost must give costs of shape {(len(y),)} and derivatives of shape {y.shape}"
            apart = f"NumPy broadcasts outputs {y.shape} and labels {target.shape}; give labels of the outputs' shape"
            raise ShapeError(f"{rule}, got {got[0]} and {got[1]}", "" if target.shape == y.shape else apart)
        for name, values in (("function", costs), ("derivative", slopes)):
            require(
                values.dtype.kind in "fiub", f"CustomCost {name}", "give real numbers", f"numbers of {values.dtype}"
            )
        return ops.mean(costs), slopes / len(y)

    def checked_target(self, argument: str, target: Array, shape: Shape) -> Array:
        return target


COSTS: dict[str, type[Cost]] = {
    "cross_entropy": CrossEntropy,
    "binary_cross_entropy": BinaryCrossEntropy,
    "mean_squared": MeanSquared,
    "mean_absolute": MeanAbsolute,
    "huber": Huber,
    "hinge": Hinge,
}
