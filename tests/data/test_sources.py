"""Generators of what exists already: arrays, files of arrays, data sets with an index, iterables."""

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gedanken import ArgumentError, ArrayGenerator, DataError, DatasetGenerator, IterableGenerator, MappedArray

WORKERS = [{"workers": 0}, {"mode": "threads", "workers": 3}, {"mode": "processes", "workers": 2}]
X, Y = np.arange(66, dtype=np.float32).reshape(22, 3), np.arange(22)


class Tensor:
    """What PyTorch's tensors have in common with arrays."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def detach(self) -> "Tensor":
        return self

    def cpu(self) -> "Tensor":
        return self

    def numpy(self) -> Any:
        return self.values


class Torchlike:
    """A data set with an index that gives tensors, as PyTorch's do."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> list[Any]:
        return [Tensor(X[index]), int(Y[index])]


class Rows:
    """A data set with an index that gives dicts, as Hugging Face's do."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"x": X[index].tolist(), "name": f"row {index}", "y": int(Y[index])}


def pair(row: dict[str, Any]) -> tuple[Any, int]:
    return np.float32(row["x"]), row["y"]


def elements(epoch: int) -> Iterator[tuple[Any, Any]]:
    """Give all samples, and more."""
    yield from zip(X, Y, strict=True)
    yield X[0], -1


SOURCES: dict[str, Callable[..., Any]] = {
    "arrays": lambda **options: ArrayGenerator(X, Y, **options),
    "tuple": lambda **options: ArrayGenerator((X, Y), **options),
    "lists": lambda **options: ArrayGenerator(X.astype(np.float32), Y.tolist(), **options),
    "torch": lambda **options: DatasetGenerator(Torchlike(), **options),
    "rows": lambda **options: DatasetGenerator(Rows(), to_item=pair, **options),
    "list": lambda **options: DatasetGenerator(list(zip(X, Y, strict=True)), **options),
    "iterable": lambda **options: IterableGenerator(list(zip(X, Y, strict=True)), **options),
    "function": lambda **options: IterableGenerator(elements, length=22, **options),
}


@pytest.mark.parametrize("workers", WORKERS, ids=["serial", "threads", "processes"])
@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_all_sources_give_the_same_samples(source: Callable[..., Any], workers: dict[str, Any]) -> None:
    with source(mini_batch_size=5, **workers) as generator:
        for _ in range(2):
            batches = list(generator)
            assert [len(y) for _, y in batches] == [5, 5, 5, 5, 2]
            assert np.array_equal(np.concatenate([x for x, _ in batches]), X)
            assert np.array_equal(np.concatenate([y for _, y in batches]), Y)


def test_arrays_come_in_the_form_in_which_they_were_given() -> None:
    (alone,) = ArrayGenerator(X, workers=0)
    assert np.array_equal(alone, X)
    (named,) = ArrayGenerator({"x": X, "y": Y}, workers=0)
    assert list(named) == ["x", "y"]
    assert np.array_equal(named["y"], Y)
    (shuffled,) = ArrayGenerator(X, shuffle=True, workers=0)
    assert not np.array_equal(shuffled, X)
    assert np.array_equal(np.sort(shuffled[:, 0]), X[:, 0])


def test_an_iterable_may_depend_on_the_epoch_and_is_resumed_where_it_was() -> None:
    def counted(epoch: int) -> Iterator[int]:
        yield from range(100 * epoch, 100 * epoch + 10)

    whole = IterableGenerator(counted, length=10, mini_batch_size=4, workers=0)
    assert [batch.tolist() for batch in whole][-1] == [8, 9]
    stream = iter(whole)
    assert next(stream).tolist() == [100, 101, 102, 103]
    rest = IterableGenerator(counted, length=10, mini_batch_size=4, mode="threads", workers=2)
    rest.load_state_dict(whole.state_dict())
    assert [batch.tolist() for batch in rest] == [[104, 105, 106, 107], [108, 109]]


@pytest.mark.parametrize("workers", WORKERS, ids=["serial", "threads", "processes"])
def test_an_iterable_that_ends_too_soon_is_told(workers: dict[str, Any]) -> None:
    with (
        IterableGenerator(elements, length=24, **workers) as generator,
        pytest.raises(DataError, match="iterable must give length=24 elements, got 23 or fewer"),
    ):
        list(generator)


MISTAKES: dict[str, tuple[Callable[[], Any], str]] = {
    "lengths": (lambda: ArrayGenerator(X, Y[:3]), "x must be as long as the first array, got {'x': 22, 'y': 3}"),
    "y twice": (lambda: ArrayGenerator((X,), Y), "y must be left out where x is a tuple or dict of arrays"),
    "nothing": (lambda: ArrayGenerator(()), "x must have at least one array, got ()"),
    "number": (lambda: ArrayGenerator(3.0), "x must have a first axis of samples, got array(3.)"),
    "words": (lambda: ArrayGenerator(["a"]), "x must be an array of numbers, got dtype('<U1')"),
    "mapping": (lambda: DatasetGenerator({}), "dataset must have whole numbers for an index"),
    "no index": (lambda: DatasetGenerator(iter([])), "dataset must have a length and an index"),
    "to_item": (lambda: DatasetGenerator([], to_item=3), "to_item must be a function element -> item, got 3"),
    "iterator": (lambda: IterableGenerator(iter([])), "iterable must be iterable again and again"),
    "length": (lambda: IterableGenerator(elements), "length must be given for an iterable without len(), got None"),
    "arguments": (lambda: IterableGenerator(lambda: [1], 1), "iterable must be a function of one argument"),
    "shuffle": (lambda: IterableGenerator([], shuffle=True), "shuffle must be False: an iterable has one order"),
    "memory": (lambda: MappedArray(X), "array must be a np.memmap of a file"),
}


@pytest.mark.parametrize(("make", "message"), MISTAKES.values(), ids=MISTAKES)
def test_what_is_no_source_is_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("workers", WORKERS, ids=["serial", "threads", "processes"])
def test_a_memory_map_is_read_from_its_file(tmp_path: Path, workers: dict[str, Any]) -> None:
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    with ArrayGenerator(mapped[2:, ::-1], Y[2:], **workers) as generator:
        ((x, y),) = generator
    assert np.array_equal(x, X[2:, ::-1])
    assert np.array_equal(y, Y[2:])


@settings(max_examples=30)
@given(st.data())
def test_a_part_of_a_map_is_pickled_as_its_place(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    file = tmp_path_factory.mktemp("maps") / "big.npy"
    np.save(file, np.arange(50_000).reshape(100, 10, 50))
    mapped = np.load(file, mmap_mode="r")
    steps = st.integers(-3, 3).filter(bool)
    parts = tuple(
        slice(data.draw(st.integers(0, size - 1)), None, data.draw(steps))
        for size in data.draw(st.permutations((10, 5)))
    )
    view = mapped[parts]
    sent = pickle.dumps(MappedArray(view))
    assert len(sent) < 1000
    received = pickle.loads(sent)
    assert received.shape == view.shape
    assert np.array_equal(np.asarray(received), view)
    assert not np.asarray(received.array).flags.writeable
