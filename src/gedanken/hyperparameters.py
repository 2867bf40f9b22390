"""Hyperparameter objects in words: only what differs from the defaults."""

import dataclasses
import math
from typing import Any

import numpy as np

from gedanken.checks import require
from gedanken.errors import ArgumentError
from gedanken.plain import PlainNumbers

# Fields whose numbers have an effect above 0 only, or some of them; and those that cut what is longer.
ABOVE_0 = (
    "epsilon",
    "delta",
    "learning_rate",
    "rate",
    "peak",
    "beta",
    "pos_weight",
    "longest",
    "clip_norm",
    "clip_value",
)
SOME_ABOVE_0 = ("class_weights",)
CUTS = ("clip_norm", "clip_value")


def changed_fields(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass object that are not at their default, by name."""
    fields = ((f.name, f.default, getattr(value, f.name)) for f in dataclasses.fields(value))
    return {name: field for name, default, field in fields if _differs(field, default)}


def require_normal(value: Any, dtype: Any) -> None:
    """Raise ArgumentError where this number type would take a small hyperparameter as 0, or a large one as infinite.

    Looked at are the numbers of the library's objects, and of those in their fields.
    """
    try:
        _require_normal(value, dtype)
    except RecursionError:
        raise ArgumentError("arguments must not hold themselves, or be nested without end") from None


def _require_normal(value: Any, dtype: Any) -> None:
    if isinstance(value, (tuple, list)):
        for one in value:
            _require_normal(one, dtype)
    elif isinstance(value, Hyperparameters):
        for name, field in ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value)):
            if type(value).__module__.startswith("gedanken."):
                _require_held(f"{type(value).__name__} {name}", name, field, np.finfo(dtype))
            _require_normal(field, dtype)


def _require_held(argument: str, name: str, field: Any, limits: Any) -> None:
    """Raise ArgumentError where a number of a field is infinite in a number type, or 0 where it must not be."""
    numbers = [number for number in _numbers(field) if math.isfinite(number)]
    low, high = float(limits.tiny), float(limits.max)
    if name in ABOVE_0 or name in SOME_ABOVE_0:
        held = [number == 0 or low <= number <= high or (number > high and name in CUTS) for number in numbers]
        rule = f"lie in [{low:.3g}, {high:.3g}] to be more than 0 and a number in {limits.dtype}"
        some = any(number >= low for number in numbers) or not numbers
        require(all(held) if name in ABOVE_0 else some, argument, rule, field)
    if name not in CUTS:
        rule = f"lie in [{-high:.3g}, {high:.3g}] to be a number in {limits.dtype}"
        require(all(abs(number) <= high for number in numbers), argument, rule, field)


def _numbers(field: Any) -> list[float]:
    """Return the numbers of a field: its own, or those in a list of them."""
    if isinstance(field, (tuple, list)):
        return [number for one in field for number in _numbers(one)]
    return [field] if isinstance(field, (int, float)) and not isinstance(field, bool) else []


def class_name(value: object) -> str:
    """Return what messages call an object: its class, or the public one where it is what the library makes of that."""
    return next(kind.__name__ for kind in type(value).__mro__ if not vars(kind).get("internal"))


def _differs(field: Any, default: Any) -> bool:
    return not isinstance(same := field == default, (bool, np.bool_)) or not same


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Hyperparameters(PlainNumbers):
    """Gives frozen dataclasses a short repr, Adam(learning_rate=0.01), and equality by value.

    Written once here, because a dataclass that generates these for itself takes a third longer to import.
    """

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in changed_fields(self).items())
        return f"{class_name(self)}({fields})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and _values(self) == _values(other)

    def __hash__(self) -> int:
        return hash((type(self), _values(self)))


def _values(value: Any) -> tuple[Any, ...]:
    return tuple(getattr(value, field.name) for field in dataclasses.fields(value))
