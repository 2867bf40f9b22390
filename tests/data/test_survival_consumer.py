"""The program that takes mini-batches breaks off, raises, is interrupted or killed: nothing of its workers is left."""

import os
import signal
import time
from itertools import product
from pathlib import Path
from textwrap import dedent

import pytest

from tests.data.programs import Program, run, session
from tests.data.test_survival_workers import PROCESSES, WAYS, options

# ---------------------------------------------------------------------- leaves

LEAVES = """
import gc
from tests.data.made import *
from gedanken import StateError

def breaks_off(generator, after):
    for place, mini_batch in enumerate(generator):
        if place == after:
            return

def raises(generator, after):
    try:
        for place, mini_batch in enumerate(generator):
            if place == after:
                raise ZeroDivisionError
    except ZeroDivisionError:
        return
    assert False

def drops(generator, after):
    iterator = iter(generator)
    for _ in range(after + 1):
        next(iterator)
    del iterator

def never_begins(generator, after):
    iter(generator)

def closes(generator, after):
    iterator = iter(generator)
    for _ in range(after + 1):
        next(iterator)
    generator.close()
    try:
        next(iterator)
    except StateError:
        return
    assert False

def iterates_again(generator, after):
    older, newer = iter(generator), iter(generator)
    for _ in range(after + 1):
        next(older)
    assert right(next(newer)) == [0, EACH]
    try:
        next(older)
    except StateError:
        assert right(next(newer)) == [2 * EACH, 3 * EACH], "the newer one goes on"
        return
    assert False

if __name__ == "__main__":
    with Made([1] * 30, mini_batch_size=2, **OPTIONS) as generator:
        begun = 0
        for leave in (breaks_off, raises, drops, never_begins, closes, iterates_again):
            for after in (0, 1, 7):
                leave(generator, after)
                begun += {never_begins: 0, iterates_again: 2}.get(leave, 1)
                assert generator.epoch == begun - 1, (leave, generator.epoch, begun)
                assert whole(generator), (leave, after)
                begun += 1
        found = pids(generator) if generator.stats().get("each") else []
    assert gone(found)
    assert not [t for t in threading.enumerate() if t.name.startswith("gedanken")]
"""


@pytest.mark.parametrize("way", WAYS)
def test_left_epoch_leaves_a_generator_that_goes_on(way: str, tmp_path: Path) -> None:
    run(tmp_path, LEAVES.replace("OPTIONS", repr(options(way))))


@pytest.mark.parametrize("way", ["forkserver", "threads"])
@pytest.mark.parametrize("keep", [False, True])
def test_left_epoch_whose_calls_still_run(way: str, keep: bool, tmp_path: Path) -> None:
    program = f"""
    import faulthandler
    from tests.data.made import *

    if __name__ == "__main__":
        faulthandler.dump_traceback_later(6, exit=True)
        generator = Made([1] * 8, seconds=0.2, mini_batch_size=1, **{options(way)}, buffer={1 if keep else 8})
        for mini_batch in generator:
            break
        if not {keep}:
            del mini_batch
        assert whole(generator)
    """
    run(tmp_path, program)


@pytest.mark.parametrize("way", ["forkserver", "threads", "serial"])
def test_generator_that_is_collected_ends_its_workers(way: str, tmp_path: Path) -> None:
    program = f"""
    import gc, weakref
    from tests.data.made import *

    if __name__ == "__main__":
        gc.disable()  # nothing here waits for the collector
        for leaves in (False, True):
            generator = Made([1] * 30, mini_batch_size=2, **{options(way)})
            for mini_batch in generator:
                if leaves:
                    break
            workers, watched = pids(generator), weakref.ref(generator)
            del generator
            assert watched() is None and gone(workers)
            limit = time.monotonic() + 5
            while [t for t in threading.enumerate() if t.name.startswith("gedanken")]:
                assert time.monotonic() < limit
    """
    run(tmp_path, program)


