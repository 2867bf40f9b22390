"""Generators whose samples are known beforehand, and what can go wrong in their calls. Workers import this module."""

import ctypes
import dataclasses
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gedanken.data.generator import Generator, runner_of  # noqa: F401 - programs use it
from gedanken.data.workers.items import Samples
from gedanken.data.workers.tasks import running_epoch
from gedanken.types import Array

EACH = 1000  # sample s of call i is the number EACH * i + s
EVERY = -1  # in `acts`: all calls


class TwoArguments(Exception):
    """Cannot be made again from its args."""

    def __init__(self, code: int, place: str) -> None:
        super().__init__(f"{code} at {place}")
        self.code, self.place = code, place


class HoldsLock(Exception):
    """Has an attribute that cannot be pickled, and one that can."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock, self.code = threading.Lock(), 7


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    """Takes no attribute, so no note either."""

    code: int


class NotesNoList(Exception):
    """Has something else where notes belong."""

    __notes__ = "mine"


class RefusesNotes(Exception):
    """Has a way of its own to be noted, which raises."""

    def add_note(self, note: str) -> None:
        raise LookupError("no notes")


class NoText(Exception):
    """Has neither text nor form."""

    def __str__(self) -> str:
        raise SystemExit(3)

    __repr__ = __str__


class TextIsNumber(Exception):
    """Has a text that is none."""

    def __str__(self) -> Any:
        return 5  # noqa: PLE0307 - that is its fault


class Doubled(Exception):
    """Makes its text of what it is given, so that making it of its text doubles that."""

    def __init__(self, code: Any, what: str = "gone") -> None:
        super().__init__(f"{code}: {what}")
        self.code = code


class KeywordsOnly(Exception):
    """Cannot be made without keywords, and keeps its text elsewhere."""

    def __init__(self, *, code: int) -> None:
        self.code = code

    def __str__(self) -> str:
        return f"code {self.code}"


class WithSlots(OSError):
    """Has an attribute outside of its dict, and a class with memory of its own below it."""

    __slots__ = ("place",)

    def __init__(self, place: str) -> None:
        super().__init__(2, "not there", f"/{place}")
        self.place = place


class ByItself(Exception):
    """Says itself how it is pickled."""

    def __init__(self, left: int, right: int) -> None:
        super().__init__(f"{left} and {right}")
        self.pair = (left, right)

    def __reduce__(self) -> Any:
        return ByItself, self.pair


class NeverPickled(Exception):
    """Cannot be pickled, whoever tries."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise SystemExit("never")


class Leaves(BaseException):
    """Ends more than a call."""


def _circle() -> Exception:
    first, second = ValueError("first"), KeyError("second")
    first.__cause__, second.__cause__ = second, first
    first.me = first  # type: ignore[attr-defined]
    return first


def _deep() -> int:
    return _deep() + 1


def _caused() -> None:
    try:
        raise Doubled(404)
    except Doubled as error:
        error.add_note("mine")
        raise LookupError("no page") from error


def _raises(error: Callable[[], BaseException]) -> Callable[[], None]:
    def act() -> None:
        raise error()

    return act


def _stubborn() -> None:
    """Stay in a C call that no signal ends but SIGKILL, and that tells nobody where it is."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    while True:
        ctypes.CDLL(None).sleep(1000)


def _busy() -> None:
    while True:
        sum(range(1000))


def _holds_lock() -> None:
    """Stay in a C call for minutes that holds Python's lock."""
    re.match(r"(a|aa)*$", "a" * 60 + "b")


ACTS: dict[str, Callable[[], Any]] = {
    "ValueError": _raises(lambda: ValueError("no such picture", 12)),
    "KeyError": _raises(lambda: KeyError("red")),
    "TwoArguments": _raises(lambda: TwoArguments(404, "the shop")),
    "HoldsLock": _raises(lambda: HoldsLock("held")),
    "SystemExit": lambda: sys.exit(5),
    "KeyboardInterrupt": _raises(KeyboardInterrupt),
    "GeneratorExit": _raises(GeneratorExit),
    "StopIteration": _raises(lambda: StopIteration("out")),
    "Frozen": _raises(lambda: Frozen(7)),
    "NotesNoList": _raises(lambda: NotesNoList("text")),
    "RefusesNotes": _raises(lambda: RefusesNotes("text")),
    "NoText": _raises(lambda: NoText("text")),
    "TextIsNumber": _raises(lambda: TextIsNumber("text")),
    "Doubled": _raises(lambda: Doubled(404)),
    "KeywordsOnly": _raises(lambda: KeywordsOnly(code=8)),
    "WithSlots": _raises(lambda: WithSlots("here")),
    "ByItself": _raises(lambda: ByItself(1, 2)),
    "NeverPickled": _raises(lambda: NeverPickled("text")),
    "Leaves": _raises(lambda: Leaves("text")),
    "Unicode": _raises(lambda: UnicodeDecodeError("utf-8", b"x\xff", 1, 2, "no text")),
    "Group": _raises(lambda: ExceptionGroup("many", [Doubled(1), ExceptionGroup("more", [KeywordsOnly(code=2)])])),
    "Circle": _raises(_circle),
    "Local": _raises(lambda: type("Local", (Exception,), {})("text")),
    "Huge": _raises(lambda: ValueError("x" * 3_000_000)),
    "Lambda": _raises(lambda: ValueError("text", _raises, threading.Lock())),
    "RecursionError": _deep,
    "MemoryError": _raises(MemoryError),
    "Caused": _caused,
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda: ctypes.string_at(0),
    "exit": lambda: os._exit(3),
    "sleep": lambda: time.sleep(600),
    "stubborn": _stubborn,
    "busy": _busy,
    "holds lock": _holds_lock,
}


