"""How several ranks of one script are started, watched and ended: by the launcher of whatever MPI is installed."""

import importlib.util
import mmap
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from gedanken.checks import require, whole
from gedanken.errors import MissingPackageError
from gedanken.ranks.communicator import DEADLINE, RankError
from gedanken.ranks.joined import RANKS

PULSES = "GEDANKEN_PULSES"  # the file in which ranks of this machine show that they are alive
MOST_RANKS = 1024
PULSE = struct.Struct("d")  # the time of a rank's last sign, by the clock that all processes of a machine share
SIGN = 0.5  # seconds between two signs
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

    def __init__(self, path: str, ranks: int) -> None:
        with open(path, "r+b") as file:
            self._signs = mmap.mmap(file.fileno(), ranks * PULSE.size)

    def beat(self, rank: int) -> None:
        """Show that a rank is alive."""
        PULSE.pack_into(self._signs, rank * PULSE.size, time.monotonic())

    def silent(self, ranks: int, deadline: float) -> list[int]:
        """Return the ranks that gave a sign once, and none for longer than the deadline; those that ended gave -1."""
        signs = [PULSE.unpack_from(self._signs, rank * PULSE.size)[0] for rank in range(ranks)]
        return [rank for rank, sign in enumerate(signs) if 0 < sign < time.monotonic() - deadline]

    def rest(self, rank: int) -> None:
        """Say that a rank has ended as it should."""
        PULSE.pack_into(self._signs, rank * PULSE.size, -1.0)


def launch(ranks: int, hosts: Sequence[Host], script: Sequence[str], deadline: float = DEADLINE) -> int:
    """Run a script as several ranks, and return its exit status.

    Args:
        ranks: how many, 1 to 1,024.
        hosts: where; none: all on this machine.
        script: its path, and its arguments.
        deadline: seconds for which a rank of this machine may give no sign.

    Raises:
        ArgumentError, MissingPackageError: before anything is started.
        RankError: a rank gave no sign for too long; all were ended.
    """
    whole("-n", ranks, at_most=MOST_RANKS)
    require(Path(script[0]).is_file(), "the script", "be a file", script[0])
    with tempfile.TemporaryDirectory(prefix="gedanken-") as folder:
        path = os.path.join(folder, "pulses")
        Path(path).write_bytes(bytes(ranks * PULSE.size))
        environment = {**os.environ, RANKS: str(ranks), PULSES: path}
        process = subprocess.Popen(command_of(launcher(), ranks, hosts, script), env=environment)  # noqa: S603 - the user's script
        try:
            with _passing_on(process):
                return _watched(process, Pulses(path, ranks), ranks, deadline)
        finally:
            sweep()


def _watched(process: "subprocess.Popen[bytes]", pulses: Pulses, ranks: int, deadline: float) -> int:
    """Wait for the end of all ranks; end them where one of them gives no sign."""
    while True:
        try:
            return process.wait(LOOK)
        except subprocess.TimeoutExpired:
            if silent := pulses.silent(ranks, deadline):
                end(process)
                names = ", ".join(map(str, silent))
                raise RankError(f"rank {names} gave no sign for {deadline:g} s; all were ended", silent) from None


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


@contextmanager
def _passing_on(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Let the ranks have the signals that would end this process, and wait for what they make of them."""

    def pass_on(number: int, _: Any) -> None:
        process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
