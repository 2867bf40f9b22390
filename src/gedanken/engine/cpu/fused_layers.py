"""Layers in a row that kernels do: a program for each batch size, with or without the cost at its end."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from gedanken.by_name import ByName, each, parts_of
from gedanken.costs import Cost
from gedanken.costs.base import Weighing
from gedanken.costs.heads import HeadsCost
from gedanken.engine.base import Placement
from gedanken.engine.cpu.compiler import Library
from gedanken.engine.cpu.lowering.base import Lowering
from gedanken.engine.cpu.lowering.cost import entries_of, lower_cost
from gedanken.engine.cpu.lowering.lowered_cost import LoweredCost, total_cost
from gedanken.engine.cpu.lowering.match import lower
from gedanken.engine.cpu.lowering.products import products_of
from gedanken.engine.cpu.lowering.sparse import SparseInput
from gedanken.engine.cpu.program import Buffer, Program
from gedanken.engine.cpu.threads import Pool
from gedanken.engine.judging import shares_of
from gedanken.errors import DataError
from gedanken.layers.base import Context
from gedanken.layers.lengths import output_lengths
from gedanken.layers.stages import ContainerStage, back_through, through
from gedanken.ranks.together import Together
from gedanken.sparse import SparseRows
from gedanken.types import AnyShape, Array, Shape

Result = TypeVar("Result")
LAID_OUT = 1 << 12  # samples of the largest program that is laid out for its size alone; it grows evenly from there
KEPT = 4  # programs of the same layers and shapes, for as many batch sizes; the one unused for longest goes


class _Key(NamedTuple):
    """What tells the programs of the same layers apart."""

    samples: int
    train: bool
    seed: int
    has_lengths: bool
    shape: tuple[Shape, ...]  # of what goes in, or of all of it: sequences may be cut
    together: Together | None = None


class FusedLayers:
    """Layers in a row that kernels do.

    Args:
        library, pool: kernels, and who runs them.
        layers: the layers.
        dx: whether the input gradient is wanted.
        cost: what is computed of the outputs in the same program. Then `run` is for use, else `forward` and `backward`.
        whole: the same layers for uncut sequences, or None. Programs of both, of which never two work at once, are kept
            together and share memory.
    """

    def __init__(
        self,
        library: Library,
        pool: Pool,
        layers: Sequence[Placement],
        dx: bool,
        cost: Cost | None = None,
        whole: Any = None,
    ) -> None:
        self.library, self.pool, self.layers, self.dx, self.cost = library, pool, layers, dx, cost
        self._whole: FusedLayers | None = whole
        self._programs: Programs = whole._programs if whole else Programs()

    def forward(self, ctx: Context, x: Any) -> tuple[Any, Any]:
        given = self._given(x)

        def work(program: BatchProgram) -> tuple[Any, Any]:
            y = program.forward(ctx, given)
            return (y, (program, given)) if ctx.train else (y.copy(), given)

        return self._alone(ctx, len(x), work)

    def backward(self, ctx: Context, cache: Any, dy: Any) -> Any:
        if not ctx.train:
            return self._by_specification(ctx, cache, dy)
        program, _ = cache
        return program.backward(each(lambda one: np.ascontiguousarray(one, self.library.dtype), dy))

    def run(self, ctx: Context, x: Any, target: Any, weight: Array | None) -> tuple[Any, Any, Weighing, Any]:
        """Return outputs, cost, how it was made, and the gradient with respect to x; in training also write others."""
        assert self.cost
        given, lengths = self._given(x), output_lengths(ctx)
        made: AnyShape = self.layers[-1].output_shape
        if not isinstance(self.cost, HeadsCost):
            of: Any = _weighing(self.cost, ctx, (len(x), *made), target, weight, lengths)
            share = shares_of(ctx.together, self.cost, [of])[0] if ctx.together else 1.0
            outputs, one, dx = self._alone(ctx, len(x), lambda program: program.run(ctx, given, target, of, share))
            return outputs, one, of, dx
        found = {}
        for name, cost in self.cost.costs.items():
            own = (lengths or {}).get(name)
            found[name] = _weighing(cost, ctx, (len(x), *made[name]), target.parts[name], weight, own)
        of = ByName(found)
        shares = shares_of(ctx.together, self.cost, [*found.values()]) if ctx.together else [1.0] * len(found)
        weights: Any = ByName(
            {name: share * self.cost.weights[name] for name, share in zip(found, shares, strict=True)}
        )
        outputs, costs, dx = self._alone(ctx, len(x), lambda program: program.run(ctx, given, target, of, weights))
        told = {name: (costs.parts[name], one) for name, one in found.items()}
        return outputs, self.cost.total(told), self.cost.weighed(told, len(x)), dx

    def _given(self, x: Any) -> Any:
        """Return the input as kernels read it."""
        first = self.layers[0]
        if not isinstance(x, ByName):
            return self._as_read(x, first.layer.tokens)
        return ByName({name: self._as_read(part, tokens_of_row(first, name)) for name, part in x.parts.items()})

    def _as_read(self, x: Any, tokens: Any) -> Any:
        if isinstance(x, SparseRows):
            return x
        if tokens is None:
            return np.ascontiguousarray(x, self.library.dtype)
        assert isinstance(tokens, int | np.integer), (
            "numbers with a limit for each column are for layers without kernels"
        )
        # Kernels trust them, so what is looked at is a copy: the user's array may change meanwhile.
        taken = np.array(x, np.int64, order="C")
        if taken.size and not (taken.min() >= 0 and taken.max() < tokens):
            raise DataError(f"data must be whole numbers from 0 to {tokens - 1}, got {taken.min()} to {taken.max()}")
        return taken

    def step_bytes(self, samples: int) -> int:
        """Return the memory of a training pass of so many samples; of more than LAID_OUT what follows from fewer."""
        if samples > LAID_OUT:
            half, all_of = (self.step_bytes(count) for count in (LAID_OUT // 2, LAID_OUT))
            return all_of + (all_of - half) * (samples - LAID_OUT) // (LAID_OUT // 2)
        return _Draft(self, _Key(samples, True, 0, False, ())).program.needed_bytes()

    def _alone(self, ctx: Context, samples: int, work: Callable[["BatchProgram"], Result]) -> Result:
        """Work with a program while no other thread does, and nothing else in this one.

        A signal handler or finalizer that asks the same network meanwhile finds no program and makes its own. Programs
        that an interruption keeps from coming back are made again.
        """
        made, all_of, shape = None, self._programs, _parts_of_shape(self.layers[0].shape)
        key = _Key(samples, ctx.train, ctx.seed, ctx.lengths_at is not None, shape, ctx.together)
        while True:
            with self.pool.turn():
                programs, all_of.held = all_of.held, {}
                try:
                    if program := programs.pop(key, made):
                        programs[key] = program  # last, as the one used last
                        alike = [other for other in programs if other.shape == shape]
                        if len(alike) > KEPT:
                            del programs[alike[0]]
                        return work(program)
                finally:
                    all_of.held = programs
            made = self._made(key)  # not in turn: who has the compiler may be waiting for a turn

    def _by_specification(self, ctx: Context, x: Any, dy: Any) -> Array:
        """Return the gradient through a prediction pass, which nobody trains with and no kernel knows."""
        _, tape = through(self.layers, ctx, x)
        return back_through(self.layers, ctx, tape, dy)

    def _made(self, key: _Key) -> "BatchProgram":
        alike = [one.program for other, one in list(self._programs.held.items()) if other.train == key.train]
        whole = self._whole
        return BatchProgram(self, key, alike, (lambda: _Draft(whole, key).program) if whole else None)


class Programs:
    """The programs of some layers, for mini-batches of all sizes and lengths; none while one of them is at work."""

    def __init__(self) -> None:
        self.held: dict[_Key, BatchProgram] = {}


def _parts_of_shape(shape: AnyShape) -> tuple[Shape, ...]:
    """Return a shape or, where it has names, those of all parts."""
    return tuple(shape.values()) if isinstance(shape, Mapping) else (shape,)


def tokens_of_row(stage: Any, name: str) -> Any:
    """Return how many whole numbers the first layer of a container's row takes; None where it takes no such."""
    row = stage.rows[name] if isinstance(stage, ContainerStage) else ()
    return row[0].layer.tokens if row else None


