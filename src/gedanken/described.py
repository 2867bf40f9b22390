"""Hyperparameter objects in words: only what differs from the defaults."""

import dataclasses
from typing import Any


def changed_fields(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass object that are not at their default, by name."""
    fields = ((f.name, f.default, getattr(value, f.name)) for f in dataclasses.fields(value))
    return {name: field for name, default, field in fields if field != default}


class Described:
    """Gives a dataclass a short repr: Adam(learning_rate=0.01)."""

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in changed_fields(self).items())
        return f"{type(self).__name__}({fields})"
