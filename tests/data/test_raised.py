"""Whatever class of exception a call raises, it arrives as what it was, in every mode, and the stream goes on."""

import json
from pathlib import Path
from typing import Any

import pytest

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
