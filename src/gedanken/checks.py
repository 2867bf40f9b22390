"""Checks of single arguments, each with one sentence that names argument, rule and value."""

import difflib
import inspect
import math
import numbers
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeGuard

from gedanken.errors import ArgumentError, DataError, GedankenWarning
from gedanken.foreign import our_name

MACHINE, AXIS, SEED = 63, 31, 64  # bits of whole numbers: that the machine has, along one axis of an array, of a seed
MOST_AXES = 64  # of an array of NumPy's


DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(s|min|h|d)", re.IGNORECASE)
UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def require(holds: bool, argument: str, rule: str, value: object) -> None:
    """Raise ArgumentError `argument must rule, got value` unless `holds`."""
    if not holds:
        raise ArgumentError(f"{argument} must {rule}, got {short(value)}")


def short(value: object) -> str:
    """Return the repr of a value for an error.

    Long enough for any layer, short enough that data given by mistake do not fill the screen.
    """
    try:
        text = repr(value)
    except Exception:  # a whole number of thousands of digits, or an object of a user's
        return f"one {type(value).__name__}"
    return text if len(text) <= 300 else f"{text[:200]} ... {text[-50:]}"


def whole(argument: str, value: object, at_least: int = 1, bits: int = MACHINE, at_most: int | None = None) -> int:
    """Return `value` as an int; it must be a whole number of at least `at_least`, and `at_most` or below 2**bits."""
    right = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    number = int(value) if right else at_least - 1  # type: ignore[call-overload]
    require(number >= at_least, argument, f"be a whole number of at least {at_least}", value)
    require(at_most is None or number <= at_most, argument, f"be at most {at_most}", value)
    require(number < 1 << bits, argument, f"be below 2**{bits}", value)
    return number


def extent(argument: str, value: object, at_least: int = 1) -> int:
    """Return `value` as an int; it must be a whole number below 2**31, as a layer may have along an axis.

    So what kernels work out of two of them is a number of the machine.
    """
    return whole(argument, value, at_least, AXIS)


def seed_of_draws(argument: str, value: object) -> int:
    """Return `value` as an int; it must be a whole number below 2**64."""
    return whole(argument, value, 0, SEED)


def real(argument: str, value: object, interval: str) -> float:
    """Return `value` as a float; it must lie in `interval`, written as in "(0, 1]"."""
    low, high = (float(end) for end in interval[1:-1].split(","))
    right = isinstance(value, numbers.Real) and not isinstance(value, bool)
    number = _as_float(value) if right else math.nan
    above = low < number if interval[0] == "(" else low <= number
    below = number < high if interval[-1] == ")" else number <= high
    require(above and below, argument, f"be a number in {interval}", value)
    return number


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.nan


def duration(argument: str, value: object, rule: str = 'be a time such as "30 s", "10 min" or "2 h"') -> float:
    """Return a text such as "30 s", "10 min" or "2 h" as seconds, or raise ArgumentError with the rule."""
    found = DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    seconds = float(found[1]) * UNITS[found[2].lower()] if found else 0.0
    require(0 < seconds < math.inf, argument, rule, value)
    return seconds


def truth(argument: str, value: object) -> bool:
    """Return `value`, True or False (also NumPy's)."""
    require(type(value).__name__ in ("bool", "bool_") and value in (True, False), argument, "be True or False", value)
    return bool(value)


def is_list(value: object) -> TypeGuard[Sequence[Any]]:
    """Say whether `value` is a list, a tuple or an array that has a first axis."""
    array = hasattr(value, "__array__") and hasattr(value, "__len__") and hasattr(value, "__iter__")
    return isinstance(value, (list, tuple)) or (array and len(getattr(value, "shape", ())) > 0)


def pair(argument: str, value: object, at_least: int = 1) -> tuple[int, int]:
    """Return `value` as (height, width); one number stands for both."""
    if isinstance(value, (tuple, list)):
        require(len(value) == 2, argument, "be a number or a pair (height, width)", value)
        return extent(argument, value[0], at_least), extent(argument, value[1], at_least)
    number = extent(argument, value, at_least)
    return number, number


def one_of(argument: str, value: object, known: Iterable[str]) -> str:
    """Return `value`, one of the `known` names; the error names the nearest."""
    names = sorted(known)
    if isinstance(value, str) and value in names:
        return value
    near = _nearest(value, names) if isinstance(value, str) else None
    guess = f"; did you mean {near!r}?" if near else ""
    raise ArgumentError(f"{argument} must be one of {', '.join(names)}, got {short(value)}{guess}")


def named(argument: str, value: str, known: Mapping[str, Any]) -> Any:
    """Return what `known` has under a name, in any case; its own names are in small letters."""
    return known[one_of(argument, value.lower() if value.lower() in known else value, known)]


def _nearest(value: str, names: Sequence[str]) -> str | None:
    """Return the name that was probably meant: what another library calls so, a beginning, or a misspelling."""
    folded = {name.lower(): name for name in names}
    begun = [name for name in folded if len(value) > 2 and name.startswith(value.lower())]
    near = begun or difflib.get_close_matches(value.lower(), folded, n=1)
    return our_name(value, names) or (folded[near[0]] if near else None)


def printable(text: str) -> str:
    """Return a text with control characters, and what is no character, written out: names must not steer a terminal."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def printable_lines(text: str) -> str:
    """Return a text of several lines, each of them `printable`."""
    return "\n".join(map(printable, text.split("\n")))


def required_arguments(function: Callable[..., Any], beside: str = "") -> int:
    """Return how many arguments a function must be given by place, not counting the one called `beside`.

    It is 3 where the function takes any number, and 0 if nobody knows.
    """
    try:
        given = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of some that are written in C
        return 0
    if any(one.kind is one.VAR_POSITIONAL for one in given):
        return 3
    by_place = [one for one in given if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    return sum(one.default is one.empty and one.name != beside for one in by_place)


def is_masked_array(value: object) -> bool:
    """Say whether `value` is a masked array of NumPy.

    NumPy imports their module when it is first named, and a process that is forked in the middle of that would wait
    for ever; while it is not imported there are none.
    """
    kind = getattr(sys.modules.get("numpy.ma"), "MaskedArray", None)
    return kind is not None and isinstance(value, kind)


def refuse_masked(name: str, values: Any, axes: int = MOST_AXES) -> None:
    """Raise DataError where an entry of an array, or of one in a list, is masked: the mask would be lost.

    So are lists within more lists than an array has axes, such as a list that holds itself.
    """
    if isinstance(values, (list, tuple)):
        if not axes:
            raise DataError(f"{name} must be an array, got lists within more than {MOST_AXES} lists")
        for part in values:
            if isinstance(part, (list, tuple)) or is_masked_array(part):
                refuse_masked(name, part, axes - 1)
    elif is_masked_array(values) and values.mask.any():
        count = values.size - int(values.count())
        raise DataError(
            f"{name} must have no masked entries, got {count} of {values.size} masked; leave such samples out, or give "
            "them a value with .filled(value)"
        )


def path(argument: str, value: object) -> str:
    """Return `value` as a path of the file system; it must be a string or a path object."""
    require(isinstance(value, (str, os.PathLike)), argument, "be a path", value)
    return str(os.fspath(value))  # type: ignore[call-overload]


def warn(message: str | Warning) -> None:
    """Give a warning, a GedankenWarning if words, that points to the line outside the library that led to it."""
    level, frame = 1, sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("gedanken."):
        level, frame = level + 1, frame.f_back
    words = message if isinstance(message, Warning) else GedankenWarning(printable_lines(message))
    warnings.warn(words, stacklevel=level)
