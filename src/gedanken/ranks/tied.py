"""A rank that ends with the process that started it: python -m gedanken.ranks.tied SCRIPT [ARGUMENT ...]

Where that is not done, ranks on another machine would outlive MPI's process there, which a cluster has ended, and keep
processors busy.
"""

import os
import signal

from gedanken.ranks.ending import ends_with_us
from gedanken.ranks.start import main


def tie() -> None:
    """Let the end of the parent be that of this process."""
    parent = os.getppid()
    ends_with_us()
    if os.getppid() != parent:  # it has ended meanwhile
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    tie()
    main()
