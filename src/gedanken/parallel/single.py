"""The plain strategy: this process, one step after the other. All others differ from it by about a line."""

import contextlib
import math

from gedanken.data.batches import ArraySource, Batch, Source
from gedanken.engine.learner import Learner
from gedanken.parallel.base import RUN, Results, StepResult, Strategy, TrainState, gradients, learn_run, learner_of
from gedanken.parallel.black_box import examined
from gedanken.parallel.counting import counts_of
from gedanken.parallel.fault import Fault
from gedanken.parallel.refuge import Refuge
from gedanken.state import Stateful


class Single(Strategy):
    """Compute every step here."""

    def start(self, train_state: TrainState) -> None:
        self.train_state = train_state
        train_state.optimizer_state.discard()
        self._refuge = Refuge(train_state)

    def _parts(self) -> dict[str, Stateful]:
        return {**super()._parts(), "refuge": self._refuge}

    def steps(self, source: Source, epoch: int, start: int = 0) -> Results:
        if isinstance(source, ArraySource):
            plan, rule = self.train_state.plan, self.train_state.optimizer_state.optimizer
            if learner := learner_of(plan, rule, source.mini_batch_size, source.weight is not None):
                yield from self._runs(source, learner, epoch, start)
                return
        with contextlib.closing(source.batches(epoch, start)) as batches, self._refuge:
            for batch in batches:
                self._refuge.last = batch
                yield self.step(batch, epoch)

    def _runs(self, source: ArraySource, learner: Learner, epoch: int, start: int) -> Results:
        """Learn from small mini-batches some at a time."""
        count = max(1, RUN // source.mini_batch_size)
        with self._refuge:
            number, size = start, source.mini_batch_size
            while number < source.steps:
                batch = source.run(epoch, number, count)
                self._refuge.last = batch
                self._refuge.keep(self.train_state.plan.layer_state)
                before = self.train_state.optimizer_state.step
                result, _ = learn_run(self.train_state, learner, batch, size)
                done = self.train_state.optimizer_state.step - before
                number += done
                if not result.fault:
                    yield result
                    continue
                fault, share = result.fault, number * size / source.samples
                if done:
                    yield result._replace(fault=None, share=share)
                number += 1
                wrong = batch.part(done * size, (done + 1) * size)
                self._seek(wrong, fault)
                yield StepResult(len(wrong.x), min(number / source.steps, 1.0), math.nan, (), fault)

    def step(self, batch: Batch, epoch: int) -> StepResult:
        """Learn from one mini-batch, or leave everything as it was."""
        plan, optimizer_state = self.train_state.plan, self.train_state.optimizer_state
        before, sound = plan.layer_state.copy(), False
        try:
            result = gradients(self.train_state, batch, epoch)
            if not result.fault:
                self._refuge.keep(before)
                refused = optimizer_state.apply(plan.params, plan.grads, counts_of(result))
                result = result._replace(fault=Fault(refused) if refused else None)
            sound = result.fault is None
        finally:
            if not sound:
                plan.layer_state[...] = before
        if not result.fault:
            return result
        fault = examined(result.fault, plan, optimizer_state, batch, epoch)
        self._seek(batch, fault)
        return result._replace(fault=fault)

    def _seek(self, batch: Batch, fault: Fault) -> None:
        """Go back where the weights are to blame; else the rest of the mini-batch says whether they are of use."""
        self._refuge.last = batch if self._refuge.seek(batch) else batch.without(fault.sample)

    def sync(self) -> str:
        plan = self.train_state.plan
        refused = self.train_state.optimizer_state.flush(plan.params)
        if not refused and self._refuge.proven:
            self._refuge.renew(plan.layer_state)
        return refused

    def settle(self) -> str:
        return self._refuge.settle()

    def useful(self) -> bool:
        return self._refuge.useful_now()

    def roll_back(self) -> None:
        if not self._refuge.proven:  # else one sample is to blame, and not the weights
            self._refuge.go_back()

    def stop(self) -> None:
        pass
