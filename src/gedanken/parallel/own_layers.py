"""The layers that each rank of a pipeline updates alone, and how all ranks come to know of them."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from gedanken.optimizer_state import OptimizerState
from gedanken.optimizers import Optimizer
from gedanken.parallel.base import TrainState
from gedanken.ranks.communicator import Communicator
from gedanken.types import Array


class OwnLayers:
    """This rank's part of an update that is made by all ranks.

    Args:
        train_state: what is trained.
        ranks: all ranks.
        positions: of each rank's layers in the network.
    """

    def __init__(self, train_state: TrainState, ranks: Communicator, positions: Sequence[Collection[int]]) -> None:
        self._train_state, self._ranks, self._positions = train_state, ranks, positions
        plan, optimizer_state = train_state.plan, train_state.optimizer_state
        rule: Optimizer = optimizer_state.optimizer
        self._longest, self._largest = rule.clip_norm, rule.clip_value
        if self._longest is not None:
            rule = replace(rule, clip_norm=None, clip_value=None)
        others = [place for rank, all_of in enumerate(positions) if rank != ranks.rank for place in all_of]
        updated = plan.updated(rule, plan.tuning.with_frozen(others, True))
        assert plan.cost
        shared = optimizer_state.progress, plan.cost.sums
        self._optimizer = OptimizerState(plan.ops, rule, updated, plan.engine.updater, *shared)
        own = positions[ranks.rank]
        self._grads = [view for name, view in plan.gradients().items() if _position(name) in own]

    def update(self) -> str:
        """Update this rank's layers by the plan's gradients, or return why no rank does."""
        plan = self._train_state.plan
        bounds = self._ranks.gather(np.float64(self._optimizer.bound(plan.grads)).tobytes())
        bound = math.hypot(*(float(np.frombuffer(one)[0]) for one in bounds))
        if refused := self._train_state.optimizer_state.refusal(bound):
            return refused
        if self._longest is not None:
            self._clip(self._longest)
        self._optimizer.update(plan.params, plan.grads)
        return ""

    def share(self) -> None:
        """Let all ranks have what each has learnt."""
        plan, progress = self._train_state.plan, self._train_state.optimizer_state.progress
        learnt = plan.gradients()
        kept = {name: view for name, view in plan.arrays().items() if name not in learnt}
        for rank, positions in enumerate(self._positions):
            for part in _parts(learnt, positions):
                for vector in (plan.params, *progress.slots.values()):
                    self._ranks.broadcast(vector[part], rank)
            for part in _parts(kept, positions):
                self._ranks.broadcast(plan.layer_state[part], rank)

    def _clip(self, longest: float) -> None:
        """Clip this rank's gradients by the length of all ranks', the same to the last bit for any number of ranks."""
        xp = self._train_state.plan.ops.xp
        found = []
        for g in self._grads:
            if self._largest is not None:
                xp.clip(g, -self._largest, self._largest, out=g)
            largest = float(abs(g).max(initial=0)) or 1.0  # without it large gradients overflow when squared
            found += [largest, float(xp.sum((g / largest) ** 2, dtype="float64"))]
        every = np.concatenate([np.frombuffer(one) for one in self._ranks.gather(np.array(found).tobytes())])
        largest = max(every[::2], default=1.0)
        norm = largest * math.sqrt(math.fsum(every[1::2] * (every[::2] / largest) ** 2))
        if norm > longest:
            for g in self._grads:
                xp.multiply(g, longest / norm, out=g)


def _position(name: str) -> int:
    return int(name.split(".", maxsplit=1)[0])


def _parts(arrays: Mapping[str, Array], positions: Collection[int]) -> list[slice]:
    """Return where the arrays of some layers lie in the vector that is made of arrays one after the other."""
    parts, start = list[slice](), 0
    for name, view in arrays.items():
        stop = start + view.size
        if _position(name) in positions and view.size:
            if parts and parts[-1].stop == start:
                parts[-1] = slice(parts[-1].start, stop)
            else:
                parts.append(slice(start, stop))
        start = stop
    return parts
