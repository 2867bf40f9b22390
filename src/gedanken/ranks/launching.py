"""How several ranks of one script are started, watched and ended: by the launcher of whatever MPI is installed."""

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gedanken.checks import real, require, whole
from gedanken.errors import MissingPackageError
from gedanken.ranks.communicator import DEADLINE
from gedanken.ranks.ending import Process, end, ends_with_us, started_by, sweep, sweep_old, sweep_when_they_ended
from gedanken.ranks.hosts import LOOK, Host, address_for, answering
from gedanken.ranks.joined import RANKS
from gedanken.ranks.ray_launcher import ROOM, ROOM_AGAIN, command_by_ray, room_for
from gedanken.ranks.signs import ALIVE, ENDED, FAILED, LAUNCHER, LEFT, MOST, NOBODY, Watch

LOST = 1  # the exit status where a rank gave no sign, or is gone without a word
HANDED_ON = ("GEDANKEN_", "PYTHON", "OPENBLAS_", "OMP_", "MKL_")  # names that begin so mean something to ranks
START = 60.0  # seconds that all ranks have to begin, or the deadline where that is longer


class Installed(NamedTuple):
    """The MPI that is installed.

    Args:
        mpiexec: the path of its launcher.
        is_open: whether it is Open MPI. There ranks may go on without one that is lost.
    """

    mpiexec: str
    is_open: bool

    def command(self, ranks: int, hosts: Sequence[Host]) -> list[str]:
        """Return the command that starts so many of what follows."""
        places = ",".join(f"{host.name}:{host.ranks}" for host in hosts)
        command = [self.mpiexec, "-n", str(ranks)]
        if not self.is_open:
            return [*command, *(["-hosts", places] if places else [])]
        command += ["--with-ft", "ulfm", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1"]
        command += ["--allow-run-as-root"] if os.geteuid() == 0 else []
        # MPICH hands the whole environment on; to Open MPI each name has to be told.
        own = [name for name in {*os.environ, RANKS, LAUNCHER} if name.startswith(HANDED_ON)]
        command += [word for name in sorted(own) for word in ("-x", name)]
        return [*command, *(["--host", places] if places else ["--oversubscribe"])]


def installed() -> Installed:
    """Return the MPI whose launcher is beside this Python, else the first on the PATH.

    Raises:
        MissingPackageError: there is none, or no mpi4py.
    """
    if importlib.util.find_spec("mpi4py") is None:
        raise MissingPackageError("several ranks need mpi4py: pip install gedanken[mpi]")
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None:
        raise MissingPackageError("several ranks need an MPI with its mpiexec: pip install gedanken[mpi]")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603 - the user's MPI
    return Installed(found, "Open MPI" in version or "OpenRTE" in version)


class Work(NamedTuple):
    """What is launched.

    Args:
        ranks: how many, 1 to 1,024.
        hosts: where; none: all on this machine.
        script: its path, and its arguments.
        deadline: seconds for which a rank may give no sign, 1 at least.
        restarts: how often all are started again after a rank was lost.
        address: this machine's, as the other hosts reach it; "": the one on the way to the first of them.
        ray: whether a Ray cluster has the machines: at a restart fewer ranks will do, those for which it has room.
    """

    ranks: int
    hosts: Sequence[Host]
    script: Sequence[str]
    deadline: float = DEADLINE
    restarts: int = 3
    address: str = ""
    ray: bool = False


class Outcome(NamedTuple):
    """What came of one start.

    Args:
        status: the exit status.
        lost: what is known of a loss, in words; "": there was none.
        begun: whether a rank was there.
    """

    status: int
    lost: str = ""
    begun: bool = True


def launch(work: Work, tell: Callable[[str], None]) -> int:
    """Run a script as several ranks, and return its exit status.

    Where a rank is lost, and not because the script raised, all are ended and started again on the hosts that answer: a
    script that trains with a Checkpoint and `resume=` its folder goes on from there.

    Args:
        work: what.
        tell: takes what there is to say on the way, a line.

    Raises:
        ArgumentError, MissingPackageError: before anything is started.
    """
    whole("-n", work.ranks, at_most=MOST)
    whole("--restarts", work.restarts, at_least=0)
    real("--deadline", work.deadline, "[1, inf)")
    require(Path(work.script[0]).is_file(), "the script", "be a file", work.script[0])
    address_for(work.hosts, work.address)
    mpi, begun = installed(), False
    if work.ray:
        command_by_ray(mpi.mpiexec, work.ranks, [])  # what is missing is told before anything is started
        asked, work = work.ranks, _placed_by_ray(work, ROOM)
        if work.ranks < asked:
            tell(f"Ray has no room for {asked} ranks, it has for {work.ranks}")
            return LOST
    for left in reversed(range(work.restarts + 1)):
        outcome = _Start(mpi, work, tell)()
        begun = begun or outcome.begun
        if not outcome.lost:
            break
        if not begun:
            tell(f"{outcome.lost}: no rank has begun")
            break
        work = _placed_by_ray(work, ROOM_AGAIN) if work.ray else _what_is_left(mpi, work, tell)
        if work.ranks == 0:
            tell(f"{outcome.lost}; no host is left")
            break
        again = f"{work.ranks} are started again, {left} times at most" if left else "it was the last restart"
        tell(f"{outcome.lost}; {again}")
    return outcome.status


def _placed_by_ray(work: Work, seconds: float) -> Work:
    """Return the work for the ranks for which a Ray cluster has room within some time."""
    room = room_for(work.ranks, seconds)
    return work._replace(ranks=room.ranks, address=room.address)


def _what_is_left(mpi: Installed, work: Work, tell: Callable[[str], None]) -> Work:
    """Return the work without the hosts that do not answer."""
    if not work.hosts:
        return work
    hosts = answering(work.hosts, lambda host: mpi.command(1, [host]), work.deadline)
    for host in work.hosts:
        if host not in hosts:
            tell(f"host {host.name} does not answer, and is left out with its {host.ranks} ranks")
    return work._replace(hosts=hosts, ranks=min(work.ranks, sum(host.ranks for host in hosts)))


class _Start:
    """One start of all ranks.

    Args:
        mpi, work, tell: see `launch`.
    """

    def __init__(self, mpi: Installed, work: Work, tell: Callable[[str], None]) -> None:
        self._mpi, self._work, self._tell = mpi, work, tell
        self._signals = list[int]()  # that came
        self._started = set[Process]()  # on this machine, by MPI's launcher

    def __call__(self) -> Outcome:
        """Run the script to its end, or to a loss."""
        work = self._work
        self._watch = Watch(address_for(work.hosts, work.address), work.ranks)
        environment = {**os.environ, RANKS: str(work.ranks), LAUNCHER: self._watch.told(work.deadline)}
        command = self._command()
        self._process = subprocess.Popen(command, env=environment, preexec_fn=ends_with_us)  # noqa: S603, PLW1509 - the user's script; there are no threads
        try:
            with self._passing_on():
                lost = self._until_it_ends()
        finally:
            end(self._process, self._started)
            for _ in range(work.ranks + 1):  # what was said last
                self._watch.look(0)
            self._watch.close()
            sweep_when_they_ended() if self._process.returncode else sweep()
            sweep_old()
        return self._outcome(lost)

    def _command(self) -> list[str]:
        work, own = self._work, [sys.executable, "-m"]
        if work.ray:
            return command_by_ray(self._mpi.mpiexec, work.ranks, [*own, "gedanken.ranks.tied", *work.script])
        return [*self._mpi.command(work.ranks, work.hosts), *own, "gedanken.ranks.start", *work.script]

    def _until_it_ends(self) -> str:
        """Watch until MPI's launcher has ended; return what was lost where it must be ended."""
        watch, work, began, decided = self._watch, self._work, time.monotonic(), 0.0
        missed = list[int]()
        while self._process.poll() is None:
            watch.look(LOOK)
            if watch.complete and not self._started:
                self._started = started_by(self._process.pid)
            now = time.monotonic()
            if watch.said(FAILED) or watch.said(ENDED) == work.ranks or self._signals:
                decided = decided or now
                if now > decided + work.deadline or len(self._signals) > 1:
                    return ""  # what it has come to is known, and MPI does not end
            elif silent := watch.silent(work.deadline):
                return f"{_named(silent)} gave no sign for {work.deadline:g} s"
            elif gone := self._gone():
                return f"{_named(gone)} was lost"
            elif not watch.complete and now > began + max(START, work.deadline):
                return f"not all ranks began within {max(START, work.deadline):g} s"
            elif (gone := watch.gone(ALIVE)) != missed:
                missed = gone
                self._tell(f"{_named(gone)} was lost; the others may go on")
        return ""

    def _gone(self) -> list[int]:
        """Return the ranks that are lost, where the others cannot go on: without fault tolerance, or without rank 0."""
        all_gone = self._watch.gone(ALIVE, LEFT)
        return all_gone if not self._mpi.is_open or 0 in all_gone else self._watch.gone(LEFT)

    def _outcome(self, lost: str) -> Outcome:
        watch, code = self._watch, self._process.returncode
        status, begun = code if code >= 0 else 128 - code, watch.begun
        if self._signals or watch.said(FAILED):
            return Outcome(status or LOST)
        if lost:
            return Outcome(status or LOST, lost, begun)
        gone = watch.gone(ALIVE, LEFT)
        ended = watch.said(ENDED)
        if ended == self._work.ranks or (self._mpi.is_open and ended and not watch.gone(LEFT)):
            return Outcome(0)  # those that are left came to the end
        return Outcome(status or LOST, f"{_named(gone)} was lost (exit status {status or LOST})", begun)

    @contextlib.contextmanager
    def _passing_on(self) -> Iterator[None]:
        """Let the ranks have the signals that would end this process, and wait for what they make of them."""

        def pass_on(number: int, _: Any) -> None:
            self._signals.append(number)
            self._process.send_signal(number)

        before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _named(ranks: Sequence[int]) -> str:
    known = ", ".join(str(rank) for rank in ranks if rank != NOBODY)
    return f"rank {known}" if known else "a rank"
