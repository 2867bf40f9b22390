"""PyTorch's DataLoader."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from torch.utils.data import DataLoader, Dataset
from workloads import BATCH, Item, Work


class Items(Dataset):
    """The items, one at a time, as everybody has them."""

    def __init__(self, work: Work, count: int) -> None:
        self.work, self.count = work, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Item:
        return self.work.item(index)


class PooledItems(Items):
    """The items of a mini-batch from a pool of threads, of which each worker has its own: the user's own work."""

    def __init__(self, work: Work, count: int, threads: int) -> None:
        super().__init__(work, count)
        self.threads = threads
        self.pool: ThreadPoolExecutor | None = None

    def __getitems__(self, indices: Sequence[int]) -> list[Item]:
        if self.pool is None:
            self.pool = ThreadPoolExecutor(self.threads)
        return list(self.pool.map(self.work.item, indices))


@contextlib.contextmanager
def loader(
    work: Work, count: int, workers: int, start: str | None = None, threads: int = 0
) -> Iterator[Iterable[tuple[Any, Any]]]:
    """Give the DataLoader. Its workers end with its iterator."""
    data = PooledItems(work, count, threads) if threads else Items(work, count)
    yield DataLoader(data, BATCH, num_workers=workers, multiprocessing_context=start)
