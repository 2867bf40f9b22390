"""Windows of time series beside a loop over them, and that nothing of the later part is in the earlier."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import LSTM, Adam, ArgumentError, DataError, FullyConnectedLayer, Network
from gedanken.datasets import WindowGenerator, load_sunspots, split_in_time, windows
from gedanken.types import Array


def by_hand(series: Array, length: int, ahead: int, stride: int, columns: Any, each_place: bool) -> tuple[Array, Array]:
    chosen = series if columns is None else series[:, columns]
    x, y, first = [], [], 0
    while first + length + ahead <= len(series):
        x.append(series[first : first + length])
        places = range(length) if each_place else range(ahead)
        y.append([chosen[first + p + (ahead if each_place else length)] for p in places])
        first += stride
    return np.array(x), np.array(y)


CUTS = [
    (length, ahead, stride, columns, each_place)
    for length, ahead, stride in ((3, 1, 1), (4, 2, 3), (1, 5, 2))
    for columns in (None, 0, [2, 0])
    for each_place in (False, True)
]


@pytest.mark.parametrize(("length", "ahead", "stride", "columns", "each_place"), CUTS)
def test_windows_are_those_of_a_loop(length: int, ahead: int, stride: int, columns: Any, each_place: bool) -> None:
    rng = np.random.default_rng(0)
    several = [rng.normal(size=(places, 3)).astype("float32") for places in (11, 6, 8)]
    options = {"stride": stride, "columns": columns, "each_place": each_place}
    x, y = windows(several[0], length, ahead, **options)
    wanted = by_hand(several[0], length, ahead, stride, columns, each_place)
    np.testing.assert_array_equal(x, wanted[0])
    np.testing.assert_array_equal(y, wanted[1])
    assert x.dtype == y.dtype == np.float32
    assert np.shares_memory(x, several[0])
    assert np.shares_memory(y, several[0]) or columns == [2, 0]
    found = windows(several, length, ahead, **options)
    parts = [by_hand(one, length, ahead, stride, columns, each_place) for one in several]
    wanted = tuple(np.concatenate(part) for part in zip(*parts, strict=True))
    with WindowGenerator(several, length, ahead, **options, mini_batch_size=3, mode="serial") as generator:
        assert len(generator) == len(wanted[0])
        made = [np.concatenate(part) for part in zip(*generator, strict=True)]
    for one, other, right in zip(found, made, wanted, strict=True):
        np.testing.assert_array_equal(one, right)
        np.testing.assert_array_equal(other, right)


def test_numbers_of_words_keep_their_type() -> None:
    x, y = windows(np.arange(5, dtype=np.int16), 3, each_place=True)
    assert (x.tolist(), y.tolist()) == ([[0, 1, 2], [1, 2, 3]], [[1, 2, 3], [2, 3, 4]])
    assert x.dtype == y.dtype == np.int16


def test_a_series_in_a_file_is_read_by_processes(tmp_path: Path) -> None:
    np.save(tmp_path / "series.npy", np.arange(300, dtype=np.float32))
    series = np.load(tmp_path / "series.npy", mmap_mode="r")
    with WindowGenerator(series, 5, shuffle=True, mode="processes", workers=2, mini_batch_size=64) as generator:
        found = [(x, y) for x, y in generator]
    assert sorted(int(first) for x, _ in found for first in x[:, 0]) == list(range(295))
    assert all((y[:, 0] == x[:, 0] + 5).all() for x, y in found)


def test_a_network_learns_from_views_and_from_the_generator() -> None:
    series = np.sin(np.arange(60) / 3).astype("float32")
    x, y = windows(series, 6)
    nets = []
    for data in ((x, y), (WindowGenerator(series, 6, mini_batch_size=8, mode="serial"),)):
        net = Network(seed=1).input((6,)).add(FullyConnectedLayer(1)).regression(Adam(0.1), "mean_squared")
        net.fit(*data, mini_batch_size=8, shuffle=False, epochs=3, progress=False) if len(data) == 2 else net.fit(
            *data, epochs=3, progress=False
        )
        nets.append(net)
    assert (nets[0].feedforward(x) == nets[1].feedforward(x)).all()


def test_the_later_part_shares_no_target_with_the_earlier() -> None:
    earlier, later = split_in_time(np.arange(100), 0.25, before=7)
    assert (earlier.tolist(), later.tolist()) == (list(range(75)), list(range(68, 100)))
    _, known = windows(earlier, 7)
    _, asked = windows(later, 7)
    assert asked.min() == 75
    assert not set(known.ravel()) & set(asked.ravel())
    assert split_in_time(np.arange(100))[1][0] == 80
    assert np.shares_memory(*split_in_time(np.zeros((10, 2)), 0.5, before=1))


HOLE = np.array([[0.0, 1], [2, 3], [4, np.nan], [5, 6]])
MISTAKES: dict[str, tuple[Any, type[Exception], str]] = {
    "too short": (lambda: windows(np.arange(4), 3, ahead=2), DataError, r"series must have .* ahead = 5 places, got 4"),
    "one too short": (
        lambda: windows([np.arange(9), np.arange(4)], 4),
        DataError,
        r"series\[1\] must have at least .* = 5 places, got 4",
    ),
    "NaN": (lambda: windows(HOLE, 2), DataError, r"finite numbers, got nan in series 0 at \[2, 1\]"),
    "NaN on the way": (
        lambda: list(WindowGenerator([HOLE[:2], HOLE[1:]], 1, mode="serial")),
        DataError,
        r"got nan in series 1 at \[1, 1\]",
    ),
    "axes": (lambda: windows(np.zeros((5, 2, 2)), 2), DataError, r"\(S,\) or \(S, F\), got shape \(5, 2, 2\)"),
    "complex": (lambda: windows(np.zeros(5, "complex64"), 2), DataError, "series"),
    "words": (lambda: windows(np.array(["a", "b"]), 1), DataError, "series"),
    "numbers in a list": (lambda: windows([1.0, 2.0, 3.0], 2), DataError, r"series\[0\] must be real numbers \(S,\)"),
    "none": (lambda: windows([], 2), ArgumentError, "series must be at least one array"),
    "other features": (lambda: windows([np.zeros((5, 2)), np.zeros((5, 3))], 2), DataError, r"features \(2,\)"),
    "other types": (lambda: windows([np.zeros(5), np.zeros(5, int)], 2), DataError, "float64 .* got int64"),
    "length": (lambda: windows(np.arange(9), 0), ArgumentError, "length must be"),
    "ahead": (lambda: windows(np.arange(9), 1, 0), ArgumentError, "ahead must be"),
    "stride": (lambda: WindowGenerator(np.arange(9), 1, stride=0), ArgumentError, "stride must be"),
    "columns": (lambda: windows(np.zeros((9, 2)), 1, columns=2), ArgumentError, "columns must be below 2"),
    "no columns": (lambda: windows(np.zeros((9, 2)), 1, columns=[]), ArgumentError, "columns must be at least one"),
    "columns of none": (lambda: windows(np.zeros(9), 1, columns=0), ArgumentError, "None for series without features"),
    "share": (lambda: split_in_time(np.arange(9), 1.0), ArgumentError, r"share must be a number in \(0, 1\)"),
    "empty part": (lambda: split_in_time(np.arange(2), 0.1), DataError, "places for both parts"),
    "no axis": (lambda: split_in_time(np.array(1)), DataError, "places for both parts"),
    "before": (lambda: split_in_time(np.arange(9), 0.5, before=6), ArgumentError, "before must be at most 5"),
}


@pytest.mark.parametrize(("call", "kind", "words"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_named(call: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        call()


def test_sunspots() -> None:
    years, numbers = load_sunspots()
    assert (years[0], years[-1], years.shape, numbers.shape) == (1700, 2008, (309,), (309,))
    assert (years[numbers.argmax()], numbers[years == 2000].item()) == (1957, pytest.approx(119.6))
    spectrum = abs(np.fft.rfft(numbers - numbers.mean()))
    assert len(numbers) / spectrum.argmax() == pytest.approx(11, abs=0.3)  # years of the sun's cycle


@pytest.mark.parametrize("columns", [None, 0, [0]])
def test_a_network_takes_targets_of_windows_or_says_what_to_do(columns) -> None:
    series = np.sin(np.arange(40.0, dtype="float32"))[:, None]
    each = Network().input((8, 1)).add(LSTM(3)).add(FullyConnectedLayer(1)).regression(cost="mean_squared")
    x, y = windows(series, 8, each_place=True, columns=columns)
    assert each.evaluate(x, y, progress=False)["cost"] > 0
    for ahead in (1, 3):
        last = Network().input((8, 1)).add(LSTM(3, last=True)).add(FullyConnectedLayer(ahead))
        last.regression(cost="mean_squared")
        x, y = windows(series, 8, ahead, columns=columns)
        if columns == 0:
            assert last.evaluate(x, y, progress=False)["cost"] > 0
        else:
            with pytest.raises(DataError, match=r"leave out the last axis: .*, or columns=0 where windows made it"):
                last.evaluate(x, y, progress=False)
