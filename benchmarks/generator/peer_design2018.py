"""The design of the diary of 2018: worker processes fill a Manager's list, behind a lock and two conditions.

The list has items, from which the consumer makes mini-batches, or mini-batches as a worker made them.
"""

import contextlib
import multiprocessing
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from workloads import BATCH, Work, stack

ENOUGH = 8  # mini-batches in the list, then the workers stop until one is taken


class Shared(NamedTuple):
    """What the processes have in common; the Manager's process keeps it, each use is a message to it."""

    pieces: Any
    lock: Any
    filled: Any
    room: Any
    enough: int


def produce(work: Work, starts: range, size: int, shared: Shared) -> None:
    """Make the pieces that start there; append each when the list is short enough."""
    for start in starts:
        piece = work.item(start) if size == 1 else work.batch(range(start, start + size))
        with shared.room:
            while len(shared.pieces) >= shared.enough:
                shared.room.wait()
        with shared.lock:
            shared.pieces.append(piece)
        with shared.filled:
            shared.filled.notify()


def taken(shared: Shared) -> Any:
    """Return the oldest piece, as soon as there is one."""
    with shared.filled:
        while not len(shared.pieces):
            shared.filled.wait()
    with shared.lock:
        piece = shared.pieces.pop(0)
    with shared.room:
        shared.room.notify()
    return piece


def batches(shared: Shared, count: int, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Give the mini-batches in the order in which their pieces were ready."""
    for _ in range(0, count, BATCH):
        yield stack([taken(shared) for _ in range(BATCH)]) if size == 1 else taken(shared)


@contextlib.contextmanager
def loader(work: Work, count: int, workers: int, unit: str) -> Iterator[Iterable[tuple[np.ndarray, np.ndarray]]]:
    """Start the Manager and the workers, give the mini-batches, end all."""
    size = BATCH if unit == "mini-batches" else 1
    context = multiprocessing.get_context("fork")
    with context.Manager() as manager:
        waiting = manager.Condition(), manager.Condition()
        shared = Shared(manager.list(), manager.Lock(), *waiting, ENOUGH * BATCH // size)
        parts = [range(first * size, count, workers * size) for first in range(workers)]
        processes = [context.Process(target=produce, args=(work, part, size, shared), daemon=True) for part in parts]
        for process in processes:
            process.start()
        try:
            yield batches(shared, count, size)
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.join()
