"""How a mini-batch of the host comes into a network."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gedanken.by_name import ByName
from gedanken.layers.containers import Placed
from gedanken.layers.shape import to_channels_first, to_channels_last
from gedanken.ops import Ops
from gedanken.sequences import as_padded
from gedanken.sparse import SparseRows
from gedanken.types import Array

TOGETHER = 32  # samples that are brought into order at once


def entered(ops: Ops, x: Any, tokens: bool | Mapping[str, bool], sparse: bool) -> Any:
    """Return a mini-batch on the device, channels-last, in the number type of `ops`.

    Args:
        ops: the device's primitives.
        x: (N, ...), an array, Sequences, sparse rows, or some by name. Places of Sequences that are not real become 0.
        tokens: whether it is whole numbers for a look-up; of some by name for each.
        sparse: whether the network takes sparse rows.
    """
    if isinstance(tokens, Mapping):
        return ByName({name: entered(ops, x.parts[name], taken, sparse) for name, taken in tokens.items()})
    if sparse:
        return SparseRows.of(x).astype(ops.dtype)
    array = as_padded(x)
    return ops.asarray(to_channels_last(_sample_by_sample(array)), np.int64 if tokens else None)


def takes_tokens(row: Sequence[Placed]) -> bool | dict[str, bool]:
    """Return whether layers in a row take whole numbers for a look-up or, by the names of inputs, which do."""
    first = row[0]
    if not isinstance(first.shape, Mapping):
        return first.layer.tokens is not None
    rows = {name: (first.rows or {}).get(name) for name in first.shape}
    return {name: bool(inner) and inner[0].layer.tokens is not None for name, inner in rows.items()}  # type: ignore[index]


def _sample_by_sample(x: Array) -> Array:
    """Return samples that lie beside each other, number by number (Fortran's order), one after the other.

    Some at a time are brought together first: numbers far apart, often by a power of two, share few places of a cache.
    """
    if x.ndim < 2 or x.strides[0] != x.itemsize or len(x) <= TOGETHER:
        return x
    apart = np.empty(to_channels_last(x).shape, x.dtype)
    for start in range(0, len(x), TOGETHER):
        apart[start : start + TOGETHER] = to_channels_last(x[start : start + TOGETHER].copy(order="K"))
    return to_channels_first(apart)
