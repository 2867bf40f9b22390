"""Digits drawn from pen strokes: a data set in MNIST's shape that needs no file and no network."""

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from gedanken.checks import seed_of_draws, whole
from gedanken.datasets.labels import Split, one_hot
from gedanken.datasets.threads import map_threads
from gedanken.random import DRAW_RANGE, Purpose, sample_draws
from gedanken.types import Array

# Strokes as four-figure points xxyy on a 100 x 100 grid, y downwards. A stroke runs smoothly through its
# points; a corner is where one stroke ends and the next begins.
GLYPHS: Final = (
    (0, ("5000 2208 0730 0455 0876 2293 5099 7893 9274 9652 9228 7808 5000",)),
    (0, ("6804 4000 1812 0535 0462 1486 4099 7292 9070 9640 8416 6202 4408",)),
    (1, ("5000 5099",)),
    (1, ("2424 5000", "5000 5099")),
    (1, ("2424 5000", "5000 5099", "2299 7899")),
    (2, ("1025 2507 5000 7807 8827 8045 5070 1099", "1099 9299")),
    (2, ("1222 3003 6000 8515 8238 5570 2594 1090 2078 4286 6697 9590",)),
    (3, ("1412 3502 6200 8412 8132 6244 4248", "4248 6850 8762 8980 7296 4299 1288")),
    (3, ("1502 8602", "8602 4640", "4640 7246 9070 7892 4899 1290")),
    (4, ("2600 1260", "1260 9060", "6630 6699")),
    (4, ("6800 0668", "0668 9668", "6800 6899")),
    (4, ("1000 1240 3854 7848", "7800 7899")),
    (5, ("8602 2602", "2602 1845", "1845 4538 7542 9264 8285 5599 1292")),
    (5, ("8808 5500 2810 2032 4244 7052 8872 7492 4499 1488",)),
    (6, ("7604 4612 2035 1065 2291 5099 8091 8970 7653 5049 2457 1070",)),
    (6, ("6600 2836 1068", "1068 2090 4899 7892 8872 7256 4454 1468")),
    (7, ("1002 9202", "9202 4099")),
    (7, ("1002 9202", "9202 4299", "3252 8250")),
    (7, ("0820 1004", "1004 5008 9202", "9202 5250 4499")),
    (8, ("5048 2435 2012 5000 8012 7635 5048 1870 1490 5099 8690 8270 5048",)),
    (8, ("8410 5600 2208 2430 7060 8684 5499 1490 1868 7432 8410",)),
    (9, ("8828 7406 4600 1810 1032 2450 5256 7848 8828", "8828 8499")),
    (9, ("8828 7406 4600 1810 1032 2450 5256 7848 8828", "8828 8266 6490 3099")),
)
SIDE: Final = 28
POINTS: Final = 56  # of the pen along a digit, at most 1.2 pixels apart
STRAY_POINTS: Final = 8
STRAYS: Final = 3
BLOCK: Final = 128  # samples drawn at a time, so that a block's pictures stay in a core's cache
SHAPE_DRAWS: Final = 64
DRAWS: Final = SHAPE_DRAWS + SIDE * SIDE // 2  # a draw of 16 bits gives the noise of two pixels


Uniform: TypeAlias = Callable[[float, float], Array]


class _Templates(NamedTuple):
    """Per glyph: the pen's places, and each place's weights in a 3 x 3 grid of control points."""

    first: Array  # (10,), the first glyph of a digit
    ways: Array  # (10,), how many glyphs a digit has
    x: Array  # (P, G), -0.5 ... 0.5
    y: Array  # (P, G)
    weights: Array  # (9, P, G)