def _weighing(
    cost: Cost, ctx: Context, shape: Shape, target: Array, weight: Array | None, lengths: Array | None
) -> Weighing:
    return cost.weighing(ctx.ops, entries_of(cost, shape), target, weight, lengths)


class _Draft:
    """The program of some layers for one batch size, without memory yet: two parts, or one with the cost."""

    def __init__(self, fused: FusedLayers, key: _Key) -> None:
        self.program = Program(fused.library, fused.pool)
        self.low = Lowering(
            self.program, key.samples, key.train, key.seed, products_of(fused.library), key.has_lengths, key.together
        )  # fmt: skip
        samples, train = key.samples, key.train
        first, last = fused.layers[0], fused.layers[-1]
        self.x: Any
        if isinstance(first.shape, Mapping):
            given = {name: self._input(shape, tokens_of_row(first, name)) for name, shape in first.shape.items()}
            self.x = ByName(given)
        elif first.layer.sparse:
            self.x = SparseInput(self.program, samples, *first.shape)
        else:
            self.x = self._input(first.shape, first.layer.tokens)
        self.y, back = lower(self.low, fused.layers, self.x)
        shape, cost = last.output_shape, fused.cost
        made = ByName(shape) if isinstance(shape, Mapping) else shape
        self.cost: Any = None  # a LoweredCost, of heads by name, as all of this is
        self.dy: Any
        if cost:
            costs = ByName(cost.costs) if isinstance(cost, HeadsCost) else cost
            self.cost = each(self._lowered, made, self.y, costs)
            self.dy = each(lambda one: one.dz, self.cost)
            kept = [buffer for one in parts_of(self.cost) for buffer in (one.outputs, one.terms)]
        else:
            self.program.cut()
            self.dy = each(lambda one: self.program.input((samples, *one)), made)
            kept = parts_of(self.y)
        self.dx: Any = None
        if train:
            self.dx = back(self.dy, fused.dx)
            kept += [dx for dx in parts_of(self.dx) if dx]
            if key.together and cost:
                self._pass_buckets(key.together)
        self.program.cut()
        for buffer in kept:
            self.program.keep(buffer)
        self.kept = kept

    def _pass_buckets(self, together: Together) -> None:
        """Tell of each part of the gradients as soon as nothing writes to it or to those before it."""
        place = 0
        for number, bucket in enumerate(together.buckets):
            place = max(place, self.program.written(bucket))
            if together.passed:
                self.program.pause(partial(together.passed, number), place)

    def _input(self, shape: Shape, tokens: Any) -> Buffer:
        return self.program.input((self.low.samples, *shape), None if tokens is None else "int64")

    def _lowered(self, shape: Shape, y: Buffer, cost: Cost) -> LoweredCost:
        """Emit a cost of outputs, in the shape that they are declared to have."""
        whole = (self.low.samples, *shape)
        return lower_cost(self.low, cost, y if y.shape == whole else self.program.view(y, whole))


