"""Gives out tasks, takes in what was done, and makes mini-batches of it, in order.

All of this runs in the caller, inside the call that asks for the next mini-batch: tasks for all free slots are given
out before it returns, and free slots are the only currency, so memory is bounded whatever the speed of either side.

Where each call gives the same number of samples, workers write them to the very rows where they belong, and a
mini-batch is a slot. Otherwise samples are copied together here, once.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Sequence

from gedanken.data.workers.arena import Arena, Slots
from gedanken.data.workers.base import LOOK, Watchdog, Workers
from gedanken.data.workers.batch_builder import BatchBuilder
from gedanken.data.workers.items import ItemSpec
from gedanken.data.workers.pending import PendingTask
from gedanken.data.workers.position import Mark, Record, rest_of
from gedanken.data.workers.tasks import MOST_SLOTS, Span, Task, TaskResult
from gedanken.processes.raised import as_raised
from gedanken.types import Array

GROUP_SECONDS = 0.004  # a task takes about so long: enough of them to share, few enough that telling costs nothing
SMALL, SMALL_BYTES = 32, 1 << 23  # so many mini-batches, if they take no more
BUFFER_BYTES = 1 << 28  # what a buffer takes that nobody set, unless it is for two mini-batches
SOON, LONGEST_NAP = 0.002, 0.01  # seconds
KEPT = 16  # tasks whose samples per call are remembered


class WorkerStats:
    """What one worker did: calls, samples, and the seconds that they took."""

    __slots__ = ("calls", "samples", "seconds")

    def __init__(self) -> None:
        self.calls = self.samples = 0
        self.seconds = 0.0


class Scheduler:
    """The stream of mini-batches of one Generator, epoch after epoch.

    Args:
        workers: who does the tasks.
        rows: samples of a mini-batch.
        buffer: mini-batches that are ready or in the making; None is enough to keep the workers busy.
        ordered: whether samples come in the order of the calls, or as they are ready.
        time_limit: seconds that one call may take.
    """

    def __init__(
        self, workers: Workers, rows: int, buffer: int | None, ordered: bool, time_limit: float | None
    ) -> None:
        self.workers, self.rows, self.ordered = workers, rows, ordered
        self.buffer = buffer or 0  # 0 is still to be found
        self.spec: ItemSpec | None = None
        self.waited = 0.0  # seconds
        self.failed = False  # whether it was the user's code that raised
        self.worker_stats: dict[int, WorkerStats] = {}
        self._watchdog = Watchdog(workers, time_limit)
        self._slots: Slots | None = None
        self._given: dict[int, PendingTask] = {}  # by number, also those of epochs that were left
        self._numbers = self._generation = 0
        self._slot, self._row = -1, 0  # where the next task writes
        self._recent: deque[float] = deque(maxlen=KEPT)  # samples per call of the last tasks
        self._each, self._steady = 1, True  # samples that a call is taken to give; whether all of them gave so many
        self._call_seconds: float | None = None
        self.mark: Mark | None = None  # what is delivered of this epoch
        self._reset([], 0, 0)

    # ------------------------------------------------------------------ epochs

    def begin(self, epoch: int, calls: int, todo: list[Span], made: Sequence[tuple[Task, TaskResult]] = ()) -> None:
        """Begin with these calls of an epoch, of which the first may have been made, and give out tasks."""
        self.cancel()
        self._watchdog.forget()
        self._reset(todo, epoch, calls)
        for task, done in made:
            self._numbers += 1
            self._finish(self._enlist(task._replace(number=self._numbers), 0), done)
        self._issue()

    def _reset(self, todo: list[Span], epoch: int, calls: int) -> None:
        self._todo, self._epoch, self._calls = deque(todo), epoch, calls
        self._plan, self.mark = tuple(todo), None
        # Not wholly delivered, in the order of delivery: that of the calls, or that in which they were done.
        self._queue: deque[PendingTask] = deque()
        self._touched: list[PendingTask] = []  # taken from since the last delivery
        self._builder: BatchBuilder | None = None
        self._ahead = 0  # samples that the tasks given out bring, as far as is known
        self.delivered_calls = calls - sum(span.stop - span.first for span in todo)

    def cancel(self) -> None:
        """Leave the running epoch; what is still being done for it is dropped when it comes."""
        self._generation += 1
        self.workers.cancel_before(self._generation)
        for pending in self._queue:
            if pending.done:  # all others are released when their results come
                self._release(pending)
        if self._builder:
            self._builder.drop()
        self._leave_slot()
        self._reset([], 0, 0)

    def rest(self, mark: Mark | None) -> list[Span]:
        """Return the calls of this epoch that were not delivered when `mark` was the last one."""
        return rest_of(self._plan, mark)

    @property
    def level(self) -> float:
        """Mini-batches that are ready, with a fraction."""
        return sum(pending.samples - pending.taken for pending in self._queue if pending.done) / self.rows

    # ------------------------------------------------------------------ the next mini-batch

    def next(self, least: int, broken_off: Callable[[], bool]) -> list[Array] | None:
        """Return the arrays of the next mini-batch, or None at the end of the epoch or where it is broken off.

        Args:
            least: samples that the last mini-batch must have to be delivered.
            broken_off: whether waiting has become useless.

        Raises:
            WorkerError: a worker died, or a call took longer than the time limit.
            Exception: what the user's code raised.
        """
        if self._given:  # what was done while the network computed frees slots for further tasks
            self._take_in(self.workers.wait(0))
        self._watchdog.heard()  # nobody listened until now, so silence says nothing about the workers
        while True:
            self._issue()
            if made := self._assemble(least):
                self._issue()  # before the network gets it, so that workers go on meanwhile
                return made
            self._raise_in_turn()
            if not self._todo and not self._under_way():
                return None
            if not self._given:  # nobody will bring anything: the mini-batch in the making must leave its slot
                self._make_room()
                continue
            began = time.perf_counter()
            self._nap()
            done = self.workers.wait(LOOK)
            self.waited += time.perf_counter() - began
            self._take_in(done)
            if broken_off():
                return None
            if done:
                self._watchdog.heard()
            else:
                self._watchdog.look()

    def _nap(self) -> None:
        """Sleep for a part of the time that the mini-batch will still take, rather than be woken for each task."""
        if self.workers.beside and self._slots and self._call_seconds:
            missing = self.rows - (self._builder.samples if self._builder else 0)
            left = missing / self._each * self._call_seconds / self.workers.width
            if left > SOON:
                time.sleep(min(left / 4, LONGEST_NAP))

    def _take_in(self, found: list[TaskResult]) -> None:
        for done in found:
            pending = self._given.pop(done.number)
            if done.seconds:
                self._count(done, pending.task.length)
            if done.generation != self._generation:
                # Only now: until its result was here a worker could still have written into its slots.
                self._release(pending)
            else:
                self._finish(pending, done)

    def _count(self, done: TaskResult, calls: int) -> None:
        stats = self.worker_stats.setdefault(done.worker, WorkerStats())
        stats.calls += calls
        stats.samples += done.samples
        stats.seconds += done.seconds
        seconds = done.seconds / calls
        # The last calls count most, since what a call costs may change within an epoch.
        self._call_seconds = seconds if self._call_seconds is None else 0.8 * self._call_seconds + 0.2 * seconds

    def _finish(self, pending: PendingTask, done: TaskResult) -> None:
        pending.done, pending.samples, pending.error = True, done.samples, done.error
        self._ahead += done.samples - pending.expected
        if done.error is None:
            self._learn((done.samples + pending.task.skip) / pending.task.length)
        if done.extra:
            spec, pending.extra = done.extra
            self.allocate(spec)
        if not self.ordered:
            self._queue.append(pending)

    def _learn(self, each: float) -> None:
        self._recent.append(each)
        if not (self._steady and each == self._each):
            # The largest of late: rows that stay empty cost less than samples without room, which come by value.
            self._each = max(1, math.ceil(max(self._recent)))
            self._steady = all(given == self._each for given in self._recent)

    def allocate(self, spec: ItemSpec) -> None:
        """Learn what samples look like, from the first of them."""
        if self.spec is None:
            self.spec = spec
            self.buffer = self.buffer or self._enough(Arena.size(spec, self.rows, 1))
            self._slots = Slots(self.workers.allocate(spec, self.rows, self.buffer + 2))

    def _enough(self, slot_bytes: int) -> int:
        """Return a buffer that keeps all busy: mini-batches for twice as many calls as are made at the same time.

        Small mini-batches are soon made, so there are more of them; large ones are no more than fit BUFFER_BYTES.
        """
        wanted = 2 + math.ceil(2 * self.workers.width * self._each / self.rows)
        return max(2, min(max(wanted, SMALL), SMALL_BYTES // slot_bytes), min(wanted, BUFFER_BYTES // slot_bytes))

    # ------------------------------------------------------------------ delivery

    def _assemble(self, least: int) -> list[Array] | None:
        """Take samples that are ready, and return the mini-batch where it is whole."""
        while pending := self._head():
            if pending.samples:
                assert self._slots is not None
                self._builder = self._builder or BatchBuilder(self._slots)
                self._take(pending, self._builder)
            if pending.over:
                self._drop_head(pending)
            if self._builder and self._builder.samples == self.rows:
                return self._deliver(self._builder)
        if self._builder and not self._todo and not self._under_way() and self._builder.samples >= least:
            return self._deliver(self._builder)
        return None

    def _head(self) -> PendingTask | None:
        first = self._queue[0] if self._queue else None
        return first if first and first.done and not first.failed else None

    def _under_way(self) -> bool:
        """Return whether tasks of this epoch are out, or not wholly delivered."""
        return bool(self._queue) or any(p.task.generation == self._generation for p in self._given.values())

    def _raise_in_turn(self) -> None:
        """Raise what a call raised, where all samples before it are delivered: as many for any number of workers."""
        first = self._queue[0] if self._queue else None
        if first and first.error is not None and first.failed:
            self.failed = True
            failed, first.error = first.error, None
            try:
                raise as_raised(failed)
            finally:
                del failed, first  # an exception that is kept must not keep what lies here

    def _drop_head(self, pending: PendingTask) -> None:
        if pending not in self._touched[-1:]:  # it gave no samples, but its calls are delivered with the others
            self._touched.append(pending)
        self._queue.popleft()
        self._release(pending)

    def _take(self, pending: PendingTask, builder: BatchBuilder) -> None:
        """Move samples of a task into the mini-batch, as many as fit."""
        self._touched.append(pending)
        task, written = pending.task, pending.samples - (len(pending.extra[0]) if pending.extra else 0)
        while pending.taken < pending.samples and builder.samples < self.rows:
            room = self.rows - builder.samples
            if pending.taken < written:
                place, row = divmod(task.row + pending.taken, self.rows)
                count = min(room, written - pending.taken, self.rows - row)
                builder.take_rows(task.slots[place], row, count)
            else:
                first = pending.taken - written
                count = min(room, pending.samples - pending.taken)
                builder.take([array[first : first + count] for array in pending.extra])
            pending.taken += count

    def _deliver(self, builder: BatchBuilder) -> list[Array]:
        records = [pending.record() for pending in self._touched]
        if self.ordered:  # one record tells all: what came before the last task of the calls is delivered
            self.mark = Mark(None, [Record(self._plan[0].first, records[-1].rest)])
        else:
            self.mark = Mark(self.mark, records)
        for pending in self._touched:
            if pending.over:
                self.delivered_calls += pending.task.length
        self._touched.clear()
        self._builder = None
        return builder.finish()

    def _release(self, pending: PendingTask) -> None:
        for slot in pending.task.slots:
            assert self._slots is not None
            self._slots.release(slot)

    # ------------------------------------------------------------------ giving out tasks

    def _issue(self) -> None:
        """Give out tasks while there is room for what they bring."""
        if self._slots is None:  # the first call says what samples look like
            if self._todo and not self._under_way():
                self._give(self._todo[0].undivided or 1, 0, 0, 0, ())
            return
        while self._todo and self._issue_one(self._slots):
            pass

    def _issue_one(self, slots: Slots) -> bool:
        offset = (
            self._ahead % self.rows
        )  # where the next sample falls in its mini-batch, if tasks give what is expected
        span = self._todo[0]
        # A task ends where its mini-batch does, which would wait for the calls of the next one otherwise.
        count = span.undivided or min(span.stop - span.first, self._group(), -(-(self.rows - offset) // self._each))
        expected = max(0, self._each * count - span.skip)
        if self._steady and self._row != offset:
            self._leave_slot()  # rows have come apart from places in mini-batches; in a new slot they agree again
        if self._slot < 0:
            self._row = offset if self._steady else 0
        here = self.rows - self._row
        # No more slots than are free once the network holds two, or it waits for ever; what has no room comes by value.
        further = 0 if expected <= here else min(-(-(expected - here) // self.rows), self.buffer - 1, MOST_SLOTS - 1)
        if slots.free() < further + (self._slot < 0):
            return False
        used = [slots.take() if self._slot < 0 else self._slot, *(slots.take() for _ in range(further))]
        room = min(expected, here + further * self.rows)
        self._give(count, expected, self._row, room, tuple(used))
        # The task is a user of all its slots now; the scheduler stays one of the last only, where the next task begins.
        for slot in used:
            slots.hold(slot)
        for slot in used[:-1]:
            slots.release(slot)
        self._slot, self._row = used[-1], self._row + room - further * self.rows
        if self._row == self.rows:
            self._leave_slot()
        return True

    def _group(self) -> int:
        """Return how many calls a task should have: even parts of a mini-batch."""
        if self._call_seconds and self._call_seconds > GROUP_SECONDS / 2:
            return 1
        calls = -(-self.rows // self._each)
        if self._call_seconds is None:
            most = math.ceil(calls / self.workers.width)
        else:
            most = min(calls, max(1, int(GROUP_SECONDS / max(self._call_seconds, 1e-9))))
        # Not `most` itself: of 9 calls by 4 the last task would have 1, and tasks of 3 are done sooner side by side.
        return math.ceil(calls / math.ceil(calls / most))

    def _give(self, count: int, expected: int, row: int, room: int, slots: tuple[int, ...]) -> None:
        span = self._todo[0]
        self._numbers += 1
        task = Task(
            self._generation,
            number=self._numbers,
            epoch=self._epoch,
            calls=self._calls,
            first=span.first,
            length=count,
            skip=span.skip,
            row=row,
            room=room,
            slots=slots,
        )
        self._given[task.number] = self._enlist(task, expected)
        self._ahead += expected
        self.workers.submit(task)

    def _enlist(self, task: Task, expected: int) -> PendingTask:
        """Take the calls of a task, the next ones, off those that are still to be given out."""
        span = self._todo.popleft()
        if span.first + task.length < span.stop:
            self._todo.appendleft(Span(span.first + task.length, span.stop, 0))
        pending = PendingTask(task, expected)
        if self.ordered:
            self._queue.append(pending)
        return pending

    def _leave_slot(self) -> None:
        if self._slot >= 0:
            assert self._slots is not None
            self._slots.release(self._slot)
            self._slot = -1

    def _make_room(self) -> None:
        """Free the slot of the mini-batch in the making, where no task can be given out without it."""
        if self._slots and self._builder:
            self._builder.move_out()
