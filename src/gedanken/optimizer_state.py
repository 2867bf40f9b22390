"""An optimizer at work: its memory, its place in the schedule, clipping, and what it gathers over mini-batches."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from gedanken.checks import require
from gedanken.errors import CheckpointError
from gedanken.hyperparameters import require_normal
from gedanken.ops import Ops
from gedanken.optimizers import Optimizer
from gedanken.schedules import OnPlateau, Plateau, Schedule, as_schedule
from gedanken.sparse import RowPart, on_simplex
from gedanken.state import State, check_state, prefixed
from gedanken.types import Array, Arrays, Shape

# Does what an Optimizer and its clipping do: (rate, step, p, g, slots).
Updater = Callable[[float, int, Array, Array, Arrays], None]


class Piece(NamedTuple):
    """Numbers of the vectors that learn alike.

    Args:
        start, stop: which.
        decay: whether weight decay applies to them.
        factor: what the learning rate is multiplied by, > 0.
        matrix: its shape, where the rule takes it by itself, see Optimizer.takes_matrix and by_array.
    """

    start: int
    stop: int
    decay: bool
    factor: float = 1.0
    matrix: Shape | None = None

    @property
    def cut(self) -> slice:
        """Where they are."""
        return slice(self.start, self.stop)

    def of(self, vector: Array) -> Array:
        """Return them, of a flat vector, as the rule takes them: a view."""
        return vector[self.cut] if self.matrix is None else vector[self.cut].reshape(self.matrix)


class Updated(NamedTuple):
    """What an optimizer updates.

    Args:
        size: length of the vectors.
        decayed: weight decay applies to this many numbers at the front of them.
        rows: matrices at their end of which only touched rows are updated.
        simplexes: matrices whose rows are kept on the simplex.
        pieces: where not all numbers learn alike, those before `rows` that learn, in order.
    """

    size: int
    decayed: int
    rows: Sequence[RowPart] = ()
    simplexes: Sequence[RowPart] = ()
    pieces: Sequence[Piece] | None = None

    @property
    def whole(self) -> int:
        """How many numbers, at the front, are all updated."""
        return self.rows[0].start if self.rows else self.size


@dataclass
class Progress:
    """What an optimizer has become. Plans of the same parameters may share it, so each goes on where another was.

    Args:
        slots: its vectors.
        gathered: the sum of gradients that are not yet used, each times what it counts for; None without `accumulate`.
        batches: that were gathered.
        counts: what is gathered counts for, in samples.
        step: updates made with these slots.
        before: and with the slots of the network's former lives: only the schedule knows of them.
        plateau: what a rate that falls on a plateau remembers.
    """

    slots: Arrays
    gathered: Array | None
    batches: int = 0
    counts: float = 0.0
    step: int = 0
    before: int = 0
    plateau: Plateau = Plateau()


def _of_progress(name: str) -> Any:
    """Return an attribute that stands in an object's `progress`."""
    return property(lambda one: getattr(one.progress, name), lambda one, value: setattr(one.progress, name, value))


