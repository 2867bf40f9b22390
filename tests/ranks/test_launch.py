"""`gedanken launch` with real processes: what ranks compute, and what becomes of all when one of them fails."""

import mmap
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gedanken.errors import ArgumentError
from gedanken.ranks.ending import sweep, sweep_old
from gedanken.ranks.hosts import Host, hosts_of

MPIEXEC = Path(sys.executable).with_name("mpiexec")
HAS_MPI = pytest.mark.skipif(not MPIEXEC.exists(), reason="needs mpi4py and an MPI: pip install gedanken[mpi]")
SCRIPT = """
import os, signal, sys, zlib
import numpy as np
from gedanken import *
from gedanken.ranks.joined import joined

rank, what, whom = joined().rank, sys.argv[1], int(sys.argv[2])
x, y = np.random.default_rng(0).random((300, 6)).astype("f4"), np.arange(300) % 3
net = Network(seed=1).input((6,)).add(FullyConnectedLayer(16)).add(ReLU()).add(FullyConnectedLayer(3)).add(SoftMax())
net.regression("adam", engine="cpu")

history = net.fit(x, y, mini_batch_size=24, epochs=3, parallel=DataParallel(), progress=False)
if what != "none" and rank == whom:
    if what == "raise":
        raise OSError("the disk is gone")
    os.kill(os.getpid(), getattr(signal, what))
history = net.fit(x, y, mini_batch_size=24, epochs=1, parallel=DataParallel(), progress=False)
digest = zlib.crc32(b"".join(value.tobytes() for value in net.arrays().values()))
sys.stderr.write(f"rank {rank} has {digest}\\n")
print(f"{history['cost'][-1]:.4f}")
"""


