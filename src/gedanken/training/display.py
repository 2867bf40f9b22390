"""Where text for a person goes: a terminal, a notebook, or a file; the only place that writes to standard output."""

import os
import sys
from typing import Any, TextIO

WIDTH = 80  # of a terminal that does not tell


class Display:
    """Lines that stay, and one live line below them where the place can show one.

    Args:
        stream: where to write; None is standard error as it is now.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream: TextIO | None = stream or sys.stderr
        self._notebook = notebook() if stream is None else None
        self._handle: Any = None
        self._terminal = self._notebook is None and self._stream is not None and self._stream.isatty()
        self._live = ""

    @property
    def lively(self) -> bool:
        """Whether a live line can be shown."""
        return self._terminal or self._notebook is not None

    def live(self, text: str) -> None:
        """Replace the live line."""
        if self._notebook is not None:
            self._notebook_live(text)
        elif self._terminal:
            self._live = text[: self._columns() - 1]
            self._write(f"\r{self._live}\x1b[K")

    def line(self, text: str) -> None:
        """Add a line that stays."""
        if self._live:
            self._write("\r\x1b[K")
        self._live = ""
        if self._handle is not None:
            self._handle.update({"text/plain": ""}, raw=True)
        self._write(text + "\n")

    def figure(self, png: bytes) -> None:
        """Show a picture, where the place can."""
        if self._notebook is not None:
            self._notebook.display({"image/png": png}, raw=True)

    def _notebook_live(self, text: str) -> None:
        assert self._notebook is not None
        content = {"text/plain": text}
        if self._handle is None:
            self._handle = self._notebook.display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno() if self._stream else -1).columns or WIDTH
        except OSError:
            return WIDTH

    def _write(self, text: str) -> None:
        if self._stream is not None:
            try:
                self._stream.write(text)
                self._stream.flush()
            except (OSError, ValueError):  # progress is a guest: it never ends a training
                self._stream = None


def notebook() -> Any:
    """Return IPython's display module where a notebook kernel runs this program."""
    shell = sys.modules.get("IPython.core.getipython")
    found = shell.get_ipython() if shell else None
    return sys.modules["IPython.display"] if found is not None and hasattr(found, "kernel") else None
