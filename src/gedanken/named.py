"""Costs, optimizers and metrics by name."""

import inspect
from collections.abc import Mapping
from typing import Any

from gedanken import metrics, optimizers
from gedanken.checks import named, real, require, short
from gedanken.costs import COSTS, Cost
from gedanken.costs.heads import HeadsCost
from gedanken.errors import ArgumentError
from gedanken.layers import Layer
from gedanken.layers.containers import Container
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


def cost_of(cost: str | Cost | Mapping[str, Any], last: Layer) -> Cost:
    """Return the cost of a network that ends with a layer: of heads the sum of theirs, given by name; or raise.

    Args:
        cost: as `regression` takes it.
        last: the last layer.
    """
    if not (isinstance(last, Container) and last.gives_names):
        require(not isinstance(cost, Mapping), "cost", "be one cost where the last layer is not Heads(...)", cost)
        return as_cost(cost)  # type: ignore[arg-type]
    names = [*last.rows]
    require(isinstance(cost, Mapping), "cost", f"be a dict with a cost for each of the heads {names}", cost)
    given: Mapping[str, Any] = cost  # type: ignore[assignment]
    for name in names:
        require(name in given, "cost", f"have one for each of the heads {names}, and not none for {name!r}", cost)
    for name in given:
        require(name in names, "cost", f"be of the heads {names} alone, and not of {name!r}", cost)
    heads = tuple((name, *_weighted(f"cost[{name!r}]", given[name])) for name in names)
    require(any(weight for _, _, weight in heads), "cost", "have a head whose weight is not 0", cost)
    return HeadsCost(heads)


def _weighted(argument: str, given: Any) -> tuple[Cost, float]:
    if not isinstance(given, (tuple, list)):
        return as_cost(given), 1.0
    require(len(given) == 2, argument, "be a cost or a pair (cost, weight)", given)
    return as_cost(given[0]), real(f"the weight of {argument}", given[1], "[0, inf)")


def as_cost(cost: str | Cost) -> Cost:
    """Return a cost by its name, or the object itself."""
    if isinstance(cost, Cost):
        return cost
    if isinstance(cost, str):
        kind: type[Cost] = named("cost", cost, COSTS)
        return kind()
    raise ArgumentError(f"cost must be a name or a Cost, got {short(cost)}; wrap your own functions in CustomCost")
