"""Progress for a person: one live line, or few plain ones."""

from gedanken.training.callbacks import Callback
from gedanken.training.display import Display
from gedanken.training.records import EpochRecord, Run, Snapshot, StepRecord, figure_texts

LIVE_SECONDS = 0.2
# A plain line comes when the training has become this share longer since the last one, so that days of training
# make some hundred lines.
PLAIN_SHARE = 0.05
WAITING_SHARE = 0.03  # of an epoch; a network that waits longer for data is told why
WAITING_AGAIN = 4  # it is told again when the training is so many times as long, so that short epochs have one line


class Progress(Callback):
    """Show a training: live where the display can, else a line at snapshots, ever more rarely.

    Args:
        display: where to.
    """

    shows = True

    def __init__(self, display: Display) -> None:
        self._display = display
        self._shown = 0.0
        self._snapshot: Snapshot | None = None
        self._trained = self._told = 0.0

    def on_step(self, run: Run, record: StepRecord) -> None:
        self._snapshot = record.snapshot or self._snapshot
        if self._display.lively:
            if record.seconds - self._shown >= LIVE_SECONDS:
                self._shown = record.seconds
                self._display.live(*self._parts(run, record))
        elif record.snapshot and record.seconds * (1 - PLAIN_SHARE) >= self._shown:
            self._shown = record.seconds
            head, figures, tail = self._parts(run, record)
            self._display.line(head, *figures, tail)

    def on_epoch(self, run: Run, record: EpochRecord) -> None:
        done = "" if record.finished else " (not finished)"
        head = f"epoch {record.epoch}/{run.last_epoch}{done}"
        self._display.line(head, *figure_texts(record.values()), f"{record.seconds:.1f} s")
        if record.generator and record.epoch == run.first_epoch:
            self._display.line(f"  data by {record.generator['workers']}")
        if record.parallel and record.epoch == run.first_epoch:
            self._display.line(f"  by {record.parallel['workers']}")
        if record.parallel and "course" in record.parallel:
            self._display.line(f"  {record.parallel['course']}")
        self._trained += record.seconds
        waits = record.generator and record.waiting_seconds > WAITING_SHARE * record.seconds
        if waits and self._trained >= WAITING_AGAIN * self._told:
            self._told = self._trained
            self._tell_waiting(record)

    def _tell_waiting(self, record: EpochRecord) -> None:
        assert record.generator
        share = record.waiting_seconds / record.seconds
        self._display.line(f"  {share:.0%} of it waiting for data; {record.generator['bottleneck']}")

    def on_stop(self, run: Run, reason: str) -> None:
        if reason != "all epochs done":
            self._display.line(f"training ended: {reason}")
        self._display.end()

    def _parts(self, run: Run, record: StepRecord) -> tuple[str, list[str], str]:
        """Return head, figures and tail of a line within an epoch."""
        passed = record.epoch - run.first_epoch + record.fraction
        left = record.seconds / passed * (run.last_epoch - run.first_epoch + 1 - passed)
        figures, speed = {"cost": record.cost}, ""
        if self._snapshot:
            figures = {"cost": self._snapshot.cost, **self._snapshot.metrics}
            speed = f"{self._snapshot.samples_per_second:,.0f} samples/s  "
        head = f"epoch {record.epoch}/{run.last_epoch} {record.fraction:4.0%}"
        return head, list(figure_texts(figures)), f"{speed}{_clock(left)} left"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
