"""What ranks say to each other arrives, or is told not to: in process, by MPI, and alone."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gedanken.ranks.communicator import Communicator, RankError
from gedanken.ranks.in_process import Fault, Link, Threads, World
from gedanken.ranks.serial import Serial
from tests.ranks.contract import CONTRACT

MPIEXEC = Path(sys.executable).with_name("mpiexec")


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_ranks_that_are_threads_keep_the_contract(size: int, check: Callable[[Communicator], None]) -> None:
    assert World(size).run(check) == [None] * size


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
def test_a_rank_alone_keeps_the_contract(check: Callable[[Communicator], None]) -> None:
    check(Serial())


@pytest.mark.parametrize("size", [1, 2, 4])
def test_ranks_of_mpi_keep_the_contract(size: int) -> None:
    pytest.importorskip("mpi4py", reason="needs mpi4py and an MPI: pip install gedanken[mpi]")
    if not MPIEXEC.exists():
        pytest.skip(f"needs {MPIEXEC.name} beside Python: pip install mpich")
    command = [str(MPIEXEC), "-n", str(size), sys.executable, "-m", "tests.ranks.contract"]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("checks hold") == size


def rounds(ranks: Threads) -> int:
    """Add up vectors twenty times, and return how often that went well."""
    for number in range(20):
        ranks.work(1.0)
        try:
            ranks.add(np.ones(100, np.float32))
        except RankError:
            return number
    return 20


@pytest.mark.parametrize("call", range(0, 20, 3))
@pytest.mark.parametrize("kind", ["kill", "freeze", "drop"])
@pytest.mark.parametrize("size", [2, 4])
def test_a_rank_that_is_lost_anywhere_is_told_to_all_others(size: int, kind: str, call: int) -> None:
    world = World(size, faults=[Fault(1, call, kind)])
    done = world.run(rounds)
    others = [found for rank, found in enumerate(done) if rank != 1]
    assert all(isinstance(found, int) and found < 20 for found in others), done
    slowest = max(rank.clock for rank in world.ranks)
    assert slowest < 20 + size * world.deadline


def test_a_late_message_is_waited_for_up_to_the_deadline() -> None:
    assert World(2, faults=[Fault(0, 4, "delay", 9.0)]).run(rounds) == [20, 20]
    assert World(2, faults=[Fault(0, 4, "delay", 11.0)]).run(rounds) != [20, 20]


def test_time_goes_by_as_the_link_says() -> None:
    def send(ranks: Threads) -> float:
        if ranks.rank == 0:
            ranks.work(2.0)
            ranks.send(np.zeros(125_000, np.float64), 1)
        else:
            ranks.receive(np.empty(125_000, np.float64), 0)
        return ranks.clock

    assert World(2, Link(latency=0.5, bandwidth=1e6)).run(send) == [2.0, 3.5]


def test_those_that_are_left_go_on_among_themselves() -> None:
    def go_on(ranks: Threads) -> list[float]:
        with pytest.raises(RankError) as raised:
            ranks.add(np.zeros(2))
        assert raised.value.lost == {2}
        left, vector = ranks.shrink(), np.full(2, 10.0 + ranks.rank)
        left.add(vector)
        return [left.size, left.rank, *vector.tolist()]

    assert World(4, faults=[Fault(2, 0, "kill")]).run(go_on) == [
        [3, 0, 34.0, 34.0],
        [3, 1, 34.0, 34.0],
        None,
        [3, 2, 34.0, 34.0],
    ]
