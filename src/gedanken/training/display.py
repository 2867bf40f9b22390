"""Where text for a person goes: a terminal, a notebook, or a file. Nothing that happens there ends a training."""

import contextlib
import io
import os
import select
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from gedanken.checks import printable, warn
from gedanken.texts import BETWEEN, cut, width

WIDTH = 80  # of a terminal that does not tell
PIECE = 512  # bytes that a pipe takes at once where it takes any
WAITING_TEXT = 1 << 16  # bytes kept for a reader that is slow; what comes beyond is dropped
LARGEST = 1024  # number of a file that `select` does not know
LAST_SECONDS = 1.0  # for which such a reader is waited for at the end


class Display:
    """Lines that stay, and one live line below them where the place can show one.

    It is a guest: a place that is closed, full, gone or broken is left alone from then on, with one warning (unless
    that would go to the same place); one that takes nothing at the moment is not waited for.

    Args:
        stream: where to write; None is standard error as it is now, or what stands below a notebook's cell.
        quiet: show pictures only.
    """

    def __init__(self, stream: Any = None, quiet: bool = False) -> None:
        self._notebook = notebook() if stream is None else None
        usual = sys.stdout if self._notebook else sys.stderr
        self._stream = usual if stream is None else stream
        self._quiet = quiet or self._stream is None
        self._file = None if self._quiet or self._notebook else _file_number(self._stream)
        self._terminal = not self._quiet and self._notebook is None and _is_terminal(self._stream)
        self._handle: Any = None
        self._live = ""
        self._waiting = b""

    @property
    def lively(self) -> bool:
        """Whether a live line can be shown."""
        return not self._quiet and (self._terminal or self._notebook is not None)

    def live(self, head: str, figures: Sequence[str], tail: str) -> None:
        """Replace the live line: head, as many figures as there is room for, tail."""
        if self._notebook is not None:
            self._guarded(lambda: self._notebook_live(BETWEEN.join([head, *figures, tail])))
        elif self._terminal and not self._waiting:
            room = self._columns() - 1
            self._live = cut(fitted(printable(head), list(map(printable, figures)), printable(tail), room), room)
            self._guarded(lambda: self._write(f"\r{self._live}\x1b[K"))

    def line(self, *parts: str) -> None:
        """Add a line that stays; on a terminal one that is too long goes on in further lines, between two parts."""
        lines = [BETWEEN.join(map(printable, parts))]
        if self._terminal:
            lines = wrapped(list(map(printable, parts)), self._columns() - 1)
        begin, self._live = "\r\x1b[K" if self._live else "", ""
        if self._handle is not None:
            self._guarded(lambda: self._handle.update({"text/plain": ""}, raw=True))
        self._guarded(lambda: self._write(begin + "".join(f"{line}\n" for line in lines)))

    def figure(self, png: bytes) -> None:
        """Show a picture, where the place can."""
        if self._notebook is not None:
            self._notebook.display({"image/png": png}, raw=True)

    def end(self) -> None:
        """Give a slow reader a moment to take what is left."""
        self._guarded(lambda: self._pour(LAST_SECONDS))

    def _guarded(self, act: Callable[[], Any]) -> None:
        if self._quiet:
            return
        try:
            act()
        except Exception as error:
            self._quiet = True
            if self._stream is sys.stderr:
                return  # a warning would go the same way
            with contextlib.suppress(Exception):  # warnings may be errors
                warn(f"progress is not shown any more: {type(error).__name__}: {error}")

    def _notebook_live(self, text: str) -> None:
        assert self._notebook is not None
        content = {"text/plain": text}
        if self._handle is None:
            self._handle = self._notebook.display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or WIDTH
        except (AttributeError, OSError, ValueError):
            return WIDTH

    def _write(self, text: str) -> None:
        if self._file is None:
            _write_to(self._stream, text)
            return
        self._stream.flush()
        content = text.encode(self._stream.encoding, "backslashreplace")
        if len(self._waiting) + len(content) <= WAITING_TEXT:
            self._waiting += content
        self._pour(0.0)

    def _pour(self, seconds: float) -> None:
        """Write what is waiting to the file itself: a buffer of Python's would keep, and raise at exit, what failed."""
        until = time.monotonic() + seconds
        while self._file is not None and self._waiting and _takes(self._file, max(0.0, until - time.monotonic())):
            try:
                done = os.write(self._file, self._waiting[:PIECE])
            except BlockingIOError:
                return
            self._waiting = self._waiting[done:]


def _takes(file: int, seconds: float) -> bool:
    return bool(select.select([], [file], [], seconds)[1])


def _file_number(stream: Any) -> int | None:
    """Return the number of the file below a plain text stream of a POSIX system, or None for all other streams."""
    if os.name != "posix" or type(stream) is not io.TextIOWrapper:
        return None
    try:
        raw = getattr(stream.buffer, "raw", stream.buffer)
        number = raw.fileno() if type(raw) is io.FileIO else LARGEST
    except ValueError:  # it is closed or detached
        return None
    return number if number < LARGEST else None


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty()) and os.environ.get("TERM") != "dumb"
    except Exception:  # it has no such method, or is closed
        return False


def _write_to(stream: Any, text: str) -> None:
    """Write to anything that has a `write`."""
    try:
        stream.write(text)
    except UnicodeEncodeError:
        stream.write(text.encode("ascii", "backslashreplace").decode())
    flush = getattr(stream, "flush", None)
    if flush is not None:
        flush()


def fitted(head: str, figures: list[str], tail: str, columns: int) -> str:
    """Return one line with as many of the figures, the first ones, as there is room for."""
    while figures and width(BETWEEN.join([head, *figures, tail])) > columns:
        figures = figures[:-1]
    return BETWEEN.join([head, *figures, tail])


def wrapped(parts: list[str], columns: int) -> list[str]:
    """Return lines of whole parts that fit into so many columns where the parts do; further ones are indented."""
    lines = [parts[0]]
    for part in parts[1:]:
        longer = lines[-1] + BETWEEN + part
        if width(longer) <= columns:
            lines[-1] = longer
        else:
            lines.append(BETWEEN + part)
    return lines


def notebook() -> Any:
    """Return IPython's display module where a notebook kernel runs this program."""
    shell = sys.modules.get("IPython.core.getipython")
    found = shell.get_ipython() if shell else None
    return sys.modules["IPython.display"] if found is not None and hasattr(found, "kernel") else None
