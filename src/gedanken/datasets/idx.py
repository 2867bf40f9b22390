"""MNIST and Fashion-MNIST: 28 x 28 grey pictures of ten classes in gzipped idx files."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from gedanken.datasets.fetch import Published, fetch, unpacked
from gedanken.datasets.labels import Split, one_hot
from gedanken.errors import DatasetError
from gedanken.types import Array, Shape

UNSIGNED_BYTE: Final = 0x08
NAMES: Final = (
    ("train-images-idx3-ubyte.gz", (60000, 28, 28)),
    ("train-labels-idx1-ubyte.gz", (60000,)),
    ("t10k-images-idx3-ubyte.gz", (10000, 28, 28)),
    ("t10k-labels-idx1-ubyte.gz", (10000,)),
)
MNIST: Final = (
    "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "d53e105ee54ea40749a09fcbcd1e9432",
    "9fb629c4189551a2d022fa330f9573f3",
    "ec29112dd5afa0611ce80d1b7f02629c",
)
MNIST_MIRRORS: Final = ("https://ossci-datasets.s3.amazonaws.com/mnist/",)
FASHION: Final = (
    "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "25c81989df183df01b3e8a0aad5dffbe",
    "bef4ecab320f06d8554ea6380940ec79",
    "bb300cfdad3c16e7a12a480ee83cd310",
)
FASHION_MIRRORS: Final = ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",)


def load_conv(*, _mirrors: Sequence[str] = MNIST_MIRRORS) -> Split:
    """Load MNIST, the handwritten digits, as pictures for convolutions.

    Looks in $GEDANKEN_DATA/mnist and the user's cache folder, then downloads with a checksum (needs pooch).

    Returns:
        train_data, train_labels, test_data, test_labels: 60,000 and 10,000 samples.

    Shapes:
        data: (N, 1, 28, 28), float32 in [0, 1], 0 is paper.   labels: (N, 10), float32, one-hot.

    Raises:
        DatasetError: no place has the files; names each place and what was wrong there.

    Source:
        LeCun et al. 1998, "Gradient-based learning applied to document recognition". Differs: nothing.
    """
    return _load("mnist", MNIST, _mirrors, (1, 28, 28))


def load_fc(*, _mirrors: Sequence[str] = MNIST_MIRRORS) -> Split:
    """Load MNIST as flat rows for fully connected layers; else as `load_conv`.

    Shapes:
        data: (N, 784), float32 in [0, 1], row after row.   labels: (N, 10), float32, one-hot.

    Raises:
        DatasetError: no place has the files; names each place and what was wrong there.
    """
    return _load("mnist", MNIST, _mirrors, (784,))


def load_fashion_conv(*, _mirrors: Sequence[str] = FASHION_MIRRORS) -> Split:
    """Load Fashion-MNIST, ten kinds of clothing, as pictures for convolutions; else as `load_conv`.

    Classes: T-shirt/top, trouser, pullover, dress, coat, sandal, shirt, sneaker, bag, ankle boot.

    Shapes:
        data: (N, 1, 28, 28), float32 in [0, 1].   labels: (N, 10), float32, one-hot.

    Raises:
        DatasetError: no place has the files; names each place and what was wrong there.

    Source:
        Xiao, Rasul & Vollgraf 2017, arXiv:1708.07747. Differs: nothing.
    """
    return _load("fashion-mnist", FASHION, _mirrors, (1, 28, 28))


def load_fashion_fc(*, _mirrors: Sequence[str] = FASHION_MIRRORS) -> Split:
    """Load Fashion-MNIST as flat rows for fully connected layers; else as `load_fashion_conv`.

    Shapes:
        data: (N, 784), float32 in [0, 1], row after row.   labels: (N, 10), float32, one-hot.

    Raises:
        DatasetError: no place has the files; names each place and what was wrong there.
    """
    return _load("fashion-mnist", FASHION, _mirrors, (784,))


def parse_idx(packed: bytes, name: str, shape: Shape) -> Array:
    """Return the array of bytes in a gzipped idx file.

    The file is 0, 0, 8 (unsigned byte), the number of axes, each axis as a big-endian 32-bit number, data.

    Args:
        packed: content of the file.
        name: the file's name, for messages.
        shape: the shape that the file must have.

    Raises:
        DatasetError: the file is damaged, or holds another type, shape or size.
    """
    header = bytes([0, 0, UNSIGNED_BYTE, len(shape)]) + b"".join(axis.to_bytes(4, "big") for axis in shape)
    content = unpacked(packed, name, len(header) + math.prod(shape))
    found = content[: len(header)]
    if found != header:
        raise DatasetError(f"{name} must start with {header.hex(' ', 4)} for shape {shape}, got {found.hex(' ', 4)}")
    size = len(content) - len(header)
    if size != math.prod(shape):
        raise DatasetError(f"{name} must hold {math.prod(shape)} bytes after its header, got {size}")
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape)


def _load(folder: str, checksums: Sequence[str], mirrors: Sequence[str], shape: Shape) -> Split:
    train, train_numbers, test, test_numbers = (
        parse_idx(fetch(Published(folder, name, md5), mirrors), f"{folder}/{name}", size)
        for (name, size), md5 in zip(NAMES, checksums, strict=True)
    )
    return (
        _scale(train, shape),
        one_hot(train_numbers, 10),
        _scale(test, shape),
        one_hot(test_numbers, 10),
    )


def _scale(pixels: Array, shape: Shape) -> Array:
    return np.divide(pixels, np.float32(255)).reshape(-1, *shape)
