"""SPDL: a pipeline of threads around an event loop, in this process or in another, or a pool of processes."""

import contextlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

from spdl.dataloader import get_pytorch_dataloader
from spdl.pipeline import PipelineBuilder, run_pipeline_in_subprocess
from workloads import BATCH, Item, Work, stack

Batches = Iterator[Iterable[tuple[Any, Any]]]


class Items:
    """The items as a data set of PyTorch's kind."""

    def __init__(self, work: Work, count: int) -> None:
        self.work, self.count = work, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Item:
        return self.work.item(index)


def batch_at(work: Work, start: int) -> tuple[Any, Any]:
    """Return the mini-batch whose first item this is."""
    return work.batch(range(start, start + BATCH))


def _pipeline(work: Work, count: int, concurrency: int, unit: str, order: str, **options: Any) -> PipelineBuilder:
    options |= {"concurrency": concurrency, "output_order": order, "max_failures": 0}
    if unit == "mini-batches":
        builder = PipelineBuilder().add_source(range(0, count, BATCH)).pipe(partial(batch_at, work), **options)
    else:
        builder = PipelineBuilder().add_source(range(count)).pipe(work.item, **options).aggregate(BATCH).pipe(stack)
    return builder.add_sink(2)


@contextlib.contextmanager
def _threads(work: Work, count: int, threads: int, unit: str, order: str) -> Batches:
    pipeline = _pipeline(work, count, threads, unit, order).build(num_threads=threads + 1)
    with pipeline.auto_stop():
        yield pipeline


@contextlib.contextmanager
def _subprocess(work: Work, count: int, threads: int, unit: str, order: str) -> Batches:
    config = _pipeline(work, count, threads, unit, order).get_config()
    yield run_pipeline_in_subprocess(config, num_threads=threads + 1)


@contextlib.contextmanager
def _pool(work: Work, count: int, workers: int, unit: str, order: str) -> Batches:
    with ProcessPoolExecutor(workers) as executor:
        # Twice as many tasks as processes: one is in work while the result of another travels.
        pipeline = _pipeline(work, count, 2 * workers, unit, order, executor=executor).build(num_threads=2)
        with pipeline.auto_stop():
            yield pipeline


@contextlib.contextmanager
def _dataset(work: Work, count: int, workers: int, unit: str, order: str) -> Batches:
    data = Items(work, count)
    yield get_pytorch_dataloader(data, BATCH, num_workers=workers, in_order=order == "input")


KINDS = {"threads": _threads, "subprocess": _subprocess, "pool": _pool, "dataset": _dataset}


def loader(
    work: Work, count: int, kind: str, size: int, unit: str = "items", order: str = "input"
) -> contextlib.AbstractContextManager[Iterable[tuple[Any, Any]]]:
    """Return what gives the pipeline and ends it."""
    return KINDS[kind](work, count, size, unit, order)
