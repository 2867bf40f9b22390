"""Generators of pictures in folders."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gedanken.datasets import load_images
from gedanken.datasets.picture_generators import ImageFolderGenerator
from gedanken.errors import ArgumentError, DatasetError, GedankenWarning
from tests.datasets.web import CREWS, in_all_modes, joined, levels, png

# Folders


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Two classes, cat and dog, of three and two pictures, and litter."""
    for name, level in (("dog/a", 40), ("dog/b", 50), ("cat/a", 10), ("cat/deep/c", 30), ("cat/b", 20)):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(level, (5 + level, 9)))
    (tmp_path / "cat" / "Thumbs.db").write_bytes(b"litter")
    return tmp_path


@in_all_modes
def test_a_folder_gives_what_load_images_gives(crew, classes):
    wanted = load_images(classes, (3, 4))
    with ImageFolderGenerator(classes, (3, 4), mini_batch_size=2, **crew) as generator:
        assert (generator.classes, generator.files) == (wanted.classes, wanted.files)
        for _ in range(2):
            data, labels = joined(generator)
            np.testing.assert_array_equal(data, wanted.data)
            np.testing.assert_array_equal(labels, wanted.labels)
            assert (data.dtype, labels.dtype) == (np.float32, np.float32)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("fit", ["crop", "stretch"])
@pytest.mark.parametrize("mode", ["RGB", "L", "I;16", "RGBA"])
def test_every_form_is_that_of_load_images(channels, fit, mode, tmp_path):
    (tmp_path / "one").mkdir()
    stripes = np.arange(8 * 12, dtype=np.uint8).reshape(8, 12) * 2
    Image.fromarray(stripes).convert(mode).save(tmp_path / "one" / "a.png")
    form = {"size": 5, "channels": channels, "fit": fit}
    data, _ = joined(ImageFolderGenerator(tmp_path, **form, mode="serial"))
    np.testing.assert_array_equal(data, load_images(tmp_path, **form).data)


def test_numbers_of_classes_and_order(classes):
    options = {"labels": "numbers", "shuffle": True, "seed": 3, "mini_batch_size": 2, "mode": "serial"}
    with ImageFolderGenerator(str(classes), 1, **options) as generator:
        orders = []
        for _ in range(2):
            data, labels = joined(generator)
            assert labels.dtype == np.int64
            assert [int(level >= 40) for level in levels(data)] == labels.tolist()
            orders.append(levels(data))
    assert sorted(orders[0]) == sorted(orders[1]) == [10, 20, 30, 40, 50]
    assert orders[0] != orders[1]


@in_all_modes
def test_an_unreadable_file_is_named_and_left_out(crew, classes):
    damaged, cut = classes / "cat" / "b.png", classes / "dog" / "a.png"
    damaged.write_bytes(b"no picture")
    cut.write_bytes(cut.read_bytes()[:40])
    generator = ImageFolderGenerator(classes, 2, mini_batch_size=2, **crew)
    with generator, pytest.warns(GedankenWarning) as warned:
        assert levels(joined(generator)[0]) == [10, 30, 50]
    told = sorted(str(each.message) for each in warned)
    assert told[0] == f"{damaged} cannot be read as a picture: its content is in no format that Pillow knows"
    assert told[1].startswith(f"{cut} cannot be read as a picture: ")
    assert len(told) == 2


@in_all_modes
def test_an_unreadable_file_as_an_error(crew, classes):
    generator = ImageFolderGenerator(classes, 2, on_error="raise", **crew)
    (classes / "cat" / "a.png").unlink()
    message = r"a\.png cannot be read as a picture: FileNotFoundError"
    with generator, pytest.raises(DatasetError, match=message) as caught:
        list(generator)
    assert any("get_mini_batches(0)" in note for note in caught.value.__notes__)


def test_a_folder_without_classes(tmp_path):
    with pytest.raises(DatasetError, match="folder must be an existing folder"):
        ImageFolderGenerator(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="one folder of pictures per class"):
        ImageFolderGenerator(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="must hold at least one picture"):
        ImageFolderGenerator(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"folder": 3}, "folder must be a path, got 3"),
        ({"size": 0}, "size must be a whole number of at least 1, got 0"),
        ({"channels": 2}, "channels must be 1 or 3, got 2"),
        ({"fit": "crp"}, "fit must be one of crop, stretch, got 'crp'; did you mean 'crop'"),
        ({"labels": "onehot"}, "labels must be one of numbers, one_hot, got 'onehot'; did you mean 'one_hot'"),
        ({"on_error": "ignore"}, "on_error must be one of raise, warn"),
        ({"workers": -1}, "workers must be a whole number of at least 0"),
    ],
)
def test_rules_of_folders(arguments, message, classes):
    with pytest.raises(ArgumentError, match=message):
        ImageFolderGenerator(**{"folder": classes} | arguments)


@pytest.mark.parametrize("real_data", [("photos",)], indirect=True)
def test_real_photos(real_data):
    folder = real_data / "photos" / "objects"
    with ImageFolderGenerator(folder, (24, 32), mini_batch_size=16, **CREWS["processes"]) as generator:
        data, labels = joined(generator)
    wanted = load_images(folder, (24, 32))
    np.testing.assert_array_equal(data, wanted.data)
    np.testing.assert_array_equal(labels, wanted.labels)