class OptimizerState:
    """An optimizer at work on one flat vector: its slots, how many updates it made, what it has gathered.

    Args:
        ops: the device's primitives.
        optimizer: the rule.
        updated: the parameters.
        updater_for: gives what the engine has to update with in one go, or None.
        progress: shared with another one of the same rule and parameters; None begins.
        sums: whether the gradients of mini-batches add up, see `Cost.sums`; else their mean is taken.
    """

    step: int = _of_progress("step")
    before: int = _of_progress("before")
    plateau: Plateau = _of_progress("plateau")
    slots: Arrays = _of_progress("slots")

    def __init__(
        self,
        ops: Ops,
        optimizer: Optimizer,
        updated: Updated,
        updater_for: Callable[[Optimizer, Updated], Updater | None] | None = None,
        progress: Progress | None = None,
        sums: bool = False,
    ) -> None:
        size = updated.size
        self._sums = sums
        require_normal(optimizer, ops.dtype)
        self.ops = ops
        self.optimizer = optimizer
        self.progress = progress or _begin(ops, optimizer, size)
        self._schedule = as_schedule(optimizer.learning_rate)
        self._updater_for = updater_for
        self.retune(updated)
        self._clipped = min(clip or math.inf for clip in (optimizer.clip_value, optimizer.clip_norm))
        self._limit = float(np.finfo(ops.dtype).max) ** (0.5 if {"square", "squares"} & self.slots.keys() else 1)
        self._easy = min(self._limit, 1e150) ** 2

    def start_afresh(self, updates: int) -> None:
        """Forget the moving means and what is gathered; `updates` is the position in the schedule."""
        self.discard()
        self.before, self.step = updates, 0
        for slot in self.slots.values():
            slot[...] = 0

    def retune(self, updated: Updated) -> None:
        """Update these parts of the same vectors from now on."""
        give, alike = self._updater_for, updated.pieces is None
        self._updated = updated
        self._fused = give(self.optimizer, updated) if give and alike else None
        self._groups = _groups(self.optimizer, updated, give)
        self._fastest = max((piece.factor for piece in updated.pieces or ()), default=1.0)
        self._fastest = max([self._fastest, *(part.factor for part in updated.rows)])

    @property
    def rate(self) -> float:
        """Learning rate of the next update."""
        return self._schedule(self.updates) * self.plateau.factor

    @property
    def highest_rate(self) -> float:
        """Learning rate of the next update where it is the highest, see `scale_rate`."""
        return self.rate * self._fastest

    def rates(self, count: int) -> Array:
        """Return the learning rates of the next updates."""
        return self._schedule.rates(self.updates, count) * self.plateau.factor

    @property
    def updates(self) -> int:
        """Updates made by this rule, over all saves and loads: the position in its schedule."""
        return self.before + self.step

    def apply(self, p: Array, g: Array, samples: float) -> str:
        """Take in the gradient of a mini-batch that counts for `samples` and update `p` when it is time.

        Return "", or why nothing was changed: a gradient that is not finite or too large.
        """
        progress = self.progress
        if progress.gathered is None:
            return self._update(p, g)
        if refused := self._refused(g, self.optimizer.accumulate):
            return refused
        progress.gathered += samples * g
        progress.batches += 1
        progress.counts = samples if self._sums else progress.counts + samples
        return self.flush(p) if progress.batches == self.optimizer.accumulate else ""

    def flush(self, p: Array) -> str:
        """Update `p` with what is gathered, if anything is; the answer is that of `apply`."""
        progress = self.progress
        if progress.gathered is None or not progress.batches:
            return ""
        mean = progress.gathered / (progress.counts or 1.0)  # of what counts for nothing it is 0
        self.discard()
        return self._update(p, mean)

    def discard(self) -> None:
        """Forget what is gathered: a training that failed left it behind."""
        progress = self.progress
        if progress.gathered is not None:
            progress.gathered[...] = 0
        progress.batches, progress.counts = 0, 0.0

    def state(self) -> State:
        """Return slots, counts, what is gathered and what a plateau remembers, in copies on the host."""
        arrays = {name: np.array(self.ops.to_host(array)) for name, array in self._arrays().items()}
        return {**self._numbers(), **arrays}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where another one was, with the same optimizer; a CheckpointError changes nothing."""
        check_state(str(self.optimizer), state, {**self._numbers(), **self._arrays()})
        if not 0 < (factor := state["plateau.factor"]) < math.inf:
            raise CheckpointError(f"{self.optimizer}: plateau.factor must be in (0, inf), got {factor}")
        for name in self._arrays():
            if not np.isfinite(state[name]).all():
                raise CheckpointError(f"{self.optimizer}: {name} must be finite")
        for name, array in self._arrays().items():
            array[...] = self.ops.asarray(state[name])
        self.step, self.before = state["step"], state["before"]
        self.progress.batches, self.progress.counts = state["batches"], state["counts"]
        self.plateau = Plateau(*(state[f"plateau.{name}"] for name in Plateau._fields))

    def _numbers(self) -> dict[str, int | float]:
        counts = {name: getattr(self.progress, name) for name in ("step", "before", "batches", "counts")}
        return {**counts, **prefixed("plateau", self.plateau._asdict())}

    def _arrays(self) -> Arrays:
        gathered = {} if self.progress.gathered is None else {"gathered": self.progress.gathered}
        return {**prefixed("slots", self.slots), **gathered}

    def scale_rate(self, factor: float) -> None:
        """Multiply the rate of all further updates; an ArgumentError where that leaves the range of numbers."""
        scaled = self.plateau.factor * factor
        require(0 < scaled < math.inf, "SetRate factor", f"leave a rate in (0, inf) of {self.rate:.3g}", factor)
        self.plateau = self.plateau._replace(factor=scaled)

    def follow(self, schedule: Schedule) -> None:
        """Take the rates of all further updates from another schedule alone."""
        self._schedule, self.plateau = schedule, Plateau()

    def watch(self, cost: float) -> None:
        """Let a rate that falls on a plateau see the cost of an epoch."""
        if isinstance(self.optimizer.learning_rate, OnPlateau):
            self.plateau = self.optimizer.learning_rate.watch(self.plateau, cost)

    def _update(self, p: Array, g: Array) -> str:
        rate = self.rate
        if not (self._square(g) < self._easy and rate * self._fastest <= 1.0) and (refused := self._refused(g)):
            return refused
        self.update(p, g)
        return ""

    def update(self, p: Array, g: Array) -> None:
        """Update `p` by a gradient that `refusal` says nothing against."""
        rate = self.rate
        if self._fused:
            self._fused(rate, self.step, p, g, self.slots)
        else:
            self._by_groups(rate, p, g)
        self.keep_simplexes(p, touched=bool(self._updated.rows))
        self.step += 1

    def _refused(self, g: Array, of: int = 1) -> str:
        """Return why nothing may be changed by a gradient, one `of` so many that are gathered; "" where it may."""
        return self.refusal(self.bound(g), of)

    def refusal(self, bound: float, of: int = 1) -> str:
        """Return why nothing may be changed by a gradient of this `bound`; see `_refused`."""
        highest = self.highest_rate
        length = min(bound / of, self._clipped)
        if math.isfinite(bound) and max(highest, 1.0) * length < self._limit:
            return ""
        return f"the gradient's length became {bound:.3g} (at a learning rate of {highest:.3g})"

    def keep_simplexes(self, p: Array, touched: bool = False) -> None:
        """Bring rows that are kept on the simplex back to it, all of them or those that the last step touched."""
        for part in self._updated.simplexes:
            matrix, rows = part.of(p), part.gradient.rows if touched else slice(None)
            matrix[rows] = on_simplex(matrix[rows], self.ops.xp)

    def finite(self, g: Array) -> bool:
        """Say whether a gradient is finite, as far as an update reads it."""
        return math.isfinite(self.bound(g))

    def _read(self, g: Array) -> list[Array]:
        """Return the parts of a gradient that an update reads."""
        rows = (part.of(g)[part.gradient.rows].reshape(-1) for part in self._updated.rows)
        pieces = self._updated.pieces
        whole = [g[: self._updated.whole]] if pieces is None else [g[piece.cut] for piece in pieces]
        return [*whole, *rows]

    def _square(self, g: Array) -> float:
        return sum(float(self.ops.xp.vdot(part, part)) for part in self._read(g))

    def bound(self, g: Array) -> float:
        """Return a length that no gradient exceeds, as far as an update reads it; inf or NaN where it is not finite."""
        return math.hypot(*map(self.ops.bound, self._read(g)))

    def _by_groups(self, rate: float, p: Array, g: Array) -> None:
        self._clip(g)
        for piece, rule, updater in self._groups:
            own = rate * piece.factor
            slots = {name: piece.of(slot) for name, slot in self.slots.items()}
            if updater:
                flat = {name: slot[piece.cut] for name, slot in self.slots.items()}
                updater(own, self.step, p[piece.cut], g[piece.cut], flat)
            else:
                self._follow(rule, own, piece.of(p), piece.of(g), slots)
        for one in self._updated.rows:
            rows, all_of = one.gradient.rows, {"": p, **self.slots}
            held = {name: one.of(vector)[rows] for name, vector in all_of.items()}
            flat = {name: values.reshape(-1) for name, values in held.items()}
            own = rate * one.factor
            self._follow(self.optimizer.without_decay(), own, flat.pop(""), one.of(g)[rows].reshape(-1), flat)
            for name, vector in all_of.items():
                one.of(vector)[rows] = held[name]

    def _follow(self, rule: Optimizer, rate: float, p: Array, g: Array, views: Arrays) -> None:
        slots = dict(views)
        given: object = rule.update(self.ops, rate, self.step, p, g, slots)
        require(given is None, f"{type(rule).__name__}.update", "change p in place and return nothing", given)
        for name, view in views.items():
            if slots.get(name) is not view:  # slots["mean"] = ... instead of slots["mean"][...] = ...
                _take(f"{type(rule).__name__}.update", name, slots, view)

    def _clip(self, g: Array) -> None:
        if self._updated.pieces is not None and self._clipped < math.inf:
            self._forget_frozen(g)
        if (limit := self.optimizer.clip_value) is not None:
            self.ops.xp.clip(g, -limit, limit, out=g)
        if (longest := self.optimizer.clip_norm) is not None:
            largest = float(abs(g).max(initial=0)) or 1.0  # without it large gradients overflow when squared
            norm = largest * math.sqrt(float(self.ops.sum((g / largest) ** 2)))
            if norm > longest:
                g *= longest / norm

    def _forget_frozen(self, g: Array) -> None:
        """Set the gradient of what does not learn to 0: it has no part in the length."""
        ends = [0, *(piece.stop for piece in self._updated.pieces or ())]
        starts = [*(piece.start for piece in self._updated.pieces or ()), self._updated.whole]
        for end, start in zip(ends, starts, strict=True):
            g[end:start] = 0


def _take(owner: str, name: str, slots: Arrays, view: Array) -> None:
    """Keep what a rule of a user's put in place of a slot."""
    given = slots.get(name)
    fits = getattr(given, "shape", None) == view.shape
    require(fits, owner, f"leave slots[{name!r}] of shape {view.shape}", given)
    view[...] = given