def load_drawn_digits(train: int = 60000, test: int = 10000, seed: int = 0) -> Split:
    """Draw handwriting-like digits: MNIST's shapes without MNIST's files.

    Each picture is one of 23 ways to write a digit, bent by a random grid of control points, then scaled,
    slanted, turned, shifted and drawn by a pen of random width and brightness, with noise and up to three
    faint stray strokes. Digits are equally likely. A linear classifier gets no further than 89 %, a small
    convolutional network to 99 %.

    Args:
        train: number of training pictures, >= 0.
        test: number of test pictures, >= 0; drawn from a stream of their own.
        seed: >= 0. Picture k depends on the seed and k alone: not on how many are drawn, nor on the threads.

    Returns:
        train_data, train_labels, test_data, test_labels.

    Shapes:
        data: (N, 1, 28, 28), float32 in [0, 1], 0 is paper.   labels: (N, 10), float32, one-hot.

    Raises:
        ArgumentError: a number is negative or not whole.
    """
    sizes = whole("train", train, 0), whole("test", test, 0)
    seed = seed_of_draws("seed", seed)
    templates = _templates()
    (a, b), (c, d) = (
        _draw_all(templates, seed, part, size) for part, size in zip(("train", "test"), sizes, strict=True)
    )
    return a, b, c, d


def _draw_all(templates: _Templates, seed: int, part: str, size: int) -> tuple[Array, Array]:
    data = np.empty((size, 1, SIDE, SIDE), np.float32)
    digits = np.empty(size, np.int64)

    def fill(start: int) -> None:
        stop = min(start + BLOCK, size)
        draws = sample_draws(seed, Purpose.DATASET, f"drawn_digits.{part}", 0, start, stop - start, DRAWS)
        digits[start:stop], pictures = _draw(templates, draws)
        data[start:stop, 0] = pictures

    map_threads(fill, range(0, size, BLOCK))
    return data, one_hot(digits, 10)


def _draw(templates: _Templates, draws: Array) -> tuple[Array, Array]:
    """Return digits (n,) and pictures (n, 28, 28) for draws (n, DRAWS). Inside, samples are the last axis."""
    shape = iter(np.ascontiguousarray(draws[:, :SHAPE_DRAWS].T))

    def uniform(low: float, high: float) -> Array:
        value: Array = next(shape).astype(np.float32) * np.float32((high - low) / DRAW_RANGE)
        return value + np.float32(low)

    digits, glyphs = _choose(templates, next(shape), next(shape))
    x, y = _bend(templates, glyphs, uniform)
    x, y = _place(x, y, uniform)
    ink = _stroke(x, y, uniform(0.9, 1.9)) * uniform(0.55, 1.0)
    for _ in range(STRAYS):
        faint = np.maximum(uniform(-0.8, 0.6), 0)
        stray = _stroke(*_stray(uniform), uniform(0.5, 1.1)) * faint
        np.maximum(ink, stray, out=ink)
    grain = np.ascontiguousarray(draws[:, SHAPE_DRAWS:]).astype("<u2", copy=False).view(np.uint8)
    noise = grain.T.reshape(ink.shape).astype(np.float32) - np.float32(127.5)
    ink += noise * uniform(0.0, 0.2 / 127.5)
    return digits, np.clip(ink, 0, 1, out=ink).transpose(2, 0, 1)


def _choose(templates: _Templates, which_digit: Array, which_glyph: Array) -> tuple[Array, Array]:
    digits = which_digit.astype(np.int64) * 10 // DRAW_RANGE
    nth = which_glyph * templates.ways[digits] // DRAW_RANGE
    return digits, templates.first[digits] + nth


def _bend(templates: _Templates, glyphs: Array, uniform: Uniform) -> tuple[Array, Array]:
    """Move the control points at random and the pen's places with them."""
    x, y = templates.x[:, glyphs], templates.y[:, glyphs]
    for weights in templates.weights:
        weight = weights[:, glyphs]
        x += weight * uniform(-0.18, 0.18)
        y += weight * uniform(-0.18, 0.18)
    return x, y


