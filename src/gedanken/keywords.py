"""Calls with arguments that there are not: the error says what ours are called."""

import functools
import inspect
from collections.abc import Callable, Collection, Iterable
from typing import Any, ParamSpec, Self, TypeVar

from gedanken.errors import UnknownArgumentError
from gedanken.foreign import argument_hint

P = ParamSpec("P")
R = TypeVar("R")


def check_keywords(owner: str, given: Iterable[str], accepted: Collection[str]) -> None:
    """Raise UnknownArgumentError for the first argument that `owner` does not take; it says what ours is called."""
    for name in given:
        if name not in accepted:
            raise UnknownArgumentError(f"{owner} has no argument {name!r}; {argument_hint(name, accepted)}")


def accepted_keywords(function: Callable[..., Any]) -> tuple[str, ...] | None:
    """Return the arguments that a method takes by name, without `self`; None where it takes any."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    code = getattr(function, "__code__", None)
    if code is None:
        return ()
    if code.co_flags & 8:  # **options
        return None
    first = max(1, code.co_posonlyargcount)  # after `self`, whatever it is called: a field may have that name
    names: tuple[str, ...] = code.co_varnames[first : code.co_argcount + code.co_kwonlyargcount]
    return names


def check_count(owner: str, function: Callable[..., Any], given: int, options: Collection[str]) -> None:
    """Raise UnknownArgumentError where a method is given more arguments than it takes, or not those that it needs.

    Args:
        owner: what the error calls it.
        function: the method.
        given: arguments by place, without `self`.
        options: names of the others.
    """
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    code = getattr(function, "__code__", None)
    if code is None or code.co_flags & 4:  # *arguments
        return
    names = code.co_varnames[1 : code.co_argcount]
    others = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    needed = names[: len(names) - len(function.__defaults__ or ())]
    needed += tuple(name for name in others if name not in (function.__kwdefaults__ or {}))
    missing = [name for name in needed if name not in {*names[:given], *options}]
    whole = f"{owner}({', '.join(name if name in needed else f'{name}=...' for name in (*names, *others))})"
    if given > len(names):
        count = f"{len(names) or 'no'} argument{'s' * (len(names) != 1)}"
        raise UnknownArgumentError(f"{owner} takes {count} by place, got {given}; it is {whole}")
    if missing:
        raise UnknownArgumentError(f"{owner} needs {', '.join(missing)}; it is {whole}")


class _SignatureOfInit:
    """Tells `inspect` and `help` what a class takes: Python 3.11.2 would ask its `__new__`, which takes anything."""

    def __get__(self, _: object, owner: Any) -> inspect.Signature:
        if owner.__new__ is not KeywordsChecked.__new__:
            raise AttributeError("__signature__")
        if owner.__init__ is object.__init__:
            return inspect.Signature()
        signature = inspect.signature(owner.__init__)
        return signature.replace(parameters=list(signature.parameters.values())[1:])


class KeywordsChecked:
    """Lets the making of an object with an unknown argument, too many or too few, say what ours are."""

    __signature__ = _SignatureOfInit()

    def __new__(cls, /, *given: Any, **options: Any) -> Self:
        if options and (accepted := accepted_keywords(cls.__init__)) is not None:
            check_keywords(cls.__name__, options, accepted)
        if given or options:  # else it is a copy in the making, or Python says what is missing
            check_count(cls.__name__, cls.__init__, len(given), options)
        return super().__new__(cls)


def keywords_checked(function: Callable[P, R]) -> Callable[P, R]:
    """Let a call with an unknown argument say what ours is called."""
    owner, _, last = function.__qualname__.rpartition(".")
    accepted, name = accepted_keywords(function), owner if last == "__init__" else last

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        # A call is known by the class that a user makes it of.
        known, kind = name, type(args[0]).__name__ if args else ""
        if name.startswith("Predictor."):
            known = f"{kind}.{function.__name__}"
        elif last == "__init__":
            known = kind
        if accepted is not None:
            check_keywords(known, kwargs, accepted)
        check_count(known, function, len(args) - 1, kwargs)
        return function(*args, **kwargs)

    return call
