"""Costs of scores of any size, which the right answer should lead by a margin."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from gedanken.checks import real, whole
from gedanken.costs.base import Cost
from gedanken.costs.binary import YesOrNo, refuse_targets
from gedanken.costs.labels import ClassCost
from gedanken.costs.values import ValueCost
from gedanken.hyperparameters import class_name
from gedanken.ops import Ops
from gedanken.types import Array, Shape

ZERO_OR_ONE = "be 0 or 1 for {}, as labels > 0 is"


class Hinge(YesOrNo):
    """Cost of the support vector machine, for yes-or-no outputs of any size: a yes is above 0.

        cost = mean over all values of max(0, 1 - y)   where t = 1
                                       max(0, 1 + y)   where t = 0

    Args:
        ignore_label: as of BinaryCrossEntropy.
        reduction: see Cost.

    Shapes:
        y, t: (N, ...), t each 0 or 1; t may be (N,), (N, T) or (N, H, W) where there is one output.

    Source:
        Cortes & Vapnik 1995, "Support-vector networks".
    """

    yes_above: ClassVar[float | None] = 0.0
    takes_scores: ClassVar[bool] = True

    def each(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        sign = 1 - 2 * target
        lacking = 1 + sign * y
        return ops.xp.maximum(lacking, 0), ops.xp.where(lacking <= 0, 0, sign)

    def checked_target(self, argument: str, target: Array, shape: Shape) -> Array:
        target, rule = ValueCost.checked_target(self, argument, target, shape), ZERO_OR_ONE.format(class_name(self))
        return self.known_target(argument, target, (target != 0) & (target != 1), rule)


class SquaredHinge(Hinge):
    """The hinge squared, which has no corner: what lacks more counts more.

        cost = mean over all values of max(0, 1 - y)**2   where t = 1
                                       max(0, 1 + y)**2   where t = 0

    Args:
        ignore_label: as of BinaryCrossEntropy.
        reduction: see Cost.

    Shapes:
        y, t: (N, ...), t each 0 or 1; t may be (N,), (N, T) or (N, H, W) where there is one output.

    Source:
        Chapelle 2007, "Training a support vector machine in the primal".
    """

    def each(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        costs, slopes = super().each(ops, y, target)
        return costs * costs, 2 * costs * slopes


@dataclass(frozen=True, eq=False, repr=False)
class HingeEmbedding(ValueCost):
    """Cost of distances: of what belongs together they should be small, of all else at least a margin.

        cost = mean over all values of   y                    where t = 1
                                         max(0, margin - y)   where t = 0

    Args:
        margin: > 0.
        reduction: see Cost.

    Shapes:
        y, t: (N, ...), t each 0 or 1; t may be (N,) where y is (N, 1).

    Source:
        Hadsell, Chopra & LeCun 2006, "Dimensionality reduction by learning an invariant mapping", section 2. Differs:
        distances are not squared, as in PyTorch, whose -1 is 0 here.
    """

    margin: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        real("HingeEmbedding margin", self.margin, "(0, inf)")

    def each(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        xp, lacking = ops.xp, ops.xp.maximum(self.margin - y, 0)
        slopes = xp.where(target == 1, 1, xp.where(lacking == 0, 0, -1)).astype(y.dtype)
        return xp.where(target == 1, y, lacking), slopes

    def checked_target(self, argument: str, target: Array, shape: Shape) -> Array:
        return _zero_or_one(self, argument, super().checked_target(argument, target, shape))


class MultiLabelMargin(Cost):
    """Hinge of several labels: the score of each that is there should lead that of each other one by 1.

        cost = mean over n of   1 / C * sum over c with t[n, c] = 1, d with t[n, d] = 0 of max(0, 1 - y[n, c] + y[n, d])

    Args:
        reduction: see Cost.

    Shapes:
        y: (N, C), (N, T, C) or (N, C, H, W), scores.   t: the same, each 0 or 1.

    Raises:
        DataError: targets that are neither 0 nor 1, or of another shape.

    Source:
        Elisseeff & Weston 2001, "A kernel method for multi-labelled classification", section 2. Differs: the sum is
        divided by C, as in PyTorch, whose targets are the numbers of the labels.
    """

    takes_scores: ClassVar[bool] = True

    def entries(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        xp, classes = ops.xp, y.shape[-1]
        there = target.astype(y.dtype)
        costs, slopes = xp.zeros(y.shape[:-1], y.dtype), xp.zeros_like(y)
        for label in range(classes):  # and not all pairs at once, which would be C times the outputs
            led = (there == 0) & (there[..., label, None] > 0)
            lacking = xp.where(led, xp.maximum(1 - y[..., label, None] + y, 0), 0)
            lacks = (lacking > 0).astype(y.dtype)
            costs += ops.sum(lacking, axis=-1)
            slopes += lacks
            slopes[..., label] -= ops.sum(lacks, axis=-1)
        return costs / classes, slopes / classes

    def checked_target(self, argument: str, target: Array, shape: Shape) -> Array:
        return _zero_or_one(self, argument, super().checked_target(argument, target, shape))


@dataclass(frozen=True, eq=False, repr=False)
class MultiMargin(ClassCost):
    """Hinge of one class out of several: its score should lead each other one by a margin.

        cost = mean over n of   w[t] / C * sum over c != t of max(0, margin - y[n, t] + y[n, c])**power

    Args:
        margin: >= 0; with 0 the other scores should only not be higher.
        power: 1 or 2.
        class_weights, ignore_label: as of CrossEntropy.
        reduction: see Cost.

    Shapes:
        y: (N, C), (N, T, C) or (N, C, H, W), scores.   t: as of CrossEntropy; of one-hot rows the largest is the class.

    Raises:
        ShapeError, DataError: as CrossEntropy.

    Source:
        Weston & Watkins 1999, "Support vector machines for multi-class pattern recognition". Differs: the sum over
        classes is divided by C, as in PyTorch.
    """

    margin: float = 1.0
    power: int = 1
    class_weights: Sequence[float] | str | None = None
    named: ClassVar[str] = "multi_margin"
    takes_scores: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        real("MultiMargin margin", self.margin, "[0, inf)")
        whole("MultiMargin power", self.power, at_most=2)

    def entries(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        xp, right, classes = ops.xp, _one_hot(ops, y, target), y.shape[-1]
        w = 1.0 if self.weight_numbers is None else ops.asarray(self.weight_numbers, y.dtype)
        weight = ops.sum(w * right, axis=-1, keepdims=True) / classes
        own = ops.sum(xp.where(right > 0, y, 0), axis=-1, keepdims=True)  # others may be infinite
        lacking = xp.where(right > 0, 0, xp.maximum(self.margin + y - own, 0))
        slopes = weight * self.power * (lacking if self.power == 2 else (lacking > 0).astype(y.dtype))
        costs = ops.sum(weight * lacking**self.power, axis=-1)
        return costs, xp.where(right > 0, -ops.sum(slopes, axis=-1, keepdims=True), slopes)


class CategoricalHinge(ClassCost):
    """Hinge of one class out of several: its score should lead the highest other one by 1.

        cost = mean over n of max(0, 1 - y[n, t] + max over c != t of y[n, c])

    Args:
        ignore_label: as of CrossEntropy.
        reduction: see Cost.

    Shapes:
        y: (N, C), (N, T, C) or (N, C, H, W), scores.   t: as of CrossEntropy; of one-hot rows the largest is the class.

    Raises:
        ShapeError, DataError: as CrossEntropy.

    Source:
        Crammer & Singer 2001, "On the algorithmic implementation of multiclass kernel-based vector machines".
    """

    named: ClassVar[str] = "categorical_hinge"
    takes_scores: ClassVar[bool] = True

    def entries(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        xp, right = ops.xp, _one_hot(ops, y, target)
        own, others = ops.sum(xp.where(right > 0, y, 0), axis=-1), xp.where(right > 0, -xp.inf, y)
        largest = others.max(axis=-1)
        first = ((others == largest[..., None]) & (right == 0)).argmax(axis=-1)
        worst = (xp.arange(y.shape[-1]) == first[..., None]).astype(y.dtype)
        lacking = xp.maximum(1 + (largest - own), 0)
        return lacking, (worst - right) * (lacking > 0)[..., None]


def _zero_or_one(cost: Cost, argument: str, target: Array) -> Array:
    """Return targets that are all 0 or 1."""
    refuse_targets(argument, target, (target != 0) & (target != 1), ZERO_OR_ONE.format(class_name(cost)))
    return target


def _one_hot(ops: Ops, y: Array, target: Array) -> Array:
    """Return which of the classes is the right one, 0 or 1 as numbers of y's type; of a label to ignore none is."""
    labels = target.argmax(axis=-1) if target.ndim == y.ndim else target
    one: Array = (labels[..., None] == ops.xp.arange(y.shape[-1])).astype(y.dtype)
    return one
