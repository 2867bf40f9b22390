"""What a training does about a step that is not finite."""

from collections.abc import Sequence
from dataclasses import dataclass

from gedanken.checks import one_of, real, require, whole
from gedanken.parallel.base import Strategy
from gedanken.parallel.fault import Fault
from gedanken.training.callbacks import Callback
from gedanken.training.records import Answers, RollBack, Run, SetRate, Skip, StepRecord

ACTIONS = ("raise", "skip", "rollback")


def check_forgiving(callbacks: Sequence[Callback], strategy: Strategy) -> None:
    """Raise ArgumentError where steps are to be left out, and those who compute them cannot."""
    for one in callbacks:
        if isinstance(one, OnNonFinite) and one.action != "raise":
            rule = 'be "raise" with this parallel=: workers that wait for nobody cannot leave single steps out'
            require(strategy.forgives, "OnNonFinite action", rule, one.action)


@dataclass
class OnNonFinite(Callback):
    """Say what is done about a step whose cost, gradient or running mean is not finite; nothing of it is ever kept.

    A training without this callback ends with a NonFiniteError, which says where the number came from. What happened
    stands in `History.faults`.

    Args:
        action: "raise" ends the training; "skip" leaves the step out and goes on with the next mini-batch; "rollback"
            goes back to the last copy of the weights, at most 256 steps and one epoch old, and on with a lower learning
            rate; where it was one sample, and the others of the mini-batch show that the weights are sound, they stay.
        factor: for "rollback", what the learning rate is multiplied by each time, in (0, 1].
        at_most: so many steps one after the other may go wrong, >= 1; one more ends the training as "raise" does.

    Raises:
        ArgumentError: an argument breaks its rule; when `fit` begins: another action than "raise" with workers that
            share no steps (`Hogwild`, `ParameterServer` over ranks).
    """

    shows = True  # a sound training is the same with and without it, so it may come and go when one goes on

    action: str = "raise"
    factor: float = 0.5
    at_most: int = 10

    def __post_init__(self) -> None:
        one_of("OnNonFinite action", self.action, ACTIONS)
        real("OnNonFinite factor", self.factor, "(0, 1]")
        whole("OnNonFinite at_most", self.at_most)
        self._wrong, self._last = 0, False

    def on_start(self, run: Run) -> None:
        self._wrong, self._last = 0, False

    def on_fault(self, run: Run, fault: Fault) -> Answers:
        self._wrong, self._last = self._wrong + 1, True
        if self.action == "raise" or self._wrong > self.at_most:
            return None
        return Skip() if self.action == "skip" else [RollBack(), SetRate(self.factor)]

    def on_step(self, run: Run, record: StepRecord) -> None:
        if not self._last:
            self._wrong = 0
        self._last = False
