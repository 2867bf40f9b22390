"""What Linux tells of a process and all that it started."""

import contextlib
import os
import signal
from pathlib import Path
from typing import NamedTuple

TICK = 1 / os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


class Process(NamedTuple):
    parent: int
    session: int
    alive: bool
    seconds: float  # of processor time, its dead children's with it


def table() -> dict[int, Process]:
    """Return all processes, also the dead that nobody asked for yet."""
    found = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                seconds = TICK * sum(map(int, fields[11:15]))
                found[int(entry.name)] = Process(int(fields[1]), int(fields[3]), fields[0] not in "ZX", seconds)
    return found


def tree(root: int) -> dict[int, Process]:
    """Return the process and its descendants."""
    every = table()
    found = {root: every[root]}
    grown = True
    while grown:
        more = {number: one for number, one in every.items() if one.parent in found and number not in found}
        found |= more
        grown = bool(more)
    return found


def cpu_seconds() -> float:
    """Return the processor time of this process and its descendants."""
    return sum(one.seconds for one in tree(os.getpid()).values())


def busy_seconds() -> float:
    """Return the processor time of everything that runs on the machine, since it was started."""
    user, nice, system, _, _, *interrupts = map(int, (PROC / "stat").read_text().splitlines()[0].split()[1:9])
    return TICK * (user + nice + system + sum(interrupts))


def memory() -> float:
    """Return their memory in MB: what processes share counts once, for each in equal parts."""
    total = 0.0
    for number in tree(os.getpid()):
        with contextlib.suppress(OSError):
            lines = (PROC / str(number) / "smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    return total


def session(leader: int) -> list[int]:
    """Return the processes of a session that run or wait."""
    return [number for number, one in table().items() if one.alive and one.session == leader]


def end_session(leader: int) -> int:
    """Kill what is left of a session; return how many processes that were."""
    left = session(leader)
    for number in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    return len(left)
