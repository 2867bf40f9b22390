"""Pictures with masks in two folders."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gedanken import (
    ArgumentError,
    ConvolutionLayer,
    Crop,
    CrossEntropy,
    DatasetError,
    Flip,
    GedankenWarning,
    Network,
    SoftMax,
)
from gedanken.datasets import ImagePairGenerator, load_image_pairs, load_pictures
from tests.datasets.web import in_all_modes

NAMES = ("b", "a", "deep/c")
Pixels = Any


def classes_of(seed: int, shape: tuple[int, int] = (6, 8)) -> Pixels:
    return np.random.default_rng(seed).integers(0, 3, shape).astype("uint8")


def colours_of(classes: Pixels) -> Pixels:
    """A picture that shows its mask."""
    return np.stack([classes * 80, 255 - classes, classes + 9], axis=-1).astype("uint8")


def write(
    base: Path, name: str, image: Image.Image, folder: str = "masks", suffix: str = ".png", **options: Any
) -> Path:
    path = base / folder / f"{name}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Three pairs, and litter."""
    for seed, name in enumerate(NAMES):
        classes = classes_of(seed)
        write(tmp_path, name, Image.fromarray(colours_of(classes)), "images", ".bmp")
        write(tmp_path, name, Image.fromarray(classes))
    (tmp_path / "masks" / "notes.txt").write_text("litter")
    (tmp_path / "images" / ".hidden").write_text("litter")
    return tmp_path


def test_pictures_are_those_of_load_pictures_and_masks_as_written(base: Path) -> None:
    read = load_image_pairs(base, (6, 8), 3)
    assert [(one.name, other.name) for one, other in read.files] == [(f"{n}.bmp", f"{n}.png") for n in "abc"]
    np.testing.assert_array_equal(read.data, load_pictures([one for one, _ in read.files], (6, 8)).data)
    np.testing.assert_array_equal(read.masks, [classes_of(seed) for seed in (1, 0, 2)])
    assert (read.data.dtype, read.masks.dtype, dict(read.unreadable)) == (np.float32, np.int32, {})
    train, train_masks, test, test_masks = read.split(test=0.4, seed=3)
    assert (train.shape, test.shape) == ((2, 3, 6, 8), (1, 3, 6, 8))
    for picture, mask in zip((*train, *test), (*train_masks, *test_masks), strict=True):
        np.testing.assert_array_equal(np.rint(picture[0] * 255 / 80), mask)


@pytest.mark.parametrize("fit", ["crop", "stretch"])
@pytest.mark.parametrize("size", [(3, 4), (12, 16), (5, 5), (4, 9), 1])
def test_a_mask_is_brought_to_its_size_with_its_picture(base: Path, fit: str, size: Any) -> None:
    found = load_image_pairs(base, size, 3, fit=fit).masks[1]
    classes = classes_of(0)
    height, width = found.shape
    # By hand: the middle of each pixel of the box that the picture's pixels come from
    down, across = 6.0, 8.0
    if fit == "crop":
        down, across = (6.0, 6 * width / height) if 8 * height > 6 * width else (8 * height / width, 8.0)
    for i, j in np.ndindex(found.shape):
        row, column = (6 - down) / 2 + (i + 0.5) * down / height, (8 - across) / 2 + (j + 0.5) * across / width
        near = min(row % 1, column % 1) < 1e-9
        assert near or found[i, j] == classes[int(row), int(column)]


def palette(classes: Pixels) -> Image.Image:
    image = Image.fromarray(classes).convert("L")
    image.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200, *[0] * 759])
    return image if image.mode == "P" else image.convert("P")


def painted(classes: Pixels) -> Image.Image:
    return Image.fromarray(np.array([(200, 0, 0), (0, 200, 0), (0, 0, 200)], "uint8")[classes])


COLOURS = {(200, 0, 0): 0, (0, 200, 0): 1, (0, 0, 200): 2}
FORMS: dict[str, tuple[Any, str, dict[str, Any], Any]] = {
    "palette": (palette, ".png", {}, None),
    "palette of 2 bits": (palette, ".png", {"bits": 2}, None),
    "palette of GIF": (palette, ".gif", {}, None),
    "16 bits": (lambda c: Image.fromarray(c.astype("uint16")), ".png", {}, None),
    "TIFF": (Image.fromarray, ".tif", {}, None),
    "levels with a meaning": (lambda c: Image.fromarray(c * 100), ".png", {}, {200: 2, 0: 0, 100: 1}),
    "colours": (painted, ".png", {}, COLOURS),
    "colours with alpha": (lambda c: painted(c).convert("RGBA"), ".png", {}, COLOURS),
    "colours of a palette": (palette, ".png", {}, COLOURS),
    "colours of WEBP": (painted, ".webp", {"lossless": True}, COLOURS),
}


