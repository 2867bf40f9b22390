"""Python programs that must end in time, say what is expected, and leave nothing behind."""

import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.data.made import alive

ROOT = Path(__file__).parents[2]
SHARED = Path("/dev/shm")
LIMIT = 60.0  # seconds that a program may take; only a hang takes so long, on a busy machine, too
SOON = 10.0  # seconds after its end within which nothing of it may be left: it leaves soon, but others may be computing
HEAD = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)  # background shells ignore it\n"

_soft, _hard = resource.getrlimit(resource.RLIMIT_CORE)
resource.setrlimit(resource.RLIMIT_CORE, (0, _hard))  # programs that crash on purpose leave no core files


class Program:
    """A program that runs in a session of its own.

    Args:
        folder: where its files go.
        source: its text.
        words: arguments of the program.
        command: options and what to run instead of the file.
        stdin: whether it is read from there.
        under: a command that runs the program.
    """

    def __init__(
        self,
        folder: Path,
        source: str,
        words: Sequence[str] = (),
        command: Sequence[str] | None = None,
        stdin: bool = False,
        under: Sequence[str] = (),
    ) -> None:
        text = HEAD + textwrap.dedent(source)
        self.file, self._out, self._err = folder / "program.py", folder / "out", folder / "err"
        self.file.write_text(text)
        self._names = _shared_names()
        before = os.environ.get("PYTHONPATH", "")
        environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}:{before}", "OPENBLAS_NUM_THREADS": "1"}
        environment = {name: value for name, value in environment.items() if not name.startswith("COV")}
        with self._out.open("wb") as out, self._err.open("wb") as err, self.file.open("rb") as given:
            self._process = subprocess.Popen(
                [*under, sys.executable, "-u", *(command or ([] if stdin else [str(self.file)])), *words],
                stdin=given if stdin else subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                cwd=folder,
                env=environment,
            )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for process in session(self.pid):
            os.kill(process, signal.SIGKILL)
        self._process.wait()

    @property
    def out(self) -> str:
        """What it printed so far."""
        return self._out.read_text()

    @property
    def err(self) -> str:
        """What it wrote on stderr so far."""
        return self._err.read_text()

    def wait_for(self, *words: str, count: int = 1) -> None:
        """Wait until each word was printed so often."""
        limit = time.monotonic() + LIMIT
        while any(self.out.count(word) < count for word in words):
            assert self._process.poll() is None, f"it ended before it said {words}: {self._all()}"
            assert time.monotonic() < limit, f"it never said {words}: {self._all()}"
            time.sleep(0.01)

    def send(self, number: int, group: bool = False) -> None:
        """Send a signal to it, or to all of its processes."""
        (os.killpg if group else os.kill)(self.pid, number)

    def end(self, code: int = 0, says: str | None = "", tracebacks: int | range = 0, seconds: float = LIMIT) -> str:
        """Wait for its end, and return its output.

        Args:
            code: expected exit code, negative for a signal.
            says: words on stderr; without them it must be empty. None where anything may be there.
            tracebacks: how many are there, or may be.
            seconds: how long it may take.
        """
        try:
            found = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it runs after {seconds:g} s: {self._all()}") from None
        limit = time.monotonic() + SOON
        while (left := session(self.pid)) or _shared_names() - self._names:
            assert time.monotonic() < limit, f"left: {_commands(left)}, {_shared_names() - self._names}; {self._all()}"
            time.sleep(0.01)
        err = self.err
        assert found == code, f"exit code {found}: {self._all()}"
        assert says is None or ((says in err) if says else not err), self._all()
        counts = tracebacks if isinstance(tracebacks, range) else [tracebacks]
        assert err.count("Traceback (most recent") in counts, self._all()
        return self.out

    def _all(self) -> str:
        return f"\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


def run(
    folder: Path,
    source: str,
    words: Sequence[str] = (),
    code: int = 0,
    says: str | None = "",
    tracebacks: int | range = 0,
) -> str:
    """Run a program to its end and return its output; see Program.end."""
    with Program(folder, source, words) as program:
        return program.end(code, says, tracebacks)


def _shared_names() -> set[str]:
    """Return the names in shared memory, but for semaphores: the library has none, tests that run beside may."""
    names = os.listdir(SHARED) if SHARED.is_dir() else []
    return {name for name in names if not name.startswith("sem.")}


def session(leader: int) -> list[int]:
    """Return the processes of a session that run."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == leader and fields[0] not in "ZX" and alive(int(folder.name)):
            found.append(int(folder.name))
    return found


def _commands(processes: list[int]) -> list[str]:
    texts = []
    for process in processes:
        try:
            texts.append(Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")[:200])
        except OSError:
            continue
    return texts
