"""Cost and metrics of a network over some samples."""

import contextlib
from collections.abc import Callable

import numpy as np

from gedanken.data.batches import Source
from gedanken.parallel.base import TrainState, run_batch
from gedanken.training.course import new_meter
from gedanken.training.records import Evaluation


@np.errstate(all="ignore")
def evaluate(train_state: TrainState, source: Source, broken_off: Callable[[], bool] = lambda: False) -> Evaluation:
    """Return cost and metrics of all samples; empty where it was broken off."""
    ctx, meter, share = train_state.plan.context(train=False), new_meter(train_state), 0.0
    with contextlib.closing(source.batches(0)) as batches:
        for batch in batches:
            if broken_off():
                return Evaluation()
            meter.add(run_batch(train_state, batch, ctx))
            share = batch.share
    # A source that is broken off while it waits ends like any other.
    return meter.evaluation() if share == 1.0 or not broken_off() else Evaluation()
