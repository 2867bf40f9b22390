"""Objects as plain data, and back. What goes in comes out, or is refused.

    a layer, or any object that is made of named arguments      {"type": name of its class, argument: its data, ...}
    a member of an Enum                                         {"type": name of its class, "name": its own}
    a function with a name                                      {"type": "function", "name": its own}
    a tuple                                                     [...], a large table as text, see `table.py`
    a list                                                      {"type": "list", "items": [...]}
    a dict                                                      {"type": "dict", "items": [[key, value], ...]}
    inf, -inf, nan                                              {"type": "float", "value": "inf"}
    a number of NumPy                                           {"type": "float32", "value": ...} and its kind
    None, True, 5, 0.5, "text"                                  as they are

An argument is looked for in the attribute of its name, or of its name after an underscore, and left out where it is the
default; so are arguments with any names, `**named`, in a dict. Data never name anything
but the classes and functions that the reader knows; there is no way from a file to other code.
"""

import enum
import inspect
import json
import math
from collections.abc import Callable, Mapping
from functools import cached_property
from types import FunctionType
from typing import Any

import numpy as np

from gedanken.checks import one_of
from gedanken.errors import ArgumentError, GedankenError
from gedanken.io.table import BITS, table_data, table_of
from gedanken.io.table import NUMBERS as TABLE

Known = Mapping[str, type[Any]]

DEPTH = 128  # of objects and lists in each other: the time to walk through a network grows with the square of its depth
INTEGERS = (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64)
NUMBERS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (np.bool_, np.float16, np.float32, np.float64, *INTEGERS)
}
FUNCTION = "function"
MARKS = {"list", "dict", "float", FUNCTION, BITS, TABLE, *NUMBERS}  # types in data that are no classes
NOT_KEPT = object()
PLAIN = (type(None), bool, int, float, str)


class UnknownClassError(ArgumentError):
    """Data name a class that the reader does not know."""


# ---------------------------------------------------------------------------------------------- into data


def to_data(value: Any, classes: dict[str, type[Any]] | None = None) -> Any:
    """Return an object as dicts, lists, numbers and strings, from which `from_data` makes the same.

    Args:
        value: the object.
        classes: by name, those that the data may name already; further ones that the object is made of are added.

    Raises:
        ArgumentError: something in it is no such data, or would come back as something else; names class and argument.
    """
    classes = {} if classes is None else classes
    data = _data(value, classes, DEPTH)
    try:
        back = from_data(json.loads(json.dumps(data)), classes)
    except ValueError as error:  # an integer of thousands of digits, or an argument that breaks its rule
        raise ArgumentError(f"{_short(value)} cannot be saved: {error}") from None
    if difference := _difference(value, back, set()):
        raise ArgumentError(f"{_short(value)} cannot be saved: {difference}")
    return data


def _data(value: Any, classes: dict[str, type[Any]], depth: int) -> Any:
    kind = type(value)
    if depth == 0:
        raise ArgumentError(f"cannot be saved: it is nested deeper than {DEPTH} objects")

    def inner(part: Any) -> Any:
        return _data(part, classes, depth - 1)

    if kind in PLAIN and not (kind is float and not math.isfinite(value)):
        return value
    if kind is tuple:
        return table_data(value) or [inner(part) for part in value]
    if kind is FunctionType:
        return {"type": FUNCTION, "name": _function_name(value, classes)}
    if kind in (list, dict, float) or NUMBERS.get(kind.__name__) is kind:
        return _with_mark(value, inner)
    name = _class_name(value, classes)
    if isinstance(value, enum.Enum):
        return {"type": name, "name": value.name}
    return {"type": name, **{argument: _data_of(value, argument, inner) for argument in _changed_arguments(value)}}


def _with_mark(value: Any, inner: Callable[[Any], Any]) -> Any:
    kind = type(value)
    if kind is list:
        return {"type": "list", "items": [inner(part) for part in value]}
    if kind is dict:
        return {"type": "dict", "items": [[inner(key), inner(part)] for key, part in value.items()]}
    return {"type": kind.__name__, "value": str(value) if kind is float else inner(value.item())}


def _data_of(value: Any, argument: str, inner: Callable[[Any], Any]) -> Any:
    try:
        return inner(_kept(value, argument))
    except ArgumentError as error:
        raise ArgumentError(f"{type(value).__name__} {argument}: {error}") from None


