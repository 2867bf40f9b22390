"""What neither a fork nor the end of the program may cut in two."""

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
