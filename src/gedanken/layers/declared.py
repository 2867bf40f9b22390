"""What a layer declares of its arrays, looked at before they are allocated."""

import math
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral
from typing import Any

from gedanken.checks import extent, real, require
from gedanken.errors import ArgumentError, ShapeError
from gedanken.layers.base import Layer, Param, StateValue
from gedanken.types import AnyShape, Shape

LARGEST = 1 << 48  # numbers in an array or a sample: beyond any memory, yet sizes of it are numbers of the machine


def check_sizes(name: str, shapes: Iterable[Shape], input_shape: Shape) -> None:
    """Raise ShapeError for what no machine holds, before something is computed with its size."""
    largest = max(shapes, key=math.prod)
    if math.prod(largest) > LARGEST:
        raise ShapeError(f"{name} must fit into memory, got a shape {largest} for an input {input_shape}")


def declared_params(name: str, layer: Layer, shape: Shape) -> dict[str, Param]:
    """Return the parameters that a layer declares for inputs of `shape`, their fans filled in; see Param.

    Raises:
        ArgumentError, ShapeError: what was declared is none, or a fan has to be told; `name` says which layer it is.
    """
    found = _entries(f"{name} params", layer.params(shape), Param)
    return {key: _with_fans(f"{name} params[{key!r}]", param) for key, param in found.items()}


def declared_state(name: str, layer: Layer, shape: Shape) -> dict[str, StateValue]:
    """Return the state that a layer declares for inputs of `shape`, or raise as `declared_params` does."""
    found = _entries(f"{name} state", layer.state(shape), StateValue)
    return {
        key: one._replace(value=real(f"{name} state[{key!r}] value", one.value, "(-inf, inf)"))
        for key, one in found.items()
    }


def checked_shape(where: Callable[[], str], shape: object) -> Shape:
    """Return a shape as a tuple of whole numbers >= 1, or raise ShapeError; `where` tells what it is the shape of."""
    sizes: Any = shape if isinstance(shape, (tuple, list)) else (None,)
    if not all(isinstance(size, Integral) and not isinstance(size, bool) and int(size) >= 1 for size in sizes):
        raise ShapeError(f"{where()} must be a shape of whole numbers >= 1 such as (3,), got {shape!r}")
    return tuple(map(int, sizes))


def checked_input_shape(given: Any) -> AnyShape:
    """Return the shape of one sample, channels first or, of several inputs, a dict of their names to such.

    Raises:
        ArgumentError: it is none.
    """
    if not isinstance(given, Mapping):
        return _checked_shape("input shape", given)
    require(len(given) > 0, "input shapes", "be at least one", given)
    for name in given:
        rule = "have names that are words such as image, and not merge, which is an argument of Branches"
        require(isinstance(name, str) and name.isidentifier() and name != "merge", "input shapes", rule, name)
    return {name: _checked_shape(f"input {name}", shape) for name, shape in given.items()}


def _checked_shape(argument: str, given: Any) -> Shape:
    require(isinstance(given, (tuple, list)), argument, "be a tuple such as (1, 28, 28)", given)
    checked = tuple(extent(argument, size) for size in given)
    require(len(checked) <= 3, argument, "have at most three axes, without that of the samples", given)
    return checked


def _entries(where: str, declared: Any, kind: Any) -> dict[str, Any]:
    if not isinstance(declared, Mapping):
        raise ArgumentError(f"{where} must be a dict of {kind.__name__} objects by name, got {declared!r}")
    for key, value in declared.items():
        if not isinstance(key, str) or not isinstance(value, kind):
            raise ArgumentError(f"{where} must give a {kind.__name__}(...) by name, got {key!r}: {value!r}")
    shapes = {key: checked_shape(lambda key=key: f"{where}[{key!r}]", value.shape) for key, value in declared.items()}  # type: ignore[misc]
    return {key: value._replace(shape=shapes[key]) for key, value in declared.items()}


def _with_fans(where: str, param: Param) -> Param:
    if param.rows and (param.decay or not param.shape):
        raise ArgumentError(f"{where} must have an axis of rows, and no decay, with rows=True, got {param!r}")
    if param.simplex and not (param.rows and len(param.shape) == 2):
        raise ArgumentError(f"{where} must be a matrix with rows=True to have simplex=True, got {param!r}")
    if not callable(param.init) or isinstance(param.init, type):
        raise ArgumentError(f"{where} must have an Initializer such as HeNormal() as its init, got {param.init!r}")
    window, sizes = math.prod(param.shape[:-2]), param.shape[-2:] or (1,)
    fan_in = _fan(where, param, "fan_in", param.fan_in, window * sizes[0])
    fan_out = _fan(where, param, "fan_out", param.fan_out, window * sizes[-1])
    return param._replace(fan_in=fan_in, fan_out=fan_out)


def _fan(where: str, param: Param, name: str, told: int | None, derived: int) -> int:
    if told is None and len(param.shape) < 2 and name in getattr(param.init, "fans", ()):
        means = {"fan_in": "inputs one output sums over", "fan_out": "outputs one input contributes to"}[name]
        why = f"it does not follow from the shape {param.shape}, and {param.init} needs it"
        raise ArgumentError(f"{where} must say {name}=, how many {means}: {why}")
    if told is not None and (not isinstance(told, Integral) or isinstance(told, bool) or told < 1):
        raise ArgumentError(f"{where} must have a whole number >= 1 as its {name}, got {told!r}")
    return derived if told is None else int(told)
