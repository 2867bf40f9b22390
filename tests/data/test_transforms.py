"""Every transform beside a loop over pixels, and what all of them promise: number types, seeds, untouched input."""

import inspect
import math
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gedanken.data.transforms
from gedanken.data.moves import Move
from gedanken.data.raster import BAND, rotated
from gedanken.data.transforms import (
    Crop,
    Cutout,
    Flip,
    MixUp,
    Normalise,
    PictureTransform,
    Rotate,
    Transform,
    Translate,
)
from gedanken.errors import ArgumentError, DataError
from gedanken.types import Array

quietly = settings(deadline=None, max_examples=60)

PICTURES: list[PictureTransform] = [
    Flip(),
    Flip(1.0, axis="vertical"),
    Translate(2),
    Translate((0, 9), fill=1.0),
    Crop(3),
    Crop((4, 2), padding=(1, 3), fill=1.0),
    Rotate(30),
    Rotate(180.0, fill=1.0),
    Cutout(2),
    Cutout((1, 50), fill=1.0),
    Normalise(0.5, 2.0),
]
TYPES = ["bool", "uint8", "int8", "uint16", "int32", "int64", "float16", "float32", "float64", ">f4", ">i2"]


class Sample(NamedTuple):
    picture: Array
    label: Array


class Draws:
    """Stands in for a Generator; gives the named draws, and none after them."""

    def __init__(self, *draws: float) -> None:
        self.draws = list(draws)

    def random(self) -> float:
        return self.draws.pop(0)

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * self.draws.pop(0)


def drawn_as(*draws: float) -> Any:
    return Draws(*draws)


def seeded(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def picture_of(shape: tuple[int, ...], dtype: str = "float32", seed: int = 0) -> Array:
    """Return a picture whose pixels all differ as far as the number type can tell."""
    return (seeded(seed).permutation(math.prod(shape)).reshape(shape) % 120).astype(dtype)


def by_pixels(picture: Array, size: tuple[int, int], value: Callable[[Array, int, int], Any]) -> Array:
    """Return a picture of `size` that consists of value(channel, i, j)."""
    channels = picture.reshape(-1, *picture.shape[-2:])
    rows = [[[value(x, i, j) for j in range(size[1])] for i in range(size[0])] for x in channels]
    return np.array(rows, dtype=picture.dtype).reshape(*picture.shape[:-2], *size)


def pixel(x: Array, i: int, j: int, fill: float) -> Any:
    return x[i, j] if 0 <= i < x.shape[0] and 0 <= j < x.shape[1] else fill


pictures = st.builds(
    picture_of,
    st.one_of(
        st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(1, 7)),
        st.tuples(st.integers(1, 7), st.integers(1, 7)),
    ),
    st.sampled_from(TYPES),
    st.integers(0, 9),
)
draw = st.floats(0, 1, exclude_max=True)


# What all of them promise.


def test_every_transform_has_a_row() -> None:
    kinds = {kind for kind in vars(gedanken.data.transforms).values() if inspect.isclass(kind)}
    written = {kind for kind in kinds if issubclass(kind, Transform) and not inspect.isabstract(kind)}
    assert written == {type(transform) for transform in PICTURES} | {MixUp}
    assert {kind for kind in written if kind.on_mini_batches} == {MixUp}


@pytest.mark.parametrize("transform", PICTURES, ids=repr)
@pytest.mark.parametrize("shape", [(3, 6, 5), (1, 6, 5), (6, 5)])
@pytest.mark.parametrize("dtype", TYPES)
def test_number_type_and_axes_are_kept(transform: PictureTransform, shape: tuple[int, ...], dtype: str) -> None:
    x = picture_of(shape, dtype)
    y = transform(seeded(), x)
    assert y.shape[:-2] == x.shape[:-2]
    if not isinstance(transform, Crop):
        assert y.shape == x.shape
    if not isinstance(transform, Normalise):
        assert y.dtype == x.dtype


