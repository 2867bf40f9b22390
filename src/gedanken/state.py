"""What changes while a network trains, as plain data: a training goes on from it as if it had never stopped.

Whatever changes has two methods. `state()` returns a dict whose values are arrays of the host, integers, floats and
texts: copies, which later steps leave alone. `restore(state)` takes it back, or raises CheckpointError and changes
nothing. A whole made of parts joins their dicts, each name with that of its part before it.
"""

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np

from gedanken.errors import CheckpointError

T = TypeVar("T")
State: TypeAlias = dict[str, Any]


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
    """Return the states of some parts as one."""
    return {key: value for name, one in parts.items() for key, value in prefixed(name, one.state()).items()}


def restore_all(parts: Mapping[str, Stateful], state: Mapping[str, Any]) -> None:
    """Restore all parts or, where one of them refuses or an interruption comes between, none."""
    before = {name: one.state() for name, one in parts.items()}
    try:
        for name, one in parts.items():
            one.restore(part(name, state))
    except BaseException:
        for name, one in parts.items():
            one.restore(before[name])
        raise


def check_state(owner: str, state: Mapping[str, Any], like: Mapping[str, Any]) -> None:
    """Raise CheckpointError unless a state has the entries of another one: their names, types and shapes.

    Args:
        owner: whose it is to be, for errors.
        state: what came back.
        like: what is there now; its arrays may be on a device.
    """
    if wrong := sorted(like.keys() ^ state.keys()):
        raise CheckpointError(f"{owner} must have the entries of its state, {wrong[:10]} are only on one side")
    for name, there in like.items():
        came = state[name]
        if not hasattr(there, "shape"):
            if type(came) is not type(there):
                expected = type(there).__name__
                raise CheckpointError(f"{owner}: {name} must be of type {expected}, got {type(came).__name__}")
        elif not isinstance(came, np.ndarray) or came.dtype.kind not in "biuf" or came.shape != there.shape:
            got = came.shape if isinstance(came, np.ndarray) else type(came).__name__
            raise CheckpointError(f"{owner}: {name} must have shape {there.shape}, got {got}")
