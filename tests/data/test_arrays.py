"""Arrays of any layout and type: trained on as they lie, without a whole copy; refused with what would help."""

import tracemalloc
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gedanken import (
    SGD,
    ArrayGenerator,
    DatasetGenerator,
    FullyConnectedLayer,
    MappedArray,
    MeanAbsoluteError,
    Network,
    Sequences,
    SimpleRNN,
    SparseRows,
    Vocabulary,
)
from gedanken.data.batches import taken
from gedanken.data.conversion import as_array
from gedanken.datasets import HTTPImageGenerator
from gedanken.errors import DataError
from gedanken.types import Array

N = 40
RNG = np.random.default_rng(5)
X = RNG.normal(size=(N, 6)).astype(np.float32)
Y = X[:, :1] * 2

LAYOUTS: dict[str, Any] = {
    "Fortran": np.asfortranarray,
    "columns": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "turned": lambda x: x[::-1].copy()[::-1],
    "mirrored": lambda x: x[:, ::-1].copy()[:, ::-1],
    "rows apart": lambda x: np.repeat(x, 3, axis=0)[::3],
    "other bytes": lambda x: x.astype(x.dtype.newbyteorder()),
    "read only": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
    "field": lambda x: np.rec.fromarrays([x[:, 0], x], dtype=[("a", "i1"), ("x", x.dtype, x.shape[1:])])["x"],
    "list": lambda x: x.tolist(),
    "float64": lambda x: x.astype(np.float64),
    "masked nowhere": np.ma.masked_array,
}


def trained(x: Any, y: Any, **options: Any) -> list[Array]:
    """Return the weights after two epochs."""
    net = Network().input((6,)).add(FullyConnectedLayer(1)).regression(SGD(0.01), "mean_squared", engine="numpy")
    net.fit(x, y, epochs=2, mini_batch_size=7, progress=False, **options)
    net.evaluate(x, y, progress=False)
    return [net.feedforward(x), *net._compiled_plan("look").state().values()]


@pytest.mark.parametrize("validation", [None, 0.25])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_any_layout_trains_like_the_plain_one(layout: Any, validation: Any) -> None:
    expected = trained(X, Y, validation_set=validation)
    for found in (trained(layout(X), layout(Y), validation_set=validation),):
        assert all(map(np.array_equal, found, expected))


def test_broadcast_rows_train_like_full_ones() -> None:
    row, target = np.broadcast_to(X[0], X.shape), np.broadcast_to(Y[0], Y.shape)
    assert all(map(np.array_equal, trained(row, target), trained(row.copy(), target.copy())))


PICTURES = RNG.normal(size=(2000, 8, 8, 3)).astype(np.float32)
WHOLE: dict[str, Array] = {
    "plain": PICTURES,
    "channels moved": PICTURES.transpose(0, 3, 1, 2),
    "Fortran": np.asfortranarray(PICTURES),
    "cut": PICTURES[:, 1:7, 1:7],
    "turned": PICTURES[::-1],
    "samples last": np.ascontiguousarray(PICTURES.transpose(1, 2, 3, 0)).transpose(3, 0, 1, 2),
    "broadcast": np.broadcast_to(PICTURES[0], PICTURES.shape),
}


