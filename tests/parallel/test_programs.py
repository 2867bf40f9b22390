"""Programs that train in parallel: they are interrupted and killed, and leave nothing behind."""

import signal
import time
from pathlib import Path

import pytest

from tests.data.programs import Program, run

TRAINS = """
import sys
import numpy as np
from gedanken import Callback, Hogwild
from tests.parallel.made import arrays, network

class Says(Callback):
    told = False

    def on_step(self, run, record):
        if not self.told and record.step > 20:
            self.told = True
            print("learning", flush=True)

if __name__ == "__main__":
    net, (x, y) = network(), arrays(5000)
    before = net._plan.state()
    parallel = Hogwild(workers=2, backend=sys.argv[1], start_method=sys.argv[2])
    how = {"mini_batch_size": 4, "progress": False, "parallel": parallel}
    history = net.fit(x, y, epochs=int(sys.argv[3]), callbacks=[Says()], **how)
    after = net._plan.state()
    assert all(np.isfinite(array).all() for array in after.values())
    assert not np.array_equal(before["0.kernel"], after["0.kernel"])
    print(history.reason, net.epoch)
"""
METHODS = ["forkserver", "spawn", "fork"]
WAYS = [("threads", "auto"), *(("processes", method) for method in METHODS)]


@pytest.mark.parametrize(("backend", "method"), WAYS)
def test_ctrl_c_leaves_what_was_learnt(backend: str, method: str, tmp_path: Path) -> None:
    with Program(tmp_path, TRAINS, [backend, method, "100000"]) as program:
        program.wait_for("learning")
        program.send(signal.SIGINT, group=True)
        assert "Ctrl-C" in program.end()


@pytest.mark.parametrize(("backend", "method"), WAYS)
def test_ctrl_c_twice_ends_the_training_at_once(backend: str, method: str, tmp_path: Path) -> None:
    with Program(tmp_path, TRAINS, [backend, method, "100000"]) as program:
        program.wait_for("learning")
        program.send(signal.SIGINT, group=True)
        program.send(signal.SIGINT, group=True)
        limit = time.monotonic() + 15
        while program._process.poll() is None:
            assert time.monotonic() < limit, "it goes on"
            time.sleep(0.01)


@pytest.mark.parametrize(("backend", "method"), WAYS)
def test_a_killed_owner_leaves_no_worker_and_no_memory(backend: str, method: str, tmp_path: Path) -> None:
    with Program(tmp_path, TRAINS, [backend, method, "100000"]) as program:
        program.wait_for("learning")
        program.send(signal.SIGKILL)
        program.end(code=-signal.SIGKILL, says=None)


STOPPED = """
import time
from gedanken import Hogwild
from tests.parallel.made import Acts, arrays, network

class Slow(Acts):
    def forward(self, ctx, p, s, x):
        if ctx.train:
            print("learning", flush=True)
            time.sleep(0.4)
        return super().forward(ctx, p, s, x)

if __name__ == "__main__":
    parallel = Hogwild(workers=2, backend="processes", start_method="fork", time_limit=1.5)
    print(network("cpu", "sgd", Slow("")).fit(*arrays(48), mini_batch_size=8, parallel=parallel, progress=False).reason)
"""


def test_a_program_that_was_stopped_for_long_goes_on(tmp_path: Path) -> None:
    with Program(tmp_path, STOPPED) as program:
        program.wait_for("learning")
        program.send(signal.SIGSTOP, group=True)
        time.sleep(3)
        program.send(signal.SIGCONT, group=True)
        assert "all epochs done" in program.end()


@pytest.mark.parametrize("text", [TRAINS, TRAINS.replace('if __name__ == "__main__":', "if True:")])
def test_a_script_without_its_guard_is_told_of_it(text: str, tmp_path: Path) -> None:
    guarded = text is TRAINS
    out = run(tmp_path, text, ["processes", "fork" if not guarded else "spawn", "2"])
    assert "all epochs done 2" in out


