"""Ctrl-C during a training: the first asks it to end, the second ends it at once."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self


class Interrupt:
    """While it is entered, the first Ctrl-C sets `asked` and the second raises KeyboardInterrupt.

    Outside the main thread, where Python delivers no signals, it does nothing; nor does it where a program has set its
    own handler. Of trainings within trainings Ctrl-C asks all.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None  # the handler in whose place this one is
        self._over = False

    def __enter__(self) -> Self:
        before = signal.getsignal(signal.SIGINT)
        known = before is signal.default_int_handler or _owner(before)
        if known and threading.current_thread() is threading.main_thread():
            self._before = before
            signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.put_back()

    def put_back(self) -> None:
        """Give Ctrl-C back to whom it belonged, unless somebody has taken it meanwhile.

        The training calls it once more at its very end: an interruption may come before `__exit__` has done it, and
        even before `__enter__` has returned.
        """
        holder = _owner(signal.getsignal(signal.SIGINT))
        while holder and holder is not self:  # a training within this one that could not put it back
            holder = _owner(holder._before)
        if holder:
            signal.signal(signal.SIGINT, self._before)
        self._over = True

    def _press(self, number: int, frame: FrameType | None) -> None:
        if self._over:  # a handler that was set during the training calls this one
            self._before(number, frame)
            return
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        if _owner(self._before):
            self._before(number, frame)


def _owner(handler: Any) -> Interrupt | None:
    """Return whose handler it is, if a training's."""
    owner = getattr(handler, "__self__", None)
    return owner if isinstance(owner, Interrupt) else None
