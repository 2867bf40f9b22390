"""What costs of one class out of several have in common: labels, weights of classes, a label to ignore."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from gedanken.costs.balance import BALANCED, balanced, checked_weights, numbers_of
from gedanken.costs.base import Ignoring, channel_axis
from gedanken.errors import DataError, ShapeError
from gedanken.ops import Ops
from gedanken.types import Array, Shape

NUMBERS = "of one-hot labels use argmax along the classes, and put ignore_label where nothing counts"
SLACK = 1e-3  # by which a sum of probabilities may miss 1


@dataclass(frozen=True, eq=False, repr=False)
class ClassCost(Ignoring):
    """A cost of one class out of several, of each sample or of each place of it.

    A subclass may have a field `class_weights`.
    """

    classifies: ClassVar[bool] = True
    named: ClassVar[str] = "cross_entropy"

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__
        if self._weights is not None:
            object.__setattr__(self, "class_weights", checked_weights(f"{name} class_weights", self._weights))

    @property
    def _weights(self) -> Any:
        return getattr(self, "class_weights", None)

    @property
    def weight_numbers(self) -> Sequence[float] | None:
        """The weights of classes; an ArgumentError where these are not known yet."""
        weights: Sequence[float] | None = numbers_of(self._weights, self)
        return weights

    def counted(self, ops: Ops, shape: Shape, target: Array, lengths: Array | None = None) -> Array | None:
        inside = super().counted(ops, shape, target, lengths)
        there = self.labelled(target) if target.ndim == len(shape) else None
        return inside if there is None else there if inside is None else there & inside

    def importance(self, ops: Ops, shape: Shape, target: Array) -> Array | None:
        if self.weight_numbers is None:
            return None
        weights = ops.asarray(self.weight_numbers)
        if target.ndim != len(shape):
            return ops.sum(weights * target, axis=-1)
        return ops.sum(weights * (target[..., None] == ops.xp.arange(len(weights))), axis=-1)

    @property
    def unresolved(self) -> bool:
        return self._weights == BALANCED

    def provisional(self) -> Self:
        return replace(self, class_weights=None) if self.unresolved else self  # type: ignore[call-arg]

    def resolved(self, target: Array, shape: Shape) -> Self:
        if not self.unresolved:
            return self
        found = balanced(self.counts(target, shape))
        return replace(self, class_weights=found)  # type: ignore[call-arg]

    def counts(self, target: Array, shape: Shape) -> Array:
        """Return how many entries of each class there are, without those to ignore; of shares their sums."""
        classes = classes_of(shape)
        if target.ndim == len(shape):
            flat = target.reshape(-1)
            known = flat if self.ignore_label is None else flat[flat != self.ignore_label]
            return np.bincount(known.astype(np.int64), minlength=classes).astype("float64")
        return target.sum(axis=tuple(axis for axis in range(target.ndim) if axis != class_axis(shape)), dtype="float64")

    def check_output(self, shape: Shape) -> None:
        if not (1 <= len(shape) <= 3 and classes_of(shape) >= 2):
            raise ShapeError(
                f"{self.named} needs an output (C,), (T, C) or (C, H, W) of at least 2 classes C, got {shape}",
                _ends(shape) + ", SoftMax()" * (not self.takes_scores),
            )
        if isinstance(self._weights, tuple) and len(self._weights) != classes_of(shape):
            raise ShapeError(f"class_weights has {len(self._weights)} values for {classes_of(shape)} classes")

    def checked_target(self, argument: str, target: Array, shape: Shape) -> Array:
        places = places_of(shape)
        if target.shape[1:] == places:
            return self._checked_numbers(argument, target, classes_of(shape))
        if target.shape[1:] != shape:
            numbers, shares = (", ".join(["N", *map(str, sizes)]) + "," * (not sizes) for sizes in (places, shape))
            wanted = f"class numbers ({numbers}) or one-hot {'maps' if places else 'rows'} ({shares})"
            raise DataError(f"{argument} must be {wanted}, got shape {target.shape}{_hint(target, shape)}")
        self._refuse_shares(argument, target, places)
        self._check_shares(argument, target, class_axis(shape))
        return target

    def _checked_numbers(self, argument: str, target: Array, classes: int) -> Array:
        wrong = (target < 0) | (target >= classes)
        if target.dtype.kind == "f":
            wrong |= target != np.floor(target)
            _refuse_rounded(argument, target[~wrong])
        if self.ignore_label is not None:
            wrong &= target != self.ignore_label
        if wrong.any():
            index = tuple(np.argwhere(wrong)[0].tolist())
            rule = f"must be class numbers from 0 to {classes - 1}"
            rule += "" if self.ignore_label is None else f", or {self.ignore_label} to be ignored"
            where = f"row {index[0]}" if len(index) == 1 else f"index {index}"
            raise DataError(f"{argument} {rule}, got {target[index].item()} in {where}")
        small = target.ndim > 1 and target.dtype.kind in "iu"  # class maps stay as small as they are
        return target if small else target.astype(np.int64)

    def _refuse_shares(self, argument: str, target: Array, places: Shape) -> None:
        """Raise DataError where shares of classes cannot say what is to be ignored."""
        if self.ignore_label is not None:
            wanted = ", ".join(["N", *map(str, places)]) + "," * (not places)
            rule = f"{argument} must be class numbers ({wanted}) for ignore_label={self.ignore_label}"
            raise DataError(f"{rule}, got one-hot labels or probabilities of shape {target.shape}; {NUMBERS}")

    def _check_shares(self, argument: str, target: Array, axis: int) -> None:
        wrong = (target < 0).any(axis=axis) | (abs(target.sum(axis=axis, dtype="float64") - 1) > SLACK)
        if wrong.any():
            index = tuple(np.argwhere(wrong)[0].tolist())
            values = np.moveaxis(target, axis, -1)[index].tolist()
            where = f"row {index[0]}" if len(index) == 1 else f"index {index}"
            raise DataError(f"{argument} must be one-hot, or probabilities that sum to 1, got {values} in {where}")


def _refuse_rounded(argument: str, numbers: Array) -> None:
    """Raise DataError for class numbers so large that their number type has not all of those beside them."""
    exact = 2 ** (np.finfo(numbers.dtype).nmant + 1)
    rounded = numbers >= exact
    if rounded.any():
        rule = f"must be class numbers below {exact}, up to which {numbers.dtype} tells them apart"
        raise DataError(f"{argument} {rule}, got {numbers[rounded][0].item()}; make them as whole numbers")


def class_axis(shape: Shape) -> int:
    """Return the axis of classes in targets (N, ...) of outputs of a shape, channels first."""
    return channel_axis(shape) + 1


def places_of(shape: Shape) -> Shape:
    """Return the axes of one output without that of classes."""
    return tuple(size for axis, size in enumerate(shape, start=1) if axis != class_axis(shape))


def classes_of(shape: Shape) -> int:
    """Return the number of classes of outputs of a shape, channels first; 0 of none."""
    return shape[class_axis(shape) - 1] if shape else 0


def _hint(target: Array, shape: Shape) -> str:
    if len(shape) == 1 and target.shape[1:] == (1,):
        return "; use reshape(-1)"
    if target.ndim == 1 and len(shape) == 2:  # no Flatten: sequences may have lengths
        ended = "last=True of a recurrent layer, or GlobalAveragePool1DLayer()"
        return f"; for one class of each sample end the sequences before the last dense layer, by {ended}"
    if target.ndim == 1:
        end = f"Flatten(), FullyConnectedLayer({classes_of(shape)}) before the SoftMax"
        return f"; for one class of each sample put {end}"
    return ""


def _ends(shape: Shape) -> str:
    """Return which layer gives a score for each class where outputs have this shape."""
    if len(shape) == 3:
        pixels = "for a class of each pixel end with ConvolutionLayer(number of classes, 1, 1)"
        return f"{pixels}, for one of each picture with Flatten(), FullyConnectedLayer(number of classes)"
    return "end with FullyConnectedLayer(number of classes)"
