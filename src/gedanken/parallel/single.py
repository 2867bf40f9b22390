"""The plain strategy: this process, one step after the other. All others differ from it by about a line."""

from gedanken.data.source import Batch
from gedanken.parallel.base import StepResult, Strategy, Work, gradients


class Single(Strategy):
    """Compute every step here."""

    def start(self, work: Work) -> None:
        self.work = work
        work.descent.drop()

    def step(self, batch: Batch, epoch: int) -> StepResult:
        plan, descent = self.work.plan, self.work.descent
        result = gradients(self.work, batch, epoch)
        descent.learn(plan.params, plan.grads, result.samples)
        return result

    def sync(self) -> None:
        self.work.descent.flush(self.work.plan.params)

    def stop(self) -> None:
        pass
