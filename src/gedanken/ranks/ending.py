"""How ranks are ended for certain, and what they leave behind removed.

As a program, `python -m gedanken.ranks.ending SECONDS`, it waits a while and removes what was left.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

PR_SET_PDEATHSIG = 1  # the number of Linux's
BEGAN = 18  # where /proc says when a process began, from its parent on
OLD = 600.0  # seconds after which no rank still reads what was noted for its start
PATIENCE = 2.0  # seconds that MPI's launcher has to end all by itself


class Process(NamedTuple):
    """A process, and when it began: another may get its number."""

    number: int
    began: str


def ends_with_us() -> None:
    """Let this process, a child that is about to start a program, be killed where its parent is."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def end(process: "subprocess.Popen[Any]", started: Iterable[Process] = ()) -> None:
    """End MPI's launcher and all that it has started on this machine, also what stands still.

    On other machines MPI's own processes see that it is gone; ranks that lose their launcher end themselves.

    Args:
        process: the launcher, which may have ended.
        started: what it has started, as far as that was known before.
    """
    if process.poll() is None:
        started = {*started, *started_by(process.pid)}
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        process.kill()
        process.wait()
    _kill(started)


def started_by(process: int) -> set[Process]:
    """Return what a process has started, and what that has started."""
    every = {int(one.name): _stat(int(one.name)) for one in Path("/proc").glob("[0-9]*")}
    found, new = set[Process](), {process}
    while new:
        new = {child for child, stat in every.items() if stat and int(stat[0]) in new}
        found |= {Process(child, every[child][BEGAN]) for child in new}
    return found


def _kill(every: Iterable[Process]) -> None:
    for one in every:
        if _stat(one.number)[BEGAN:] == [one.began]:
            with contextlib.suppress(OSError):  # it has ended
                os.kill(one.number, signal.SIGKILL)


def _stat(process: int) -> list[str]:
    """Return a process's parent, and at `BEGAN` when it began; [] where it has ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1 : 2 + BEGAN]
    except OSError:
        return []


def beside(parent: int) -> set[Process]:
    """Return what a process of MPI's has started, and itself."""
    return {Process(parent, "".join(_stat(parent)[BEGAN:])), *started_by(parent)}


def end_rank(parent: int, known: Iterable[Process]) -> None:
    """End this rank, which has lost its launcher, those beside it, also what stands still, and what has started them.

    MPI's own processes would wait for the launcher's network.

    Args:
        parent: the process of MPI's that had started this one.
        known: what was found beside this one, as far as it was looked for.
    """
    every = {*known, *(beside(parent) if os.getppid() == parent else ())}
    own = [sys.executable, "-m", "gedanken.ranks.ending", str(PATIENCE)]
    with contextlib.suppress(OSError):
        subprocess.Popen(own, start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)  # noqa: S603
    _kill(one for one in every if one.number != os.getpid())
    os._exit(1)


def sweep(shared: Path = Path("/dev/shm")) -> bool:  # noqa: S108 - where MPI puts its memory
    """Remove memory of MPI's that ranks which were killed have left: it is this user's, and no process has it.

    Returns:
        Whether there is such memory that a process has, of other ranks or of some that are ending.
    """
    left = [one for kind in ("mpich_shm_*", "sm_segment.*") for one in shared.glob(kind)]
    mine = [one for one in left if one.exists() and one.stat().st_uid == os.geteuid()]
    mapped = "".join(map(_maps, Path("/proc").glob("[0-9]*"))) if mine else ""
    for one in mine:
        if str(one) not in mapped:
            one.unlink(missing_ok=True)
    return any(str(one) in mapped for one in mine)


def sweep_old(folder: Path | None = None, age: float = OLD) -> None:
    """Remove what MPICH's launcher has noted of the machine for ranks and, where it was ended, left behind."""
    for one in (folder or Path(tempfile.gettempdir())).glob("hydra_hwloc_xmlfile_*"):
        with contextlib.suppress(OSError):  # somebody else has removed it
            stat = one.stat()
            if stat.st_uid == os.geteuid() and stat.st_mtime < time.time() - age:
                one.unlink()


def _maps(process: Path) -> str:
    try:
        return (process / "maps").read_text(errors="replace")
    except OSError:  # it has ended, or is another user's
        return ""


def sweep_when_they_ended() -> None:
    """Remove what killed ranks have left, some of which may be ending."""
    until = time.monotonic() + PATIENCE / 2
    while sweep() and time.monotonic() < until:
        time.sleep(PATIENCE / 20)


if __name__ == "__main__":
    time.sleep(float(sys.argv[1]))
    sweep_when_they_ended()
