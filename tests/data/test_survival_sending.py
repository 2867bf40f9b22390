"""What can be sent to a worker and what cannot, the random numbers there, and places where workers cannot start."""

import textwrap
from pathlib import Path

import pytest

from tests.data.programs import Program, run

# ---------------------------------------------------------------------- written in the program itself

PARTS = """
import functools, json, sys
import numpy as np
from gedanken import ArrayGenerator, DatasetGenerator

def pair(row):
    return np.float32(row), row

class Rows:
    def __len__(self):
        return 8
    def __getitem__(self, index):
        return index

class Add:
    def __call__(self, rng, item):
        return item[0] + np.float32(1), item[1]
"""
USES = """
def uses(**options):
    add = lambda rng, item: Add()(rng, item)
    made = {
        "function": DatasetGenerator(range(8), to_item=pair, **options),
        "partial": DatasetGenerator(range(8), to_item=functools.partial(pair), **options),
        "data set": DatasetGenerator(Rows(), to_item=functools.partial(pair), **options),
        "transform": ArrayGenerator(np.zeros(8, np.float32), np.arange(8), transforms=[Add()], **options),
    }
    if "-lambda" in sys.argv:
        made["lambda"] = ArrayGenerator(np.zeros(8, np.float32), np.arange(8), transforms=[add], **options)
    for name, generator in made.items():
        try:
            with generator:
                got = [y.tolist() for _, y in generator]
                assert got == [list(range(8))], got
                print(name, "right", generator.stats()["workers"])
        except Exception as error:
            print(name, type(error).__name__, error)
"""
NO_CLOUDPICKLE = 'import sys\nsys.modules["cloudpickle"] = None\n'


@pytest.mark.parametrize("cloudpickle", [True, False])
@pytest.mark.parametrize("given", ["-c", "stdin", "guarded", "script"])
def test_what_the_program_defines_reaches_workers_or_is_named(given: str, cloudpickle: bool, tmp_path: Path) -> None:
    if cloudpickle:
        pytest.importorskip("cloudpickle")
    head = "" if cloudpickle else NO_CLOUDPICKLE
    calls = 'uses(mode="processes", workers=2)\nuses()\n'
    guarded = 'if __name__ == "__main__":\n'
    if given == "guarded":
        source = head + guarded + textwrap.indent(PARTS + USES + calls, "    ")
    else:
        source = head + PARTS + USES + (guarded + textwrap.indent(calls, "    "))
    command = ["-c", source] if given == "-c" else None
    with Program(tmp_path, source, command=command, stdin=given == "stdin") as program:
        lines = program.end().splitlines()
    processes, auto = lines[:4], lines[4:]
    assert len(auto) == 4 and all(" right " in line for line in auto), lines
    if given == "script" or cloudpickle:
        assert all(" right 2 processes" in line for line in processes), processes
        return
    where = "an interactive session" if given != "guarded" else 'under `if __name__ == "__main__":`'
    names = {"function": "pair is", "partial": "pair is", "data set": "Rows", "transform": "Add is"}
    for line, (case, named) in zip(processes, names.items(), strict=True):
        assert line.startswith(case)
        assert "cannot be sent to worker processes" in line and named in line and where in line, line


RAISES = """
from gedanken import *

import enum

class Colour(enum.Enum):
    RED = 1

class Odd(Exception):
    def __init__(self, code, where):
        super().__init__(f"{code} at {where}")
        self.code, self.where, self.colour = code, where, Colour.RED

class Further(Odd):
    pass

class Raises(Generator):
    def __len__(self):
        return 9

    def get_mini_batches(self, index):
        if index == 5:
            try:
                raise Odd(1, "first")
            except Odd as error:
                raise Further(7, "here") from error
        return [(index, index)]

def caught(**options):
    try:
        for _ in Raises(mini_batch_size=2, mode="processes", workers=2, **options):
            pass
    except Further as error:
        assert (error.code, error.where, str(error), type(error)) == (7, "here", "7 at here", Further)
        assert error.colour is Colour.RED
        assert type(error.__cause__) is Odd and error.__cause__.where == "first"
        return "caught"
"""