@pytest.mark.parametrize("transform", PICTURES, ids=repr)
@pytest.mark.parametrize("shape", [(32, 32, 3), (28, 28, 1), (6, 5, 4), (5, 1, 3)])
def test_channels_that_are_last(transform: PictureTransform, shape: tuple[int, int, int]) -> None:
    x = picture_of(shape)
    name = type(transform).__name__
    words = f"{name} needs a picture (C, H, W), got shape {shape}, which looks like (H, W, C): say channels='last', or"
    with pytest.raises(DataError, match=re.escape(words)):
        transform(seeded(), (x, 1))
    last, first = replace(transform, channels="last"), replace(transform, channels="first")
    if not isinstance(transform, Crop) or min(shape[:2]) > 4:  # a window of 4 rows needs as many
        turned = transform(seeded(), np.moveaxis(x, -1, 0))
        np.testing.assert_array_equal(last(seeded(), (x, 1))[0], np.moveaxis(turned, 0, -1))
        assert last(seeded(), x[..., 0]).ndim == 2
    if not isinstance(transform, Crop):
        assert first(seeded(), x).shape == shape
    with pytest.raises(ArgumentError, match=f"{name} channels must be one of first, last, got 'end'"):
        replace(transform, channels="end")


@pytest.mark.parametrize("transform", PICTURES, ids=repr)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=15)
def test_the_input_stays_and_the_same_seed_gives_the_same(transform: PictureTransform, seed: int) -> None:
    x, label = picture_of((2, 6, 5)), np.array(7)
    before = x.copy()
    x.flags.writeable = False
    item = (x, label, "name")
    first, again = transform(seeded(seed), item), transform(seeded(seed), item)
    np.testing.assert_array_equal(x, before)
    assert item[0] is x
    np.testing.assert_array_equal(first[0], again[0])
    assert first is not item
    assert first[1] is label
    assert first[2] is item[2]


@pytest.mark.parametrize("transform", PICTURES, ids=repr)
def test_data_do_not_decide_how_much_is_drawn(transform: PictureTransform) -> None:
    after = set()
    for x in (picture_of((6, 5)), picture_of((3, 40, 30), "uint8"), np.zeros((1, 4, 3), np.float32)):
        rng = seeded(3)
        transform(rng, x)
        after.add(rng.random())
    assert len(after) == 1


@pytest.mark.parametrize("transform", [*PICTURES, MixUp(0.3)], ids=repr)
def test_workers_can_be_sent_them(transform: Transform) -> None:
    sent = pickle.loads(pickle.dumps(transform))
    assert sent == transform
    assert hash(sent) == hash(transform)
    assert repr(sent).startswith(type(transform).__name__)


def test_items_keep_their_kind() -> None:
    x, label = picture_of((1, 3, 3)), np.array(4)
    flip = Flip(1.0)
    mirrored = x[..., ::-1]
    np.testing.assert_array_equal(flip(seeded(), x), mirrored)
    np.testing.assert_array_equal(Flip(1.0, key="anything")(seeded(), x), mirrored)
    pair = flip(seeded(), (x, label))
    assert type(pair) is tuple
    sample = flip(seeded(), Sample(x, label))
    assert type(sample) is Sample
    assert sample.label is label
    second = Flip(1.0, key=1)(seeded(), (label, x))
    assert second[0] is label
    np.testing.assert_array_equal(second[1], mirrored)
    for kind in (dict, OrderedDict):
        item = kind(label=label, picture=x)
        new = Flip(1.0, key="picture")(seeded(), item)
        assert type(new) is kind
        assert list(new) == ["label", "picture"]
        assert new["label"] is label
        assert item["picture"] is x
        np.testing.assert_array_equal(new["picture"], mirrored)


def test_a_further_one_is_one_method() -> None:
    class Negative(PictureTransform):
        def change(self, rng: np.random.Generator, picture: Array) -> Array:
            return 1 - picture

    x = picture_of((2, 2))
    np.testing.assert_array_equal(Negative(key="x")(seeded(), {"x": x})["x"], 1 - x)
    with pytest.raises(DataError, match="Negative needs a picture at key='x', got an item with entries 'y'"):
        Negative(key="x")(seeded(), {"y": x})


