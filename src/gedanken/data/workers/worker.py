"""A worker process: threads that read tasks, make their calls, and answer.

It starts with NumPy and the modules of `data/` alone, ends when its owner does, and leaves Ctrl-C to its owner.
"""

import contextlib
import multiprocessing
import os
import threading
import traceback

from gedanken.data.workers.arena import Arena
from gedanken.data.workers.channels import (
    TASK,
    WARNED,
    ResultWriter,
    SharedStatus,
    WorkerArguments,
    report,
    unpack_task,
)
from gedanken.data.workers.tasks import Calls, Permutations, TaskRunner
from gedanken.processes.child import send_warnings, settle
from gedanken.random import reseed


def main(arguments: WorkerArguments) -> None:
    """Serve until there are no more tasks, or the owner is gone."""
    with contextlib.suppress(BrokenPipeError):  # the owner closed while this process was starting
        _main(arguments)


def _main(arguments: WorkerArguments) -> None:
    settle(arguments.owner, arguments.descriptors.stacks, arguments.foreign)
    results = ResultWriter(arguments.descriptors.results.fd)
    try:
        generator = arguments.sent.loaded() if arguments.inherited is None else arguments.inherited
    except BaseException as error:  # the user's own __setstate__, or the import of his module
        results.send(report(arguments.first, error))
        return
    send_warnings(lambda warning: results.send(report(arguments.first, warning, WARNED)))
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
