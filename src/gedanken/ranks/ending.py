"""How ranks are ended for certain, and what they leave behind removed.

As a program, `python -m gedanken.ranks.ending SECONDS`, it waits a while and removes what was left.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PATIENCE = 2.0  # seconds that MPI's launcher has to end all by itself


def end(process: "subprocess.Popen[Any]") -> None:
    """End MPI's launcher and all that it has started on this machine, also what stands still.

    On other machines MPI's own processes see that it is gone; ranks that lose their launcher end themselves.
    """
    if process.poll() is None:
        started = [process.pid, *_descendants(process.pid)]
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        for one in started:
            if one != process.pid or process.returncode is None:
                with contextlib.suppress(OSError):  # it has ended
                    os.kill(one, signal.SIGKILL)
        process.wait()


def _descendants(process: int) -> list[int]:
    parents = dict[int, int]()
    for one in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            parents[int(one.name)] = int((one / "stat").read_text().rpartition(")")[2].split()[1])
    found, new = list[int](), [process]
    while new:
        new = [child for child, parent in parents.items() if parent in new]
        found += new
    return found


def end_rank(parent: int) -> None:
    """End this rank, which has lost its launcher, and those beside it: nobody else would.

    Args:
        parent: the process of MPI's that had started this one, and would wait for the launcher's network.
    """
    own = [sys.executable, "-m", "gedanken.ranks.ending", str(PATIENCE)]
    with contextlib.suppress(OSError):
        subprocess.Popen(own, start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)  # noqa: S603
    if os.getppid() == parent:
        with contextlib.suppress(OSError):
            os.kill(parent, signal.SIGTERM)
    time.sleep(PATIENCE / 2)  # it ends the other ranks, also those that stand still, before it misses this one
    os._exit(1)


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


if __name__ == "__main__":
    time.sleep(float(sys.argv[1]))
    sweep()
