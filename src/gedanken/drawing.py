"""Pictures of curves. The only file that imports Matplotlib."""

import contextlib
import importlib
import io
import warnings
from collections.abc import Iterator
from typing import Any

from gedanken.checks import warn
from gedanken.errors import MissingPackageError

# Backends of Matplotlib with a window of their own beside which a program goes on; others serve or wait.
WINDOWS = ("gtk", "macosx", "qt", "tk", "wx")


def load_matplotlib(asked: str, instead: str) -> Any:
    """Return Matplotlib, or None where it is installed and cannot be imported, which is a warning.

    Args:
        asked: what needs it, for the error.
        instead: what does without it.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        return importlib.import_module("matplotlib")
    except ImportError as error:
        raise MissingPackageError(
            f"{asked} needs Matplotlib, which is not installed: pip install 'gedanken[plot]', or use {instead}"
        ) from error
    except Exception as error:  # MPLBACKEND names none, a settings file is broken ...
        warn(f"nothing is plotted, because Matplotlib cannot be imported: {type(error).__name__}: {error}")
        return None


def new_figure(**options: Any) -> Any:
    """Return a figure that stands in no window."""
    return importlib.import_module("matplotlib.figure").Figure(**options)


def window_figure(matplotlib: Any, **options: Any) -> tuple[Any, Any] | None:
    """Return a figure in a window beside which a program goes on, and pyplot; None where there is no such window."""
    if matplotlib.get_backend().lower().startswith(WINDOWS):
        with contextlib.suppress(Exception):  # no screen, or no such toolkit
            pyplot = importlib.import_module("matplotlib.pyplot")
            figure = pyplot.figure(**options)
            pyplot.show(block=False)
            return figure, pyplot
    return None


@contextlib.contextmanager
def plain_settings(matplotlib: Any) -> Iterator[None]:
    """Draw in the user's style, but without LaTeX, which may not be there, and without a word about fonts."""
    plain = {"text.usetex": False, "text.parse_math": False, "axes.formatter.use_mathtext": False}
    known = {name: value for name, value in plain.items() if name in matplotlib.rcParams}
    with matplotlib.rc_context(known), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"gedanken\.drawing")
        yield


def png(matplotlib: Any, figure: Any) -> bytes:
    """Return a figure as the content of a PNG file."""
    target = io.BytesIO()
    with plain_settings(matplotlib):
        figure.savefig(target, format="png", dpi=120)
    return target.getvalue()
