"""Programs of all kinds: what cannot be sent, no guard, notebooks, daemons, threads, forks, little shared memory."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.data.programs import Program, run
from tests.data.test_survival_workers import PROCESSES, options

# ---------------------------------------------------------------------- cannot be sent

REMEDY = "open it in get_mini_batches when it is first needed"
UNSENDABLE = """
from types import SimpleNamespace
from tests.data.made import *
from gedanken import ArgumentError

CASES = {
    "lambda": ".held", "lock": ".held", "socket": ".held", "file": ".held", "manager": ".held",
    "nested": ".held.deep['key'][1]",
}

if __name__ == "__main__":
    for what, path in CASES.items():
        thing = held("lambda" if what == "nested" else what)
        if what == "nested":
            thing = SimpleNamespace(fine=1, deep={"other": 0, "key": [2, thing]})
        for method in ("forkserver", "spawn"):
            generator = Holds(thing, mode="processes", workers=2, start_method=method)
            text = str(caught(ArgumentError, generator))
            assert text.startswith("Holds cannot be sent to worker processes because of its attribute "), text
            assert f"attribute {path.lstrip('.')}" in text and "REMEDY" in text, text
            assert "mode='threads'" in text and "start_method='fork'" in text, text
        generator = Holds(thing)
        assert whole(generator)
        generator = Holds(thing, seconds=0.03)
        assert whole(generator)
        said = generator.stats()["workers"]
        assert " threads: " in said and path.lstrip(".") in said, said
        generator.close()
        generator = Holds(thing, mode="processes", workers=2, start_method="fork")
        assert whole(generator) and whole(generator), what
        generator.close()
        if what == "manager":
            thing.shutdown()
"""


def test_what_cannot_be_sent_is_named_with_a_remedy(tmp_path: Path) -> None:
    run(tmp_path, UNSENDABLE.replace("REMEDY", REMEDY))


# ---------------------------------------------------------------------- scripts, notebooks

SQUARES = """
import numpy as np
from gedanken import Generator

class Squares(Generator):
    def __len__(self):
        return 5

    def get_mini_batches(self, index):
        return [(np.int64(index), np.int64(index**2))]
"""
USES = """
    expected = [[0, 1], [4, 9], [16]]
    assert [y.tolist() for _, y in Squares(mini_batch_size=2, **OPTIONS)] == expected
    print("right")
"""
CATCHES = """
    try:
        list(Squares(mini_batch_size=2, **OPTIONS))
    except Exception as error:
        print(type(error).__name__, error)
"""


@pytest.mark.parametrize("way", ["forkserver", "spawn"])
def test_script_without_a_guard_ends_with_a_clear_text(way: str, tmp_path: Path) -> None:
    source = SQUARES + f"list(Squares(mini_batch_size=2, **{options(way)}))\n"
    with Program(tmp_path, source) as program:
        program.end(1, 'under `if __name__ == "__main__":`', tracebacks=range(1, 4))  # its own, and those of workers
        assert program.err.rstrip().splitlines()[-1].startswith("gedanken.errors.WorkerError: ")


@pytest.mark.parametrize("way", PROCESSES)
def test_class_in_a_script(way: str, tmp_path: Path) -> None:
    source = SQUARES + 'if __name__ == "__main__":' + USES.replace("OPTIONS", repr(options(way)))
    assert run(tmp_path, source) == "right\n"


@pytest.mark.parametrize("given", ["stdin", "-c"])
def test_class_in_an_interactive_session(given: str, tmp_path: Path) -> None:
    source = (
        SQUARES + "if True:" + USES.replace("OPTIONS", '{"mode": "processes", "workers": 2, "start_method": "fork"}')
    )
    source += USES.replace("OPTIONS", "{}") + CATCHES.replace("OPTIONS", '{"mode": "processes", "workers": 2}')
    command = ["-c", source] if given == "-c" else None
    with Program(tmp_path, source, command=command, stdin=given == "stdin") as program:
        out = program.end()
    if "cloudpickle" in out:
        assert out.count("right") == 2
        assert "interactive session, which they cannot import; move it to a file" in out
    else:  # it is installed
        assert out == "right\nright\n"


def test_daemon_process_uses_threads(tmp_path: Path) -> None:
    source = """
    import multiprocessing
    from tests.data.made import *
    from gedanken import ArgumentError

    def child():
        generator = Made([1] * 9, seconds=0.03, mini_batch_size=2)
        assert whole(generator)
        assert "a daemon process may have no children" in generator.stats()["workers"], generator.stats()["workers"]
        text = str(caught(ArgumentError, Made([1], mode="processes", workers=2)))
        assert "mode must be 'threads' or 'serial' here" in text and "daemon" in text, text
        print("right")

    if __name__ == "__main__":
        process = multiprocessing.Process(target=child, daemon=True)
        process.start()
        process.join()
    """
    assert run(tmp_path, source) == "right\n"


# ---------------------------------------------------------------------- threads, forks

FORKS = """
import gc
from tests.data.made import *

