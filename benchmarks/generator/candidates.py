"""Which loaders are timed, and in which configurations."""

from collections.abc import Iterable
from typing import Any, NamedTuple


class Candidate(NamedTuple):
    """A loader in one configuration. With `quick` it is among the best known of its loader."""

    loader: str
    configuration: str
    module: str
    settings: dict[str, Any]
    flight: int = 0  # items in work at a time, where it is known
    ordered: bool = True
    quick: bool = False

    def __str__(self) -> str:
        return f"{self.loader}: {self.configuration}"


def counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"


def plain() -> Candidate:
    return Candidate("plain loop", "one thread", "peer_plain", {}, 1, quick=True)


def diary(workers: int, unit: str = "mini-batches", quick: bool = False) -> Candidate:
    name = f"{counted(workers, 'worker')}, {unit}"
    return Candidate("2018 design", name, "peer_design2018", {"workers": workers, "unit": unit}, workers, False, quick)


def torch(workers: int, start: str = "fork", quick: bool = False) -> Candidate:
    if not workers:
        return Candidate("PyTorch, no workers", "one thread", "peer_torch", {"workers": 0}, 1, quick=quick)
    settings = {"workers": workers, "start": start}
    return Candidate(f"PyTorch, {start}", counted(workers, "worker"), "peer_torch", settings, workers, quick=quick)


def pooled(workers: int, threads: int, quick: bool = False) -> Candidate:
    settings = {"workers": workers, "start": "fork", "threads": threads}
    name = f"{workers} x {threads} threads"
    return Candidate("PyTorch, own threads", name, "peer_torch", settings, workers * threads, quick=quick)


def grain(threads: int, processes: int = 0, unit: str = "items", quick: bool = False) -> Candidate:
    buffer = 500 if unit == "items" else threads  # Grain's own number; so many mini-batches would be too many
    settings = {"threads": threads, "processes": processes, "unit": unit, "buffer": buffer}
    name = f"{counted(threads, 'thread')}, {unit}"
    if processes:
        name = f"{processes} x {name}"
    ordered = not (processes and unit == "items")
    return Candidate("Grain", name, "peer_grain", settings, threads * max(processes, 1), ordered, quick)


def spdl(kind: str, size: int, unit: str = "items", order: str = "input", quick: bool = False) -> Candidate:
    what = {"threads": "threads", "subprocess": "threads in a subprocess", "pool": "processes"}.get(kind)
    name = f"{size} {what}, {unit}" if what else f"PyTorchDataLoader, {size} processes"
    name += ", unordered" if order != "input" else ""
    settings = {"kind": kind, "size": size, "unit": unit, "order": order}
    return Candidate("SPDL", name, "peer_spdl", settings, size, order == "input", quick)


def gedanken(mode: str, workers: int, threads: int = 1, start: str = "forkserver", quick: bool = False) -> Candidate:
    if mode == "processes":
        name = f"{workers} x {counted(threads, 'thread')}, {start}"
        options = {"mode": mode, "workers": workers, "threads": threads, "start_method": start}
    else:
        name = "serial" if mode == "serial" else counted(workers, "thread")
        options = {"mode": mode} if mode == "serial" else {"mode": mode, "workers": workers}
    return Candidate("Gedanken", name, "peer_gedanken", options, workers * threads, quick=quick)


def automatic() -> Candidate:
    return Candidate("Gedanken, auto", "auto", "peer_gedanken", {}, quick=True)


def of_http() -> list[Candidate]:
    """Return those whose work is to wait."""
    return [
        *(plain(), diary(1), diary(2), diary(3, quick=True), diary(3, "items")),
        *(torch(1), torch(2), torch(4), torch(32, quick=True)),
        *(torch(1, "spawn"), torch(2, "spawn"), torch(4, "spawn", quick=True), torch(32, "spawn")),
        *(pooled(2, 32), pooled(2, 64, quick=True)),
        *(grain(32), grain(64), grain(32, 2), grain(64, 2, quick=True), grain(64, unit="mini-batches")),
        *(spdl("threads", size) for size in (16, 32)),
        *(spdl("threads", 64, quick=True), spdl("threads", 64, order="completion")),
        *(spdl("threads", 64, "mini-batches", quick=True), spdl("subprocess", 64)),
        *(automatic(), gedanken("threads", 64), gedanken("processes", 2), gedanken("processes", 2, start="fork")),
        *(gedanken("processes", 2, 32), gedanken("processes", 2, 64, quick=True)),
        gedanken("processes", 4, 32, quick=True),
    ]


def of_python() -> list[Candidate]:
    """Return those whose work is to compute in Python."""
    return [
        *(plain(), diary(1), diary(2, quick=True), diary(3), diary(2, "items")),
        *(torch(1), torch(2, quick=True), torch(4), torch(1, "spawn"), torch(2, "spawn", quick=True)),
        torch(4, "spawn"),
        *(grain(1, processes, "mini-batches", processes == 2) for processes in (0, 1, 2, 4)),
        *(spdl("threads", 2, "mini-batches"), spdl("pool", 2, "mini-batches"), spdl("pool", 2)),
        spdl("dataset", 2, quick=True),
        *(automatic(), gedanken("serial", 0), gedanken("threads", 2), gedanken("processes", 2, quick=True)),
        gedanken("processes", 2, start="fork"),
    ]


def of_transport(tiny: bool) -> list[Candidate]:
    """Return those whose work is there already: frames, which are large, or tiny items."""
    return [
        *(plain(), diary(1, quick=not tiny), diary(2, quick=tiny), diary(3)),
        *(diary(workers, "items") for workers in (1, 2, 3)),
        *(torch(0, quick=True), torch(1), torch(2, quick=True), torch(4)),
        *(torch(1, "spawn"), torch(2, "spawn", quick=True), torch(4, "spawn")),
        *(grain(0), grain(2), grain(2, unit="mini-batches", quick=True)),
        *(grain(1, processes, "mini-batches", tiny and processes == 2) for processes in (1, 2, 4)),
        *(spdl("threads", 2), spdl("threads", 2, "mini-batches", quick=True)),
        *(spdl("subprocess", 2, "mini-batches"), spdl("pool", 2, "mini-batches"), spdl("dataset", 2)),
        *(automatic(), gedanken("serial", 0, quick=tiny), gedanken("threads", 2, quick=not tiny)),
        *(gedanken("processes", 2, quick=True), gedanken("processes", 2, start="fork")),
    ]


ROWS = {
    "http": ("HTTP 20 ms + PNG an item", of_http),
    "python": ("2 ms of Python an item", of_python),
    "frames": ("(3, 180, 320) float32, no work", lambda: of_transport(tiny=False)),
    "tiny": ("tiny free items", lambda: of_transport(tiny=True)),
}


def wanted(row: str, words: Iterable[str], quick: bool) -> list[Candidate]:
    """Return the row's candidates; with words, those whose module or name has one of them."""
    every = [one for one in ROWS[row][1]() if one.quick or not quick]
    words = [word.lower() for word in words]
    return [one for one in every if not words or any(word in f"{one.module} {one}".lower() for word in words)]