@pytest.mark.parametrize(("make", "suffix", "options", "values"), FORMS.values(), ids=FORMS)
def test_masks_of_many_forms(make: Any, suffix: str, options: Any, values: Any, tmp_path: Path) -> None:
    classes = classes_of(5)
    write(tmp_path, "a", Image.fromarray(colours_of(classes)), "images")
    write(tmp_path, "a", make(classes), suffix=suffix, **options)
    np.testing.assert_array_equal(load_image_pairs(tmp_path, (6, 8), 3, values=values).masks[0], classes)


def test_levels_of_few_bits_are_not_spread(tmp_path: Path) -> None:
    import struct  # noqa: PLC0415
    import zlib  # noqa: PLC0415

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    write(tmp_path, "a", Image.new("RGB", (4, 1)), "images")
    (tmp_path / "masks").mkdir()
    for depth, row in ((2, b"\x1b"), (4, b"\x01\x23")):  # 0 1 2 3
        rows = zlib.compress(b"\0" + row)
        head = struct.pack(">IIBBBBB", 4, 1, depth, 0, 0, 0, 0)
        png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
        (tmp_path / "masks" / "a.png").write_bytes(png)
        assert load_image_pairs(tmp_path, (1, 4), 4).masks.tolist() == [[[0, 1, 2, 3]]]
    Image.fromarray(np.array([[True, False, True, True]])).save(tmp_path / "masks" / "a.png")
    assert load_image_pairs(tmp_path, (1, 4), 2).masks.tolist() == [[[1, 0, 1, 1]]]


def test_both_are_turned_upright(tmp_path: Path) -> None:
    classes = classes_of(3, (6, 8))
    exif = Image.Exif()
    exif[0x0112] = 6
    write(tmp_path, "a", Image.fromarray(colours_of(np.rot90(classes))), "images", exif=exif)
    write(tmp_path, "a", Image.fromarray(classes))
    read = load_image_pairs(tmp_path, (6, 8), 3)
    np.testing.assert_array_equal(np.rint(read.data[0, 0] * 255 / 80), classes)
    np.testing.assert_array_equal(read.masks[0], classes)


def test_a_large_photograph_that_is_decoded_at_a_part_of_its_size(tmp_path: Path) -> None:
    write(tmp_path, "a", Image.new("RGB", (640, 480)), "images", ".jpg")
    write(tmp_path, "a", Image.new("L", (640, 480), 1))
    assert (load_image_pairs(tmp_path, 16, 2).masks == 1).all()


def test_a_label_to_ignore(base: Path) -> None:
    classes = classes_of(0)
    classes[0] = 255
    write(base, "b", Image.fromarray(classes))
    assert load_image_pairs(base, (6, 8), 3, ignore=255).masks[1].max() == 255
    assert load_image_pairs(base, (6, 8), 2, values={0: 0, 1: 1, 2: 1, 255: 7}, ignore=7).masks[1].max() == 7


MISTAKES: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no mask": (
        lambda base: (base / "masks/a.png").unlink(),
        {},
        r"images/a.bmp must have a mask of the same name in .*/masks",
    ),
    "no picture": (
        lambda base: (base / "images/deep/c.bmp").unlink(),
        {},
        r"masks/deep/c.png must have a picture of the same name in .*/images",
    ),
    "two of a name": (
        lambda base: write(base, "a", Image.new("L", (8, 6)), suffix=".gif"),
        {},
        r"masks/a.png must have a name of its own, got that of .*a.gif",
    ),
    "no folder": (None, {"masks": "labels"}, r"folder must hold a folder 'labels', got .* without it"),
    "nothing in it": (lambda base: (base / "labels").mkdir(), {"masks": "labels"}, "must hold at least one picture"),
    "other size": (
        lambda base: write(base, "a", Image.new("L", (8, 7))),
        {},
        r"1 of the files cannot be read as pictures with masks:\n  - .*a.png: it has 8 x 7 pixels, its picture 8 x 6",
    ),
    "one class more": (
        None,
        {"classes": 2},
        r"3 of the files .*\n  - .*a.png: it must have classes from 0 to 1, got 2; `values` gives",
    ),
    "no class to ignore": (None, {"classes": 2, "ignore": 3}, r"from 0 to 1 or 3 to ignore, got 2"),
    "neither there nor not": (None, {"classes": 1}, r"from 0 to 1, got 2"),
    "colours": (lambda base: write(base, "a", painted(classes_of(1))), {}, r"masks/a.png: it has pixels of mode RGB"),
    "another colour": (
        lambda base: write(base, "a", Image.new("RGB", (8, 6), (200, 0, 1))),
        {"values": {(0, 0, 0): 0, (1, 1, 1): 1, (2, 2, 2): 2}},
        r"masks/a.png: it has a pixel \(200, 0, 1\) that is not in `values`",
    ),
    "another level": (None, {"values": {0: 0, 1: 1}}, "it has a pixel 2 that is not in `values`"),
    "JPEG": (
        lambda base: [(base / "masks/a.png").unlink(), write(base, "a", Image.new("L", (8, 6)), suffix=".jpg")],
        {},
        r"masks/a.jpg: it is a JPEG file, which changes the values of pixels: write masks as PNG",
    ),
    "damaged mask": (lambda base: (base / "masks/a.png").write_bytes(b"no"), {}, r"masks/a.png: its content is in no"),
    "damaged picture": (lambda base: (base / "images/a.bmp").write_bytes(b"no"), {}, r"images/a.bmp: its content"),
}


