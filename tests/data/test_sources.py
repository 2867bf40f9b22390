"""Generators of arrays, of data sets with an index, and of iterables."""

import itertools
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gedanken import (
    ArgumentError,
    ArrayGenerator,
    DataError,
    DatasetGenerator,
    Generator,
    IterableGenerator,
    MappedArray,
    Samples,
)


class Point(NamedTuple):
    x: int
    y: float


X, Y = np.arange(24.0).reshape(8, 3), np.arange(8) % 3
CREWS = {
    "serial": {"mode": "serial"},
    "threads": {"mode": "threads", "workers": 3},
    "processes": {"mode": "processes", "workers": 2},
}
in_all_modes = pytest.mark.parametrize("crew", CREWS.values(), ids=CREWS)


def joined(generator: Generator) -> Any:
    """Return one epoch as one mini-batch."""
    batches = list(generator)
    if isinstance(batches[0], dict):
        return {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}
    if isinstance(batches[0], tuple):
        return tuple(np.concatenate(parts) for parts in zip(*batches, strict=True))
    return np.concatenate(batches)


def assert_same(got: Any, wanted: Any) -> None:
    assert type(got) is type(wanted)
    if isinstance(wanted, dict):
        assert list(got) == list(wanted)
        got, wanted = tuple(got.values()), tuple(wanted.values())
    for a, b in zip(got, wanted, strict=True) if isinstance(wanted, tuple) else [(got, wanted)]:
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype


