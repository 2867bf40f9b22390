"""Samples by the name of a data set, folder or file, and the names of their classes."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from gedanken.checks import one_of, real, require, whole
from gedanken.cli.rows import as_taken, check_nameless, features_of, input_of, read_classes
from gedanken.datasets import load_cifar10, load_conv, load_drawn_digits, load_fashion_conv, load_images
from gedanken.datasets.cifar import CLASSES as CIFAR
from gedanken.datasets.labels import Split
from gedanken.network import Network
from gedanken.sparse import SparseRows
from gedanken.types import Array

Data = Array | SparseRows
Pair = tuple[Data, Array]
D = TypeVar("D", Array, SparseRows)
Image = tuple[int, int, int]  # (C, H, W)

DIGITS = tuple("0123456789")
CLOTHES = ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
TEST_SHARE = 0.2  # of a folder or file


class Known(NamedTuple):
    """A data set that has a name."""

    load: Callable[..., Split]
    classes: Sequence[str]


SETS = {
    "mnist": Known(load_conv, DIGITS),
    "fashion-mnist": Known(load_fashion_conv, CLOTHES),
    "cifar10": Known(load_cifar10, CIFAR),
    "drawn-digits": Known(load_drawn_digits, DIGITS),
}


class Samples(NamedTuple):
    """What a network is trained with.

    Shapes:
        train, validation: data (N, C, H, W) or rows (N, F), and labels (N, classes).
    """

    train: Pair
    validation: Pair | float | None
    classes: Sequence[str]


def is_file(name: str) -> bool:
    """Say whether samples of this name are those of a file: it is in the svmlight format."""
    return name not in SETS and Path(name).is_file()


def load_training_rows(
    name: str, features: int | None, share: float | None, limit: int | None, zero_based: bool
) -> Samples:
    """Return samples of a file to train on; a share of them is held out by whoever trains.

    Args:
        name: file in the svmlight format.
        features: of a row; None is as many as the file has.
        share: what is held out for validation; None is `TEST_SHARE`.
        limit: at most so many samples; None is all.
        zero_based: whether the first feature is called 0, else 1.
    """
    part = TEST_SHARE if share is None else real("--validation", share, "(0, 1)")
    if limit is not None:
        whole("--limit", limit, 2)  # one to train on and one to validate on
    rows, labels, classes = read_classes(name, features, zero_based)
    require(len(classes) > 1, f"the labels of {name!r}", "be of at least two classes", classes)
    return Samples(_spread(rows, labels, limit), part, classes)


def load_training(name: str, shape: Image, share: float | None, limit: int | None, seed: int, own: bool) -> Samples:
    """Return samples to train and validate on.

    Args:
        name: data set or folder.
        shape: (C, H, W) of a folder's pictures.
        share: what is held out for validation; None is the test part, or a part of each class of a folder.
        limit: at most so many samples to train on, and to validate on; None is all.
        seed: divides a folder.
        own: whether the user chose the shape, which a data set does not let him.
    """
    if name not in SETS and Path(name).is_dir():
        part = TEST_SHARE if share is None else real("--validation", share, "(0, 1)")
        read = load_images(name, shape[1:], channels=shape[0])
        require(len(read.classes) > 1, f"the folder {name!r}", "hold at least two folders of classes", read.classes)
        a, b, c, d = read.split(part, seed)
        return Samples(_spread(a, b, limit), _spread(c, d, limit) if len(c) else None, read.classes)
    require(not own, "--size and --grey", "go with a folder of pictures", name)
    (a, b, c, d), classes = _load_set(name, limit)
    return Samples((a, b), (c, d) if share is None else share, classes)


def load_test(name: str, net: Network, limit: int | None, zero_based: bool) -> tuple[Data, Array, Sequence[str]]:
    """Return data, labels and classes of a data set's test part, of all pictures of a folder or all rows of a file."""
    if is_file(name):
        rows, answers, found = read_classes(name, features_of(net), zero_based)
        check_nameless(net, name, found)
        return *_spread(rows, answers, limit), found
    refuse_zero_based(zero_based, name)
    input_of(net)
    if name not in SETS and Path(name).is_dir():
        shape = picture_shape(net)
        read = load_images(name, shape[1:], channels=shape[0])
        return *_spread(read.data, read.labels, limit), read.classes
    (_, _, data, labels), classes = _load_set(name, limit)
    return data, labels, classes


def _load_set(name: str, limit: int | None) -> tuple[Split, Sequence[str]]:
    known = SETS[one_of("DATA that is no existing file or folder", name, SETS)]
    if limit is None:
        return known.load(), known.classes
    count = whole("--limit", limit)
    parts = load_drawn_digits(min(count, 60000), min(count, 10000)) if name == "drawn-digits" else known.load()
    a, b, c, d = (part[:count] for part in parts)
    return (a, b, c, d), known.classes


def refuse_zero_based(zero_based: bool, name: str) -> None:
    """Raise ArgumentError where an option of files was given with something else."""
    require(not zero_based, "--zero-based", "go with a file in the svmlight format", name)


def _spread(data: D, labels: Array, limit: int | None) -> tuple[D, Array]:
    """Return at most `limit` samples, evenly from all: a folder's are sorted by class."""
    if limit is None or whole("--limit", limit) >= len(data):
        return data, labels
    rows = np.arange(limit) * len(data) // limit
    return data[rows], labels[rows]


# ---------------------------------------------------------------------------------------------- for a network


def picture_shape(net: Network) -> Image:
    """Return (C, H, W), or raise ArgumentError for a network that does not take pictures."""
    shape = input_of(net)
    require(len(shape) == 3 and shape[0] in (1, 3), "the model's input", "be pictures (1 or 3, H, W)", shape)
    return shape[0], shape[1], shape[2]


def as_input(net: Network, data: Data) -> Any:
    """Return the data: pictures as flat rows and sparse rows as an array, where the network takes such."""
    if isinstance(data, SparseRows):
        return as_taken(net, data)
    flat = net.input_shape == (math.prod(data.shape[1:]),)
    return data.reshape(len(data), -1) if flat else data


def as_target(net: Network, labels: Array) -> Array:
    """Return one-hot labels, or class numbers for a network with a single output."""
    return labels.argmax(axis=1) if net.summary().total.output_shape == (1,) else labels


# ---------------------------------------------------------------------------------------------- names of classes


def match_classes(labels: Array, classes: Sequence[str], known: Sequence[str] | None) -> Array:
    """Return one-hot labels of `classes` as those of the model's `known` ones, matched by name."""
    if known is None:
        return labels
    places = [known.index(one_of("a class of DATA", name, known)) for name in classes]
    matched = np.zeros((len(labels), len(known)), labels.dtype)
    matched[:, places] = labels
    return matched
