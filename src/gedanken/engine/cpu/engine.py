"""The engine for CPUs: runs of layers become programs of kernels, one for each batch size."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gedanken.engine.cpu.compiler import Library, library
from gedanken.engine.cpu.lowering.base import Lowering
from gedanken.engine.cpu.lowering.match import lower, obstacle
from gedanken.engine.cpu.machine import this_machine, usable_processors
from gedanken.engine.cpu.program import Buffer, Program, call
from gedanken.engine.cpu.threads import Pool
from gedanken.engine.cpu.update import fused_update
from gedanken.engine.ops import Ops
from gedanken.engine.plan import Engine, LayerStep, Step
from gedanken.layers.base import Context
from gedanken.types import Array

KEPT = 4  # programs of a run, for as many batch sizes; the one unused for longest goes


class CpuOps(Ops):
    """The specification's primitives, and what kernels do in place of some."""

    def __init__(self, library: Library, pool: Pool) -> None:
        super().__init__(np, library.dtype)
        self.library, self.pool = library, pool

    def fused_update(self, rule: Any, size: int, decayed: int) -> Callable[..., None] | None:
        return fused_update(self.library, self.pool, rule, size, decayed)

    def softmax(self, x: Array) -> Array:
        given, columns = np.ascontiguousarray(x, self.dtype), x.shape[-1]
        y, kernel = np.empty_like(given), self.library.kernel("cost.softmax")
        rows = given.size // columns
        call(kernel, x=given, y=y, rows=rows, columns=columns, piece=rows)
        return y

    def softmax_cross_entropy(
        self, z: Array, target: Array, weights: Sequence[float] | None, smoothing: float
    ) -> tuple[Array, Array]:
        rows, columns = z.shape
        hard = target.ndim == 1
        classes = np.ascontiguousarray(target, np.int64) if hard else np.zeros(1, np.int64)
        shares = np.zeros(1, self.dtype) if hard else np.ascontiguousarray(target, self.dtype)
        terms, dz = np.empty((rows, 3), self.dtype), np.empty(z.shape, self.dtype)
        weight = np.ones(columns, self.dtype) if weights is None else np.array(weights, self.dtype)
        call(
            self.library.kernel("cost.softmax_cross_entropy"), z=np.ascontiguousarray(z), classes=classes,
            shares=shares, hard=int(hard), weights=weight, smoothing=smoothing, dz=dz, terms=terms,
            rows=rows, columns=columns,
        )  # fmt: skip
        total, dot, share = terms.T
        return (share * np.log(total) - dot).sum() / rows, dz


class CpuEngine(Engine):
    """Runs what it can by kernels of its own and every other layer by its specification."""

    def __init__(self, reason: str, dtype: str, threads: int | None = None) -> None:
        machine = this_machine()
        self.library = library(machine, dtype)
        self.pool = Pool(self.library, threads or usable_processors())
        what = f"{reason}: kernels for {machine.unit}, {self.pool.threads} threads"
        super().__init__("cpu", CpuOps(self.library, self.pool), what)

    def steps(self, layers: Sequence[LayerStep], dx: bool = True) -> Sequence[Step]:
        steps: list[Step] = []
        known: list[LayerStep] = []
        for layer in layers:
            if obstacle(layer):
                steps += [*self._run(known, dx or bool(steps)), layer]
                known = []
            else:
                known.append(layer)
        return [*steps, *self._run(known, dx or bool(steps))]

    def fallbacks(self, layers: Sequence[LayerStep]) -> list[str]:
        return [f"layer {step.path} {step.layer} ({why})" for step in layers if (why := obstacle(step))]

    def step_bytes(self, steps: Sequence[Step], samples: int) -> int | None:
        runs = [step for step in steps if isinstance(step, Run)]
        return sum(run.step_bytes(samples) for run in runs) if len(runs) == len(steps) else None

    def _run(self, known: Sequence[LayerStep], dx: bool) -> list[Step]:
        return [Run(self.library, self.pool, known, dx)] if known else []


class Run:
    """Layers in a row that kernels do.

    Args:
        library, pool: kernels, and who runs them.
        layers: the layers.
        dx: whether the gradient by the input is wanted.
    """

    def __init__(self, library: Library, pool: Pool, layers: Sequence[LayerStep], dx: bool) -> None:
        self.library, self.pool, self.layers, self.dx = library, pool, layers, dx
        self._programs: OrderedDict[tuple[int, bool, int], _Ready] = OrderedDict()

    def forward(self, ctx: Context, x: Array) -> tuple[Array, Any]:
        given = np.ascontiguousarray(x, self.library.dtype)
        with self.pool.turn():  # several threads may ask one network for predictions
            ready = self._ready(len(x), ctx)
            y = ready.forward(ctx, given)
            return (y, (ready, given)) if ctx.train else (y.copy(), given)

    def backward(self, ctx: Context, cache: Any, dy: Array) -> Array:
        if not ctx.train:
            return self._by_specification(ctx, cache, dy)
        ready, _ = cache
        return ready.backward(np.ascontiguousarray(dy, self.library.dtype))

    def _by_specification(self, ctx: Context, x: Array, dy: Array) -> Array:
        """Return the gradient through a prediction pass, which nobody trains with and no kernel knows."""
        tape = []
        for layer in self.layers:
            x, cache = layer.forward(ctx, x)
            tape.append(cache)
        for layer in reversed(self.layers):
            dy = layer.backward(ctx, tape.pop(), dy)
        return dy

    def step_bytes(self, samples: int) -> int:
        """Return the memory of a training pass of so many samples."""
        return _Ready(self, samples, train=True, seed=0).program.nbytes

    def _ready(self, samples: int, ctx: Context) -> "_Ready":
        key = (samples, ctx.train, ctx.seed)
        if key not in self._programs:
            alike = [ready.program for (_, train, _), ready in self._programs.items() if train == ctx.train]
            self._programs[key] = _Ready(self, samples, ctx.train, ctx.seed, alike)
            if len(self._programs) > KEPT:
                self._programs.popitem(last=False)
        self._programs.move_to_end(key)
        return self._programs[key]


class _Ready:
    """A run's program for one batch size."""

    def __init__(self, run: Run, samples: int, train: bool, seed: int, alike: Sequence[Program] = ()) -> None:
        self.program = Program(run.library, run.pool)
        self.low = Lowering(self.program, samples, train, seed)
        first, last = run.layers[0], run.layers[-1]
        self.x = self.program.input((samples, *first.shape))
        self.y, back = lower(self.low, run.layers, self.x)
        self.program.keep(self.y)
        self.program.cut()
        self.dx: Buffer | None = None
        self.dy = self.program.input((samples, *last.output_shape))
        if train:
            self.dx = back(self.dy, run.dx)
            if self.dx:
                self.program.keep(self.dx)
            self.program.cut()
        self.program.complete(alike)

    def forward(self, ctx: Context, x: Array) -> Array:
        assert self.x.address
        self.x.address.set(x.ctypes.data)
        for draw in self.low.draws:
            draw[2], draw[3] = ctx.epoch, ctx.position
        self.program.run(0)
        return self._array(self.y, x).reshape(self.dy.shape)

    def backward(self, dy: Array) -> Array:
        assert self.dy.address
        self.dy.address.set(dy.ctypes.data)
        self.program.run(1)
        if self.dx is None:
            return np.zeros((0, *self.x.shape[1:]), dy.dtype)
        return self._array(self.dx, dy).reshape(self.x.shape)

    def _array(self, buffer: Buffer, given: Array) -> Array:
        """Return a result; layers that only change the shape give back what they were given."""
        return given if buffer.root.address else self.program.array(buffer)