@pytest.mark.parametrize("array", WHOLE.values(), ids=WHOLE)
def test_rows_are_taken_without_a_copy_of_the_whole(array: Array) -> None:
    rows = RNG.permutation(len(array))[:20]
    tracemalloc.start()
    found = taken(array, rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(found, array[rows])
    assert peak < array.size * 4 / 10, f"{peak} bytes for {found.nbytes}"


def test_holding_out_a_share_copies_no_data() -> None:
    x, y = np.zeros((20_000, 200), np.float32), np.zeros(20_000, np.float32)
    net = Network().input((200,)).add(FullyConnectedLayer(1)).regression(SGD(0.01), "mean_squared", engine="numpy")
    tracemalloc.start()
    net.fit(x, y, validation_set=0.2, progress=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < x.nbytes / 3


# ---------------------------------------------------------------------------------------------- refused

HOLED = np.ma.masked_array(X, np.arange(X.size).reshape(X.shape) == 9)


class Unreadable:
    """Stands in for a tensor on another device."""

    def __array__(self, *_: Any, **__: Any) -> Array:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def detach(self) -> None:
        """It has this."""

    cpu = detach


REFUSED: dict[str, tuple[Any, str]] = {
    "masked": (HOLED, r"no masked entries, got 1 of 240 masked; .*\.filled"),
    "masked in a list": (list(HOLED), "no masked entries"),
    "masked in lists": ([[HOLED[1], HOLED[1]]], "no masked entries"),
    "ragged tokens": ([[1, 2], [3, 4, 5]], r"rows of different shapes .*pad them to one length, here 2 to 3"),
    "strings": ([["a"], ["b"]], r"<U1: strings; number them: np\.unique"),
    "dates": (np.array(["2020-01-01"], "M8[D]"), "dates; use a difference"),
    "spans": (np.array([5], "m8[s]"), "time differences; divide"),
    "complex": (np.ones((2, 2)) * 1j, r"complex numbers; stack their \.real"),
    "fields": (np.zeros(3, [("a", "f4"), ("b", "i4")]), r"with fields \('a', 'b'\)"),
    "nothing in a list": ([[1.0, None], [2.0, 3.0]], "NoneType None at index 0, 1; fill what is missing"),
    "string in objects": (np.array([[1.0, "red"]], object), "str 'red' at index 0, 1; number them"),
    "numbers as objects": (X.astype(object), r"its entries are numbers; use \.astype\(\"float32\"\)"),
    "an iterator": (map(abs, [1, 2]), r"got map; use list\(\.\.\.\)"),
    "a set": ({1, 2}, r"got set; use list\(\.\.\.\)"),
    "elsewhere": (Unreadable(), r"Unreadable that NumPy cannot read: .*use \.detach\(\)\.cpu\(\)\.numpy\(\)"),
    "sparse": (SimpleNamespace(nnz=3, toarray=None, tocsr=None), r"sparse matrix .*use \.toarray\(\)"),
    "labelled": (SimpleNamespace(data=X, labels=Y, files=()), r"use its \.data and \.labels"),
}


@pytest.mark.parametrize(("values", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_array_of_numbers_is_refused_with_what_helps(values: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"(?s)data must .*{message}"):
        as_array("data", values)
    net = Network().input((6,)).add(FullyConnectedLayer(1)).regression(SGD(0.01), "mean_squared", engine="numpy")
    for call in (net.predict, net.feedforward, lambda data: net.fit(X, data, progress=False), net.evaluate):
        if call != net.predict:
            with pytest.raises(DataError, match=f"(?s)(data|labels) must .*{message}"):
                call(values) if call != net.evaluate else net.evaluate(values, Y)


@pytest.mark.parametrize(
    "make",
    [
        lambda: list(ArrayGenerator(HOLED, mode="serial")),
        lambda: list(ArrayGenerator(X, list(HOLED), mode="serial")),
        lambda: list(ArrayGenerator({"a": X, "b": HOLED}, mode="serial")),
        lambda: list(DatasetGenerator(list(HOLED), mode="serial")),
        lambda: list(DatasetGenerator([(X[0], HOLED[1])], mode="serial")),
        lambda: MappedArray(HOLED),
    ],
)
def test_generators_refuse_masked_entries(make: Any) -> None:
    with pytest.raises(DataError, match="no masked entries"):
        make()


ENDS = [2] * len(X)
PAIRS = X.reshape(-1, 3, 2)
HOLED_PAIRS = HOLED.reshape(PAIRS.shape)
SOME = np.ma.masked_array(ENDS, np.arange(len(X)) == 3)
SHORT = [row[: 2 + place % 2] for place, row in enumerate(HOLED_PAIRS)]


def of_sequences() -> Network:
    layers = Network().input((3, 2)).add(SimpleRNN(2)).add(FullyConnectedLayer(2))
    return layers.regression(SGD(0.01), "mean_squared", engine="numpy")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sequences(HOLED_PAIRS, ENDS), "values must have no masked entries, got 1 of 240 masked"),
        (lambda: Sequences(list(HOLED_PAIRS), ENDS), "values must have no masked entries"),
        (lambda: Sequences(PAIRS, SOME), "lengths must have no masked entries, got 1 of 40 masked"),
        (lambda: Sequences.of(SHORT), "row 1 of samples must have no masked entries, got 1 of 6"),
        (lambda: Sequences.of([list(row) for row in SHORT]), "row 1 of samples must have no masked entries"),
        (lambda: of_sequences().predict(SHORT), "data: row 1 of samples must have no masked entries"),
        (lambda: of_sequences().fit(Sequences(PAIRS, ENDS), SHORT), "labels: row 1 of samples must have no masked"),
        (lambda: ArrayGenerator(SHORT, PAIRS, mode="serial"), "x must have no masked entries"),
        (lambda: SparseRows.of(HOLED), "rows must have no masked entries"),
        (lambda: Vocabulary(("a", "b")).decode(SOME), "numbers must have no masked entries"),
        (lambda: MeanAbsoluteError().measure(HOLED, X), "y of mean_absolute_error must have no masked entries"),
        (lambda: MeanAbsoluteError().measure(X, HOLED), "target of mean_absolute_error must have no masked entries"),
        (lambda: MeanAbsoluteError().measure(X, X, weight=SOME), "weight of mean_absolute_error must have no masked"),
        (lambda: HTTPImageGenerator(["http://a/b"] * len(X), SOME, 4), "labels must have no masked entries"),
    ],
)
def test_whatever_is_made_of_arrays_refuses_masked_entries(make: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make()


def test_columns_of_a_table_that_are_no_numbers_are_named() -> None:
    pandas = pytest.importorskip("pandas")
    tables = {
        "'city' .*strings such as 'Bonn'": {"city": ["Bonn", "Rome"], "x": [1.0, 2.0]},
        "of columns of different types; use .astype": {"on": [True, False], "x": [1.0, 2.0]},
        r"'x' \(Int64\): fill what is missing": {"x": pandas.array([1, None], "Int64"), "y": [1.0, 2.0]},
        r"'kind' \(category\): use .cat.codes": {"kind": pandas.Categorical(["a", "b"]), "x": [1, 2]},
        r"'day' \(datetime.*use numbers": {"day": pandas.to_datetime(["2020-01-01", "2021-01-01"]), "x": [1, 2]},
    }
    for message, columns in tables.items():
        with pytest.raises(DataError, match=message):
            as_array("data", pandas.DataFrame(columns))
    with pytest.raises(DataError, match=r"in categories; use .cat.codes"):
        as_array("labels", pandas.Series(["a", "b"], dtype="category"))
