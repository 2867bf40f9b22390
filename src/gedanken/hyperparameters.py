"""Hyperparameter objects in words: only what differs from the defaults."""

import dataclasses
from typing import Any

import numpy as np

from gedanken.checks import require
from gedanken.errors import ArgumentError
from gedanken.plain import PlainNumbers


def changed_fields(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass object that are not at their default, by name."""
    fields = ((f.name, f.default, getattr(value, f.name)) for f in dataclasses.fields(value))
    return {name: field for name, default, field in fields if _differs(field, default)}


def require_normal(value: Any, dtype: Any) -> None:
    """Raise ArgumentError where this number type would take a small hyperparameter as 0, or a large one as infinite.

    Looked at are `epsilon` and `delta` of the library's objects, of those in their fields too.
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
        limits = np.finfo(dtype)
        low, high = float(limits.tiny), float(limits.max)
        for name, field in ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value)):
            if name in ("epsilon", "delta") and type(value).__module__.startswith("gedanken."):
                rule = f"lie in [{low:.3g}, {high:.3g}] to be more than 0 and a number in {limits.dtype}"
                require(low <= field <= high, f"{type(value).__name__} {name}", rule, field)
            _require_normal(field, dtype)


def _differs(field: Any, default: Any) -> bool:
    return not isinstance(same := field == default, (bool, np.bool_)) or not same


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Hyperparameters(PlainNumbers):
    """Gives frozen dataclasses a short repr, Adam(learning_rate=0.01), and equality by value.

    Written once here, because a dataclass that generates these for itself takes a third longer to import.
    """

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in changed_fields(self).items())
        return f"{type(self).__name__}({fields})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and _values(self) == _values(other)

    def __hash__(self) -> int:
        return hash((type(self), _values(self)))


def _values(value: Any) -> tuple[Any, ...]:
    return tuple(getattr(value, field.name) for field in dataclasses.fields(value))
