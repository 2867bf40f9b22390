"""Which layers of a network learn, and how fast."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

from gedanken.checks import require
from gedanken.layers.dropout import Noise
from gedanken.layers.stages import ContainerStage, LayerStage, leaf_stages, own, with_leaves

Stage: TypeAlias = LayerStage | ContainerStage


class Tuning(NamedTuple):
    """Which layers do not learn, and which learn at a rate of their own.

    Args:
        frozen: positions of layers that do not learn, in order.
        rates: (position, factor) of layers whose learning rate is so many times the optimizer's, in order.
    """

    frozen: tuple[int, ...] = ()
    rates: tuple[tuple[int, float], ...] = ()

    def factor(self, position: int) -> float:
        """Return what the optimizer's rate is multiplied by for a layer; 0 for a frozen one."""
        return 0.0 if position in self.frozen else dict(self.rates).get(position, 1.0)

    def of_array(self, name: str) -> float:
        """Return the factor for a parameter such as "5.layers.0.kernel"."""
        return self.factor(int(name.split(".", maxsplit=1)[0]))

    def with_frozen(self, positions: Iterable[int], frozen: bool) -> "Tuning":
        """Return it with some layers frozen, or not."""
        kept = {*self.frozen} | {*positions} if frozen else {*self.frozen} - {*positions}
        return self._replace(frozen=tuple(sorted(kept)))

    def with_rate(self, positions: Iterable[int], factor: float) -> "Tuning":
        """Return it with a factor for some layers."""
        found = {**dict(self.rates), **dict.fromkeys(positions, factor)}
        return self._replace(rates=tuple(sorted((place, rate) for place, rate in found.items() if rate != 1.0)))

    def moved(self, place: Callable[[int], int | None]) -> "Tuning":
        """Return it for layers that stand elsewhere: `place` gives the new position of each, None where it is gone."""
        frozen = sorted(new for old in self.frozen if (new := place(old)) is not None)
        rates = sorted((new, rate) for old, rate in self.rates if (new := place(old)) is not None)
        return Tuning(tuple(frozen), tuple(rates))


ALIKE = Tuning()  # all learn, at the same rate


def checked_layer_names(names: Sequence[Any]) -> tuple[str | None, ...]:
    """Return names of layers, or raise ArgumentError unless they are texts, all different, or None."""
    seen: set[str] = set()
    for name in names:
        if name is not None:
            require(isinstance(name, str) and name != "", "name", "be a text, or None", name)
            require(name not in seen, "name", "be unlike those of other layers", name)
            seen.add(name)
    return tuple(names)


def divided(body: Sequence[Stage]) -> tuple[list[tuple[list[Stage], bool]], Sequence[Stage]]:
    """Return the first layers, through which no gradient has to go since none of them learns, and those behind them.

    The first ones come in groups with whether each runs as in training: a dropout that is not frozen does. One that is
    passes everything on, and is left out of those behind.
    """
    inner = [list(leaf_stages([stage])) for stage in body]
    learning = [place for place, parts in enumerate(inner) if any(one.p and not one.frozen for one in parts)]
    first = min(learning, default=len(body))
    if not any(one.frozen and one.p for parts in inner[:first] for one in parts):
        return [], _without_frozen_dropout(body)
    groups: list[tuple[list[Stage], bool]] = []
    for stage, parts in zip(body[:first], inner[:first], strict=True):
        train = any(not one.frozen and (own(one.layer) or isinstance(one.layer, Noise)) for one in parts)
        if groups and groups[-1][1] == train:
            groups[-1][0].append(stage)
        else:
            groups.append(([stage], train))
    groups = [(part if train else thawed(part), train) for part, train in groups]
    return groups, _without_frozen_dropout(body[first:])


def _without_frozen_dropout(stages: Sequence[Stage]) -> list[Stage]:
    return [one for one in stages if not (isinstance(one, LayerStage) and one.frozen and isinstance(one.layer, Noise))]


def thawed(stages: Sequence[Stage]) -> list[Stage]:
    """Return layers for use at prediction, where a frozen one is like any other."""
    return with_leaves(stages, lambda one: replace(one, frozen=False) if one.frozen else one)
