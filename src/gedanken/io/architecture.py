"""Layers, costs and optimizers as plain data, and back; the only names that data may give."""

import dataclasses
import inspect
import numbers
from collections.abc import Iterable, Mapping
from typing import Any

from gedanken import costs, init, layers, optimizers, schedules
from gedanken.checks import one_of
from gedanken.described import changed_fields
from gedanken.errors import ArgumentError, GedankenError
from gedanken.init import Initializer
from gedanken.layers import Branches, Layer
from gedanken.optimizers import Optimizer
from gedanken.schedules import Schedule


def _kinds(module: Any, base: type[Any]) -> tuple[type[Any], ...]:
    """Return the public classes of a module that objects can be made of."""
    kinds = (kind for name, kind in vars(module).items() if not name.startswith("_") and isinstance(kind, type))
    return tuple(kind for kind in kinds if issubclass(kind, base) and not inspect.isabstract(kind))


LAYERS = _kinds(layers, Layer)
OPTIMIZERS = _kinds(optimizers, Optimizer)
OTHERS = (*costs.COSTS.values(), *_kinds(init, Initializer), *_kinds(schedules, Schedule))

Known = Mapping[str, type[Any]]


def known_classes(extra: Iterable[type[Any]] = ()) -> Known:
    """Return the classes that data may name: the library's own and the `extra` ones of a user."""
    return {kind.__name__: kind for kind in (*LAYERS, *OPTIMIZERS, *OTHERS, *extra)}


def to_data(value: Any) -> Any:
    """Return a layer, cost, optimizer or part of one as dicts, lists, numbers and strings.

    Fields at their default value are left out.

    Raises:
        ArgumentError: a field holds something that is no such data, such as a function.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        name = type(value).__name__
        if known_classes().get(name, type(value)) is not type(value):
            raise ArgumentError(f"{value!r} cannot be saved: its class has the name of one of the library's; rename it")
        fields = {field: to_data(given) for field, given in changed_fields(value).items()}
        return {"type": name, **fields}
    if isinstance(value, (tuple, list)):
        return [to_data(part) for part in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, numbers.Real):  # a NumPy scalar
        return int(value) if isinstance(value, numbers.Integral) else float(value)
    raise ArgumentError(f"{value!r} cannot be saved: only numbers, strings, layers and their parts are data")


def from_data(data: Any, known: Known) -> Any:
    """Return what `to_data` was given.

    Raises:
        ArgumentError: the data names an unknown class or argument, or a value breaks its rule.
    """
    if isinstance(data, list):
        return tuple(from_data(part, known) for part in data)
    if not isinstance(data, dict):
        return data
    kind = known[one_of("type", data.get("type"), known)]
    fields = {name: from_data(value, known) for name, value in data.items() if name != "type"}
    positional = fields.pop("branches", ()) if kind is Branches else ()
    try:
        return kind(*positional, **fields)
    except GedankenError:
        raise
    except TypeError as error:
        raise ArgumentError(f"{kind.__name__} does not take {sorted(fields)} ({error})") from None


def layers_from_data(data: Any, known: Known) -> tuple[Layer, ...]:
    """Return a list of layers, or raise ArgumentError."""
    if not isinstance(data, list) or not data:
        raise ArgumentError(f"layers must be a list of at least one layer, got {data!r}")
    layers = from_data(data, known)
    for position, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise ArgumentError(f"layers[{position}] must be a layer, got {layer!r}")
    return layers
