"""Items of all sizes and forms: right ones become mini-batches, a wrong one is named."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from gedanken.data.generator import Generator
from gedanken.data.workers.items import Samples
from gedanken.errors import DataError, GedankenError
from tests.data.made import Made, cut, epoch, numbers_of
from tests.data.programs import run
from tests.data.test_survival_workers import options

COUNTS: dict[str, list[int]] = {
    "none": [],
    "one call": [1],
    "one empty call": [0],
    "all empty": [0] * 7,
    "ones": [1] * 10,
    "threes": [3] * 7,
    "as many as a mini-batch": [4] * 5,
    "ten times a mini-batch": [40] * 3,
    "a hundred times": [400, 1],
    "none and many": [0, 40, 0, 0, 1, 4, 0, 13, 3, 0],
    "empty at first": [0, 0, 0, 5, 1],
    "empty at last": [4, 4, 0, 0, 0],
    "growing": list(range(12)),
    "shrinking": list(range(12))[::-1],
    "larger than all seen": [1] * 12 + [90] + [1] * 5,
}
MADE = [
    {"several": several, "drop_last": drop_last, "buffer": buffer}
    for several, drop_last, buffer in itertools.product([False, True], [False, True], [1, 2, "auto"])
]


@pytest.mark.parametrize("way", ["serial", "threads"])
@pytest.mark.parametrize("counts", COUNTS.values(), ids=COUNTS)
def test_calls_give_any_number_of_samples(counts: list[int], way: str) -> None:
    for more in MADE:
        with Made(counts, mini_batch_size=4, **more, **options(way)) as generator:
            expected = cut(numbers_of(counts), 4, bool(more["drop_last"]))
            for _ in range(2):
                assert epoch(generator) == expected, more


@pytest.mark.parametrize("way", ["forkserver", "fork"])
def test_calls_give_any_number_of_samples_in_processes(way: str, tmp_path: Path) -> None:
    source = f"""
    from tests.data.made import *

    if __name__ == "__main__":
        for counts in {list(COUNTS.values())}:
            for more in {MADE[::5]}:
                with Made(counts, mini_batch_size=4, **more, **{options(way)}) as generator:
                    assert whole(generator) and whole(generator), (counts, more)
    """
    run(tmp_path, source)


class Items(Generator):
    """Calls give what is in a list."""

    def __init__(self, items: list[Any], **more: Any) -> None:
        super().__init__(mini_batch_size=2, **more)
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def get_mini_batches(self, index: int) -> Any:
        return self.items[index]


X = np.arange(3, dtype=np.float32)
PAIR = (X, 1)
NAMED = {"x": X, "label": 1}


class Wrong(NamedTuple):
    """A wrong item after right ones.

    Args:
        right: the others.
        wrong: it.
        words: that the error says beside call and item.
    """

    right: Any
    wrong: Any
    words: str


WRONG = {
    "shape": Wrong(PAIR, (X[:2], 1), "entry 0 must have shape (3,) as in the first item, got (2,)"),
    "axes": Wrong(PAIR, (X[None], 1), "entry 0 must have shape (3,) as in the first item, got (1, 3)"),
    "label's shape": Wrong(PAIR, (X, [1]), "entry 1 must have shape () as in the first item, got (1,)"),
    "type": Wrong(PAIR, (X.astype(np.float64), 1), "entry 0 must be float32 as in the first item, got float64"),
    "label's type": Wrong(PAIR, (X, 1.5), "entry 1 must be int64 as in the first item, got float64"),
    "text": Wrong(PAIR, (X, "cat"), "entry 1 must be an array of numbers, got <U3"),
    "object": Wrong(PAIR, (X, None), "entry 1 must be an array of numbers, got NoneType"),
    "rows": Wrong(PAIR, ([[1, 2], [3]], 1), "entry 0 must be an array, got rows of different shapes"),
    "too few": Wrong(PAIR, (X,), "must be a tuple of 2 as the first item is, got a tuple of 1"),
    "too many": Wrong(PAIR, (X, 1, 2), "must be a tuple of 2 as the first item is, got a tuple of 3"),
    "dict for tuple": Wrong(PAIR, NAMED, "must be a tuple of 2 as the first item is, got a dict of 'x', 'label'"),
    "array for tuple": Wrong(PAIR, X, "must be a tuple of 2 as the first item is, got one array"),
    "tuple for array": Wrong(X, PAIR, "must be one array as the first item is, got a tuple of 2"),
    "number for array": Wrong(np.array(1), 1, "must be a tuple of arrays or dicts of them such as (input, label)"),
    "tuple for dict": Wrong(NAMED, PAIR, "must be a dict of 'x', 'label' as the first item is, got a tuple of 2"),
    "another key": Wrong(NAMED, {"x": X, "y": 1}, "as the first item is, got a dict of 'x', 'y'"),
    "key's shape": Wrong(NAMED, {"x": X[:1], "label": 1}, "entry 'x' must have shape (3,) as in the first item"),
    "list": Wrong(PAIR, [X, 1], "must be a tuple of arrays or dicts of them such as (input, label)"),
    "nothing": Wrong(PAIR, None, "must be a tuple of arrays or dicts of them such as (input, label)"),
    "samples' shape": Wrong(PAIR, Samples((np.ones((2, 2), "f4"), [1, 2])), "entry 0 must have shape (3,)"),
    "samples' number": Wrong(PAIR, Samples((np.ones((2, 3), "f4"), [1])), "entry 1 must have as many samples as"),
    "samples without": Wrong(PAIR, Samples((np.float32(1), [1])), "entry 0 must have as many samples as"),
    "large number": Wrong(PAIR, (X, 2**63), "entry 1 must be int64 as in the first item, got uint64"),
}


def failure(right: Any, wrong: Any, way: str, before: int = 1) -> BaseException:
    """Return what is raised where an item of call 5 is wrong, with so many right ones before it."""
    items = [[right, right] for _ in range(9)]
    items[5] = [*[right] * before, wrong]
    with Items(items, **options(way)) as generator, pytest.raises(Exception, match=r"[a-z]") as caught:
        list(generator)
    return caught.value


WAYS = ["serial", "threads", "auto", "auto threads"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=name) for name, case in WRONG.items()],
)
@pytest.mark.parametrize("before", [0, 1])
def test_wrong_item_is_named(case: Wrong, way: str, before: int) -> None:
    error = failure(*case[:2], way, before)
    assert type(error) is DataError
    assert case.words in str(error)
    assert str(error).startswith(f"item {before} of get_mini_batches(5)")
    assert error.__notes__[0].startswith("in get_mini_batches(5), ")


NO_LIST: dict[str, tuple[Any, str]] = {
    "tuple": (PAIR, "got tuple"),
    "nothing": (None, "got NoneType"),
    "array": (X, "got ndarray"),
    "iterator": (iter([PAIR]), "got list_iterator"),
}


@pytest.mark.parametrize(("given", "words"), NO_LIST.values(), ids=NO_LIST)
def test_call_that_gives_no_list_is_named(given: Any, words: str) -> None:
    with pytest.raises(DataError, match=r"get_mini_batches\(1\) must return a list of items") as caught:
        list(Items([[PAIR], given], mode="serial"))
    assert words in str(caught.value)


@pytest.mark.parametrize("way", ["forkserver"])
def test_wrong_items_in_processes(way: str, tmp_path: Path) -> None:
    source = f"""
    from tests.data.made import *
    from tests.data.test_survival_items import Items, WRONG, failure

    if __name__ == "__main__":
        for name, case in WRONG.items():
            if name != "large number":
                error = failure(*case[:2], {way!r})
                assert case.words in str(error) and str(error).startswith("item 1 of get_mini_batches(5)"), name
    """
    run(tmp_path, source)


FIRST: dict[str, tuple[Any, str]] = {
    "nothing in it": ((), "must be a tuple of arrays"),
    "no names": ({}, "must be a tuple of arrays"),
    "numbers as names": ({1: X}, "must be a tuple of arrays"),
    "a number": (3.0, "must be a tuple of arrays"),
    "samples without axis": (Samples((1.0, 2)), "must have a first axis of samples"),
    "ragged samples": (Samples((np.ones((2, 3)), [1])), "must have as many samples"),
}


@pytest.mark.parametrize(("first", "words"), FIRST.values(), ids=FIRST)
def test_wrong_first_item_is_named(first: Any, words: str) -> None:
    with pytest.raises(DataError, match=r"^item 0 of get_mini_batches\(0\)") as caught:
        list(Items([[first]], mode="serial"))
    assert words in str(caught.value)


FORMS: dict[str, Callable[[int], Any]] = {
    "tuple": lambda k: (np.full((2, 2), k, np.float32), np.int64(k)),
    "numbers": lambda k: (float(k), k, bool(k % 2)),
    "dict": lambda k: {"x": np.full(3, k), "y": np.uint8(k)},
    "dict in any order": lambda k: dict(sorted({"x": float(k), "y": -float(k)}.items(), reverse=k % 2 == 1)),
    "dict of two shapes": lambda k: dict(sorted({"x": np.full(3, k), "y": k}.items(), reverse=k % 2 == 1)),
    "array without axes": lambda k: np.array(k, np.float32),
    "scalars": lambda k: (np.float32(k), np.int64(k), np.bool_(k % 2)),
    "array": lambda k: np.full((1, 2), k, np.int16),
    "empty axis": lambda k: (np.zeros((0, 3)), k),
    "complex": lambda k: (np.complex64(k + 1j),),
    "strided": lambda k: (np.arange(12).reshape(3, 4)[:, ::2] + k, k),
    "lists": lambda k: ([k, k + 1], [[k]]),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_mini_batches_have_the_form_of_items(form: Callable[[int], Any], way: str) -> None:
    with Items([[form(k)] for k in range(5)], **options(way)) as generator:
        for place, mini_batch in enumerate(generator):
            items = [form(k) for k in range(5)][2 * place : 2 * place + 2]
            if isinstance(items[0], np.ndarray):
                np.testing.assert_array_equal(mini_batch, np.stack(items), strict=True)
                continue
            assert type(mini_batch) is type(items[0])
            keys = items[0].keys() if isinstance(items[0], dict) else range(len(items[0]))
            for key in keys:
                np.testing.assert_array_equal(mini_batch[key], np.stack([item[key] for item in items]), strict=True)


def test_length_that_is_no_length() -> None:
    class Odd(Items):
        def __len__(self) -> int:
            return -1  # noqa: PLE0303

    with pytest.raises((GedankenError, ValueError)):
        list(Odd([]))


@pytest.mark.parametrize("way", ["serial", "threads"])
def test_length_that_changes_between_epochs(way: str) -> None:
    with Made([1] * 7, mini_batch_size=4, **options(way)) as generator:
        for counts in ([1] * 7, [2] * 3, [], [1] * 30):
            generator.counts = counts
            assert epoch(generator) == cut(numbers_of(counts), 4)


def test_length_that_changes_between_epochs_in_processes(tmp_path: Path) -> None:
    source = f"""
    from tests.data.made import *

    if __name__ == "__main__":
        with Made([1] * 7, mini_batch_size=4, **{options("forkserver")}) as generator:
            for counts in ([1] * 7, [2] * 3, [], [1] * 30):
                generator.counts = counts
                assert whole(generator), counts
    """
    run(tmp_path, source)