NO_PICTURE: list[tuple[Transform, Any, str]] = [
    (Flip(), np.zeros(4), "at key=0, got float64 of shape (4,)"),
    (Flip(), np.zeros((2, 1, 4, 4), "int8"), "at key=0, got int8 of shape (2, 1, 4, 4)"),
    (Flip(), (np.zeros((0, 4)), 1), "at key=0, got float64 of shape (0, 4)"),
    (Flip(), np.zeros((2, 2), complex), "at key=0, got complex128 of shape (2, 2)"),
    (Flip(), np.array([["a"]]), "at key=0, got <U1 of shape (1, 1)"),
    (Flip(key=1), (np.zeros((2, 2)), 3), "at key=1, got int"),
    (Flip(key="x"), {"x": [[1.0]]}, "at key='x', got list"),
    (Flip(), [np.zeros((2, 2)), 1], "at key=0, got list"),
    (Flip(), None, "at key=0, got NoneType"),
]


@pytest.mark.parametrize(("transform", "item", "end"), NO_PICTURE, ids=[end for _, _, end in NO_PICTURE])
def test_what_is_no_picture(transform: Transform, item: Any, end: str) -> None:
    with pytest.raises(DataError) as caught:
        transform(seeded(), item)
    assert str(caught.value) == f"Flip needs a picture (C, H, W) or (H, W) of real numbers {end}"


UNFIT: list[tuple[Transform, Any, str]] = [
    (Flip(), {"x": 1, 2: 3}, "Flip needs a picture at key=0, got an item with entries 'x', 2"),
    (Flip(key=2), (1, 2), "Flip needs a picture at key=2, got an item with entries 0, 1"),
    (Translate(1, key="x"), (), "Translate needs a picture at key='x', got an item with entries none"),
    (
        Crop((5, 3), padding=1),
        np.zeros((1, 2, 9)),
        "Crop needs a picture of at least 5 x 3 pixels, got shape (1, 2, 9) and padding 1",
    ),
    (Crop((1, 9)), np.zeros((3, 8)), "Crop needs a picture of at least 1 x 9 pixels, got shape (3, 8) and padding 0"),
    (
        Translate(0, fill=-1),
        np.zeros((2, 2), "uint8"),
        "Translate fill must be a value of uint8, as the picture's are, got -1",
    ),
    (Crop(1, fill=0.5), np.zeros((2, 2), "int32"), "Crop fill must be a value of int32"),
    (Rotate(9, fill=256), np.zeros((2, 2), "uint8"), "Rotate fill must be a value of uint8"),
    (Rotate(9, fill=2), np.zeros((2, 2), "bool"), "Rotate fill must be a value of bool"),
    (Rotate(9, fill=2.0**63), np.zeros((2, 2), "int64"), "Rotate fill must be a value of int64"),
    (Cutout(1, fill=1e39), np.zeros((2, 2), "float32"), "Cutout fill must be a value of float32"),
    (
        Normalise((1, 2), 1),
        np.zeros((3, 4, 5)),
        "Normalise needs a picture of 2 channels, one for each mean, got 3 channels of (4, 5)",
    ),
    (
        Normalise(0, (1, 2)),
        np.zeros((4, 5)),
        "Normalise needs a picture of 2 channels, one for each std, got 1 channels of (4, 5)",
    ),
    (
        MixUp(),
        (np.zeros((2, 1)), np.array([3, 4])),
        (
            "MixUp needs floating numbers with a first axis of samples, got entry 1: int64 of shape (2,); "
            "class numbers must become one-hot rows: np.eye(classes, dtype=np.float32)[labels]"
        ),
    ),
    (
        MixUp(),
        {"x": 0.5},
        "MixUp needs floating numbers with a first axis of samples, got entry 'x': float",
    ),
    (
        MixUp(),
        (np.array(0.5),),
        "MixUp needs floating numbers with a first axis of samples, got entry 0: float64 of shape ();",
    ),
    (
        MixUp(),
        (np.zeros(3), np.zeros(2)),
        "MixUp needs entries with the same number of samples, got samples by entry: {0: 3, 1: 2}",
    ),
    (MixUp(), {}, "MixUp needs entries with the same number of samples, got samples by entry: {}"),
]


