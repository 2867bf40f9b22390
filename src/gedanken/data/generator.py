"""The diary's Generator: calls of the user's code, made by many workers, become mini-batches."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np

from gedanken.checks import extent, one_of, real, require, seed_of_draws, truth, whole
from gedanken.data.changes import check_key
from gedanken.data.workers.epoch_runner import EpochRunner
from gedanken.data.workers.items import Key
from gedanken.data.workers.planning import MODES, WorkerOptions
from gedanken.data.workers.position import Position
from gedanken.data.workers.tasks import Span, running_epoch
from gedanken.errors import StateError
from gedanken.keywords import keywords_checked
from gedanken.processes.possible import METHODS
from gedanken.random import Purpose, call_generator

ORDERS = ("exact", "as ready")
AUTO = "auto"
MOST = 10_000  # workers, threads of each, mini-batches in the buffer
MOST_EPOCHS = 2**32


class Generator(ABC):
    """Mini-batches that are there when the network asks, made by calls of your code on many workers.

    Write `__len__`, how often `get_mini_batches` is called in an epoch, and `get_mini_batches`, and call
    `super().__init__(**options)`. Iterating gives the mini-batches of the next epoch, `Network.fit` does so too. They
    are the same for any workers, mode and start method: a function of the seed, the epoch and what the calls return.

    Nothing starts before the first mini-batch is asked for, or `fit` begins. Workers live on from epoch to epoch, until
    `close()`, the end of the `with` statement, or until the object is collected.

    Args:
        mini_batch_size: samples in a mini-batch, at least 1.
        workers: who makes calls at the same time: a number of threads or processes, 0 for none (`mode="serial"`), or
            "auto": a few calls are timed, and `stats()["workers"]` says what was chosen and why.
        mode: "threads", for calls that wait or release Python's lock; "processes", for those that compute; "serial",
            in the caller; "auto" chooses like `workers`.
        threads: of each worker process, at least 1, or "auto".
        buffer: mini-batches that are ready or in the making, at least 1; workers stop when it is full. "auto" is enough
            to keep them busy. Memory is that of buffer + 2 mini-batches.
        shuffle: whether each epoch makes the calls in an order of its own.
        seed: whole number >= 0, for the order, `rng` and transforms.
        drop_last: whether the last mini-batch is left out where it is smaller.
        order: "exact", or "as ready": samples come as workers finish, in an order that is another one each time.
        pad_to: T, for items whose input, the first entry, is a sequence (t, ...) of its own length: mini-batches have
            `Sequences` of T places there. A dict such as {0: T, 1: T} or {(0, "text"): T} tells it of any entries, by
            place or key; None where there are no such.
        transforms: functions (rng, item) -> item that are applied to each sample, one after the other; see
            `gedanken.data.transforms`.
        time_limit: seconds that one call may take while the network waits, > 0; None for ever.
        start_method: of processes: "forkserver", "fork", "spawn", or "auto", which is forkserver where the system has
            it. Only fork needs no pickle and no importable script, and only it can deadlock where the program has
            threads.

    Raises:
        ArgumentError: an argument breaks its rule.

    Example:
        >>> class Squares(Generator):
        ...     def __len__(self):
        ...         return 5
        ...     def get_mini_batches(self, index):
        ...         return [(np.float32(index), np.float32(index**2))]
        >>> for x, y in Squares(mini_batch_size=2):
        ...     print(x, y)
        [0. 1.] [0. 1.]
        [2. 3.] [4. 9.]
        [4.] [16.]
    """

    @keywords_checked
    def __init__(
        self,
        *,
        mini_batch_size: int = 128,
        workers: int | str = AUTO,
        mode: str = AUTO,
        threads: int | str = AUTO,
        buffer: int | str = AUTO,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
        order: str = "exact",
        pad_to: int | Mapping[Any, int] | None = None,
        transforms: Sequence[Callable[..., Any]] = (),
        time_limit: float | None = 300.0,
        start_method: str = AUTO,
    ) -> None:
        self.mini_batch_size = whole("mini_batch_size", mini_batch_size)
        self.shuffle, self.drop_last = truth("shuffle", shuffle), truth("drop_last", drop_last)
        self.seed = seed_of_draws("seed", seed)
        callables = isinstance(transforms, (list, tuple)) and all(callable(t) for t in transforms)
        require(callables, "transforms", "be a list of functions (rng, item) -> item", transforms)
        self.transforms = tuple(transforms)
        self.pad_to = _checked_places(pad_to)
        limit = None if time_limit is None else real("time_limit", time_limit, "(0, inf)")
        options = WorkerOptions(
            one_of("mode", mode, MODES),
            _number_or_auto("workers", workers, at_least=0),
            _number_or_auto("threads", threads),
            None
            if isinstance(start_method, str) and start_method == AUTO
            else one_of("start_method", start_method, METHODS),
        )
        self.order = one_of("order", order, ORDERS)
        ordered = self.order == "exact"
        self._epoch_runner = EpochRunner(options, _number_or_auto("buffer", buffer), ordered, limit)

    # ------------------------------------------------------------------ yours to write

    @abstractmethod
    def __len__(self) -> int:
        """Return how often get_mini_batches is called in an epoch."""

    @abstractmethod
    def get_mini_batches(self, index: int) -> list[Any]:
        """Return a list of items, of any length, also none.

        An item is one sample: a tuple of arrays such as (input, label), a dict of arrays, or one array; or several in
        a `Samples`, where arrays may be `Sequences`. Shapes and number types are those of the first item, but for the
        length of sequences that `pad_to` tells of. It is called in workers, in any order.

        Args:
            index: from 0 to len(self) - 1.
        """

    # ------------------------------------------------------------------ yours to use

    def rng(self, index: int) -> "np.random.Generator":
        """Return a random generator for one call: a function of (seed, epoch, index) and nothing else."""
        epoch = running_epoch.get(max(runner_of(self).epoch, 0))
        return call_generator(self.seed, Purpose.AUGMENTATION, epoch, index)

    def __iter__(self) -> Iterator[Any]:
        """Yield the mini-batches of the next epoch, each in the form of the items, with a first axis of samples.

        They stay valid as long as you keep them.

        Raises:
            DataError: an item is not what it should be; says which.
            WorkerError: a worker died, hung, or could not start.
            Exception: what your code raised in a worker, with a note that names call and worker.
        """
        return (delivery.value for delivery in runner_of(self).run(self))

    def close(self) -> None:
        """End the workers. Iterating again starts new ones, with the next epoch."""
        runner_of(self).close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------ position and statistics

    def state_dict(self) -> dict[str, Any]:
        """Return the position after the last mini-batch that was delivered: a few integers, for load_state_dict.

        With `order="as ready"` it also lists the calls that workers were making, some for each of them.
        """
        position = runner_of(self).state(self)
        return {
            "epoch": position.epoch,
            "mini_batches": position.mini_batches,
            "samples": position.samples,
            "todo": [list(span) for span in position.todo],
            **self._identity(position.calls),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration go on at a position; nothing that was delivered before it is delivered again.

        Calls of which some samples were delivered are made again, with those that were made in one go with them.

        Args:
            state: what `state_dict` of a Generator with the same seed, shuffle, length and mini_batch_size returned.

        Raises:
            ArgumentError: it is of another Generator, or none.
        """
        runner_of(self).load(self._checked_position(state))

    def _checked_position(self, state: Mapping[str, Any]) -> Position:
        keys = {"epoch", "mini_batches", "samples", "todo", *self._identity(0)}
        require(isinstance(state, Mapping) and set(state) == keys, "state", f"have the keys {sorted(keys)}", state)
        check_same(self._identity(len(self)), state, "this Generator's")
        names = ("epoch", "calls", "mini_batches", "samples")
        epoch, calls, mini_batches, samples = (whole(f"state[{name!r}]", state[name], 0) for name in names)
        require(epoch < MOST_EPOCHS, "state['epoch']", "be below 2**32", epoch)
        given = mini_batches * self.mini_batch_size
        require(samples == given < 2**63, "state['samples']", "be mini_batches times mini_batch_size", samples)
        return Position(epoch, calls, mini_batches, samples, _checked_spans(state["todo"], calls, samples))

    def _identity(self, calls: int) -> dict[str, Any]:
        same = {"seed": self.seed, "shuffle": self.shuffle, "mini_batch_size": self.mini_batch_size}
        return {"calls": calls, **same}

    @property
    def epoch(self) -> int:
        """Number of the epoch that was begun last, from 0; -1 before the first."""
        return runner_of(self).epoch

    def stats(self) -> dict[str, Any]:
        """Return what the workers did so far, by name.

        - workers: who makes the calls, and why.
        - mini_batches, seconds, mini_batches_per_second: delivered, in the time of iterations.
        - buffer, buffer_size: mini-batches that are ready now, and how many may be.
        - waiting_for_data: seconds in which the network waited for a mini-batch.
        - waiting_for_network: seconds in which workers had nothing to do, added up over them.
        - each: for each worker its name, state, calls, samples, busy_seconds and samples_per_second.
        """
        return runner_of(self).stats()


