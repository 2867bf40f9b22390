"""How many processors, and how much memory, there are for this process."""

import contextlib
import math
import os


def usable_processors() -> int:
    """Return how many processors this process may use, by its affinity and its container's share of time."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return math.ceil(max(1, min(allowed, _share())))


def memory_bytes() -> float:
    """Return the machine's memory, or what its container grants of it; infinity where the system does not tell."""
    try:
        there = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return math.inf
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            return min(there, float(_words(path)[0].replace("max", "inf")))
    return there


def _share() -> float:
    """Return the processors that Linux control groups grant, or infinity."""
    try:
        quota, period = _words("/sys/fs/cgroup/cpu.max")
    except (OSError, ValueError):
        try:
            folder = "/sys/fs/cgroup/cpu/"
            (quota,), (period,) = _words(f"{folder}cpu.cfs_quota_us"), _words(f"{folder}cpu.cfs_period_us")
        except (OSError, ValueError):
            return math.inf
    return int(quota) / int(period) if quota.isdigit() else math.inf


def _words(path: str) -> list[str]:
    with open(path, encoding="ascii") as file:
        return file.read().split()
