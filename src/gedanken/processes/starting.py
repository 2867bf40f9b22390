"""Starting worker processes: the server that forks them, and what must hold while they are started."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from multiprocessing import forkserver, resource_tracker
from typing import Any

from gedanken.errors import WorkerError
from gedanken.processes.pickling import is_session
from gedanken.processes.uncut import start_thread

GUARD = 'a script must start its training under `if __name__ == "__main__":`, because worker processes import it'
ANSWER_SECONDS = 0.5  # for a server that forks already
SERVER_SECONDS = 120.0  # for one that may first have to import the script
BLAS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def _server() -> int | None:
    """Return the process id of the server of processes that was started last, if any was."""
    found: int | None = getattr(forkserver._forkserver, "_forkserver_pid", None)
    return found


def ensure_server() -> list[int]:
    """Make sure that there is a server of processes; return its process id where it was started for that."""
    before = _server()
    forkserver.ensure_running()
    now = _server()
    return [now] if now and now != before else []


def start_by_server(process: Any) -> None:
    """Start a process; Ctrl-C is heard, since the server may import for long before it answers.

    Another thread asks the server, so that no interrupt comes between the server's fork and its answer: nobody would
    know of the process.

    Raises:
        WorkerError: the server does not answer.
    """
    raised: list[BaseException] = []
    answered = threading.Event()  # as `join` takes a thread for ended once it was interrupted

    def ask() -> None:
        try:
            process.start()
        except BaseException as error:
            raised.append(error)
        finally:
            answered.set()

    try:
        start_thread(threading.Thread(target=ask, name="gedanken start", daemon=True))
        in_time = answered.wait(SERVER_SECONDS)
    except RuntimeError:  # no more threads
        process.start()
        return
    except BaseException:
        answered.wait(ANSWER_SECONDS)
        raise
    if not in_time:
        kill_server()
        raise WorkerError(f"the server of worker processes did not answer within {SERVER_SECONDS:g} s, and was ended")
    if raised:
        raise raised[0]


def kill_server() -> None:
    """End the server of processes, also one that imports or was stopped; the next start makes another."""
    if (server := _server()) is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(server, signal.SIGKILL)
        getattr(forkserver._forkserver, "_stop", lambda: None)()


def why_server_ended(served: bool) -> str:
    if served:
        return (
            "after it had started others, for which there is one reason: it has no more file descriptors, of which it "
            "may have as many as when it began; ask for fewer workers"
        )
    return f"while it imported your script; {GUARD}"


def preload(context: Any, modules: Sequence[str]) -> None:
    """Let the server of processes import once what every worker needs; it does nothing where one runs already."""
    context.set_forkserver_preload(["__main__", *(name for name in modules if name != "__main__")])


@contextlib.contextmanager
def one_thread_of_blas() -> Iterator[None]:
    """Let processes that are started meanwhile use one thread for NumPy's products: they are many already."""
    added = [name for name in BLAS if name not in os.environ]
    os.environ.update(dict.fromkeys(added, "1"))
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


@contextlib.contextmanager
def no_file_of_a_session() -> Iterator[None]:
    """Let multiprocessing not take the name that stands for a session, as <stdin>, for a script to import."""
    main = sys.modules["__main__"]
    name = vars(main).pop("__file__", None) if is_session() else None
    try:
        yield
    finally:
        if name is not None:
            vars(main)["__file__"] = name


@contextlib.contextmanager
def without_interrupts() -> Iterator[None]:
    """Hear of Ctrl-C later, and let a process that is started meanwhile not hear it before it can say so itself.

    A signal that is blocked in this thread still reaches Python by another one, such as one of NumPy's.
    """
    resource_tracker.ensure_running()  # its start would unblock it
    heard: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    holds = callable(before) and threading.current_thread() is threading.main_thread()
    if holds:
        signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    try:
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    finally:
        if holds:
            signal.signal(signal.SIGINT, before)
            if heard and callable(before):
                before(heard[0], None)
