"""Rows of files in the svmlight format, with their labels as classes."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gedanken.checks import require
from gedanken.datasets import load_svmlight
from gedanken.datasets.labels import one_hot
from gedanken.errors import ArgumentError
from gedanken.network import Network
from gedanken.processors import memory_bytes
from gedanken.sparse import SparseRows
from gedanken.types import Array, Shape

MOST_CLASSES = 1000  # more different labels are rather measured values


def read_classes(name: str, features: int | None, zero_based: bool) -> tuple[SparseRows, Array, tuple[str, ...]]:
    """Return rows, labels and the classes: the file's different labels from the least to the largest, as texts.

    Args:
        name: the file.
        features: as of `load_svmlight`.
        zero_based: whether the first feature is called 0, else 1.

    Shapes:
        first result: (N, F).   second: (N, classes), one-hot.

    Raises:
        DatasetError: the file cannot be read as such rows.
        ArgumentError: the labels are no classes.
    """
    rows, labels = load_svmlight(name, features=features, zero_based=zero_based)
    rule = f"the labels of {name!r} are classes here; they must be"
    if labels.dtype.kind != "i":
        found = next(label for label in labels.tolist() if not (label.is_integer() and abs(label) < 2**63))
        raise ArgumentError(f"{rule} whole numbers, got {found}")
    classes, numbers = np.unique(labels, return_inverse=True)
    if len(classes) > MOST_CLASSES:
        raise ArgumentError(f"{rule} at most {MOST_CLASSES:,} different ones, got {len(classes):,}")
    return rows, one_hot(numbers, len(classes)), tuple(map(str, classes.tolist()))


def takes_rows(net: Network) -> bool:
    """Say whether a network's samples are rows of features."""
    return len(input_of(net)) == 1


def input_of(net: Network) -> Shape:
    """Return the shape of one sample, or raise ArgumentError for several inputs or outputs, and for tokens."""
    one = not isinstance(net.input_shape, Mapping) and not isinstance(net.summary().total.output_shape, Mapping)
    rule = "have one input and one output for files and folders; use it from Python"
    require(one, "the model", rule, net)
    told = "take pictures or rows of features here; what takes tokens or texts is used from Python, by Network.load"
    require(net.layers[0].tokens is None, "the model", told, net.layers[0])
    found: Shape = net.input_shape or ()
    return found


def features_of(net: Network) -> int:
    """Return the features of a network's rows, or raise ArgumentError where it takes something else."""
    shape = input_of(net)
    require(takes_rows(net), "the model's input", "be (features,) for a file in the svmlight format", shape)
    return shape[0]


def check_nameless(net: Network, name: str, classes: tuple[str, ...]) -> None:
    """Raise ArgumentError where it is not known which outputs of a model without class names are these classes."""
    count = max(2, math.prod(net.summary().total.output_shape))
    rule = f"be {count} different ones, because the model names no classes and has as many"
    require(net.class_names is not None or len(classes) == count, f"the labels of {name!r}", rule, classes)


def as_taken(net: Network, rows: SparseRows) -> Any:
    """Return rows as they are where the network takes such, else as an array (N, F).

    Raises:
        ArgumentError: memory has no room for the array.
    """
    if net.layers[0].sparse:
        return rows
    narrow = rows.astype(np.dtype(net.summary().dtype))
    size = math.prod(rows.shape) * narrow.dtype.itemsize
    if size > memory_bytes():
        raise ArgumentError(
            f"rows with all their zeros must fit into memory, got {rows.shape}, which take {size / 2**30:,.1f} GiB; "
            "a network that begins with SparseFullyConnectedLayer needs no zeros"
        )
    return narrow.toarray()
