"""The plain strategy: this process, one step after the other. All others differ from it by about a line."""

from gedanken.data.source import Batch
from gedanken.parallel.base import StepResult, Strategy, Work, gradients
from gedanken.parallel.refuge import Refuge


class Single(Strategy):
    """Compute every step here."""

    def start(self, work: Work) -> None:
        self.work = work
        work.descent.drop()
        self._refuge = Refuge(work)

    def step(self, batch: Batch, epoch: int) -> StepResult:
        plan, descent = self.work.plan, self.work.descent
        before, fault = plan.state.copy(), "an error"
        try:
            result = gradients(self.work, batch, epoch)
            fault = result.fault
            if not fault:
                self._refuge.keep(before)
                fault = descent.learn(plan.params, plan.grads, result.samples)
        finally:
            if fault:
                plan.state[...] = before
        if not fault:
            return result
        self._refuge.seek(batch)
        return result._replace(fault=fault)

    def sync(self) -> str:
        return self.work.descent.flush(self.work.plan.params)

    def settle(self, batch: Batch) -> str:
        if self._refuge.useful(batch):
            return ""
        self._refuge.seek(batch)
        return "the weights became useless"

    def stop(self) -> None:
        pass
