"""What a network with several inputs or outputs has of the same samples, by their names."""

from collections.abc import Callable, Mapping
from typing import Any


class ByName:
    """Arrays of the same samples, each with a name of its own.

    Args:
        parts: arrays, Sequences, or whatever else has an axis of samples; at least one, all of as many samples.
    """

    def __init__(self, parts: Mapping[str, Any]) -> None:
        self.parts = dict(parts)

    def __len__(self) -> int:
        return len(next(iter(self.parts.values())))

    def __repr__(self) -> str:
        return f"ByName({self.parts!r})"

    def __getitem__(self, places: Any) -> "ByName":
        """Return some samples: a slice, an array or list of places."""
        return ByName({name: part[places] for name, part in self.parts.items()})

    def copy(self) -> "ByName":
        """Return the same samples in memory of their own."""
        return ByName({name: part.copy() for name, part in self.parts.items()})


def each(function: Callable[..., Any], value: Any, *others: Any) -> Any:
    """Return function(value, *others), or by name what it gives for each part of them."""
    if not isinstance(value, ByName):
        return function(value, *others)
    return ByName({name: function(part, *(one.parts[name] for one in others)) for name, part in value.parts.items()})


def parts_of(value: Any) -> list[Any]:
    """Return the parts of what has names, or the value itself as the only one."""
    return [*value.parts.values()] if isinstance(value, ByName) else [value]
