"""CIFAR-10, from the original archive or from one of its stand-ins."""

import gzip
import hashlib
import io
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gedanken.datasets import cifar, load_cifar10
from gedanken.errors import DatasetError, GedankenWarning

RNG = np.random.default_rng(0)


def records(count: int) -> np.ndarray:
    rows = RNG.integers(0, 256, (count, 3073), np.uint8)
    rows[:, 0] %= 10
    return rows


def archive(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        folder = tarfile.TarInfo("a-folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
    return packed.getvalue()


def jpeg(red: int) -> bytes:
    """A picture of one red and full blue, green in its lower half only."""
    pixels = np.full((32, 32, 3), (red, 0, 255), np.uint8)
    pixels[16:, :, 1] = 255
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", quality=95, subsampling=0)
    return content.getvalue()


LARGE = io.BytesIO()
Image.new("RGB", (64, 64)).save(LARGE, "JPEG")
LARGE = LARGE.getvalue()
TRAIN, TEST = records(25), records(4)
ORIGINAL = archive(
    {f"cifar-10-batches-bin/data_batch_{b + 1}.bin": TRAIN[5 * b : 5 * b + 5].tobytes() for b in range(5)}
    | {"cifar-10-batches-bin/test_batch.bin": TEST.tobytes(), "cifar-10-batches-bin/readme.html": b"read me"}
)
JPEG = archive(
    {
        f"cifar10-jpeg/{part}/{name}/{k:04d}.jpg": jpeg(20 * number + 5 * k)
        for part, count in (("train", 3), ("test", 1))
        for number, name in enumerate(cifar.CLASSES)
        for k in range(count)
    }
)
SAMPLE_RECORDS = records(1010)
SAMPLE = gzip.compress(SAMPLE_RECORDS.tobytes(), 1)
PACKED = {"ORIGINAL": ORIGINAL, "JPEG": JPEG, "SAMPLE": SAMPLE}


@pytest.fixture(autouse=True)
def small_files(monkeypatch, request):
    """Publish the small files of this module in the place of the real ones."""
    if "real_data" not in request.fixturenames:
        for name, content in PACKED.items():
            publish(monkeypatch, name, content)


def publish(monkeypatch: pytest.MonkeyPatch, name: str, content: bytes) -> None:
    monkeypatch.setattr(cifar, name, replace(getattr(cifar, name), md5=hashlib.md5(content).hexdigest()))


def put(base: Path, *names: str) -> None:
    (base / "cifar10").mkdir(parents=True)
    for name in names:
        (base / "cifar10" / getattr(cifar, name).name).write_bytes(PACKED[name])


def check_original(split) -> None:
    for data, labels, rows in ((*split[:2], TRAIN), (*split[2:], TEST)):
        assert data.dtype == labels.dtype == np.float32
        np.testing.assert_array_equal(np.rint(data * 255).reshape(len(rows), -1), rows[:, 1:])
        np.testing.assert_array_equal(labels, np.eye(10)[rows[:, 0]])
        assert data.shape[1:] == (3, 32, 32)


@pytest.mark.parametrize("place", ["local", "cache"])
def test_original_is_preferred_wherever_it_lies(place, request, local, cache, monkeypatch):
    put(local, "JPEG", "SAMPLE", *(["ORIGINAL"] if place == "local" else []))
    if place == "cache":
        put(cache, "ORIGINAL")
    check_original(load_cifar10(_mirrors=()))


def test_original_downloaded(cache, server):
    server.files[cifar.ORIGINAL.name] = ORIGINAL
    check_original(load_cifar10(_mirrors=[server.address]))
    check_original(load_cifar10(_mirrors=()))


def test_jpeg_is_announced_and_evenly_mixed(local, server):
    put(local, "JPEG", "SAMPLE")
    with pytest.warns(GedankenWarning, match=r"cifar10-jpeg\.tar\.gz.*loss") as warned:
        train_data, train_labels, test_data, test_labels = load_cifar10(_mirrors=[server.address])
    assert warned[0].filename == __file__
    assert server.asked == []
    assert train_labels.argmax(1).tolist() == list(range(10)) * 3
    assert test_labels.argmax(1).tolist() == list(range(10))
    red = [20 * number + 5 * k for k in range(3) for number in range(10)]
    np.testing.assert_allclose(train_data[:, 0].mean((1, 2)) * 255, red, atol=3)
    np.testing.assert_allclose(train_data[:, 1].mean((0, 2)), [0] * 16 + [1] * 16, atol=0.03)
    np.testing.assert_allclose(train_data[:, 2].mean((1, 2)) * 255, [255] * 30, atol=3)
    np.testing.assert_allclose(test_data[:, 0].mean((1, 2)) * 255, red[:10], atol=3)


def test_without_pillow_the_original_is_downloaded(local, server, monkeypatch):
    put(local, "JPEG", "SAMPLE")
    monkeypatch.setitem(sys.modules, "PIL", None)
    server.files[cifar.ORIGINAL.name] = ORIGINAL
    check_original(load_cifar10(_mirrors=[server.address]))


def test_sample_is_the_last_resort(local):
    put(local, "SAMPLE")
    with pytest.warns(GedankenWarning, match="first4000.*1010 of the 60000 pictures, the last 1000") as warned:
        train_data, train_labels, test_data, test_labels = load_cifar10(_mirrors=())
    assert warned[0].filename == __file__
    data, labels = np.concatenate([train_data, test_data]), np.concatenate([train_labels, test_labels])
    assert len(train_data) == len(train_labels) == 10
    np.testing.assert_array_equal(np.rint(data * 255).reshape(1010, -1), SAMPLE_RECORDS[:, 1:])
    np.testing.assert_array_equal(labels.argmax(1), SAMPLE_RECORDS[:, 0])


def test_error_names_every_form(local, cache, server, monkeypatch):
    put(local, "JPEG")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(DatasetError) as caught:
        load_cifar10(_mirrors=[server.address])
    message = str(caught.value)
    folder = local / "cifar10"
    for line in (
        f"{folder / cifar.ORIGINAL.name}: file missing",
        f"{cache / 'cifar10' / cifar.ORIGINAL.name}: file missing",
        f"{cifar.JPEG.name}: reading pictures needs Pillow: pip install gedanken[images]",
        f"{server.address}{cifar.ORIGINAL.name}: 404",
        f"{folder / cifar.SAMPLE.name}: file missing",
        "load_drawn_digits()",
    ):
        assert line in message


def test_error_says_once_that_the_variable_is_not_set(cache):
    with pytest.raises(DatasetError) as caught:
        load_cifar10(_mirrors=())
    assert str(caught.value).count("$GEDANKEN_DATA: not set") == 1


def test_part_of_a_record_is_an_error(local, monkeypatch):
    content = gzip.compress(bytes(3072))
    publish(monkeypatch, "SAMPLE", content)
    monkeypatch.setitem(PACKED, "SAMPLE", content)
    put(local, "SAMPLE")
    with pytest.raises(DatasetError, match=r"first4000\.bin\.gz must hold whole records of 3073 bytes, got 3072"):
        load_cifar10(_mirrors=())


def label_of(number: int) -> bytes:
    return bytes([number]) + bytes(3072)


BATCHES = {f"cifar-10-batches-bin/data_batch_{b}.bin": label_of(3) for b in range(1, 6)}
WHOLE = BATCHES | {"cifar-10-batches-bin/test_batch.bin": label_of(3)}
UNFIT = {
    "no gzip": ("ORIGINAL", b"no gzip at all"),
    "cut": ("ORIGINAL", archive(WHOLE)[:-20]),
    "no tar": ("ORIGINAL", gzip.compress(b"no tar at all" * 99)),
    "a file is missing": ("ORIGINAL", archive(BATCHES)),
    "no such class": ("ORIGINAL", archive(WHOLE | {"cifar-10-batches-bin/data_batch_5.bin": label_of(10)})),
    "sample: no gzip": ("SAMPLE", b"no gzip at all"),
    "sample: no such class": ("SAMPLE", gzip.compress(label_of(200) * 1010)),
    "jpeg: other names": ("JPEG", archive({"a.jpg": jpeg(0)})),
    "jpeg: other parts": ("JPEG", archive({"a/b/cat/1.jpg": jpeg(0)})),
    "jpeg: other classes": ("JPEG", archive({"a/train/unicorn/1.jpg": jpeg(0)})),
    "jpeg: no picture": ("JPEG", archive({"a/train/cat/1.jpg": b"none"})),
    "jpeg: a large picture": ("JPEG", archive({"a/train/cat/1.jpg": LARGE})),
}


@pytest.mark.parametrize("name", UNFIT)
def test_files_that_are_not_what_they_should_be(name, local, monkeypatch):
    kind, content = UNFIT[name]
    publish(monkeypatch, kind, content)
    monkeypatch.setitem(PACKED, kind, content)
    put(local, kind)
    with pytest.raises(DatasetError):
        load_cifar10(_mirrors=())


def test_a_bomb_is_not_unpacked(local, monkeypatch):
    monkeypatch.setattr(cifar, "MOST_BYTES", 1 << 16)
    content = archive(WHOLE | {"cifar-10-batches-bin/bomb": bytes(1 << 20)})
    publish(monkeypatch, "ORIGINAL", content)
    monkeypatch.setitem(PACKED, "ORIGINAL", content)
    put(local, "ORIGINAL")
    with pytest.raises(DatasetError, match=r"binary\.tar\.gz must hold no more than 65,536 bytes"):
        load_cifar10(_mirrors=())


@pytest.mark.parametrize("real_data", [("cifar10",)], indirect=True)
def test_real_jpeg_agrees_with_the_exact_sample(real_data):
    if (real_data / "cifar10" / cifar.ORIGINAL.name).exists():
        pytest.skip("the original is there")
    with pytest.warns(GedankenWarning, match="loss"):
        train_data, train_labels, test_data, test_labels = load_cifar10(_mirrors=())
    assert (train_data.shape, test_data.shape) == ((50000, 3, 32, 32), (10000, 3, 32, 32))
    assert train_labels.sum(0).tolist() == [5000] * 10
    assert test_labels.sum(0).tolist() == [1000] * 10
    packed = (real_data / "cifar10" / cifar.SAMPLE.name).read_bytes()
    rows = np.frombuffer(gzip.decompress(packed), np.uint8).reshape(-1, 3073)
    for number in range(10):
        exact = rows[rows[:, 0] == number, 1:].reshape(-1, 3, 32, 32)
        lossy = train_data[number::10][: len(exact)] * 255
        assert np.sqrt(np.mean((lossy - exact) ** 2)) < 12