class Made(Generator):
    """Sample s of call i is (its number, its number in a row of float32).

    Args:
        counts: samples of each call.
        acts: for calls of epoch 0, what they do first; see ACTS.
        seconds: that each call takes.
        several: whether a call gives its samples as one item.
        width: of the row.
        options: of the Generator.
    """

    def __init__(
        self,
        counts: Sequence[int],
        acts: dict[int, str] | None = None,
        seconds: float = 0.0,
        several: bool = False,
        width: int = 3,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.counts, self.acts, self.seconds, self.several = counts, acts or {}, seconds, several
        self.width = width

    def __len__(self) -> int:
        return len(self.counts)

    def get_mini_batches(self, index: int) -> list[Any]:
        act = self.acts.get(index) or self.acts.get(EVERY)
        if act and not running_epoch.get():
            os.write(1, f"{act} in {index}\n".encode())
            ACTS[act]()
        if self.seconds:
            time.sleep(self.seconds)
        numbers = np.arange(self.counts[index]) + EACH * index
        rows = np.repeat(numbers[:, None].astype(np.float32), self.width, axis=1)
        if self.several:
            return [Samples((numbers, rows))]
        return list(zip(numbers, rows, strict=True))


class Fails(Made):
    """Cannot be made again in a worker."""

    def __setstate__(self, state: Any) -> None:
        raise TwoArguments(1, "the door")


class StartsSlowly(Made):
    """Takes for ever to be made again in a worker."""

    def __setstate__(self, state: Any) -> None:
        os.write(1, b"starts\n")
        time.sleep(600)


class StartsLate(Made):
    """Takes a moment to be made again in a worker."""

    def __setstate__(self, state: Any) -> None:
        time.sleep(1.5)
        self.__dict__.update(state)


class Holds(Made):
    """Has an attribute that may not go to another process."""

    def __init__(self, held: Any, **options: Any) -> None:
        super().__init__([1] * 6, mini_batch_size=2, **options)
        self.held = held


def held(what: str) -> Any:
    """Return something that cannot be sent."""
    if what == "manager":
        import multiprocessing  # noqa: PLC0415 - starts a process

        return multiprocessing.Manager()
    found = {"lambda": lambda: 0, "lock": threading.Lock(), "file": Path("/dev/null").open()}  # noqa: SIM115
    return socket.socket() if what == "socket" else found[what]


def numbers_of(counts: Sequence[int], order: Sequence[int] | None = None) -> list[int]:
    """Return the numbers of all samples in order."""
    return [EACH * call + sample for call in (order or range(len(counts))) for sample in range(counts[call])]


def cut(numbers: list[int], size: int, drop_last: bool = False) -> list[list[int]]:
    """Return the mini-batches of such a stream."""
    parts = [numbers[at : at + size] for at in range(0, len(numbers), size)]
    return parts[:-1] if drop_last and parts and len(parts[-1]) < size else parts


def right(mini_batch: tuple[Array, Array]) -> list[int]:
    """Return a mini-batch's numbers, after a look at its rows."""
    numbers, rows = mini_batch
    assert rows.dtype == np.float32 and np.array_equal(rows, np.repeat(numbers[:, None], rows.shape[1], axis=1))
    return [int(number) for number in numbers]


def epoch(generator: Made) -> list[list[int]]:
    """Return all numbers of the next epoch."""
    return [right(mini_batch) for mini_batch in generator]


def whole(generator: Made) -> bool:
    """Return whether the next epoch is what it should be."""
    expected = cut(numbers_of(generator.counts), generator.mini_batch_size, generator.drop_last)
    return epoch(generator) == expected


def pids(generator: Generator) -> list[int]:
    """Return the process ids of its workers."""
    names = [worker["name"] for worker in generator.stats()["each"]]
    return sorted({int(found[1]) for name in names if (found := re.search(r"pid (\d+)", name))})


def alive(process: int) -> bool:
    """Return whether a process runs; one that is dead and not yet collected by its parent does not."""
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return text.rpartition(")")[2].split()[0] not in "ZX"


def gone(processes: Sequence[int], seconds: float = 10.0) -> bool:
    """Return whether all of them end within that time, which only a hang takes."""
    limit = time.monotonic() + seconds
    while any(map(alive, processes)):
        if time.monotonic() > limit:
            return False
        time.sleep(0.01)
    return True


def caught(error: type[BaseException], generator: Generator, seconds: float = 30.0) -> BaseException:
    """Iterate until this is raised, and return it."""
    began = time.monotonic()
    try:
        for _ in generator:
            pass
    except error as raised:
        assert time.monotonic() - began < seconds, f"it took {time.monotonic() - began:.1f} s"
        return raised
    raise AssertionError(f"no {error.__name__}")
