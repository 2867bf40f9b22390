"""How what the rows of a container give becomes one, and what its gradient is for each row."""

import operator
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Any

from gedanken.checks import one_of, require
from gedanken.errors import ShapeError
from gedanken.layers.shape import channels_first_shape
from gedanken.ops import Ops
from gedanken.types import Array, Shape

LEAST = 1e-8  # length that a vector counts as at least, as of costs.CosineDistance
OF_TWO = ("subtract", "dot", "cosine")
NAMES = "names"  # how branches say that what they make is not merged, but goes on by name


class Merge(ABC):
    """A way to merge arrays.

    Attributes:
        by_place: whether results of one shape are merged number by number, and not put beside each other.
        into_one: whether channels become one number.
        needs_results: whether `split` needs the results; else they may be left out.
    """

    by_place = True
    into_one = False
    needs_results = False

    @abstractmethod
    def join(self, ops: Ops, ys: Sequence[Array]) -> Array:
        """Return what comes of the rows' results."""

    @abstractmethod
    def split(self, ops: Ops, dy: Array, widths: Sequence[int], ys: Sequence[Array]) -> list[Array]:
        """Return the gradient with respect to each of the results `ys`, which have so many channels."""


class _Concatenate(Merge):
    by_place = False

    def join(self, ops: Ops, ys: Sequence[Array]) -> Array:
        return ops.concatenate(ys)

    def split(self, ops: Ops, dy: Array, widths: Sequence[int], ys: Sequence[Array]) -> list[Array]:
        return ops.split(dy, widths)


class _Sum(Merge):
    def join(self, ops: Ops, ys: Sequence[Array]) -> Array:
        return ops.total(ys)

    def split(self, ops: Ops, dy: Array, widths: Sequence[int], ys: Sequence[Array]) -> list[Array]:
        return [dy] * len(widths)


class _Average(Merge):
    def join(self, ops: Ops, ys: Sequence[Array]) -> Array:
        return ops.total(ys) / len(ys)

    def split(self, ops: Ops, dy: Array, widths: Sequence[int], ys: Sequence[Array]) -> list[Array]:
        return [dy / len(widths)] * len(widths)


class _Subtract(Merge):
    def join(self, ops: Ops, ys: Sequence[Array]) -> Array:
        first, second = ys
        return first - second

    def split(self, ops: Ops, dy: Array, widths: Sequence[int], ys: Sequence[Array]) -> list[Array]:
        return [dy, -dy]


class _Multiply(Merge):
    needs_results = True

    def join(self, ops: Ops, ys: Sequence[Array]) -> Array:
        return reduce(operator.mul, ys)

    def split(self, ops: Ops, dy: Array, widths: Sequence[int], ys: Sequence[Array]) -> list[Array]:
        return [reduce(operator.mul, (*ys[:i], *ys[i + 1 :]), dy) for i in range(len(ys))]


class _Extreme(Merge):
    """The largest or smallest of numbers, by an array module's function of two; equal ones share the gradient."""

    needs_results = True

    def __init__(self, function: str) -> None:
        self.function = function

    def join(self, ops: Ops, ys: Sequence[Array]) -> Array:
        return reduce(getattr(ops.xp, self.function), ys)

    def split(self, ops: Ops, dy: Array, widths: Sequence[int], ys: Sequence[Array]) -> list[Array]:
        y = self.join(ops, ys)
        won = [one == y for one in ys]
        winners = sum(one.astype(dy.dtype) for one in won)
        part = dy / ops.xp.maximum(winners, dy.dtype.type(1))  # a NaN has no winner
        return [ops.xp.where(one, part, dy.dtype.type(0)) for one in won]


class _Dot(Merge):
    into_one = True
    needs_results = True

    def join(self, ops: Ops, ys: Sequence[Array]) -> Array:
        first, second = ys
        return ops.sum(first * second, axis=-1, keepdims=True)

    def split(self, ops: Ops, dy: Array, widths: Sequence[int], ys: Sequence[Array]) -> list[Array]:
        first, second = ys
        return [dy * second, dy * first]


class _Cosine(_Dot):
    """The product of vectors that are divided by their lengths, of which each is at least LEAST."""

    def join(self, ops: Ops, ys: Sequence[Array]) -> Array:
        return super().join(ops, [y / ops.xp.maximum(_length(ops, y), LEAST) for y in ys])

    def split(self, ops: Ops, dy: Array, widths: Sequence[int], ys: Sequence[Array]) -> list[Array]:
        long = [_length(ops, y) for y in ys]
        sizes = [ops.xp.maximum(one, LEAST) for one in long]
        units = [y / size for y, size in zip(ys, sizes, strict=True)]
        cosine = super().join(ops, units)
        found = []
        for one, other, size, length in zip(units, units[::-1], sizes, long, strict=True):
            turning = ops.xp.where(length <= LEAST, 0, cosine).astype(dy.dtype)
            found.append(dy * (other - turning * one) / size)
        return found


def _length(ops: Ops, y: Array) -> Array:
    return ops.xp.sqrt(ops.sum(y * y, axis=-1, keepdims=True))


MERGES: dict[str, Merge] = {
    "concatenate": _Concatenate(),
    "sum": _Sum(),
    "average": _Average(),
    "multiply": _Multiply(),
    "maximum": _Extreme("maximum"),
    "minimum": _Extreme("minimum"),
    "subtract": _Subtract(),
    "dot": _Dot(),
    "cosine": _Cosine(),
}


def checked_merge(argument: str, merge: Any, rows: int, known: Iterable[str] = MERGES) -> str:
    """Return the name of a way to merge so many rows, one of those known, or raise ArgumentError."""
    found = one_of(argument, merge, known)
    require(found not in OF_TWO or rows == 2, argument, f"be another one for {rows} branches, not two", found)
    return found


def merge_of(name: str) -> Merge:
    """Return a way to merge; what a container of a user's own calls its way is by shape a concatenation."""
    return MERGES.get(name, MERGES["concatenate"])


def merged_shape(name: str, shapes: Sequence[Shape]) -> Shape:
    """Return what comes of results of these shapes, or raise ShapeError."""
    by_place, into_one = merge_of(name).by_place, merge_of(name).into_one
    if by_place:
        alike = len(set(shapes)) == 1 and (all(shapes) or not into_one)
        need = "be equal and have channels" if into_one else "be equal"
    else:
        alike = all(shapes) and len({one[:-1] for one in shapes}) == 1
        need = "differ in their channels only"
    if not alike:
        pictures = all(len(one) == 3 for one in shapes) and not by_place
        hint = "where pictures are halved and doubled again, height and width must be even" if pictures else ""
        raise ShapeError(f"merges {[channels_first_shape(one) for one in shapes]}, which must {need}", hint)
    if into_one:
        return (*shapes[0][:-1], 1)
    return shapes[0] if by_place else (*shapes[0][:-1], sum(one[-1] for one in shapes))