@pytest.mark.parametrize(("transform", "item", "message"), UNFIT, ids=[message for _, _, message in UNFIT])
def test_items_that_do_not_fit(transform: Transform, item: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        transform(seeded(), item)
    assert str(caught.value).startswith(message)


WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: Flip(1.5), "Flip probability must be a number in [0, 1], got 1.5"),
    (
        lambda: Flip(axis="horizontaly"),  # type: ignore[arg-type]
        "Flip axis must be one of horizontal, vertical, got 'horizontaly'; did you mean 'horizontal'?",
    ),
    (lambda: Flip(key=-1), "Flip key must be a whole number of at least 0, got -1"),
    (lambda: Flip(key=None), "Flip key must be a whole number of at least 0, got None"),  # type: ignore[arg-type]
    (lambda: Translate(-1), "Translate pixels must be a whole number of at least 0, got -1"),
    (lambda: Translate((1, 2, 3)), "Translate pixels must be a number or a pair (height, width)"),  # type: ignore[arg-type]
    (lambda: Translate(1, fill=math.nan), "Translate fill must be a number in (-inf, inf), got nan"),
    (lambda: Crop(0), "Crop size must be a whole number of at least 1, got 0"),
    (lambda: Crop(1, padding=(0, -1)), "Crop padding must be a whole number of at least 0, got -1"),
    (lambda: Crop(1, fill="0"), "Crop fill must be a number in (-inf, inf), got '0'"),  # type: ignore[arg-type]
    (lambda: Rotate(0), "Rotate degrees must be a number in (0, 180], got 0"),
    (lambda: Rotate(181), "Rotate degrees must be a number in (0, 180], got 181"),
    (lambda: Rotate(1, fill=math.inf), "Rotate fill must be a number in (-inf, inf), got inf"),
    (lambda: Rotate(1, key=1.0), "Rotate key must be a whole number of at least 0, got 1.0"),  # type: ignore[arg-type]
    (lambda: Cutout((2, 0)), "Cutout size must be a whole number of at least 1, got 0"),
    (lambda: Cutout(2, fill=math.inf), "Cutout fill must be a number in (-inf, inf), got inf"),
    (lambda: Normalise(math.nan, 1), "Normalise mean must be a number in (-inf, inf), got nan"),
    (lambda: Normalise(0, 0), "Normalise std must be a number in (0, inf), got 0"),
    (lambda: Normalise((0, 0), (1, -1)), "Normalise std must be a number in (0, inf), got -1"),
    (lambda: Normalise((), 1), "Normalise mean must be a number or one for each channel, got ()"),
    (lambda: Normalise(np.zeros((3, 1)), 1), "Normalise mean must be a number in (-inf, inf), got [0.0]"),
    (lambda: MixUp(0), "MixUp alpha must be a number in (0, inf), got 0"),
]