@pytest.mark.parametrize("given", ["-c", "stdin", "guarded"])
def test_a_class_of_exceptions_of_the_program_is_what_it_catches(given: str, tmp_path: Path) -> None:
    pytest.importorskip("cloudpickle")
    guarded = 'if __name__ == "__main__":\n'
    calls = 'for method in ("forkserver", "spawn", "fork"):\n    print(caught(start_method=method))\n'
    source = RAISES + calls
    if given == "guarded":
        source = guarded + textwrap.indent(source, "    ")
    with Program(
        tmp_path, source, command=["-c", source] if given == "-c" else None, stdin=given == "stdin"
    ) as program:
        assert program.end().splitlines() == ["caught"] * 3


def test_a_class_in_a_function_is_named_as_such(tmp_path: Path) -> None:
    program = """
    from tests.data.made import *
    from gedanken import ArgumentError

    def local():
        class Inner(Made):
            pass
        return Inner

    if __name__ == "__main__":
        text = str(caught(ArgumentError, local()([1] * 4, mode="processes", workers=2)))
        assert "because of its class, which is written inside a function" in text and "__getstate__" not in text, text
        assert whole(local()([1] * 4))
    """
    run(tmp_path, program)


def test_a_database_connection_is_used_by_the_thread_that_opened_it(tmp_path: Path) -> None:
    program = """
    import sqlite3
    from tests.data.made import *
    from gedanken import ArgumentError

    class Reads(Holds):
        def get_mini_batches(self, index):
            self.held.execute("select 1").fetchone()
            return super().get_mini_batches(index)

    if __name__ == "__main__":
        generator = Reads(sqlite3.connect(":memory:"))
        assert whole(generator)
        said = generator.stats()["workers"]
        assert said.startswith("no workers: ") and "attribute held" in said and "only the thread" in said, said
        text = str(caught(ArgumentError, Reads(sqlite3.connect(":memory:"), mode="processes", workers=1)))
        assert "mode='serial'" in text and "mode='threads'" not in text, text
    """
    run(tmp_path, program)


# ---------------------------------------------------------------------- random numbers

DRAWS = """
import random
import numpy as np
from gedanken import Generator

class Draws(Generator):
    def __len__(self):
        return 24

    def get_mini_batches(self, index):
        return [(np.float64(np.random.rand()), np.float64(random.random()))]

def epoch(generator):
    return np.concatenate([np.stack(pair) for pair in generator], axis=1)

if __name__ == "__main__":
    np.random.seed(1), random.seed(1)
    before = np.random.get_state()[1].tolist(), random.getstate()
    found = []
    for workers, method in ((1, "forkserver"), (3, "forkserver"), (2, "fork"), (2, "spawn")):
        with Draws(mode="processes", workers=workers, start_method=method) as generator:
            found.append([epoch(generator), epoch(generator)])
    first, second = found[0]
    for a, b in found:
        assert (a == first).all() and (b == second).all()
    assert len({*first.ravel(), *second.ravel()}) == 96
    with Draws(mode="processes", workers=2, seed=1) as generator:
        assert not (epoch(generator) == first).any()
    assert before == (np.random.get_state()[1].tolist(), random.getstate()), "the program's own"
"""


def test_global_random_numbers_in_processes_are_a_function_of_seed_epoch_and_call(tmp_path: Path) -> None:
    run(tmp_path, DRAWS)


# ---------------------------------------------------------------------- places


def test_a_long_folder_of_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / ("x" * max(1, 76 - len(str(tmp_path))))
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    program = """
    from tests.data.made import *
    from gedanken import ArgumentError

    if __name__ == "__main__":
        for options in ({}, {"mode": "processes", "workers": 2}, {"mode": "processes"}):
            with Made([1] * 6, mini_batch_size=2, seconds=0.03, **options) as generator:
                assert whole(generator), options
                assert "(spawn)" in generator.stats()["workers"], generator.stats()["workers"]
        text = str(caught(ArgumentError, Made([1], mode="processes", workers=2, start_method="forkserver")))
        assert "start_method must be 'spawn' or 'fork' here" in text and "TMPDIR" in text, text
    """
    run(tmp_path, program)


