"""What a folder of pictures holds: links, what cannot be read, special files, names that are no text; and its parts."""

import os
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gedanken.datasets import ImageFolderGenerator, load_images
from gedanken.errors import ArgumentError, DatasetError, GedankenWarning

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links and special files as POSIX has them")


def save(path: Path, level: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (level, level, level)).save(path)
    return path


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Two classes of two pictures each, and a folder beside them."""
    for name in ("cat/a", "cat/b", "dog/a", "dog/b"):
        save(tmp_path / "base" / f"{name}.png")
    save(tmp_path / "beside" / "c.png")
    save(tmp_path / "beside" / "deep" / "d.png")
    return tmp_path / "base"


def generated(folder: Path, **options: object) -> tuple[tuple[Path, ...], dict[Path, str]]:
    generator = ImageFolderGenerator(folder, 2, mode="serial", **options)
    return generator.files, generator.unreadable


def loaded(folder: Path, **options: object) -> tuple[tuple[Path, ...], dict[Path, str]]:
    read = load_images(folder, 2, **options)
    return read.files, dict(read.unreadable)


in_both_ways = pytest.mark.parametrize("read", [generated, loaded])
Reader = Callable[..., tuple[tuple[Path, ...], dict[Path, str]]]


def names(files: tuple[Path, ...], base: Path) -> list[str]:
    return [str(path.relative_to(base)) for path in files]


@in_both_ways
def test_links_are_followed(read: Reader, base: Path) -> None:
    (base / "cat" / "more").symlink_to(base.parent / "beside")
    (base / "dog" / "c.png").symlink_to(base.parent / "beside" / "c.png")
    (base / "emu").symlink_to(base.parent / "beside", target_is_directory=True)
    files, unreadable = read(base)
    assert names(files, base) == [
        "cat/a.png", "cat/b.png", "cat/more/c.png", "cat/more/deep/d.png",
        "dog/a.png", "dog/b.png", "dog/c.png",
        "emu/c.png", "emu/deep/d.png",
    ]  # fmt: skip
    assert not unreadable


@in_both_ways
def test_links_in_a_circle_end(read: Reader, base: Path) -> None:
    (base / "cat" / "again").symlink_to(base / "cat")
    (base / "cat" / "up").symlink_to(base)
    for k in range(8):  # each leads to all others
        for j in range(8):
            (base / "dog" / str(k)).mkdir(exist_ok=True)
            (base / "dog" / str(k) / str(j)).symlink_to(base / "dog" / str(j))
    files, unreadable = read(base)
    assert len(files) == 2 + 2 + 2  # the cats, the dogs by way of cat/up, the dogs
    assert not unreadable


@in_both_ways
def test_whatever_cannot_be_read_is_named(read: Reader, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = save(base / "cat" / "secret" / "x.png").parent
    (base / "cat" / "dead.png").symlink_to(base / "nowhere.png")
    (base / "dog" / "dead").symlink_to(base / "nowhere")
    (base / "dog" / "itself").symlink_to(base / "dog" / "itself")
    (base / "emu").symlink_to(base / "nowhere")
    os.mkfifo(base / "cat" / "pipe.png")
    with socket.socket(socket.AF_UNIX) as spoken:
        spoken.bind(str(base / "dog" / "socket.png"))
    real = os.listdir

    def listdir(path: Path) -> list[str]:
        if Path(path) == secret:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "listdir", listdir)  # the superuser may read everything
    with pytest.warns(GedankenWarning, match="7 of the files cannot be read as pictures") as warned:
        files, unreadable = read(base)
    assert len(warned) == 1
    assert names(files, base) == ["cat/a.png", "cat/b.png", "dog/a.png", "dog/b.png"]
    dead = "a link that leads nowhere (FileNotFoundError: No such file or directory)"
    assert {str(path.relative_to(base)): reason for path, reason in unreadable.items()} == {
        "emu": dead,
        "cat/dead.png": dead,
        "cat/pipe.png": "it is no regular file",
        "cat/secret": "PermissionError: Permission denied",
        "dog/dead": dead,
        "dog/itself": "a link that leads nowhere (OSError: Too many levels of symbolic links)",
        "dog/socket.png": "it is no regular file",
    }
    with pytest.raises(DatasetError, match="7 of the files"):
        read(base, on_error="raise")


@in_both_ways
def test_a_class_of_which_nothing_can_be_read_says_why(read: Reader, base: Path) -> None:
    (base / "emu").mkdir()
    (base / "emu" / "a.png").symlink_to("nowhere.png")
    with pytest.raises(DatasetError, match=r"at least one picture, got .*emu', which has none\n  - .*leads nowhere"):
        read(base)


@in_both_ways
def test_dead_links_to_notes_and_hidden_ones_are_litter(read: Reader, base: Path) -> None:
    for name in (".hidden", "notes.txt", "Thumbs.db"):
        (base / "cat" / name).symlink_to("nowhere")
    files, unreadable = read(base)
    assert (len(files), unreadable) == (4, {})


@in_both_ways
def test_folders_that_are_very_deep(read: Reader, base: Path) -> None:
    place = base / "cat"
    here = os.getcwd()
    try:  # a path of all of them would be too long for the system
        os.chdir(place)
        for _ in range(1500):
            os.mkdir("d")
            os.chdir("d")
        Image.new("RGB", (4, 4)).save("z.png")
    finally:
        os.chdir(here)
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        files, unreadable = read(base)
    subprocess.run(["rm", "-rf", place / "d"], check=True)  # what tidies up after tests cannot go so deep
    assert len(files) + len(unreadable) == 5


@in_both_ways
@pytest.mark.skipif(sys.platform != "linux", reason="names are any bytes on Linux only")
def test_class_names_that_are_no_text(read: Reader, base: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(base) + b"/\xfcber\x1b[31m"))
    save(base / "cat" / "x.png")
    os.rename(base / "dog", odd)
    (odd / "a.png").write_bytes(b"none")
    if read is generated:
        generator = ImageFolderGenerator(base, 2, mode="processes", workers=1)
        with generator, pytest.warns(GedankenWarning, match=r"/\\udcfcber\\x1b\[31m/a\.png cannot be read"):
            list(generator)
    else:
        with pytest.warns(GedankenWarning, match=r"/\\udcfcber\\x1b\[31m/a\.png: its content"):
            labelled = load_images(base, 2)
        assert labelled.classes == ("cat", odd.name)
        assert [len(part) for part in labelled.split(0.5)] == [2, 2, 2, 2]


def test_the_users_folder_is_understood(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(base.parent))
    assert len(generated(Path("~/base"))[0]) == len(loaded(Path("~/base"))[0]) == 4


# Parts


@pytest.fixture
def many(tmp_path: Path) -> Path:
    for k in range(60):
        save(tmp_path / "many" / ("one", "three", "two")[k % 3 * (k > 5)] / f"{k:02}.png", k)
    save(tmp_path / "many" / "lone" / "a.png", 60)
    return tmp_path / "many"


@pytest.mark.parametrize(("share", "seed"), [(0.2, 0), (0.5, 7), (0.01, 1), (0.99, 1)])
def test_parts_are_those_of_load_images(many: Path, share: float, seed: int) -> None:
    train_data, train_labels, test_data, test_labels = load_images(many, 1).split(share, seed)
    whole = ImageFolderGenerator(many, 1, mode="serial")
    parts = whole.split(share, seed)
    for part, data, labels in zip(parts, (train_data, test_data), (train_labels, test_labels), strict=True):
        assert part.classes == whole.classes
        pairs = list(part)
        np.testing.assert_array_equal(np.concatenate([x for x, _ in pairs]), data)
        np.testing.assert_array_equal(np.concatenate([y for _, y in pairs]), labels)
    files = [set(part.files) for part in parts]
    assert not files[0] & files[1]
    assert files[0] | files[1] == set(whole.files)
    assert len(whole) == len(next(iter(whole))[0]) == 61


def twice(rng: np.random.Generator, item: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return item[0] * 2, item[1]


def test_parts_have_options_and_workers_of_their_own(many: Path) -> None:
    options = {"labels": "numbers", "mini_batch_size": 7, "shuffle": True, "transforms": [twice]}
    with ImageFolderGenerator(many, 1, mode="threads", workers=2, **options) as whole:
        assert sum(len(labels) for _, labels in whole) == 61
        train, test = whole.split(0.3, transforms=[], shuffle=False, mini_batch_size=100)
        with train, test:
            stream = iter(train)
            data, labels = next(stream)
            assert (len(labels), labels.dtype) == (7, np.int64)
            ((plain, _),) = test
            level = {path: k / 255 for k, path in enumerate(sorted(whole.files, key=lambda path: path.name))}
            assert len(level) == len(train) + len(test)
            assert plain.max() <= 60 / 255 < data.max() * 2
            assert sum(len(rest) for _, rest in stream) == len(train) - 7
        assert (whole.epoch, train.epoch, test.epoch) == (0, 0, 0)
        again = train.split(0.5)  # parts have parts
        assert sum(map(len, again)) == len(train)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"test": 0}, r"test must be a number in \(0, 1\), got 0"),
        ({"test": 1.0}, r"test must be a number in \(0, 1\), got 1.0"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"mini_batch_size": 0}, "mini_batch_size must be"),
    ],
)
def test_rules_of_parts(many: Path, arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        ImageFolderGenerator(many, 1).split(**arguments)
