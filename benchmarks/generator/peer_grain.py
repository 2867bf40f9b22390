"""Grain: threads that read, in this process or in several others."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import grain.python as grain
from workloads import BATCH, Item, Work


class Items:
    """The items as Grain's source, which may be read at random."""

    def __init__(self, work: Work, count: int) -> None:
        self.work, self.count = work, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Item:
        return self.work.item(index)


@contextlib.contextmanager
def loader(
    work: Work, count: int, threads: int, processes: int = 0, unit: str = "items", buffer: int = 0
) -> Iterator[Iterable[tuple[Any, Any]]]:
    """Give Grain's data set. A thread reads single items, or makes whole mini-batches.

    The buffer is counted in what a thread makes, and held by each process. Where processes read items, each takes
    every so manieth of them, so mini-batches have other items than those of one process.
    """
    source = grain.MapDataset.source(Items(work, count))
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=buffer or max(threads, 1))
    if unit == "items":
        data = source.to_iter_dataset(options).batch(BATCH)
    else:
        data = source.batch(BATCH).to_iter_dataset(options)
    if processes:
        data = data.mp_prefetch(grain.MultiprocessingOptions(num_workers=processes))
    yield data
