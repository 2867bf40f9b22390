"""A training that ends when its time is over."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gedanken.checks import duration, real
from gedanken.state import State, check_state
from gedanken.training.callbacks import Callback
from gedanken.training.records import Run, SetRate, StepRecord, Stop

STAGES = 20  # in which the rate falls


@dataclass
class Budget(Callback):
    """End the training when its time is over, with a learning rate that has come down by then.

    In the last part of the time, `tail`, the rate falls in 20 stages along half a cosine from what it is to a hundredth
    of it, whatever its schedule does besides: n stages are a factor of (1 + cos(pi n / 21)) / 2. The time is that of
    the whole run: what lies before a resume counts, what lies between does not. It may end by one step late.

    Args:
        time: such as "30 s", "10 min" or "2 h".
        tail: the part of the time in which the rate falls, in [0, 1]; 0 leaves the rate alone.

    Raises:
        ArgumentError: an argument breaks its rule.
    """

    time: str
    tail: float = 0.2

    def __post_init__(self) -> None:
        self._seconds = duration("Budget time", self.time)
        real("Budget tail", self.tail, "[0, 1]")
        self._stage = 0

    def on_start(self, run: Run) -> None:
        self._stage = 0

    def state(self) -> State:
        return {"stage": self._stage}

    def restore(self, state: Mapping[str, Any]) -> None:
        check_state("Budget", state, self.state())
        self._stage = state["stage"]

    def on_step(self, run: Run, record: StepRecord) -> Stop | SetRate | None:
        if record.seconds >= self._seconds:
            return Stop(f"its time of {self.time} is over")
        done = record.seconds / self._seconds
        stage = math.floor(STAGES * (done - 1 + self.tail) / self.tail) if done > 1 - self.tail else 0
        if stage <= self._stage:
            return None
        before, self._stage = self._stage, stage
        return SetRate(_share(stage) / _share(before))


def _share(stage: int) -> float:
    """Return which part of the rate is left in a stage."""
    return (1 + math.cos(math.pi * stage / (STAGES + 1))) / 2
