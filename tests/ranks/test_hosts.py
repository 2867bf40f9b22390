"""`gedanken launch --hosts` on two hosts, and what becomes of a training when one is lost, cut off or frozen."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ranks import hosts
from tests.ranks.test_launch import HAS_MPI

pytestmark = [HAS_MPI, pytest.mark.skipif(bool(hosts.missing()), reason=hosts.missing())]
LAUNCH = (sys.executable, "-m", "gedanken", "launch")
EPOCHS, BATCHES = 4, 13
TRAINS = """
import os, signal, sys, time
import numpy as np
from gedanken import *
from gedanken.ranks.joined import joined

where, kind = sys.argv[1], sys.argv[2]
x, y = np.random.default_rng(0).random((300, 6)).astype("f4"), np.arange(300) % 3
net = Network(seed=1).input((6,)).add(FullyConnectedLayer(16)).add(ReLU()).add(FullyConnectedLayer(3)).add(SoftMax())
net.regression("adam", engine="cpu")

class Meets(ArrayGenerator):
    asked = 0  # since the first checkpoint

    def get_mini_batches(self, index):
        begun = os.path.exists(where + "/run/checkpoints") and not os.path.exists(where + "/now")
        self.asked += begun
        if kind != "none" and self.asked == 100 and joined().rank == joined().size - 1:
            open(where + "/now", "w").close()
            if kind.startswith("SIG"):
                os.kill(os.getpid(), getattr(signal, kind))
            while not os.path.exists(where + "/done"):
                time.sleep(0.02)
        return super().get_mini_batches(index)

class Logs(Callback):
    def on_step(self, run, record):
        with open(where + "/log", "a") as log:
            log.write(f"{record.step}\\n")

data, how = Meets(x, y, mini_batch_size=24, workers=0), {"parallel": DataParallel(), "progress": False}
history = net.fit(data, epochs=4, callbacks=[Checkpoint("epoch"), Logs()], resume=where + "/run", **how)
print(joined().size, *history["cost"])
"""


@pytest.fixture
def two(tmp_path: Path) -> Iterator[hosts.Hosts]:
    with hosts.two_hosts(tmp_path) as made:
        yield made


def begin(two: hosts.Hosts, folder: Path, kind: str, *words: str) -> "subprocess.Popen[str]":
    script = folder / "train.py"
    script.write_text(TRAINS)
    options = ["--hosts", "first:1,second:1", "--deadline", "3", *words]
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    return two.start(*LAUNCH, *options, str(script), str(folder), kind, **both)


def wait_for(file: Path, process: "subprocess.Popen[str]") -> None:
    while not file.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def nothing_is_left(two: hosts.Hosts) -> bool:
    until = time.monotonic() + 30
    while two.first.processes() + two.second.processes() and time.monotonic() < until:
        time.sleep(0.1)
    return two.first.processes() + two.second.processes() == []


def test_two_hosts_train_together(two: hosts.Hosts, tmp_path: Path) -> None:
    process = begin(two, tmp_path, "none")
    out, told = process.communicate(timeout=100)
    assert process.returncode == 0, told
    assert out.split()[0] == "2"
    assert len((tmp_path / "log").read_text().split()) == EPOCHS * BATCHES


@pytest.mark.parametrize("kind", ["SIGKILL", "SIGSTOP", "part", "lose"])
def test_a_training_goes_on_with_what_is_left(two: hosts.Hosts, tmp_path: Path, kind: str) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    process = begin(two, tmp_path, kind)
    script = [sys.executable, str(tmp_path / "train.py"), str(whole), "none"]
    wanted = subprocess.run(script, capture_output=True, text=True, timeout=100, check=True).stdout.split()
    wait_for(tmp_path / "now", process)
    if not kind.startswith("SIG"):
        getattr(two, kind, two.second.lose)()
    (tmp_path / "done").touch()
    out, told = process.communicate(timeout=100)
    assert process.returncode == 0, told
    got = out.splitlines()[-1].split()
    assert [float(cost) for cost in got[1:]] == pytest.approx([float(cost) for cost in wanted[1:]], abs=1e-5)
    assert got[0] == ("2" if kind.startswith("SIG") else "1"), "how many ranks ended the training"
    assert ("host second does not answer, and is left out with its 1 ranks" in told) == (got[0] == "1")
    again = len((tmp_path / "log").read_text().split()) - EPOCHS * BATCHES
    assert 0 < again <= BATCHES, "mini-batches of one checkpoint's interval at most are lost"
    assert nothing_is_left(two)


def test_ranks_reach_the_launcher_by_the_address_that_is_told(two: hosts.Hosts, tmp_path: Path) -> None:
    process = begin(two, tmp_path, "none", "--address", "fd77::1")
    out, told = process.communicate(timeout=100)
    assert process.returncode == 0, told
    assert out.split()[0] == "2"


def test_nothing_is_left_where_the_launcher_is_killed(two: hosts.Hosts, tmp_path: Path) -> None:
    process = begin(two, tmp_path, "wait")
    wait_for(tmp_path / "now", process)
    launcher = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(launcher[0]), signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL
    assert nothing_is_left(two)
    for stream in (process.stdout, process.stderr):
        assert stream
        stream.close()
