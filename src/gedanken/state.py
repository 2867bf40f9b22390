"""What changes while a network trains, as plain data: a training goes on from it as if it had never stopped.

Whatever changes has two methods. `state()` returns a dict whose values are arrays of the host, integers, floats and
texts: copies, which later steps leave alone. `restore(state)` takes it back, or raises CheckpointError and changes
nothing. A whole made of parts joins their dicts, each name with that of its part before it.
"""

import math
from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np

from gedanken.checks import require, short
from gedanken.errors import CheckpointError

T = TypeVar("T")
State: TypeAlias = dict[str, Any]
COUNTS = 1 << 63  # whole numbers of a state are below


class Stateful(Protocol):
    """Something that changes while a network trains."""

    def state(self) -> State:
        """Return what it has become, in copies."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Become what another one was; a CheckpointError changes nothing."""


def prefixed(name: str, entries: Mapping[str, T]) -> dict[str, T]:
    """Return the entries with `name.` before each key."""
    return {f"{name}.{key}": value for key, value in entries.items()}


def part(name: str, entries: Mapping[str, T]) -> dict[str, T]:
    """Return the entries whose key begins with `name.`, without it."""
    return {key[len(name) + 1 :]: entries[key] for key in entries if key.startswith(f"{name}.")}


def state_of(parts: Mapping[str, Stateful]) -> State:
    """Return the states of some parts as one; an ArgumentError where that of a user's own class is no plain data."""
    return {key: value for name, one in parts.items() for key, value in prefixed(name, _plain(one)).items()}


def _plain(one: Stateful) -> State:
    state: Any = one.state()
    plain = isinstance(state, Mapping) and all(
        isinstance(name, str) and isinstance(value, (np.ndarray, np.number, np.bool_, int, float, str))
        for name, value in state.items()
    )
    require(plain, f"{type(one).__name__}.state", "return a dict of arrays, numbers and texts by name", state)
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in state.items()}


def restore_parts(
    owner: str, parts: Mapping[str, Stateful], state: Mapping[str, Any], like: Mapping[str, Any] | None = None
) -> None:
    """Restore all parts or, where one of them refuses or an interruption comes between, none.

    Args:
        owner: whose they are, for errors.
        parts: by the name that their entries have before them.
        state: what came back, with nothing else than the parts' entries and those of `like`.
        like: what is there now of the owner's own.
    """
    check_is_state(owner, state)
    own = {name: state[name] for name in state if not any(name.startswith(f"{key}.") for key in parts)}
    check_state(owner, own, like or {})
    before = state_of(parts)
    try:
        for name, one in parts.items():
            one.restore(part(name, state))
    except BaseException:
        for name, one in parts.items():
            one.restore(part(name, before))
        raise


def check_state(owner: str, state: Mapping[str, Any], like: Mapping[str, Any]) -> None:
    """Raise CheckpointError unless a state has the entries of another one: their names, types and shapes.

    Integers count something, so none is below 0; no number is NaN.

    Args:
        owner: whose it is to be, for errors.
        state: what came back.
        like: what is there now; its arrays may be on a device.
    """
    _check_entries(owner, state, like)
    for name, there in like.items():
        came = state[name]
        if not hasattr(there, "shape"):
            if type(came) is not type(there):
                expected = type(there).__name__
                raise CheckpointError(f"{owner}: {name} must be of type {expected}, got {type(came).__name__}")
            if (type(came) is int and not 0 <= came < COUNTS) or (type(came) is float and math.isnan(came)):
                raise CheckpointError(f"{owner}: {name} must be a number, and a count in [0, 2 ** 63), got {came}")
        elif type(came) is not np.ndarray or came.dtype.kind not in "biuf" or came.shape != there.shape:
            got = came.shape if isinstance(came, np.ndarray) else type(came).__name__
            raise CheckpointError(f"{owner}: {name} must have shape {there.shape}, got {got}")


def check_like(owner: str, state: Mapping[str, Any], like: Mapping[str, Any]) -> None:
    """Raise CheckpointError unless a user's own object may go on from a state: it has the entries of another one.

    Numbers may be any, whole ones where there were floats too; arrays must have the shapes.
    """
    _check_entries(owner, state, like)
    for name, there in like.items():
        came = state[name]
        kinds = next(({kind} for kind in (np.ndarray, str) if isinstance(there, kind)), {bool, int, float})
        if type(came) not in kinds or np.shape(came) != np.shape(there):
            expected = f"shape {there.shape}" if isinstance(there, np.ndarray) else f"type {type(there).__name__}"
            raise CheckpointError(f"{owner}: {name} must be of {expected}, got {short(came)}")


def _check_entries(owner: str, state: Mapping[str, Any], like: Mapping[str, Any]) -> None:
    check_is_state(owner, state)
    if wrong := sorted(like.keys() ^ state.keys()):
        raise CheckpointError(f"{owner} must have the entries of its state, {wrong[:10]} are only on one side")


def check_is_state(owner: str, state: Any) -> None:
    """Raise CheckpointError unless it is a dict with names."""
    if not (isinstance(state, Mapping) and all(isinstance(name, str) for name in state)):
        raise CheckpointError(f"{owner} must have a state, a dict with names, got {short(state)}")
