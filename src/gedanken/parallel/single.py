"""The plain strategy: this process, one step after the other. All others differ from it by about a line."""

from gedanken.data.source import Batch
from gedanken.parallel.base import StepResult, Strategy, Work


class Single(Strategy):
    """Compute every step here."""

    def start(self, work: Work) -> None:
        self.work = work
        work.descent.drop()

    def step(self, batch: Batch, epoch: int) -> StepResult:
        plan, cost, descent, metrics = self.work
        ctx = plan.context(train=True, epoch=epoch, position=batch.position)
        y, tape = plan.forward(ctx, batch.x)
        value, dy = cost(plan.ops, y, plan.enter_target(batch.target))
        plan.backward(ctx, tape, dy)
        descent.learn(plan.params, plan.grads, len(batch.x))
        outputs = plan.finish(y)
        statistics = tuple(metric.measure(outputs, batch.target) for metric in metrics)
        return StepResult(len(batch.x), float(value), statistics)

    def sync(self) -> None:
        self.work.descent.flush(self.work.plan.params)

    def stop(self) -> None:
        pass
