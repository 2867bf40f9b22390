"""A rank that ends with the process that started it: python -m gedanken.ranks.tied SCRIPT [ARGUMENT ...]

Where that is not done, ranks on another machine would outlive MPI's process there, which a cluster has ended, and keep
processors busy.
"""

import ctypes
import os
import signal

from gedanken.ranks.start import main

PR_SET_PDEATHSIG = 1  # Linux: which signal comes when the parent ends


def tie() -> None:
    """Let the end of the parent be that of this process."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended meanwhile
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    tie()
    main()
