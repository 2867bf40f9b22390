"""What is known of a training before its first step."""

import os
import secrets
import time
from collections.abc import Sequence

from gedanken.checks import short
from gedanken.costs import Cost
from gedanken.data.batches import Source
from gedanken.layers import Layer
from gedanken.parallel.base import TrainState
from gedanken.training.records import Run


def new_run(
    train_state: TrainState,
    layers: Sequence[Layer],
    cost: Cost | None,
    source: Source,
    validates: bool,
    epochs: tuple[int, int],
    folder: str | None,
) -> Run:
    """Return what is known before the first step; without a `folder` it has one of its own in `runs/`."""
    name = f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{secrets.token_hex(3)}"
    plan = train_state.plan
    config = {
        "layers": [type(layer).__name__ for layer in layers],
        "parameters": int(plan.params.size),
        "optimizer": short(train_state.optimizer_state.optimizer),
        "cost": short(cost),
        "engine": plan.engine.name,
        "dtype": str(plan.ops.dtype),
        "seed": plan.seed,
        "mini_batch_size": source.mini_batch_size,
    }
    return Run(
        *epochs,
        source.steps,
        source.samples,
        validates,
        metrics=tuple(metric.name for metric in train_state.metrics),
        better=tuple(metric.better for metric in train_state.metrics),
        id=name,
        folder=folder or os.path.join("runs", name),
        started=time.time(),
        config=config,
    )
