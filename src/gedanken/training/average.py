"""The moving average of the weights: the callback that asks for one, and what the loop keeps."""

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gedanken.checks import real, require
from gedanken.errors import CheckpointError
from gedanken.parallel.base import Strategy, TrainState
from gedanken.state import State, check_state
from gedanken.training.callbacks import Callback
from gedanken.training.records import AverageWeights, Run
from gedanken.types import Array

BLOCK = 1 << 16  # numbers that are averaged at once: they stay in the caches
DECAYS = "[0, 1)"


@dataclass
class MovingAverage(Callback):
    """Let the network end with an exponential moving average of its weights, which wander less than the last ones.

    After update number k of this training, counted from 1,

        average += (1 - decay) / (1 - decay ** k) * (weights - average)

    which is the mean of all weights so far, those of update i weighted by `decay ** (k - i)`: the first weights have no
    greater part in it than others, so a decay that is long for the training does no harm. About the last
    1 / (1 - decay) updates count. All parameters are averaged, and the running means and variances of BatchNorm; the
    average is kept in float64, and takes a pass over all of them in each step.

    The training itself goes on with its own weights. After each epoch the network has the average: for the validation,
    so for what goes by it (EarlyStopping, KeepBest, OnPlateau), for `on_epoch` of all callbacks, wherever they stand in
    the list, and for what they answer. So what KeepBest and `EarlyStopping(restore_best=True)` keep is the average of
    the best epoch, and the network ends with that; without them with the last average, whatever ends the training. Only
    one that explodes (NonFiniteError) ends with the weights that it went back to: the updates that did the harm are in
    the average. For the same reason it begins anew where a training goes back to older weights and on (OnNonFinite).

    Within an epoch, for `on_step`, and in a Checkpoint that `Network.load` reads, the weights are the training's own;
    `fit(resume=...)` goes on with both. A further `fit` begins with the average.

    Where several mini-batches are learnt from as one step (sparse models), the weights after it count for all of them.

    Args:
        decay: in [0, 1); 0 is the last weights.

    Raises:
        ArgumentError: the argument breaks its rule; when `fit` begins: another callback averages too, or workers hold
            the weights (`Hogwild`), and nobody sees them after each update.
    """

    decay: float = 0.999

    def __post_init__(self) -> None:
        real("MovingAverage decay", self.decay, DECAYS)

    def on_start(self, run: Run) -> AverageWeights:
        return AverageWeights(float(self.decay))


class Average:
    """The average of a training's weights, where a callback asks for one.

    Args:
        train_state: what is trained.
    """

    def __init__(self, train_state: TrainState) -> None:
        self._train_state, self._decay = train_state, -1.0
        self._updates = self._seen = 0
        self._vectors: list[Array] = []
        self._own: list[Array] = []  # the training's vectors while the plan holds the average

    def begin(self, owner: str, decay: float, strategy: Strategy) -> None:
        """Average from the next update on, or raise ArgumentError."""
        require(self._decay < 0, "callbacks", "average the weights once", f"a second average, of {owner}")
        rule = "be one where the network has the weights after each update, to average them"
        require(strategy.in_plan, "parallel", rule, type(strategy).__name__)
        self._decay = real(f"{owner}: AverageWeights decay", decay, DECAYS)
        xp, self._seen = self._train_state.plan.ops.xp, self._train_state.optimizer_state.updates
        self._vectors = [xp.zeros(one.size, np.float64) for one in self._live]

    def take(self) -> None:
        """Take in the weights, if they were updated; where they went back to older ones, begin anew."""
        updates = self._train_state.optimizer_state.updates
        new, self._seen = updates - self._seen, updates
        if new < 0:  # what did harm is in it
            self._updates = 0
        if self._decay < 0 or new <= 0:
            return
        self._updates += new
        share = _past(self._decay, new) / _past(self._decay, self._updates)
        for average, weights in zip(self._vectors, self._live, strict=True):
            for start in range(0, average.size, BLOCK):
                part = slice(start, start + BLOCK)
                average[part] += share * (weights[part] - average[part])

    def show(self) -> None:
        """Let the plan hold the average, until `hide`; the training's own weights are laid aside."""
        if self._updates and not self._own:
            self._own = [vector.copy() for vector in self._live]
            self._put(self._vectors)

    def hide(self) -> None:
        """Let the plan hold the training's own weights."""
        if self._own:
            self._put(self._own)
            self._own = []

    @contextlib.contextmanager
    def hidden(self) -> Iterator[None]:
        """Let the plan hold the training's own weights for a while."""
        shown = bool(self._own)
        self.hide()
        try:
            yield
        finally:
            if shown:
                self.show()

    def end(self, diverged: bool) -> None:
        """Leave the plan with the average or, where the training exploded, with its own weights."""
        self.hide()
        if self._updates and not diverged:
            self._put(self._vectors)

    def state(self) -> State:
        """Return the average, and of how many updates it is; nothing where nobody averages."""
        if self._decay < 0:
            return {}
        ops = self._train_state.plan.ops
        params, state = (np.array(ops.to_host(vector)) for vector in self._vectors)
        return {"updates": self._updates, "seen": self._seen, "params": params, "state": state}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where another one was; a CheckpointError changes nothing."""
        check_state("the average of the weights", state, self.state())
        if not state:
            return
        if not all(np.isfinite(state[name]).all() for name in ("params", "state")):
            raise CheckpointError("the average of the weights: it must be of finite numbers")
        for vector, name in zip(self._vectors, ("params", "state"), strict=True):
            vector[...] = self._train_state.plan.ops.asarray(state[name], np.float64)
        self._updates, self._seen = state["updates"], state["seen"]

    @property
    def _live(self) -> list[Array]:
        return [self._train_state.plan.params, self._train_state.plan.layer_state]

    def _put(self, vectors: list[Array]) -> None:
        for live, vector in zip(self._live, vectors, strict=True):
            live[...] = vector


def _past(decay: float, updates: int) -> float:
    """Return 1 - decay ** updates, with all digits for a decay near 1."""
    return -math.expm1(updates * math.log(decay)) if decay else 1.0
