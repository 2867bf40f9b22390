"""Folders and lists of pictures of any size and format."""

import csv
import io
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from gedanken.datasets import load_images, load_pictures
from gedanken.errors import ArgumentError, DatasetError, GedankenWarning, MissingPackageError

ORIENTATION = 0x0112
RED, GREEN, BLUE, GREY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (51, 51, 51)


def save(path: Path, colour: tuple[int, ...] = RED, size: tuple[int, int] = (6, 4)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def damage(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    return path


def png(image: Image.Image, **options: object) -> io.BytesIO:
    content = io.BytesIO()
    image.save(content, "PNG", **options)
    return content


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Two classes, cat and dog, of three and two pictures."""
    for k in range(3):
        save(tmp_path / "dog" / f"{k}.png", BLUE, (5 + k, 9))
    for name in ("b.jpg", "deep/er/a.gif"):
        save(tmp_path / "cat" / name, RED, (9, 3))
    return tmp_path


# One picture


@given(pixels=hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_a_picture_of_the_right_size_is_not_changed(pixels, tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "a.png"
    Image.fromarray(pixels).save(path)
    data = load_pictures([path], pixels.shape[:2]).data
    assert data.dtype == np.float32
    assert data.shape == (1, 3, *pixels.shape[:2])
    np.testing.assert_array_equal(data[0], (pixels / np.float32(255)).transpose(2, 0, 1))


@example(pixels=np.eye(7, 9, dtype=np.uint16), channels=1)
@given(pixels=hnp.arrays(np.uint16, st.tuples(st.integers(1, 9), st.integers(1, 9))), channels=st.sampled_from([1, 3]))
def test_16_bit_grey_keeps_its_depth(pixels, channels, tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "a.png"
    Image.fromarray(pixels).save(path)
    data = load_pictures([path], pixels.shape, channels=channels).data
    np.testing.assert_array_equal(data[0], np.stack([pixels / np.float32(65535)] * channels))


def palette() -> Image.Image:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 255, 128, 0])
    return image


GREYS = (0.2, 0.2, 0.2)
KINDS = {
    "bilevel.png": (Image.new("1", (4, 4), 1), (1, 1, 1)),
    "grey.png": (Image.new("L", (4, 4), 51), GREYS),
    "grey.jpg": (Image.new("L", (4, 4), 51), GREYS),
    "palette.png": (palette(), (1, 128 / 255, 0)),
    "palette.gif": (palette(), (1, 128 / 255, 0)),
    "colour.bmp": (Image.new("RGB", (4, 4), (51, 255, 0)), (0.2, 1, 0)),
    "colour.webp": (Image.new("RGB", (4, 4), GREY), GREYS),
    "opaque.png": (Image.new("RGBA", (4, 4), (51, 255, 0, 255)), (0.2, 1, 0)),
    "clear.png": (Image.new("RGBA", (4, 4), (51, 255, 0, 0)), (1, 1, 1)),
    "half clear.png": (Image.new("RGBA", (4, 4), (0, 0, 255, 102)), (0.6, 0.6, 1)),
    "grey half clear.png": (Image.new("LA", (4, 4), (0, 102)), (0.6, 0.6, 0.6)),
    "print.jpg": (Image.new("CMYK", (4, 4), (0, 255, 255, 0)), (1, 0, 0)),
    "print.tif": (Image.new("CMYK", (4, 4), (255, 0, 255, 0)), (0, 1, 0)),
    "16-bit.png": (Image.new("I;16", (4, 4), 13107), GREYS),
    "16-bit.tif": (Image.new("I;16", (4, 4), 13107), GREYS),
    "16-bit.pgm": (Image.new("I;16", (4, 4), 13107), GREYS),
    "32-bit.tif": (Image.new("I", (4, 4), 13107), GREYS),
    "real.tif": (Image.new("F", (4, 4), 0.2), GREYS),
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("size", [(4, 4), (2, 3), (9, 5)], ids=["same", "smaller", "larger"])
def test_every_kind_has_its_colour(name, size, tmp_path):
    image, colour = KINDS[name]
    image.save(tmp_path / name)
    data = load_pictures([tmp_path / name], size).data
    expected = np.broadcast_to(np.array(colour)[:, None, None], (3, *size))
    np.testing.assert_allclose(data[0], expected, atol=0.012)
    grey = load_pictures([tmp_path / name], size, channels=1).data
    np.testing.assert_allclose(grey[0, 0], np.tensordot([0.299, 0.587, 0.114], expected, 1), atol=0.012)


@pytest.mark.parametrize("value", [-0.5, 255.0, float("nan")])
def test_values_without_a_known_scale_are_not_guessed(value, tmp_path):
    Image.new("F", (4, 4), value).save(tmp_path / "a.tif")
    with pytest.raises(DatasetError, match=r"a\.tif: values must be in \[0, 1\] for mode F"):
        load_pictures([tmp_path / "a.tif"], 4)


def test_transparent_colour_of_a_palette_is_white(tmp_path):
    palette().save(tmp_path / "a.png", transparency=1)
    assert load_pictures([tmp_path / "a.png"], 4).data.min() == 1


def test_first_frame_of_an_animation(tmp_path):
    first, second = Image.new("RGB", (4, 4), RED), Image.new("RGB", (4, 4), BLUE)
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    np.testing.assert_array_equal(load_pictures([tmp_path / "a.gif"], 1).data.ravel(), [1, 0, 0])


def test_every_orientation_becomes_upright(tmp_path):
    upright = Image.fromarray(np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3))
    turns = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # what undoes each, as Pillow numbers them
    files = []
    for orientation, turn in turns.items():
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        stored = upright if turn is None else upright.transpose(Image.Transpose(turn))
        files.append(tmp_path / f"{orientation}.png")
        stored.save(files[-1], exif=exif)
    data = load_pictures(files, (5, 7)).data
    for picture in data:
        np.testing.assert_array_equal(picture, np.asarray(upright, np.float32).transpose(2, 0, 1) / np.float32(255))


@pytest.mark.parametrize("turned", [False, True], ids=["wide", "tall"])
@pytest.mark.parametrize("mode", ["RGB", "16-bit"])
def test_crop_takes_the_middle_and_stretch_takes_all(turned, mode, tmp_path):
    stripes = np.zeros((8, 32), np.uint8)
    stripes[:, 12:20] = 255
    stripes = stripes.T.copy() if turned else stripes
    image = (
        Image.fromarray(stripes).convert("RGB") if mode == "RGB" else Image.fromarray(stripes.astype(np.uint16) * 257)
    )
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(load_pictures([tmp_path / "a.png"], 8).data, 1)
    stretched = load_pictures([tmp_path / "a.png"], 8, fit="stretch").data
    np.testing.assert_allclose(stretched.mean((0, 1, 2 if not turned else 3)), [0, 0, 0, 1, 1, 0, 0, 0], atol=0.2)


def test_shrinking_averages_over_all_pixels(tmp_path):
    board = np.indices((64, 64)).sum(0) % 2 * 255
    Image.fromarray(board.astype(np.uint8)).save(tmp_path / "a.png")
    np.testing.assert_allclose(load_pictures([tmp_path / "a.png"], 4).data, 0.5, atol=0.02)


def test_huge_jpeg_agrees_with_its_png(tmp_path):
    y, x = np.mgrid[:400, :600]
    smooth = np.stack([y / 2, x / 3, (x + y) / 5], -1).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.png")
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95, subsampling=0)
    exact, lossy = load_pictures([tmp_path / "a.png", tmp_path / "a.jpg"], (20, 30)).data
    np.testing.assert_allclose(lossy, exact, atol=0.02)


# A list of files


def test_order_is_the_order_of_the_list(tmp_path):
    files = [save(tmp_path / f"{k}.png", (k, 0, 0)) for k in (7, 3, 5)]
    read = load_pictures([str(files[0]), *files[1:]], 2)
    assert read.files == tuple(files)
    np.testing.assert_allclose(read.data[:, 0, 0, 0] * 255, [7, 3, 5], rtol=1e-6)
    assert read.unreadable == {}


def test_every_unreadable_file_is_named(tmp_path):
    good = [save(tmp_path / "a.png", RED), save(tmp_path / "c.png", BLUE)]
    bad = [damage(tmp_path / "b.png"), tmp_path / "missing.png"]
    with pytest.warns(GedankenWarning, match="2 of the files") as warned:
        read = load_pictures([good[0], *bad, good[1]], 2)
    assert len(warned) == 1
    assert warned[0].filename == __file__
    assert all(str(path) in str(warned[0].message) for path in bad)
    assert list(read.unreadable) == bad
    assert read.files == tuple(good)
    np.testing.assert_array_equal(read.data[:, :, 0, 0], [[1, 0, 0], [0, 0, 1]])


@pytest.mark.parametrize("with_good", [True, False])
def test_unreadable_files_as_an_error(tmp_path, with_good):
    files = [damage(tmp_path / "a.png"), damage(tmp_path / "b.png")]
    good = [save(tmp_path / "c.png")] if with_good else []
    with pytest.raises(DatasetError, match="2 of the files") as caught:
        load_pictures(files + good, 2, on_error="raise" if with_good else "warn")
    assert all(str(path) in str(caught.value) for path in files)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"files": []}, "files must name at least one picture"),
        ({"files": "a.png"}, "files must be a list of paths, got 'a.png'"),
        ({"size": 0}, "size must be a whole number of at least 1, got 0"),
        ({"size": (1, 2, 3)}, "size must be a number or a pair"),
        ({"channels": 2}, "channels must be 1 or 3, got 2"),
        ({"fit": "crp"}, "fit must be one of crop, stretch, got 'crp'; did you mean 'crop'"),
        ({"on_error": "ignore"}, "on_error must be one of raise, warn"),
    ],
)
def test_rules(arguments, message, tmp_path):
    with pytest.raises(ArgumentError, match=message):
        load_pictures(**{"files": [save(tmp_path / "a.png")], "size": 4} | arguments)


def test_without_pillow(tmp_path, monkeypatch):
    path = save(tmp_path / "class" / "a.png")
    monkeypatch.setitem(sys.modules, "PIL", None)
    for call in (lambda: load_pictures([path], 4), lambda: load_images(tmp_path, 4)):
        with pytest.raises(MissingPackageError, match=r"pip install gedanken\[images\]"):
            call()


# Class folders


def test_classes_are_the_sorted_folders(classes):
    read = load_images(classes, (3, 4))
    assert read.classes == ("cat", "dog")
    assert [str(path.relative_to(classes)) for path in read.files] == [
        str(Path(name)) for name in ("cat/b.jpg", "cat/deep/er/a.gif", "dog/0.png", "dog/1.png", "dog/2.png")
    ]
    assert read.data.shape == (5, 3, 3, 4)
    assert read.labels.dtype == np.float32
    np.testing.assert_array_equal(read.labels, [[1, 0]] * 2 + [[0, 1]] * 3)
    np.testing.assert_allclose(read.data.mean((2, 3)), [[1, 0, 0]] * 2 + [[0, 0, 1]] * 3, atol=0.02)


def test_one_channel(classes):
    assert load_images(str(classes), 4, channels=1).data.shape == (5, 1, 4, 4)


@pytest.mark.parametrize(
    "name",
    [".hidden/a.png", "cat/.DS_Store", "cat/.git/a.png", "cat/Thumbs.db", "cat/desktop.ini", "dog/1.TXT", "read me.md"],
)
def test_litter_is_left_out(classes, name):
    damage(classes / name)
    assert len(load_images(classes, 4).files) == 5


def test_other_files_are_taken_for_pictures(classes):
    bad = [damage(classes / "cat" / "film.mp4"), damage(classes / "dog" / "picture")]
    with pytest.warns(GedankenWarning, match="2 of the files") as warned:
        read = load_images(classes, 4)
    assert warned[0].filename == __file__
    assert list(read.unreadable) == bad
    assert len(read.files) == len(read.labels) == 5
    with pytest.raises(DatasetError, match=r"film\.mp4"):
        load_images(classes, 4, on_error="raise")


def test_missing_folder(tmp_path):
    with pytest.raises(DatasetError, match=r"folder must be an existing folder, got .*nowhere"):
        load_images(tmp_path / "nowhere", 4)


def test_no_class_folders(tmp_path):
    save(tmp_path / "a.png")
    with pytest.raises(DatasetError, match=r"one folder of pictures per class.*load_pictures"):
        load_images(tmp_path, 4)


def test_empty_class(classes):
    (classes / "emu").mkdir()
    with pytest.raises(DatasetError, match=r"must hold at least one picture, got .*emu"):
        load_images(classes, 4)


def test_class_of_damaged_pictures(classes):
    damage(classes / "emu" / "a.png")
    with (
        pytest.warns(GedankenWarning, match="1 of the files"),
        pytest.raises(DatasetError, match="emu must hold a readable"),
    ):
        load_images(classes, 4)


# Training and test parts


@pytest.mark.parametrize(("share", "held"), [(0.5, 3), (0.01, 2), (0.99, 3)])
def test_split_keeps_every_picture_once(classes, share, held):
    read = load_images(classes, 8)
    train_data, train_labels, test_data, test_labels = read.split(share)
    assert len(test_data) == held
    assert (train_labels.sum(0) > 0).all()
    assert (test_labels.sum(0) > 0).all()
    together = np.concatenate([train_data, test_data]).reshape(5, -1)
    assert sorted(map(tuple, together)) == sorted(map(tuple, read.data.reshape(5, -1)))
    labels = np.concatenate([train_labels, test_labels]).argmax(1)
    assert (together.reshape(5, 3, -1).mean(2).argmax(1) == np.where(labels == 0, 0, 2)).all()


def test_split_follows_the_seed(tmp_path):
    for k in range(20):
        save(tmp_path / "one" / f"{k:02}.png", (k, 0, 0))
    read = load_images(tmp_path, 1)
    tests = [read.split(0.3, seed)[2][:, 0, 0, 0].tolist() for seed in (0, 0, 1)]
    assert tests[0] == tests[1] != tests[2]
    assert len(tests[0]) == 6


def test_lone_picture_is_for_training(tmp_path):
    save(tmp_path / "one" / "a.png")
    assert [len(part) for part in load_images(tmp_path, 2).split(0.9)] == [1, 1, 0, 0]


@pytest.mark.parametrize(("arguments", "name"), [({"test": 0}, "test"), ({"test": 1}, "test"), ({"seed": -1}, "seed")])
def test_split_rules(classes, arguments, name):
    with pytest.raises(ArgumentError, match=f"{name} must be"):
        load_images(classes, 2).split(**arguments)


# Real photos


@pytest.mark.parametrize("real_data", [("photos",)], indirect=True)
def test_real_orientations_agree(real_data):
    files = [real_data / "photos" / "exif-orientation" / f"landscape_{k}.jpg" for k in range(9)]
    data = load_pictures(files, (120, 180)).data
    assert np.abs(data - data[1]).mean((1, 2, 3)).max() < 0.005
    assert np.abs(data[:, :, ::-1] - data[1]).mean((1, 2, 3)).min() > 0.05


@pytest.mark.parametrize("real_data", [("photos",)], indirect=True)
def test_real_edge_cases(real_data):
    with (real_data / "photos" / "MANIFEST.tsv").open(newline="") as manifest:
        rows = [row for row in csv.DictReader(manifest, delimiter="\t") if row["path"].startswith("edge-cases/")]
    files = {real_data / "photos" / row["path"]: row["state"] == "ok" for row in rows}
    with pytest.warns(GedankenWarning, match="3 of the files"):
        read = load_pictures(files, 32)
    assert set(read.unreadable) == {path for path, whole in files.items() if not whole}
    assert set(read.files) == {path for path, whole in files.items() if whole}
    assert (read.data.min(), read.data.max()) == (0, 1)
    pictures = {path.name: picture for path, picture in zip(read.files, read.data, strict=True)}
    np.testing.assert_array_equal(pictures["full-transparent.png"], 1)
    np.testing.assert_allclose(
        pictures["2x2_fdcce6.png"] * 255, np.broadcast_to([[[253]], [[204]], [[110]]], (3, 32, 32)), atol=1
    )


@pytest.mark.parametrize("real_data", [("photos",)], indirect=True)
@pytest.mark.parametrize(
    ("folder", "counts"),
    [
        ("flowers", {"daisy": 29, "dandelion": 30, "roses": 30, "sunflowers": 30, "tulips": 30}),
        ("objects", {"fork": 20, "hemlock": 10, "japanese_cherry": 10, "scissors": 20}),
    ],
)
def test_real_folders(real_data, folder, counts):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = load_images(real_data / "photos" / folder, (48, 64))
    assert dict(zip(read.classes, read.labels.sum(0), strict=True)) == counts
    assert read.data.shape == (sum(counts.values()), 3, 48, 64)
    assert 0.2 < read.data.mean() < 0.7
