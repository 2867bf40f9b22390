"""One call at a time may change an object."""

import functools
import os
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from gedanken.errors import StateError

P = ParamSpec("P")
R = TypeVar("R")


class Changeable(Protocol):
    """An object that notes who is changing it: for each call in progress its name and process."""

    _changing: dict[object, tuple[str, int]]


S = TypeVar("S", bound=Changeable)


def alone(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Refuse a method while another one so marked runs on the same object, in a callback of it or another thread.

    A process that was forked meanwhile is free of it. Whatever ends the method, an interrupt at any line included, ends
    the note of it: it is made inside `try`, and taken back by one call.

    Raises:
        StateError: another call is in progress.
    """

    @functools.wraps(method)
    def refusing(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        claim, process = object(), os.getpid()
        try:
            self._changing[claim] = (method.__name__, process)
            # The first of those that are there at the same time goes on.
            first, (call, _) = next(entry for entry in list(self._changing.items()) if entry[1][1] == process)
            if first is not claim:
                raise StateError(_refusal(method.__name__, call))
            return method(self, *args, **kwargs)
        finally:
            self._changing.pop(claim, None)

    return refusing


def _refusal(call: str, running: Any) -> str:
    return (
        f"{call} cannot be called while {running} of the same network runs, in a callback or in another thread; "
        "wait until it has ended, or take a copy: copy.deepcopy(network)"
    )
