"""Steps are computed here, by a number of threads that may differ from that of the network's engine."""

from collections.abc import Mapping
from typing import Any

from gedanken.engine.base import Engine
from gedanken.engine.plan import Plan
from gedanken.parallel.base import TrainState
from gedanken.parallel.recipe import Recipe
from gedanken.parallel.single import Single
from gedanken.types import Array


class Shared(Single):
    """Compute every step here, by a number of threads.

    Where the network's engine has another number of them, a plan of its own works on the network's parameters, state
    and optimizer. Gradients are each plan's own, since each knows which rows of them are not 0.

    Args:
        recipe: of the network, with an engine of so many threads.
        workers: the number of threads.
    """

    def __init__(self, recipe: Recipe, workers: int) -> None:
        self._recipe, self._workers = recipe, workers
        self._own: Engine | None = None

    def start(self, train_state: TrainState) -> None:
        plan, progress = train_state.plan, train_state.optimizer_state.progress
        places = self._own_places(plan)
        if places or plan.engine.threads != self._workers:
            places |= {"params": plan.params, "layer_state": plan.layer_state}
            train_state = self._recipe.train_state(lambda name, _: places.get(name), progress)
            self._own = train_state.plan.engine
        super().start(train_state)

    def _own_places(self, plan: Plan) -> dict[str, Array]:
        """Return the vectors, by name, that a plan of its own is to have elsewhere."""
        return {}

    def report(self) -> Mapping[str, Any]:
        threads = "1 thread" if self._workers == 1 else f"{self._workers} threads"
        return {"workers": f"{threads} of the engine cpu, which share each mini-batch: the result is the serial one"}

    def stop(self) -> None:
        if self._own:
            self._own.close()
        for name in ("train_state", "_refuge"):  # who holds an error of the training does not hold the plan
            vars(self).pop(name, None)
