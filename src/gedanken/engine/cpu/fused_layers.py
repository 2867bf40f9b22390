"""Layers in a row that kernels do: a program for each batch size, with or without the cost at its end."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from gedanken.by_name import ByName, parts_of
from gedanken.costs import Cost
from gedanken.costs.base import Weighing
from gedanken.engine.base import Placement
from gedanken.engine.cpu.compiler import Library
from gedanken.engine.cpu.lowering.base import Lowering
from gedanken.engine.cpu.lowering.cost import entries_of, lower_cost, total_cost
from gedanken.engine.cpu.lowering.match import lower
from gedanken.engine.cpu.lowering.products import products_of
from gedanken.engine.cpu.lowering.sparse import SparseInput
from gedanken.engine.cpu.program import Buffer, Program
from gedanken.engine.cpu.threads import Pool
from gedanken.errors import DataError
from gedanken.layers.base import Context
from gedanken.layers.lengths import output_lengths
from gedanken.layers.stages import back_through, through
from gedanken.sparse import SparseRows
from gedanken.types import Array, Shape

Result = TypeVar("Result")
_Key = tuple[int, bool, int, bool]  # samples, training or not, seed, whether sequences have lengths

LAID_OUT = 1 << 12  # samples of the largest program that is laid out for its size alone; it grows evenly from there
KEPT = 4  # programs of the same layers, for as many batch sizes; the one unused for longest goes


class FusedLayers:
    """Layers in a row that kernels do.

    Args:
        library, pool: kernels, and who runs them.
        layers: the layers.
        dx: whether the input gradient is wanted.
        cost: what is computed of the outputs in the same program. Then `run` is for use, else `forward` and `backward`.
    """

    def __init__(
        self,
        library: Library,
        pool: Pool,
        layers: Sequence[Placement],
        dx: bool,
        cost: Cost | None = None,
    ) -> None:
        self.library, self.pool, self.layers, self.dx, self.cost = library, pool, layers, dx, cost
        self._programs: dict[_Key, BatchProgram] = {}

    def forward(self, ctx: Context, x: Array) -> tuple[Array, Any]:
        given = self._given(x)

        def work(program: BatchProgram) -> tuple[Array, Any]:
            y = program.forward(ctx, given)
            return (y, (program, given)) if ctx.train else (y.copy(), given)

        return self._alone(ctx, len(x), work)

    def backward(self, ctx: Context, cache: Any, dy: Array) -> Array:
        if not ctx.train:
            return self._by_specification(ctx, cache, dy)
        program, _ = cache
        return program.backward(np.ascontiguousarray(dy, self.library.dtype))

    def run(self, ctx: Context, x: Array, target: Array, weight: Array | None) -> tuple[Array, Array, Weighing]:
        """Return the outputs, their cost and how it was made; in training also write the gradients."""
        assert self.cost
        given, shape = self._given(x), (len(x), *self.layers[-1].output_shape)
        weighing = self.cost.weighing(ctx.ops, entries_of(self.cost, shape), target, weight, output_lengths(ctx))
        found = self._alone(ctx, len(x), lambda program: program.run(ctx, given, target, weighing))
        return *found, weighing

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
        if x.size and not (x.min() >= 0 and x.max() < tokens):  # kernels trust them
            raise DataError(f"data must be whole numbers from 0 to {tokens - 1}, got {x.min()} to {x.max()}")
        return np.ascontiguousarray(x, np.int64)

    def step_bytes(self, samples: int) -> int:
        """Return the memory of a training pass of so many samples; of more than LAID_OUT what follows from fewer."""
        if samples > LAID_OUT:
            half, all_of = (self.step_bytes(count) for count in (LAID_OUT // 2, LAID_OUT))
            return all_of + (all_of - half) * (samples - LAID_OUT) // (LAID_OUT // 2)
        return _Draft(self, (samples, True, 0, False)).program.needed_bytes()

    def _alone(self, ctx: Context, samples: int, work: Callable[["BatchProgram"], Result]) -> Result:
        """Work with a program while no other thread does, and nothing else in this one.

        A signal handler or finalizer that asks the same network meanwhile finds no program and makes its own. Programs
        that an interruption keeps from coming back are made again.
        """
        key, made = (samples, ctx.train, ctx.seed, ctx.lengths_at is not None), None
        while True:
            with self.pool.turn():
                programs, self._programs = self._programs, {}
                try:
                    if program := programs.pop(key, made):
                        programs[key] = program  # last, as the one used last
                        if len(programs) > KEPT:
                            del programs[next(iter(programs))]
                        return work(program)
                finally:
                    self._programs = programs
            made = self._made(key)  # not in turn: who has the compiler may be waiting for a turn

    def _by_specification(self, ctx: Context, x: Array, dy: Array) -> Array:
        """Return the gradient through a prediction pass, which nobody trains with and no kernel knows."""
        _, tape = through(self.layers, ctx, x)
        return back_through(self.layers, ctx, tape, dy)

    def _made(self, key: _Key) -> "BatchProgram":
        alike = [one.program for other, one in list(self._programs.items()) if other[1] == key[1]]
        return BatchProgram(self, key, alike)


def tokens_of_row(stage: Any, name: str) -> Any:
    """Return how many whole numbers the first layer of a container's row takes; None where it takes no such."""
    row = stage.rows[name]
    return row[0].layer.tokens if row else None


