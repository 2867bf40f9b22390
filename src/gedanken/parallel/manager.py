"""The owner's work in an epoch: it gives orders, takes in what was done, and sees who died or hangs."""

import math
import time
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from gedanken.checks import warn
from gedanken.errors import WorkerError
from gedanken.parallel.block import DONE, GENERATION, ORDER, UPDATES, WRITING, Block
from gedanken.parallel.crew import Crew
from gedanken.parallel.feeds import Orders
from gedanken.parallel.worker import Order, Work
from gedanken.processes.raised import unpack_error

AHEAD = 4  # orders for each worker that are given out before they are needed
MOST_AHEAD = 64  # in all, at most, but two for each worker: they fit into the smallest pipe
SECONDS = 0.016  # that an order takes, about; its owner needs 0.15 ms for each, of the same processors
LOOK = 0.02  # seconds between two looks at workers that do not answer
AWAY = 1.0  # seconds without a look that are nobody's fault: the program was stopped, or in a callback
START_SECONDS = 120.0  # for a worker to be ready
DEATHS = 3  # of a worker that does nothing in between; it is not started again then


class Care(NamedTuple):
    """How losses are met.

    Args:
        on_loss: "raise", "continue" or "respawn".
        time_limit: seconds that a worker may take for one mini-batch; None is for ever.
    """

    on_loss: str
    time_limit: float | None


