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
from gedanken.data.workers.assembly import Assembly
from gedanken.data.workers.crew import LOOK, Crew, Watch
from gedanken.data.workers.items import Layout
from gedanken.data.workers.pending import Piece
from gedanken.data.workers.position import Mark, Record, rest_of
from gedanken.data.workers.raised import as_raised
from gedanken.data.workers.tasks import MOST_SLOTS, Done, Span, Task
from gedanken.types import Array

GROUP_SECONDS = 0.004  # a task takes about so long: enough of them to share, few enough that telling costs nothing
SMALL, SMALL_BYTES = 32, 1 << 23  # so many mini-batches, if they take no more
BUFFER_BYTES = 1 << 28  # what a buffer takes that nobody set, unless it is for two mini-batches
SOON, LONGEST_NAP = 0.002, 0.01  # seconds
KEPT = 16  # tasks whose samples per call are remembered


class Tally:
    """What one worker did: calls, samples, and the seconds that they took."""

    __slots__ = ("calls", "samples", "seconds")

    def __init__(self) -> None:
        self.calls = self.samples = 0
        self.seconds = 0.0


class Feed:
    """The stream of mini-batches of one Generator, epoch after epoch.

    Args:
        crew: who does the tasks.
        rows: samples of a mini-batch.
        buffer: mini-batches that are ready or in the making; None is enough to keep the crew busy.
        ordered: whether samples come in the order of the calls, or as they are ready.
        time_limit: seconds that one call may take.
    """

    def __init__(self, crew: Crew, rows: int, buffer: int | None, ordered: bool, time_limit: float | None) -> None:
        self.crew, self.rows, self.ordered = crew, rows, ordered
        self.buffer = buffer or 0  # 0 is still to be found
        self.layout: Layout | None = None
        self.waited = 0.0  # seconds
        self.failed = False  # whether it was the user's code that raised
        self.tallies: dict[int, Tally] = {}
        self._watch = Watch(crew, time_limit)
        self._slots: Slots | None = None
        self._given: dict[int, Piece] = {}  # by number, also those of epochs that were left
        self._numbers = self._generation = 0
        self._slot, self._row = -1, 0  # where the next task writes
        self._recent: deque[float] = deque(maxlen=KEPT)  # samples per call of the last tasks
        self._each, self._steady = 1, True  # samples that a call is taken to give; whether all of them gave so many
        self._call_seconds: float | None = None
        self.mark: Mark | None = None  # what is delivered of this epoch
        self._reset([], 0, 0)

    # ------------------------------------------------------------------ epochs

    def begin(self, epoch: int, calls: int, todo: list[Span], made: Sequence[tuple[Task, Done]] = ()) -> None:
        """Begin with these calls of an epoch, of which the first may have been made, and give out tasks."""
        self.cancel()
        self._watch.forget()
        self._reset(todo, epoch, calls)
        for task, done in made:
            self._numbers += 1
            self._finish(self._enlist(task._replace(number=self._numbers), 0), done)
        self._issue()

    def _reset(self, todo: list[Span], epoch: int, calls: int) -> None:
        self._todo, self._epoch, self._calls = deque(todo), epoch, calls
        self._plan, self.mark = tuple(todo), None
        # Not wholly delivered, in the order of delivery: that of the calls, or that in which they were done.
        self._queue: deque[Piece] = deque()
        self._touched: list[Piece] = []  # taken from since the last delivery
        self._assembly: Assembly | None = None
        self._ahead = 0  # samples that the tasks given out bring, as far as is known
        self.delivered_calls = calls - sum(span.stop - span.first for span in todo)

    def cancel(self) -> None:
        """Leave the running epoch; what is still being done for it is dropped when it comes."""
        self._generation += 1
        self.crew.renew(self._generation)
        for piece in self._queue:
            if piece.done:  # those that are not are released with their answers: till then somebody may write there
                self._release(piece)
        if self._assembly:
            self._assembly.drop()
        self._leave_slot()
        self._reset([], 0, 0)

    def rest(self, mark: Mark | None) -> list[Span]:
        """Return the calls of this epoch that were not delivered when `mark` was the last one."""
        return rest_of(self._plan, mark)

    @property
    def level(self) -> float:
        """Mini-batches that are ready, with a fraction."""
        return sum(piece.samples - piece.taken for piece in self._queue if piece.done) / self.rows

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
        if self._given:
            self._take_in(self.crew.wait(0))
        self._watch.heard()
        while True:
            self._issue()
            if made := self._assemble(least):
                self._issue()
                return made
            self._raise_in_turn()
            if not self._todo and not self._under_way():
                return None
            if not self._given:  # nobody will bring anything: the mini-batch in the making must leave its slot
                self._make_room()
                continue
            began = time.perf_counter()
            self._nap()
            done = self.crew.wait(LOOK)
            self.waited += time.perf_counter() - began
            self._take_in(done)
            if broken_off():
                return None
            if done:
                self._watch.heard()
            else:
                self._watch.look()

    def _nap(self) -> None:
        """Sleep for a part of the time that the mini-batch will still take, rather than be woken for each task."""
        if self.crew.beside and self._slots and self._call_seconds:
            missing = self.rows - (self._assembly.samples if self._assembly else 0)
            left = missing / self._each * self._call_seconds / self.crew.width
            if left > SOON:
                time.sleep(min(left / 4, LONGEST_NAP))

    def _take_in(self, found: list[Done]) -> None:
        for done in found:
            piece = self._given.pop(done.number)
            if done.seconds:
                self._count(done, piece.task.length)
            if done.generation != self._generation:
                self._release(piece)
            else:
                self._finish(piece, done)

    def _count(self, done: Done, calls: int) -> None:
        tally = self.tallies.setdefault(done.worker, Tally())
        tally.calls += calls
        tally.samples += done.samples
        tally.seconds += done.seconds
        seconds = done.seconds / calls
        self._call_seconds = seconds if self._call_seconds is None else 0.8 * self._call_seconds + 0.2 * seconds

    def _finish(self, piece: Piece, done: Done) -> None:
        piece.done, piece.samples, piece.error = True, done.samples, done.error
        self._ahead += done.samples - piece.expected
        if done.error is None:
            self._learn((done.samples + piece.task.skip) / piece.task.length)
        if done.extra:
            layout, piece.extra = done.extra
            self.settle(layout)
        if not self.ordered:
            self._queue.append(piece)

    def _learn(self, each: float) -> None:
        self._recent.append(each)
        if not (self._steady and each == self._each):
            self._each = max(1, math.ceil(max(self._recent)))
            self._steady = all(given == self._each for given in self._recent)

    def settle(self, layout: Layout) -> None:
        """Learn what samples look like, from the first of them."""
        if self.layout is None:
            self.layout = layout
            self.buffer = self.buffer or self._enough(Arena.size(layout, self.rows, 1))
            self._slots = Slots(self.crew.settle(layout, self.rows, self.buffer + 2))

    def _enough(self, slot_bytes: int) -> int:
        """Return a buffer that keeps the crew busy: mini-batches for twice as many calls as are made at the same time.

        Small mini-batches are soon made, so there are more of them; large ones are no more than fit BUFFER_BYTES.
        """
        wanted = 2 + math.ceil(2 * self.crew.width * self._each / self.rows)
        return max(2, min(max(wanted, SMALL), SMALL_BYTES // slot_bytes), min(wanted, BUFFER_BYTES // slot_bytes))

    # ------------------------------------------------------------------ delivery

    def _assemble(self, least: int) -> list[Array] | None:
        """Take samples that are ready, and return the mini-batch where it is whole."""
        while piece := self._head():
            if piece.samples:
                assert self._slots is not None
                self._assembly = self._assembly or Assembly(self._slots)
                self._take(piece, self._assembly)
            if piece.over:
                self._drop_head(piece)
            if self._assembly and self._assembly.samples == self.rows:
                return self._deliver(self._assembly)
        if self._assembly and not self._todo and not self._under_way() and self._assembly.samples >= least:
            return self._deliver(self._assembly)
        return None

    def _head(self) -> Piece | None:
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

    def _drop_head(self, piece: Piece) -> None:
        if piece not in self._touched[-1:]:
            self._touched.append(piece)
        self._queue.popleft()
        self._release(piece)

    def _take(self, piece: Piece, assembly: Assembly) -> None:
        """Move samples of a piece into the mini-batch, as many as fit."""
        self._touched.append(piece)
        task, written = piece.task, piece.samples - (len(piece.extra[0]) if piece.extra else 0)
        while piece.taken < piece.samples and assembly.samples < self.rows:
            room = self.rows - assembly.samples
            if piece.taken < written:
                place, row = divmod(task.row + piece.taken, self.rows)
                count = min(room, written - piece.taken, self.rows - row)
                assembly.take_rows(task.slots[place], row, count)
            else:
                first = piece.taken - written
                count = min(room, piece.samples - piece.taken)
                assembly.take([array[first : first + count] for array in piece.extra])
            piece.taken += count

    def _deliver(self, assembly: Assembly) -> list[Array]:
        records = [piece.record() for piece in self._touched]
        if self.ordered:  # one record tells all: what came before the last task of the calls is delivered
            self.mark = Mark(None, [Record(self._plan[0].first, records[-1].rest)])
        else:
            self.mark = Mark(self.mark, records)
        for piece in self._touched:
            if piece.over:
                self.delivered_calls += piece.task.length
        self._touched.clear()
        self._assembly = None
        return assembly.finish()

    def _release(self, piece: Piece) -> None:
        for slot in piece.task.slots:
            assert self._slots is not None
            self._slots.release(slot)

    # ------------------------------------------------------------------ giving out tasks

    def _issue(self) -> None:
        """Give out tasks while there is room for what they bring."""
        if self._slots is None:  # the first call says what samples look like
            if self._todo and not self._under_way():
                self._give(self._todo[0].whole or 1, 0, 0, 0, ())
            return
        while self._todo and self._issue_one(self._slots):
            pass

    def _issue_one(self, slots: Slots) -> bool:
        offset = self._ahead % self.rows
        span = self._todo[0]
        count = span.whole or min(span.stop - span.first, self._group(), -(-(self.rows - offset) // self._each))
        expected = max(0, self._each * count - span.skip)
        if self._steady and self._row != offset:
            self._leave_slot()
        if self._slot < 0:
            self._row = offset if self._steady else 0
        here = self.rows - self._row
        further = 0 if expected <= here else min(-(-(expected - here) // self.rows), self.buffer - 1, MOST_SLOTS - 1)
        if slots.free() < further + (self._slot < 0):
            return False
        used = [slots.take() if self._slot < 0 else self._slot, *(slots.take() for _ in range(further))]
        room = min(expected, here + further * self.rows)
        self._give(count, expected, self._row, room, tuple(used))
        for slot in used:
            slots.hold(slot)
        for slot in used[:-1]:
            slots.release(slot)  # this is the end of it for further tasks
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
            most = math.ceil(calls / self.crew.width)
        else:
            most = min(calls, max(1, int(GROUP_SECONDS / max(self._call_seconds, 1e-9))))
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
        self.crew.submit(task)

    def _enlist(self, task: Task, expected: int) -> Piece:
        """Take the calls of a task, the next ones, off those that are still to be given out."""
        span = self._todo.popleft()
        if span.first + task.length < span.stop:
            self._todo.appendleft(Span(span.first + task.length, span.stop, 0))
        piece = Piece(task, expected)
        if self.ordered:
            self._queue.append(piece)
        return piece

    def _leave_slot(self) -> None:
        if self._slot >= 0:
            assert self._slots is not None
            self._slots.release(self._slot)
            self._slot = -1

    def _make_room(self) -> None:
        """Free the slot of the mini-batch in the making, where no task can be given out without it."""
        if self._slots and self._assembly:
            self._assembly.move_out()
