"""How several ranks of one script are started, watched and ended: by the launcher of whatever MPI is installed."""

import contextlib
import importlib.util
import itertools
import mmap
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gedanken.checks import real, require, whole
from gedanken.errors import MissingPackageError
from gedanken.ranks.communicator import DEADLINE
from gedanken.ranks.joined import RANKS
from gedanken.ranks.ray_launcher import command_by_ray, room_for

PULSES = "GEDANKEN_PULSES"  # the file in which ranks of this machine show that they are alive
MOST_RANKS = 1024
PULSE = struct.Struct("d")  # the time of a rank's last sign, by the clock that all processes of a machine share
SIGN = 0.5  # seconds between two signs
LOST = 1  # the exit status where a rank gave no sign, or is gone without a word
LOOK = 0.1  # seconds between two looks of the launcher


class Host(NamedTuple):
    """A machine, and how many ranks it gets."""

    name: str
    ranks: int


def hosts_of(text: str) -> list[Host]:
    """Return the hosts that a text names, as in "a:2,b:2".

    Raises:
        ArgumentError: it names none.
    """
    hosts = list[Host]()
    for part in text.split(","):
        name, _, count = part.partition(":")
        sound = name.strip() and (count or "1").isdecimal() and int(count or "1") > 0
        require(bool(sound), "--hosts", "be names with a number of ranks each, such as a:2,b:2", text)
        hosts.append(Host(name.strip(), int(count or "1")))
    return hosts


def launcher() -> str:
    """Return the path of the MPI's launcher: that beside this Python, else the first on the PATH.

    Raises:
        MissingPackageError: there is none, or no mpi4py.
    """
    if importlib.util.find_spec("mpi4py") is None:
        raise MissingPackageError("several ranks need mpi4py: pip install gedanken[mpi]")
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None:
        raise MissingPackageError("several ranks need an MPI with its mpiexec: pip install gedanken[mpi]")
    return found


