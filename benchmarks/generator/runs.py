"""Starts `single.py` for one run of one loader, and sees to it that nothing is left of it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import processes
from single import Job

SINGLE = str(Path(__file__).with_name("single.py"))
GRACE = 10  # seconds: after the limit, in which the process ends itself; after its end, for what it started
PROCESSORS = 2


class RunError(Exception):
    """A loader failed."""


def run(job: Job) -> dict[str, Any]:
    """Return the figures of a run; "shutdown" is from leaving the loop until the last process is gone.

    The processes of a loader inherit the pipes, so the end of the pipes is the end of most of them. Those that closed
    the pipes have some time more; what is left then are orphans.
    """
    command = [sys.executable, SINGLE, json.dumps(job._asdict())]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    try:
        out, errors = process.communicate(timeout=job.limit + GRACE)
        ended = _gone(process.pid)
    except subprocess.TimeoutExpired:
        raise RunError(f"did not end in {job.limit} s") from None
    finally:
        orphans = processes.end_session(process.pid)
        process.wait()
    if process.returncode == -signal.SIGKILL:
        raise RunError(f"did not end in {job.limit} s")
    if process.returncode or not out:
        raise RunError(_reason(errors) or f"ended with status {process.returncode}")
    figures = json.loads(out.splitlines()[-1])
    return figures | {"shutdown": ended - figures.pop("left"), "orphans": orphans}


def _gone(leader: int) -> float:
    """Return the time at which no process of the session was left."""
    began = ended = time.monotonic()
    while processes.session(leader) and ended - began < GRACE:
        time.sleep(0.01)
        ended = time.monotonic()
    return ended


def _reason(errors: str) -> str:
    """Return the last line that names an exception, else the last line."""
    lines = [line for line in errors.splitlines() if line.strip()]
    named = [line for line in lines if "Error" in line.split(":")[0] and not line.startswith(" ")]
    return (named or lines or [""])[-1][:300]


def prepare_driver() -> None:
    """Keep all that is started on so many processors; let SIGTERM end this program as Ctrl-C does."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:PROCESSORS])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def log(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