@pytest.mark.parametrize("way", ["forkserver", "threads", "serial"])
def test_error_of_a_call_keeps_nothing_alive(way: str, tmp_path: Path) -> None:
    program = f"""
    import gc, weakref
    from tests.data.made import *

    def use(generator):
        mine = np.zeros(10)
        try:
            for _ in generator:
                pass
        except ValueError:
            return weakref.ref(mine)

    if __name__ == "__main__":
        generator = Made([1] * 30, {{9: "ValueError"}}, mini_batch_size=2, **{options(way)})
        mine = use(generator)
        gc.collect()
        assert mine() is None, "a variable of the loop"
        workers, watched = pids(generator), weakref.ref(generator)
        del generator
        gc.collect()
        assert watched() is None and gone(workers)
    """
    run(tmp_path, program)


# ---------------------------------------------------------------------- ends

LIVES = """
from tests.data.made import *

if __name__ == "__main__":
    generator = Made([1] * 400, ACTS, mini_batch_size=2, **OPTIONS)
    iterator = iter(generator)
    for _ in range(3):
        mini_batch = next(iterator)
    if "exit" in ENDS:
        sys.exit(4)
    if "raise" in ENDS:
        raise ZeroDivisionError("by the program")
"""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("act", ["none", "sleep", "busy"])
def test_program_ends_while_an_iterator_and_its_workers_live(way: str, act: str, tmp_path: Path) -> None:
    if act != "none" and way == "serial":
        pytest.skip("its calls are the program's own")
    acts = {} if act == "none" else dict.fromkeys(range(8, 30), act)
    source = LIVES.replace("OPTIONS", repr(options(way))).replace("ACTS", repr(acts))
    for ends, expected in (
        ("end", {}),
        ("exit", {"code": 4}),
        ("raise", {"code": 1, "says": "by the program", "tracebacks": 1}),
    ):
        if ends == "end" or (way, act) == ("forkserver", "none"):
            run(tmp_path, source.replace("ENDS", repr(ends)), **expected)  # type: ignore[arg-type]


# ---------------------------------------------------------------------- is interrupted or killed

WAITS = """
from tests.data.made import *

if __name__ == "__main__":
    try:
        generator = MADE
        for mini_batch in generator:
            if MOMENT == "step" and mini_batch[0][0] == 4 * EACH:
                print("step", flush=True)
                for _ in range(10_000):  # a signal between two of Python's instructions does not end a sleep
                    time.sleep(0.05)
    finally:
        print("finally", flush=True)
"""
MOMENTS = ["waiting", "step"]


def _program(folder: Path, way: str, moment: str, act: str) -> Program:
    acts = dict.fromkeys(range(6, 10), act)
    made = f"Made([1] * 20, {acts}, mini_batch_size=2, **{options(way)})"
    return Program(folder, WAITS.replace("MADE", made).replace("MOMENT", repr(moment)))


def _reached(program: Program, moment: str, act: str) -> None:
    """Wait until the program and both of its workers are where they should be."""
    program.wait_for(f"{act} in ", count=2)
    if moment == "step":
        program.wait_for("step")


@pytest.mark.parametrize(
    ("way", "moment", "act", "group"),
    [
        *product(["forkserver"], MOMENTS, ["sleep"], [True, False]),
        ("forkserver", "waiting", "busy", True),
        ("forkserver", "step", "busy", True),
        ("forkserver", "waiting", "holds lock", True),
        ("threads", "waiting", "sleep", True),
        ("threads", "step", "busy", False),
        ("fork", "waiting", "busy", True),
        ("spawn", "waiting", "sleep", True),
    ],
)
def test_interrupt_ends_at_once_with_the_programs_own_traceback(
    way: str, moment: str, act: str, group: bool, tmp_path: Path
) -> None:
    with _program(tmp_path, way, moment, act) as program:
        _reached(program, moment, act)
        program.send(signal.SIGINT, group)
        out = program.end(-signal.SIGINT, "KeyboardInterrupt", tracebacks=1, seconds=20)
    assert out.endswith("finally\n")


def test_interrupt_of_a_call_in_the_program_itself(tmp_path: Path) -> None:
    made = "Made([1] * 9, {6: 'sleep'}, mini_batch_size=2, mode='serial')"
    with Program(tmp_path, WAITS.replace("MADE", made).replace("MOMENT", "'waiting'")) as program:
        program.wait_for("sleep in 6")
        program.send(signal.SIGINT)
        program.end(-signal.SIGINT, "KeyboardInterrupt", tracebacks=1, seconds=20)


