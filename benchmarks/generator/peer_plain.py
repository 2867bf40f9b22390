"""No loader: the loop makes each mini-batch when it wants it."""

import contextlib
from collections.abc import Iterable, Iterator

import numpy as np
from workloads import BATCH, Work


@contextlib.contextmanager
def loader(work: Work, count: int) -> Iterator[Iterable[tuple[np.ndarray, np.ndarray]]]:
    """Give the mini-batches."""
    yield (work.batch(range(start, start + BATCH)) for start in range(0, count, BATCH))