def command_of(mpiexec: str, ranks: int, hosts: Sequence[Host], script: Sequence[str]) -> list[str]:
    """Return the command that starts the ranks of a script."""
    version = subprocess.run([mpiexec, "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603 - the user's MPI
    command, own = [mpiexec, "-n", str(ranks)], [sys.executable, "-m", "gedanken.ranks.start", *script]
    places = ",".join(f"{host.name}:{host.ranks}" for host in hosts)
    if "Open MPI" not in version and "OpenRTE" not in version:
        return [*command, *(["-hosts", places] if places else []), *own]
    command += ["--oversubscribe", "--mca", "mpi_yield_when_idle", "1"]
    command += ["--allow-run-as-root"] if os.geteuid() == 0 else []
    command += ["-x", RANKS, "-x", PULSES]
    return [*command, *(["--host", places] if places else []), *own]


class Pulses:
    """The last sign of each rank of this machine, in a file that the ranks write and the launcher reads."""

    ENDED, FAILED = -1.0, -2.0  # of a rank whose script came to its end, or raised

    def __init__(self, path: str, ranks: int) -> None:
        self._ranks = ranks
        with open(path, "r+b") as file:
            self._signs = mmap.mmap(file.fileno(), ranks * PULSE.size)

    def beat(self, rank: int) -> None:
        """Show that a rank is alive."""
        self.set(rank, time.monotonic())

    def set(self, rank: int, sign: float) -> None:
        """Set a rank's sign."""
        PULSE.pack_into(self._signs, rank * PULSE.size, sign)

    def silent(self, deadline: float) -> list[int]:
        """Return the ranks that gave a sign once, and none for longer than the deadline."""
        return [rank for rank, sign in enumerate(self._all()) if 0 < sign < time.monotonic() - deadline]

    @property
    def vanished(self) -> bool:
        """Whether a rank gave signs and did not come to its end: asked when all are gone."""
        return any(sign > 0 for sign in self._all())

    @property
    def failed(self) -> bool:
        """Whether the script raised on a rank."""
        return self.FAILED in self._all()

    def _all(self) -> list[float]:
        return [PULSE.unpack_from(self._signs, rank * PULSE.size)[0] for rank in range(self._ranks)]


class Work(NamedTuple):
    """What is launched.

    Args:
        ranks: how many, 1 to 1,024.
        hosts: where; none: all on this machine.
        script: its path, and its arguments.
        deadline: seconds for which a rank of this machine may give no sign.
        restarts: how often all are started again after a rank was lost.
        ray: whether a Ray cluster has the machines: at a restart fewer ranks will do, those for which it has room.
    """

    ranks: int
    hosts: Sequence[Host]
    script: Sequence[str]
    deadline: float = DEADLINE
    restarts: int = 3
    ray: bool = False


def launch(work: Work, tell: Callable[[str], None]) -> int:
    """Run a script as several ranks, and return its exit status.

    Where a rank is lost, and not because the script raised, all are ended and started again: a script that trains with
    a Checkpoint and `resume=` its folder goes on from there.

    Args:
        work: what.
        tell: takes what there is to say on the way, a line.

    Raises:
        ArgumentError, MissingPackageError: before anything is started.
    """
    whole("-n", work.ranks, at_most=MOST_RANKS)
    whole("--restarts", work.restarts, at_least=0)
    real("--deadline", work.deadline, "(0, inf)")
    require(Path(work.script[0]).is_file(), "the script", "be a file", work.script[0])
    commands = _commands(work)
    for left, command in zip(reversed(range(work.restarts + 1)), commands):  # noqa: B905 - they do not end
        status, lost = _launched(command, work)
        if not lost:
            break
        tell(f"{lost}; {f'all are started again, {left} times at most' if left else 'it was the last restart'}")
    return status


def _commands(work: Work) -> Iterator[list[str]]:
    """Yield the commands of the first start and of those after it."""
    mpiexec = launcher()
    if not work.ray:
        yield from itertools.repeat(command_of(mpiexec, work.ranks, work.hosts, work.script))
    own = [sys.executable, "-m", "gedanken.ranks.tied", *work.script]
    yield command_by_ray(mpiexec, work.ranks, own)
    while True:
        yield command_by_ray(mpiexec, room_for(work.ranks).ranks or work.ranks, own)


def _launched(command: Sequence[str], work: Work) -> tuple[int, str]:
    """Run all ranks once; return their exit status and, where one was lost, what is known of it."""
    with tempfile.TemporaryDirectory(prefix="gedanken-") as folder:
        path = os.path.join(folder, "pulses")
        Path(path).write_bytes(bytes(work.ranks * PULSE.size))
        environment = {**os.environ, RANKS: str(work.ranks), PULSES: path}
        process = subprocess.Popen(command, env=environment)  # noqa: S603 - the user's script
        pulses = Pulses(path, work.ranks)
        try:
            with _passing_on(process) as passed:
                while process.poll() is None:
                    if silent := pulses.silent(work.deadline):
                        end(process)
                        return LOST, f"rank {', '.join(map(str, silent))} gave no sign for {work.deadline:g} s"
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(LOOK)
        finally:
            sweep()
        status = process.returncode if process.returncode >= 0 else 128 - process.returncode
        status = status or (LOST if pulses.vanished else 0)
        lost = status != 0 and not pulses.failed and not passed
        return status, f"a rank was lost (exit status {status})" if lost else ""


def sweep(shared: Path = Path("/dev/shm")) -> None:  # noqa: S108 - where MPI puts its memory
    """Remove memory of MPI's that ranks which were killed have left: it is this user's, and no process has it."""
    left = [one for kind in ("mpich_shm_*", "sm_segment.*") for one in shared.glob(kind)]
    mine = [one for one in left if one.exists() and one.stat().st_uid == os.geteuid()]
    mapped = "".join(map(_maps, Path("/proc").glob("[0-9]*"))) if mine else ""
    for one in mine:
        if str(one) not in mapped:
            one.unlink(missing_ok=True)


def _maps(process: Path) -> str:
    try:
        return (process / "maps").read_text(errors="replace")
    except OSError:  # it has ended, or is another user's
        return ""


def end(process: "subprocess.Popen[bytes]") -> None:
    """End all ranks, also those that stand still, which their launcher would wait for."""
    process.terminate()
    try:
        process.wait(2.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def _passing_on(process: "subprocess.Popen[bytes]") -> Iterator[list[int]]:
    """Let the ranks have the signals that would end this process, and wait for what they make of them.

    The list has the signals that came.
    """
    came: list[int] = []

    def pass_on(number: int, _: Any) -> None:
        came.append(number)
        process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
