"""A network as one file: its weights, and its architecture in the header."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gedanken.checks import require
from gedanken.costs import Cost
from gedanken.errors import ArgumentError, CheckpointError
from gedanken.files import replace_file
from gedanken.io.architecture import from_data, known_classes, layers_from_data, to_data
from gedanken.io.safetensors import arrays, pack, unpack
from gedanken.layers import Layer
from gedanken.optimizers import Optimizer
from gedanken.types import Array, Shape

FORMAT = "gedanken"
VERSION = 1


class Architecture(NamedTuple):
    """Everything of a network that is not an array.

    Args:
        input_shape: one sample at the door.
        layers: the layers.
        seed: its seed.
        dtype: its number type.
        epoch: epochs trained.
        cost, optimizer: as given to `regression`; None where they hold functions, which are not saved.
    """

    input_shape: Shape
    layers: tuple[Layer, ...]
    seed: int
    dtype: str
    epoch: int
    cost: Cost | None
    optimizer: Optimizer | None


def write_model(path: str, architecture: Architecture, values: Mapping[str, Array]) -> None:
    """Write a model file, whole or not at all.

    Raises:
        ArgumentError: a layer holds something that cannot be saved.
        OSError: the file cannot be written; an older one stays as it was.
    """
    data = architecture._asdict()
    data["layers"] = to_data(architecture.layers)
    data["cost"], data["optimizer"] = _optional(architecture.cost), _optional(architecture.optimizer)
    metadata = {"format": FORMAT, "version": str(VERSION), "architecture": json.dumps(data)}
    replace_file(path, pack(values, metadata))


def _optional(value: Any) -> Any:
    try:
        data = to_data(value)
        from_data(data, known_classes())
        return data
    except ArgumentError:
        return None


def read_model(path: str, classes: Sequence[type[Layer]] = ()) -> tuple[Architecture, dict[str, Array]]:
    """Read a model file.

    Args:
        path: the file.
        classes: layer classes of your own that it may name.

    Raises:
        ArgumentError: `classes` are none.
        CheckpointError: the file is missing, damaged, foreign, of a newer version, or names unknown classes.
    """
    listed = isinstance(classes, (list, tuple)) and all(
        isinstance(kind, type) and issubclass(kind, Layer) for kind in classes
    )
    require(listed, "layers", "be a list of Layer classes", classes)
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    metadata, table, data = unpack(content, path)
    if metadata.get("format") != FORMAT or not metadata.get("version", "").isdecimal():
        raise CheckpointError(f"{path} is not a model file of Gedanken")
    if int(metadata["version"]) > VERSION:
        raise CheckpointError(
            f"{path} has version {metadata['version']} of the format, this library reads up to {VERSION}: update it"
        )
    try:
        return _architecture(json.loads(metadata["architecture"]), known_classes(classes)), arrays(table, data)
    except ArgumentError as error:
        hint = "give load(..., layers=[...]) the classes of your own layers"
        raise CheckpointError(f"{path}: {error}; {hint}") from error
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} holds no architecture of this version ({error!r})") from error


def _architecture(data: dict[str, Any], known: Mapping[str, type[Any]]) -> Architecture:
    data["input_shape"] = tuple(data["input_shape"])
    data["layers"] = layers_from_data(data["layers"], known)
    data["cost"], data["optimizer"] = from_data(data["cost"], known), from_data(data["optimizer"], known)
    return Architecture(**data)