@pytest.mark.parametrize(("change", "options", "words"), MISTAKES.values(), ids=MISTAKES)
def test_pairs_that_do_not_fit_are_named(change: Any, options: dict[str, Any], words: str, base: Path) -> None:
    if change:
        change(base)
    options = {"classes": 3, **options}
    with pytest.raises(DatasetError, match=re.compile(words, re.DOTALL)):
        load_image_pairs(base, (6, 8), **options)
    of_one = words.partition(r"\n  - ")[2] or words
    of_one = re.sub(r"(png|jpg|bmp): ", r"\1 cannot be read as one of the pictures with masks: ", of_one)
    with pytest.raises(DatasetError, match=of_one):
        list(ImagePairGenerator(base, (6, 8), **options, mode="serial"))


def test_warnings_in_the_place_of_errors(base: Path) -> None:
    write(base, "a", Image.new("L", (8, 7)))
    with pytest.warns(GedankenWarning, match=r"1 of the files cannot be read as pictures with masks"):
        read = load_image_pairs(base, (6, 8), 3, on_error="warn")
    assert (len(read.data), list(read.unreadable)) == (2, [base / "masks" / "a.png"])
    np.testing.assert_array_equal(read.masks[0], classes_of(0))
    with (
        pytest.warns(GedankenWarning, match=r"a.png cannot be read as one of the pictures with masks: it has 8 x 7"),
        ImagePairGenerator(base, (6, 8), 3, on_error="warn", mode="serial") as generator,
    ):
        ((data, masks),) = list(generator)
    np.testing.assert_array_equal(data, read.data)
    np.testing.assert_array_equal(masks, read.masks)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "classes": ({"classes": 0}, "classes must be a whole number of at least 1"),
    "many": ({"classes": 1 << 17}, "classes must be at most 65,536"),
    "ignore": ({"ignore": -1}, "ignore must be a whole number of at least 0"),
    "values": ({"values": [0, 1]}, "values must be a dict from levels, or from colours"),
    "no values": ({"values": {}}, "values must be a dict"),
    "mixed": ({"values": {(0, 0, 0): 0, 1: 1}}, "values must be a dict"),
    "colour": ({"values": {(0, 0, 256): 0}}, "values colour must be at most 255"),
    "class": ({"values": {0: 3}}, r"values\[0\] must be below `classes`, or `ignore`, got 3"),
    "same": ({"masks": "images"}, "masks must be another folder than images"),
    "name": ({"images": ".."}, "images must be the name of a folder"),
    "on_error": ({"on_error": "stop"}, "on_error must be one of raise, warn"),
    "fit": ({"fit": "pad"}, "fit must be one of crop, stretch"),
}


@pytest.mark.parametrize(("options", "words"), WRONG.values(), ids=WRONG)
def test_wrong_arguments(options: dict[str, Any], words: str, base: Path) -> None:
    for make in (load_image_pairs, ImagePairGenerator):
        with pytest.raises(ArgumentError, match=words):
            make(base, 4, **{"classes": 3, **options})


@in_all_modes
def test_the_generator_gives_what_load_image_pairs_gives(crew: dict[str, Any], base: Path) -> None:
    wanted = load_image_pairs(base, (3, 4), 3, channels=1)
    with ImagePairGenerator(base, (3, 4), 3, channels=1, mini_batch_size=2, **crew) as generator:
        found = [np.concatenate(part) for part in zip(*generator, strict=True)]
    np.testing.assert_array_equal(found[0], wanted.data)
    np.testing.assert_array_equal(found[1], wanted.masks)
    assert found[1].dtype == np.int32


def test_a_network_learns_from_pairs_that_move(base: Path) -> None:
    moves = [Flip(masks=1), Crop(6, padding=1, masks=1, mask_fill=255)]
    pairs = ImagePairGenerator(base, (6, 8), 3, ignore=255, mini_batch_size=2, mode="serial", transforms=moves)
    training, test = pairs.split(0.4, transforms=[Crop(6, masks=1)])
    assert (len(training), len(test)) == (2, 1)
    net = Network(seed=0).input((3, 6, 6)).add(ConvolutionLayer(3, 1, 1)).add(SoftMax())
    net.regression("adam", CrossEntropy(ignore_label=255), metrics=[])
    history = net.fit(training, validation_set=test, epochs=2, progress=False)
    assert np.isfinite(history.epochs[-1].cost)
