"""A way back for a training that explodes: the last parameters that are known to have been of use."""

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from gedanken.data.batches import Batch
from gedanken.parallel.base import TrainState
from gedanken.parallel.counting import cut_weight
from gedanken.state import State, check_state
from gedanken.types import Array

SEEN = 8  # samples that say whether weights are of use
FAR = 1e6  # times the cost of the copy, or 1: that is an explosion, though a finite one
EVERY = 256  # steps between two copies, each of which takes about as long as the update of one step


class Refuge:
    """A copy of parameters and state that have given a finite cost, renewed every 256 steps.

    The update before the one that fails is often the one that did the harm: its parameters are finite, but no output
    of theirs is. Then the network goes back to the copy, and the optimizer's slots to their start.

    Args:
        train_state: what is trained.
    """

    def __init__(self, train_state: TrainState) -> None:
        self._train_state = train_state
        self._params, self._state = train_state.plan.params.copy(), train_state.plan.layer_state.copy()
        self._updates = train_state.optimizer_state.updates
        self._steps = 0
        self.last: Batch | None = None  # what was just learnt from; behind an epoch a copy of its first samples

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.last:
            self.last = self.last.part(0, SEEN).copy()

    def state(self) -> State:
        """Return the copy, and how far it is from the next one."""
        ops = self._train_state.plan.ops
        vectors = {"params": self._params, "state": self._state}
        copies = {name: np.array(ops.to_host(vector)) for name, vector in vectors.items()}
        return {"updates": self._updates, "steps": self._steps, **copies}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Have the copy of another one; a CheckpointError changes nothing."""
        check_state("the copy of the weights", state, self.state())
        ops = self._train_state.plan.ops
        self._params[...], self._state[...] = ops.asarray(state["params"]), ops.asarray(state["state"])
        self._updates, self._steps = state["updates"], state["steps"]

    @property
    def due(self) -> bool:
        """Whether the next parameters that give a finite cost are taken in."""
        return self._steps % EVERY == 0

    def keep(self, state: Array) -> None:
        """Take in the plan's parameters, which have just given a finite cost.

        Args:
            state: as it was before that pass.
        """
        if self.due:
            self.renew(state)
        self._steps += 1

    def renew(self, state: Array) -> None:
        """Take in the plan's parameters now."""
        self._params[...], self._state[...] = self._train_state.plan.params, state
        self._updates = self._train_state.optimizer_state.updates

    def settle(self) -> str:
        """Go back where what was learnt is of no use, and say so."""
        if self.useful_now():
            return ""
        assert self.last
        return "the weights became useless" if self.seek(self.last) else ""

    def useful_now(self) -> bool:
        """Say whether the network as it is gives a finite cost for what was just learnt from."""
        return not self.last or self.proven

    @property
    def proven(self) -> bool:
        """Whether there is something that was just learnt from, and the network gives a finite cost for it."""
        return self.last is not None and self.useful(self.last)

    def useful(self, batch: Batch) -> bool:
        """Say whether the network as it is gives a finite cost for a mini-batch."""
        return math.isfinite(self._cost(batch))

    def _cost(self, batch: Batch) -> float:
        """Return the cost of a mini-batch as at prediction; inf with parameters that are not finite."""
        plan = self._train_state.plan
        x, target = plan.cut(batch.x, batch.target)
        passed = plan.cost_and_gradients(plan.context(train=False), x, target, cut_weight(batch.weight, target))
        return float(passed.cost) if plan.ops.finite(plan.params) else math.inf

    def seek(self, batch: Batch) -> bool:
        """Go back to the copy if it gives a cost for a mini-batch, and the network as it is none or far more.

        Return whether it went back; else the mini-batch is to blame.
        """
        plan, now = self._train_state.plan, self._cost(batch)
        params, state = plan.params.copy(), plan.layer_state.copy()
        plan.params[...], plan.layer_state[...] = self._params, self._state
        then = self._cost(batch)
        exploded = not now <= FAR * max(abs(then), 1.0)  # also where it is NaN
        if (exploded and math.isfinite(then)) or not plan.ops.finite(params):
            self.go_back()
            return True
        plan.params[...], plan.layer_state[...] = params, state
        return False

    def go_back(self) -> None:
        """Go back to the copy, and with the optimizer's slots to their start."""
        plan = self._train_state.plan
        plan.params[...], plan.layer_state[...] = self._params, self._state
        self._train_state.optimizer_state.start_afresh(self._updates)