def test_too_few_descriptors_are_told_as_such(tmp_path: Path) -> None:
    program = """
    import resource
    from tests.data.made import *
    from gedanken import WorkerError

    if __name__ == "__main__":
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (60, most))
        generator = Made([1] * 4, mode="processes", workers=100)
        text = str(caught(WorkerError, generator))
        assert "descriptors" in text and "60" in text and "__main__" not in text, text
        generator = Made([1] * 4, mode="processes", workers=2)
        assert whole(generator)  # and with it the server, whose limit stays
        generator.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        text = str(caught(WorkerError, Made([1] * 4, mode="processes", workers=100)))
        assert "server" in text and "descriptors" in text and "__main__" not in text, text
    """
    with Program(tmp_path, program) as running:
        running.end(says=None, tracebacks=range(9))  # those of the server itself


def test_threads_that_cannot_be_started_leave_none_behind(tmp_path: Path) -> None:
    program = """
    from tests.data.made import *
    from gedanken import WorkerError

    if __name__ == "__main__":
        start, room = threading.Thread.start, [5]
        def limited(thread):
            room[0] -= 1
            if room[0] < 0:
                raise RuntimeError("can't start new thread")
            start(thread)
        threading.Thread.start = limited
        text = str(caught(WorkerError, Made([1] * 4, mode="threads", workers=20)))
        assert text.startswith("only 5 of 20 threads could be started"), text
        threading.Thread.start = start
        assert threading.active_count() == 1, threading.enumerate()
    """
    run(tmp_path, program)


# ---------------------------------------------------------------------- in nobody's hands

STOPPED = """
import signal
from tests.data.made import *
from gedanken import WorkerError

def stop():
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(60)  # the system may tell another thread first

class Stops(Exception):
    def __reduce__(self):
        stop()

class Early(Made):
    stops = False

    @property
    def transforms(self):
        if self.stops and running_epoch.get(None) == 0:
            stop()
        return ()

    @transforms.setter
    def transforms(self, value):
        pass

def stops():
    raise Stops

ACTS["stops"] = stops

if __name__ == "__main__":
    for threads in (1, 2):
        options = {"mode": "processes", "workers": 1, "threads": threads, "time_limit": 1.0, "mini_batch_size": 2}
        generator = Made([1] * 6, {3: "stops"}, **options)
        text = str(caught(WorkerError, generator))
        assert "get_mini_batches(3) takes longer than time_limit" in text, text
        generator.acts = {}
        assert whole(generator)
        generator.close()
    generator = Early([1] * 6, **options)
    generator.stops = True
    text = str(caught(WorkerError, generator))
    found = ("no worker has the calls that were given out", "takes longer than time_limit")  # as it was stopped
    assert any(words in text for words in found), text
    generator.stops = False
    assert whole(generator)
    generator.close()
"""


def test_a_worker_that_is_stopped_outside_of_its_calls_is_found(tmp_path: Path) -> None:
    run(tmp_path, STOPPED)


def test_a_thread_that_ends_without_an_answer_is_found(tmp_path: Path) -> None:
    program = """
    from tests.data.made import *
    from gedanken import WorkerError
    from gedanken.data.workers import tasks

    class Ends(Made):
        def get_mini_batches(self, index):
            if self.acts and index == 3:
                tasks.TaskRunner.set_idle = lambda runner: sys.exit()  # between two tasks, whatever comes
            return super().get_mini_batches(index)

    if __name__ == "__main__":
        rest = tasks.TaskRunner.set_idle
        options = {"mini_batch_size": 1, "buffer": 1, "mode": "threads", "workers": 2, "time_limit": None}
        generator = Ends([1] * 12, {11: "none"}, **options)
        ACTS["none"] = lambda: None
        text = str(caught(WorkerError, generator, 10))
        assert text.startswith("gedanken thread ") and "ended" in text, text
        tasks.TaskRunner.set_idle, generator.acts = rest, {}
        assert whole(generator)
    """
    run(tmp_path, program)
