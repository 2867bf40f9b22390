"""Workers that raise, die and hang: who waits is told at once what happened and where, and can go on."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.data.programs import run

PROCESSES = ["forkserver", "fork", "spawn"]
WAYS = [*PROCESSES, "threads", "serial"]


def options(way: str) -> dict[str, Any]:
    """Return the options of a Generator with two workers of this kind, or as many as its first calls ask for."""
    if way == "auto":
        return {}
    if way == "auto threads":
        return {"mode": "threads"}
    if way == "serial":
        return {"mode": "serial"}
    if way == "threads":
        return {"mode": "threads", "workers": 2}
    return {"mode": "processes", "workers": 2, "start_method": way}


# ---------------------------------------------------------------------- raises


class Raises(NamedTuple):
    """What comes of an exception.

    Args:
        act: that raises it.
        kind: type of what the iteration raises.
        text: in its printed traceback.
        args: of it, where they matter.
        state: its attributes, where they matter.
    """

    act: str
    kind: str
    text: str
    args: list[Any] | None = None
    state: dict[str, Any] | None = None


RAISES = [
    Raises("ValueError", "ValueError", "ValueError: ('no such picture', 12)", ["no such picture", 12]),
    Raises("KeyError", "KeyError", "KeyError: 'red'", ["red"]),
    Raises("TwoArguments", "TwoArguments", "404 at the shop", ["404 at the shop"], {"code": 404, "place": "the shop"}),
    Raises("SystemExit", "WorkerError", "get_mini_batches raised SystemExit(5)"),
    Raises("GeneratorExit", "WorkerError", "get_mini_batches raised GeneratorExit()"),
    Raises("StopIteration", "WorkerError", "get_mini_batches raised StopIteration(out)"),
    Raises("KeyboardInterrupt", "WorkerError", "get_mini_batches raised KeyboardInterrupt()"),
    Raises("HoldsLock", "HoldsLock", "HoldsLock: held", ["held"], {"code": 7}),
]
RAISE_ALL = """
import json, sys, traceback
from tests.data.made import *

if __name__ == "__main__":
    options, acts = map(json.loads, sys.argv[1:])
    found = {}
    for act in acts:
        with Made([1] * 20, {9: act}, mini_batch_size=2, **options) as generator:
            error = caught(Exception, generator)
            before = pids(generator)
            assert whole(generator), "the next epoch"
            assert pids(generator) == before, "other workers"
            found[act] = {
                "kind": type(error).__name__, "args": [a for a in error.args], "notes": error.__notes__,
                "state": {k: v for k, v in vars(error).items() if isinstance(v, (int, str))},
                "text": "".join(traceback.format_exception(error)), "pids": before,
            }
    print(json.dumps(found))
"""


@pytest.mark.parametrize("way", WAYS)
def test_error_of_a_call_is_raised_as_it_was_and_names_call_and_worker(way: str, tmp_path: Path) -> None:
    left_out = {"serial": "KeyboardInterrupt", "threads": ""}.get(way, "HoldsLock")  # which ends the program; see below
    cases = [case for case in RAISES if case.act != left_out]
    words = [json.dumps(options(way)), json.dumps([case.act for case in cases])]
    found = json.loads(run(tmp_path, RAISE_ALL, words).splitlines()[-1])
    for case in cases:
        _compare(case, found[case.act], way)


def _compare(case: Raises, got: dict[str, Any], way: str) -> None:
    """Compare what was raised with what is expected."""
    assert got["kind"] == case.kind, case
    assert case.text in got["text"], case
    assert case.args in (None, got["args"]), case
    assert case.state in (None, got["state"]), case
    note = got["notes"][-1]
    assert note.startswith("in get_mini_batches(9), "), case
    if way in PROCESSES:
        assert any(f"pid {pid}" in note for pid in got["pids"]), case
    else:
        assert ("thread" if way == "threads" else "the only worker") in note, case
    for line in ("made.py", "ACTS[act]()", "in get_mini_batches\n"):  # the worker's own traceback
        assert line in got["text"], case


@pytest.mark.parametrize("way", PROCESSES)
def test_error_with_an_attribute_that_cannot_be_sent_keeps_its_type_and_the_others(way: str, tmp_path: Path) -> None:
    program = f"""
    from tests.data.made import *

    if __name__ == "__main__":
        error = caught(Exception, Made([1] * 6, {{3: "HoldsLock"}}, mini_batch_size=2, **{options(way)}))
        assert type(error) is HoldsLock and error.args == ("held",) and error.code == 7, repr(error)
    """
    run(tmp_path, program)


@pytest.mark.parametrize("way", PROCESSES)
def test_error_while_a_generator_is_made_again_in_a_worker(way: str, tmp_path: Path) -> None:
    program = f"""
    import traceback
    from tests.data.made import *
    from gedanken import WorkerError

    if __name__ == "__main__":
        generator = Fails([1] * 6, mini_batch_size=2, **{options(way)})
        for _ in range(2):
            error = caught(WorkerError, generator)
            assert "could not start" in str(error) and "1 at the door" in str(error), error
            assert type(error.__cause__) is TwoArguments and error.__cause__.place == "the door"
            assert "__setstate__" in "".join(traceback.format_exception(error))
            assert not generator.stats().get("each")
    """
    run(tmp_path, program)


# ---------------------------------------------------------------------- dies

DIES = """
from tests.data.made import *
from gedanken import WorkerError