FORKS = """
import os
import sys
import warnings
warnings.filterwarnings("ignore", "This process", DeprecationWarning)  # of Python, from 3.12 on: it has threads
from gedanken import Callback, Hogwild, Stop, WorkerError
from tests.parallel.made import Made, arrays, network

ACTS = ["raises", "stops", "goes on"]

class Forks(Callback):
    def __init__(self):
        self.children, self.act = [], ""

    def on_step(self, run, record):
        if not self.act and record.step > 5 and len(self.children) < len(ACTS):
            child = os.fork()
            if child:
                self.children.append(child)
                return None
            self.act = ACTS[len(self.children)]
            if self.act == "raises":
                raise KeyError("of the fork")
            if self.act == "stops":
                return Stop("in the fork")
        return None

def train(data):
    forks, own = Forks(), network()
    parallel = Hogwild(workers=2, backend=sys.argv[1], start_method=sys.argv[2])
    how = {"mini_batch_size": 4} if len(data) == 2 else {}
    try:
        history = own.fit(*data, epochs=3, progress=False, callbacks=[forks], parallel=parallel, **how)
    except Exception as error:
        assert forks.act, "the owner's training ended"
        wanted = KeyError if forks.act == "raises" else WorkerError
        assert isinstance(error, wanted), error
        assert wanted is KeyError or "of which this one is a fork" in str(error), error
        assert network().fit(*arrays(), progress=False).reason == "all epochs done"
        sys.exit(7)
    assert not forks.act, forks.act
    assert [record.samples for record in history.epochs] == [600] * 3
    assert [os.waitpid(child, 0)[1] >> 8 for child in forks.children] == [7] * len(ACTS), ACTS

if __name__ == "__main__":
    train(arrays(600))
    train([Made(600, mini_batch_size=4)])
    print("done")
"""


@pytest.mark.parametrize(("backend", "method"), WAYS)
def test_a_fork_leaves_the_workers_alone(backend: str, method: str, tmp_path: Path) -> None:
    assert "done" in run(tmp_path, FORKS, [backend, method])


FEW = """
import os
import resource
import sys
from gedanken import GedankenError, Hogwild
from tests.parallel.made import arrays, network

if __name__ == "__main__":
    net, data = network(), arrays(64)
    how = {"mini_batch_size": 8, "progress": False}
    net.fit(*data, **how, parallel=Hogwild(workers=1, backend="threads"))
    parallel = Hogwild(workers=2, backend=sys.argv[1], start_method=sys.argv[2])
    ends = set()
    step = 3 if sys.argv[2] in ("auto", "fork") else 6  # programs that workers start take their time
    for limit in reversed(range(31, 3, -step)):
        if not os.fork():
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            try:
                net.fit(*data, **how, parallel=parallel)
                os._exit(0)
            except GedankenError as error:
                os._exit(1 if "descriptors" in str(error) else 2)
            except BaseException as error:
                os.write(2, f"{limit}: {error!r}".encode())
                os._exit(3)
        ends.add(os.wait()[1] >> 8)
    print("done" if {0, 1} <= ends <= {0, 1, 2} else ends)
"""


@pytest.mark.parametrize(("backend", "method"), WAYS)
def test_too_few_descriptors_are_told_of(backend: str, method: str, tmp_path: Path) -> None:
    assert "done" in run(tmp_path, FEW, [backend, method], says=None, tracebacks=range(100))


def test_a_deleted_working_folder_leaves_threads(tmp_path: Path) -> None:
    program = """
    import os
    import tempfile
    from gedanken import ArgumentError, Hogwild
    from tests.parallel.made import Made, arrays, network

    def train(*data, how={"mini_batch_size": 8}, **options):
        history = network().fit(*data, **how, progress=False, parallel=Hogwild(workers=2, **options))
        return history.epochs[0].parallel["workers"]

    if __name__ == "__main__":
        os.chdir(tempfile.mkdtemp())
        os.rmdir(os.getcwd())
        gone = "the working folder, in which Python would start others, was deleted"
        assert train(*arrays()) == f"2 threads: no processes: {gone}"
        assert gone in train(Made(mini_batch_size=8), how={})
        for method in ("forkserver", "spawn", "fork"):
            try:
                train(*arrays(), backend="processes", start_method=method)
            except ArgumentError as error:
                assert gone in str(error), error
            else:
                raise AssertionError(method)
        print("done")
    """
    assert "done" in run(tmp_path, program)


def test_little_memory_is_an_error(tmp_path: Path) -> None:
    program = """
    import resource
    from gedanken import Hogwild
    from tests.parallel.made import arrays, network

    if __name__ == "__main__":
        net, (x, y) = network(), arrays(200)
        net.fit(x, y, mini_batch_size=8, progress=False)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 10, 1 << 10))
        import signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            net.fit(x, y, mini_batch_size=8, parallel=Hogwild(workers=2), progress=False)
        except MemoryError as error:
            print(error)
    """
    assert "bytes of shared memory for the parameters and 2 workers" in run(tmp_path, program)
