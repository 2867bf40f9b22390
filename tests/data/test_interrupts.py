"""An interrupt at any line of the feed leaves a Generator that goes on, and loses and doubles no sample."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.data.made import Made, cut, numbers_of, right

COUNTS = {"even": [3] * 14, "uneven": [2, 0, 5, 1, 3, 7] * 3}
WAYS: dict[str, dict[str, Any]] = {"serial": {"mode": "serial"}, "threads": {"mode": "threads", "workers": 2}}


@contextmanager
def interrupted(line: int) -> Iterator[list[int]]:
    """Raise KeyboardInterrupt at such a line of the library's data code in this thread; yield what is left to count."""
    left = [line]

    def trace(frame: Any, event: str, _: Any) -> Any:
        if "/gedanken/data/" not in frame.f_code.co_filename or frame.f_code.co_name == "__del__":  # is only printed
            return None
        if event == "line":
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield left
    finally:
        sys.settrace(before)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("counts", COUNTS.values(), ids=COUNTS)
def test_interrupt_at_any_line_loses_no_sample(counts: list[int], way: dict[str, Any]) -> None:
    expected = cut(numbers_of(counts), 4)
    for line in range(1, 1400, 17):
        generator = Made(counts, mini_batch_size=4, buffer=2, time_limit=5.0, **way)
        got: list[list[int]] = []
        iterator = iter(generator)
        got.append(right(next(iterator)))
        try:
            with interrupted(line):
                for mini_batch in iterator:
                    with_trace, _ = sys.gettrace(), sys.settrace(None)
                    got.append(right(mini_batch))
                    sys.settrace(with_trace)
        except KeyboardInterrupt:
            pass
        del iterator
        state = generator.state_dict()
        assert got == expected[: len(got)]
        if state["mini_batches"] or state["epoch"] == 0:
            assert state["mini_batches"] - len(got) in (0, 1), (line, state, len(got))
            first = state["mini_batches"]
            generator.load_state_dict(state)
            assert [right(mini_batch) for mini_batch in generator] == expected[first:], line
        assert [right(mini_batch) for mini_batch in generator] == expected, line
        generator.close()