def runner_of(generator: Generator) -> EpochRunner:
    """Return what runs a Generator's epochs. It takes the Generator with each call, so that neither keeps the other.

    Raises:
        StateError: the Generator's class forgot to call `Generator.__init__`.
    """
    try:
        return generator._epoch_runner
    except AttributeError:
        raise StateError(f"{type(generator).__name__}.__init__ must call super().__init__(**options)") from None


def check_same(own: Mapping[str, int], state: Mapping[str, Any], whose: str) -> None:
    """Raise ArgumentError unless a state has these whole numbers, by which it belongs to what gives them."""
    for name, number in own.items():
        same = isinstance(state[name], (bool, int, np.integer, np.bool_)) and state[name] == number
        require(bool(same), f"state[{name!r}]", f"be {number} as {whose}", state[name])


def _checked_spans(todo: Any, calls: int, samples: int) -> list[Span]:
    listed = isinstance(todo, (list, tuple)) and all(
        isinstance(span, (list, tuple)) and len(span) == 3 for span in todo
    )
    require(listed, "state['todo']", "be a list of [first, stop, skip]", todo)
    spans = [Span(*(whole("state['todo']", number, 0) for number in span)) for span in todo]
    reached = 0
    for span in spans:
        rule = f"be spans of calls below {calls}, in order, that do not overlap"
        require(reached <= span.first < span.stop <= calls, "state['todo']", rule, todo)
        reached = span.stop
    skipped = sum(span.skip for span in spans)
    require(skipped <= min(samples, 2**32 - 1), "state['todo']", "skip no more samples than were delivered", todo)
    return spans


def _checked_places(pad_to: Any) -> dict[Key, int]:
    """Return the places of sequences by the keys of their entries."""
    if pad_to is None:
        return {}
    if not isinstance(pad_to, Mapping):
        return {0: extent("pad_to", pad_to)}
    for key in pad_to:
        check_key("pad_to", key)
    return {key: extent(f"pad_to[{key!r}]", places) for key, places in pad_to.items()}


def _number_or_auto(argument: str, value: int | str, at_least: int = 1) -> int | None:
    if isinstance(value, str) and value == AUTO:
        return None
    require(not isinstance(value, str), argument, "be a number or 'auto'", value)
    number = whole(argument, value, at_least)
    require(number <= MOST, argument, f"be at most {MOST:,}", value)
    return number