class BatchProgram(_Draft):
    """A program with its memory, ready to run."""

    def __init__(
        self, fused: FusedLayers, key: _Key, alike: Sequence[Program], larger: Callable[[], Program] | None
    ) -> None:
        super().__init__(fused, key)
        self.program.complete(alike, larger)
        self._kept = {id(buffer): self.program.array(buffer) for buffer in self.kept if not buffer.root.address}

    def forward(self, ctx: Context, x: Any) -> Any:
        given = self._start(ctx, x)
        return each(lambda y, dy: self._array(y, given).reshape(dy.shape), self.y, self.dy)

    def backward(self, dy: Any) -> Any:
        given = _pointed(self.dy, dy)
        self.program.run(1)
        return self._gradients(given)

    def _gradients(self, given: dict[int, Array]) -> Any:
        """Return the gradients with respect to all inputs."""
        dx = each(lambda _: None, self.x) if self.dx is None else self.dx
        return each(lambda x, own: self._gradient(x, own, given), self.x, dx)

    def _gradient(self, x: Buffer, dx: Buffer | None, given: dict[int, Array]) -> Array:
        """Return the gradient with respect to an input, or nothing where nobody reads it."""
        return np.zeros((0, *x.shape[1:]), self.low.real) if dx is None else self._array(dx, given).reshape(x.shape)

    def run(self, ctx: Context, x: Any, target: Any, weighing: Any, weights: Any) -> tuple[Any, Any, Any]:
        """Return outputs, costs and the gradient of x; `weights` multiply the gradients of heads, or of the cost."""
        held = each(self._told, self.cost, target, weighing, weights)
        given = self._start(ctx, x)
        del held
        outputs = each(lambda one, dy: self._array(one.outputs, given).reshape(dy.shape).copy(), self.cost, self.dy)
        costs = each(lambda one, of: total_cost(self._kept[id(one.terms)], of.divisor), self.cost, weighing)
        return outputs, costs, None if self.dx is None else self._gradients(given)

    def _told(self, cost: LoweredCost, target: Array, weighing: Weighing, weight: float) -> list[Array]:
        """Tell a cost of the next run; the weight multiplies its gradient alone."""
        divisor = weighing.divisor / weight if weight else math.inf * weighing.divisor if weighing.divisor else 0.0
        return cost.point_to(target, weighing._replace(divisor=divisor), self.low.real)

    def _start(self, ctx: Context, x: Any) -> dict[int, Array]:
        """Run the first part; return what was given for each buffer."""
        given = _pointed(self.x, x)
        self.low.epoch.set(ctx.epoch)
        self.low.position.set(ctx.position)
        self.low.tell_lengths(ctx.lengths_at)
        self.program.run(0)
        return given

    def _array(self, buffer: Buffer, given: Mapping[int, Array]) -> Array:
        """Return a result; layers that only change the shape give back what they were given."""
        found = self._kept.get(id(buffer))
        return given[id(buffer.root)] if found is None else found


def _pointed(buffers: Any, arrays: Any) -> dict[int, Array]:
    """Say where inputs are; return the array of each buffer."""
    pairs = each(lambda buffer, array: (buffer, array), buffers, arrays)  # names may come in another order
    for buffer, array in parts_of(pairs):
        buffer.point_to(array)
    return {id(buffer): array for buffer, array in parts_of(pairs)}
