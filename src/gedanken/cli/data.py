"""Samples by the name of a data set or folder, and the names of their classes."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gedanken.checks import one_of, real, require, whole
from gedanken.datasets import load_cifar10, load_conv, load_drawn_digits, load_fashion_conv, load_images
from gedanken.datasets.cifar import CLASSES as CIFAR
from gedanken.datasets.labels import Split
from gedanken.network import Network
from gedanken.types import Array

Pair = tuple[Array, Array]
Image = tuple[int, int, int]  # (C, H, W)

DIGITS = tuple("0123456789")
CLOTHES = ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
TEST_SHARE = 0.2  # of a folder


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
        train, validation: data (N, C, H, W) and labels (N, classes).
    """

    train: Pair
    validation: Pair | float | None
    classes: Sequence[str]


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


def load_test(name: str, net: Network, limit: int | None) -> tuple[Array, Array, Sequence[str]]:
    """Return data, labels and classes of a data set's test part, or of all pictures of a folder."""
    if name not in SETS and Path(name).is_dir():
        shape = picture_shape(net)
        read = load_images(name, shape[1:], channels=shape[0])
        return *_spread(read.data, read.labels, limit), read.classes
    (_, _, data, labels), classes = _load_set(name, limit)
    return data, labels, classes


def _load_set(name: str, limit: int | None) -> tuple[Split, Sequence[str]]:
    known = SETS[one_of("DATA that is no existing folder", name, SETS)]
    if limit is None:
        return known.load(), known.classes
    count = whole("--limit", limit)
    parts = load_drawn_digits(min(count, 60000), min(count, 10000)) if name == "drawn-digits" else known.load()
    a, b, c, d = (part[:count] for part in parts)
    return (a, b, c, d), known.classes


def _spread(data: Array, labels: Array, limit: int | None) -> Pair:
    """Return at most `limit` samples, evenly from all: a folder's are sorted by class."""
    if limit is None or whole("--limit", limit) >= len(data):
        return data, labels
    rows = np.arange(limit) * len(data) // limit
    return data[rows], labels[rows]


# ---------------------------------------------------------------------------------------------- for a network


def picture_shape(net: Network) -> Image:
    """Return (C, H, W), or raise ArgumentError for a network that does not take pictures."""
    shape = net.input_shape or ()
    require(len(shape) == 3 and shape[0] in (1, 3), "the model's input", "be pictures (1 or 3, H, W)", shape)
    channels, height, width = shape
    return channels, height, width


def as_input(net: Network, data: Array) -> Array:
    """Return the data, as flat rows where the network takes such."""
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