def _class_name(value: Any, classes: dict[str, type[Any]]) -> str:
    """Return the name of the object's class, and note the class under it."""
    kind = type(value)
    name = kind.__name__
    if name in MARKS or classes.setdefault(name, kind) is not kind:
        raise ArgumentError(
            f"{_short(value)} cannot be saved: its class has the name of another one, {name}; rename it"
        )
    return name


def _function_name(value: FunctionType, classes: dict[str, type[Any]]) -> str:
    """Return the name of a function, and note the function under it."""
    name = value.__name__
    if not name.isidentifier():
        only = "only numbers, strings, layers, their parts and functions with a name are data; use def for a lambda"
        raise ArgumentError(f"{_short(value)} cannot be saved: {only}")
    if classes.setdefault(known_as(value), value) is not value:  # type: ignore[arg-type, comparison-overlap]
        raise ArgumentError(f"{_short(value)} cannot be saved: another function is called {name}; rename it")
    return name


def known_as(kind: type[Any] | FunctionType) -> str:
    """Return under which name a reader knows a class or function; no class has that of a function."""
    return f"{FUNCTION} {kind.__name__}" if isinstance(kind, FunctionType) else kind.__name__


def _changed_arguments(value: Any) -> list[str]:
    """Return the names of the arguments that make this object, without those at their default."""
    kind = type(value)
    only = "only numbers, strings, layers and their parts are data"
    try:
        parameters = _parameters(kind)
    except (TypeError, ValueError):
        raise ArgumentError(f"{_short(value)} cannot be saved: {only}") from None
    rest = _rest(kind)
    hidden = bool(parameters) and not _attributes(value) and not hasattr(value, next(iter(parameters)))
    if kind.__module__ == "builtins" or hidden or isinstance(value, (type, np.ndarray)) or inspect.isroutine(value):
        raise ArgumentError(f"{_short(value)} cannot be saved: {only}")
    changed = []
    for name, parameter in parameters.items():
        kept = _kept(value, name)
        if kept is not NOT_KEPT and _difference(kept, parameter.default, set()):
            changed.append(name)
        elif (
            kept is NOT_KEPT and parameter.default is parameter.empty and parameter.kind is not parameter.VAR_POSITIONAL
        ):
            raise ArgumentError(f"{_short(value)} cannot be saved: it has no attribute {name} for its argument {name}")
    if rest and isinstance(_kept(value, rest), dict) and _kept(value, rest):
        changed.append(rest)
    if "type" in changed:
        raise ArgumentError(f"{_short(value)} cannot be saved: no argument can be called type in a file; rename it")
    return changed


def _kept(value: Any, argument: str) -> Any:
    """Return what an object keeps of an argument: its attribute of this name, or with an underscore before."""
    found = getattr(value, argument, NOT_KEPT)
    return getattr(value, f"_{argument}", NOT_KEPT) if found is NOT_KEPT or inspect.ismethod(found) else found


def _parameters(kind: type[Any]) -> dict[str, inspect.Parameter]:
    found = inspect.signature(kind).parameters
    return {name: parameter for name, parameter in found.items() if parameter.kind is not parameter.VAR_KEYWORD}


def _rest(kind: type[Any]) -> str:
    """Return what a class calls its arguments with any names; "" where it takes none."""
    found = inspect.signature(kind).parameters
    return next((name for name, parameter in found.items() if parameter.kind is parameter.VAR_KEYWORD), "")


# ---------------------------------------------------------------------------------------------- out of data


def from_data(data: Any, known: Known, depth: int = DEPTH) -> Any:
    """Return what `to_data` was given.

    Raises:
        ArgumentError: the data name an unknown class (UnknownClassError) or argument, are nested too deeply, or a value
            breaks its rule.
    """
    if depth == 0:
        raise ArgumentError(f"objects must not be nested deeper than {DEPTH}")

    def inner(part: Any) -> Any:
        return from_data(part, known, depth - 1)

    if isinstance(data, list):
        return tuple(inner(part) for part in data)
    if not isinstance(data, dict):
        return data
    name = data.get("type")
    if name == FUNCTION:
        return _known_function(data, known)
    if isinstance(name, str) and name in MARKS:
        return _marked(name, data, inner)
    try:
        kind = known[one_of("type", name, known)]
    except ArgumentError as error:
        raise UnknownClassError(str(error)) from None
    return _made(kind, {key: inner(value) for key, value in data.items() if key != "type"})


