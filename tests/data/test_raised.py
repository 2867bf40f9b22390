"""Whatever class of exception a call raises, it arrives as what it was, in every mode, and the stream goes on."""

import json
import pickle
import traceback
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gedanken.processes.raised import noted, pack_error, unpack_error
from tests.data.programs import run

NASTY = [
    *("Frozen", "NotesNoList", "RefusesNotes", "NoText", "TextIsNumber", "Doubled", "KeywordsOnly", "WithSlots"),
    *("ByItself", "NeverPickled", "Leaves", "Unicode", "Group", "Circle", "Local", "Huge", "Lambda", "RecursionError"),
    *("MemoryError", "Caused"),
]
WORDS = {"Leaves", "Local"}  # of which a WorkerError tells, where they come from a process
MODES: dict[str, dict[str, Any]] = {
    "serial": {"mode": "serial"},
    "threads": {"mode": "threads", "workers": 2},
    "auto": {},
    "processes": {"mode": "processes", "workers": 2},
    "processes of threads": {"mode": "processes", "workers": 1, "threads": 2},
}
ALL = """
import json, sys, traceback
from tests.data.made import *
from gedanken import WorkerError

def forms(error):
    text = None
    try:
        text = re.sub("0x[0-9a-f]+", "", str(error))
    except BaseException:
        pass
    args = None if text is None else re.sub("0x[0-9a-f]+", "", repr(error.args))
    return [type(error).__name__, text, args]

if __name__ == "__main__":
    options, acts, words = map(json.loads, sys.argv[1:])
    for act in acts:
        try:
            ACTS[act]()
        except BaseException as error:
            expected = error
        for call in (0, 9):
            with Made([1] * 12, {call: act}, mini_batch_size=2, **options) as generator:
                got = caught(Exception, generator)
                assert generator.epoch == 0, (act, generator.epoch)
                printed = "".join(traceback.format_exception(got))
                assert f"in get_mini_batches({call}), " in printed and "made.py" in printed, (act, printed)
                if act in words:
                    assert type(got) is WorkerError and type(expected).__name__ in str(got), (act, got)
                else:
                    assert act == "Local" or type(got) is type(expected), (act, type(got), got)
                    assert forms(got) == forms(expected), (act, forms(got)[1][:300])
                    state = {k: v for k, v in vars(got).items() if isinstance(v, (int, str, tuple))}
                    assert all(vars(expected)[k] == v for k, v in state.items()), (act, state)
                if act == "WithSlots":
                    assert (got.place, got.errno, got.filename) == ("here", 2, "/here")
                if act == "Unicode":
                    assert (got.object, got.start) == (b"x\\xff", 1)
                if act == "Group":
                    assert got.exceptions[0].code == 1 and got.exceptions[1].exceptions[0].code == 2
                    assert forms(got.exceptions[0]) == forms(expected.exceptions[0])
                if act == "Caused":
                    cause = got.__cause__
                    assert type(cause) is Doubled and str(cause) == "404: gone", repr(cause)
                    assert cause.code == 404
                assert whole(generator), act
                assert generator.epoch == 1
"""


@pytest.mark.parametrize("mode", MODES)
def test_exceptions_of_all_kinds_arrive_as_they_were_and_the_next_epoch_is_whole(mode: str, tmp_path: Path) -> None:
    words = {"Leaves"} if "processes" not in mode else WORDS
    run(tmp_path, ALL, [json.dumps(MODES[mode]), json.dumps(NASTY), json.dumps(sorted(words))])


# ------------------------------------------------------------------ on the way from a process

VALUES = st.one_of(st.none(), st.integers(), st.text(max_size=9), st.binary(max_size=9), st.floats(allow_nan=False))
ARGS = st.lists(st.one_of(VALUES, st.tuples(VALUES, VALUES)), max_size=3)
KINDS = st.sampled_from([Exception, ValueError, KeyError, OSError, StopIteration, SystemExit, ArithmeticError])
PLAIN = st.builds(lambda kind, args: kind(*args), KINDS, ARGS)


def group(parts: list[BaseException]) -> BaseException:
    return BaseExceptionGroup("several", parts)


def caused(error: BaseException, cause: BaseException, notes: list[str]) -> BaseException:
    error.__cause__ = cause
    for note in notes:
        noted(error, note)
    return error


ERRORS = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.builds(group, st.lists(inner, min_size=1, max_size=3)),
        st.builds(caused, inner, inner, st.lists(st.text(max_size=9), max_size=2)),
    ),
    max_leaves=6,
)


def told(error: BaseException | None) -> Any:
    """Return all that is to come back of an exception."""
    if error is None or type(error).__name__ == "RemoteError":
        return None
    inner = [told(one) for one in error.exceptions] if isinstance(error, BaseExceptionGroup) else []
    notes = getattr(error, "__notes__", [])
    return type(error), str(error), error.args if not inner else len(inner), inner, notes, told(error.__cause__)


@settings(deadline=None)
@given(ERRORS)
def test_exceptions_of_python_come_back_with_all_they_hold(error: BaseException) -> None:
    try:
        raise error
    except BaseException as caught:
        came = unpack_error(pickle.loads(pickle.dumps(pack_error(caught))))
    assert told(came) == told(error)
    assert "raise error" in "".join(traceback.format_exception(came))  # where it was raised


class Odd(Exception):
    """What cannot be pickled, compared or shown."""

    def __init__(self, *, where: str) -> None:
        super().__init__()
        self.where = where
        self.lock = (lambda: None,)

    def __str__(self) -> str:
        return f"at {self.where}"

    def __repr__(self) -> str:
        raise RuntimeError


def test_what_cannot_be_sent_of_an_exception_is_left_out_and_the_rest_arrives() -> None:
    came = unpack_error(pack_error(Odd(where="home")))
    assert (type(came), str(came)) == (Odd, "at home")
    assert not hasattr(came, "lock")
