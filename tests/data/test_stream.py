"""Whatever calls, workers, breaks and resumes there are, the stream is that of a plain loop, byte for byte."""

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gedanken
from gedanken.data.workers.tasks import Permutations
from tests.data.made import Made, cut, numbers_of, right


class Plan(NamedTuple):
    """A Generator, and what is done with it.

    Args:
        counts: samples of each call.
        several: whether a call gives them as one item.
        size: of a mini-batch.
        drop_last, shuffle, seed: as they are called.
        buffers: one for each Generator that goes on with the stream.
        breaks: mini-batches after which an iteration is left, and how it goes on.
        epochs: how many are looked at.
    """

    counts: list[int]
    several: bool
    size: int
    drop_last: bool
    shuffle: bool
    seed: int
    buffers: list[int | str]
    breaks: list[tuple[int, str]]
    epochs: int


GOES_ON = ["same", "new", "closed", "twice"]
counts_of_calls = st.one_of(
    st.lists(st.integers(0, 9), max_size=30),
    st.builds(lambda each, calls: [each] * calls, st.integers(1, 12), st.integers(0, 40)),
    st.lists(st.sampled_from([0, 0, 1, 2, 50]), max_size=12),
)
plans = st.builds(
    Plan,
    counts=counts_of_calls,
    several=st.booleans(),
    size=st.integers(1, 12),
    drop_last=st.booleans(),
    shuffle=st.booleans(),
    seed=st.integers(0, 3),
    buffers=st.lists(st.sampled_from([1, 2, 3, 7, "auto"]), min_size=1, max_size=3),
    breaks=st.lists(st.tuples(st.integers(0, 12), st.sampled_from(GOES_ON)), max_size=4),
    epochs=st.integers(1, 3),
)


def made(plan: Plan, ways: Iterator[dict[str, Any]], buffers: Iterator[int | str], order: str = "exact") -> Made:
    """Return the next Generator that goes on with the stream."""
    same = {"mini_batch_size": plan.size, "drop_last": plan.drop_last, "shuffle": plan.shuffle, "seed": plan.seed}
    return Made(plan.counts, several=plan.several, buffer=next(buffers), order=order, **same, **next(ways))


def reference(plan: Plan) -> list[list[list[int]]]:
    """Return the mini-batches of each epoch."""
    found = []
    for epoch in range(plan.epochs):
        order = range(len(plan.counts))
        if plan.shuffle:
            order = Permutations().of(plan.seed, epoch, len(plan.counts)).tolist()
        found.append(cut(numbers_of(plan.counts, order), plan.size, plan.drop_last))
    return found


def stream(plan: Plan, ways: Sequence[dict[str, Any]], order: str = "exact") -> list[list[list[int]]]:
    """Return what is delivered in each epoch, with all breaks."""
    endless, buffers, breaks = itertools.cycle(ways), itertools.cycle(plan.buffers), iter(plan.breaks)
    generator = made(plan, endless, buffers, order)
    found: list[list[list[int]]] = []
    try:
        while len(found) < plan.epochs or generator.state_dict()["mini_batches"]:
            state = generator.state_dict()
            if state["epoch"] == len(found):
                found.append([])
            after, then = next(breaks, (-1, ""))
            finished, iterator = True, iter(generator)
            for mini_batch in iterator:
                found[-1].append(right(mini_batch))
                if after == 0:
                    finished = False
                    break
                after -= 1
            if not then:
                continue
            state = json.loads(json.dumps(generator.state_dict()))
            if finished:
                assert state["epoch"] == len(found) and not state["mini_batches"]
            if then == "new":
                generator.close()
                generator = made(plan, endless, buffers, order)
            elif then == "closed":
                generator.close()
                assert generator.state_dict() == state
            elif then == "twice":
                del iterator
                assert generator.state_dict() == state
                generator.load_state_dict(state)
                assert generator.state_dict() == state
            generator.load_state_dict(state)
    finally:
        generator.close()
    return found