@pytest.mark.parametrize(("make", "message"), WRONG, ids=[message for _, message in WRONG])
def test_wrong_arguments(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert str(caught.value).startswith(message)


# Each of them, pixel by pixel.


@quietly
@given(x=pictures, probability=st.floats(0, 1), drawn=draw, axis=st.sampled_from(["horizontal", "vertical"]))
def test_flip(x: Array, probability: float, drawn: float, axis: Any) -> None:
    def value(x: Array, i: int, j: int) -> Any:
        if drawn >= probability:
            return x[i, j]
        return x[i, x.shape[1] - 1 - j] if axis == "horizontal" else x[x.shape[0] - 1 - i, j]

    y = Flip(probability, axis)(drawn_as(drawn), x)
    np.testing.assert_array_equal(y, by_pixels(x, x.shape[-2:], value))


@quietly
@given(x=pictures, pixels=st.tuples(st.integers(0, 9), st.integers(0, 9)), down=draw, right=draw)
def test_shift(x: Array, pixels: tuple[int, int], down: float, right: float) -> None:
    d, r = (list(range(-p, p + 1))[int(u * (2 * p + 1))] for u, p in zip((down, right), pixels, strict=True))
    y = Translate(pixels, fill=1)(drawn_as(down, right), x)
    np.testing.assert_array_equal(y, by_pixels(x, x.shape[-2:], lambda x, i, j: pixel(x, i - d, j - r, 1)))


@quietly
@given(
    x=pictures,
    cut=st.tuples(st.integers(0, 6), st.integers(0, 6)),
    padding=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    down=draw,
    right=draw,
)
def test_crop(x: Array, cut: tuple[int, int], padding: tuple[int, int], down: float, right: float) -> None:
    padded = [there + 2 * p for there, p in zip(x.shape[-2:], padding, strict=True)]
    size = max(padded[0] - cut[0], 1), max(padded[1] - cut[1], 1)
    top = int(down * (padded[0] - size[0] + 1)) - padding[0]
    left = int(right * (padded[1] - size[1] + 1)) - padding[1]
    y = Crop(size, padding, fill=1)(drawn_as(down, right), x)
    np.testing.assert_array_equal(y, by_pixels(x, size, lambda x, i, j: pixel(x, i + top, j + left, 1)))


@quietly
@given(x=pictures, size=st.tuples(st.integers(1, 9), st.integers(1, 9)), down=draw, right=draw)
def test_cut_out(x: Array, size: tuple[int, int], down: float, right: float) -> None:
    top = int(down * x.shape[-2]) - size[0] // 2
    left = int(right * x.shape[-1]) - size[1] // 2

    def value(x: Array, i: int, j: int) -> Any:
        return 1 if top <= i < top + size[0] and left <= j < left + size[1] else x[i, j]

    y = Cutout(size, fill=1)(drawn_as(down, right), x)
    np.testing.assert_array_equal(y, by_pixels(x, x.shape[-2:], value))


def bilinear(x: Array, angle: float, fill: float, i: int, j: int) -> float:
    """Return one pixel of the turned picture, in float64."""
    m, n = (x.shape[0] - 1) / 2, (x.shape[1] - 1) / 2
    row = m + math.cos(angle) * (i - m) + math.sin(angle) * (j - n)
    column = n + math.cos(angle) * (j - n) - math.sin(angle) * (i - m)
    total = 0.0
    for r in (math.floor(row), math.floor(row) + 1):
        for c in (math.floor(column), math.floor(column) + 1):
            total += float(pixel(x, r, c, fill)) * (1 - abs(row - r)) * (1 - abs(column - c))
    return total


@quietly
@given(x=pictures, degrees=st.floats(0.1, 180), drawn=draw, fill=st.integers(0, 1))
def test_rotate(x: Array, degrees: float, drawn: float, fill: int) -> None:
    angle = math.radians(-degrees + 2 * degrees * drawn)
    y = Rotate(degrees, fill)(drawn_as(drawn), x)
    channels = x.reshape(-1, *x.shape[-2:])
    exact = np.array([[[bilinear(c, angle, fill, *at) for at in np.ndindex(c.shape)]] for c in channels])
    error = abs(y.astype(np.float64).reshape(-1) - exact.reshape(-1))
    largest = 0.5 + 1e-3 if x.dtype.kind != "f" else 0.07 if x.dtype == np.float16 else 1e-4
    assert error.max() <= largest


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 5, 8), (6, 6), (1, 1), (2, 70, 90), (1, 2, BAND + 1)])
@pytest.mark.parametrize("dtype", TYPES)
def test_no_turn_and_whole_turns_are_exact(shape: tuple[int, ...], dtype: str) -> None:
    x = picture_of(shape, dtype)
    np.testing.assert_array_equal(rotated(x, 0.0, 0), x)
    np.testing.assert_allclose(rotated(x, math.pi, 0), x[..., ::-1, ::-1], atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 7, 7), (80, 80)])
@pytest.mark.parametrize("quarters", [1, 2, 3, -1])
def test_quarter_turns_of_a_square(shape: tuple[int, ...], quarters: int) -> None:
    x = picture_of(shape, "float64")
    turned = rotated(x, quarters * math.pi / 2, 0.0)
    np.testing.assert_allclose(turned, np.rot90(x, quarters, axes=(-2, -1)), atol=1e-9)


def test_large_whole_numbers_survive_a_turn() -> None:
    x = np.full((9, 9), np.iinfo("uint16").max, "uint16")
    assert (rotated(x, 0.7, 65535) == 65535).all()
    y = np.full((9, 9), 2**31 - 1, "int32")
    assert (rotated(y, 0.7, 2**31 - 1) == 2**31 - 1).all()


