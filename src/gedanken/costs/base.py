"""The contract of a cost: what each entry costs, and how the costs of a mini-batch become one number."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Self

from gedanken.checks import one_of, whole
from gedanken.errors import ArgumentError, DataError, ShapeError
from gedanken.hyperparameters import Hyperparameters, class_name
from gedanken.ops import Ops
from gedanken.types import Array, Shape

LEAST = 1e-30  # probability: what is nearer to 0 counts as this, so that logarithms and their slopes are numbers
REDUCTIONS = ("mean", "weighted_mean", "batch_mean", "sum")


class Weighing(NamedTuple):
    """How the costs of entries become the cost of a mini-batch: sum over entries of factor * cost / divisor.

    Args:
        factor: >= 0, shaped like the first axes of the costs; None for 1 each.
        divisor: what the sum is divided by; 0 where nothing counts, and cost and gradient are 0 then.
        samples: what the cost counts for beside those of other mini-batches; the number of samples where all entries
            count alike. Of a sum it is 1.
        counted: which entries count, True or False, shaped as `factor`; None for all. Of heads an OfHead for each.
    """

    factor: Array | None
    divisor: float
    samples: float
    counted: Array | None = None


class Judged(NamedTuple):
    """Cost of a mini-batch, its gradient by the outputs, and how it was made."""

    cost: Any
    dy: Array
    weighing: Weighing


@dataclass(frozen=True, eq=False, repr=False)
class Cost(Hyperparameters, ABC):
    """A cost is a pure function of outputs and targets that also gives its gradient.

    A subclass says what each entry costs, in `entries`; an entry is a sample, a place of it, or a single value. All
    that is common is done here:

        cost = sum over entries of f[e] * cost[e] / D,   dy = f * slope / D

    where f is the weight of the entry's sample, 0 for what does not count: places behind the length of a sample, and
    labels to ignore. A subclass may override `__call__(ops, y, target)` in place of `entries`, which returns the mean
    cost of the mini-batch and its gradient; then samples can have neither weights nor lengths.

    Args:
        reduction: what D is.
            "mean": the number of entries that count. Weights multiply and do not divide: costs of parts of a data set
            add up to that of the whole, and a weight of 2 is a sample that is there twice beside those that are not.
            "weighted_mean": the sum of their weights, of samples and of classes.
            "batch_mean": the number of samples, so it is a sum over the outputs of a sample and a mean over samples.
            "sum": 1. The cost of an epoch and of `evaluate` is a sum too.
    """

    classifies: ClassVar[bool] = False
    yes_above: ClassVar[float | None] = None  # of costs of yes-or-no outputs: an output above this is a yes
    takes_scores: ClassVar[bool] = False  # whether outputs are scores of any size, and no probabilities

    aligns: ClassVar[bool] = False  # whether targets are sequences of their own length, which are aligned with places

    exact_gradient: ClassVar[bool] = True  # whether slopes are the costs' derivatives; of your own it is checked

    reduction: str = field(default="mean", kw_only=True)

    def __post_init__(self) -> None:
        one_of(f"{type(self).__name__} reduction", self.reduction, REDUCTIONS)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__call__" in vars(cls) and getattr(cls.entries, "__isabstractmethod__", False):
            cls.entries = _not_defined  # type: ignore[method-assign, assignment]  # a class that has its own __call__ needs none

    @abstractmethod
    def entries(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        """Return the cost of each entry, and its derivative by y.

        Shapes:
            y, second result: (N, ...), channels last.   target: as `checked_target` returns it, channels last.
            first result: (N,), or (N, places...) as the first axes of y, or the shape of y.
        """

    def __call__(
        self, ops: Ops, y: Array, target: Array, weight: Array | None = None, lengths: Array | None = None
    ) -> tuple[Any, Array]:
        """Return the cost of the mini-batch, a scalar, and its gradient with respect to y.

        Args:
            ops: the device's primitives.
            y, target: as of `entries`.
            weight: of each sample, (N,), or of each of its places, (N, places...), >= 0; None is 1 each.
            lengths: how many places of each sample count, from the first on, (N,); None is all.

        Raises:
            ShapeError: lengths or weights of places are given, and the cost takes samples as a whole.
        """
        return self._judged_by_entries(ops, y, target, weight, lengths)[:2]

    def judged(
        self, ops: Ops, y: Array, target: Array, weight: Array | None = None, lengths: Array | None = None
    ) -> Judged:
        """Return cost and gradient, and how they were made; the arguments are those of `__call__`."""
        if not self.by_entries:
            if weight is not None or lengths is not None:
                raise ArgumentError(self.refusal("weights" if lengths is None else "lengths"))
            return Judged(*self._of_call(ops, y, target), Weighing(None, len(y), len(y)))
        return self._judged_by_entries(ops, y, target, weight, lengths)

    def _judged_by_entries(
        self, ops: Ops, y: Array, target: Array, weight: Array | None, lengths: Array | None
    ) -> Judged:
        xp, (costs, slopes) = ops.xp, self._of_entries(ops, y, target)
        weighing = self.weighing(ops, costs.shape, target, weight, lengths)
        factor, divisor = weighing.factor, weighing.divisor
        if not divisor:
            return Judged(costs.dtype.type(0), xp.zeros_like(slopes), weighing)
        if factor is not None:
            costs, slopes = _times(xp, factor, costs), _times(xp, factor, slopes)
        total = xp.sum(xp.ascontiguousarray(costs), dtype="float64") / divisor  # in one order, however arrays lie
        return Judged(total.astype(costs.dtype if costs.dtype.kind == "f" else y.dtype), slopes / divisor, weighing)

    def _of_call(self, ops: Ops, y: Array, target: Array) -> tuple[Any, Any]:
        given: Any = self(ops, y, target)
        if not (isinstance(given, tuple) and len(given) == 2):
            raise ArgumentError(f"{self} must return (cost, gradient), got {_described(given)}")
        return given

    def _of_entries(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        given: Any = self.entries(ops, y, target)
        shapes = tuple(getattr(one, "shape", None) for one in given) if isinstance(given, tuple) else ()
        if len(shapes) != 2 or not shapes[0] or shapes[0] != y.shape[: len(shapes[0])] or shapes[1] != y.shape:
            rule = f"{self}.entries must give costs (N,), (N, places...) or {y.shape}, and slopes {y.shape}"
            raise ShapeError(f"{rule}, got {' and '.join(map(str, shapes)) or type(given).__name__}")
        return given

    def weighing(
        self, ops: Ops, shape: Shape, target: Array, weight: Array | None = None, lengths: Array | None = None
    ) -> Weighing:
        """Return how costs of a shape become one; the other arguments are those of `__call__`."""
        xp, size, samples = ops.xp, math.prod(shape), shape[0]
        counted, factor = self.counted(ops, shape, target, lengths), None
        if weight is not None:
            factor = ops.asarray(weight)
            if factor.ndim > len(shape):
                raise ShapeError(f"{self} takes samples as a whole, its entries can have no weights {factor.shape}")
        if counted is not None and factor is not None:
            counts = counted.reshape(counted.shape + (1,) * (factor.ndim - counted.ndim))
            factor = xp.where(counts, factor.reshape(factor.shape + (1,) * (counted.ndim - factor.ndim)), 0)
        elif counted is not None:
            factor = counted.astype(ops.dtype)
        if self.reduction == "sum":
            return Weighing(factor, 1.0, 1.0, counted)
        if self.reduction == "batch_mean":
            return Weighing(factor, samples, samples, counted)
        if self.reduction == "weighted_mean":
            divisor = self._weight_of_all(ops, shape, target, factor)
        else:
            divisor = size if counted is None else float(xp.count_nonzero(counted)) * size / counted.size
        return Weighing(factor, divisor, divisor * samples / size, counted)

    def as_uncut(self, weighing: Weighing, share: Any, samples: int) -> Weighing:
        """Return how costs became one as if no place had been cut off: none of these counts.

        Args:
            weighing: that of what is left.
            share: of the places, what is left.
            samples: of the mini-batch.
        """
        by_entries = self.reduction in ("mean", "weighted_mean")
        return weighing._replace(samples=weighing.samples * share) if by_entries else weighing

    def _weight_of_all(self, ops: Ops, shape: Shape, target: Array, factor: Array | None) -> float:
        own, size = self.importance(ops, shape, target), math.prod(shape)
        if factor is None and own is None:
            return size
        weights = factor if own is None else own if factor is None else _times(ops.xp, factor, own)
        assert weights is not None
        return float(weights.sum(dtype="float64")) * size / weights.size

    def counted(self, ops: Ops, shape: Shape, target: Array, lengths: Array | None = None) -> Array | None:
        """Return which entries count, True or False, shaped like the first axes of their costs; None for all.

        Args:
            ops: the device's primitives.
            shape: of the costs.
            target: as of `entries`.
            lengths: as of `__call__`.
        """
        if lengths is None:
            return None
        if len(shape) == 1:
            raise ShapeError(f"{self} takes samples as a whole and cannot leave out what lies behind their lengths")
        inside: Array = ops.xp.arange(shape[1]) < ops.asarray(lengths, "int64")[:, None]
        return inside

    def labelled(self, target: Array) -> Array | None:
        """Return which targets are not to be ignored, True or False, of the targets' shape; None for all.

        Args:
            target: as of `entries`, or channels first.
        """
        return None

    def importance(self, ops: Ops, shape: Shape, target: Array) -> Array | None:
        """Return the weight that the cost itself gives an entry by its target, shaped like its costs' first axes.

        None is 1 for each.
        """
        return None

    @property
    def sums(self) -> bool:
        """Whether costs of mini-batches add up; those of a `__call__` of one's own are means."""
        return self.reduction == "sum" and self.by_entries

    @property
    def aligned(self) -> frozenset[str]:
        """Of which heads targets are sequences of their own length, by name; of a single output, "", if it is so."""
        return frozenset({""} if self.aligns else ())

    @property
    def by_entries(self) -> bool:
        """Whether the cost of a mini-batch is made of those of entries, else `__call__` is the user's own."""
        return type(self).__call__ is Cost.__call__

    def refusal(self, what: str) -> str:
        """Return why samples may have no `what`."""
        return f"{what} need a cost that defines entries(ops, y, target), {class_name(self)} overrides __call__"

    def resolved(self, target: Array, shape: Shape) -> Self:
        """Return the cost for targets to train on: itself unless it goes by them.

        Args:
            target, shape: as of `checked_target`, which has returned the target.
        """
        return self

    @property
    def unresolved(self) -> bool:
        """Whether it goes by the targets to train on, and is not `resolved` yet."""
        return False

    def provisional(self) -> Self:
        """Return the cost as programs are laid out for it: itself, or with any numbers where they are not known yet."""
        return self

    def check_resolved(self, call: str) -> None:
        """Raise ArgumentError where a call needs what only the targets to train on tell."""
        if self.unresolved:
            why = "balanced weights are those of the labels that it is trained on"
            raise ArgumentError(f"{self}: {why}; call fit before {call}, or give numbers")

    def check_output(self, shape: Shape) -> None:
        """Raise ShapeError unless outputs of `shape` (batch axis left out) suit this cost."""

    def checked_target(self, argument: str, target: Array, shape: Shape) -> Array:
        """Return all targets of a data set in the form that `entries` takes, but channels first, or raise DataError.

        Args:
            argument: what the caller calls these targets, for the error.
            target: (N, ...), on the host, finite.
            shape: shape of one output, channels first, batch axis left out.
        """
        target = with_channel(target, shape)
        if target.shape[1:] != shape:
            shapes = " or ".join("(N" + "".join(f", {size}" for size in one) + ")" for one in _shapes_of_targets(shape))
            left_over = target.shape[1:] == (*shape, 1)
            hint = "; leave out the last axis: [..., 0], or columns=0 where windows made it" if left_over else ""
            raise DataError(f"{argument} must have shape {shapes}, got {target.shape}{hint}")
        return target


