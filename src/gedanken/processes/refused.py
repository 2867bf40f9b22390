"""What the system may refuse to workers, and what to do about it."""

import contextlib
import errno
import os
from collections.abc import Iterator

from gedanken.errors import WorkerError

FEWER = "ask for fewer workers"
REASONS = {
    errno.EMFILE: f"there are no more file descriptors (of {{descriptors}}); {FEWER}, or raise the limit (ulimit -n)",
    errno.ENFILE: f"the system has no more file descriptors; {FEWER}",
    errno.EAGAIN: f"there may be no more processes; {FEWER}, or raise the limit (ulimit -u)",
    errno.ENOMEM: f"there is too little memory; {FEWER}",
}


@contextlib.contextmanager
def granted(failed: str) -> Iterator[None]:
    """Say what to do where the system refuses what workers need.

    Args:
        failed: what cannot be done then; the message begins with it.

    Raises:
        WorkerError: the system refused.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in REASONS:
            raise
        why = REASONS[error.errno].format(descriptors=os.sysconf("SC_OPEN_MAX"))
        raise WorkerError(f"{failed}: {why}") from error
