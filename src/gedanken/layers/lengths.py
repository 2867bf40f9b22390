"""How many places of each sequence are real, from layer to layer."""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from gedanken.errors import DataError, ShapeError
from gedanken.layers.base import Context
from gedanken.layers.border import described, guarded, noted, sealed
from gedanken.layers.containers import Placed, leaves, shape_of_row
from gedanken.layers.stages import own
from gedanken.types import Array, Shape

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
    if own(one.layer):
        return _behind_own(one, lengths)
    try:
        made = one.layer.output_lengths(one.shape, lengths)
    except ShapeError as error:
        raise ShapeError(f"{one.name} {error.rule}", error.hint) from None
    if made is None or made is lengths or isinstance(lengths, Mapping):  # of layers that take names none is shortened
        return made
    if bool((made < 1).any()):
        _refuse_short(one, made, lengths)
    return made


def _behind_own(one: Placed, lengths: Any) -> Any:
    """Return the lengths behind a layer of the user's own, to which those before it are lent."""
    given = lengths if isinstance(lengths, Mapping) else {"": lengths}
    lent = {name: sealed(part) for name, part in given.items()}
    lent_as_given = lent if given is lengths else lent[""]
    try:
        with noted(one.name):
            made = guarded(one.name, "lengths", one.layer.output_lengths, one.shape, lent_as_given)
    except ShapeError as error:
        raise ShapeError(f"{one.name} {error.rule}", error.hint) from None

    def checked(made: Any, shape: Shape) -> Array | None:
        same = [given[name] for name, part in lent.items() if made is part]
        # Where only some inputs are sequences with lengths, all places that come out may be real.
        whole = made is None and (len(shape) < 2 or given is lengths)
        return None if whole else same[0] if same else _checked(one, made, list(given.values()), shape)

    if not isinstance(one.output_shape, Mapping):
        return checked(made, one.output_shape)
    if not (isinstance(made, Mapping) and made.keys() <= one.output_shape.keys()):
        raise ShapeError(f"{one.name} must return from output_lengths a dict by the names of outputs, got {made!r}")
    return {name: checked(part, one.output_shape[name]) for name, part in made.items()}


def _checked(one: Placed, made: Any, given: Sequence[Array], shape: Shape) -> Array:
    """Return lengths behind a layer as kernels read them, which trust them, or raise unless they are some.

    Args:
        one: the layer.
        made: what it returned for an output.
        given: the lengths that it was given.
        shape: of the output.
    """
    lengths, most = given[0], shape[0] if shape else 0
    rule = f"{one.name} must return from output_lengths {len(lengths)} whole numbers in [1, {most}]"
    if type(made) is not type(lengths) or made.dtype.kind not in "iu" or made.shape != lengths.shape:
        raise ShapeError(f"{rule}, one for each sequence, got {described(made)}")
    if bool((made > most).any()):
        raise ShapeError(f"{rule}, got {int(made.max())}")
    if bool((made < 1).any()):
        if isinstance(one.shape, Mapping) or bool(((made < 1) & (lengths == one.shape[0])).any()):
            raise ShapeError(f"{rule}, got {int(made.min())}")  # no longer sequence would do
        _refuse_short(one, made, lengths)
    return made.astype("int64", order="C")


def _refuse_short(one: Placed, made: Array, lengths: Array) -> NoReturn:
    short = int(np.argmax(made < 1))
    raise DataError(f"sequence {short} has {int(lengths[short])} places, too few for {one.name}")


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
    if not told:
        return None
    for name, row in (one.rows or {}).items():
        given = row[-1].output_shape if row else shape_of_row(one.shape, name)
        if (len(given), *given[:1]) != (len(one.output_shape), *one.output_shape[:1]):
            raise ShapeError(
                f"{one.name} joins sequences {given} to {one.output_shape}, and nobody knows their lengths"
            )
    return told[0][1]