SERIAL = {"mode": "serial"}
THREADS = [{"mode": "threads", "workers": workers} for workers in (1, 2, 5)]
PROCESSES = [
    {"mode": "processes", "workers": 2},
    {"mode": "processes", "workers": 1, "threads": 3},
    {"mode": "processes", "workers": 3, "start_method": "fork"},
]
SIMPLE = Plan([], False, 4, False, False, 0, ["auto"], [], 2)
# What went wrong once.
UNEVEN = SIMPLE._replace(counts=[3, 1] * 40, size=2, breaks=[(k, "new") for k in range(9)], epochs=1)
DROPPED = SIMPLE._replace(counts=[5] * 4, size=8, drop_last=True, breaks=[(9, "new")])
EMPTY_END = SIMPLE._replace(counts=[4, 4, 0, 0], breaks=[(9, "new")])


def compare(plan: Plan, ways: Sequence[dict[str, Any]]) -> None:
    """Compare the stream with its reference."""
    assert stream(plan, ways) == reference(plan)


@pytest.mark.parametrize("plan", [SIMPLE, UNEVEN, DROPPED, EMPTY_END], ids=["none", "uneven", "dropped", "empty end"])
def test_stream_of_these(plan: Plan) -> None:
    for ways in ([SERIAL], THREADS, [SERIAL, *THREADS]):
        compare(plan, ways)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(plan=plans, ways=st.lists(st.sampled_from([SERIAL, *THREADS]), min_size=1, max_size=3))
def test_stream_is_the_plain_one(plan: Plan, ways: list[dict[str, Any]]) -> None:
    compare(plan, ways)


@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(plan=plans, ways=st.lists(st.sampled_from([SERIAL, *THREADS, *PROCESSES]), min_size=1, max_size=2))
def test_stream_of_processes_is_the_plain_one(plan: Plan, ways: list[dict[str, Any]]) -> None:
    compare(plan, [PROCESSES[0], *ways])


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(plan=plans, ways=st.lists(st.sampled_from([SERIAL, *THREADS]), min_size=1, max_size=3))
def test_every_sample_comes_once_as_it_is_ready(plan: Plan, ways: list[dict[str, Any]]) -> None:
    plan = plan._replace(drop_last=False)
    expected = sorted(numbers_of(plan.counts))
    for epoch in stream(plan, ways, "as ready"):
        assert sorted(number for mini_batch in epoch for number in mini_batch) == expected
        assert all(len(mini_batch) == plan.size for mini_batch in epoch[:-1])


@pytest.mark.parametrize("order", ["exact", "as ready"])
@pytest.mark.parametrize("counts", [[1] * 40, [3, 0, 1, 5] * 10], ids=["even", "uneven"])
def test_nothing_is_lost_or_given_twice_where_a_call_raised(counts: list[int], order: str) -> None:
    options: dict[str, Any] = {"mini_batch_size": 2, "mode": "threads", "workers": 3, "order": order}
    found: list[int] = []
    with Made(counts, {23: "ValueError"}, **options) as first, pytest.raises(ValueError):  # noqa: PT011, PT012
        for mini_batch in first:
            found += right(mini_batch)
    with Made(counts, **options) as second:
        second.load_state_dict(first.state_dict())
        for mini_batch in second:
            found += right(mini_batch)
    assert sorted(found) == sorted(numbers_of(counts))


class _Closes(gedanken.Generator):
    """One of its calls closes it."""

    def __len__(self) -> int:
        return 40

    def get_mini_batches(self, index: int) -> list[tuple[float, float]]:
        if index == 9:
            self.close()
        return [(float(index), 0.0)]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_epoch_that_a_call_closes_is_an_error(workers: int) -> None:
    generator = _Closes(mini_batch_size=2, workers=workers, mode="threads" if workers else "auto", shuffle=False)
    with pytest.raises(gedanken.StateError, match="the Generator was closed"):
        list(generator)


@pytest.mark.parametrize(
    ("mode", "workers"),
    [("auto", 0), ("auto", 2), ("auto", "auto"), *itertools.product(["threads", "processes"], [1, 2, 3])],
)
@pytest.mark.parametrize("fails", [0, 3, 7, 23])
def test_all_before_a_call_that_raises_is_delivered(mode: str, workers: Any, fails: int) -> None:
    options: dict[str, Any] = {"mini_batch_size": 2, "mode": mode, "workers": workers, "shuffle": False}
    generator, delivered = Made([1] * 40, {fails: "ValueError"}, **options), 0
    with pytest.raises(ValueError):  # noqa: PT011, PT012 - whatever its text is
        for _ in generator:
            delivered += 1
    generator.close()
    assert delivered == fails // 2
