"""Architectures: the classes that data may name, and layers from data."""

from collections.abc import Iterable
from typing import Any

from gedanken import costs, init, layers, schedules
from gedanken.checks import require
from gedanken.costs.heads import HeadsCost
from gedanken.init import Initializer
from gedanken.io.data import MARKS, Known, from_data, known_as
from gedanken.layers import Layer
from gedanken.metrics.heads import HeadCost, HeadMetric, NamedMetric
from gedanken.named import METRICS, OPTIMIZERS, kinds_in
from gedanken.schedules import Schedule

MOST_OBJECTS = 20_000  # layers, their parts, and lists of such
LIBRARY: tuple[type[Any], ...] = (
    *kinds_in(layers, Layer),
    *OPTIMIZERS.values(),
    *costs.COSTS.values(),
    costs.CustomCost,
    layers.Param,
    *kinds_in(init, Initializer),
    *kinds_in(schedules, Schedule),
    *METRICS.values(),
    HeadsCost,
    HeadCost,
    HeadMetric,
    NamedMetric,
)

FORMER: dict[str, type[Any]] = {"Chain": layers.Sequential}  # former names, in older files


def known_classes(extra: Iterable[type[Any]] = ()) -> dict[str, type[Any]]:
    """Return the classes that data may name: the library's own and the `extra` ones of a user, functions among them.

    Raises:
        ArgumentError: two of them have one name.
    """
    known: dict[str, type[Any]] = {kind.__name__: kind for kind in LIBRARY}
    for kind in extra:
        name = known_as(kind)
        require(name not in MARKS and known.setdefault(name, kind) is kind, "classes", "have names of their own", name)
    return {**FORMER, **known}


def layers_from_data(data: Any, known: Known) -> tuple[Layer, ...]:
    """Return a list of layers, or raise ArgumentError."""
    require(isinstance(data, list) and len(data) > 0, "layers", "be a list of at least one layer", data)
    check_size(data)
    found = from_data(data, known)
    for position, layer in enumerate(found):
        require(isinstance(layer, Layer), f"layers[{position}]", "be a layer", layer)
    return tuple(found)


def check_size(data: Any) -> None:
    """Raise ArgumentError for data of more layers than anybody stacks: each costs time when a network is made."""
    count, parts = 0, [data]
    while parts:
        part = parts.pop()
        if isinstance(part, (dict, list)):
            count += 1
            parts += part.values() if isinstance(part, dict) else part
    require(count <= MOST_OBJECTS, "layers", f"be made of at most {MOST_OBJECTS:,} objects", count)
