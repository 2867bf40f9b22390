"""Costs, optimizers and metrics by name."""

import inspect
from typing import Any

from gedanken import metrics, optimizers
from gedanken.checks import named, require, short
from gedanken.costs import COSTS, Cost
from gedanken.errors import ArgumentError
from gedanken.metrics import Metric
from gedanken.optimizers import Optimizer


def kinds_in(module: Any, base: type[Any]) -> list[type[Any]]:
    """Return the public classes of a module that objects can be made of."""
    kinds = [kind for name, kind in vars(module).items() if not name.startswith("_") and isinstance(kind, type)]
    return [kind for kind in kinds if issubclass(kind, base) and not inspect.isabstract(kind)]


OPTIMIZERS: dict[str, type[Any]] = {kind.__name__.lower(): kind for kind in kinds_in(optimizers, Optimizer)}
METRICS: dict[str, type[Any]] = {kind().name: kind for kind in kinds_in(metrics, Metric)}


def as_optimizer(optimizer: str | Optimizer) -> Optimizer:
    """Return an optimizer by its name, with its defaults, or the object itself; or raise ArgumentError."""
    if isinstance(optimizer, str):
        found: Optimizer = named("optimizer", optimizer, OPTIMIZERS)()
        return found
    name = optimizer.__name__ if isinstance(optimizer, type) else "Adam"
    rule = f"be an Optimizer object or its name, such as {name}()"
    require(isinstance(optimizer, Optimizer), "optimizer", rule, optimizer)
    return optimizer


def as_metric(metric: str | Metric) -> Metric:
    """Return a metric by its name in records, with its defaults, or the object itself; or raise ArgumentError."""
    if isinstance(metric, str):
        found: Metric = named("metrics", metric, METRICS)()
        return found
    made = f"{metric.__name__}()" if isinstance(metric, type) else "Accuracy()"
    require(isinstance(metric, Metric), "metrics", f"be Metric objects or their names, such as {made}", metric)
    return metric


def as_cost(cost: str | Cost) -> Cost:
    """Return a cost by its name, or the object itself."""
    if isinstance(cost, Cost):
        return cost
    if isinstance(cost, str):
        kind: type[Cost] = named("cost", cost, COSTS)
        return kind()
    raise ArgumentError(f"cost must be a name or a Cost, got {short(cost)}; wrap your own functions in CustomCost")
