"""Costs of one class out of several."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gedanken.checks import is_list, real, require
from gedanken.costs.base import LEAST, Cost
from gedanken.errors import DataError, ShapeError
from gedanken.ops import Ops
from gedanken.types import Array, Shape


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
