"""The threads that work through programs: the caller's and its helpers.

Helpers are Python threads that wait for the next program in machine code for a moment and then fall asleep on a lock.
They start with the first program, and again in a process that was forked.

Ctrl-C, a signal handler or a finalizer may come between any two lines here, raise there, or run a program of its own
on the same pool. Therefore whatever a program needs is handed to the machine code in one call, what is replaced is
replaced whole by one assignment, and helpers are started by a thread that no signal reaches.
"""

import _thread
import atexit
import contextlib
import os
import threading
import time
import weakref
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from gedanken.checks import warn
from gedanken.engine.cpu.compiler import Library
from gedanken.errors import EngineError
from gedanken.types import Array

PATIENCE = 4000  # glances of an idle helper before it sleeps: about a tenth of a millisecond
NAP = 1.0  # seconds that a helper sleeps before it looks around
LONGEST = 5.0  # seconds that helpers, or the program's end, are waited for
_OVER, _HELPERS, _LINE = 9, 32, 8  # places in the control block, see `kernels/executor.py`


class Pool:
    """A number of threads, the caller's included.

    Args:
        library: where the executor's machine code comes from.
        threads: how many, at least 1.
        exactly: whether it is an error if fewer can be started; else it is a warning.
    """

    def __init__(self, library: Library, threads: int, exactly: bool = True) -> None:
        self.threads, self.library, self.exactly = threads, library, exactly
        self._lead: Any = library.kernel("executor.lead").entry
        self._lock = threading.RLock()
        self._begin()
        _pools[id(self)] = self

    def run(self, program: int, memory: int) -> None:
        """Do all of a program; see `kernels/executor.py` for its form.

        Args:
            program: its address.
            memory: bytes of scratch memory that each thread needs.

        Raises:
            EngineError: the system starts no more threads.
        """
        with self._lock:
            crew = self._crew
            if memory > crew.scratch.room:
                crew.scratch = _Scratch(crew.control, self.threads, memory)
            if not crew.complete:
                self._start(crew)
            crew.wake()
            self._lead(crew.scratch.address, program, 0)

    def turn(self) -> AbstractContextManager[Any]:
        """Return the lock of who uses this pool and the memory of its programs now."""
        return self._lock

    def close(self) -> None:
        """End the helpers; whoever runs a program does it alone from now on."""
        self._crew.end()

    def retire(self) -> None:
        """Close at the program's end, and let no thread but this one run programs any more."""
        self._lock.acquire(timeout=LONGEST)
        self.close()

    def after_fork(self) -> None:
        """Forget the threads of the parent process, which do not exist in this one."""
        self._lock = threading.RLock()
        self._crew.forget()

    def _begin(self) -> None:
        crew = _Crew(self)
        self._ending = weakref.finalize(self, crew.end)
        self._ending.atexit = False  # the program's end has a way of its own, `_at_exit`
        self._crew = crew

    def _start(self, crew: "_Crew") -> None:
        try:
            crew.start()
        except (RuntimeError, MemoryError) as error:
            count = crew.count()
            what = f"of {self.threads} threads only {count} could be started ({error})"
            if self.exactly:
                ending = self._ending
                self._begin()
                ending()
                raise EngineError(f"{what}; ask for fewer: Cpu(threads={count})") from error
            crew.complete = True
            warn(f"{what}, and these compute; results are the same")


class _Scratch:
    """Scratch memory, `room` bytes for each thread; at `address` stand the arguments of the executor's `lead`."""

    def __init__(self, control: Array, threads: int, room: int) -> None:
        self.room = room
        self._blocks = [aligned(room) for _ in range(threads)]
        self._held = control, np.array([block.ctypes.data for block in self._blocks], np.int64)
        self._arguments = np.array([held.ctypes.data for held in self._held], np.int64)
        self.address = self._arguments.ctypes.data