def launched(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    script = folder / "train.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "gedanken", "launch", "--restarts", "0", *words[:-2], str(script), *words[-2:]]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@HAS_MPI
def test_ranks_learn_what_one_process_learns(tmp_path: Path) -> None:
    told = {}
    for ranks in (1, 2, 4):
        done = launched(tmp_path, "-n", str(ranks), "none", "0")
        assert done.returncode == 0, done.stderr
        digests = {line.split()[-1] for line in done.stderr.splitlines() if line.startswith("rank ")}
        assert len(digests) == 1, "the ranks have the same bits"
        told[ranks] = done.stdout
    assert len(set(told.values())) == 1, "one rank's output alone is shown, and it is the same for any number"


@HAS_MPI
@pytest.mark.parametrize("whom", [0, 1])
@pytest.mark.parametrize("what", ["raise", "SIGKILL", "SIGSTOP"])
def test_a_rank_that_fails_ends_all(tmp_path: Path, what: str, whom: int) -> None:
    began = time.monotonic()
    done = launched(tmp_path, "-n", "2", "--deadline", "2", what, str(whom))
    assert done.returncode != 0
    assert time.monotonic() - began < 60
    if what == "raise":
        assert "the disk is gone" in done.stderr
    if what == "SIGSTOP":
        assert f"rank {whom} gave no sign for 2 s" in done.stderr


def test_memory_that_killed_ranks_left_is_removed(tmp_path: Path) -> None:
    left, used, other = (tmp_path / name for name in ("mpich_shm_1_0", "mpich_shm_2_0", "torch_1"))
    for one in (left, used, other):
        one.write_bytes(bytes(4096))
    with used.open("r+b") as file, mmap.mmap(file.fileno(), 4096):
        sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == [used, other]


RESUMED = """
import os, signal, sys, zlib
import numpy as np
from gedanken import *
from gedanken.ranks.joined import joined

where, kind, whom = sys.argv[1], sys.argv[2], int(sys.argv[3])
x, y = np.random.default_rng(0).random((300, 6)).astype("f4"), np.arange(300) % 3
net = Network(seed=1).input((6,)).add(FullyConnectedLayer(16)).add(ReLU()).add(FullyConnectedLayer(3)).add(SoftMax())
net.regression("adam", engine="cpu")

class Dies(ArrayGenerator):
    def get_mini_batches(self, index):
        begun = os.path.exists(where + "/checkpoints") and not os.path.exists(where + "/died")
        if kind != "none" and index == 5 and joined().rank == whom and begun:
            open(where + "/died", "w").close()
            os.kill(os.getpid(), getattr(signal, kind))
        return super().get_mini_batches(index)

data, how = Dies(x, y, mini_batch_size=24, workers=0), {"parallel": DataParallel(), "progress": False}
history = net.fit(data, epochs=4, callbacks=[Checkpoint("epoch")], resume=where, **how)
digest = zlib.crc32(b"".join(value.tobytes() for value in net.arrays().values()))
print(len(history.epochs), digest)
"""


@HAS_MPI
@pytest.mark.parametrize("whom", [0, 1])
@pytest.mark.parametrize("kind", ["SIGKILL", "SIGSTOP"])
def test_a_training_that_lost_a_rank_goes_on_from_its_checkpoint(tmp_path: Path, kind: str, whom: int) -> None:
    script, told = tmp_path / "train.py", []
    script.write_text(RESUMED)
    for what in ("none", kind):
        folder = tmp_path / what
        folder.mkdir()
        command = [sys.executable, "-m", "gedanken", "launch", "-n", "2", "--deadline", "2", str(script)]
        done = subprocess.run(
            [*command, str(folder), what, str(whom)], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        told.append(done.stdout.splitlines()[-1])
    assert (tmp_path / kind / "died").exists()
    assert "2 are started again" in done.stderr
    assert told[0] == told[1], "the same epochs and the same bits as without the loss"


LEAVES = """
import os, sys
import numpy as np
from gedanken import *
from gedanken.ranks.joined import joined

if joined().rank == int(sys.argv[2]):
    {"exit": lambda: sys.exit(0), "vanish": lambda: os._exit(0)}[sys.argv[1]]()
net = Network(seed=1).input((6,)).add(FullyConnectedLayer(3)).add(SoftMax()).regression("sgd", engine="cpu")
net.fit(np.ones((30, 6)), np.arange(30) % 3, parallel=DataParallel(), progress=False)
"""


@HAS_MPI
@pytest.mark.parametrize("whom", [0, 1])
@pytest.mark.parametrize(("how", "told"), [("exit", "at the end of the script"), ("vanish", "was lost")])
def test_a_rank_that_leaves_early_is_told_of(tmp_path: Path, how: str, told: str, whom: int) -> None:
    script = tmp_path / "train.py"
    script.write_text(LEAVES)
    command = [sys.executable, "-m", "gedanken", "launch", "-n", "2", "--restarts", "0", str(script), how, str(whom)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert told in done.stderr


@HAS_MPI
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_keep_no_rank_from_its_work(tmp_path: Path, closed: str) -> None:
    script = tmp_path / "train.py"
    script.write_text("")
    command = f"exec {sys.executable} -m gedanken launch -n 2 '{script}' {closed}"
    assert subprocess.run(["sh", "-c", command], capture_output=True, timeout=60, check=False).returncode == 0


@HAS_MPI
def test_ctrl_c_ends_all_ranks(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text("import time\nprint('here', flush=True)\ntime.sleep(60)\n")
    command = [sys.executable, "-m", "gedanken", "launch", "-n", "2", str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "here\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) != 0


def test_hosts_are_read() -> None:
    assert hosts_of("a:2,b") == [Host("a", 2), Host("b", 1)]


@pytest.mark.parametrize("text", ["", "a:", "a:0", "a:x", ":2", "a:2,,b", "a:-1"])
def test_hosts_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ArgumentError, match=r"^--hosts must be names with a number of ranks each"):
        hosts_of(text)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-n", "0", "missing.py"], "-n must be a whole number"),
        (["-n", "2", "missing.py"], "the script must be a file, got 'missing.py'"),
        (["missing.py"], "-n must say how many ranks there are, or --hosts where"),
        (["-n", "5", "--hosts", "a:2,b:2", "missing.py"], "-n must be at most 4, the ranks of --hosts, got 5"),
        (["-n", "2", "--deadline", "0", "missing.py"], "--deadline must"),
    ],
)
def test_mistakes_are_told_before_anything_starts(words: list[str], told: str) -> None:
    command = [sys.executable, "-m", "gedanken", "launch", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ))
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1


OVERLAPPED = """
import sys
import numpy as np
from gedanken import *
from gedanken.parallel import gradient_sums
from gedanken.ranks.joined import joined

joined().local, gradient_sums.BUCKET = 1, 4096  # as if each rank were on a machine of its own
x, y = np.random.default_rng(0).random((300, 60)).astype("f4"), np.arange(300) % 3
net = Network(seed=1).input((60,)).add(FullyConnectedLayer(50, bias=False)).add(BatchNorm()).add(ReLU())
net.add(FullyConnectedLayer(50)).add(ReLU()).add(FullyConnectedLayer(3)).add(SoftMax()).regression("adam", engine="cpu")
history = net.fit(x, y, mini_batch_size=24, epochs=3, parallel=DataParallel(), progress=False)
print(f"{history['cost'][-1]:.4f}")
"""


@HAS_MPI
def test_gradients_are_added_up_beside_the_backward_pass(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(OVERLAPPED)
    command = [sys.executable, "-m", "gedanken", "launch", "--restarts", "0"]
    alone, several = (
        subprocess.run([*start, str(script)], capture_output=True, text=True, timeout=120, check=False)
        for start in ([sys.executable], [*command, "-n", "3"])
    )
    assert (several.returncode, several.stdout) == (0, alone.stdout), several.stderr


def test_what_mpich_left_is_removed_when_it_is_old(tmp_path: Path) -> None:
    old, new, other = (tmp_path / name for name in ("hydra_hwloc_xmlfile_a", "hydra_hwloc_xmlfile_b", "mine"))
    for one in (old, new, other):
        one.write_text("")
    for one in (old, other):
        os.utime(one, (0, 0))
    sweep_old(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([new, other])
