"""Gedanken's Generator."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from workloads import BATCH, Item, Work

from gedanken import Generator


class Items(Generator):
    """The items, one a call."""

    def __init__(self, work: Work, count: int, **options: Any) -> None:
        super().__init__(**options)
        self.work, self.count = work, count

    def __len__(self) -> int:
        return self.count

    def get_mini_batches(self, index: int) -> list[Item]:
        return [self.work.item(index)]


@contextlib.contextmanager
def loader(work: Work, count: int, **options: Any) -> Iterator[Iterable[tuple[Any, Any]]]:
    """Give the Generator, and close it."""
    generator = Items(work, count, mini_batch_size=BATCH, **options)
    try:
        yield generator
    finally:
        generator.close()