if __name__ == "__main__":
    generator = Made([1] * 20, mini_batch_size=2, **OPTIONS)
    for act, words in {
        "killed": "was killed by SIGKILL (often by the system because memory ran out)",
        "segfault": "was killed by SIGSEGV",
        "exit": "exited with code 3",
    }.items():
        generator.close()
        runner_of(generator).epoch, generator.acts = -1, {13: act}
        text = str(caught(WorkerError, generator))
        assert text.startswith("gedanken process ") and " (pid " in text, text
        assert f"{words} in get_mini_batches(13)" in text, text
        generator.acts = {}
        assert whole(generator), act

    generator.close()
    runner_of(generator).epoch, generator.acts = -1, {call: "sleep" for call in range(8, 20)}
    iterator = iter(generator)
    for _ in range(3):
        next(iterator)
    found = pids(generator)
    time.sleep(0.2)
    for process in found:  # all at once, amid their calls
        os.kill(process, signal.SIGKILL)
    try:
        next(iterator), next(iterator)
    except WorkerError as error:
        text = str(error)
    assert "was killed by SIGKILL" in text and "in get_mini_batches(" in text, text
    assert gone(found)
    generator.acts = {}
    assert whole(generator)
"""
IDLE_DIES = """
from tests.data.made import *
from gedanken import WorkerError

if __name__ == "__main__":
    for chosen in (slice(1), slice(None)):
        generator = Made([1] * 20, seconds=0.02, mini_batch_size=2, **OPTIONS)
        assert whole(generator)
        found = pids(generator)
        for process in found[chosen]:
            os.kill(process, signal.SIGKILL)
        text = str(caught(WorkerError, generator))
        assert any(f"(pid {process}) was killed by SIGKILL" in text for process in found[chosen]), text
        assert gone(found) and whole(generator)
"""


@pytest.mark.parametrize("way", PROCESSES)
def test_death_of_a_worker_names_how_and_in_which_call(way: str, tmp_path: Path) -> None:
    run(tmp_path, DIES.replace("OPTIONS", repr(options(way))))


@pytest.mark.parametrize("way", PROCESSES)
def test_death_of_idle_workers_is_noticed_by_the_next_epoch(way: str, tmp_path: Path) -> None:
    run(tmp_path, IDLE_DIES.replace("OPTIONS", repr(options(way))))


def test_worker_that_is_still_starting_is_in_no_call(tmp_path: Path) -> None:
    program = """
    from tests.data.made import *
    from gedanken import WorkerError

    if __name__ == "__main__":
        generator = StartsLate([1] * 4, mini_batch_size=2, time_limit=1.0, mode="processes", workers=1)
        assert whole(generator)
    """
    run(tmp_path, program)


def test_death_of_the_server_of_processes(tmp_path: Path) -> None:
    program = """
    from multiprocessing import forkserver
    from tests.data.made import *
    from gedanken import WorkerError

    if __name__ == "__main__":
        generator = Made([1] * 20, {5: "busy"}, mini_batch_size=2, mode="processes", workers=2)
        iterator = iter(generator)
        next(iterator)
        workers = pids(generator)
        os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)
        try:
            for _ in iterator:
                pass
        except WorkerError:
            print(gone(workers), whole(generator))
    """
    found = run(tmp_path, program)
    assert found.endswith("True True\n")


def test_a_server_of_processes_that_was_stopped_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    program = """
    from multiprocessing import forkserver
    from tests.data.made import *
    from gedanken import WorkerError
    from gedanken.processes import starting

    starting.SERVER_SECONDS = 1.0

    def train():
        generator = Made([1] * 4, mini_batch_size=2, mode="processes", workers=1, start_method="forkserver")
        return whole(generator)

    if __name__ == "__main__":
        assert train()
        os.kill(forkserver._forkserver._forkserver_pid, signal.SIGSTOP)
        try:
            train()
        except WorkerError as error:
            print(error)
        print(train())
    """
    found = run(tmp_path, program)
    assert "the server of worker processes did not answer within 1 s, and was ended" in found
    assert found.endswith("True\n")


# ---------------------------------------------------------------------- hangs

HANGS = [("forkserver", "sleep"), ("forkserver", "stubborn"), ("forkserver", "holds lock")]
HANGS += [("fork", "sleep"), ("fork", "stubborn"), ("spawn", "sleep"), ("threads", "sleep"), ("threads", "busy")]
HANG_ALL = """
import json, sys
from tests.data.made import *
from gedanken import WorkerError