def _place(x: Array, y: Array, uniform: Uniform) -> tuple[Array, Array]:
    """Scale, slant, turn and shift to pixels. The turn comes from t = tan(angle / 2), which needs no sine."""
    height = uniform(15.0, 20.0)
    x = x * (height * uniform(0.5, 0.85)) + y * (height * uniform(-0.3, 0.3))
    y = y * height
    t = uniform(-0.13, 0.13)
    scale = 1 / (1 + t * t)
    cosine, sine = (1 - t * t) * scale, 2 * t * scale
    middle = (SIDE - 1) / 2
    right, down = uniform(middle - 1.8, middle + 1.8), uniform(middle - 1.8, middle + 1.8)
    return x * cosine - y * sine + right, x * sine + y * cosine + down


def _stray(uniform: Uniform) -> tuple[Array, Array]:
    """Return a short straight line anywhere in the picture."""
    along = np.linspace(0, 1, STRAY_POINTS, dtype=np.float32)[:, None]
    x = uniform(0, SIDE) + along * uniform(-7, 7)
    y = uniform(0, SIDE) + along * uniform(-7, 7)
    return x, y


def _stroke(x: Array, y: Array, radius: Array) -> Array:
    """Return the ink (28, 28, n) of a round pen that touches the places x, y (P, n)."""
    pixels = np.arange(SIDE, dtype=np.float32)[:, None]
    nearest = np.full((SIDE, SIDE, x.shape[1]), np.inf, np.float32)
    squares = np.empty_like(nearest)
    for point_x, point_y in zip(x, y, strict=True):
        across, down = pixels - point_x, pixels - point_y
        np.add((down * down)[:, None], (across * across)[None], out=squares)
        np.minimum(nearest, squares, out=nearest)
    np.subtract(radius + np.float32(0.5), np.sqrt(nearest, out=nearest), out=nearest)
    return np.clip(nearest, 0, 1, out=nearest)


def _templates() -> _Templates:
    digit = np.array([number for number, _ in GLYPHS])
    places = np.stack([_trace(strokes) for _, strokes in GLYPHS], axis=1)
    x, y = places[..., 0], places[..., 1]
    weights = [wx * wy for wx in _bernstein(x) for wy in _bernstein(y)]
    first, ways = np.searchsorted(digit, np.arange(10)), np.bincount(digit)
    return _Templates(first, ways, *(part.astype(np.float32) for part in (x - 0.5, y - 0.5, np.stack(weights))))


def _bernstein(u: Array) -> tuple[Array, Array, Array]:
    return (1 - u) ** 2, 2 * u * (1 - u), u**2


def _trace(strokes: tuple[str, ...]) -> Array:
    """Return POINTS places (P, 2) in 0 ... 1, evenly spaced along the strokes."""
    curves = [_smooth(stroke) for stroke in strokes]
    travelled = [np.r_[0, np.cumsum(np.hypot(*np.diff(curve, axis=0).T))] for curve in curves]
    ends = np.cumsum([0] + [way[-1] for way in travelled])
    bounds = np.rint(ends / ends[-1] * POINTS).astype(int)
    parts = []
    for curve, way, points in zip(curves, travelled, np.diff(bounds), strict=True):
        at = np.linspace(0, way[-1], points)
        parts.append(np.stack([np.interp(at, way, curve[:, axis]) for axis in (0, 1)], axis=1))
    return np.concatenate(parts)


def _smooth(stroke: str) -> Array:
    """Return a dense Catmull-Rom curve through the stroke's points."""
    points = np.array([(int(p[:2]), int(p[2:])) for p in stroke.split()]) / 99
    p = np.concatenate([points[:1], points, points[-1:]])
    t = np.linspace(0, 1, 16)[:, None, None]
    a, b, c, d = p[:-3], p[1:-2], p[2:-1], p[3:]
    curve: Array = b + (t * (c - a) + t**2 * (2 * a - 5 * b + 4 * c - d) + t**3 * (3 * b - a - 3 * c + d)) / 2
    return curve.transpose(1, 0, 2).reshape(-1, 2)
