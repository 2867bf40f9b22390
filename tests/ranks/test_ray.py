"""`gedanken launch --ray` on a real Ray cluster of two nodes, both on this machine."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gedanken.errors import MissingPackageError
from gedanken.ranks.ray_launcher import command_by_ray, room_for

MPIEXEC = Path(sys.executable).with_name("mpiexec")
MISSING = importlib.util.find_spec("ray") is None or not MPIEXEC.exists()
HAS_RAY = pytest.mark.skipif(MISSING, reason="needs Ray, mpi4py and MPICH: pip install ray gedanken[mpi]")
MEMORY = 80_000_000  # bytes of Ray's own on each node
SCRIPT = """
import os, sys, time, zlib
import numpy as np
from gedanken import *
from gedanken.ranks.joined import joined

x, y = np.random.default_rng(0).random((300, 6)).astype("f4"), np.arange(300) % 3
net = Network(seed=1).input((6,)).add(FullyConnectedLayer(16)).add(ReLU()).add(FullyConnectedLayer(3)).add(SoftMax())
net.regression("adam", engine="cpu")

open(f"process-{os.getpid()}", "w").close()

class Loses(ArrayGenerator):
    def get_mini_batches(self, index):
        begun = os.path.exists("run/checkpoints") and not os.path.exists("lost")
        if sys.argv[1] == "loses" and index == 5 and joined().rank == joined().size - 1 and begun:
            open("lost", "w").close()
            with open(f"/proc/{os.getppid()}/stat") as file:  # of the proxy, which Ray's worker has started
                os.kill(int(file.read().rpartition(")")[2].split()[1]), 9)
        if sys.argv[1] == "waits" and joined().size == 4 and begun:
            open("waiting", "w").close()
            time.sleep(60)
        return super().get_mini_batches(index)

data, how = Loses(x, y, mini_batch_size=24, workers=0), {"parallel": DataParallel(), "progress": False}
history = net.fit(data, epochs=4, callbacks=[Checkpoint("epoch")], resume="run", **how)
digest = zlib.crc32(b"".join(value.tobytes() for value in net.arrays().values()))
sys.stderr.write(f"rank {joined().rank} of {joined().size} has {digest} {os.environ['OWN']}\\n")
print(len(history.epochs), digest)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Run a head with two processors and a node with as many, in a process whose end is theirs."""
    code = f"""
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args=dict(num_cpus=2, object_store_memory={MEMORY}))
node = cluster.add_node(num_cpus=2, object_store_memory={MEMORY})
print(cluster.address, flush=True)
for line in sys.stdin:
    cluster.remove_node(node, allow_graceful=False)
    print("removed", flush=True)
cluster.shutdown()
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin
        process.stdin.close()
        process.wait(60)


@pytest.fixture(scope="module")
def environment(cluster: "subprocess.Popen[str]") -> dict[str, str]:
    assert cluster.stdout
    return {**os.environ, "RAY_ADDRESS": cluster.stdout.readline().strip(), "OWN": "own"}


def launched(folder: Path, environment: dict[str, str], *words: str) -> "subprocess.CompletedProcess[str]":
    (folder / "train.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "gedanken", "launch", "--ray", "-n", *words]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )


def left_of(folder: Path, count: int) -> list[str]:
    """Return the processes of ranks that are still there, of so many that began."""
    ranks = [file.name.partition("-")[2] for file in folder.glob("process-*")]
    assert len(ranks) == count
    return [rank for rank in ranks if Path("/proc", rank).exists()]


@HAS_RAY
def test_ranks_on_two_nodes_learn_what_one_process_learns(tmp_path: Path, environment: dict[str, str]) -> None:
    done = launched(tmp_path, environment, "4", "train.py", "none")
    assert done.returncode == 0, done.stderr
    told = [line.split() for line in done.stderr.splitlines() if line.startswith("rank ")]
    assert sorted(words[1:4] for words in told) == [[str(rank), "of", "4"] for rank in range(4)]
    assert {words[6] for words in told} == {"own"}, "the environment is passed on"
    assert {words[5] for words in told} == {done.stdout.split()[-1]}, "the ranks have the same bits"
    assert done.stdout.split()[:-1] == ["4"], "rank 0 alone is shown, and nothing of MPI's launcher"


@HAS_RAY
def test_a_training_whose_ray_task_is_lost_goes_on(tmp_path: Path, environment: dict[str, str]) -> None:
    told = []
    for what in ("none", "loses"):
        folder = tmp_path / what
        folder.mkdir()
        done = launched(folder, environment, "4", "train.py", what)
        assert done.returncode == 0, done.stderr
        told.append(done.stdout.splitlines()[-1])
    assert (folder / "lost").exists()
    assert "Ray lost the ranks of a node" in done.stderr
    assert "are started again" in done.stderr
    assert told[0] == told[1], "the same epochs and the same bits as without the loss"
    assert not left_of(folder, 8), "also none of the task that was lost"


@HAS_RAY
def test_more_ranks_than_processors_are_refused(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "gedanken.ranks.ray_launcher", "5", "3", str(MPIEXEC), "none"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "Ray has found no processors for 5 ranks in 3 s" in done.stderr


@HAS_RAY
def test_the_cluster_tells_how_many_ranks_it_has_room_for(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", environment["RAY_ADDRESS"])
    assert [room_for(ranks).ranks for ranks in (3, 5)] == [3, 4]
    assert room_for(1).address == environment["RAY_ADDRESS"].partition(":")[0]


FOR_EVER = """
import time
from pathlib import Path
Path("sign").touch()
print("here", flush=True)
while True:
    Path("sign").touch()
    time.sleep(0.05)
"""


@HAS_RAY
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_all_end_with_the_launcher(tmp_path: Path, environment: dict[str, str], number: int) -> None:
    """Also where it is killed and can end nobody itself."""
    (tmp_path / "train.py").write_text(FOR_EVER)
    command = [sys.executable, "-m", "gedanken", "launch", "--ray", "-n", "1", "train.py"]
    nothing = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=nothing) as process:
        assert process.stdout
        assert process.stdout.readline() == b"here\n"
        process.send_signal(number)
        assert process.wait(30) != 0
    for _ in range(100):
        (tmp_path / "sign").unlink(missing_ok=True)
        time.sleep(0.3)
        if not (tmp_path / "sign").exists():
            return
    raise AssertionError("the rank goes on")


@HAS_RAY
def test_a_training_that_lost_a_node_goes_on_with_the_ranks_that_are_left(
    tmp_path: Path, environment: dict[str, str], cluster: "subprocess.Popen[str]"
) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "gedanken", "launch", "--ray", "-n", "4", "train.py", "waits"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        while not (tmp_path / "waiting").exists():
            assert process.poll() is None
            time.sleep(0.1)
        assert cluster.stdin and cluster.stdout
        cluster.stdin.write("remove the node\n")
        cluster.stdin.flush()
        assert cluster.stdout.readline() == "removed\n"
        _, told = process.communicate(timeout=240)
    assert process.returncode == 0, told
    assert "are started again" in told
    assert "rank 1 of 2 has" in told
    assert not left_of(tmp_path, 6), "also none of the node that was lost"


def test_without_ray_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match="--ray needs Ray: pip install ray"):
        command_by_ray("mpiexec", 2, ["python"])


def test_hosts_and_ray_exclude_each_other() -> None:
    command = [sys.executable, "-m", "gedanken", "launch", "--ray", "--hosts", "a:2", "missing.py"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "--hosts must be left out with --ray" in done.stderr