NORMALISED = [
    ("uint8", "float32"),
    ("bool", "float32"),
    ("int64", "float32"),
    ("float16", "float32"),
    ("float32", "float32"),
    ("float64", "float64"),
    (">f8", "float64"),
]


@pytest.mark.parametrize(("given_type", "made"), NORMALISED)
@pytest.mark.parametrize("mean", [3.0, (1.0, 20.0), np.array([1, 20], "float32")], ids=str)
@pytest.mark.parametrize("std", [2, [0.25, 30.0]], ids=str)
def test_normalise(given_type: str, made: str, mean: Any, std: Any) -> None:
    x = picture_of((2, 4, 3), given_type)
    y = Normalise(mean, std)(seeded(), x)
    assert y.dtype == made
    for c, i, j in np.ndindex(x.shape):
        m, s = (float(np.broadcast_to(value, 2)[c]) for value in (mean, std))
        assert y[c, i, j] == pytest.approx((float(x[c, i, j]) - m) / s, rel=1e-6, abs=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "uint32"])
def test_normalise_of_numbers_far_from_zero(dtype: str) -> None:
    x = (10_000_000 + np.arange(30).reshape(1, 5, 6)).astype(dtype)
    x *= 10 if dtype == "int64" else 1  # float32 has none of these
    mean, std = float(x.mean(dtype="float64")) + 0.1, 0.25
    y = Normalise(mean, std)(seeded(), x)
    assert y.dtype == ("float64" if dtype == "float64" else "float32")
    np.testing.assert_allclose(y, (x.astype("float64") - mean) / std, rtol=1e-6)


def test_normalise_a_picture_without_channels() -> None:
    x = picture_of((4, 3))
    np.testing.assert_allclose(Normalise([2.0], 4.0)(seeded(), x), (x - 2) / 4)
    several = Normalise(x.mean(keepdims=True)[0], (1.0,))
    assert several == Normalise((float(x.mean()),), [1])


@quietly
@given(samples=st.integers(0, 9), alpha=st.floats(1e-3, 100), seed=st.integers(0, 2**32), data=st.data())
def test_mix_up(samples: int, alpha: float, seed: int, data: st.DataObject) -> None:
    dtypes = data.draw(st.lists(st.sampled_from(["float16", "float32", "float64"]), min_size=1, max_size=3))
    batch = tuple(seeded(k).random((samples, *(2,) * k)).astype(dtype) for k, dtype in enumerate(dtypes))
    before = [x.copy() for x in batch]
    mixed = MixUp(alpha)(seeded(seed), batch)
    rng = seeded(seed)
    share, order = rng.beta(alpha, alpha), rng.permutation(samples)
    for x, old, y in zip(batch, before, mixed, strict=True):
        np.testing.assert_array_equal(x, old)
        assert y.dtype == x.dtype
        assert y.shape == x.shape
        for n in range(samples):
            np.testing.assert_allclose(y[n], share * x[n] + (1 - share) * x[order[n]], atol=2e-3, rtol=0)


def test_mix_up_keeps_the_kind_of_a_mini_batch() -> None:
    x, target = np.ones((4, 1, 2, 2), np.float32), np.eye(4)
    assert type(MixUp()(seeded(), Sample(x, target))) is Sample
    batch = MixUp()(seeded(), {"x": x, "target": target})
    assert list(batch) == ["x", "target"]
    np.testing.assert_allclose(batch["x"], x)
    np.testing.assert_allclose(batch["target"].sum(axis=1), 1)
    assert MixUp()(seeded(), x).shape == x.shape


# What comes out on average, over many draws of one seed.


def outcomes(transform: Transform, x: Array, draws: int = 2000) -> Array:
    rng = seeded(11)
    return np.array([transform(rng, x) for _ in range(draws)])


def test_flips_happen_as_often_as_said() -> None:
    flipped = outcomes(Flip(0.3), np.array([[0.0, 1.0]]))[:, 0, 0]
    assert flipped.mean() == pytest.approx(0.3, abs=0.04)


