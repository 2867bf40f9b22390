"""What neither a fork nor the end of the program may cut in two, and threads that an interrupted import cannot stop."""

import _imp
import atexit
import contextlib
import os
import threading

PATIENCE = 30.0  # seconds that the program's end waits; a compiler never takes so long

# Held by whoever calls LLVM or imports what does. A process that is forked while another thread does so would keep the
# locks of LLVM and of Python's imports for ever, and a program that ends takes LLVM away from under it.
UNCUT = threading.RLock()


def _go_on() -> None:
    with contextlib.suppress(RuntimeError):  # Ctrl-C came while the fork waited for the lock
        UNCUT.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=UNCUT.acquire, after_in_parent=_go_on, after_in_child=_go_on)
atexit.register(UNCUT.acquire, timeout=PATIENCE)


def start_thread(thread: threading.Thread) -> None:
    """Start a thread that may import.

    Where Ctrl-C has ended an import between two lines of Python's own, this thread still holds Python's lock for all
    imports (CPython takes it before the `try` that gives it back). It does not notice, but any other thread that
    imports waits for ever. So what is left of it is given back first: a thread that has come here imports nothing.
    """
    with contextlib.suppress(RuntimeError):  # it is another thread's, which imports just now
        while _imp.lock_held():
            _imp.release_lock()
    thread.start()