if __name__ == "__main__":
    generator = Made([1] * 60, seconds=0.01, mini_batch_size=2, buffer=3, **OPTIONS)
    got, iterator = [], iter(generator)
    signal.alarm(5)  # rather than hang
    for mini_batch in iterator:
        got.append(right(mini_batch))
        if len(got) == 3:
            child = os.fork()
            if not child:
                CHILD
                ENDS
            assert os.waitpid(child, 0)[1] == 0, "the child"
    assert got == cut(numbers_of(generator.counts), 2), got
    assert whole(generator)
"""


@pytest.mark.parametrize(
    "child",
    [
        pytest.param("pass", id="nothing"),
        pytest.param("iterator.close()", id="leaves"),
        pytest.param("generator.close()", id="closes"),
        pytest.param("signal.alarm(3); assert whole(generator)", id="iterates"),
    ],
)
@pytest.mark.parametrize("way", ["forkserver", "fork"])
def test_forked_child_does_not_disturb_its_parent(way: str, child: str, tmp_path: Path) -> None:
    if way == "forkserver" and "whole" in child:  # Python's server of processes serves the process that started it
        child = "assert 'start_method' in str(caught(__import__('gedanken').WorkerError, generator))"
    source = FORKS.replace("OPTIONS", repr(options(way))).replace("CHILD", child)
    run(tmp_path, source.replace("ENDS", "os._exit(0)"))


@pytest.mark.parametrize("way", ["forkserver", "fork"])
def test_forked_child_ends_cleanly(way: str, tmp_path: Path) -> None:
    source = FORKS.replace("OPTIONS", repr(options(way))).replace("CHILD", "pass")
    run(tmp_path, source.replace("ENDS", "sys.exit(0)"))


def test_generator_inside_a_thread_of_a_program_with_others(tmp_path: Path) -> None:
    source = f"""
    from tests.data.made import *

    def use(options):
        with Made([3, 0, 5, 1, 2], mini_batch_size=4, **options) as generator:
            found.append(whole(generator) and whole(generator))

    if __name__ == "__main__":
        found = []
        ways = {[options(way) for way in ("fork", "forkserver", "spawn", "threads", "serial")]}
        threads = [threading.Thread(target=use, args=(options,)) for options in ways]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [True] * 5
    """
    run(tmp_path, source)


def test_two_generators_at_once_and_one_inside_another(tmp_path: Path) -> None:
    source = f"""
    from tests.data.made import *

    class Outer(Made):
        def get_mini_batches(self, index):
            inner = Made([2, 1], mini_batch_size=8, **self.inner)
            assert whole(inner) and whole(inner)
            inner.close()
            return super().get_mini_batches(index)

    if __name__ == "__main__":
        ways = {[options(way) for way in ("fork", "forkserver", "threads")]}
        generators = [Made([1] * 20, mini_batch_size=2, **way) for way in ways]
        for parts in zip(*generators):
            assert right(parts[0]) == right(parts[1]) == right(parts[2])
        for generator in generators:
            assert whole(generator)
        for way in ways:
            outer = Outer([2] * 6, mini_batch_size=4, **way)
            outer.inner = dict(mode="threads", workers=2)
            assert whole(outer)
            outer.close()
    """
    run(tmp_path, source)


def test_random_numbers_of_a_call_that_iterates_another_generator(tmp_path: Path) -> None:
    source = """
    from tests.data.made import *

    class Outer(Made):
        def get_mini_batches(self, index):
            before = self.rng(index).random()
            for _ in range(3):
                assert whole(INNER)
            assert self.rng(index).random() == before
            return super().get_mini_batches(index)

    INNER = Made([1] * 3, mode="serial")
    if __name__ == "__main__":
        assert whole(Outer([1] * 4, mode="serial"))
    """
    run(tmp_path, source)


# ---------------------------------------------------------------------- memory, clocks, back-pressure


def test_little_shared_memory(tmp_path: Path) -> None:
    source = f"""
    from tests.data.made import *

    if __name__ == "__main__":
        assert os.statvfs("/dev/shm").f_blocks * os.statvfs("/dev/shm").f_frsize == 64 << 20
        for way in {[options(way) for way in ("forkserver", "fork")]}:
            with Made([1] * 3, width=22_000_000, mini_batch_size=1, buffer=1, **way) as generator:
                assert [[n[0], x[0, 0], x[0, -1]] for n, x in generator] == [[0] * 3, [1e3] * 3, [2e3] * 3]
    """
    mount = "mount -t tmpfs -o size=64m tmpfs /dev/shm"
    unshare = ["unshare", "-m", "sh", "-c"]
    if not shutil.which("unshare") or subprocess.run([*unshare, mount], capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a file system of 64 MB on /dev/shm")
    with Program(tmp_path, source, under=[*unshare, f'{mount} && exec "$0" "$@"']) as program:
        program.end()


def test_too_little_memory_is_an_error_and_no_crash(tmp_path: Path) -> None:
    source = """
    import resource
    from tests.data.made import *

    if __name__ == "__main__":
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, -1))  # of what is not on a disk too
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        error = caught(MemoryError, Made([1] * 3, width=1_000_000, mini_batch_size=1, mode="processes", workers=2))
        assert "bytes of shared memory for a mini-batch" in str(error)
    """
    run(tmp_path, source)


def test_clock_that_jumps(tmp_path: Path) -> None:
    source = f"""
    import itertools
    from tests.data.made import *

    if __name__ == "__main__":
        jumps = itertools.cycle([0.0, 1e9, -1e9, 4e9])
        time.time = lambda: next(jumps)
        for way in {[options(way) for way in ("fork", "threads", "forkserver")]}:
            with Made([1] * 8, seconds=0.05, mini_batch_size=2, time_limit=5, **way) as generator:
                assert whole(generator) and whole(generator)
                stats = generator.stats()
                assert 0 < stats["seconds"] < 60 and 0 <= stats["waiting_for_data"] <= stats["seconds"], stats
    """
    run(tmp_path, source)


@pytest.mark.parametrize("way", ["forkserver", "threads", "serial"])
def test_workers_stop_when_the_buffer_is_full(way: str, tmp_path: Path) -> None:
    source = f"""
    from tests.data.made import *

    def calls_made(generator):
        return sum(worker["calls"] for worker in generator.stats()["each"])

    if __name__ == "__main__":
        for buffer in (1, 2, 5):
            for counts in ([1] * 200, [0, 3, 1, 0, 1, 2] * 40):
                with Made(counts, mini_batch_size=4, buffer=buffer, **{options(way)}) as generator:
                    iterator = iter(generator)
                    got = []
                    for place in range(12):
                        got.append(right(next(iterator)))
                        if place % 4 == 3:
                            time.sleep(0.03)
                            scheduler = runner_of(generator).scheduler
                            scheduler._take_in(scheduler.workers.wait(0))
                            most = (place + 1 + buffer + 2) * 4 + 2 * 4
                            made = calls_made(generator)
                            assert sum(counts[:made]) <= most + 6, (buffer, place, made, most)
                    got += [right(mini_batch) for mini_batch in iterator]
                    assert got == cut(numbers_of(counts), 4)
    """
    run(tmp_path, source)


# ---------------------------------------------------------------------- nothing grows, what is kept stays

GROWS = """
import gc
from tests.data.made import *

