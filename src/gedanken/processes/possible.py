"""Which kinds of workers this process can have, and how worker processes are best started."""

import multiprocessing
import os
import sys
import tempfile

METHODS = ("fork", "forkserver", "spawn")
MOST_FOLDER_BYTES = 70  # the name of a socket in it has 32 more, and systems allow 103 to 107


def processes_possible() -> str:
    """Return why this process can have no worker processes, or nothing."""
    if os.name != "posix":
        return "worker processes need a POSIX system"
    if multiprocessing.current_process().daemon:
        return "a daemon process may have no children"
    try:
        os.getcwd()
    except FileNotFoundError:
        return "the working folder, in which Python would start others, was deleted"
    return ""


def default_method() -> str:
    """Return the safest way to start processes that starts fast."""
    possible = "forkserver" in multiprocessing.get_all_start_methods() and not no_socket()
    return "forkserver" if possible else "spawn"


def no_socket() -> str:
    """Return why the server of processes cannot have its socket in the folder of temporary files, or nothing."""
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError as error:
        return f"no folder of temporary files can be written to: {error.strerror}"
    if len(os.fsencode(folder)) <= MOST_FOLDER_BYTES:
        return ""
    return f"the folder of temporary files (TMPDIR) has more than {MOST_FOLDER_BYTES} bytes in its name, {folder}"


def lock_free() -> bool:
    """Return whether this Python runs threads side by side."""
    return not getattr(sys, "_is_gil_enabled", lambda: True)()
