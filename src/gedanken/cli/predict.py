"""`gedanken predict`."""

import json
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

import numpy as np

from gedanken.checks import printable, require
from gedanken.cli.data import picture_shape
from gedanken.cli.output import show
from gedanken.datasets import load_pictures
from gedanken.errors import StateError
from gedanken.network import Network
from gedanken.types import Array


def run(arguments: Namespace) -> int:
    """Print the class of each picture, and return the exit status."""
    net = Network.load(arguments.model, engine=arguments.engine)
    channels, height, width = picture_shape(net)
    names = _names(net)
    read = load_pictures(arguments.pictures, (height, width), channels=channels)
    outputs = _per_class(net.feedforward(1 - read.data if arguments.invert else read.data))
    _check_finite(outputs, read.files, arguments.model)
    rows = [_row(str(file), output, names) for file, output in zip(read.files, outputs, strict=True)]
    show(json.dumps(rows, indent=2, allow_nan=False) if arguments.json else _table(rows))
    return 1 if read.unreadable else 0


def _names(net: Network) -> Sequence[str]:
    """Return a name for each class: the model's own, or its number."""
    shape = net.summary().total.output_shape
    require(len(shape) == 1, "the model's output", "be one number for each class (C,)", shape)
    count = max(2, shape[0])
    names = net.class_names or tuple(map(str, range(count)))
    require(len(names) == count, "the model's class names", f"be {count}", names)
    return names


def _check_finite(outputs: Array, files: Sequence[Any], model: str) -> None:
    wrong = ~np.isfinite(outputs).all(axis=1)
    if wrong.any():
        raise StateError(f"{model} gives {outputs[wrong][0]} for {files[int(wrong.argmax())]}: no class can be told")


def _per_class(outputs: Array) -> Array:
    """Return (N, C); a single output is the probability of class 1."""
    if outputs.shape[1] > 1:
        return outputs
    return abs([[1, 0]] - outputs)


def _row(file: str, output: Array, names: Sequence[str]) -> dict[str, Any]:
    number = int(output.argmax())
    return {"file": file, "class": names[number], "number": number, "probability": float(output[number])}


def _table(rows: list[dict[str, Any]]) -> str:
    rows = [{**row, "file": printable(row["file"]), "class": printable(row["class"])} for row in rows]
    wide = {key: max(len(row[key]) for row in rows) for key in ("file", "class")}
    lines = (f"{r['file']:<{wide['file']}}  {r['class']:<{wide['class']}}  {r['probability']:.4f}" for r in rows)
    return "\n".join(lines)
