"""From arguments to a command, and from errors to one line and an exit status."""

import importlib
import io
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

from gedanken.cli.parser import make_parser
from gedanken.errors import GedankenError, GedankenWarning

FAILED, INTERRUPTED, BROKEN_PIPE = 2, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: its words; None is what the program was started with.

    Returns:
        the exit status: 0, 1 (done in part), 2 (an error, told in one line), 130 (Ctrl-C), 141 (nobody reads).
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be no text
    try:
        try:
            return _run(argv)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE


def _run(argv: Sequence[str] | None) -> int:
    arguments = make_parser().parse_args(argv)
    with warnings.catch_warnings():
        warnings.simplefilter("always", GedankenWarning)
        warnings.showwarning = _show_warning
        try:
            # Only the command that was asked for is imported: --help and --version start quickly.
            status: int = importlib.import_module(f"gedanken.cli.{arguments.command}").run(arguments)
        except BrokenPipeError:
            raise
        except KeyboardInterrupt:
            _tell("stopped", "by Ctrl-C")
            return INTERRUPTED
        except (GedankenError, OSError, MemoryError) as error:
            if arguments.debug:
                traceback.print_exc()
            _tell("error", _words(error))
            return FAILED
        return status


def _words(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def _show_warning(message: Warning | str, *_place: Any, **_more: Any) -> None:
    _tell("warning", str(message))


def _tell(kind: str, text: str) -> None:
    print(f"gedanken: {kind}: {' '.join(text.split())}", file=sys.stderr)
