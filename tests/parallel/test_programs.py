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
