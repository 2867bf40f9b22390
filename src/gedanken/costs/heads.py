"""The cost of a network with several outputs: that of each, weighted and added up."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Self, cast

from gedanken.by_name import ByName
from gedanken.checks import real, require
from gedanken.costs.base import Cost, Judged, Weighing
from gedanken.errors import ArgumentError, DataError, ShapeError
from gedanken.ops import Ops
from gedanken.types import AnyShape, Array


class OfHead(NamedTuple):
    """What a mini-batch costs one head.

    Args:
        cost: without the weight of the head.
        samples, counted: as of Weighing.
    """

    cost: Any
    samples: float
    counted: Array | None


@dataclass(frozen=True, eq=False, repr=False)
class HeadsCost(Cost):
    """The cost of several outputs by name, each with a cost and a weight of its own.

        cost = sum over heads of weight * cost of the head,   dy of a head = weight * its gradient

    Outputs, targets, gradients and shapes are by name here.

    Args:
        heads: name, cost and weight of each.

    Source:
        Caruana 1997, "Multitask Learning", section 2.
    """

    heads: tuple[tuple[str, Cost, float], ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, cost, weight in self.heads:
            require(isinstance(name, str), "HeadsCost heads", "have names", name)
            require(isinstance(cost, Cost), f"the cost of the head {name!r}", "be a Cost", cost)
            real(f"the weight of the head {name!r}", weight, "[0, inf)")
        sums = {cost.sums for cost in self.costs.values()}
        require(len(sums) == 1, "cost", 'have reduction="sum" for all heads or for none', dict(self.costs))

    @property
    def costs(self) -> dict[str, Cost]:
        """The cost of each head."""
        return {name: cost for name, cost, _ in self.heads}

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each head."""
        return {name: weight for name, _, weight in self.heads}

    def with_costs(self, costs: Mapping[str, Cost]) -> Self:
        """Return it with other costs and the same weights."""
        return type(self)(tuple((name, costs[name], weight) for name, _, weight in self.heads))

    def entries(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        raise ArgumentError("each head has entries of its own; their sum has none")

    def __call__(
        self, ops: Ops, y: Any, target: Any, weight: Array | None = None, lengths: Any = None
    ) -> tuple[Any, Any]:
        return self.judged(ops, y, target, weight, lengths)[:2]

    def judged(self, ops: Ops, y: Any, target: Any, weight: Array | None = None, lengths: Any = None) -> Judged:
        found = {}
        for name, cost in self.costs.items():
            own = (lengths or {}).get(name)
            found[name] = cost.judged(ops, y.parts[name], target.parts[name], weight, own)
        return self.together(found, len(y))

    def together(self, found: Mapping[str, Judged], samples: int) -> Judged:
        """Return cost and gradients of all heads, of what each gave for so many samples."""
        dy: Any = ByName({name: one.dy * self.weights[name] for name, one in found.items()})
        told = {name: (one.cost, one.weighing) for name, one in found.items()}
        return Judged(self.total(told), dy, self.weighed(told, samples))

    def total(self, told: Mapping[str, tuple[Any, Weighing]]) -> Any:
        """Return the cost of a mini-batch, of that of each head and how it was made."""
        return sum(self.weights[name] * cost for name, (cost, _) in told.items())

    def weighed(self, told: Mapping[str, tuple[Any, Weighing]], samples: int) -> Weighing:
        """Return how the cost of a mini-batch was made; `counted` has an OfHead for each head."""
        counts = {weighing.samples for _, weighing in told.values()}
        heads: Any = {name: OfHead(cost, of.samples, of.counted) for name, (cost, of) in told.items()}
        return Weighing(None, 1.0, counts.pop() if len(counts) == 1 else samples, heads)

    def as_uncut(self, weighing: Weighing, share: Any, samples: int) -> Weighing:
        told, heads = {}, cast("Mapping[str, OfHead]", weighing.counted)
        for name, (cost, counts, counted) in heads.items():
            of = Weighing(None, 1.0, counts, counted)
            told[name] = cost, self.costs[name].as_uncut(of, share[name], samples)
        return self.weighed(told, samples)

    @property
    def sums(self) -> bool:
        return any(cost.sums for cost in self.costs.values())

    @property
    def aligned(self) -> frozenset[str]:
        return frozenset(name for name, cost in self.costs.items() if cost.aligns)

    @property
    def by_entries(self) -> bool:
        return all(cost.by_entries for cost in self.costs.values())

    def refusal(self, what: str) -> str:
        return next((cost.refusal(what) for cost in self.costs.values() if not cost.by_entries), "")

    @property
    def unresolved(self) -> bool:
        return any(cost.unresolved for cost in self.costs.values())

    def resolved(self, target: Any, shape: AnyShape) -> Self:
        costs = {}
        for name, cost in self.costs.items():
            with told_of_head(name):
                costs[name] = cost.resolved(target.parts[name], shape[name])
        return self.with_costs(costs)

    def provisional(self) -> Self:
        return self.with_costs({name: cost.provisional() for name, cost in self.costs.items()})

    def check_resolved(self, call: str) -> None:
        for name, cost in self.costs.items():
            with told_of_head(name):
                cost.check_resolved(call)

    def check_output(self, shape: AnyShape) -> None:
        for name, cost in self.costs.items():
            with told_of_head(name):
                cost.check_output(shape[name])

    def checked_target(self, argument: str, target: Any, shape: AnyShape) -> Any:
        found = {}
        for name, cost in self.costs.items():
            found[name] = cost.checked_target(f'{argument}["{name}"]', target.parts[name], shape[name])
        return ByName(found)


@contextmanager
def told_of_head(name: str) -> Iterator[None]:
    """Let an error say which head it is about."""
    try:
        yield
    except ShapeError as error:
        raise ShapeError(f"head {name!r}: {error.rule}", error.hint) from None
    except DataError as error:
        raise DataError(f"head {name!r}: {error}") from None
    except ArgumentError as error:
        raise ArgumentError(f"head {name!r}: {error}") from None
