"""A task that was given out, until all of its samples are delivered."""

from gedanken.data.workers.position import Record
from gedanken.data.workers.tasks import Span, Task
from gedanken.types import Array


class PendingTask:
    """A task that was given out, and what came of it."""

    __slots__ = ("done", "error", "expected", "extra", "samples", "taken", "task")

    def __init__(self, task: Task, expected: int) -> None:
        self.task, self.expected = task, expected
        self.done = False
        self.samples = self.taken = 0
        self.extra: list[Array] = []
        self.error: BaseException | None = None  # what ended it after its samples

    @property
    def over(self) -> bool:
        """Whether all that its calls give is taken; those of one that failed are still to be delivered."""
        return self.taken == self.samples and self.error is None

    @property
    def failed(self) -> bool:
        """Whether it is time to raise what ended it: the samples before are taken."""
        return self.error is not None and self.taken == self.samples

    def record(self) -> Record:
        """Return what will be left of it when the samples taken so far are delivered."""
        first, stop = self.task.first, self.task.first + self.task.length
        # Nobody knows which call gave which sample, so a task that was taken in part is left as a whole: whoever goes
        # on there makes its few calls again and leaves out the samples that were delivered.
        rest = Span(stop, stop, 0) if self.over else Span(first, stop, self.task.skip + self.taken)
        return Record(first, rest)