class Indexed:
    """Has NumPy's indexing and nothing else, as an h5py data set."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape = array, array.shape

    def __getitem__(self, key: Any) -> Any:
        return self.array[key]


def mapped(folder: Path, array: np.ndarray = X, mode: str = "r") -> np.memmap:
    np.save(folder / "x.npy", array)
    return np.load(folder / "x.npy", mmap_mode=mode)


# Arrays


ARRAYS = {
    "one": ((X,), X),
    "two": ((X, Y), (X, Y)),
    "a list": (([[0.0, 1.0], [2.0, 3.0]], [1, 0]), (np.array([[0.0, 1.0], [2.0, 3.0]]), np.array([1, 0]))),
    "numbers": ((Y,), Y),
    "tuple": (((X, Y, X[:, :1]),), (X, Y, X[:, :1])),
    "named tuple": ((Point(X, Y),), (X, Y)),
    "dict": (({"b": X, "a": Y},), {"b": X, "a": Y}),
    "like NumPy's": ((Indexed(X), Indexed(Y)), (X, Y)),
    "a view": ((X[::-1, ::2],), X[::-1, ::2]),
}


@pytest.mark.parametrize(("arguments", "wanted"), ARRAYS.values(), ids=ARRAYS)
def test_samples_have_the_form_of_the_arrays(arguments, wanted):
    assert_same(joined(ArrayGenerator(*arguments, mode="serial", mini_batch_size=3)), wanted)


@in_all_modes
def test_arrays_in_all_modes(crew):
    with ArrayGenerator(X, Y, mini_batch_size=3, shuffle=True, seed=5, **crew) as generator:
        orders = [joined(generator)[0][:, 0] / 3 for _ in range(2)]
    assert [sorted(order) for order in orders] == [list(range(8))] * 2
    with ArrayGenerator(X, Y, mini_batch_size=3, shuffle=True, seed=5, mode="serial") as serial:
        np.testing.assert_array_equal(orders, [joined(serial)[0][:, 0] / 3 for _ in range(2)])


@settings(max_examples=40)
@given(
    samples=st.integers(1, 30),
    rows=st.integers(1, 40),
    workers=st.integers(0, 3),
    shuffle=st.booleans(),
    data=st.data(),
)
def test_every_sample_comes_once_with_its_label(samples, rows, workers, shuffle, data):
    x = np.arange(samples * 2).reshape(samples, 2)
    options = {"mini_batch_size": rows, "shuffle": shuffle, "seed": data.draw(st.integers(0, 99))}
    with ArrayGenerator(x, x[:, 0] // 2, mode="threads", workers=workers, **options) as generator:
        got, labels = joined(generator)
    np.testing.assert_array_equal(got, x[labels])
    assert sorted(labels) == list(range(samples))
    assert shuffle or list(labels) == list(range(samples))


def test_no_samples():
    assert list(ArrayGenerator(np.empty((0, 3)), mode="serial")) == []


BAD_ARRAYS = [
    ((np.float32(1),), "x must have a first axis of samples, got"),
    ((X, Y[:7]), r"y must have 8 samples as the first array has, got \(7,\)"),
    (((X, Y[:7]),), r"x\[1\] must have 8 samples"),
    ((X, (Y, Y)), "y must have 8 samples as the first array has; weights are a third argument, got"),
    ((X, None, Y), "weights must be left out where there is no y"),
    ((X, Y, Y[:7]), "weights must have 8 samples"),
    ((X, Y, -np.ones(8)), "weights must be at least 0"),
    ((X, Y, np.zeros(8)), "weights must not all be 0"),
    (({"a": X, "b": 3},), r"x\['b'\] must have a first axis of samples"),
    (((),), "x must have at least one array"),
    (((X,), Y), "y must be left out where x is a tuple of arrays"),
    ((["a", "b"],), "x must be an array of numbers, got <U1: strings; number them"),
    ((X, [None] * 8), "y must be an array of numbers, got object with NoneType None at index 0; fill what is missing"),
    (([[[1], [2, 3]]] * 2,), "x must be an array, got rows of different shapes"),
    (([[[1]], [[2, 3], [4, 5]]],), "x: samples must be alike but for their length"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_ARRAYS)
def test_rules_of_arrays(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        ArrayGenerator(*arguments)


# Arrays in files


@in_all_modes
def test_a_mapped_array_in_all_modes(crew, tmp_path):
    with ArrayGenerator(mapped(tmp_path), Y, mini_batch_size=3, **crew) as generator:
        assert_same(joined(generator), (X, Y))


@pytest.mark.parametrize("wrap", [lambda array: array, np.asarray, lambda array: array[100:, ::-1]])
def test_a_mapped_array_is_sent_without_its_content(wrap, tmp_path):
    array = wrap(mapped(tmp_path, np.zeros((1000, 50))))
    buffers: list[pickle.PickleBuffer] = []
    sent = pickle.dumps(ArrayGenerator(array), protocol=5, buffer_callback=buffers.append)
    assert len(sent) + sum(buffer.raw().nbytes for buffer in buffers) < 4000


parts = st.slices(5), st.slices(7), st.slices(4)


@settings(max_examples=60)
@given(
    keys=st.tuples(*parts),
    turn=st.permutations(range(3)),
    plain=st.booleans(),
    dtype=st.sampled_from(["u1", "<f4", ">i8"]),
    order=st.sampled_from("CF"),
)
def test_any_part_of_a_map_is_found_again(keys, turn, plain, dtype, order, tmp_path_factory):
    whole = np.asfortranarray if order == "F" else np.ascontiguousarray
    array = mapped(tmp_path_factory.mktemp("maps"), whole(np.arange(140).reshape(5, 7, 4)).astype(dtype))
    part = array[keys].transpose(turn)
    part = np.asarray(part) if plain else part
    if not part.size:
        return
    twice = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(MappedArray(part)))))
    assert_same(np.asarray(twice), np.asarray(part))
    assert (twice.shape, twice.dtype, len(twice)) == (part.shape, part.dtype, len(part))
    assert not twice.array.flags.writeable
    np.testing.assert_array_equal(twice[0], part[0])


def test_a_map_at_an_offset(tmp_path):
    (tmp_path / "raw").write_bytes(bytes(100_000) + X.tobytes())
    array = np.memmap(tmp_path / "raw", float, "r", 100_000, (8, 3))
    assert_same(np.asarray(pickle.loads(pickle.dumps(MappedArray(array[2:])))), X[2:])


def test_a_map_says_where_it_lies(tmp_path):
    assert repr(MappedArray(mapped(tmp_path))) == f"MappedArray({tmp_path / 'x.npy'}, shape (8, 3), float64)"


@pytest.mark.parametrize("make", [lambda folder: X, lambda folder: mapped(folder) + 1, lambda folder: None])
def test_what_lies_in_no_file_is_no_map(make, tmp_path):
    with pytest.raises(ArgumentError, match=r"array must be a np\.memmap of a file"):
        MappedArray(make(tmp_path))


def test_private_changes_of_a_map_reach_workers(tmp_path):
    array = mapped(tmp_path, mode="c")
    array[:] = X + 1
    with ArrayGenerator(array, mini_batch_size=8, **CREWS["processes"]) as generator:
        np.testing.assert_array_equal(joined(generator), X + 1)
    with pytest.raises(ArgumentError, match="its mode not 'c'"):
        MappedArray(array)


# Data sets with an index


class Tensor:
    """Stands in for PyTorch's, one that needs a gradient: what NumPy cannot read by itself."""

    def __init__(self, values: Any) -> None:
        self.values, self.ready = values, False

    def detach(self) -> "Tensor":
        found = Tensor(self.values)
        found.ready = True
        return found

    def cpu(self) -> "Tensor":
        return self

    def numpy(self) -> np.ndarray:
        assert self.ready
        return np.float32(self.values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")


class Dataset:
    """A PyTorch Dataset."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return Tensor([index, index + 1]), index % 2


def halved(row: dict[str, Any]) -> tuple[np.ndarray, int]:
    return np.float32(row["pixels"]) / 2, row["label"]


PAIRS = (np.array([[k, k + 1] for k in range(5)], np.float32), np.arange(5) % 2)
ROWS = [{"pixels": [k, k + 1], "label": k % 2, "name": str(k)} for k in range(5)]
DATASETS = {
    "PyTorch": (Dataset(), None, PAIRS),
    "rows": (
        [{"x": [k, k + 1], "y": k} for k in range(3)],
        None,
        {"x": np.array([[0, 1], [1, 2], [2, 3]]), "y": Y[:3]},
    ),
    "rows of tensors": ([{"x": Tensor([k])} for k in range(2)], None, {"x": np.float32([[0], [1]])}),
    "rows with strings": (ROWS, halved, (PAIRS[0] / 2, PAIRS[1])),
    "an array": (X, None, X),
    "tensors": ([Tensor(k) for k in range(3)], None, np.float32([0, 1, 2])),
    "numbers": (range(4), None, np.arange(4)),
    "lists": ([[1, 2.5], [3, 4.5]], None, (np.array([1, 3]), np.array([2.5, 4.5]))),
    "named tuples": ([Point(1, 2.5), Point(3, 4.5)], None, (np.array([1, 3]), np.array([2.5, 4.5]))),
    "several": ([X[:2], X[2:]], Samples, X),
}


@pytest.mark.parametrize(("dataset", "to_item", "wanted"), DATASETS.values(), ids=DATASETS)
def test_elements_become_items(dataset, to_item, wanted):
    assert_same(joined(DatasetGenerator(dataset, to_item=to_item, mode="serial", mini_batch_size=2)), wanted)


@in_all_modes
def test_a_data_set_in_all_modes(crew):
    with DatasetGenerator(Dataset(), mini_batch_size=2, **crew) as generator:
        assert_same(joined(generator), PAIRS)
    with DatasetGenerator(ROWS, to_item=halved, mini_batch_size=2, shuffle=True, **crew) as generator:
        x, _ = joined(generator)
    assert sorted(x[:, 0]) == [0, 0.5, 1, 1.5, 2]


@pytest.mark.parametrize(
    ("element", "got"), [("text", "got str"), (None, "got NoneType"), ({1: 2}, "got dict"), (object(), "got object")]
)
def test_what_is_no_item_is_named(element, got):
    with pytest.raises(DataError, match=rf"item 0 of get_mini_batches\(0\) must be .*{got}"):
        list(DatasetGenerator([element], mode="serial"))


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        (
            iter([1]),
            {},
            r"dataset must have a length and an index \(for others: IterableGenerator\), got 'list_iterator'",
        ),
        ({"x": X}, {}, r"dataset must have whole numbers for an index \(see ArrayGenerator\), got 'dict'"),
        ([1], {"to_item": 3}, "to_item must be a function element -> item, got 3"),
        ([1], {"mini_batch_size": 0}, "mini_batch_size must be"),
    ],
)
def test_rules_of_data_sets(dataset, options, message):
    with pytest.raises(ArgumentError, match=message):
        DatasetGenerator(dataset, **options)


# Iterables


class Numbers:
    """A PyTorch IterableDataset."""

    def __init__(self, stop: int) -> None:
        self.stop, self.begun, self.given = stop, 0, 0

    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        self.begun += 1
        for k in range(self.stop):
            self.given += 1
            yield Tensor([k, k + 1]), k % 2


class Sized(Numbers):
    def __len__(self) -> int:
        return self.stop


def turned(epoch: int) -> Iterator[int]:
    """An order of its own in each epoch."""
    return ((k + epoch) % 7 for k in range(7))


def forever(epoch: int) -> Iterator[int]:
    return itertools.count(epoch)


def breaks(epoch: int) -> Iterator[int]:
    yield from (0, 1)
    if not epoch:
        raise KeyError("the stream broke")
    yield 2


@in_all_modes
def test_an_iterable_in_all_modes(crew):
    with IterableGenerator(Numbers(5), 5, mini_batch_size=2, **crew) as generator:
        for _ in range(2):
            assert_same(joined(generator), PAIRS)
    with IterableGenerator(turned, 7, mini_batch_size=3, **crew) as generator:
        assert [list(joined(generator)) for _ in range(3)] == [list(turned(epoch)) for epoch in range(3)]


@given(length=st.integers(1, 20), rows=st.integers(1, 25), workers=st.integers(0, 3), taken=st.integers(0, 20))
def test_an_epoch_goes_on_where_it_was_left(length, rows, workers, taken):
    options = {"mini_batch_size": rows, "mode": "threads", "workers": workers}
    with IterableGenerator(forever, length, **options) as generator:
        first = [batch.tolist() for batch in itertools.islice(generator, taken)]
        state = generator.state_dict()
    with IterableGenerator(forever, length, **options) as other:
        other.load_state_dict(state)
        rest, following = ([batch.tolist() for batch in other] for _ in range(2))
    epoch = state["epoch"]
    whole = rest if epoch else first + rest
    assert list(itertools.chain(*whole)) == list(range(epoch, epoch + length))
    assert list(itertools.chain(*following)) == list(range(epoch + 1, epoch + 1 + length))


def test_a_lone_worker_reads_each_element_once():
    numbers = Sized(6)
    with IterableGenerator(numbers, mini_batch_size=4, mode="serial") as generator:
        for epochs in (1, 2):
            assert len(joined(generator)[1]) == 6
            assert (numbers.begun, numbers.given) == (epochs, 6 * epochs)


def test_there_is_one_worker_unless_told_otherwise():
    with IterableGenerator(Numbers(9), 9) as generator:
        joined(generator)
        assert len(generator.stats()["each"]) == 1


def test_lines_of_a_file(tmp_path):
    (tmp_path / "table.csv").write_text("".join(f"{k},{k * k}\n" for k in range(9)))
    options = {"to_item": lambda line: tuple(np.float32(line.split(","))), "mode": "serial", "mini_batch_size": 4}
    with IterableGenerator(lambda epoch: (tmp_path / "table.csv").open(), 8, **options) as generator:
        for _ in range(2):
            x, y = joined(generator)
            np.testing.assert_array_equal(x**2, y)
            assert len(x) == 8
        for _ in generator:  # leaves the file open in the middle
            break


@in_all_modes
def test_an_iterable_that_ends_too_early(crew):
    with (
        IterableGenerator(Numbers(5), 6, mini_batch_size=2, **crew) as generator,
        pytest.raises(DataError, match="iterable must give length=6 elements, got 5 or fewer"),
    ):
        list(generator)


def test_an_iterable_that_raises():
    with IterableGenerator(breaks, 3, mode="serial", mini_batch_size=1) as generator:
        with pytest.raises(KeyError, match="the stream broke"):
            list(generator)
        assert list(joined(generator)) == [0, 1, 2]


def nothing() -> Iterator[int]:
    yield from ()


@pytest.mark.parametrize(
    ("iterable", "options", "message"),
    [
        (nothing(), {"length": 1}, "iterable must be iterable again and again; give the function that makes it"),
        (3, {"length": 1}, "iterable must be an iterable or a function of the epoch that returns one, got 'int'"),
        (nothing, {"length": 1}, "iterable must be a function of one argument, the number of the epoch, got <function"),
        (Numbers(3), {}, r"length must be given for an iterable without len\(\), got None"),
        (turned, {}, "length must be given"),
        (turned, {"length": -1}, "length must be a whole number of at least 0, got -1"),
        (turned, {"length": 7, "to_item": "a"}, "to_item must be a function"),
        (turned, {"length": 7, "shuffle": True}, "shuffle must be False: an iterable has one order.*, got True"),
        (Numbers, {"length": 1, "buffer": 0}, "buffer must be a whole number"),
    ],
)
def test_rules_of_iterables(iterable, options, message):
    with pytest.raises(ArgumentError, match=message):
        IterableGenerator(iterable, **options)
