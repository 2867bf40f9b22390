"""Mini-batches of short sequences: how much of what is padding in all of them is cut off."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gedanken.by_name import ByName, each, parts_of
from gedanken.costs import Cost
from gedanken.costs.heads import HeadsCost
from gedanken.errors import ShapeError
from gedanken.layers.base import Layer
from gedanken.layers.containers import Placed, leaves, placed
from gedanken.layers.stages import own
from gedanken.sequences import Sequences
from gedanken.types import AnyShape, Shape

LEVELS = 8  # lengths that sequences are cut to: eighths of T, rounded up


class Cuts:
    """How long the sequences of a mini-batch have to be: the only place that decides.

    They are cut to the eighth of T that the longest of them needs, of several inputs all to the same number of eighths.
    A network that this could change, see `Layer.may_be_cut`, or that has a layer of a user's, is not cut.

    Args:
        layers: those of a plan.
        row: the same, where they stand.
        cost: the plan's cost, or None.
    """

    def __init__(self, layers: Sequence[Layer], row: Sequence[Placed], cost: Cost | None) -> None:
        self.layers, self._row = layers, row
        self._own_cost = any(map(own, cost.costs.values() if isinstance(cost, HeadsCost) else [cost] if cost else []))
        self._own_layers = any(own(one.layer) for one in _all(row))
        self._rows: dict[object, list[Placed] | None] = {}

    def shortened(self, x: Any) -> Any:
        """Return a mini-batch, cut as far as its longest sequence and the layers allow."""
        sequences = [one for one in parts_of(x) if _is_sequences(one)]
        if not sequences or self._own_layers:
            return x
        needed = max(-(-LEVELS * int(one.lengths.max(initial=1)) // one.shape[1]) for one in sequences)
        for level in range(needed, LEVELS):
            cut = each(lambda one, share=level: _at(one, share), x)
            if self.row_of(cut):
                return cut
        return x

    def key(self, x: Any) -> object:
        """Return what tells mini-batches apart that are cut to other lengths; None for one that is not cut."""
        shapes = self._shapes(x)
        if shapes == self._row[0].shape:
            return None
        return tuple(sorted(shapes.items())) if isinstance(shapes, Mapping) else shapes

    def row_of(self, x: Any) -> "list[Placed] | None":
        """Return the layers where they stand for a mini-batch that is cut; None if it may not be."""
        key = self.key(x)
        if key not in self._rows:
            self._rows[key] = self._placed(self._shapes(x))
        return self._rows[key]

    def _shapes(self, x: Any) -> AnyShape:
        whole = self._row[0].shape
        if isinstance(x, ByName) and isinstance(whole, Mapping):
            return {name: _shape(part, whole[name]) for name, part in x.parts.items()}
        return _shape(x, whole)

    def _placed(self, shapes: AnyShape) -> list[Placed] | None:
        try:
            row = placed(self.layers, shapes)
        except ShapeError:  # a window does not fit any more
            return None
        if self._own_cost and row[-1].output_shape != self._row[-1].output_shape:
            return None
        pairs = [(one, cut) for one, cut in zip(leaves(self._row), leaves(row), strict=True) if one.shape != cut.shape]
        return row if all(one.layer.may_be_cut(one.shape, _places(cut.shape)) for one, cut in pairs) else None


def cut_targets(target: Any, whole: AnyShape, short: AnyShape) -> Any:
    """Return the targets of a mini-batch for outputs of the shape `short` in place of `whole`.

    Before those of places there may be numbers of the sample.
    """
    if isinstance(whole, Mapping) and isinstance(short, Mapping):
        return ByName({name: cut_targets(part, whole[name], short[name]) for name, part in target.parts.items()})
    return target if whole == short else target[:, : target.shape[1] - whole[0] + short[0]]


def share_of(whole: AnyShape, short: AnyShape) -> Any:
    """Return which share of the places of outputs is there, of several by their names."""
    if isinstance(whole, Mapping) and isinstance(short, Mapping):
        return {name: share_of(whole[name], short[name]) for name in whole}
    return 1.0 if whole == short else short[0] / whole[0]


def uncut(y: Any, whole: AnyShape) -> Any:
    """Return outputs (N, T', ...) as (N, *whole), with 0 at the places that were cut off."""
    if isinstance(whole, Mapping):
        return ByName({name: uncut(part, whole[name]) for name, part in y.parts.items()})
    if y.shape[1:] == whole:
        return y
    full = np.zeros((len(y), *whole), y.dtype)
    full[:, : y.shape[1]] = y
    return full


def _places(shape: AnyShape) -> Any:
    return {name: one[0] for name, one in shape.items()} if isinstance(shape, Mapping) else shape[0]


def _is_sequences(part: Any) -> bool:
    return isinstance(part, Sequences) and part.ndim <= 3


def _at(part: Any, level: int) -> Any:
    if not _is_sequences(part):
        return part
    places = -(-part.shape[1] * level // LEVELS)
    return Sequences(part.values[:, :places], part.lengths)


def _shape(part: Any, whole: Shape) -> Shape:
    return part.shape[1:] if _is_sequences(part) else whole


def _all(row: Sequence[Placed]) -> Iterator[Placed]:
    """Yield all layers of a row, containers too."""
    for one in row:
        yield one
        for inner in (one.rows or {}).values():
            yield from _all(inner)