def test_interrupt_of_a_call_that_is_timed(tmp_path: Path) -> None:
    source = """
    from tests.data.made import *

    if __name__ == "__main__":
        try:
            for _ in Made([1] * 9, {0: "sleep"}, mini_batch_size=2):
                pass
        except Exception as error:
            print(repr(error))
    """
    with Program(tmp_path, source) as program:
        program.wait_for("sleep in 0")
        program.send(signal.SIGINT)
        program.end(-signal.SIGINT, "KeyboardInterrupt", tracebacks=1, seconds=20)


@pytest.mark.parametrize("group", [True, False], ids=["group", "alone"])
@pytest.mark.parametrize("way", PROCESSES)
def test_interrupt_while_workers_start(way: str, group: bool, tmp_path: Path) -> None:
    made = f"StartsSlowly([1] * 9, mini_batch_size=2, **{options(way)})"
    with Program(tmp_path, WAITS.replace("MADE", made).replace("MOMENT", "None")) as program:
        program.wait_for("starts", count=2)
        program.send(signal.SIGINT, group)
        program.end(-signal.SIGINT, "KeyboardInterrupt", tracebacks=1, seconds=20)


@pytest.mark.parametrize(
    ("way", "group"),
    [("forkserver", True), ("forkserver", False), ("spawn", False), ("spawn", True)],
)
def test_interrupt_while_workers_import(way: str, group: bool, tmp_path: Path) -> None:
    source = """
    import time
    if __name__ != "__main__":
        print("imports", flush=True)
        time.sleep(600)
    """
    made = f"Made([1] * 9, mini_batch_size=2, **{options(way)})"
    with Program(tmp_path, dedent(source) + WAITS.replace("MADE", made).replace("MOMENT", "None")) as program:
        program.wait_for("imports", count=1 if way == "forkserver" else 2)
        program.send(signal.SIGINT, group)
        program.end(-signal.SIGINT, "KeyboardInterrupt", tracebacks=1, seconds=20)


def test_interrupt_between_a_worker_s_fork_and_the_word_of_it(tmp_path: Path) -> None:
    source = """
    import time
    if __name__ != "__main__":
        print("imports", flush=True)
        time.sleep(600)
    from multiprocessing import forkserver
    read = forkserver.read_signed

    def read_late(fd):
        found = read(fd)
        time.sleep(0.2)
        return found

    forkserver.read_signed = read_late
    """
    made = f"Made([1] * 9, mini_batch_size=2, **{options('forkserver')})"
    with Program(tmp_path, dedent(source) + WAITS.replace("MADE", made).replace("MOMENT", "None")) as program:
        program.wait_for("imports")
        program.send(signal.SIGINT, False)
        program.end(-signal.SIGINT, "KeyboardInterrupt", tracebacks=1, seconds=20)


@pytest.mark.parametrize("way", ["forkserver", "spawn"])
def test_interrupt_just_after_a_worker_was_started(way: str, tmp_path: Path) -> None:
    source = """
    import os, signal, time
    if __name__ != "__main__":
        time.sleep(600)
    from gedanken.processes import memory

    def close_and_interrupt(self, close=memory.Descriptor.close):
        memory.Descriptor.close = close
        close(self)
        os.kill(os.getpid(), signal.SIGINT)

    if __name__ == "__main__":
        memory.Descriptor.close = close_and_interrupt
    """
    made = f"Made([1] * 9, mini_batch_size=2, **{options(way)})"
    with Program(tmp_path, dedent(source) + WAITS.replace("MADE", made).replace("MOMENT", "None")) as program:
        program.end(-signal.SIGINT, "KeyboardInterrupt", tracebacks=1, seconds=20)


@pytest.mark.parametrize("way", PROCESSES)
def test_closed_while_workers_start(way: str, tmp_path: Path) -> None:
    program = f"""
    from tests.data.made import *

    if __name__ == "__main__":
        for made in (StartsLate, Made):
            generator = made([1] * 9, mini_batch_size=2, **{options(way)})
            runner_of(generator).start(generator)
            generator.close()
            assert not generator.stats().get("each")
    """
    run(tmp_path, program)