def _slot_names(optimizer: Optimizer) -> tuple[str, ...]:
    """Return the names of an optimizer's slots, or raise ArgumentError."""
    names: Any = optimizer.slots()
    listed = isinstance(names, (tuple, list)) and all(isinstance(name, str) for name in names)
    rule = 'return names that are all different, such as ("mean",)'
    require(listed and len({*names}) == len(names), f"{type(optimizer).__name__}.slots", rule, names)
    return tuple(names)


def _begin(ops: Ops, optimizer: Optimizer, size: int) -> Progress:
    slots = {name: ops.xp.zeros(size, ops.dtype) for name in _slot_names(optimizer)}
    return Progress(slots, ops.xp.zeros(size, ops.dtype) if optimizer.accumulate > 1 else None)


def _groups(
    optimizer: Optimizer, updated: Updated, updater_for: Callable[[Optimizer, Updated], Updater | None] | None
) -> list[tuple[Piece, Optimizer, Updater | None]]:
    """Return the pieces that learn alike, each with its rule and what the engine has to update it with."""
    rest = optimizer.without_decay()
    if updated.pieces is None:
        parts = [
            (Piece(0, updated.decayed, decay=True), optimizer),
            (Piece(updated.decayed, updated.whole, False), rest),
        ]
        whole = [(Piece(0, updated.whole, decay=True), optimizer)]
        return [(piece, rule, None) for piece, rule in (whole if rest == optimizer else parts)]
    found: list[tuple[Piece, Optimizer, Updater | None]] = []
    for piece in updated.pieces:  # clipped before, all together
        rule = replace(optimizer if piece.decay else rest, clip_value=None, clip_norm=None)
        size, give = piece.stop - piece.start, None if piece.matrix and not rule.by_array else updater_for
        found.append((piece, rule, give(rule, Updated(size, size)) if give else None))
    return found
