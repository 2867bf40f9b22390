"""Sources as a training reads them: an epoch may begin at any mini-batch, and a state leads back to it."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gedanken.data.batches import ArraySource, Batch, GeneratorSource, Source
from gedanken.errors import ArgumentError, DataError
from gedanken.types import Array
from tests.data.made import Made

X = np.arange(70, dtype=np.float32).reshape(35, 2)
UNEVEN = [3, 0, 1, 5, 2, 0, 4] * 3


def arrays(rows: Array | None = None, **options: Any) -> Source:
    return ArraySource(X, X[:, 0], 4, rows=rows, **options)


def calls(counts: list[int], fixed: bool = False, **options: Any) -> GeneratorSource:
    generator = Made(counts, **{"mini_batch_size": 4, "shuffle": True, "mode": "serial", **options})
    return GeneratorSource(generator, lambda x, y: (x, y, None), fixed)


SOURCES: dict[str, Callable[[], Source]] = {
    "arrays": arrays,
    "shuffled": lambda: arrays(shuffle=True, seed=3),
    "rows": lambda: arrays(np.arange(1, 35, 2), shuffle=True),
    "calls": lambda: calls([1] * 35),
    "uneven": lambda: calls(UNEVEN),
    "dropped": lambda: calls([2] * 9, drop_last=True),
    "threads": lambda: calls(UNEVEN, mode="threads", workers=3),
    "validation": lambda: calls(UNEVEN, fixed=True),
}


def told(batches: list[Batch]) -> list[Any]:
    """Return what mini-batches hold; the share of calls that gave them depends on how long calls take."""
    return [(batch.x.tolist(), batch.target.tolist(), batch.position) for batch in batches]


def closed(source: Source) -> None:
    if isinstance(source, GeneratorSource):
        source.generator.close()


@pytest.mark.parametrize("epoch", [0, 2])
@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
def test_an_epoch_may_begin_at_any_mini_batch(make: Callable[[], Source], epoch: int) -> None:
    source = make()
    whole = told(list(source.batches(epoch)))
    closed(source)
    assert len(whole) > 3
    for start in range(len(whole) + 1):
        source = make()
        assert told(list(source.batches(epoch, start=start))) == whole[start:]
        closed(source)


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
def test_a_state_leads_back_to_the_next_mini_batch(make: Callable[[], Source]) -> None:
    source = make()
    epochs = [told(list(source.batches(epoch))) for epoch in range(2)]
    closed(source)
    for start in range(1, len(epochs[0]) + 1):
        first, second = make(), make()
        assert told(list(itertools.islice(first.batches(0), start))) == epochs[0][:start]
        second.restore(json.loads(json.dumps(first.state())))
        closed(first)
        assert told(list(second.batches(0, start=start))) == epochs[0][start:]
        assert told(list(second.batches(1))) == epochs[1]
        closed(second)


def test_a_later_begin_is_as_far_in_the_epoch() -> None:
    whole = [batch.share for batch in arrays().batches(0)]
    assert [batch.share for batch in arrays().batches(0, start=3)] == whole[3:]
    assert whole[-1] == 1.0


def test_a_generator_makes_nothing_again_that_a_position_says_is_delivered() -> None:
    first, second = calls([1] * 40), calls([1] * 40)
    batches = first.batches(5)
    for _ in range(7):
        next(batches)
    second.restore(first.state())
    assert len(list(second.batches(5, start=7))) == 3
    assert second.generator.stats()["each"][0]["calls"] == 40 - 7 * 4
    assert second.generator.epoch == 5


def test_the_rest_of_an_epoch_may_be_nothing() -> None:
    first = calls([4, 4, 0, 0], shuffle=False)
    batches = first.batches(0)
    for _ in range(2):
        next(batches)
    for start, left in ((2, 0), (0, 2)):  # it is over; where nobody says where to begin, the next one comes
        second = calls([4, 4, 0, 0], shuffle=False)
        second.restore(first.state())
        assert len(list(second.batches(0, start))) == left
    with pytest.raises(DataError, match="Made must give at least one mini-batch in an epoch, got none from 2 calls"):
        list(calls([0, 0]).batches(0, start=1))


REFUSED: dict[str, tuple[Callable[[], Source], Callable[[dict[str, Any]], Any], str]] = {
    "none": (arrays, lambda state: None, "state must have the keys"),
    "nothing": (arrays, lambda state: {}, "state must have the keys"),
    "samples": (
        arrays,
        lambda state: {**state, "samples": 34},
        r"state\['samples'\] must be 35 as that of these arrays",
    ),
    "size": (arrays, lambda state: {**state, "mini_batch_size": np.zeros(2)}, r"state\['mini_batch_size'\] must be 4"),
    "seed": (arrays, lambda state: {**state, "seed": 1}, r"state\['seed'\] must be 0"),
    "shuffle": (arrays, lambda state: {**state, "shuffle": True}, r"state\['shuffle'\] must be False"),
    "calls": (lambda: calls([1] * 9), lambda state: {**state, "calls": 8}, r"state\['calls'\] must be 9"),
    "arrays' for calls": (lambda: calls([1] * 9), lambda state: arrays().state(), "state must have the keys"),
    "validation": (lambda: calls([1], fixed=True), lambda state: {"epoch": 1}, "state must be empty for a validation"),
}


@pytest.mark.parametrize(("make", "change", "message"), REFUSED.values(), ids=REFUSED)
def test_a_state_of_another_source_is_refused(
    make: Callable[[], Source], change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    source = make()
    with pytest.raises(ArgumentError, match=message):
        source.restore(change(source.state()))
    source.restore(source.state())
