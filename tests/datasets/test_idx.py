"""MNIST and Fashion-MNIST, and the idx files that they come in."""

import gzip
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gedanken.datasets import load_conv, load_fashion_conv, load_fashion_fc, load_fc
from gedanken.datasets.idx import NAMES, parse_idx
from gedanken.errors import DatasetError

LOADERS = [
    pytest.param(load_conv, (1, 28, 28), "mnist", id="load_conv"),
    pytest.param(load_fc, (784,), "mnist", id="load_fc"),
    pytest.param(load_fashion_conv, (1, 28, 28), "fashion-mnist", id="load_fashion_conv"),
    pytest.param(load_fashion_fc, (784,), "fashion-mnist", id="load_fashion_fc"),
]


def pack(values: np.ndarray, type_code: int = 8) -> bytes:
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, type_code, values.ndim, *values.shape)
    return gzip.compress(header + values.tobytes())


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=3, max_side=6)))
def test_parse_gives_back_what_was_packed(values):
    np.testing.assert_array_equal(parse_idx(pack(values), "toys", values.shape), values)


@given(st.binary(max_size=60))
def test_any_other_bytes_are_refused(content):
    with pytest.raises(DatasetError, match="toys"):
        parse_idx(content, "toys", (2, 3))


GOOD = np.arange(6, dtype=np.uint8).reshape(2, 3)
PACKED = pack(GOOD)
BAD = {
    "not gzip": b"\x00\x00\x08\x02",
    "empty": b"",
    "gzip cut": PACKED[:-9],
    "gzip checksum": PACKED[:-8] + b"\0\0\0\0" + PACKED[-4:],
    "type": pack(GOOD, 9),
    "axes": pack(GOOD.ravel()),
    "shape": pack(GOOD.T.copy()),
    "too short": gzip.compress(gzip.decompress(PACKED)[:-1]),
    "too long": gzip.compress(gzip.decompress(PACKED) + b"\0"),
    "bomb": gzip.compress(gzip.decompress(PACKED) + bytes(1 << 24)),
    "header cut": gzip.compress(gzip.decompress(PACKED)[:7]),
}


@pytest.mark.parametrize("packed", BAD.values(), ids=BAD.keys())
def test_damage_is_named(packed):
    with pytest.raises(DatasetError, match=r"toys/images\.gz must"):
        parse_idx(packed, "toys/images.gz", (2, 3))


def test_a_bomb_is_not_unpacked():
    packed = gzip.compress(bytes(1 << 28), 1)
    tracemalloc.start()
    with pytest.raises(DatasetError, match=r"toys/images\.gz must hold no more than 18 bytes"):
        parse_idx(packed, "toys/images.gz", (2, 3))
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()


@pytest.mark.parametrize(("loader", "shape", "folder"), LOADERS)
def test_nothing_found(loader, shape, folder, cache):
    with pytest.raises(DatasetError, match=f"no usable {folder}/train-images"):
        loader(_mirrors=())


@pytest.mark.parametrize("real_data", [("mnist", "fashion-mnist")], indirect=True)
@pytest.mark.parametrize(("loader", "shape", "folder"), LOADERS)
def test_real_set(loader, shape, folder, real_data):
    train_data, train_labels, test_data, test_labels = loader(_mirrors=())
    assert train_data.shape == (60000, *shape)
    assert test_data.shape == (10000, *shape)
    for data, labels in ((train_data, train_labels), (test_data, test_labels)):
        assert data.dtype == labels.dtype == np.float32
        assert (data.min(), data.max()) == (0, 1)
        assert data.flags.c_contiguous
        assert labels.shape == (len(data), 10)
        np.testing.assert_array_equal(np.sort(labels, axis=1)[:, -2:], [[0, 1]] * len(labels))
    if folder == "mnist":
        assert train_labels[:8].argmax(1).tolist() == [5, 0, 4, 1, 9, 2, 1, 3]
        assert test_labels.sum(0).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    else:
        assert test_labels.sum(0).tolist() == [1000] * 10


@pytest.mark.parametrize("real_data", [("mnist",)], indirect=True)
def test_real_set_downloaded(real_data, cache, server):
    for name, _ in NAMES:
        server.files[name] = (real_data / "mnist" / name).read_bytes()
    data, labels, _, _ = load_fc(_mirrors=[server.address])
    assert (data.shape, labels.shape) == ((60000, 784), (60000, 10))
    assert sorted(path.name for path in (cache / "mnist").iterdir()) == sorted(server.asked)