class _Draft:
    """The program of some layers for one batch size, without memory yet: two parts, or one with the cost."""

    def __init__(self, fused: FusedLayers, key: _Key) -> None:
        samples, train, seed, has_lengths = key
        self.program = Program(fused.library, fused.pool)
        self.low = Lowering(self.program, samples, train, seed, products_of(fused.library), has_lengths)
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
        self.cost = lower_cost(self.low, fused.cost, self._shaped(last.output_shape)) if fused.cost else None
        if self.cost:
            self.dy, kept = self.cost.dz, [self.cost.outputs, self.cost.terms]
        else:
            self.program.cut()
            self.dy, kept = self.program.input((samples, *last.output_shape)), [self.y]
        self.dx: Buffer | None = None
        if train:
            self.dx = back(self.dy, fused.dx)
            kept += [self.dx] if self.dx else []
        self.program.cut()
        for buffer in kept:
            self.program.keep(buffer)
        self.kept = kept

    def _input(self, shape: Shape, tokens: Any) -> Buffer:
        return self.program.input((self.low.samples, *shape), None if tokens is None else "int64")

    def _shaped(self, shape: Shape) -> Buffer:
        """Return the outputs in the shape that they are declared to have."""
        whole = (self.low.samples, *shape)
        return self.y if self.y.shape == whole else self.program.view(self.y, whole)


class BatchProgram(_Draft):
    """A program with its memory, ready to run."""

    def __init__(self, fused: FusedLayers, key: _Key, alike: Sequence[Program]) -> None:
        super().__init__(fused, key)
        self.program.complete(alike)
        self._kept = {id(buffer): self.program.array(buffer) for buffer in self.kept if not buffer.root.address}

    def forward(self, ctx: Context, x: Array) -> Array:
        self._start(ctx, x)
        return self._array(self.y, self._passed(x)).reshape(self.dy.shape)

    def backward(self, dy: Array) -> Array:
        self.dy.point_to(dy)
        self.program.run(1)
        if self.dx is None:
            return np.zeros((0,) if isinstance(self.x, ByName) else (0, *self.x.shape[1:]), dy.dtype)
        return self._array(self.dx, dy).reshape(self.x.shape)

    def run(self, ctx: Context, x: Array, target: Array, weighing: Weighing) -> tuple[Array, Array]:
        assert self.cost
        held = self.cost.point_to(target, weighing, self.low.real)
        self._start(ctx, x)
        del held
        outputs = self._array(self.cost.outputs, self._passed(x)).reshape(self.dy.shape)
        return outputs.copy(), total_cost(self._kept[id(self.cost.terms)], weighing.divisor)

    def _start(self, ctx: Context, x: Array) -> None:
        for buffer, array in zip(parts_of(self.x), parts_of(x), strict=True):
            buffer.point_to(array)
        self.low.epoch.set(ctx.epoch)
        self.low.position.set(ctx.position)
        self.low.tell_lengths(ctx.lengths_at)
        self.program.run(0)

    def _passed(self, x: Any) -> Array:
        """Return what layers give back that only change the shape: the input, of several the only one."""
        first: Array = parts_of(x)[0]
        return first

    def _array(self, buffer: Buffer, given: Array) -> Array:
        """Return a result; layers that only change the shape give back what they were given."""
        return self._kept.get(id(buffer), given)