def _known_function(data: dict[str, Any], known: Known) -> Any:
    name = data.get("name")
    try:
        return known[f"{FUNCTION} {name}"]
    except KeyError:
        raise UnknownClassError(f"the function {_short(name)} is not known") from None


def _marked(name: str, data: dict[str, Any], inner: Callable[[Any], Any]) -> Any:
    try:
        if name in (BITS, TABLE):
            return table_of(data)
        if name == "list":
            return list(inner(data["items"]))
        if name == "dict":
            return {inner(key): inner(value) for key, value in data["items"]}
        value = data["value"]
        if name == "float":
            return {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}[value]
        number = inner(value)
        if not isinstance(number, (bool, int, float)):
            raise TypeError
        return NUMBERS[name](number)
    except GedankenError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ArgumentError(f"data of type {name} must hold what such a value is made of, got {_short(data)}") from None


def _made(kind: type[Any], arguments: dict[str, Any]) -> Any:
    try:
        if issubclass(kind, enum.Enum):
            return kind[arguments["name"]]
        rest = [
            n for n, p in _parameters(kind).items() if p.kind is inspect.Parameter.VAR_POSITIONAL and n in arguments
        ]
        positional = arguments.pop(rest[0]) if rest else ()
        named = arguments.pop(_rest(kind), None) or {}
        return kind(*positional, **arguments, **named)
    except GedankenError:
        raise
    except (TypeError, ValueError, KeyError, ArithmeticError, AttributeError) as error:
        raise ArgumentError(f"{kind.__name__} does not take {sorted(arguments)} ({error})") from None


# ---------------------------------------------------------------------------------------------- compared


def _difference(a: Any, b: Any, seen: set[tuple[int, int]]) -> str:
    """Return in words where two objects differ in type or value; nothing where they are the same."""
    if a is b or (id(a), id(b)) in seen:
        return ""
    seen.add((id(a), id(b)))
    if type(a) is not type(b):
        same = False
    elif isinstance(a, (float, np.floating)):
        same = a == b or (a != a and b != b)  # noqa: PLR0124
    elif isinstance(a, np.ndarray):
        same = a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    elif isinstance(a, (*PLAIN, np.generic, enum.Enum, type)):
        same = a == b
    elif isinstance(a, (tuple, list, dict)):
        same = len(a) == len(b)
        if same:
            return _difference_of_parts(a, b, seen)
    else:
        return _difference_of_objects(a, b, seen)
    return "" if same else f"{_short(a)} comes back as {_short(b)}"


def _difference_of_parts(a: Any, b: Any, seen: set[tuple[int, int]]) -> str:
    if isinstance(a, dict):
        found = _difference_of_parts(list(a), list(b), set())
        return found or _difference_of_parts(list(a.values()), list(b.values()), seen)
    return next((found for pair in zip(a, b, strict=True) if (found := _difference(*pair, seen))), "")


def _difference_of_objects(a: Any, b: Any, seen: set[tuple[int, int]]) -> str:
    old, new = _attributes(a), _attributes(b)
    if not old and not new:
        by_value = type(a).__eq__ is not object.__eq__  # type: ignore[comparison-overlap]
        return f"{_short(a)} comes back as {_short(b)}" if by_value and a != b else ""
    for name in old.keys() | new.keys():
        if name in old and name not in new and _is_memo(type(a), name):
            continue
        place = f"{type(a).__name__} {name}"
        if name not in old or name not in new:
            return f"{place} is set to {_short(old.get(name))} by other code than the class's own"
        if found := _difference(old[name], new[name], seen):
            return f"{place}: {found}"
    return ""


def _attributes(value: Any) -> dict[str, Any]:
    state = object.__getstate__(value) if hasattr(object, "__getstate__") else None
    own, slots = state if isinstance(state, tuple) else (state, None)
    return {**(own or {}), **(slots or {})}


def _is_memo(kind: type[Any], name: str) -> bool:
    """Say whether an attribute that a fresh object lacks is one that it makes for itself when it is used."""
    return name.startswith("_") or isinstance(inspect.getattr_static(kind, name, None), cached_property)


def _short(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        return f"one {type(value).__name__}"
    return text if len(text) <= 300 else f"{text[:200]} ... {text[-50:]}"
