"""`gedanken predict`."""

import json
from argparse import Namespace
from typing import Any

from gedanken.checks import require
from gedanken.cli.data import classes_path, picture_shape, read_classes
from gedanken.datasets import load_pictures
from gedanken.network import Network
from gedanken.types import Array


def run(arguments: Namespace) -> int:
    """Print the class of each picture, and return the exit status."""
    net = Network.load(arguments.model, engine=arguments.engine)
    channels, height, width = picture_shape(net)
    names = _names(net, arguments.model)
    read = load_pictures(arguments.pictures, (height, width), channels=channels)
    outputs = _per_class(net.feedforward(1 - read.data if arguments.invert else read.data))
    rows = [_row(str(file), output, names) for file, output in zip(read.files, outputs, strict=True)]
    print(json.dumps(rows, indent=2) if arguments.json else _table(rows))
    return 1 if read.unreadable else 0


def _names(net: Network, model: str) -> list[str]:
    """Return a name for each class: from the file beside the model, or its number."""
    shape = net.summary().total.output_shape
    require(len(shape) == 1, "the model's output", "be one number for each class (C,)", shape)
    count = max(2, shape[0])
    names = read_classes(model) or list(map(str, range(count)))
    require(len(names) == count, str(classes_path(model)), f"hold {count} names", names)
    return names


def _per_class(outputs: Array) -> Array:
    """Return (N, C); a single output is the probability of class 1."""
    if outputs.shape[1] > 1:
        return outputs
    return abs([[1, 0]] - outputs)


def _row(file: str, output: Array, names: list[str]) -> dict[str, Any]:
    number = int(output.argmax())
    return {"file": file, "class": names[number], "number": number, "probability": float(output[number])}


def _table(rows: list[dict[str, Any]]) -> str:
    wide = {key: max(len(row[key]) for row in rows) for key in ("file", "class")}
    lines = (f"{r['file']:<{wide['file']}}  {r['class']:<{wide['class']}}  {r['probability']:.4f}" for r in rows)
    return "\n".join(lines)