if __name__ == "__main__":
    options, acts, limit = map(json.loads, sys.argv[1:])
    for act in acts:
        generator = Made([1] * 12, {7: act}, mini_batch_size=2, time_limit=limit, **options)
        got, iterator = [], iter(generator)
        try:
            for mini_batch in iterator:
                got.append(right(mini_batch))
                workers = pids(generator)
        except WorkerError as error:
            text = str(error)
        assert got == cut(numbers_of(generator.counts), 2)[:3], got
        assert text.startswith(f"get_mini_batches(7) takes longer than time_limit={limit} s in "), text
        assert 'made.py", line' in text and "get_mini_batches" in text[20:], text
        assert all(f"pid {k}" not in text or k in workers for k in workers), text
        assert gone(workers), act
        generator.acts = {}
        assert whole(generator)
        workers = pids(generator)
        began = time.monotonic()
        generator.close()
        assert time.monotonic() - began < 30 and gone(workers)
"""


@pytest.mark.parametrize("way", sorted({way for way, _ in HANGS}))
def test_hanging_call_is_ended_and_its_place_told(way: str, tmp_path: Path) -> None:
    acts = [act for kind, act in HANGS if kind == way]
    limit = 2.5 if way == "spawn" else 0.75  # longer than the start, until the start counts as none of the calls
    run(tmp_path, HANG_ALL, [json.dumps(options(way)), json.dumps(acts), str(limit)])


@pytest.mark.parametrize("way", ["forkserver", "threads"])
def test_close_does_not_wait_for_a_hanging_call(way: str, tmp_path: Path) -> None:
    program = f"""
    from tests.data.made import *

    if __name__ == "__main__":
        for act in ("sleep", "busy"):
            generator = Made([1] * 12, {{7: act, 8: act}}, mini_batch_size=2, **{options(way)})
            iterator = iter(generator)
            next(iterator)
            time.sleep(0.2)
            began = time.monotonic()
            generator.close()
            assert time.monotonic() - began < 30
            generator.acts = {{}}
            assert whole(generator)
    """
    run(tmp_path, program)


@pytest.mark.parametrize("way", ["forkserver", "threads"])
def test_time_limit_is_of_one_call_and_not_of_several(way: str, tmp_path: Path) -> None:
    program = f"""
    from tests.data.made import *

    if __name__ == "__main__":
        generator = Made([1], seconds=0.35, mini_batch_size=1, time_limit=1.4, **{dict(options(way), workers=1)})
        for _ in range(6):  # the same call again and again
            assert whole(generator)
    """
    run(tmp_path, program)


def test_time_limit_does_not_count_what_the_network_takes(tmp_path: Path) -> None:
    program = """
    from tests.data.made import *

    if __name__ == "__main__":
        generator = Made([1] * 3, seconds=0.2, mini_batch_size=1, time_limit=1.2, mode="processes", workers=1)
        for mini_batch in generator:
            time.sleep(1.3)
    """
    run(tmp_path, program)


# ---------------------------------------------------------------------- harmless things


@pytest.mark.parametrize("way", ["fork", "forkserver"])
def test_a_warning_of_a_class_that_cannot_be_sent_is_a_warning(way: str, tmp_path: Path) -> None:
    source = f"""
    import warnings
    from tests.data.made import *

    class Odd(Made):
        def get_mini_batches(self, index):
            class Local(UserWarning):
                def __init__(self, **named):
                    super().__init__("something is odd")
            if index == 7:
                warnings.warn(Local())
            return super().get_mini_batches(index)

    if __name__ == "__main__":
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            with Odd([1] * 12, mini_batch_size=4, **{options(way)}) as generator:
                assert len(list(generator)) == 3
        (warning,) = told
        assert "Local" in f"{{type(warning.message)}} {{warning.message}}", warning
        assert "something is odd" in str(warning.message)
    """
    run(tmp_path, source)


@pytest.mark.parametrize("way", ["fork", "forkserver"])
def test_a_fork_of_a_call_ends_where_the_call_returns(way: str, tmp_path: Path) -> None:
    source = f"""
    import os
    from tests.data.made import *

    class Forks(Made):
        def get_mini_batches(self, index):
            if index % 5 == 2:
                os.fork()
            return super().get_mini_batches(index)

    if __name__ == "__main__":
        with Forks([1] * 24, mini_batch_size=4, **{options(way)}) as generator:
            for _ in range(3):
                assert whole(generator)
    """
    run(tmp_path, source)