class Manager:
    """Leads workers through epochs.

    Args:
        crew: the workers, all of them started.
        block: the memory that they share.
        lines: pipes of orders.
        care: how losses are met.
    """

    def __init__(self, crew: Crew, block: Block, lines: int, care: Care) -> None:
        self._crew, self._block, self._lines, self._care = crew, block, lines, care
        self._alive = set(range(crew.workers))
        self._starting = set(self._alive)
        self._running: dict[int, tuple[Order, int]] = {}  # by number: orders that are not done, and their pipes
        self._unsent: list[int] = []
        self._inbox: deque[Work] = deque()
        self._number = 0
        self._batch_seconds = SECONDS  # that one mini-batch takes, about
        self._watched = [(0, 0, 0)] * crew.workers
        self._since = [time.monotonic()] * crew.workers
        self._looked = time.monotonic()
        self._quiet = 0
        self._failures = [0] * crew.workers
        self._ended = set[int]()  # by the owner, for they did not answer
        self.losses: list[str] = []

    @property
    def busy(self) -> bool:
        """Whether orders are not done."""
        return bool(self._running)

    def epoch(self, orders: Orders, epoch: int) -> Iterator[Work]:
        """Yield what workers did, until all mini-batches of an epoch are learnt from.

        Raises:
            WorkerError: a worker was lost.
            Exception: what a worker raised.
        """
        self._block.head[GENERATION] += 1
        self._since = [time.monotonic()] * self._crew.workers
        try:
            while True:
                self._give(orders, epoch)
                if not self._running:
                    return
                yield from self._heard(orders)
        except BaseException:  # what is ordered is not wanted any more
            self._drop()
            raise

    def break_off(self, orders: Orders) -> Iterator[Work]:
        """Let workers drop what they have, and yield what they did till then."""
        self._drop()
        while self._running and self._alive and self._crew.owned:
            yield from self._heard(orders)

    def _drop(self) -> None:
        """Let workers drop what they have."""
        if self._crew.owned:
            self._block.head[GENERATION] += 1

    # ------------------------------------------------------------------ orders

    def _give(self, orders: Orders, epoch: int) -> None:
        ahead = max(2 * self._crew.workers, min(AHEAD * self._crew.workers, MOST_AHEAD))
        longest = max(1, round(SECONDS / self._batch_seconds))
        while len(self._running) < ahead and not orders.over:
            part = orders.next(longest)
            if part is None:
                break
            self._submit(epoch, *part)
        self._send()

    def _submit(self, epoch: int, first: int, length: int) -> None:
        self._number += 1
        order = Order(self._block.head[GENERATION], self._number, epoch, first, length)
        line = self._number % self._lines
        if self._lines > 1 and line not in self._alive:
            line = sorted(self._alive)[self._number % len(self._alive)]
        self._running[order.number] = order, line
        self._unsent.append(order.number)

    def _send(self) -> None:
        while self._unsent and self._crew.submit(*self._running[self._unsent[0]]):
            self._unsent.pop(0)

    # ------------------------------------------------------------------ what comes back

    def _heard(self, orders: Orders) -> Iterator[Work]:
        """Wait for workers, and yield what they did; what is not asked for stays for the next time."""
        self._look_on()
        if not self._inbox:
            self._inbox.extend(self._crew.wait(LOOK))
            self._look_on()
            if not self._inbox:
                self._look(orders)
        while self._inbox:
            work = self._inbox.popleft()
            if work.warning:
                warn(work.warning)
            elif work.error:
                self._running.pop(work.order, None)
                raise self._raised(work)
            elif not work.order:
                self._starting.discard(work.worker)
            elif work.order in self._running:
                order, _ = self._running.pop(work.order)
                orders.give_back(order.first, order.length)
                self._failures[work.worker] = 0
                if work.result:
                    spent = work.seconds / work.result.batches
                    self._batch_seconds += (spent - self._batch_seconds) / 8
                    yield work
        self._send()

    def _raised(self, work: Work) -> BaseException:
        assert work.error
        error = unpack_error(work.error, "a layer, cost or metric")
        error.add_note(f"raised in {self._crew.describe(work.worker)}" + ("" if work.order else " while it started"))
        if isinstance(error, Exception):
            return error
        lost = WorkerError(f"{self._crew.describe(work.worker)} raised {type(error).__name__}({error})")
        lost.__cause__ = error
        return lost

    # ------------------------------------------------------------------ losses

    def _look_on(self) -> None:
        """Leave the time out of account for which nobody looked."""
        now = time.monotonic()
        away, self._looked = now - self._looked, now
        if away > AWAY:
            self._since = [since + away for since in self._since]

    def _look(self, orders: Orders) -> None:
        """See who died, who hangs, and which orders nobody has."""
        for number in sorted(self._alive):
            if how := self._crew.death(number):
                self._lost(number, how, orders)
            elif self._hangs(number):
                self._crew.end(number)
                self._ended.add(number)
        self._find_orders()

    def _hangs(self, number: int) -> bool:
        cells, now = self._block.cells[number], time.monotonic()
        state = cells[ORDER], cells[DONE], cells[UPDATES]
        waits = not state[0] and number not in self._starting and not self._crew.unread(number)
        if waits or state != self._watched[number]:
            self._watched[number], self._since[number] = state, now
        return now - self._since[number] > self._limit(number)

    def _limit(self, number: int) -> float:
        """Return the seconds after which a worker that does not go on counts as lost."""
        limit = self._care.time_limit
        if number in self._starting:  # kernels are being compiled
            return max(START_SECONDS, limit or 0.0)
        return math.inf if limit is None else limit

    def _lost(self, number: int, how: str, orders: Orders) -> None:
        if number in self._ended:  # its death is known as that of a signal
            how = f"{self._crew.describe(number)} did not answer for {self._limit(number):g} s and was ended"
            self._ended.discard(number)
        cells, policy = self._block.cells[number], self._care.on_loss
        doing, done = cells[ORDER], cells[DONE]
        cells[ORDER] = cells[WRITING] = 0
        self._block.unlock(number)
        if done and doing in self._running:
            how = f"{how}; what it had learnt from {done} mini-batch{'es' if done > 1 else ''} before is not counted"
        self.losses.append(how)
        self._failures[number] += 1
        self._alive.discard(number)
        if policy == "raise" or (policy == "respawn" and self._failures[number] == DEATHS):
            self._running.pop(doing, None)
            raise WorkerError(how)
        if policy == "respawn":
            self._alive.add(number)
            self._starting.add(number)
            self._since[number] = time.monotonic()
            self._crew.start(number)
        elif not self._alive:
            self._running.clear()
            raise WorkerError(f"no worker is left; the last one, {how}")
        warn(f"{how}; the training goes on {'without it' if policy == 'continue' else 'with another in its place'}")
        if doing in self._running:
            self._again(doing, done, orders)
        if self._lines > 1 and number not in self._alive:
            for other in [other for other, (_, line) in self._running.items() if line == number]:
                self._again(other, 0, orders)

    def _again(self, number: int, done: int, orders: Orders) -> None:
        """Give out again what is left of an order."""
        order, _ = self._running.pop(number)
        self._unsent = [other for other in self._unsent if other != number]
        if done < order.length:
            self._submit(order.epoch, order.first + done, order.length - done)
        else:
            orders.give_back(order.first, order.length)

    def _find_orders(self) -> None:
        """Give out again what nobody has: a worker was killed between reading an order and saying so."""
        busy = any(self._block.cells[number][ORDER] or self._crew.unread(number) for number in self._alive)
        idle = bool(self.losses) and not busy and not self._starting and not self._unsent
        self._quiet = self._quiet + 1 if idle else 0
        if self._quiet > 2:
            self._unsent, self._quiet = list(self._running), 0
