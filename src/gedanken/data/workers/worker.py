"""A worker process: threads that read tasks, make their calls, and answer.

It starts with NumPy and the modules of `data/` alone, ends when its owner does, and leaves Ctrl-C to its owner.
"""

import contextlib
import faulthandler
import fcntl
import multiprocessing
import os
import pickle
import select
import signal
import threading
import traceback
import warnings
from typing import Any

from gedanken.data.workers.arena import Arena
from gedanken.data.workers.channels import (
    TASK,
    WARNED,
    ResultWriter,
    SharedStatus,
    WorkerArguments,
    mapped,
    report,
    unpack_task,
)
from gedanken.data.workers.raised import pack_error, unpack_error, words
from gedanken.data.workers.tasks import Calls, Permutations, TaskRunner
from gedanken.random import reseed


def main(arguments: WorkerArguments) -> None:
    """Serve until there are no more tasks, or the owner is gone."""
    with contextlib.suppress(BrokenPipeError):  # the owner closed while this process was starting
        _main(arguments)


def _main(arguments: WorkerArguments) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    _be_killed_with_owner()
    for fd in arguments.foreign:
        os.close(fd)
    threading.Thread(target=_end_with_owner, args=(arguments.owner,), daemon=True).start()
    faulthandler.register(signal.SIGUSR1, arguments.descriptors.stacks.fd, all_threads=True)
    results = ResultWriter(arguments.descriptors.results.fd)
    try:
        generator = _generator(arguments)
    except BaseException as error:  # the user's own __setstate__, or the import of his module
        results.send(report(arguments.first, error))
        return
    warnings.showwarning = _Warner(results, arguments.first).show
    service = _Service(arguments, generator, results)
    results.send(report(arguments.first))
    others = range(arguments.first + 1, arguments.first + arguments.threads)
    for number in others:
        threading.Thread(target=service.serve_or_end, args=(number,), daemon=True).start()
    service.serve(arguments.first)


class _Service:
    """What the threads of this process have in common."""

    def __init__(self, arguments: WorkerArguments, generator: Calls, results: ResultWriter) -> None:
        self._arguments, self._generator, self._results = arguments, generator, results
        self._status, self._permutations = SharedStatus(arguments.descriptors.status, arguments.workers), Permutations()
        self._lock = threading.Lock()
        self._arena: Arena | None = None

    def serve_or_end(self, number: int) -> None:
        """Do so in a further thread, whose death is that of the process: its owner is told of nothing less."""
        try:
            self.serve(number)
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    def serve(self, number: int) -> None:
        """Do tasks, one after the other."""
        arguments, status = self._arguments, self._status
        process = multiprocessing.current_process()
        name = f"worker {number} ({process.name}, pid {os.getpid()})"
        runner = TaskRunner(number, name, status.current_calls[number : number + 1], self._permutations, reseed)
        while record := os.read(arguments.descriptors.tasks.fd, TASK.size):
            task = unpack_task(record)
            if not task.length:
                return
            if task.room and runner.arena is None:
                runner.arena = self._arena_of_owner()
            try:
                self._results.send(runner.run(self._generator, task, status.generation))
            except BrokenPipeError:  # the owner has closed
                return
            runner.set_idle()

    def _arena_of_owner(self) -> Arena:
        with self._lock:
            if self._arena is None:
                self._arena = self._status.arena(self._arguments.descriptors.arena)
            return self._arena


class _Warner:
    """Sends warnings of the user's code to the owner, who gives them again where somebody sees them."""

    def __init__(self, results: ResultWriter, first: int) -> None:
        self._results, self._first = results, first

    def show(self, message: Warning | str, *where: Any, **more: Any) -> None:
        """Stand in for `warnings.showwarning`."""
        warning = message if isinstance(message, Warning) else UserWarning(message)
        if not isinstance(unpack_error(pack_error(warning)), Warning):  # of a class that cannot be sent
            warning = UserWarning(f"{type(warning).__name__}: {words(warning, str)}")
        self._results.send(report(self._first, warning, WARNED))


def _generator(arguments: WorkerArguments) -> Any:
    if arguments.inherited is not None:
        return arguments.inherited
    memory = memoryview(mapped(arguments.descriptors.pickle, private=True))
    parts = [memory[at : at + size] for at, size in arguments.parts]
    return pickle.loads(parts[0], buffers=parts[1:])  # noqa: S301 - from our own process


def _be_killed_with_owner() -> None:
    """Let Linux kill this process when its owner is gone, even while code that holds Python's lock runs.

    The owner holds the other end of a pipe to which nobody writes, so its hang-up is its end.
    """
    parent = multiprocessing.parent_process()
    with contextlib.suppress(OSError, AttributeError):  # another system
        assert parent is not None
        fcntl.fcntl(parent.sentinel, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(parent.sentinel, fcntl.F_SETSIG, signal.SIGKILL)
        flags = fcntl.fcntl(parent.sentinel, fcntl.F_GETFL)
        fcntl.fcntl(parent.sentinel, fcntl.F_SETFL, flags | os.O_ASYNC)


def _end_with_owner(owner: int) -> None:
    """Wait for the owner's end, and end: user code may be running that nobody waits for any more."""
    try:
        fd: int = os.pidfd_open(owner)
    except (AttributeError, OSError):  # another system, or an old one
        parent = multiprocessing.parent_process()
        assert parent is not None
        fd = parent.sentinel
    waiting = select.poll()
    waiting.register(fd, select.POLLIN)
    waiting.poll()
    os._exit(1)
