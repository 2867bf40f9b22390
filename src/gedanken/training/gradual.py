"""Layers that learn again one after the other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gedanken.checks import require, whole
from gedanken.parallel.base import Strategy
from gedanken.training.callbacks import Callback
from gedanken.training.records import EpochRecord, Run, Unfreeze


@dataclass
class GradualUnfreezing(Callback):
    """Let frozen layers learn again in stages, most often from the head to the stem, so that none is thrown away.

    After every `every` epochs the layers of the next stage are unfrozen, as by `Network.unfreeze`: the optimizer's
    moving means start afresh. Freeze them before `fit`.

    Args:
        stages: positions or names of layers, or tuples of several that learn together; in order.
        every: epochs between two stages, at least 1.

    Raises:
        ArgumentError: an argument breaks its rule; when `fit` begins: there is no such layer, or workers hold the
            weights (`Hogwild`).

    Source:
        Howard & Ruder 2018, arXiv:1801.06146, section 3.3.
    """

    stages: Sequence[Any]
    every: int = 1

    def __post_init__(self) -> None:
        right = isinstance(self.stages, (list, tuple)) and len(self.stages) > 0
        require(right, "GradualUnfreezing stages", "be a list of layers, or of tuples of them", self.stages)
        whole("GradualUnfreezing every", self.every)
        self._layers = [tuple(one) if isinstance(one, (list, tuple)) else (one,) for one in self.stages]
        names = [name for stage in self._layers for name in stage]
        rule = "name layers by position or name"
        plain = all(isinstance(name, (int, str)) and not isinstance(name, bool) for name in names)
        require(plain and all(self._layers), "GradualUnfreezing stages", rule, self.stages)

    def on_epoch(self, run: Run, record: EpochRecord) -> Unfreeze | None:
        stage, rest = divmod(record.epoch - run.first_epoch + 1, self.every)
        return Unfreeze(self._layers[stage - 1]) if not rest and stage <= len(self._layers) else None


def check_stages(
    callbacks: Sequence[Callback], strategy: Strategy, chosen: Callable[[str, Sequence[Any]], object]
) -> None:
    """Raise ArgumentError for layers that are not there, and where workers would not hear of it."""
    for one in callbacks:
        if isinstance(one, GradualUnfreezing):
            chosen("GradualUnfreezing", one.stages)
            rule = "be one where the network has the weights after each update, to unfreeze layers"
            require(strategy.in_plan, "parallel", rule, type(strategy).__name__)
