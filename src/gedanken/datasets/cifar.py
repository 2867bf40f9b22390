"""CIFAR-10: 32 x 32 colour pictures of ten classes."""

import io
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import numpy as np

from gedanken.checks import warn
from gedanken.datasets.decoding import Decoder
from gedanken.datasets.fetch import Published, Search, unpacked
from gedanken.datasets.labels import Split, one_hot
from gedanken.errors import DatasetError, MissingPackageError
from gedanken.types import Array

ORIGINAL: Final = Published("cifar10", "cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530")
JPEG: Final = Published("cifar10", "cifar10-jpeg.tar.gz", "7c649962e2ddaa3665b4c136122f08c4")
SAMPLE: Final = Published("cifar10", "data_batch_1_first4000.bin.gz", "ba5751a994061e7665552380f5daddb6")
MIRRORS: Final = ("https://www.cs.toronto.edu/~kriz/",)
CLASSES: Final = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
SAMPLE_TEST: Final = 1000
SHAPE: Final = (3, 32, 32)
RECORD: Final = 1 + 3 * 32 * 32  # a label byte, then the red, green and blue plane
MOST_BYTES: Final = 1 << 28  # of any of these files once it is unpacked; the original has 184 million


def load_cifar10(*, _mirrors: Sequence[str] = MIRRORS) -> Split:
    """Load CIFAR-10: 50,000 training and 10,000 test pictures.

    Takes the first of these that is there and has its published checksum:

    1. `cifar-10-binary.tar.gz`, the original, in $GEDANKEN_DATA/cifar10 or the user's cache folder;
    2. `cifar10-jpeg.tar.gz` in $GEDANKEN_DATA/cifar10: all pictures, compressed with loss (needs Pillow);
    3. the original, downloaded (needs pooch);
    4. `data_batch_1_first4000.bin.gz` in $GEDANKEN_DATA/cifar10: 3,000 training and 1,000 test pictures.

    Numbers 2 and 4 say so by a GedankenWarning. The original and the sample keep their published order. In
    the JPEG form picture k is of class k % 10, the (k // 10)-th of its class, so classes are evenly mixed.

    Classes: airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck.

    Returns:
        train_data, train_labels, test_data, test_labels.

    Shapes:
        data: (N, 3, 32, 32), float32 in [0, 1], red, green, blue.   labels: (N, 10), float32, one-hot.

    Raises:
        DatasetError: no place has any of them; names each place and what was wrong there.

    Source:
        Krizhevsky 2009, "Learning multiple layers of features from tiny images". Differs: nothing for the
        original; results on numbers 2 and 4 do not compare with published ones.
    """
    search = Search(ORIGINAL)
    original = search.local()
    if original is None:
        lossy = _lossy(search)
        if lossy is not None:
            return lossy
        original = search.download(_mirrors)
    if original is not None:
        return _from_archive(original)
    return _sample(search)


def _lossy(search: Search) -> Split | None:
    packed = _substitute(search, JPEG)
    if packed is None:
        return None
    try:
        split = _from_jpeg(packed)
    except MissingPackageError as error:
        search.tried.append(f"{JPEG.name}: {error}")
        return None
    _warn(f"{JPEG.name}: pictures compressed with loss, about 8 of 255 grey levels off the original")
    return split


def _sample(search: Search) -> Split:
    packed = _substitute(search, SAMPLE)
    if packed is None:
        raise search.failure()
    with _understood(SAMPLE.name):
        data, labels = _from_records(unpacked(packed, SAMPLE.name, MOST_BYTES), SAMPLE.name)
    _warn(f"{SAMPLE.name}: {len(data)} of the 60000 pictures, the last {SAMPLE_TEST} of them as the test set")
    return data[:-SAMPLE_TEST], labels[:-SAMPLE_TEST], data[-SAMPLE_TEST:], labels[-SAMPLE_TEST:]


def _substitute(search: Search, file: Published) -> bytes | None:
    """Return a stand-in from $GEDANKEN_DATA, and add to `search` why there is none."""
    other = Search(file)
    content = other.environment()
    search.tried += [place for place in other.tried if place not in search.tried]
    return content


def _warn(what: str) -> None:
    warn(f"CIFAR-10 is not the original but {what}")


@contextmanager
def _understood(name: str) -> Iterator[None]:
    """Turn what damaged content leads to into the library's own error."""
    try:
        yield
    except DatasetError:
        raise
    except (tarfile.TarError, LookupError, ValueError, EOFError) as error:
        raise DatasetError(f"{name} must be the published file: {type(error).__name__}: {error}") from error


def _from_archive(packed: bytes) -> Split:
    with _understood(ORIGINAL.name):
        contents = _members(packed, ORIGINAL.name)
        names = [f"cifar-10-batches-bin/data_batch_{batch}.bin" for batch in range(1, 6)]
        data, labels = _from_records(b"".join(contents[name] for name in names), ORIGINAL.name)
        return data, labels, *_from_records(contents["cifar-10-batches-bin/test_batch.bin"], ORIGINAL.name)


def _from_records(content: bytes, name: str) -> tuple[Array, Array]:
    if len(content) % RECORD:
        raise DatasetError(f"{name} must hold whole records of {RECORD} bytes, got {len(content)} bytes")
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    data = np.divide(records[:, 1:], np.float32(255)).reshape(-1, *SHAPE)
    return data, one_hot(records[:, 0], len(CLASSES))


def _from_jpeg(packed: bytes) -> Split:
    parts: dict[str, list[tuple[str, str, bytes]]] = {"train": [], "test": []}
    with _understood(JPEG.name):
        for name, content in _members(packed, JPEG.name).items():
            _, part, label, number = name.split("/")
            parts[part].append((number, label, content))
        (a, b), (c, d) = (_decode(sorted(pictures)) for pictures in parts.values())
        return a, b, c, d


def _decode(pictures: list[tuple[str, str, bytes]]) -> tuple[Array, Array]:
    decoder = Decoder(SHAPE[1:], SHAPE[0], "stretch", max_pixels=SHAPE[1] * SHAPE[2])
    data = np.empty((len(pictures), *SHAPE), np.float32)
    for place, (_, _, content) in enumerate(pictures):
        data[place] = decoder.picture(content)
    return data, one_hot(np.array([CLASSES.index(label) for _, label, _ in pictures]), len(CLASSES))


def _members(packed: bytes, name: str) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(unpacked(packed, name, MOST_BYTES)), mode="r:") as archive:
        opened = ((member.name, archive.extractfile(member)) for member in archive if member.isreg())
        return {place: file.read() for place, file in opened if file is not None}
