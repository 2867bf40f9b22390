"""How many places of each sequence are real, from layer to layer."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gedanken.errors import DataError, ShapeError
from gedanken.layers.base import Context
from gedanken.layers.containers import Placed, leaves
from gedanken.types import Array

OUTPUT = ""  # the path that stands for what comes out of all layers


def lengths_along(row: Sequence[Placed], lengths: Array | Mapping[str, Array]) -> dict[str, Any]:
    """Return the lengths of what each layer gets, by its path, and of what comes out, by OUTPUT.

    Of what has names they are a mapping of these. Where there is no axis of places any more, there is no entry.

    Args:
        row: the layers; the first takes sequences.
        lengths: (N,) whole numbers in [1, T], on any device; of several inputs those of sequences, by their names.

    Raises:
        ShapeError: a layer does not honour lengths.
        DataError: a sequence is too short for a layer.
    """
    found: dict[str, Any] = {}
    made = _along(row, lengths, found)
    return found if made is None else {**found, OUTPUT: made}


def output_lengths(ctx: Context) -> Any:
    """Return how many places of each sequence that comes out of all layers are real; None where all are.

    Where outputs have names it is a mapping of these to such.
    """
    return None if ctx.lengths_at is None else ctx.lengths_at.get(OUTPUT)


def masks_of(row: Sequence[Placed]) -> int | dict[str, int | None] | None:
    """Return the whole number that pads sequences, or None, or these by the names of inputs."""
    first = row[0]
    if not isinstance(first.shape, Mapping):
        return _mask_of(row)
    return {name: _mask_of((first.rows or {}).get(name, ())) for name in first.shape}


def _mask_of(row: Sequence[Placed]) -> int | None:
    """Return the whole number that pads sequences, or None; all layers that take such numbers have to agree."""
    masks = {one.layer.mask: one for one in leaves(row) if one.layer.tokens is not None}
    if len(masks) > 1:
        told = " and ".join(one.name for one in masks.values())
        raise ShapeError(f"{told} take the same numbers and have other masks", "give them the same mask")
    return next(iter(masks), None)


def _along(row: Sequence[Placed], lengths: Any, found: dict[str, Any]) -> Any:
    now = lengths
    for one in row:
        if now is None:
            break
        if one.rows is None:
            found[one.path] = {n: own for n, own in now.items() if own is not None} if isinstance(now, Mapping) else now
            now = _behind(one, found[one.path])
        elif isinstance(now, Mapping):
            now = _joined(one, [_along(inner, now.get(name), found) for name, inner in one.rows.items()])
        else:
            found[one.path] = now
            now = _joined(one, [_along(inner, now, found) for inner in one.rows.values()])
    return now


def _behind(one: Placed, lengths: Any) -> Any:
    try:
        made = one.layer.output_lengths(one.shape, lengths)
    except ShapeError as error:
        raise ShapeError(f"{one.name} {error.rule}", error.hint) from None
    if made is not None and isinstance(lengths, Mapping):
        return made  # of a layer that takes names: no sequence becomes shorter
    if made is not None and made is not lengths and bool((made < 1).any()):
        short = int(np.argmax(made < 1))
        raise DataError(f"sequence {short} has {int(lengths[short])} places, too few for {one.name}")
    return made


def _joined(one: Placed, made: Sequence[Array | None]) -> Any:
    """Return the lengths behind a container, or those of its rows by name.

    Rows that have lengths must have the same. Where another one has none, all its places are real, and those that the
    lengths leave out have no partner: behind the container they are padding too.
    """
    if isinstance(one.output_shape, Mapping):
        return dict(zip(one.rows or {}, made, strict=True))
    names = [f"row {name!r}" if name else "a row" for name in one.rows or {}]
    told = [(name, lengths) for name, lengths in zip(names, made, strict=True) if lengths is not None]
    for name, lengths in told[1:]:
        if bool((told[0][1] != lengths).any()):
            wrong = int(np.argmax(told[0][1] != lengths))
            both = f"{int(told[0][1][wrong])} places in {told[0][0]} and {int(lengths[wrong])} in {name}"
            raise ShapeError(
                f"{one.name} joins sequences of other lengths: sequence {wrong} has {both}",
                "give the same lengths, or end the sequences of each row before, by last=True or a global pooling",
            )
    return told[0][1] if told else None