def test_shifts_are_uniform_and_independent() -> None:
    x = np.zeros((9, 9))
    x[4, 4] = 1
    places = outcomes(Translate((1, 4)), x).mean(axis=0)
    assert places[3:6].sum() == 1
    np.testing.assert_allclose(places[3:6], 1 / 27, atol=0.02)


def test_crops_reach_every_window() -> None:
    first = outcomes(Crop((4, 3)), np.arange(30.0).reshape(5, 6))[:, 0, 0]
    values, counts = np.unique(first, return_counts=True)
    assert values.tolist() == [0, 1, 2, 3, 6, 7, 8, 9]
    np.testing.assert_allclose(counts / len(first), 1 / 8, atol=0.03)


def test_cut_outs_centre_on_every_pixel() -> None:
    covered = outcomes(Cutout(1, fill=1), np.zeros((3, 4)))
    assert (covered.sum(axis=(1, 2)) == 1).all()
    np.testing.assert_allclose(covered.mean(axis=0), 1 / 12, atol=0.03)


def test_angles_are_uniform() -> None:
    x = np.zeros((1, 21, 21))
    x[0, 10, 20] = 1  # due east; its turned place gives the angle
    grid = np.arange(21.0) - 10
    turned = outcomes(Rotate(60), x)[:, 0]
    angles = np.degrees(np.arctan2(-(turned * grid[:, None]).sum(axis=(1, 2)), (turned * grid).sum(axis=(1, 2))))
    np.testing.assert_allclose(np.quantile(angles, [0, 0.25, 0.5, 0.75, 1]), [-60, -30, 0, 30, 60], atol=4)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 8.0])
def test_mix_up_shares_follow_the_beta_distribution(alpha: float) -> None:
    rng = seeded(5)
    shares = np.array([np.diag(MixUp(alpha)(rng, np.eye(8))).min() for _ in range(2000)])
    assert shares.mean() == pytest.approx(0.5, abs=0.03)
    assert shares.std() == pytest.approx(math.sqrt(1 / (8 * alpha + 4)), abs=0.01)


# Masks that move with the picture.

MOVES: list[Move] = [
    Flip(masks=1),
    Flip(1.0, axis="vertical", masks=1),
    Translate((2, 3), masks=1, mask_fill=9),
    Crop((4, 3), masks=1),
    Crop(5, padding=3, masks=1, mask_fill=9),
    Cutout(3, masks=1, mask_fill=9),
    Rotate(180.0, masks=1, mask_fill=9),
]


@pytest.mark.parametrize("move", MOVES, ids=repr)
@pytest.mark.parametrize("channels", ["first", "last"])
@pytest.mark.parametrize("seed", range(4))
def test_a_mask_moves_with_its_picture(move: Move, channels: Any, seed: int) -> None:
    classes = seeded(seed).integers(0, 3, (8, 7)).astype("uint8")
    shown = np.stack([classes, classes + 10, classes + 20]).astype("float32")
    given = (np.moveaxis(shown, 0, -1) if channels == "last" else shown, classes, "name")
    before = classes.copy()
    fill = {"fill": 9.0} if hasattr(move, "fill") else {}
    picture, mask, name = replace(move, channels=channels, **fill)(seeded(seed), given)
    picture = np.moveaxis(picture, -1, 0) if channels == "last" else picture
    assert (mask.dtype, mask.shape, name) == (classes.dtype, picture.shape[1:], "name")
    assert set(mask.ravel().tolist()) <= {0, 1, 2, 9}
    np.testing.assert_array_equal(classes, before)
    if not isinstance(move, Rotate):  # bilinear in the picture
        np.testing.assert_array_equal(picture[0], mask)


def test_the_picture_is_the_same_with_and_without_a_mask() -> None:
    x, classes = picture_of((3, 8, 7)), np.zeros((8, 7), int)
    for move in MOVES:
        alone = replace(move, masks=None)(seeded(3), x)
        np.testing.assert_array_equal(move(seeded(3), (x, classes))[0], alone)


