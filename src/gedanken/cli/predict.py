"""`gedanken predict`."""

import json
from argparse import Namespace
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from gedanken.checks import printable, require
from gedanken.cli.data import picture_shape
from gedanken.cli.output import show
from gedanken.cli.rows import as_taken, features_of, takes_rows
from gedanken.costs import Hinge
from gedanken.datasets import load_pictures, load_svmlight
from gedanken.errors import StateError
from gedanken.network import Network
from gedanken.types import Array

Told: TypeAlias = dict[str, Any]  # what is printed of one picture or row


def run(arguments: Namespace) -> int:
    """Print the class of each picture or row, and return the exit status."""
    net = Network.load(arguments.model, engine=arguments.engine)
    told, status = (_of_rows if takes_rows(net) else _of_pictures)(net, arguments)
    show(json.dumps(told, indent=2, allow_nan=False) if arguments.json else _table(told))
    return status


def _of_pictures(net: Network, arguments: Namespace) -> tuple[list[Told], int]:
    require(not arguments.zero_based, "--zero-based", "go with a model of rows", arguments.model)
    channels, height, width = picture_shape(net)
    names = _names(net)
    read = load_pictures(arguments.files, (height, width), channels=channels)
    places = [{"file": str(file)} for file in read.files]
    data = 1 - read.data if arguments.invert else read.data
    return _told(net, data, names, places, arguments.model), 1 if read.unreadable else 0


def _of_rows(net: Network, arguments: Namespace) -> tuple[list[Told], int]:
    require(not arguments.invert, "--invert", "go with a model of pictures", arguments.model)
    names = _names(net)
    told: list[Told] = []
    for file in arguments.files:
        rows, _ = load_svmlight(file, features=features_of(net), zero_based=arguments.zero_based)
        places = [{"file": file, "row": row} for row in range(1, len(rows) + 1)]
        told += _told(net, as_taken(net, rows), names, places, arguments.model)
    return told, 0


def _names(net: Network) -> Sequence[str]:
    """Return a name for each class: the model's own, or its number."""
    shape = net.summary().total.output_shape
    require(len(shape) == 1, "the model's output", "be one number for each class (C,)", shape)
    count = max(2, shape[0])
    names = net.class_names or tuple(map(str, range(count)))
    require(len(names) == count, "the model's class names", f"be {count}", names)
    return names


def _told(net: Network, data: Any, names: Sequence[str], places: Sequence[Told], model: str) -> list[Told]:
    """Return for each sample its place, class and the output for this class."""
    outputs = _per_class(net, net.feedforward(data))
    wrong = ~np.isfinite(outputs).all(axis=1)
    if wrong.any():
        where = _place(places[int(wrong.argmax())])
        raise StateError(f"{model} gives {outputs[wrong][0]} for {where}: no class can be told")
    numbers = outputs.argmax(axis=1)
    return [
        {**place, "class": names[number], "number": int(number), "probability": float(output[number])}
        for place, number, output in zip(places, numbers, outputs, strict=True)
    ]


def _per_class(net: Network, outputs: Array) -> Array:
    """Return (N, C); a single output is the probability of class 1, or with hinge the score of it."""
    if outputs.shape[1] > 1:
        return outputs
    return outputs * [-1, 1] if isinstance(net._cost, Hinge) else abs([[1, 0]] - outputs)


def _place(told: Told) -> str:
    return f"{told['file']}:{told['row']}" if "row" in told else told["file"]


def _table(told: Sequence[Told]) -> str:
    lines = [(printable(_place(one)), printable(one["class"]), f"{one['probability']:.4f}") for one in told]
    place, name = (max(len(line[column]) for line in lines) for column in (0, 1))
    return "\n".join(f"{line[0]:<{place}}  {line[1]:<{name}}  {line[2]}" for line in lines)
