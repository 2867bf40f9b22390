"""The worker processes of one owner: how they start, what is said of one that died, and how they end."""

import contextlib
import importlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

from gedanken.errors import WorkerError
from gedanken.processes.memory import Descriptor, unnamed_memory
from gedanken.processes.starting import (
    GUARD,
    ensure_server,
    kill_server,
    no_file_of_a_session,
    one_thread_of_blas,
    preload,
    start_by_server,
    why_server_ended,
    without_interrupts,
)

STACK_SECONDS = 1.0  # for a worker to write down where it stands
GRACE = 0.3  # seconds that workers have to end by themselves


class ProcessGroup:
    """Worker processes; whoever makes a group ends it.

    Args:
        method: "forkserver", "fork" or "spawn".
        modules: what a server of processes imports before it forks the first one.
    """

    def __init__(self, method: str, modules: Sequence[str]) -> None:
        self.method, self.owner = method, os.getpid()
        self.stacks = unnamed_memory()  # where they write down where they stand
        self._context: Any = multiprocessing.get_context(method)
        self._processes: list[Any] = []
        self._servers: list[int] = []  # process ids of servers that were started for these processes
        if method == "forkserver":
            preload(self._context, modules)

    def start(self, main: Callable[..., None], arguments: Any, name: str, writing: Descriptor) -> Any:
        """Start a process, which calls `main(arguments)`, and return it.

        Args:
            main: a function of a module.
            arguments: what it is given.
            name: of the process.
            writing: the descriptor that it answers through. It gets a copy, and this one is closed, so that a pipe
                ends when the process does.

        Raises:
            WorkerError: it could not be started.
        """
        process = self._context.Process(target=main, args=(arguments,), name=name, daemon=True)
        self._processes.append(process)  # before it is started: an interrupt may come at any moment from then on
        try:
            with one_thread_of_blas(), no_file_of_a_session():
                self._launch(process)
        except (EOFError, ConnectionError) as error:
            why = why_server_ended(served=bool(self._started()))
            raise WorkerError(f"the server of worker processes ended {why}") from error
        except ChildProcessError as error:
            rule = "a forked process cannot use its parent's server of worker processes; choose start_method='spawn'"
            raise WorkerError(rule) from error
        finally:
            writing.close()
            # It is ended by us alone; multiprocessing would also end it when a fork of this process ends.
            getattr(multiprocessing.process, "_children", set()).discard(process)
        return process

    def _started(self) -> list[Any]:
        return [process for process in self._processes if process.ident is not None]

    def _launch(self, process: Any) -> None:
        with without_interrupts():
            if self.method == "forkserver":
                self._servers += ensure_server()
            elif self.method == "fork":
                # NumPy imports it late; who is forked while another thread does so waits for ever.
                importlib.import_module("numpy.random")
                process.start()
            else:
                process.start()
        if self.method != "forkserver":
            return
        try:
            start_by_server(process)
        except (EOFError, ConnectionError):
            if self._started() or self._servers:
                raise
            kill_server()  # it was about to end, of what it was last asked for
            self._launch(process)

    def stack(self, process: Any) -> str:
        """Return where a process stands in its code."""
        file = self.stacks.fd
        size = before = os.fstat(file).st_size
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGUSR1)
        limit = time.monotonic() + STACK_SECONDS
        while time.monotonic() < limit:
            time.sleep(0.02)
            # It writes line by line and says nowhere that it is done.
            last, size = size, os.fstat(file).st_size
            if size > before and size == last:
                return os.pread(file, size - before, before).decode(errors="replace")
        return "(it does not answer)"

    def end(self) -> None:
        """End all: those that are busy are waited for a moment, then killed, as is a server that still imports."""
        if self.owner != os.getpid():
            return  # a fork of the owner
        started = self._started()
        _end_processes(started)
        self.stacks.close()
        if self._servers and not started:  # it has started nobody: one that still imports would go on
            kill_server()


def death_of(process: Any, ready: bool) -> str:
    """Say how a process ended.

    Args:
        process: it.
        ready: whether any of its group had begun its work.
    """
    process.join(GRACE)  # its pipe ends a moment before it does, and until then it has no exit code
    code = process.exitcode
    if code is None:
        how = "ended in a way that its server did not tell"
    else:
        how = f"exited with code {code}" if code >= 0 else f"was killed by {_signal_name(-code)}"
    if code == -signal.SIGKILL:
        how += " (often by the system because memory ran out)"
    hint = f" before it was ready; its own message is above; {GUARD}" if not ready and code == 1 else ""
    return f"{process.name} (pid {process.pid}) {how}{hint}"


def _end_processes(processes: Sequence[Any]) -> None:
    limit = time.monotonic() + GRACE
    for process in processes:
        process.join(max(0.0, limit - time.monotonic()))
    for process in processes:
        if process.is_alive():
            process.kill()
            process.join(GRACE)
        if process.is_alive() and process._start_method == "forkserver":
            kill_server()  # it was stopped, and would tell of no end
            process.join(GRACE)
        if not process.is_alive():
            process.close()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