@dataclass(frozen=True, eq=False, repr=False)
class Ignoring(Cost):
    """A cost that leaves out the entries that have a certain label."""

    ignore_label: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ignore_label is not None:
            whole(f"{type(self).__name__} ignore_label", self.ignore_label, at_least=-(1 << 31), bits=31)

    def labelled(self, target: Array) -> Array | None:
        return None if self.ignore_label is None else target != self.ignore_label


def _shapes_of_targets(shape: Shape) -> list[Shape]:
    """Return the shapes that a target may have for an output, the longer one first."""
    axis = channel_axis(shape)
    return [shape, shape[:axis] + shape[axis + 1 :]] if len(shape) > 1 and shape[axis] == 1 else [shape]


def channel_axis(shape: Shape) -> int:
    """Return the axis of channels in the shape of one output, channels first; -1 where there is none."""
    return 0 if len(shape) == 3 else len(shape) - 1


def with_channel(target: Array, shape: Shape) -> Array:
    """Return targets of single outputs with their axis of length 1, if they came without: (N,), (N, T) or (N, H, W).

    Args:
        target: (N, ...).
        shape: of one output, channels first.
    """
    axis = channel_axis(shape)
    without = axis >= 0 and shape[axis] == 1 and target.shape[1:] == shape[:axis] + shape[axis + 1 :]
    return target.reshape(len(target), *shape) if without else target


def _not_defined(self: Cost, *_: Any) -> tuple[Array, Array]:
    raise ArgumentError(self.refusal("costs of entries"))


def _described(value: Any) -> str:
    """Return what a value is, in some words."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    return f"a {type(value).__name__}" if dtype is None else f"a {type(value).__name__} {shape} of {dtype}"


def _times(xp: Any, factor: Array, values: Array) -> Array:
    """Return factor * values, whose first axes are those of the factor; what has a factor of 0 may be anything."""
    apart = factor.reshape(factor.shape + (1,) * (values.ndim - factor.ndim)).astype(values.dtype)
    product: Array = xp.where(apart == 0, 0, apart * values).astype(values.dtype, copy=False)
    return product