@pytest.mark.parametrize("degrees", [0.0, 90.0, 180.0, 30.0, -77.0])
def test_a_turned_mask_has_the_nearest_pixels(degrees: float) -> None:
    x, angle = picture_of((2, 9, 9), "int64") + 1, math.radians(degrees)
    y = rotated(x, angle, 0, nearest=True)
    for c, i, j in np.ndindex(x.shape):
        row = 4 + math.cos(angle) * (i - 4) + math.sin(angle) * (j - 4)
        column = 4 + math.cos(angle) * (j - 4) - math.sin(angle) * (i - 4)
        near = abs(row % 1 - 0.5) < 1e-9 or abs(column % 1 - 0.5) < 1e-9  # between two pixels
        assert near or y[c, i, j] == pixel(x[c], math.floor(row + 0.5), math.floor(column + 0.5), 0)
    if degrees % 90 == 0:
        np.testing.assert_array_equal(y, np.rot90(x, round(degrees / 90), axes=(1, 2)))


def test_several_masks_and_masks_of_other_kinds() -> None:
    x, classes = picture_of((1, 4, 5)), picture_of((4, 5), "int16")
    edges, name = classes[None] > 50, np.array(3)
    item = {"picture": x, "classes": classes, "edges": edges, "name": name}
    new = Flip(1.0, key="picture", masks=("classes", "edges"))(seeded(), item)
    np.testing.assert_array_equal(new["classes"], classes[:, ::-1])
    np.testing.assert_array_equal(new["edges"], edges[..., ::-1])
    assert new["name"] is name
    left = Flip(1.0, masks=())(seeded(), (x, classes))
    assert left[1] is classes
    covered = Cutout(9, fill=1.0, masks=1)(seeded(), (x, classes))
    np.testing.assert_array_equal(covered[1], classes)
    for colours in (Normalise(0.5, 2.0), Normalise(0.5, 2.0, key=0)):
        assert colours(seeded(), (x, classes))[1] is classes


PIXELS = np.zeros((3, 4, 5), np.float32)
UNTOLD = "Flip moves pixels, and entry 1, {}, has the height and width of the picture: say masks=1 to move it with the"
NO_MASK: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "untold": (
        lambda: Flip()(seeded(), (PIXELS, np.zeros((4, 5), int))),
        DataError,
        UNTOLD.format("int64 of shape (4, 5)"),
    ),
    "untold, of channels": (
        lambda: Flip()(seeded(), (PIXELS, PIXELS)),
        DataError,
        UNTOLD.format("float32 of shape (3, 4, 5)"),
    ),
    "untold, of channels last": (
        lambda: Flip()(seeded(), (PIXELS, np.zeros((4, 5, 3)))),
        DataError,
        UNTOLD.format("float64 of shape (4, 5, 3)"),
    ),
    "other size": (
        lambda: Flip(masks=1)(seeded(), (PIXELS, np.zeros((5, 4)))),
        DataError,
        "Flip needs a mask of the picture's height and width at masks=1, got float64 of shape (5, 4) for a picture of",
    ),
    "no such": (lambda: Flip(masks="m")(seeded(), (PIXELS, 1)), DataError, "Flip needs a mask of the picture's height"),
    "a list": (
        lambda: Flip(masks=1)(seeded(), (PIXELS, [[0]])),
        DataError,
        "Flip needs a mask of the picture's height",
    ),
    "no fill": (
        lambda: Rotate(5, masks=1),
        ArgumentError,
        "Rotate mask_fill must be given: it is what masks have where",
    ),
    "no fill of a padding": (lambda: Crop(5, padding=(0, 1), masks=1), ArgumentError, "Crop mask_fill must be given"),
    "fill of another type": (
        lambda: Translate(1, masks=1, mask_fill=-1)(seeded(), (PIXELS, np.zeros((4, 5), np.uint8))),
        DataError,
        "Translate mask_fill must be a value of uint8",
    ),
    "fill no number": (
        lambda: Translate(1, masks=1, mask_fill="0"),
        ArgumentError,
        "Translate mask_fill must be a number",
    ),  # type: ignore[arg-type]
    "the picture": (lambda: Flip(masks=(1, 0)), ArgumentError, "Flip masks must be other entries than the picture"),
    "a fraction": (lambda: Flip(masks=0.5), ArgumentError, "Flip masks must be a whole number of at least 0"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize(("call", "kind", "message"), NO_MASK.values(), ids=NO_MASK)
def test_masks_that_do_not_fit(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value).startswith(message)