@pytest.mark.parametrize(
    ("way", "moment", "act", "number"),
    [
        *product(["forkserver"], MOMENTS, ["sleep", "busy"], [signal.SIGKILL]),
        ("forkserver", "waiting", "sleep", signal.SIGTERM),
        ("forkserver", "step", "busy", signal.SIGTERM),
        ("fork", "waiting", "busy", signal.SIGKILL),
        ("fork", "step", "sleep", signal.SIGTERM),
        ("spawn", "waiting", "busy", signal.SIGKILL),
        ("threads", "waiting", "busy", signal.SIGTERM),
        ("forkserver", "waiting", "stubborn", signal.SIGKILL),
        ("forkserver", "waiting", "holds lock", signal.SIGKILL),
    ],
)
def test_killed_program_leaves_no_worker(
    way: str, moment: str, act: str, number: signal.Signals, tmp_path: Path
) -> None:
    with _program(tmp_path, way, moment, act) as program:
        _reached(program, moment, act)
        program.send(number)
        program.end(-number)


@pytest.mark.parametrize("way", PROCESSES)
def test_program_killed_while_workers_start_leaves_none(way: str, tmp_path: Path) -> None:
    made = f"StartsSlowly([1] * 9, mini_batch_size=2, **{options(way)})"
    with Program(tmp_path, WAITS.replace("MADE", made).replace("MOMENT", "None")) as program:
        program.wait_for("starts", count=2)
        program.send(signal.SIGKILL)
        program.end(-signal.SIGKILL)


# ---------------------------------------------------------------------- is interrupted while it trains

TRAINS = """
import os
from tests.data.made import *
from gedanken import FullyConnectedLayer, Network, SoftMax

class Slow(Generator):
    def __len__(self):
        return 300

    def get_mini_batches(self, index):
        time.sleep(0.02)
        return [(np.full(4, index, "float32"), index % 3)]

if __name__ == "__main__":
    net = Network().input((4,)).add(FullyConnectedLayer(3)).add(SoftMax()).regression(engine="numpy")
    print(f"pid {os.getpid()}", flush=True)
    history = net.fit(Slow(mini_batch_size=2, **OPTIONS), epochs=9, progress=False, callbacks=[Says()])
    print("reason", history.reason)
"""
SAYS = """
from gedanken import Callback

class Says(Callback):
    def on_start(self, run):
        print("starts", flush=True)

    def on_step(self, run, record):
        print("step", flush=True)
"""


def trains(way: str) -> str:
    return dedent(SAYS) + TRAINS.replace("OPTIONS", repr(options(way)))


@pytest.mark.parametrize("moment", [0.02, 0.1, 0.25])
@pytest.mark.parametrize("way", WAYS)
def test_interrupt_of_a_training_while_workers_start(way: str, moment: float, tmp_path: Path) -> None:
    with Program(tmp_path, trains(way)) as program:
        program.wait_for("starts")
        time.sleep(moment)
        program.send(signal.SIGINT, group=True)
        assert "reason Ctrl-C" in program.end()


@pytest.mark.parametrize("who", ["a worker", "all workers", "the server"])
@pytest.mark.parametrize("way", PROCESSES)
def test_interrupt_of_a_training_whose_workers_are_stopped(way: str, who: str, tmp_path: Path) -> None:
    with Program(tmp_path, trains(way)) as program:
        program.wait_for("step")
        servers, workers = children(program.pid)
        stopped = {"a worker": workers[:1], "all workers": workers, "the server": servers}[who]
        if not stopped:
            pytest.skip("has no server")
        for process in stopped:
            os.kill(process, signal.SIGSTOP)
        time.sleep(0.3)
        program.send(signal.SIGINT, group=True)
        assert "reason Ctrl-C" in program.end()


def children(leader: int) -> tuple[list[int], list[int]]:
    """Return the server of processes and the workers of a program."""
    found = {process: Path(f"/proc/{process}/cmdline").read_bytes() for process in session(leader)}
    servers = [p for p, line in found.items() if b"forkserver import main" in line and parent(p) == leader]
    others = [p for p, line in found.items() if b"resource_tracker import main" in line]
    return servers, [p for p in found if p not in {leader, *servers, *others}]


def parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
