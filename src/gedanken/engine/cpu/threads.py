"""The threads that work through programs: the caller's and its helpers.

Helpers are Python threads that wait for the next program in machine code for a moment and then fall asleep on a lock.
They start with the first program, and again in a process that was forked.
"""

import os
import threading
import weakref
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from gedanken.engine.cpu.compiler import Library
from gedanken.types import Array

PATIENCE = 4000  # glances of an idle helper before it sleeps: about a tenth of a millisecond
_TURN, _OPEN, _INSIDE, _HELPERS, _LINE = 8, 16, 24, 32, 8


class Pool:
    """A number of threads, the caller's included.

    Args:
        library: where the executor's machine code comes from.
        threads: how many, at least 1.
    """

    def __init__(self, library: Library, threads: int) -> None:
        self.threads, self.library = threads, library
        self._lead = library.kernel("executor.lead").entry
        self._assist = library.kernel("executor.assist").entry
        self._begin()

    def run(self, program: int, memory: int) -> None:
        """Do all of a program; see `kernels/executor.py` for its form.

        Args:
            program: its address.
            memory: bytes of scratch memory that each thread needs.
        """
        with self.turn():
            if memory > self._room:
                self._prepare(memory)
            self._control[0] = program
            for helper in self._helpers:
                helper.wake()
            self._lead(self._arguments.ctypes.data, 0, 0)

    def turn(self) -> AbstractContextManager[Any]:
        """Return the lock of who uses this pool and the memory of its programs now."""
        if os.getpid() != self._process:
            self._begin()  # a forked process has none of its parent's threads
        return self._lock

    def close(self) -> None:
        """End the helpers."""
        self._ending()

    def _begin(self) -> None:
        self._process, self._lock = os.getpid(), threading.RLock()
        self._control = np.zeros(_HELPERS + _LINE * self.threads, np.int64)
        self._memory: list[Array] = []
        self._room = 0
        self._arguments = np.array([self._control.ctypes.data, 0], np.int64)
        self._helpers: list[_Helper] = []
        self._ending = weakref.finalize(self, _end, self._helpers)

    def _prepare(self, memory: int) -> None:
        """Give each thread so much memory of its own; the first time start the helpers."""
        self._memory, self._room = [aligned(memory) for _ in range(self.threads)], memory
        self._arguments[1] = self._memory[0].ctypes.data
        for number, block in enumerate(self._memory[1:]):
            self._control[_HELPERS + _LINE * number + 1] = block.ctypes.data
        if not self._helpers:
            numbers = range(self.threads - 1)
            self._helpers += [_Helper(self.library, self._assist, self._control, number) for number in numbers]


class _Helper:
    """One helping thread. It holds its code and the control block alive as long as it runs, not the pool."""

    def __init__(self, library: Library, assist: Any, control: Array, number: int) -> None:
        self._library, self._call = library, assist
        self._control, self._number = control, number
        self._place = _HELPERS + _LINE * number
        self._bell = threading.Lock()
        self._bell.acquire()
        self._done = False
        self._control[self._place] = 0
        self._thread = threading.Thread(target=self._work, name=f"gedanken-{number + 1}", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        if self._control[self._place]:
            self._control[self._place] = 0
            self._bell.release()

    def end(self) -> None:
        self._done = True
        while self._thread.is_alive():
            self.wake()
            self._thread.join(0.01)

    def _work(self) -> None:
        arguments = np.array([self._control.ctypes.data, self._number, PATIENCE], np.int64)
        while not self._done:
            self._call(arguments.ctypes.data, 0, 0)
            self._bell.acquire()


def _end(helpers: Sequence[_Helper]) -> None:
    if helpers and helpers[0]._thread.ident is not None:
        for helper in helpers:
            helper.end()


def aligned(size: int) -> Array:
    """Return `size` bytes that begin on a cache line."""
    block = np.empty(size + 64, np.uint8)
    start = -block.ctypes.data % 64
    return block[start : start + size]
