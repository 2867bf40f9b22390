"""What commands write: results on standard output, all that is said about the work on standard error.

Results must arrive: a reader who has gone or a full disk ends a command. What is said about the work need not: nothing
that happens to standard error ends a command.
"""

import contextlib
import errno
import io
import os
import sys
from typing import Any

from gedanken.checks import printable_lines


class NobodyReadsError(Exception):
    """Whatever read standard output has gone."""


def prepare() -> None:
    """Make the standard streams take any text, and keep files that are opened from becoming one of them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
            os.set_inheritable(nowhere, True)  # programs that are started would have it closed again
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def show(text: str) -> None:
    """Write a result.

    Raises:
        NobodyReadsError: its reader has gone.
        OSError: it cannot be written.
    """
    if sys.stdout is None:
        raise OSError(errno.EBADF, "is closed", "standard output")
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _silence(sys.stdout)
        raise NobodyReadsError from None
    except OSError as error:
        _silence(sys.stdout)
        raise OSError(error.errno, error.strerror, "standard output") from error


def note(text: str) -> None:
    """Write text about the work, if anybody can read it."""
    if sys.stderr is not None:
        try:
            print(printable_lines(text), file=sys.stderr, flush=True)
        except (OSError, ValueError):
            _silence(sys.stderr)


def tell(kind: str, text: str) -> None:
    """Write an error or a warning as a line."""
    note(f"gedanken: {kind}: {' '.join(text.split())}")


def finish() -> None:
    """Leave nothing in the streams that would fail when the program ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            _silence(stream)


def _silence(stream: Any) -> None:
    """Let what a stream still holds go nowhere."""
    with contextlib.suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())
        stream.flush()
