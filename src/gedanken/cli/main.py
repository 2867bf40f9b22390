"""From arguments to a command, and from errors to one line and an exit status."""

import contextlib
import importlib
import signal
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from gedanken.cli import output
from gedanken.cli.parser import make_parser
from gedanken.errors import GedankenError, GedankenWarning

FAILED, INTERRUPTED, BROKEN_PIPE, TERMINATED = 2, 130, 141, 143


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: its words; None is what the program was started with.

    Returns:
        the exit status: 0, 1 (done in part, or something found), 2 (an error, told in one line), 130 (Ctrl-C), 141
        (nobody reads the results), 143 (SIGTERM).
    """
    output.prepare()
    try:
        return _run(argv)
    except output.NobodyReadsError:
        return BROKEN_PIPE
    except OSError as error:  # of help or version
        output.tell("error", _words(error))
        return FAILED
    finally:
        output.finish()


def _run(argv: Sequence[str] | None) -> int:
    arguments = make_parser().parse_args(argv)
    with warnings.catch_warnings(), _terminated_like_ctrl_c() as terminated:
        warnings.simplefilter("always", GedankenWarning)
        warnings.showwarning = _show_warning
        try:
            # Only the command that was asked for is imported: --help and --version start quickly.
            if getattr(arguments, "resume", None):
                told = importlib.import_module("gedanken.cli.remembered").remembered(
                    arguments.resume, set(vars(arguments))
                )
                arguments = make_parser(told).parse_args(argv)
            status: int = importlib.import_module(f"gedanken.cli.{arguments.command}").run(arguments)
        except KeyboardInterrupt:
            output.tell("stopped", "by SIGTERM" if terminated else "by Ctrl-C")
            return TERMINATED if terminated else INTERRUPTED
        except (GedankenError, OSError, MemoryError) as error:
            if arguments.debug:
                output.note(traceback.format_exc().rstrip())
            output.tell("error", _words(error))
            return FAILED
        return status


@contextlib.contextmanager
def _terminated_like_ctrl_c() -> Iterator[list[int]]:
    """Let SIGTERM do what Ctrl-C does; the list has something in it when it came."""
    came: list[int] = []

    def pass_on(number: int, _: Any) -> None:
        came.append(number)
        signal.raise_signal(signal.SIGINT)

    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = signal.signal(signal.SIGTERM, pass_on)
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, before)


def _words(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def _show_warning(message: Warning | str, *_place: Any, **_more: Any) -> None:
    output.tell("warning", str(message))