def state():
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    descriptors = len(os.listdir("/proc/self/fd"))
    children = len(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())
    return pages * os.sysconf("SC_PAGESIZE"), (descriptors, threading.active_count(), children)

if __name__ == "__main__":
    with Made([1, 0, 3] * 10, width=3000, mini_batch_size=8, **OPTIONS) as generator:
        before, own = None, state()[1]
        for turn in range(200):
            assert whole(generator)
            for place, mini_batch in enumerate(generator):
                if place == turn % 5:
                    break
            if turn == 20:
                before = state()
                workers = pids(generator)
        after = state()
        assert after[1] == before[1], (before, after)
        assert after[0] - before[0] < 12 << 20, (before, after)
        assert pids(generator) == workers
    del mini_batch, generator
    for turn in range(25):  # whole Generators
        generator = Made([1] * 8, mini_batch_size=2, **OPTIONS)
        for mini_batch in generator:
            break
        del generator, mini_batch
        if turn == 4:
            before = state()
    assert state()[1] == before[1] and state()[0] - before[0] < 12 << 20, (before, state())
"""


@pytest.mark.parametrize("way", ["forkserver", "fork", "threads"])
def test_nothing_grows_over_epochs_and_breaks(way: str, tmp_path: Path) -> None:
    run(tmp_path, GROWS.replace("OPTIONS", repr(options(way))))


@pytest.mark.parametrize("way", ["forkserver", "fork", "threads", "serial"])
def test_kept_mini_batches_stay_what_they_are(way: str, tmp_path: Path) -> None:
    source = f"""
    import gc
    from tests.data.made import *

    def descriptors():
        return len(os.listdir("/proc/self/fd"))

    if __name__ == "__main__":
        generator = Made([1] * 600, mini_batch_size=2, **{options(way)})
        kept, counts = [], []
        for mini_batch in generator:
            kept.append(mini_batch)
            counts.append(descriptors())
        views = [rows[1:, 1:] for _, rows in kept[:3]]
        assert len(kept) == 300 and counts[10:] == counts[10:11] * 290, counts
        for _ in range(2):
            assert whole(generator)
        for end in (lambda: None, generator.close, gc.collect):
            end()
            assert [right(mini_batch) for mini_batch in kept] == cut(numbers_of(generator.counts), 2)
        counts = generator.counts
        del generator
        gc.collect()
        assert [right(mini_batch) for mini_batch in kept] == cut(numbers_of(counts), 2)
        del kept, mini_batch
        assert [view[0, 0] for view in views] == [1e3, 3e3, 5e3]
        for view in views:
            view[...] = 0  # they are the program's own
    """
    run(tmp_path, source)
