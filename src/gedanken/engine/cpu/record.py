"""Records: numbers and pointers that kernels and helpers take under one name.

    class Activation(Record):
        kind: Int
        slope: Real

A kernel with a parameter `f: Activation` reads `f.kind`; the lowering hands it `f=Activation(kind=1, slope=0.0)`, and
so can a kernel hand one to a helper. A field may be a record again. Machine code knows no records: each field is a
parameter of its own, in the order of the class, so a record costs what its fields cost.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self, dataclass_transform

import numpy as np

from gedanken.errors import KernelError
from gedanken.types import Array


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Record:
    """What has named fields; they are given by name, all of them, and stay as they are."""

    def __init__(self, **fields: Any) -> None:
        check_names(type(self), fields)
        vars(self).update(fields)

    def __setattr__(self, name: str, value: Any) -> None:
        raise KernelError(f"{type(self).__name__}.{name} cannot be set: a record stays as it was made")

    @classmethod
    def read(cls, rows: Any, number: int) -> Self:
        """Return row number `number` of a table that `table_of` made; all fields are whole numbers."""
        names = fields_of(cls)
        return cls(**{name: rows[number * len(names) + place] for place, name in enumerate(names)})


def is_record(kind: Any) -> bool:
    """Return whether a type is a record's."""
    return isinstance(kind, type) and issubclass(kind, Record) and kind is not Record


def fields_of(record: type[Record]) -> dict[str, Any]:
    """Return the types of a record's fields."""
    return record.__annotations__


def check_names(record: type[Record], given: Mapping[str, Any]) -> None:
    """Refuse a record with fields that it does not have, or without some that it has."""
    wanted = fields_of(record).keys()
    for name in [name for name in given if name not in wanted]:
        raise KernelError(f"{record.__name__} has no field {name}; it has {', '.join(wanted)}")
    for name in [name for name in wanted if name not in given]:
        raise KernelError(f"{record.__name__} is given no {name}")


def parts_of(name: str, kind: Any) -> Iterator[tuple[str, Any]]:
    """Yield the parameters (name, type) that a parameter is in machine code: itself, or a record's fields."""
    if is_record(kind):
        for field, inner in fields_of(kind).items():
            yield from parts_of(f"{name}.{field}", inner)
    else:
        yield name, kind


def flattened(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments by the names of `parts_of`."""
    found: dict[str, Any] = {}
    for name, value in arguments.items():
        if isinstance(value, Record):
            found |= {f"{name}.{field}": inner for field, inner in flattened(vars(value)).items()}
        else:
            found[name] = value
    return found


def gathered(kind: Any, values: Iterator[Any]) -> Any:
    """Return an argument of a type, made of the next of all values in the order of `parts_of`."""
    if is_record(kind):
        return kind(**{name: gathered(inner, values) for name, inner in fields_of(kind).items()})
    return next(values)


def table_of(rows: Sequence[Record]) -> Array:
    """Return records of whole numbers as a table, one in each row."""
    return np.array([list(vars(row).values()) for row in rows], np.int64)