class _Crew:
    """The helpers of a pool, and what they share with it. They hold it alive as long as they run, not the pool."""

    def __init__(self, pool: Pool) -> None:
        self.pool, self.library = weakref.ref(pool), pool.library
        self.assist: Any = pool.library.kernel("executor.assist").entry
        self.control = np.zeros(_HELPERS + _LINE * pool.threads, np.int64)
        self.scratch = _Scratch(self.control, pool.threads, 0)
        self.helpers = [_Helper(self.control, number) for number in range(pool.threads - 1)]
        self.forget()

    def forget(self) -> None:
        """Begin where no helper is: at the very first, and in a forked process."""
        self.control[:] = 0
        for helper in self.helpers:
            helper.forget()
        self.complete = not self.helpers
        self._starting = threading.Lock()
        self._failure: Exception | None = None

    @property
    def over(self) -> bool:
        """Whether helpers shall end. Who ends them may be interrupted, so that the pool is gone is enough."""
        return bool(self.control[_OVER]) or self.pool() is None

    def start(self) -> None:
        """Start all helpers that do not run yet.

        Another thread does it, which no signal reaches: `Thread.start` does not bear an interruption.

        Raises:
            RuntimeError, MemoryError: the system starts no more threads.
        """
        if not (self.control[_OVER] or _ending.is_set()):
            done = threading.Lock()
            done.acquire()
            _thread.start_new_thread(self._start_all, (done,))
            done.acquire(timeout=LONGEST)  # a finalizer there may want to compute, and would wait for this thread
            if self._failure:
                raise self._failure
        self.complete = True

    def _start_all(self, done: threading.Lock) -> None:
        try:
            with self._starting:
                for helper in self.helpers:
                    helper.start(self)
        except (RuntimeError, MemoryError) as error:
            self._failure = error
        finally:
            done.release()

    def count(self) -> int:
        """Return how many threads there are, the caller's included."""
        return 1 + sum(helper.thread is not None for helper in self.helpers)

    def wake(self) -> None:
        for helper in self.helpers:
            if self.control[helper.place]:
                helper.ring()

    def end(self) -> None:
        """Let the helpers end, and wait for it a while."""
        self.control[_OVER] = 1
        for helper in self.helpers:
            helper.ring()
        until = time.monotonic() + LONGEST
        for helper in self.helpers:
            if helper.thread and helper.thread is not threading.current_thread():
                helper.thread.join(max(0.0, until - time.monotonic()))


class _Helper:
    """The place of one helping thread."""

    def __init__(self, control: Array, number: int) -> None:
        self.number, self.place = number, _HELPERS + _LINE * number
        self._arguments = np.array([control.ctypes.data, number, PATIENCE], np.int64)
        self.forget()

    def forget(self) -> None:
        self.thread: threading.Thread | None = None
        self._bell = threading.Lock()
        self._bell.acquire()

    def start(self, crew: _Crew) -> None:
        if not self.thread:
            thread = threading.Thread(target=self._work, args=(crew,), name=f"gedanken-{self.number + 1}", daemon=True)
            thread.start()
            self.thread = thread

    def ring(self) -> None:
        """Wake the helper; once too often only lets it look around in vain."""
        with contextlib.suppress(RuntimeError):  # it is awake
            self._bell.release()

    def _work(self, crew: _Crew) -> None:
        arguments = self._arguments.ctypes.data
        while not crew.over:
            crew.assist(arguments, 0, 0)
            self._bell.acquire(timeout=NAP)
            crew.control[self.place] = 0


def aligned(size: int) -> Array:
    """Return `size` bytes that begin on a cache line."""
    block = np.empty(size + 64, np.uint8)
    start = -block.ctypes.data % 64
    return block[start : start + size]


# ---------------------------------------------------------------------- of the process

_pools: "weakref.WeakValueDictionary[int, Pool]" = weakref.WeakValueDictionary()
_ending = threading.Event()


def _all_pools() -> list[Pool]:
    return [pool for reference in _pools.valuerefs() if (pool := reference())]


def _after_fork() -> None:
    for pool in _all_pools():
        pool.after_fork()


@atexit.register
def _at_exit() -> None:
    """Let no machine code run when Python takes itself apart: other threads may train even now."""
    _ending.set()
    for pool in _all_pools():
        pool.retire()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
