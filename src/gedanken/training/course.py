"""Where a training is: its place in epochs and steps, the snapshots on its way, the weights that it goes back to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gedanken.engine.plan import Plan
from gedanken.errors import CheckpointError
from gedanken.parallel.base import StepResult, TrainState
from gedanken.state import State, check_state, part, prefixed, restore_parts, state_of
from gedanken.training.meter import Meter
from gedanken.training.records import Run, Snapshot
from gedanken.types import Array


@dataclass
class Place:
    """How far a training is.

    Args:
        epoch: number of the running epoch, counted from 1; after an epoch that of the next.
        step: steps of it that are done.
        share: of the epoch that is done.
        stopped: why the training ends here, "" where it goes on.
        seconds: since the training began, at its last state.
        between: of these, those between epochs.
        began: seconds at which the epoch began.
        waited: of the source, when it began; in a state, since it began.
        thawed: layers that were unfrozen since the begin, in JSON; "" for none.
    """

    epoch: int
    step: int = 0
    share: float = 0.0
    stopped: str = ""
    seconds: float = 0.0
    between: float = 0.0
    began: float = 0.0
    waited: float = 0.0
    thawed: str = ""

    def state(self) -> State:
        """Return it."""
        return dict(vars(self))

    def restore(self, state: Mapping[str, Any]) -> None:
        """Be where another one was; a CheckpointError changes nothing."""
        check_state("the training's place", state, vars(self))
        if state["epoch"] < 1:
            raise CheckpointError(f"the training's place: epochs are counted from 1, got {state['epoch']}")
        vars(self).update(state)


class Snapshots:
    """Makes a snapshot whenever `every` seconds of training have passed."""

    def __init__(self, run: Run, every: float, train_state: TrainState) -> None:
        self.run, self.every, self.train_state = run, every, train_state
        self._last = 0.0
        self._meter = _of_some_steps(train_state)

    def add(self, epoch: int, result: StepResult, seconds: float, trained: float) -> Snapshot | None:
        """Take in a step; `seconds` since the start, `trained` of them between epochs left out."""
        self._meter.add(result)
        if trained < self._last + self.every:
            return None
        speed = self._meter.samples / (trained - self._last)
        cost, metrics = self._meter.cost, self._meter.metrics
        self._last, self._meter = trained, _of_some_steps(self.train_state)
        return Snapshot(
            epoch, epoch - 1 + result.share, cost, metrics, self.train_state.optimizer_state.rate, speed, seconds
        )

    def state(self) -> State:
        """Return when the last snapshot was, and what was gathered since."""
        return {"last": self._last, **state_of({"meter": self._meter})}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where another one was; a CheckpointError changes nothing."""
        restore_parts("the snapshots", {"meter": self._meter}, state, {"last": self._last})
        self._last = state["last"]


class Kept:
    """Weights that callbacks want the training to end with.

    Args:
        plan: whose they are.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._weights: dict[int, dict[str, Array]] = {}  # by the place of the callback in the list
        self._epochs: dict[int, int] = {}

    def keep(self, callback: int, epoch: int) -> None:
        """Remember the weights as they are in an epoch, in place of those of the same callback before."""
        self._weights[callback], self._epochs[callback] = self._plan.state(), epoch

    def drop(self, useful: Callable[[], bool]) -> None:
        """Forget weights that are of no use: the update that ruined the training may be in them.

        Where those that it went back to are of no use either, the mini-batch is to blame, and nothing is forgotten.
        """
        if not self._weights or not useful():
            return
        now = self._plan.state()
        for callback in list(self._weights):
            self._plan.restore(self._weights[callback])
            if not useful():
                del self._weights[callback], self._epochs[callback]
        self._plan.restore(now)

    def put_back(self) -> int | None:
        """Give the plan the weights of the last callback that wanted some; return their epoch, None where none did."""
        if not self._weights:
            return None
        last = max(self._weights)
        self._plan.restore(self._weights[last])
        return self._epochs[last]

    def state(self) -> State:
        """Return weights and epochs."""
        weights = {f"{callback}.weights": one for callback, one in self._weights.items()}
        arrays = {key: array for name, one in weights.items() for key, array in prefixed(name, one).items()}
        return {**{f"{callback}.epoch": epoch for callback, epoch in self._epochs.items()}, **arrays}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Remember what another one did; a CheckpointError changes nothing."""
        numbers = {name.split(".")[0] for name in state}
        if not all(number.isdecimal() and number.isascii() for number in numbers):
            raise CheckpointError(f"kept weights must be those of callbacks, got {sorted(numbers)[:10]}")
        now, weights = self._plan.state(), dict[int, dict[str, Array]]()
        for number in numbers:
            own = part(number, state)
            check_state("kept weights", own, {"epoch": 0, **prefixed("weights", now)})
            weights[int(number)] = part("weights", own)
        self._weights, self._epochs = weights, {number: state[f"{number}.epoch"] for number in weights}


def new_meter(train_state: TrainState) -> Meter:
    """Return a Meter for all samples of an epoch or an evaluation."""
    cost = train_state.plan.cost
    return Meter(train_state.metrics, train_state.plan.ops, cost is not None and cost.sums)


def _of_some_steps(train_state: TrainState) -> Meter:
    """Return a Meter for any number of steps, whose costs are a mean also where those of an epoch add up."""
    return Meter(train_state.metrics, train_state.plan.ops)
