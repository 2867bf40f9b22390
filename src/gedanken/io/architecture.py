"""Layers, costs and optimizers as plain data, and back; the one table of names that this is allowed to make."""

import dataclasses
import numbers
from collections.abc import Iterable, Mapping
from typing import Any

from gedanken import init, schedules
from gedanken.checks import one_of
from gedanken.costs import BinaryCrossEntropy, Cost, CrossEntropy, Huber, MeanAbsolute, MeanSquared
from gedanken.described import changed_fields
from gedanken.errors import ArgumentError, GedankenError
from gedanken.layers import (
    GELU,
    AveragePoolLayer,
    BatchNorm,
    Branches,
    Chain,
    ConvolutionLayer,
    Dropout,
    Embedding,
    Flatten,
    FullyConnectedLayer,
    GlobalAveragePoolLayer,
    GroupNorm,
    Layer,
    LayerNorm,
    LeakyReLU,
    MaxPoolLayer,
    ReLU,
    Reshape,
    Residual,
    Sigmoid,
    SiLU,
    SoftMax,
    TanH,
)
from gedanken.optimizers import SGD, AdaGrad, Adam, AdamW, Lion, Momentum, Nesterov, Optimizer, RMSProp

LAYERS: tuple[type[Layer], ...] = (
    AveragePoolLayer,
    BatchNorm,
    Branches,
    Chain,
    ConvolutionLayer,
    Dropout,
    Embedding,
    Flatten,
    FullyConnectedLayer,
    GELU,
    GlobalAveragePoolLayer,
    GroupNorm,
    LayerNorm,
    LeakyReLU,
    MaxPoolLayer,
    ReLU,
    Reshape,
    Residual,
    SiLU,
    Sigmoid,
    SoftMax,
    TanH,
)
COSTS: tuple[type[Cost], ...] = (BinaryCrossEntropy, CrossEntropy, Huber, MeanAbsolute, MeanSquared)
OPTIMIZERS: tuple[type[Optimizer], ...] = (AdaGrad, Adam, AdamW, Lion, Momentum, Nesterov, RMSProp, SGD)
PARTS: tuple[type[Any], ...] = (
    init.Constant,
    init.GlorotNormal,
    init.GlorotUniform,
    init.HeNormal,
    init.HeUniform,
    init.Zeros,
    schedules.ConstantRate,
    schedules.CosineDecay,
    schedules.ExponentialDecay,
    schedules.OnPlateau,
    schedules.OneCycle,
    schedules.StepDecay,
    schedules.WarmUp,
)

Known = Mapping[str, type[Any]]


def known_classes(extra: Iterable[type[Any]] = ()) -> Known:
    """Return the classes that data may name: the library's own and the `extra` ones of a user."""
    return {kind.__name__: kind for kind in (*LAYERS, *COSTS, *OPTIMIZERS, *PARTS, *extra)}


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
