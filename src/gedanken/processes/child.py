"""What a worker process does before its work: it leaves Ctrl-C to its owner, and ends when its owner does."""

import contextlib
import faulthandler
import fcntl
import multiprocessing
import os
import select
import signal
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from gedanken.processes.memory import Descriptor
from gedanken.processes.raised import pack_error, unpack_error, words


def settle(owner: int, stacks: Descriptor, foreign: Sequence[int]) -> None:
    """Make this process a worker of its owner.

    Args:
        owner: process id of it.
        stacks: where threads write down where they stand, when asked by SIGUSR1.
        foreign: descriptors that a forked process has too and must not keep.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    _be_killed_with_owner()
    for fd in foreign:
        os.close(fd)
    threading.Thread(target=_end_with_owner, args=(owner,), daemon=True).start()
    faulthandler.register(signal.SIGUSR1, stacks.fd, all_threads=True)


def send_warnings(send: Callable[[Warning], None]) -> None:
    """Let warnings of the user's code be sent to the owner, who gives them again where somebody sees them."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        warning = message if isinstance(message, Warning) else UserWarning(message)
        if not isinstance(unpack_error(pack_error(warning)), Warning):  # of a class that cannot be sent
            warning = UserWarning(f"{type(warning).__name__}: {words(warning, str)}")
        send(warning)

    warnings.showwarning = show


def _be_killed_with_owner() -> None:
    """Let Linux kill this process when its owner is gone, even while code that holds Python's lock runs.

    The owner holds the other end of a pipe to which nobody writes, so its hang-up is its end.
    """
    parent = multiprocessing.parent_process()
    with contextlib.suppress(OSError, AttributeError):  # another system
        assert parent is not None
        fcntl.fcntl(parent.sentinel, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(parent.sentinel, fcntl.F_SETSIG, signal.SIGKILL)
        flags = fcntl.fcntl(parent.sentinel, fcntl.F_GETFL)
        fcntl.fcntl(parent.sentinel, fcntl.F_SETFL, flags | os.O_ASYNC)


def _end_with_owner(owner: int) -> None:
    """Wait for the owner's end, and end: user code may be running that nobody waits for any more."""
    try:
        fd: int = os.pidfd_open(owner)
    except (AttributeError, OSError):  # another system, or an old one
        parent = multiprocessing.parent_process()
        assert parent is not None
        fd = parent.sentinel
    waiting = select.poll()
    waiting.register(fd, select.POLLIN)
    waiting.poll()
    os._exit(1)
